//! From verified claims to an identity.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::refusal::TokenError;
use crate::config::jwt::ClaimPath;
use crate::hub::audience::{Claims, Identity};

/// Which claims say what, and which roles are administrators. A path that is not there names nothing.
#[derive(Debug, Clone)]
pub struct ClaimPaths {
    /// Path of the user claim.
    pub user: Option<ClaimPath>,
    /// Path of the tenant claim.
    pub tenant: Option<ClaimPath>,
    /// Path of the role claim.
    pub role: Option<ClaimPath>,
    /// Roles that see everybody's events.
    pub admin_roles: Vec<String>,
}

impl ClaimPaths {
    /// The identity that verified claims describe. Of a list of roles the first counts.
    ///
    /// # Errors
    /// If a claim is an object, a list, a boolean or a fraction. To guess there would be to guess
    /// whose events somebody may see.
    pub fn identify(&self, claims: &Map<String, Value>, leeway: Duration) -> Result<Identity, TokenError> {
        let role = match (&self.role, self.role.as_ref().and_then(|path| at_path(claims, path))) {
            (Some(path), Some(Value::Array(roles))) => text_of(roles.first(), path)?,
            (Some(path), role) => text_of(role, path)?,
            (None, _) => None,
        };
        let tenant = self.tenant.as_ref().and_then(|path| only(claims, path));
        Ok(Identity {
            user: text_at(claims, self.user.as_ref())?,
            tenant: text_at(claims, self.tenant.as_ref())?,
            admin: role.as_deref().is_some_and(|role| self.admin_roles.iter().any(|admin| admin == role)),
            role,
            issued: moment(claims, "iat"),
            expires: moment(claims, "exp").and_then(|exp| exp.checked_add(leeway)),
            claims: Some(Claims { all: json(claims), tenant: json(&tenant.unwrap_or_default()) }),
        })
    }
}

fn json(claims: &Map<String, Value>) -> Arc<str> {
    Value::Object(claims.clone()).to_string().into()
}

/// The one claim at a path, in the objects that it stands in.
fn only(claims: &Map<String, Value>, path: &ClaimPath) -> Option<Map<String, Value>> {
    let value = at_path(claims, path)?.clone();
    if claims.contains_key(path.text()) {
        return Some(Map::from_iter([(path.text().to_owned(), value)]));
    }
    let nested =
        path.names().iter().rfold(value, |value, name| Map::from_iter([(name.clone(), value)]).into());
    match nested {
        Value::Object(claims) => Some(claims),
        _ => None,
    }
}

fn text_at(claims: &Map<String, Value>, path: Option<&ClaimPath>) -> Result<Option<Box<str>>, TokenError> {
    path.map_or(Ok(None), |path| text_of(at_path(claims, path), path))
}

/// A text or whole number as text. `null` and the empty text are absent: an application that writes
/// `""` for "no tenant" must not thereby name a tenant.
fn text_of(value: Option<&Value>, path: &ClaimPath) -> Result<Option<Box<str>>, TokenError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok((!text.is_empty()).then(|| text.as_str().into())),
        Some(Value::Number(number)) if number.is_i64() || number.is_u64() => {
            Ok(Some(number.to_string().into()))
        }
        Some(_) => Err(TokenError::Unusable(path.text().to_owned())),
    }
}

/// The claim of exactly that name, else the one at the path.
fn at_path<'a>(claims: &'a Map<String, Value>, path: &ClaimPath) -> Option<&'a Value> {
    if let Some(value) = claims.get(path.text()) {
        return Some(value);
    }
    let (first, rest) = path.names().split_first()?;
    rest.iter().try_fold(claims.get(first)?, |value, name| value.as_object()?.get(name))
}

/// The time that a claim names: seconds since 1970. With `exp`, when the connection must end, goes the same
/// tolerance with which it was checked.
fn moment(claims: &Map<String, Value>, name: &str) -> Option<SystemTime> {
    let seconds = claims.get(name)?.as_f64()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}

/// Whether two identities are the same principal with the same claims, but for those that differ from token to
/// token: a token for one may then take the place of the other's.
pub fn agree(one: &Identity, other: &Identity) -> bool {
    const OF_THE_TOKEN: [&str; 4] = ["exp", "iat", "nbf", "jti"];
    let lasting = |identity: &Identity| {
        let claims = identity.claims.as_ref().map(|claims| serde_json::from_str(&claims.all));
        claims.map(|claims: serde_json::Result<Map<String, Value>>| {
            let mut claims = claims.ok()?;
            claims.retain(|name, _| !OF_THE_TOKEN.contains(&name.as_str()));
            Some(claims)
        })
    };
    let principal = |identity: &Identity| {
        (identity.tenant.clone(), identity.user.clone(), identity.role.clone(), identity.admin)
    };
    principal(one) == principal(other)
        && match (lasting(one), lasting(other)) {
            (None, None) => true,
            (Some(Some(one)), Some(Some(other))) => one == other,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn identify(claims: &Value) -> Result<Identity, TokenError> {
        let paths = ClaimPaths {
            user: ClaimPath::parse("sub"),
            tenant: ClaimPath::parse("app.tenant"),
            role: ClaimPath::parse("https://app.example/role"),
            admin_roles: vec!["ops".into()],
        };
        paths.identify(claims.as_object().unwrap(), Duration::from_secs(5))
    }

    #[test]
    fn paths_reach_into_objects_and_match_names_with_dots() {
        let claims =
            json!({ "sub": 7, "app": { "tenant": "acme" }, "https://app.example/role": "ops", "exp": 100 });
        let identity = identify(&claims).unwrap();
        assert_eq!(identity.user.as_deref(), Some("7"));
        assert_eq!(identity.tenant.as_deref(), Some("acme"));
        assert_eq!(identity.role.as_deref(), Some("ops"));
        assert!(identity.admin);
        let given = identity.claims.unwrap();
        assert_eq!(
            (&*given.all, &*given.tenant),
            (claims.to_string().as_str(), r#"{"app":{"tenant":"acme"}}"#)
        );
        assert_eq!(identity.expires, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(105)));
    }

    #[test]
    fn what_is_absent_null_or_empty_names_nobody() {
        for claims in [json!({}), json!({ "sub": null, "app": { "tenant": "" } }), json!({ "app": "acme" })] {
            let identity = identify(&claims).unwrap();
            assert_eq!((identity.user, identity.tenant, identity.admin), (None, None, false), "{claims}");
        }
    }

    #[test]
    fn a_claim_that_is_no_name_refuses_the_token() {
        for tenant in [json!(["acme"]), json!({ "id": 1 }), json!(true), json!(1.5)] {
            let error = identify(&json!({ "app": { "tenant": tenant } })).unwrap_err();
            assert_eq!(error, TokenError::Unusable("app.tenant".to_owned()));
        }
    }

    #[test]
    fn of_a_list_of_roles_the_first_counts() {
        let role = |roles: Value| identify(&json!({ "https://app.example/role": roles }));
        let first = role(json!(["ops", "user"])).unwrap();
        assert_eq!((first.role.as_deref(), first.admin), (Some("ops"), true));
        let second = role(json!(["user", "ops"])).unwrap();
        assert_eq!((second.role.as_deref(), second.admin), (Some("user"), false));
        for nobody in [json!([]), json!([null]), json!([""])] {
            assert_eq!(role(nobody).unwrap().role, None);
        }
        for wrong in [json!([["ops"]]), json!([{}]), json!([true]), json!({ "0": "ops" })] {
            assert!(role(wrong).is_err());
        }
    }

    #[test]
    fn a_name_with_dots_may_have_claims_inside() {
        let paths = ClaimPaths {
            user: None,
            tenant: ClaimPath::parse(r#""https://example.com/claims".tenant"#),
            role: None,
            admin_roles: Vec::new(),
        };
        let claims = json!({ "https://example.com/claims": { "tenant": "acme", "other": 1 } });
        let identity = paths.identify(claims.as_object().unwrap(), Duration::ZERO).unwrap();
        assert_eq!(identity.tenant.as_deref(), Some("acme"));
        let expected = json!({ "https://example.com/claims": { "tenant": "acme" } }).to_string();
        assert_eq!(*identity.claims.unwrap().tenant, *expected);
    }

    #[test]
    fn a_new_token_agrees_if_it_says_the_same_of_its_bearer() {
        let old =
            json!({ "sub": "a", "app": { "tenant": "t" }, "exp": 100, "iat": 1, "jti": "x", "groups": [1] });
        let with = |name: &str, value: serde_json::Value| {
            let mut claims = old.clone();
            claims[name] = value;
            agree(&identify(&old).unwrap(), &identify(&claims).unwrap())
        };
        assert!(with("exp", json!(900)) && with("iat", json!(90)) && with("jti", json!("y")));
        assert!(with("nbf", json!(5)));
        assert!(!with("sub", json!("b")) && !with("app", json!({ "tenant": "s" })));
        assert!(!with("https://app.example/role", json!("ops")));
        assert!(!with("groups", json!([1, 2])) && !with("iss", json!("other")));
        let anonymous = Identity::default();
        assert!(agree(&anonymous, &anonymous) && !agree(&anonymous, &identify(&json!({})).unwrap()));
        assert_eq!(identify(&old).unwrap().issued, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1)));
    }
}
