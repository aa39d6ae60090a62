//! Where a client puts its token.

use serde_json::{Map, Value};

use super::refusal::TokenError;
use crate::config::Secret;

/// What a place of a request holds: a token, nothing, or something that cannot be chosen from.
pub type Place = Result<Option<Secret>, TokenError>;

/// The tokens of a request's head, by place.
#[derive(Debug)]
pub struct Presented {
    /// The header `Authorization`; without the scheme `Bearer` it is for somebody else, such as a proxy.
    pub header: Place,
    /// Whether there is such a header of another scheme.
    pub other_scheme: bool,
    /// The configured cookie.
    pub cookie: Place,
    /// The configured query parameter.
    pub query: Place,
}

impl Presented {
    /// The token that counts: that of the first place that has one, in the order header, payload of
    /// `connection_init`, cookie, query parameter.
    ///
    /// # Errors
    /// If that place holds two, or is a cookie that the page may not use, or there is nothing but a
    /// header of another scheme.
    pub fn choose(self, payload: Option<Secret>) -> Place {
        for place in [self.header, Ok(payload), self.cookie, self.query] {
            match place {
                Ok(None) => {}
                decided => return decided,
            }
        }
        if self.other_scheme { Err(TokenError::Ambiguous) } else { Ok(None) }
    }
}

/// The one item of a place that can hold only one.
pub fn one(mut items: impl Iterator<Item = Secret>) -> Place {
    match (items.next(), items.next()) {
        (item, None) => Ok(item),
        (_, Some(_)) => Err(TokenError::Ambiguous),
    }
}

/// The values of a cookie in a `Cookie` header (RFC 6265, section 4.2).
pub fn from_cookies<'a>(header: &'a str, name: &'a str) -> impl Iterator<Item = Secret> + 'a {
    let pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
    let values = pairs.filter(move |(key, _)| key.trim() == name).map(|(_, value)| value.trim());
    let unquoted =
        |value: &'a str| value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
    values.map(unquoted).filter(|value| !value.is_empty()).map(Secret::new)
}

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
    fn the_first_place_with_a_token_counts() {
        let place = |text: &str| Ok((!text.is_empty()).then(|| Secret::new(text)));
        let chosen = |header: &str, payload: &str, cookie: &str, query: &str| {
            let presented = Presented {
                header: place(header),
                other_scheme: false,
                cookie: place(cookie),
                query: place(query),
            };
            presented.choose(place(payload).unwrap()).unwrap().map(|token| token.expose().to_owned())
        };
        assert_eq!(chosen("h", "p", "c", "q").as_deref(), Some("h"));
        assert_eq!(chosen("", "p", "c", "q").as_deref(), Some("p"));
        assert_eq!(chosen("", "", "c", "q").as_deref(), Some("c"));
        assert_eq!(chosen("", "", "", "q").as_deref(), Some("q"));
        assert_eq!(chosen("", "", "", ""), None);
    }

    #[test]
    fn a_place_that_cannot_be_chosen_from_counts_only_in_its_turn() {
        let presented = |header| Presented {
            header,
            other_scheme: false,
            cookie: Err(TokenError::ForeignPage),
            query: Ok(Some(Secret::new("q"))),
        };
        assert_eq!(presented(Ok(None)).choose(None), Err(TokenError::ForeignPage));
        assert_eq!(presented(Ok(None)).choose(Some(Secret::new("p"))), Ok(Some(Secret::new("p"))));
        assert_eq!(presented(Err(TokenError::Ambiguous)).choose(None), Err(TokenError::Ambiguous));
        let proxy = || Presented { header: Ok(None), other_scheme: true, cookie: Ok(None), query: Ok(None) };
        assert_eq!(proxy().choose(None), Err(TokenError::Ambiguous));
        assert_eq!(proxy().choose(Some(Secret::new("p"))), Ok(Some(Secret::new("p"))));
    }

    #[test]
    fn a_cookie_is_found_by_its_exact_name() {
        let values = |header: &str| {
            from_cookies(header, "t").map(|token| token.expose().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(values("t=a.b.c"), ["a.b.c"]);
        assert_eq!(values("x=1; t=\"a=b\"; tt=2; T=3"), ["a=b"]);
        assert_eq!(values("t=1;t=2"), ["1", "2"]);
        assert!(values("t; t=; xt=1; =; ;").is_empty());
        assert_eq!(one(from_cookies("t=1;t=2", "t")), Err(TokenError::Ambiguous));
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
