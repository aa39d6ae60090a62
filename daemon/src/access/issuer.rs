//! One issuer: its keys, its pinned algorithms, and what its tokens must say.

use std::sync::Arc;

use super::claims::ClaimPaths;
use super::fetch::{Fetcher, FetcherError};
use super::key::{Key, KeyError, KeyKind, secret_bytes_min};
use super::key_set::KeySet;
use super::remote::RemoteKeys;
use crate::config::jwt::Issuer as Settings;
use crate::config::{Config, JwtAlgorithm};

/// What keys of a URL are used for unless it is said: the usual algorithm of each kind.
const URL_ALGORITHMS: [JwtAlgorithm; 4] =
    [JwtAlgorithm::Rs256, JwtAlgorithm::Es256, JwtAlgorithm::Es384, JwtAlgorithm::EdDsa];

/// An issuer whose tokens are accepted.
#[derive(Debug)]
pub struct Issuer {
    /// Accepted values of `iss`; empty: any, or none.
    pub names: Vec<String>,
    /// Accepted values of `aud`; empty: any, or none.
    pub audiences: Vec<String>,
    /// The algorithms that its tokens may have. Never empty, never from a token.
    pub algorithms: Vec<JwtAlgorithm>,
    /// Its keys.
    pub keys: Keys,
    /// Which of its claims say what.
    pub paths: ClaimPaths,
}

/// Where an issuer's keys are.
#[derive(Debug)]
pub enum Keys {
    /// Here.
    Local(KeySet),
    /// Fetched by the second, into the first.
    Remote(Arc<RemoteKeys>, Fetcher),
}

/// Why an issuer cannot be used. Names the setting.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// Settings that do not go together, or one that is missing.
    #[error("{0}")]
    Combination(String),
    /// The key is not usable.
    #[error("setting `{setting}`: {source}")]
    Key {
        /// The setting.
        setting: String,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// Keys cannot be fetched.
    #[error("setting `{setting}`: {source}")]
    Fetcher {
        /// The setting.
        setting: String,
        /// Why.
        #[source]
        source: FetcherError,
    },
}

impl Issuer {
    /// All issuers of a configuration, the main one first if it has a key.
    ///
    /// # Errors
    /// If one of them cannot be used, or two have the same name.
    pub fn all(config: &Config) -> Result<Vec<Self>, IssuerError> {
        let mut issuers = Vec::new();
        if config.jwt.main.has_key() || config.jwt.others.is_empty() {
            issuers.push(Self::new(config, &config.jwt.main, "jwt")?);
        }
        for (settings, number) in config.jwt.others.iter().zip(1..) {
            let place = format!("jwt.issuers[{number}]");
            if settings.names.is_empty() {
                return Err(IssuerError::Combination(format!(
                    "setting `{place}.issuer` is missing: a token is checked by the table that has its iss"
                )));
            }
            issuers.push(Self::new(config, settings, &place)?);
        }
        let mut names: Vec<_> = issuers.iter().flat_map(|issuer| &issuer.names).collect();
        names.sort();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(IssuerError::Combination(format!(
                "the issuer {:?} is configured twice: by `jwt.issuer` or a table [[jwt.issuers]], a token is checked \
                 by one of them",
                twice[0]
            )));
        }
        Ok(issuers)
    }

    fn new(config: &Config, settings: &Settings, place: &str) -> Result<Self, IssuerError> {
        let (keys, algorithms) = keys(config, settings, place)?;
        let main = &config.jwt.main;
        let path = |own: &Option<_>, main: &Option<_>| own.clone().or_else(|| main.clone());
        Ok(Self {
            names: settings.names.clone(),
            audiences: settings.audiences.clone(),
            algorithms,
            keys,
            paths: ClaimPaths {
                user: path(&settings.user_claim, &main.user_claim),
                tenant: path(&settings.tenant_claim, &main.tenant_claim),
                role: path(&settings.role_claim, &main.role_claim),
                admin_roles: config.admin_roles.clone(),
            },
        })
    }

    /// What metrics call it.
    pub fn label(&self) -> String {
        self.names.first().cloned().unwrap_or_else(|| "jwt".to_owned())
    }
}

fn keys(config: &Config, settings: &Settings, place: &str) -> Result<(Keys, Vec<JwtAlgorithm>), IssuerError> {
    let setting = |name: &str| format!("{place}.{name}");
    match (&settings.secret, &settings.public_key_file, &settings.jwks_url) {
        (Some(secret), None, None) => {
            let algorithms = pinned(settings, place, "secret", KeyKind::Secret)?;
            if secret.expose().contains("-----BEGIN ") {
                return Err(IssuerError::Combination(format!(
                    "setting `{}` holds a PEM key, and whoever has that key could sign tokens with it: put a public \
                     key into a file, and its path into `{}`",
                    setting("secret"),
                    setting("public_key_file")
                )));
            }
            for algorithm in &algorithms {
                let (least, length) = (secret_bytes_min(*algorithm), secret.expose().len());
                if length < least {
                    return Err(IssuerError::Combination(format!(
                        "setting `{}` has {length} bytes, and {} needs at least {least}: use a longer one, for example \
                         the output of `openssl rand -base64 64`",
                        setting("secret"),
                        algorithm.name()
                    )));
                }
            }
            Ok((Keys::Local(KeySet::one(Key::secret(secret))), algorithms))
        }
        (None, Some(file), None) => {
            let key = Key::from_pem_file(file);
            let key =
                key.map_err(|source| IssuerError::Key { setting: setting("public_key_file"), source })?;
            let algorithms = pinned(settings, place, "public_key_file", key.kind)?;
            Ok((Keys::Local(KeySet::one(key)), algorithms))
        }
        (None, None, Some(url)) => {
            let algorithms = match &settings.algorithms[..] {
                [] => URL_ALGORITHMS.to_vec(),
                pinned => pinned.to_vec(),
            };
            let secret = algorithms.iter().find(|algorithm| KeyKind::Secret.algorithms().contains(algorithm));
            if let Some(algorithm) = secret {
                return Err(IssuerError::Combination(format!(
                    "setting `{}` = {} does not go with `{}`: the keys of a URL are public, and that algorithm needs \
                     a secret",
                    setting("algorithm"),
                    algorithm.name(),
                    setting("jwks_url")
                )));
            }
            let times = config.jwt.fetch;
            let fetcher = Fetcher::new(url.clone(), &algorithms, times.timeout);
            let fetcher =
                fetcher.map_err(|source| IssuerError::Fetcher { setting: setting("jwks_url"), source })?;
            Ok((Keys::Remote(Arc::new(RemoteKeys::new(times)), fetcher), algorithms))
        }
        (None, None, None) => Err(IssuerError::Combination(format!(
            "`{place}` needs a key: set one of `{}` ({}), `{}` and `{}`",
            setting("secret"),
            if place == "jwt" { "TIDINGS_JWT_SECRET, at least 32 bytes" } else { "at least 32 bytes" },
            setting("public_key_file"),
            setting("jwks_url")
        ))),
        _ => Err(IssuerError::Combination(format!(
            "more than one of `{}`, `{}` and `{}` is set: the tokens of an issuer are checked with the keys of one, \
             remove the others, or make another issuer of them ([[jwt.issuers]])",
            setting("secret"),
            setting("public_key_file"),
            setting("jwks_url")
        ))),
    }
}

/// The algorithms of a key: the configured ones, all of which must be for it, else the usual one.
fn pinned(
    settings: &Settings,
    place: &str,
    key: &str,
    kind: KeyKind,
) -> Result<Vec<JwtAlgorithm>, IssuerError> {
    let fitting = kind.algorithms();
    match settings.algorithms.iter().find(|algorithm| !fitting.contains(algorithm)) {
        Some(other) => {
            let names: Vec<_> = fitting.iter().map(|algorithm| algorithm.name()).collect();
            Err(IssuerError::Combination(format!(
                "setting `{place}.algorithm` = {} does not go with `{place}.{key}`, which is {kind}: that is for {}",
                other.name(),
                names.join(", ")
            )))
        }
        None if settings.algorithms.is_empty() => Ok(vec![fitting[0]]),
        None => Ok(settings.algorithms.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::config::jwt::KeyUrl;

    fn refused(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        Issuer::all(&config).unwrap_err().to_string()
    }

    fn secret(bytes: usize) -> Option<Secret> {
        Some(Secret::new("s".repeat(bytes)))
    }

    #[test]
    fn an_issuer_has_one_source_of_keys() {
        assert!(refused(|_| {}).contains("TIDINGS_JWT_SECRET"));
        let both = refused(|config| {
            config.jwt.main.secret = secret(32);
            config.jwt.main.public_key_file = Some("k.pem".into());
        });
        assert!(both.contains("more than one"), "{both}");
        let missing = refused(|config| config.jwt.main.public_key_file = Some("no/such.pem".into()));
        assert!(missing.contains("jwt.public_key_file") && missing.contains("no/such.pem"), "{missing}");
        let keyless = refused(|config| {
            config.jwt.others = vec![Settings { names: vec!["a".into()], ..Settings::default() }];
        });
        assert!(keyless.contains("jwt.issuers[1].secret"), "{keyless}");
    }

    #[test]
    fn algorithms_go_with_the_key() {
        let message = refused(|config| {
            config.jwt.main.secret = secret(64);
            config.jwt.main.algorithms = vec![JwtAlgorithm::Hs256, JwtAlgorithm::Rs256];
        });
        assert_eq!(
            message,
            "setting `jwt.algorithm` = RS256 does not go with `jwt.secret`, which is a shared secret: that is for HS256, \
             HS384, HS512"
        );
        let message = refused(|config| {
            config.jwt.main.jwks_url = KeyUrl::parse("http://127.0.0.1/jwks");
            config.jwt.main.algorithms = vec![JwtAlgorithm::Hs256];
        });
        assert!(message.contains("the keys of a URL are public"), "{message}");
        for (algorithm, least) in [(JwtAlgorithm::Hs384, 48), (JwtAlgorithm::Hs512, 64)] {
            let message = refused(|config| {
                config.jwt.main.secret = secret(least - 1);
                config.jwt.main.algorithms = vec![algorithm];
            });
            assert!(message.contains(&format!("at least {least}")), "{message}");
        }
    }

    #[test]
    fn issuers_have_names_of_their_own() {
        let table = |names: &[&str]| Settings {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            secret: secret(32),
            ..Settings::default()
        };
        assert!(refused(|config| config.jwt.others = vec![table(&[])]).contains("jwt.issuers[1].issuer"));
        let twice = refused(|config| config.jwt.others = vec![table(&["a"]), table(&["b", "a"])]);
        assert!(twice.contains("\"a\" is configured twice"), "{twice}");

        let mut config = Config::default();
        config.jwt.others = vec![table(&["a"]), table(&["b"])];
        let issuers = Issuer::all(&config).unwrap();
        assert_eq!(issuers.iter().map(Issuer::label).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(issuers[0].paths.tenant.as_ref().unwrap().text(), "tenant_id");
    }
}
