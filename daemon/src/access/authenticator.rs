//! From a token, or from having none, to an identity.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};

use super::fetch::FetchError;
use super::issuer::{Issuer, IssuerError, Keys};
use super::jwt::{Verifier, claimed_issuer};
use super::refusal::TokenError;
use crate::config::{AuthMode, Config, Secret};
use crate::hub::audience::Identity;
use crate::metrics::AccessMetrics;

/// The role of everybody where nobody has to prove who they are.
const ANONYMOUS: &str = "anonymous";

/// Decides who a client is.
#[derive(Debug)]
pub enum Authenticator {
    /// By a token.
    Jwt(Issuers),
    /// Everybody is the same anonymous identity.
    Anonymous(Arc<Identity>),
}

/// Everybody whose tokens are accepted.
#[derive(Debug)]
pub struct Issuers {
    verifiers: Vec<Verifier>,
    /// Which of them has the tokens of an issuer.
    by_name: HashMap<String, usize>,
    /// Which of them has all other tokens.
    others: Option<usize>,
    leeway: Duration,
}

/// Why the daemon cannot decide who is who.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticatorError {
    /// Nothing says how.
    #[error(
        "no authentication is configured. Set TIDINGS_JWT_SECRET to the secret that signs your tokens (HS256, at \
         least 32 bytes), or jwt.public_key_file or jwt.jwks_url for public keys; or, to let anybody in who can reach \
         the port, say so: TIDINGS_AUTH=none"
    )]
    Missing,
    /// Both a key and no authentication were asked for.
    #[error(
        "auth = none contradicts jwt.secret, jwt.public_key_file, jwt.jwks_url and [[jwt.issuers]]: remove one of them"
    )]
    Contradiction,
    /// An issuer is unusable.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
}

impl Authenticator {
    /// The authenticator that the configuration asks for. A key alone means `jwt`. Keys of a URL are not
    /// there before somebody calls [`Authenticator::fetch_keys`].
    ///
    /// # Errors
    /// If it asks for none, or for what cannot be.
    pub fn new(config: &Config) -> Result<Self, AuthenticatorError> {
        let has_key = config.jwt.main.has_key() || !config.jwt.others.is_empty();
        match (config.auth, has_key) {
            (None, false) => Err(AuthenticatorError::Missing),
            (Some(AuthMode::None), true) => Err(AuthenticatorError::Contradiction),
            (Some(AuthMode::None), false) => {
                let admin = config.admin_roles.iter().any(|role| role == ANONYMOUS);
                let identity = Identity { role: Some(ANONYMOUS.into()), admin, ..Identity::default() };
                Ok(Self::Anonymous(Arc::new(identity)))
            }
            (Some(AuthMode::Jwt) | None, _) => {
                Ok(Self::Jwt(Issuers::new(Issuer::all(config)?, config.jwt.leeway)))
            }
        }
    }

    /// What an operator should know at start, if more people come in than may be meant.
    pub fn warning(&self) -> Option<&'static str> {
        match self {
            Self::Jwt(issuers) => issuers.warning(),
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

    /// Starts to fetch the keys of all URLs, until the guard is dropped. Needs a tokio runtime.
    pub fn fetch_keys(&self, metrics: &AccessMetrics) -> DropGuard {
        let stop = CancellationToken::new();
        for verifier in self.verifiers() {
            if let Keys::Remote(keys, fetcher) = &verifier.issuer().keys {
                let (keys, fetcher, issuer) = (keys.clone(), fetcher.clone(), verifier.issuer().label());
                let (metrics, stop) = (metrics.clone(), stop.clone());
                tokio::spawn(async move { keys.follow(fetcher, issuer, metrics, stop).await });
            }
        }
        stop.drop_guard()
    }

    /// Fetches every key set once: its URL, and the number of keys or why there are none.
    pub async fn try_fetches(&self) -> Vec<(String, Result<usize, FetchError>)> {
        let mut tried = Vec::new();
        for verifier in self.verifiers() {
            if let Keys::Remote(_, fetcher) = &verifier.issuer().keys {
                let keys = fetcher.fetch().await;
                tried.push((fetcher.url().to_string(), keys.map(|keys| keys.size())));
            }
        }
        tried
    }

    fn verifiers(&self) -> &[Verifier] {
        match self {
            Self::Jwt(issuers) => &issuers.verifiers,
            Self::Anonymous(_) => &[],
        }
    }

    /// The identity of a client with this token, or without one. Waits, not for long, for keys that have to
    /// be fetched.
    ///
    /// # Errors
    /// If a token is needed and missing, expired or invalid, or the keys to tell are not there.
    pub async fn identify(
        &self,
        token: Result<Option<Secret>, TokenError>,
    ) -> Result<Arc<Identity>, TokenError> {
        let issuers = match self {
            Self::Anonymous(identity) => return Ok(identity.clone()),
            Self::Jwt(issuers) => issuers,
        };
        let identity = issuers.identify(token).await;
        match &identity {
            Ok(_) => {}
            // Whoever set the paths should hear of it; so should whoever has to bring the keys.
            Err(error @ TokenError::Unusable(_)) => {
                tracing::warn!(%error, "token refused: check the claim paths");
            }
            Err(error) => tracing::debug!(%error, "token refused"),
        }
        identity.map(Arc::new)
    }
}

impl Issuers {
    fn new(issuers: Vec<Issuer>, leeway: Duration) -> Self {
        let named = |(index, issuer): (usize, &Issuer)| {
            issuer.names.iter().map(move |name| (name.clone(), index)).collect::<Vec<_>>()
        };
        let by_name = issuers.iter().enumerate().flat_map(named).collect();
        let others = issuers.iter().position(|issuer| issuer.names.is_empty());
        let verifiers = issuers.into_iter().map(|issuer| Verifier::new(issuer, leeway)).collect();
        Self { verifiers, by_name, others, leeway }
    }

    fn warning(&self) -> Option<&'static str> {
        let any = |verifier: &Verifier| {
            let issuer = verifier.issuer();
            matches!(issuer.keys, Keys::Remote(..)) && issuer.audiences.is_empty()
        };
        self.verifiers.iter().any(any).then_some(
            "an issuer with jwks_url has no audience: whoever shares its keys may bring tokens that it made for other \
             services; set audience to what its tokens for this one have in aud",
        )
    }

    async fn identify(&self, token: Result<Option<Secret>, TokenError>) -> Result<Identity, TokenError> {
        let token = token?.ok_or(TokenError::Missing)?;
        let verifier = self.verifier(&token)?;
        let claims = verifier.verify(&token).await?;
        verifier.issuer().paths.identify(&claims, self.leeway)
    }

    /// Who checks a token. What the token says of its issuer only chooses; the signature decides.
    fn verifier(&self, token: &Secret) -> Result<&Verifier, TokenError> {
        if let [only] = &self.verifiers[..] {
            return Ok(only);
        }
        let named = claimed_issuer(token)?.and_then(|name| self.by_name.get(&name).copied());
        let index = named.or(self.others).ok_or(TokenError::Issuer)?;
        self.verifiers.get(index).ok_or(TokenError::Issuer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(auth: Option<AuthMode>, secret: bool) -> Result<Authenticator, AuthenticatorError> {
        let mut config = Config { auth, ..Config::default() };
        config.jwt.main.secret = secret.then(|| Secret::new("s".repeat(32)));
        Authenticator::new(&config)
    }

    #[test]
    fn without_any_setting_the_daemon_does_not_start() {
        assert!(with(None, false).unwrap_err().to_string().contains("TIDINGS_AUTH=none"));
        assert!(matches!(with(Some(AuthMode::None), true), Err(AuthenticatorError::Contradiction)));
        assert!(with(Some(AuthMode::Jwt), false).unwrap_err().to_string().contains("TIDINGS_JWT_SECRET"));
        assert!(with(None, true).unwrap().warning().is_none());
    }

    #[tokio::test]
    async fn anonymous_clients_belong_to_nobody() {
        let anonymous = with(Some(AuthMode::None), false).unwrap();
        assert!(anonymous.warning().unwrap().contains("open to all"));
        let identity = anonymous.identify(Ok(Some(Secret::new("ignored")))).await.unwrap();
        assert_eq!(identity.role.as_deref(), Some("anonymous"));
        assert!(identity.tenant.is_none() && identity.user.is_none() && !identity.admin);
    }

    #[tokio::test]
    async fn a_token_is_needed_where_tokens_are_configured() {
        let authenticator = with(None, true).unwrap();
        assert_eq!(authenticator.identify(Ok(None)).await.unwrap_err(), TokenError::Missing);
        let nonsense = authenticator.identify(Ok(Some(Secret::new("x")))).await;
        assert_eq!(nonsense.unwrap_err(), TokenError::Malformed);
    }
}
