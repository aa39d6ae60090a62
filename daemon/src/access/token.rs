//! Where a client puts its token.

use serde_json::{Map, Value};

use crate::config::Secret;

/// The token of an `Authorization` header: the scheme is `Bearer` in any case (RFC 9110, 11.1).
pub fn from_authorization(header: &str) -> Option<Secret> {
    let (scheme, token) = header.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| Secret::new(token))
}

/// The token of a `connection_init` payload: `Authorization` or `authorization` as in the header (a
/// bare token is taken too), or `token`, at the top or under `headers`.
pub fn from_payload(payload: &Map<String, Value>) -> Option<Secret> {
    from_members(payload).or_else(|| from_members(payload.get("headers")?.as_object()?))
}

fn from_members(members: &Map<String, Value>) -> Option<Secret> {
    let text = |name: &str| members.get(name)?.as_str().map(str::trim).filter(|text| !text.is_empty());
    let bare = |token: &str| (!token.contains(char::is_whitespace)).then(|| Secret::new(token));
    match text("Authorization").or_else(|| text("authorization")) {
        Some(header) => from_authorization(header).or_else(|| bare(header)),
        None => bare(text("token")?),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        assert_eq!(from_authorization("Bearer a.b.c"), Some(Secret::new("a.b.c")));
        assert_eq!(from_authorization("bearer  a.b.c "), Some(Secret::new("a.b.c")));
        assert_eq!(from_authorization("Basic dTpw"), None);
        assert_eq!(from_authorization("Bearer "), None);
        assert_eq!(from_authorization("a.b.c"), None);
    }

    #[test]
    fn a_payload_may_carry_the_token_in_the_usual_places() {
        let places = [
            json!({ "Authorization": "Bearer t" }),
            json!({ "authorization": "bearer t" }),
            json!({ "Authorization": "t" }),
            json!({ "token": "t" }),
            json!({ "headers": { "Authorization": "Bearer t" } }),
            json!({ "headers": { "token": "t" }, "other": 1 }),
        ];
        for place in places {
            assert_eq!(from_payload(place.as_object().unwrap()), Some(Secret::new("t")), "{place}");
        }
        for nothing in [json!({}), json!({ "token": 1 }), json!({ "token": "" }), json!({ "headers": [] })] {
            assert_eq!(from_payload(nothing.as_object().unwrap()), None, "{nothing}");
        }
        assert_eq!(from_payload(json!({ "Authorization": "Basic t" }).as_object().unwrap()), None);
    }
}
