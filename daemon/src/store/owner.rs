//! Whom a reservation belongs to.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::hub::audience::{Claims, Identity};

/// Whom a reservation belongs to, as far as a store has to know.
#[derive(Clone)]
pub struct Owner {
    /// Who may use it, too.
    pub principal: Principal,
    /// Its tenant.
    pub tenant: Option<Box<str>>,
    /// Its user. All those without one are one principal of each tenant and issuer.
    pub user: Option<Box<str>>,
    /// What its token said.
    pub claims: Option<Arc<str>>,
}

/// Issuer, tenant and user, hashed: two identities with the same are the same to a reservation, whatever
/// token they bring. Where nobody proves who they are, everybody is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal(Arc<str>);

/// The one claim that makes users of different issuers different.
#[derive(Deserialize)]
struct Issued {
    iss: Option<serde_json::Value>,
}

impl Owner {
    /// The owner that an identity is.
    pub fn of(identity: &Identity) -> Self {
        Self {
            principal: Principal::of(identity),
            tenant: identity.tenant.clone(),
            user: identity.user.clone(),
            claims: identity.claims.as_ref().map(|claims| claims.all.clone()),
        }
    }
}

impl Principal {
    /// The principal that an identity is.
    pub fn of(identity: &Identity) -> Self {
        let issued = |claims: &Claims| serde_json::from_str::<Issued>(&claims.all).ok()?.iss;
        let issuer = identity.claims.as_ref().and_then(issued);
        let named = json!([identity.claims.is_some(), issuer, identity.tenant, identity.user]);
        Self(URL_SAFE_NO_PAD.encode(Sha256::digest(named.to_string())).into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Owner {
    /// Who somebody is belongs into no log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("<owner>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(claims: Option<&str>, tenant: Option<&str>, user: Option<&str>) -> Principal {
        let claims = claims.map(|all| Claims { all: all.into(), tenant: "{}".into() });
        let (tenant, user) = (tenant.map(Into::into), user.map(Into::into));
        Principal::of(&Identity { tenant, user, claims, ..Identity::default() })
    }

    #[test]
    fn issuer_tenant_and_user_tell_principals_apart() {
        let ann = principal(Some(r#"{"iss":"a","exp":1}"#), Some("acme"), Some("ann"));
        assert_eq!(ann, principal(Some(r#"{"iss":"a","exp":2}"#), Some("acme"), Some("ann")), "a new token");
        for other in [
            principal(Some(r#"{"iss":"b"}"#), Some("acme"), Some("ann")),
            principal(Some("{}"), Some("acme"), Some("ann")),
            principal(Some(r#"{"iss":"a"}"#), Some("globex"), Some("ann")),
            principal(Some(r#"{"iss":"a"}"#), Some("acme"), None),
            principal(Some(r#"{"iss":"a"}"#), None, Some("ann")),
            principal(Some(r#"{"iss":"a"}"#), None, Some(r#"acme","ann"#)),
        ] {
            assert_ne!(ann, other);
        }
        assert_ne!(principal(None, None, None), principal(Some("{}"), None, None), "proved or not");
    }
}
