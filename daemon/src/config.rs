//! The configuration: `tidings.toml`, then `TIDINGS_*` of the environment, then flags.
//!
//! One table ([`settings::SETTINGS`]) names every setting; the file's keys, the environment's names,
//! the flags, their help and what an error says is allowed all come from it.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::graphql::schema::SchemaOptions;
use crate::hub::mailbox::MailboxLimits;
use crate::source::postgres::functions::FunctionLimits;
use crate::source::ring::RingLimits;
use crate::store::reservation::ReservationLimits;
use proxies::TrustedProxies;

pub mod value;

pub mod settings;

pub mod listen;

pub mod jwt;

pub mod issuers;

pub mod proxies;

pub mod layers;

pub use jwt::{Jwt, JwtAlgorithm};
pub use listen::{AdminAccess, ListenAddress, Tls};

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("<secret>")
    }
}

/// How clients prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    /// By a JSON Web Token.
    Jwt,
    /// Not at all: everybody is `anonymous`.
    None,
}

/// Where events come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// The database itself.
    Postgres,
    /// Nowhere but `publish`: for tests and embedding.
    Memory,
}

/// Where reservations are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// In the database.
    Postgres,
    /// In this process.
    Memory,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Bounds of what clients may hold or send.
#[derive(Debug, Clone, Copy)]
pub struct ClientLimits {
    /// Client streams in all; more are shed.
    pub connections: usize,
    /// Attempts to connect from one client address in a minute; 0 is without bound.
    pub attempts_per_minute: u32,
    /// Client streams of one user; 0 is without bound.
    pub connections_per_user: usize,
    /// Client streams of all users of one tenant; 0 is without bound.
    pub connections_per_tenant: usize,
    /// Operations that one user may begin in a minute; 0 is without bound.
    pub operations_per_minute: u32,
    /// Results that one user may get in a second; 0 is without bound.
    pub deliveries_per_second: u32,
    /// Sockets in all; more are closed at once.
    pub sockets: usize,
    /// Sockets from one address; 0 is without bound.
    pub sockets_per_address: usize,
    /// Running subscriptions of one connection; more are refused.
    pub subscriptions: usize,
    /// Bytes of a request body or of a WebSocket message.
    pub body_bytes: usize,
    /// Bytes of a request's head.
    pub header_bytes: usize,
    /// Time for a request's head, for its body, and for a TLS handshake.
    pub request_time: Duration,
    /// Time for which a socket may stay between two requests.
    pub idle: Duration,
    /// Time for which a write may make no progress at all.
    pub write_stall: Duration,
}

/// Everything that can be configured, each with its default.
#[derive(Debug, Clone)]
pub struct Config {
    /// Connection string of the database.
    pub database_url: Option<Secret>,
    /// Where the endpoint listens; at least one.
    pub listen: Vec<ListenAddress>,
    /// Permissions of Unix sockets.
    pub listen_mode: u32,
    /// The certificate of the listener.
    pub tls: Tls,
    /// The operators' surface.
    pub admin: AdminAccess,
    /// Where events come from.
    pub source: SourceKind,
    /// Where reservations are kept; by default where the events come from.
    pub store: Option<StoreKind>,
    /// How clients prove who they are; there is no default.
    pub auth: Option<AuthMode>,
    /// Tokens and claims.
    pub jwt: Jwt,
    /// Roles that see everybody's events.
    pub admin_roles: Vec<String>,
    /// Origins of web pages that may use the endpoint besides its own; `*` is all of them.
    pub allowed_origins: Vec<String>,
    /// Proxies that say truly where a client comes from.
    pub trusted_proxies: TrustedProxies,
    /// Whether browsers get GraphiQL at the endpoint.
    pub graphiql: bool,
    /// Form of log lines.
    pub log_format: LogFormat,
    /// Which log lines: `info`, or a list such as `warn,tidings_daemon=debug`.
    pub log_filter: String,
    /// Bounds of a mailbox.
    pub mailbox: MailboxLimits,
    /// How many of the last events stay in memory.
    pub ring: RingLimits,
    /// What the schema shows and how much a document may ask for.
    pub schema: SchemaOptions,
    /// File with the only documents that may run.
    pub allow_list_file: Option<PathBuf>,
    /// Bounds of functions that resolve and authorize.
    pub resolve: FunctionLimits,
    /// Bounds of clients.
    pub limits: ClientLimits,
    /// Bounds of reservations, but for what [`ClientLimits`] says of all connections.
    pub reservations: ReservationLimits,
    /// Whether events wait until a synchronous standby has them.
    pub wait_for_standby: bool,
    /// How often the source polls though nothing woke it.
    pub safety_poll: Duration,
    /// Lag of the source above which `/readyz` is red.
    pub max_lag: Duration,
    /// How long streams are given, spread out, to leave after SIGTERM.
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            database_url: None,
            listen: vec![ListenAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 4000)))],
            listen_mode: 0o660,
            tls: Tls { certificate: None, key: None, hsts: Duration::from_secs(31_536_000) },
            admin: AdminAccess::default(),
            source: SourceKind::Postgres,
            store: None,
            auth: None,
            jwt: Jwt::default(),
            admin_roles: Vec::new(),
            allowed_origins: Vec::new(),
            trusted_proxies: TrustedProxies::default(),
            graphiql: true,
            log_format: LogFormat::Text,
            log_filter: "info".into(),
            mailbox: MailboxLimits::default(),
            ring: RingLimits::default(),
            schema: SchemaOptions::default(),
            allow_list_file: None,
            resolve: FunctionLimits::default(),
            limits: ClientLimits {
                connections: 50_000,
                attempts_per_minute: 6_000,
                connections_per_user: 1_000,
                connections_per_tenant: 40_000,
                operations_per_minute: 6_000,
                deliveries_per_second: 0,
                sockets: 60_000,
                sockets_per_address: 20_000,
                subscriptions: 256,
                body_bytes: 2 << 20,
                header_bytes: 16 << 10,
                request_time: Duration::from_secs(10),
                idle: Duration::from_secs(75),
                write_stall: Duration::from_secs(30),
            },
            reservations: ReservationLimits::default(),
            wait_for_standby: false,
            safety_poll: Duration::from_secs(1),
            max_lag: Duration::from_secs(10),
            drain: Duration::from_secs(5),
        }
    }
}

/// Why a configuration is refused. Names the key, where it came from and what is allowed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration file {path} is not valid TOML: {message}")]
    Syntax {
        /// The file.
        path: String,
        /// What the parser says, with line and column.
        message: String,
    },
    /// There is no such setting.
    #[error("unknown setting `{key}` in {origin}{hint}")]
    Unknown {
        /// The key as it was written.
        key: String,
        /// File, environment or flag.
        origin: layers::Origin,
        /// The nearest name, or where to find all of them.
        hint: String,
    },
    /// The value is not allowed.
    #[error("setting `{key}` from {origin} cannot be {value}; allowed: {allowed}")]
    Value {
        /// The key in its dotted form.
        key: String,
        /// File, environment or flag.
        origin: layers::Origin,
        /// The value, or that it is a secret.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// Settings that do not go together, or one that is missing.
    #[error("{0}")]
    Combination(String),
}

impl Config {
    /// Where reservations are kept.
    pub fn store_kind(&self) -> StoreKind {
        self.store.unwrap_or(match self.source {
            SourceKind::Postgres => StoreKind::Postgres,
            SourceKind::Memory => StoreKind::Memory,
        })
    }

    /// All bounds of reservations: a stream of theirs runs as many operations as any connection.
    pub fn reservation_limits(&self) -> ReservationLimits {
        ReservationLimits { documents: self.limits.subscriptions, ..self.reservations }
    }

    /// Checks what no setting can check alone.
    ///
    /// # Errors
    /// If a setting is missing or contradicts another one.
    pub fn check(&self) -> Result<(), ConfigError> {
        let refuse = |message: &str| Err(ConfigError::Combination(message.into()));
        if self.source == SourceKind::Postgres && self.database_url.is_none() {
            return refuse(
                "setting `database_url` is missing: set TIDINGS_DATABASE_URL, --database-url or database_url in \
                 tidings.toml, for example postgres://tidings@localhost/app",
            );
        }
        if self.store == Some(StoreKind::Postgres) && self.database_url.is_none() {
            return refuse(
                "setting `store` is postgres, which needs `database_url`: set TIDINGS_DATABASE_URL, or store = memory",
            );
        }
        if self.reservations.unfulfilled > self.reservations.idle {
            return refuse(
                "setting `reservations.unfulfilled_s` is larger than `reservations.idle_s`: a reservation would lose \
                 life by being used",
            );
        }
        if self.schema.limits.document_bytes > self.limits.body_bytes {
            return refuse(
                "setting `document.max_bytes` is larger than `limits.body_bytes`: no request could reach it",
            );
        }
        if self.jwt.fetch.age_max < self.jwt.fetch.refresh {
            return refuse(
                "setting `jwt.jwks_max_age_s` is smaller than `jwt.jwks_refresh_s`: keys would be too old before they \
                 are fetched again",
            );
        }
        if self.jwt.cookie.is_some() && self.allowed_origins.iter().any(|origin| origin == "*") {
            return refuse(
                "settings `jwt.cookie` and `allowed_origins = *` do not go together: any web page could read with your \
                 users' cookies. List the origins of your own pages",
            );
        }
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            return refuse(
                "settings `tls.certificate` and `tls.key` need each other: one is the certificate, the other its private key",
            );
        }
        if self.limits.sockets < self.limits.connections {
            return refuse(
                "setting `limits.sockets` is smaller than `limits.connections`: every connection has a socket",
            );
        }
        Ok(())
    }
}
