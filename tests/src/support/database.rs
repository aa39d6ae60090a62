//! A fresh database per test on the cluster named by `TIDINGS_TEST_URL`, dropped at the end.

use futures_util::{StreamExt, stream};
use std::future::Future;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_postgres::config::Host;
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls};

/// No step of a test takes this long on a busy machine; beyond it the test fails.
pub(crate) const STEP_TIME_MAX: Duration = Duration::from_secs(60);

/// Fails the test instead of waiting for ever.
pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(STEP_TIME_MAX, work).await {
        Ok(done) => done,
        Err(_) => panic!("{what} took longer than {STEP_TIME_MAX:?}"),
    }
}

static SEQUENCE: AtomicU32 = AtomicU32::new(0);

/// Databases and roles are cluster-wide, so their names carry the process and a number.
fn unique(kind: &str) -> String {
    let number = SEQUENCE.fetch_add(1, Ordering::Relaxed);
    format!("tidings_{kind}_{}_{number}", std::process::id())
}

fn cluster() -> Config {
    let url = std::env::var("TIDINGS_TEST_URL").unwrap_or_else(|_| {
        panic!(
            "TIDINGS_TEST_URL is not set: it must be a superuser's connection string for a private PostgreSQL \
             cluster with the extension installed, for example \
             postgres://postgres@127.0.0.1:5501/postgres; `make test` provides one"
        )
    });
    url.parse().unwrap_or_else(|error| panic!("TIDINGS_TEST_URL is not a connection string: {error}"))
}

/// A database of its own for one test.
pub(crate) struct Database {
    name: String,
    roles: std::sync::Mutex<Vec<String>>,
}

impl Database {
    /// An empty database.
    pub(crate) async fn empty() -> Self {
        let name = unique("test");
        let admin = Session::open(cluster()).await;
        admin.run(&format!("create database {name}")).await;
        Self { name, roles: std::sync::Mutex::default() }
    }

    /// A database with the extension.
    pub(crate) async fn new() -> Self {
        let database = Self::empty().await;
        database.connect().await.run("create extension tidings").await;
        database
    }

    /// A superuser's session.
    pub(crate) async fn connect(&self) -> Session {
        Session::open(self.config()).await
    }

    /// A session of a role that `role` created.
    pub(crate) async fn connect_as(&self, role: &str) -> Session {
        let mut config = self.config();
        config.user(role);
        Session::open(config).await
    }

    /// A new role that may log in, and nothing else.
    pub(crate) async fn role(&self) -> String {
        let role = unique("role");
        self.connect().await.run(&format!("create role {role} login")).await;
        self.roles.lock().expect("no test panics while it holds this").push(role.clone());
        role
    }

    fn config(&self) -> Config {
        let mut config = cluster();
        config.dbname(&self.name);
        config
    }

    /// A libpq connection string, for pg_dump and psql.
    pub(crate) fn conninfo(&self) -> String {
        let config = self.config();
        let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
        let mut parts = vec![format!("dbname={}", quoted(&self.name))];
        if let Some(host) = config.get_hosts().first() {
            parts.push(match host {
                Host::Tcp(name) => format!("host={}", quoted(name)),
                Host::Unix(folder) => format!("host={}", quoted(&folder.to_string_lossy())),
            });
        }
        parts.extend(config.get_ports().first().map(|port| format!("port={port}")));
        parts.extend(config.get_user().map(|user| format!("user={}", quoted(user))));
        parts.extend(
            config
                .get_password()
                .map(|password| format!("password={}", quoted(&String::from_utf8_lossy(password)))),
        );
        parts.join(" ")
    }
}

impl Drop for Database {
    /// On a thread of its own: the test's runtime may be shutting down, also because of a panic.
    fn drop(&mut self) {
        let name = self.name.clone();
        let roles = self.roles.get_mut().map(std::mem::take).unwrap_or_default();
        let cleaner = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                let Ok((client, connection)) = cluster().connect(NoTls).await else { return };
                let served = tokio::spawn(connection);
                let _ = client.batch_execute(&format!("drop database if exists {name} with (force)")).await;
                for role in roles {
                    let _ = client.batch_execute(&format!("drop role if exists {role}")).await;
                }
                drop(client);
                let _ = served.await;
            });
        });
        let _ = cleaner.join();
    }
}

/// A connection, and what the server says outside of results.
pub(crate) struct Session {
    client: Client,
    messages: mpsc::UnboundedReceiver<AsyncMessage>,
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Session {
    async fn open(config: Config) -> Self {
        let (client, mut connection) = within("connecting", config.connect(NoTls))
            .await
            .expect("the test cluster should accept connections");
        let (sender, messages) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut incoming = stream::poll_fn(move |context| connection.poll_message(context));
            while let Some(Ok(message)) = incoming.next().await {
                if sender.send(message).is_err() {
                    // Nobody listens any more; the connection must still be served.
                }
            }
        });
        let session = Self { client, messages };
        // Longer waits are mistakes; they then name the statement.
        session.run("set statement_timeout = '45s'").await;
        session
    }

    /// Runs statements that must succeed.
    pub(crate) async fn run(&self, statements: &str) {
        if let Err(error) = within(statements, self.client.batch_execute(statements)).await {
            panic!("{statements}\nfailed: {}", describe(&error));
        }
    }

    /// Runs statements that must fail, and returns why.
    pub(crate) async fn refused(&self, statements: &str) -> Refusal {
        match within(statements, self.client.batch_execute(statements)).await {
            Ok(()) => panic!("{statements}\nsucceeded, but should have been refused"),
            Err(error) => Refusal::from(
                error.as_db_error().unwrap_or_else(|| panic!("{statements}\nlost the connection: {error}")),
            ),
        }
    }

    /// The first column of every row, as text; null is `null`.
    pub(crate) async fn lines(&self, query: &str) -> Vec<String> {
        use tokio_postgres::SimpleQueryMessage::Row;
        let answer = within(query, self.client.simple_query(query)).await;
        let answer = answer.unwrap_or_else(|error| panic!("{query}\nfailed: {}", describe(&error)));
        answer
            .iter()
            .filter_map(|message| match message {
                Row(row) => Some(row.get(0).unwrap_or("null").to_owned()),
                _ => None,
            })
            .collect()
    }

    /// The only line of a query.
    pub(crate) async fn line(&self, query: &str) -> String {
        let lines = self.lines(query).await;
        let [line] = lines.as_slice() else { panic!("{query}\nreturned {lines:?}, expected one row") };
        line.clone()
    }

    /// Every event so far: operation and payload, in order of id.
    pub(crate) async fn events(&self) -> Vec<String> {
        self.lines("select event_type || ' ' || payload::text from tidings.events order by id").await
    }

    /// Warnings and notices since the last call.
    pub(crate) async fn notices(&mut self) -> Vec<String> {
        // An answer comes after every notice that was sent before it.
        self.run("select").await;
        let mut notices = Vec::new();
        while let Ok(message) = self.messages.try_recv() {
            if let AsyncMessage::Notice(notice) = message {
                notices.push(format!("{}: {}", notice.severity(), notice.message()));
            }
        }
        notices
    }

    /// Names of the channels notified since the last call.
    pub(crate) async fn notifications(&mut self) -> Vec<String> {
        self.run("select").await;
        let mut channels = Vec::new();
        while let Ok(message) = self.messages.try_recv() {
            if let AsyncMessage::Notification(notification) = message {
                channels.push(format!("{}:{}", notification.channel(), notification.payload()));
            }
        }
        channels
    }
}

/// What a listener of a channel hears of all that another session has done since the last call.
pub(crate) async fn heard(listener: &mut Session, channel: &str, publisher: &Session) -> Vec<String> {
    // Notifications of this transaction come after all earlier ones.
    publisher.run(&format!("notify {channel}, 'end'")).await;
    let (mut heard, end) = (Vec::new(), format!("{channel}:end"));
    while heard.last() != Some(&end) {
        heard.extend(listener.notifications().await);
    }
    heard.pop();
    heard
}

fn describe(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |error| format!("{:?}", Refusal::from(error)))
}

/// An ERROR, as a person reads it.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: SqlState,
    pub(crate) message: String,
    pub(crate) detail: Option<String>,
    pub(crate) hint: Option<String>,
}

impl From<&DbError> for Refusal {
    fn from(error: &DbError) -> Self {
        Self {
            code: error.code().clone(),
            message: error.message().to_owned(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
        }
    }
}

impl Refusal {
    /// The message names this, and a hint says what to do.
    pub(crate) fn assert_names(&self, name: &str) {
        assert!(self.message.contains(name), "{self:?} should name {name:?}");
        assert!(self.hint.as_ref().is_some_and(|hint| !hint.is_empty()), "{self:?} should have a hint");
    }
}
