//! Opens connections to the database.

use std::time::Duration;

use tokio_postgres::{Client, Config, NoTls};

use super::error::{ANSWER_TIME_MAX, SessionError, in_time};

/// What drives a client; it ends when the server or the client goes away.
pub(crate) type Connection =
    tokio_postgres::Connection<tokio_postgres::Socket, tokio_postgres::tls::NoTlsStream>;

/// How to connect under a name that `pg_stat_activity` shows.
pub(crate) fn with_settings(config: &Config, name: &str) -> Config {
    let mut config = config.clone();
    config
        .application_name(name)
        .connect_timeout(ANSWER_TIME_MAX)
        .keepalives(true)
        // A peer that vanished without a word is noticed in about ten seconds.
        .keepalives_idle(Duration::from_secs(4))
        .keepalives_interval(Duration::from_secs(2))
        .keepalives_retries(3)
        .tcp_user_timeout(Duration::from_secs(10));
    config
}

/// Connects under a name.
pub(crate) async fn connect(config: &Config, name: &str) -> Result<(Client, Connection), SessionError> {
    let config = with_settings(config, name);
    in_time(async { config.connect(NoTls).await.map_err(SessionError::Connect) }).await
}
