//! The three layers of the configuration, and which of them a value came from.

use std::fmt;
use std::path::{Path, PathBuf};

use super::jwt::Issuer;
use super::settings::{self, SETTINGS, Setting};
use super::value::Value;
use super::{Config, ConfigError, issuers};

/// The file that is read when none is named and it exists.
pub const DEFAULT_FILE: &str = "tidings.toml";

/// Variables that look like ours and are not settings of the daemon: Kubernetes describes a service
/// called `tidings` to its neighbours in the first two, the repository's scripts use the others.
const FOREIGN: [&str; 5] =
    ["TIDINGS_PORT", "TIDINGS_SERVICE_", "TIDINGS_STATE", "TIDINGS_BIN", "TIDINGS_TEST_"];

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The file of that name.
    File(String),
    /// The environment variable of that name.
    Environment(String),
    /// The flag of that name.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "the file {path}"),
            Self::Environment(name) => write!(formatter, "the environment variable {name}"),
            Self::Flag(name) => write!(formatter, "the flag --{name}"),
        }
    }
}

/// What the process was started with.
#[derive(Debug, Default)]
pub struct Inputs {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// The environment, names and values.
    pub environment: Vec<(String, String)>,
    /// Flags by the key of their setting.
    pub flags: Vec<(&'static Setting, String)>,
}

impl Config {
    /// Reads the file, then the environment, then the flags; a later layer replaces an earlier one.
    ///
    /// # Errors
    /// If a layer cannot be read, names an unknown setting or holds a value that is not allowed.
    pub fn load(inputs: &Inputs) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let variable =
            |name: &str| inputs.environment.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        let named = inputs.file.clone().or_else(|| variable("TIDINGS_CONFIG").map(PathBuf::from));
        match named {
            Some(path) => config.apply_file(&path)?,
            None if Path::new(DEFAULT_FILE).exists() => config.apply_file(Path::new(DEFAULT_FILE))?,
            None => {}
        }
        for (name, value) in &inputs.environment {
            config.apply_variable(name, value)?;
        }
        for (setting, value) in &inputs.flags {
            let origin = Origin::Flag(setting.flag().unwrap_or_default());
            config.apply(setting, &Value::Text(value.clone()), origin)?;
        }
        Ok(config)
    }

    fn apply_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: shown.clone(), source })?;
        self.apply_toml(&text, &shown)
    }

    fn apply_toml(&mut self, text: &str, path: &str) -> Result<(), ConfigError> {
        let table = text.parse::<toml::Table>().map_err(|error| {
            // The parser's full message quotes the line, which may hold a secret.
            let line = error.span().map_or(0, |span| text[..span.start].lines().count().max(1));
            ConfigError::Syntax { path: path.into(), message: format!("line {line}: {}", error.message()) }
        })?;
        self.apply_table(&table, "", path)
    }

    fn apply_table(&mut self, table: &toml::Table, prefix: &str, path: &str) -> Result<(), ConfigError> {
        for (name, value) in table {
            let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            if key == "jwt.issuers" {
                self.jwt.others = issuers(value, path)?;
                continue;
            }
            if let toml::Value::Table(inner) = value {
                self.apply_table(inner, &key, path)?;
                continue;
            }
            let origin = Origin::File(path.into());
            match settings::by_key(&key) {
                Some(setting) => self.apply(setting, &from_toml(value), origin)?,
                None => return Err(unknown(&key, origin, SETTINGS.iter().map(|s| s.key.to_owned()))),
            }
        }
        Ok(())
    }

    fn apply_variable(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let foreign = FOREIGN.iter().any(|prefix| name.starts_with(prefix));
        if !name.starts_with("TIDINGS_") || foreign || name == "TIDINGS_CONFIG" {
            return Ok(());
        }
        let origin = Origin::Environment(name.into());
        match settings::by_env(name) {
            // A compose file passes variables on whether they are set or not.
            Some(_) if value.is_empty() => Ok(()),
            Some(setting) => self.apply(setting, &Value::Text(value.into()), origin),
            None => Err(unknown(name, origin, SETTINGS.iter().map(Setting::env))),
        }
    }

    fn apply(&mut self, setting: &'static Setting, value: &Value, origin: Origin) -> Result<(), ConfigError> {
        (setting.apply)(self, value).map_err(|_| ConfigError::Value {
            key: setting.key.into(),
            origin,
            value: shown(value, setting.secret || setting.key == "database_url"),
            allowed: setting.allowed,
        })
    }
}

/// The tables `[[jwt.issuers]]`, counted from 1 in errors.
fn issuers(value: &toml::Value, path: &str) -> Result<Vec<Issuer>, ConfigError> {
    let origin = || Origin::File(path.into());
    let refuse = |key: String, value: String, allowed: &'static str| {
        Err(ConfigError::Value { key, origin: origin(), value, allowed })
    };
    const TABLES: &str = "tables [[jwt.issuers]], each with issuer and a key";
    let toml::Value::Array(tables) = value else {
        return refuse("jwt.issuers".into(), "a value of this kind".into(), TABLES);
    };
    let mut issuers = Vec::with_capacity(tables.len());
    for (table, number) in tables.iter().zip(1..) {
        let toml::Value::Table(table) = table else {
            return refuse("jwt.issuers".into(), "a value of this kind".into(), TABLES);
        };
        let mut issuer = Issuer::default();
        for (name, value) in table {
            let key = format!("jwt.issuers[{number}].{name}");
            let Some(setting) = issuers::SETTINGS.iter().find(|setting| setting.name == name) else {
                let names = issuers::SETTINGS.iter().map(|setting| setting.name.to_owned());
                return Err(unknown_among(&key, name, origin(), names));
            };
            let value = from_toml(value);
            if (setting.apply)(&mut issuer, &value).is_err() {
                return refuse(key, shown(&value, setting.secret), setting.allowed);
            }
        }
        issuers.push(issuer);
    }
    Ok(issuers)
}

/// The value for an error message: what was written, unless it may hold a password.
fn shown(value: &Value, secret: bool) -> String {
    let with_password = matches!(value, Value::Text(text) if text.contains("://") && text.contains('@'));
    if secret || with_password {
        return match value {
            Value::Text(text) => format!("a text of {} bytes", text.len()),
            _ => "a value of this kind".into(),
        };
    }
    match value {
        Value::Text(text) => format!("{text:?}"),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(boolean) => boolean.to_string(),
        Value::List(items) => format!("{items:?}"),
        Value::Other => "a value of this kind".into(),
    }
}

fn from_toml(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::Text(text.clone()),
        toml::Value::Integer(number) => Value::Integer(*number),
        toml::Value::Boolean(boolean) => Value::Boolean(*boolean),
        toml::Value::Array(items) => {
            let texts: Option<Vec<_>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
            texts.map_or(Value::Other, Value::List)
        }
        _ => Value::Other,
    }
}

fn unknown(key: &str, origin: Origin, names: impl Iterator<Item = String>) -> ConfigError {
    unknown_among(key, key, origin, names)
}

/// An unknown setting whose own name, the last part of its key, is compared with the known ones.
fn unknown_among(key: &str, name: &str, origin: Origin, names: impl Iterator<Item = String>) -> ConfigError {
    let nearest = names.map(|known| (distance(name, &known), known)).min();
    let hint = match nearest {
        Some((distance, name)) if distance <= 3 => format!("; did you mean `{name}`?"),
        _ => "; `tidings serve --help` lists all settings".into(),
    };
    ConfigError::Unknown { key: key.into(), origin, hint }
}

/// Levenshtein's distance between two short names.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let substitute = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AuthMode, JwtAlgorithm, SourceKind};

    fn from_file(text: &str) -> Result<Config, String> {
        let mut config = Config::default();
        config.apply_toml(text, "tidings.toml").map(|()| config).map_err(|error| error.to_string())
    }

    fn from_env(name: &str, value: &str) -> Result<Config, String> {
        let inputs = Inputs { environment: vec![(name.into(), value.into())], ..Inputs::default() };
        Config::load(&inputs).map_err(|error| error.to_string())
    }

    #[test]
    fn a_later_layer_replaces_an_earlier_one() {
        let mut config =
            from_file("listen = \"127.0.0.1:1\"\nauth = \"none\"\n[limits]\nconnections = 7").unwrap();
        let listens = |config: &Config, at: &str| config.listen == [at.parse().unwrap()];
        assert!(listens(&config, "127.0.0.1:1"));
        assert_eq!(config.auth, Some(AuthMode::None));
        assert_eq!(config.limits.connections, 7);
        config.apply_variable("TIDINGS_LISTEN", "[::1]:2").unwrap();
        assert!(listens(&config, "[::1]:2"));
        let flag = settings::by_key("listen").unwrap();
        config.apply(flag, &Value::Text("127.0.0.1:3".into()), Origin::Flag("listen".into())).unwrap();
        assert!(listens(&config, "127.0.0.1:3"));
        config.apply_variable("TIDINGS_LISTEN", "127.0.0.1:4, unix:/run/t").unwrap();
        assert_eq!(config.listen.len(), 2);
    }

    #[test]
    fn the_names_that_scripts_use_are_known() {
        let names =
            ["DATABASE_URL", "LISTEN", "AUTH", "JWT_SECRET", "JWKS_URL", "REDIS_URL", "SOURCE", "STORE"];
        for name in names {
            assert!(settings::by_env(&format!("TIDINGS_{name}")).is_some(), "{name}");
        }
        assert_eq!(from_env("TIDINGS_SOURCE", "memory").unwrap().source, SourceKind::Memory);
        assert_eq!(from_env("TIDINGS_ADMIN_ROLES", "ops, root").unwrap().admin_roles, ["ops", "root"]);
    }

    #[test]
    fn an_error_names_key_origin_and_what_is_allowed() {
        assert_eq!(
            from_env("TIDINGS_LISTEN", "4000").unwrap_err(),
            "setting `listen` from the environment variable TIDINGS_LISTEN cannot be \"4000\"; \
             allowed: a list of IP addresses with a port, for example 127.0.0.1:4000 or [::1]:4000, or of unix: \
             and the absolute path of a socket"
        );
        assert_eq!(
            from_file("lisen = 1").unwrap_err(),
            "unknown setting `lisen` in the file tidings.toml; did you mean `listen`?"
        );
        assert_eq!(
            from_file("[mailbox]\nmessages = -1").unwrap_err(),
            "setting `mailbox.messages` from the file tidings.toml cannot be -1; allowed: 1 to 1000000"
        );
        assert!(from_env("TIDINGS_JWT_USER_CLAIM", "a..b").unwrap_err().contains("dotted path"));
        assert!(from_env("TIDINGS_LISTEM", "x").unwrap_err().contains("did you mean `TIDINGS_LISTEN`?"));
        assert!(from_env("TIDINGS_JWKS_URL", "http://x").unwrap_err().contains("an https URL"));
        assert!(from_file("listen = [").unwrap_err().contains("line 1"));
    }

    #[test]
    fn issuers_are_tables_of_the_file() {
        let config = from_file(
            "[[jwt.issuers]]\nissuer = \"https://a\"\nalgorithm = [\"es256\", \"EdDSA\"]\n\
             jwks_url = \"https://a/jwks\"\n[[jwt.issuers]]\nissuer = \"b\"\ntenant_claim = \"\\\"x.y\\\".z\"",
        )
        .unwrap();
        let [first, second] = &config.jwt.others[..] else { panic!("{config:?}") };
        assert_eq!((&*first.names, &*second.names), (&["https://a".to_owned()][..], &["b".to_owned()][..]));
        assert_eq!(first.algorithms, [JwtAlgorithm::Es256, JwtAlgorithm::EdDsa]);
        assert_eq!(second.tenant_claim.as_ref().unwrap().names(), ["x.y", "z"]);

        let wrong = |line: &str| from_file(&format!("[[jwt.issuers]]\n[[jwt.issuers]]\n{line}")).unwrap_err();
        assert_eq!(
            wrong("audiense = 1"),
            "unknown setting `jwt.issuers[2].audiense` in the file tidings.toml; did you mean `audience`?"
        );
        assert!(wrong("algorithm = \"none\"").contains("`jwt.issuers[2].algorithm`"));
        assert!(wrong("algorithm = []").contains("HS256"));
        let short = wrong("secret = \"hunter2\"");
        assert!(short.contains("a text of 7 bytes") && !short.contains("hunter2"), "{short}");
        assert!(from_file("[jwt]\nissuers = [\"https://a\"]").unwrap_err().contains("[[jwt.issuers]]"));
        assert!(from_file("[jwt]\nissuers = \"https://a\"").unwrap_err().contains("[[jwt.issuers]]"));
    }

    #[test]
    fn places_of_tokens_have_names_of_their_own() {
        assert_eq!(
            from_env("TIDINGS_JWT_COOKIE", "__Host-t").unwrap().jwt.cookie.as_deref(),
            Some("__Host-t")
        );
        for name in ["a b", "a=b", "a;b", "ü"] {
            assert!(from_env("TIDINGS_JWT_COOKIE", name).is_err(), "{name}");
        }
        assert!(from_env("TIDINGS_JWT_QUERY_PARAMETER", "access_token").is_ok());
        for name in ["token", "query", "lastEventId", "a&b"] {
            assert!(from_env("TIDINGS_JWT_QUERY_PARAMETER", name).is_err(), "{name}");
        }
        let mut config = from_env("TIDINGS_JWT_COOKIE", "t").unwrap();
        config.source = SourceKind::Memory;
        assert!(config.check().is_ok());
        config.allowed_origins = vec!["*".into()];
        assert!(config.check().unwrap_err().to_string().contains("jwt.cookie"));
    }

    #[test]
    fn secrets_are_never_printed() {
        let short = from_env("TIDINGS_JWT_SECRET", "hunter2").unwrap_err();
        assert!(short.contains("a text of 7 bytes") && short.contains("at least 32 bytes"), "{short}");
        let url = from_env("TIDINGS_DATABASE_URL", "mysql://u:hunter2@h").unwrap_err();
        assert!(!url.contains("hunter2"), "{url}");
        let url = from_env("TIDINGS_JWKS_URL", "https://u:hunter2@h/").unwrap_err();
        assert!(!url.contains("hunter2"), "{url}");
        let config = from_env("TIDINGS_JWT_SECRET", &"hunter2".repeat(9)).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(settings::by_key("jwt.secret").unwrap().flag().is_none());
        for text in
            ["[jwt]\nsecret = \"hunter2", "[jwt]\nsecret = [\"hunter2\"]", "database_url = [\"hunter2\"]"]
        {
            assert!(!from_file(text).unwrap_err().contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn variables_of_an_orchestrator_are_no_settings() {
        assert!(from_env("TIDINGS_PORT_4000_TCP", "tcp://10.0.0.1:4000").is_ok());
        assert!(from_env("TIDINGS_SERVICE_HOST", "10.0.0.1").is_ok());
    }

    #[test]
    fn a_database_is_needed_unless_the_source_is_memory() {
        assert!(Config::default().check().unwrap_err().to_string().contains("TIDINGS_DATABASE_URL"));
        assert!(Config { source: SourceKind::Memory, ..Config::default() }.check().is_ok());
    }
}
