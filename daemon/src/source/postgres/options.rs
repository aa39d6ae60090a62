//! How to reach the database and how to tail it.

use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

/// Where the database is and how its events are fetched.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Where the database is. Must be a direct connection: a transaction pooler breaks LISTEN.
    pub database: Config,
    /// Longest time between two polls when no wake-up arrives.
    pub safety_poll: Duration,
    /// Age at which the catalog is read again though nothing said that it changed: a session may have
    /// switched notifications off.
    pub catalog_age_max: Duration,
    /// Most events that one statement hands over.
    pub page_events: usize,
    /// Payload bytes after which a page ends, however few events it has.
    pub page_bytes: usize,
    /// Whether events wait until a synchronous standby has them.
    pub wait_for_standby: bool,
    /// Roles of the database that subscribers may have: what they may see is part of the catalog.
    pub roles: Vec<String>,
}

/// Why a connection string cannot be used. The text never quotes it: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionStringError {
    /// It does not parse.
    #[error(
        "is not a connection string: write postgres://user:password@host:port/database, with special characters \
         of the password percent-encoded"
    )]
    Syntax,
    /// It asks for TLS.
    #[error(
        "asks for an encrypted connection, which is not supported yet: use sslmode=prefer or disable, over a local \
         socket, a private network or a tunnel"
    )]
    Encrypted,
}

impl PostgresOptions {
    /// The defaults for a database.
    pub fn new(database: Config) -> Self {
        Self {
            database,
            safety_poll: Duration::from_secs(1),
            catalog_age_max: Duration::from_secs(60),
            page_events: 5_000,
            page_bytes: 16 * 1024 * 1024,
            wait_for_standby: false,
            roles: Vec::new(),
        }
    }

    /// The defaults for the database of a connection string.
    ///
    /// # Errors
    ///
    /// If it does not parse, or asks for what is not supported.
    pub fn parse(connection_string: &str) -> Result<Self, ConnectionStringError> {
        // The parser knows no verifying modes, and would call them a syntax error.
        if connection_string.contains("sslmode=verify-") {
            return Err(ConnectionStringError::Encrypted);
        }
        let database: Config = connection_string.parse().map_err(|_| ConnectionStringError::Syntax)?;
        match database.get_ssl_mode() {
            SslMode::Require => Err(ConnectionStringError::Encrypted),
            _ => Ok(Self::new(database)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ConnectionStringError, PostgresOptions};

    #[test]
    fn a_refused_connection_string_says_why_and_keeps_the_password() {
        let error = |text: &str| PostgresOptions::parse(text).unwrap_err();
        for mode in ["require", "verify-ca", "verify-full"] {
            assert_eq!(
                error(&format!("postgres://u:p@h/d?sslmode={mode}")),
                ConnectionStringError::Encrypted
            );
        }
        let syntax = error("postgres://u:hunter2@h:port/d");
        assert_eq!(syntax, ConnectionStringError::Syntax);
        assert!(!syntax.to_string().contains("hunter2"));
        assert!(PostgresOptions::parse("host=/run/postgresql dbname=d").is_ok());
    }
}
