//! On whose behalf functions run.

use std::sync::Arc;

use crate::graphql::bindings::Scope;
use crate::hub::audience::Identity;
use crate::source::functions::Caller;

/// The roles of the database that functions may run under. All that is not listed is refused.
#[derive(Debug, Clone, Default)]
pub struct CallerRoles {
    /// For results that all subscribers share, or all of a tenant.
    pub shared: Option<String>,
    /// Role claims that are roles of the database.
    pub allowed: Vec<String>,
    /// For those whose token claims no role, or who have none.
    pub anonymous: Option<String>,
}

impl CallerRoles {
    /// Who calls a function of this scope for this subscriber.
    ///
    /// # Errors
    ///
    /// Code and message, if there is no role for it.
    pub(super) fn caller(&self, scope: Scope, identity: &Identity) -> Result<Caller, (&'static str, String)> {
        let claims = match (scope, &identity.claims) {
            (Scope::Event, _) | (_, None) => "{}".into(),
            (Scope::Tenant, Some(claims)) => claims.tenant.clone(),
            (Scope::User, Some(claims)) => claims.all.clone(),
        };
        let role = match scope {
            Scope::Event | Scope::Tenant => self.shared.as_deref().ok_or_else(|| {
                let message = "This field needs the setting resolve.role, which the server has not got";
                ("RESOLVER_UNAVAILABLE", message.to_owned())
            })?,
            Scope::User => self.of(identity).ok_or_else(|| {
                ("FORBIDDEN", "Your role may not call the function of this field".to_owned())
            })?,
        };
        Ok(Caller { role: Arc::from(role), claims })
    }

    /// The role of the database that an identity stands for. The name that `auth = none` gives everybody
    /// is no claim.
    fn of(&self, identity: &Identity) -> Option<&str> {
        match (&identity.claims, &identity.role) {
            (Some(_), Some(claimed)) => {
                self.allowed.iter().find(|role| **role == **claimed).map(String::as_str)
            }
            (None, _) | (_, None) => self.anonymous.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CallerRoles, Scope};
    use crate::hub::audience::{Claims, Identity};

    #[test]
    fn only_listed_roles_become_roles_of_the_database() {
        let roles = CallerRoles { shared: None, allowed: vec!["web".into()], anonymous: None };
        let open = CallerRoles { anonymous: Some("anon".into()), ..roles.clone() };
        let token = |role: Option<&str>| Identity {
            role: role.map(Into::into),
            claims: Some(Claims { all: "all".into(), tenant: "tenant".into() }),
            ..Identity::default()
        };
        let code = |roles: &CallerRoles, scope, identity: &Identity| match roles.caller(scope, identity) {
            Ok(caller) => format!("{} {}", caller.role, caller.claims),
            Err((code, _)) => code.to_owned(),
        };
        assert_eq!(code(&roles, Scope::User, &token(Some("web"))), "web all");
        for refused in ["Web", "web ", "postgres", ""] {
            assert_eq!(code(&open, Scope::User, &token(Some(refused))), "FORBIDDEN", "{refused}");
        }
        assert_eq!(code(&roles, Scope::User, &token(None)), "FORBIDDEN");
        assert_eq!(code(&open, Scope::User, &token(None)), "anon all");
        let nobody = Identity { role: Some("anonymous".into()), ..Identity::default() };
        assert_eq!(code(&open, Scope::User, &nobody), "anon {}");
        assert_eq!(code(&open, Scope::Tenant, &token(Some("web"))), "RESOLVER_UNAVAILABLE");
        let shared = CallerRoles { shared: Some("reader".into()), ..roles };
        assert_eq!(code(&shared, Scope::Tenant, &token(Some("x"))), "reader tenant");
        assert_eq!(code(&shared, Scope::Event, &token(Some("x"))), "reader {}");
    }
}
