//! From verified claims to an identity.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use crate::hub::audience::{Claims, Identity};

/// Which claims say what, and which roles are administrators.
#[derive(Debug, Clone)]
pub struct ClaimPaths {
    /// Path of the user claim.
    pub user: String,
    /// Path of the tenant claim.
    pub tenant: String,
    /// Path of the role claim.
    pub role: String,
    /// Roles that see everybody's events.
    pub admin_roles: Vec<String>,
}

/// A claim of a kind that names nobody. The path is configuration, so it may be logged.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the claim {path} is neither a text nor a whole number")]
pub struct UnusableClaim {
    /// Path of the claim.
    pub path: String,
}

impl ClaimPaths {
    /// The identity that verified claims describe.
    ///
    /// # Errors
    /// If a claim is an object, a list, a boolean or a fraction. To guess there would be to guess
    /// whose events somebody may see.
    pub fn identify(&self, claims: &Map<String, Value>, leeway: Duration) -> Result<Identity, UnusableClaim> {
        let role = text_at(claims, &self.role)?;
        Ok(Identity {
            user: text_at(claims, &self.user)?,
            tenant: text_at(claims, &self.tenant)?,
            admin: role.as_deref().is_some_and(|role| self.admin_roles.iter().any(|admin| admin == role)),
            role,
            expires: expiry(claims, leeway),
            claims: Some(Claims {
                all: json(claims),
                tenant: json(&only(claims, &self.tenant).unwrap_or_default()),
            }),
        })
    }
}

fn json(claims: &Map<String, Value>) -> Arc<str> {
    Value::Object(claims.clone()).to_string().into()
}

/// The one claim at a path, in the objects that it stands in.
fn only(claims: &Map<String, Value>, path: &str) -> Option<Map<String, Value>> {
    let value = at_path(claims, path)?.clone();
    if claims.contains_key(path) {
        return Some(Map::from_iter([(path.to_owned(), value)]));
    }
    let nested =
        path.rsplit('.').fold(value, |value, name| Map::from_iter([(name.to_owned(), value)]).into());
    match nested {
        Value::Object(claims) => Some(claims),
        _ => None,
    }
}

/// A text or whole number as text. `null` and the empty text are absent: an application that writes
/// `""` for "no tenant" must not thereby name a tenant.
fn text_at(claims: &Map<String, Value>, path: &str) -> Result<Option<Box<str>>, UnusableClaim> {
    match at_path(claims, path) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok((!text.is_empty()).then(|| text.as_str().into())),
        Some(Value::Number(number)) if number.is_i64() || number.is_u64() => {
            Ok(Some(number.to_string().into()))
        }
        Some(_) => Err(UnusableClaim { path: path.into() }),
    }
}

/// The claim of exactly that name (`https://app.example/tenant`), else the one at the dotted path.
fn at_path<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    rest.split('.').try_fold(claims.get(first)?, |value, name| value.as_object()?.get(name))
}

/// When the connection must end: `exp`, with the same tolerance with which it was checked.
fn expiry(claims: &Map<String, Value>, leeway: Duration) -> Option<SystemTime> {
    let seconds = claims.get("exp")?.as_f64()?;
    let exp = Duration::try_from_secs_f64(seconds).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(exp)?.checked_add(leeway)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn identify(claims: &Value) -> Result<Identity, UnusableClaim> {
        let paths = ClaimPaths {
            user: "sub".into(),
            tenant: "app.tenant".into(),
            role: "https://app.example/role".into(),
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
            assert_eq!(error.path, "app.tenant");
        }
    }
}
