//! From a token, or from having none, to an identity.

use std::sync::Arc;
use std::time::Duration;

use super::claims::ClaimPaths;
use super::jwt::{KeyError, TokenError, Verifier};
use crate::config::{AuthMode, Config, Secret};
use crate::error::ClientError;
use crate::hub::audience::Identity;

/// The role of everybody where nobody has to prove who they are.
const ANONYMOUS: &str = "anonymous";

/// Decides who a client is.
#[derive(Debug)]
pub enum Authenticator {
    /// By a token.
    Jwt {
        /// Checks the token.
        verifier: Box<Verifier>,
        /// Reads its claims.
        paths: ClaimPaths,
        /// Tolerance for its expiry.
        leeway: Duration,
    },
    /// Everybody is the same anonymous identity.
    Anonymous(Arc<Identity>),
}

/// Why the daemon cannot decide who is who.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticatorError {
    /// Nothing says how.
    #[error(
        "no authentication is configured. Set TIDINGS_JWT_SECRET to the secret that signs your tokens (HS256, at \
         least 32 bytes), or jwt.public_key_file for RS256; or, to let anybody in who can reach the port, say so: \
         TIDINGS_AUTH=none"
    )]
    Missing,
    /// Both a key and no authentication were asked for.
    #[error("auth = none contradicts jwt.secret or jwt.public_key_file: remove one of them")]
    Contradiction,
    /// The key is unusable.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Authenticator {
    /// The authenticator that the configuration asks for. A key alone means `jwt`.
    ///
    /// # Errors
    /// If it asks for none, or for what cannot be.
    pub fn new(config: &Config) -> Result<Self, AuthenticatorError> {
        let has_key = config.jwt.secret.is_some() || config.jwt.public_key_file.is_some();
        match (config.auth, has_key) {
            (None, false) => Err(AuthenticatorError::Missing),
            (Some(AuthMode::None), true) => Err(AuthenticatorError::Contradiction),
            (Some(AuthMode::None), false) => {
                let admin = config.admin_roles.iter().any(|role| role == ANONYMOUS);
                let identity = Identity { role: Some(ANONYMOUS.into()), admin, ..Identity::default() };
                Ok(Self::Anonymous(Arc::new(identity)))
            }
            (Some(AuthMode::Jwt) | None, _) => Ok(Self::Jwt {
                verifier: Box::new(Verifier::new(&config.jwt)?),
                paths: ClaimPaths {
                    user: config.jwt.user_claim.clone(),
                    tenant: config.jwt.tenant_claim.clone(),
                    role: config.jwt.role_claim.clone(),
                    admin_roles: config.admin_roles.clone(),
                },
                leeway: config.jwt.leeway,
            }),
        }
    }

    /// What an operator should know at start, if nobody has to prove who they are.
    pub fn warning(&self) -> Option<&'static str> {
        match self {
            Self::Jwt { .. } => None,
            Self::Anonymous(identity) if identity.admin => Some(
                "auth = none and `anonymous` is an admin role: anybody who reaches this port sees every event of \
                 every tenant",
            ),
            Self::Anonymous(_) => Some(
                "auth = none: everybody is anonymous and sees only events that are open to all; events of a tenant \
                 or user stay hidden (list `anonymous` in admin_roles to show everything)",
            ),
        }
    }

    /// The identity of a client with this token, or without one.
    ///
    /// # Errors
    /// If a token is needed and missing, expired or invalid.
    pub fn identify(&self, token: Option<&Secret>) -> Result<Arc<Identity>, ClientError> {
        let (verifier, paths, leeway) = match self {
            Self::Anonymous(identity) => return Ok(identity.clone()),
            Self::Jwt { verifier, paths, leeway } => (verifier, paths, *leeway),
        };
        let claims = verifier.verify(token.ok_or(ClientError::TokenMissing)?).map_err(|error| {
            tracing::debug!(%error, "token refused");
            match error {
                TokenError::Expired => ClientError::TokenExpired,
                TokenError::Invalid(_) => ClientError::TokenInvalid,
            }
        })?;
        let identity = paths.identify(&claims, leeway).map_err(|error| {
            tracing::warn!(%error, "token refused: check the claim paths");
            ClientError::TokenInvalid
        })?;
        Ok(Arc::new(identity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(auth: Option<AuthMode>, secret: bool) -> Result<Authenticator, AuthenticatorError> {
        let mut config = Config { auth, ..Config::default() };
        config.jwt.secret = secret.then(|| Secret::new("s".repeat(32)));
        Authenticator::new(&config)
    }

    #[test]
    fn without_any_setting_the_daemon_does_not_start() {
        assert!(with(None, false).unwrap_err().to_string().contains("TIDINGS_AUTH=none"));
        assert!(matches!(with(Some(AuthMode::None), true), Err(AuthenticatorError::Contradiction)));
        assert!(with(Some(AuthMode::Jwt), false).unwrap_err().to_string().contains("TIDINGS_JWT_SECRET"));
        assert!(with(None, true).unwrap().warning().is_none());
    }

    #[test]
    fn anonymous_clients_belong_to_nobody() {
        let anonymous = with(Some(AuthMode::None), false).unwrap();
        assert!(anonymous.warning().unwrap().contains("open to all"));
        let identity = anonymous.identify(Some(&Secret::new("ignored"))).unwrap();
        assert_eq!(identity.role.as_deref(), Some("anonymous"));
        assert!(identity.tenant.is_none() && identity.user.is_none() && !identity.admin);
    }

    #[test]
    fn a_token_is_needed_where_tokens_are_configured() {
        let authenticator = with(None, true).unwrap();
        assert_eq!(authenticator.identify(None).unwrap_err(), ClientError::TokenMissing);
        assert_eq!(authenticator.identify(Some(&Secret::new("x"))).unwrap_err(), ClientError::TokenInvalid);
    }
}
