//! The table of all settings.

use std::str::FromStr;
use std::time::Duration;

use crate::graphql::limits::Limits;

use super::issuers;
use super::{AuthMode, Config, LogFormat, Secret, SourceKind, StoreKind};

/// A value as it was found: typed in a file, text in the environment and in flags.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A text, which may hold any other kind.
    Text(String),
    /// A number.
    Integer(i64),
    /// `true` or `false`.
    Boolean(bool),
    /// A list; as text its items are separated by commas.
    List(Vec<String>),
    /// Something that no setting takes.
    Other,
}

/// The value is not allowed. The reader of the setting turns it into an error for people.
#[derive(Debug)]
pub struct NotAllowed;

impl Value {
    pub(super) fn text(&self) -> Result<String, NotAllowed> {
        match self {
            Self::Text(text) if !text.trim().is_empty() => Ok(text.clone()),
            _ => Err(NotAllowed),
        }
    }

    fn parse<T: FromStr>(&self) -> Result<T, NotAllowed> {
        self.text()?.trim().parse().map_err(|_| NotAllowed)
    }

    fn one_of<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, NotAllowed> {
        let text = self.text()?;
        choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(text.trim())).map(|c| c.1).ok_or(NotAllowed)
    }

    fn integer(&self, least: u64, most: u64) -> Result<u64, NotAllowed> {
        let number = match self {
            Self::Integer(number) => u64::try_from(*number).map_err(|_| NotAllowed)?,
            _ => self.parse()?,
        };
        if (least..=most).contains(&number) { Ok(number) } else { Err(NotAllowed) }
    }

    fn count(&self, least: u64, most: u64) -> Result<usize, NotAllowed> {
        usize::try_from(self.integer(least, most)?).map_err(|_| NotAllowed)
    }

    fn boolean(&self) -> Result<bool, NotAllowed> {
        match self {
            Self::Boolean(boolean) => Ok(*boolean),
            _ => self.one_of(&[("true", true), ("false", false)]),
        }
    }

    pub(super) fn list(&self) -> Result<Vec<String>, NotAllowed> {
        match self {
            Self::List(items) if items.iter().all(|item| !item.trim().is_empty()) => Ok(items.clone()),
            Self::Text(text) if text.trim().is_empty() => Ok(Vec::new()),
            Self::Text(text) => {
                Self::List(text.split(',').map(|item| item.trim().to_owned()).collect()).list()
            }
            _ => Err(NotAllowed),
        }
    }

    fn seconds(&self, least: u64, most: u64) -> Result<Duration, NotAllowed> {
        self.integer(least, most).map(Duration::from_secs)
    }

    fn milliseconds(&self, least: u64, most: u64) -> Result<Duration, NotAllowed> {
        self.integer(least, most).map(Duration::from_millis)
    }
}

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Dotted key in the file.
    pub key: &'static str,
    /// What it is, for `--help`.
    pub help: &'static str,
    /// What is allowed, for errors.
    pub allowed: &'static str,
    /// Secrets have no flag, because the process list shows flags to everybody, and no error prints them.
    pub secret: bool,
    /// Puts the value into the configuration.
    pub apply: fn(&mut Config, &Value) -> Result<(), NotAllowed>,
}

impl Setting {
    /// Its name in the environment.
    pub fn env(&self) -> String {
        match self.key {
            "jwt.jwks_url" => "TIDINGS_JWKS_URL".into(),
            key => format!("TIDINGS_{}", key.replace('.', "_").to_uppercase()),
        }
    }

    /// Its flag without the dashes, if it has one.
    pub fn flag(&self) -> Option<String> {
        (!self.secret).then(|| self.key.replace(['.', '_'], "-"))
    }
}

/// A row of the table: key, help, allowed, apply.
const fn setting(
    key: &'static str,
    help: &'static str,
    allowed: &'static str,
    apply: fn(&mut Config, &Value) -> Result<(), NotAllowed>,
) -> Setting {
    Setting { key, help, allowed, secret: false, apply }
}

const fn secret(setting: Setting) -> Setting {
    Setting { secret: true, ..setting }
}

const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;
const DAY_S: u64 = 86_400;
/// Query parameters that the protocols have given a meaning.
const QUERY_PARAMETERS: [&str; 8] =
    ["query", "variables", "operationName", "extensions", "token", "operationId", "lastEventId", "events"];

/// A row that is a setting of the main issuer.
macro_rules! of_main_issuer {
    ($key:literal, $help:literal, $setting:ident) => {
        Setting {
            key: $key,
            help: $help,
            allowed: issuers::$setting.allowed,
            secret: issuers::$setting.secret,
            apply: |config, value| (issuers::$setting.apply)(&mut config.jwt.main, value),
        }
    };
}

/// `target = value` as the `apply` of a row.
macro_rules! put {
    ($config:ident . $($field:ident).+ = $value:ident . $read:ident ( $($argument:tt)* )) => {
        |$config, $value| {
            $config.$($field).+ = $value.$read($($argument)*)?.into();
            Ok(())
        }
    };
}

/// Every setting, in the order in which `--help` shows them.
pub const SETTINGS: &[Setting] = &[
    setting(
        "database_url",
        "Connection string of the database",
        "postgres://user@host:port/database",
        |c, v| {
            let text = v.text()?;
            let known =
                text.starts_with("postgres://") || text.starts_with("postgresql://") || text.contains('=');
            c.database_url = Some(Secret::new(text));
            if known { Ok(()) } else { Err(NotAllowed) }
        },
    ),
    setting(
        "listen",
        "Address and port to listen on",
        "an IP address and a port, for example 127.0.0.1:4000",
        |c, v| {
            c.listen = v.parse()?;
            Ok(())
        },
    ),
    setting(
        "auth",
        "How clients prove who they are",
        "jwt or none",
        put!(c.auth = v.one_of(&[("jwt", AuthMode::Jwt), ("none", AuthMode::None)])),
    ),
    of_main_issuer!("jwt.secret", "Shared secret of HS256, HS384 or HS512", SECRET),
    of_main_issuer!("jwt.public_key_file", "PEM file with a public key: RSA, EC or Ed25519", PUBLIC_KEY_FILE),
    of_main_issuer!("jwt.jwks_url", "URL of a set of public keys", JWKS_URL),
    of_main_issuer!("jwt.algorithm", "Signature algorithms that are accepted", ALGORITHMS),
    of_main_issuer!("jwt.issuer", "Accepted values of the claim iss", NAMES),
    of_main_issuer!("jwt.audience", "Accepted values of the claim aud", AUDIENCES),
    setting(
        "jwt.leeway_s",
        "Tolerated difference between clocks",
        "0 to 300 seconds",
        put!(c.jwt.leeway = v.seconds(0, 300)),
    ),
    of_main_issuer!("jwt.user_claim", "Path of the user claim (default sub)", USER_CLAIM),
    of_main_issuer!("jwt.tenant_claim", "Path of the tenant claim (default tenant_id)", TENANT_CLAIM),
    of_main_issuer!("jwt.role_claim", "Path of the role claim (default role)", ROLE_CLAIM),
    setting(
        "jwt.jwks_refresh_s",
        "Time between fetches of a set of keys",
        "1 to 86400 seconds",
        put!(c.jwt.fetch.refresh = v.seconds(1, DAY_S)),
    ),
    setting(
        "jwt.jwks_refetch_s",
        "Least time between fetches because of tokens with unknown keys",
        "1 to 3600 seconds",
        put!(c.jwt.fetch.refetch = v.seconds(1, 3_600)),
    ),
    setting(
        "jwt.jwks_max_age_s",
        "How old keys may become while their URL does not answer",
        "1 to 2592000 seconds, not below jwt.jwks_refresh_s",
        put!(c.jwt.fetch.age_max = v.seconds(1, 30 * DAY_S)),
    ),
    setting(
        "jwt.jwks_timeout_s",
        "Time for one fetch of a set of keys",
        "1 to 60 seconds",
        put!(c.jwt.fetch.timeout = v.seconds(1, 60)),
    ),
    setting(
        "jwt.cookie",
        "Cookie that may hold a token",
        "the name of a cookie, such as __Host-token",
        |c, v| {
            let name = v.text()?;
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            if !name.bytes().all(plain) {
                return Err(NotAllowed);
            }
            c.jwt.cookie = Some(name);
            Ok(())
        },
    ),
    setting(
        "jwt.query_parameter",
        "Query parameter that may hold a token",
        "a name of letters, digits, - and _ that means nothing else here, such as access_token",
        |c, v| {
            let name = v.text()?;
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            if !name.bytes().all(plain) || QUERY_PARAMETERS.contains(&name.as_str()) {
                return Err(NotAllowed);
            }
            c.jwt.query_parameter = Some(name);
            Ok(())
        },
    ),
    setting(
        "admin_roles",
        "Roles that see everybody's events",
        "a list of roles",
        put!(c.admin_roles = v.list()),
    ),
    setting(
        "allowed_origins",
        "Origins of web pages that may use the endpoint, besides its own",
        "a list of origins such as https://app.example, or *",
        |c, v| {
            let origins = v.list()?;
            let known = |origin: &String| {
                origin == "*"
                    || origin
                        .split_once("://")
                        .is_some_and(|(_, host)| !host.is_empty() && !host.contains('/'))
            };
            if !origins.iter().all(known) {
                return Err(NotAllowed);
            }
            c.allowed_origins = origins.into_iter().map(|origin| origin.to_ascii_lowercase()).collect();
            Ok(())
        },
    ),
    setting(
        "graphiql",
        "Whether browsers get GraphiQL at the endpoint",
        "true or false",
        put!(c.graphiql = v.boolean()),
    ),
    setting(
        "metadata_channels",
        "Channels whose events show their metadata",
        "a list of channels",
        put!(c.schema.metadata_channels = v.list()),
    ),
    setting(
        "source",
        "Where events come from",
        "postgres, or memory for tests (redis comes later)",
        put!(c.source = v.one_of(&[("postgres", SourceKind::Postgres), ("memory", SourceKind::Memory)])),
    ),
    setting(
        "store",
        "Where reservations are kept",
        "postgres or memory (redis comes later)",
        put!(c.store = v.one_of(&[("postgres", StoreKind::Postgres), ("memory", StoreKind::Memory)])),
    ),
    secret(setting(
        "redis_url",
        "Connection string of Redis",
        "nothing yet: Redis is not supported",
        |_, _| Err(NotAllowed),
    )),
    setting(
        "log.format",
        "Form of log lines",
        "text or json",
        put!(c.log_format = v.one_of(&[("text", LogFormat::Text), ("json", LogFormat::Json)])),
    ),
    setting(
        "log.filter",
        "Which log lines to write",
        "a level, or a list such as warn,tidings_daemon=debug",
        |c, v| {
            let text = v.text()?;
            text.parse::<tracing_subscriber::filter::Targets>().map_err(|_| NotAllowed)?;
            c.log_filter = text;
            Ok(())
        },
    ),
    setting(
        "metrics_remote",
        "Whether /metrics answers other machines",
        "true or false",
        put!(c.metrics_remote = v.boolean()),
    ),
    setting(
        "mailbox.messages",
        "Deliveries that may wait for one connection",
        "1 to 1000000",
        put!(c.mailbox.messages = v.count(1, 1_000_000)),
    ),
    setting(
        "mailbox.bytes",
        "Bytes that may wait for one connection",
        "64 KiB (65536) to 1 GiB",
        put!(c.mailbox.bytes = v.count(64 * KIB, GIB)),
    ),
    setting(
        "events_roles",
        "Roles that may read channels of attached tables through events",
        "a list of roles",
        put!(c.schema.events_roles = v.list()),
    ),
    setting(
        "document.max_bytes",
        "Bytes of a document",
        "256 bytes to 1 MiB (1048576)",
        put!(c.schema.limits.document_bytes = v.count(256, KIB * KIB)),
    ),
    setting(
        "document.max_tokens",
        "Tokens of a document",
        "16 to 1000000",
        put!(c.schema.limits.tokens = v.count(16, 1_000_000)),
    ),
    setting(
        "document.max_depth",
        "Nesting of a document, fragments followed",
        "1 to 64",
        put!(c.schema.limits.depth = v.count(1, Limits::DEPTH_MAX as u64)),
    ),
    setting(
        "document.max_aliases",
        "Aliases of a document",
        "0 to 10000",
        put!(c.schema.limits.aliases = v.count(0, 10_000)),
    ),
    setting(
        "document.max_root_fields",
        "Root fields of an operation",
        "1 to 10000",
        put!(c.schema.limits.root_fields = v.count(1, 10_000)),
    ),
    setting(
        "document.max_fields",
        "Fields of a document, fragments followed",
        "1 to 1000000",
        put!(c.schema.limits.fields = v.count(1, 1_000_000)),
    ),
    setting(
        "document.max_list_items",
        "Items of a list argument",
        "1 to 100000",
        put!(c.schema.limits.list_items = v.count(1, 100_000)),
    ),
    setting(
        "document.max_filter_tests",
        "Comparisons in a filter",
        "1 to 10000",
        put!(c.schema.limits.filter_tests = v.count(1, 10_000)),
    ),
    setting(
        "document.cache_bytes",
        "Bytes that cached documents and plans may take, each",
        "1 MiB (1048576) to 16 GiB",
        put!(c.schema.limits.cache_bytes = v.count(KIB * KIB, 16 * GIB)),
    ),
    setting(
        "initial.max_rows",
        "Rows that a subscription may begin with",
        "1 to 1000000",
        put!(c.schema.limits.initial_rows = v.count(1, 1_000_000)),
    ),
    setting(
        "initial.max_bytes",
        "Bytes of the results that a subscription may begin with",
        "1 KiB (1024) to 1 GiB",
        put!(c.schema.limits.initial_bytes = v.count(KIB, GIB)),
    ),
    setting(
        "document.introspection",
        "Whether introspection is answered",
        "true or false",
        put!(c.schema.introspection = v.boolean()),
    ),
    setting(
        "document.introspection_by_role",
        "Whether a role is shown only the fields that it may see",
        "true or false",
        put!(c.schema.introspection_by_role = v.boolean()),
    ),
    setting(
        "document.allow_list_file",
        "JSON file with the only documents that may run, by their SHA-256",
        "the path of a JSON file",
        |c, v| {
            c.allow_list_file = Some(v.text()?.into());
            Ok(())
        },
    ),
    setting(
        "resolve.role",
        "Database role of functions whose results are shared (EVENT, TENANT)",
        "the name of a role that the daemon's role is a member of",
        |c, v| {
            c.schema.callers.shared = Some(v.text()?);
            Ok(())
        },
    ),
    setting(
        "resolve.roles",
        "Database roles that a role claim may become in functions",
        "a list of roles that the daemon's role is a member of",
        put!(c.schema.callers.allowed = v.list()),
    ),
    setting(
        "resolve.anonymous_role",
        "Database role of functions for those without a role claim",
        "the name of a role that the daemon's role is a member of",
        |c, v| {
            c.schema.callers.anonymous = Some(v.text()?);
            Ok(())
        },
    ),
    setting(
        "resolve.timeout_ms",
        "Time for a call of a function",
        "10 to 60000 milliseconds",
        put!(c.resolve.timeout = v.milliseconds(10, 60_000)),
    ),
    setting(
        "resolve.connections",
        "Connections for functions, and so calls at once",
        "1 to 1000",
        put!(c.resolve.connections = v.count(1, 1_000)),
    ),
    setting(
        "resolve.queue",
        "Calls of functions that may wait",
        "1 to 1000000",
        put!(c.resolve.queue = v.count(1, 1_000_000)),
    ),
    setting(
        "resolve.slow_ms",
        "From when on a call of a function is logged as slow",
        "0 to 60000 milliseconds",
        put!(c.resolve.slow = v.milliseconds(0, 60_000)),
    ),
    setting(
        "limits.connections",
        "Client streams in all",
        "1 to 10000000",
        put!(c.limits.connections = v.count(1, 10_000_000)),
    ),
    setting(
        "limits.sockets",
        "TCP connections in all",
        "1 to 10000000",
        put!(c.limits.sockets = v.count(1, 10_000_000)),
    ),
    setting(
        "limits.subscriptions",
        "Running subscriptions of one connection",
        "1 to 100000",
        put!(c.limits.subscriptions = v.count(1, 100_000)),
    ),
    setting(
        "limits.body_bytes",
        "Bytes of a request body or WebSocket message",
        "1 KiB (1024) to 64 MiB",
        put!(c.limits.body_bytes = v.count(KIB, 64 * KIB * KIB)),
    ),
    // hyper cannot work with less than 8 KiB.
    setting(
        "limits.header_bytes",
        "Bytes of a request's head",
        "8 KiB (8192) to 1 MiB",
        put!(c.limits.header_bytes = v.count(8 * KIB, KIB * KIB)),
    ),
    setting(
        "limits.request_s",
        "Time for a request's head, and for its body",
        "1 to 300 seconds",
        put!(c.limits.request_time = v.seconds(1, 300)),
    ),
    setting(
        "limits.write_stall_s",
        "Time for which a write may make no progress",
        "1 to 600 seconds",
        put!(c.limits.write_stall = v.seconds(1, 600)),
    ),
    setting(
        "safety_poll_ms",
        "How often the source polls though nothing woke it",
        "10 to 60000 milliseconds",
        put!(c.safety_poll = v.milliseconds(10, 60_000)),
    ),
    setting(
        "max_lag_ms",
        "Lag of the source above which /readyz is red",
        "100 to 3600000 milliseconds",
        put!(c.max_lag = v.milliseconds(100, 3_600_000)),
    ),
    setting(
        "drain_s",
        "Time over which streams leave after SIGTERM",
        "0 to 86400 seconds",
        put!(c.drain = v.seconds(0, DAY_S)),
    ),
];

/// The setting of that key.
pub fn by_key(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// The setting of that name in the environment.
pub fn by_env(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.env() == name)
}
