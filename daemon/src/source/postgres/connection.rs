//! Opens connections to the database.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, Stream, StreamExt};
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Row};

use super::error::{ANSWER_TIME_MAX, SessionError, in_time, refuses_writes};

/// What drives a client; it ends when the server or the client goes away.
pub(crate) type Connection =
    tokio_postgres::Connection<tokio_postgres::Socket, tokio_postgres::tls::NoTlsStream>;

/// Once one of several servers has refused, the others have this time: that one may be promoted any moment.
const OTHERS_TIME_MAX: Duration = Duration::from_secs(2);

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

/// What is asked once is asked of the present, whatever the database's default: `tidings.maintain()` refuses another.
const ISOLATION: &str = "set default_transaction_isolation = 'read committed'";

/// Connects for one question: a connection that idles for a minute serves nobody.
pub(super) async fn ask(
    config: &Config,
    name: &str,
    statement: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, SessionError> {
    let (client, connection) = connect(config, name).await?;
    let task = tokio::spawn(connection);
    let rows = in_time(async {
        client.batch_execute(ISOLATION).await.map_err(SessionError::Query)?;
        client.query(statement, parameters).await.map_err(SessionError::Query)
    });
    let rows = rows.await;
    task.abort();
    rows
}

/// Connects under a name.
pub(crate) async fn connect(config: &Config, name: &str) -> Result<(Client, Connection), SessionError> {
    let config = with_settings(config, name);
    in_time(async { connect_to_any(&config).await.map_err(SessionError::Connect) }).await
}

/// Connects to the one server, or to the first of several that takes writes if that is what is asked for: all are
/// asked at once, because one that is gone, or accepts and then says nothing, must not keep us from the others.
pub(crate) async fn connect_to_any(config: &Config) -> Result<(Client, Connection), tokio_postgres::Error> {
    let hosts = config.get_hosts().len().max(config.get_hostaddrs().len());
    if hosts < 2 || config.get_target_session_attrs() != TargetSessionAttrs::ReadWrite {
        return config.connect(NoTls).await;
    }
    let each: Vec<Config> = (0..hosts).map(|index| only(config, index)).collect();
    let mut attempts: FuturesUnordered<_> = each.iter().map(|one| one.connect(NoTls)).collect();
    let mut told = None;
    while let Some(attempt) = next(&mut attempts, told.is_some()).await {
        match attempt {
            Ok(connected) => return Ok(connected),
            // A standby that is there says more than a server that is not.
            Err(error) if refuses_writes(&error) => told = Some(error),
            Err(error) => told = told.or(Some(error)),
        }
    }
    match told {
        Some(error) => Err(error),
        None => config.connect(NoTls).await,
    }
}

/// The next attempt to end.
async fn next<T>(attempts: &mut (impl Stream<Item = T> + Unpin), hurry: bool) -> Option<T> {
    if hurry {
        tokio::time::timeout(OTHERS_TIME_MAX, attempts.next()).await.unwrap_or_default()
    } else {
        attempts.next().await
    }
}

/// How to connect to one of several servers.
fn only(config: &Config, index: usize) -> Config {
    let mut one = Config::new();
    if let Some(user) = config.get_user() {
        one.user(user);
    }
    if let Some(password) = config.get_password() {
        one.password(password);
    }
    if let Some(database) = config.get_dbname() {
        one.dbname(database);
    }
    if let Some(options) = config.get_options() {
        one.options(options);
    }
    if let Some(name) = config.get_application_name() {
        one.application_name(name);
    }
    match config.get_hosts().get(index) {
        Some(tokio_postgres::config::Host::Tcp(host)) => _ = one.host(host),
        Some(tokio_postgres::config::Host::Unix(path)) => _ = one.host_path(path),
        None => {}
    }
    if let Some(address) = config.get_hostaddrs().get(index) {
        one.hostaddr(*address);
    }
    if let Some(port) = config.get_ports().get(index).or(config.get_ports().first()) {
        one.port(*port);
    }
    for (time, set) in [
        (config.get_connect_timeout(), Config::connect_timeout as fn(&mut Config, Duration) -> &mut Config),
        (config.get_tcp_user_timeout(), Config::tcp_user_timeout),
    ] {
        if let Some(time) = time {
            set(&mut one, *time);
        }
    }
    if let Some(interval) = config.get_keepalives_interval() {
        one.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        one.keepalives_retries(retries);
    }
    one.keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .channel_binding(config.get_channel_binding())
        .target_session_attrs(config.get_target_session_attrs());
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_several_servers_has_everything_but_the_others() {
        let text =
            "host=a,b port=1,2 user=u password=p dbname=d options='-c x=y' target_session_attrs=read-write";
        let several = with_settings(&text.parse().unwrap(), "n");
        let alone = text.replace("host=a,b port=1,2", "host=b port=2");
        assert_eq!(only(&several, 1), with_settings(&alone.parse().unwrap(), "n"));
        let text = "host=/run/a,/run/b user=u target_session_attrs=read-write";
        let alone = text.replace("/run/a,/run/b", "/run/b");
        assert_eq!(
            only(&with_settings(&text.parse().unwrap(), "n"), 1),
            with_settings(&alone.parse().unwrap(), "n")
        );
    }
}
