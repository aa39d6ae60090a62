//! Current rows of attached tables, as the daemon reads them for one subscriber.

mod privileges;

mod narrowing;

mod rendering;

mod moment;

use std::ops::ControlFlow;
use std::sync::{Arc, mpsc};

use serde_json::Value;
use tidings_daemon::event::Audience;
use tidings_daemon::metrics::Metrics;
use tidings_daemon::source::functions::{CallError, Caller};
use tidings_daemon::source::postgres::functions::{FunctionLimits, PostgresFunctions};
use tidings_daemon::source::rows::{Moment, Narrowing, Read, Row, Rows};

use crate::support::database::{Database, Session, within};

/// A database, and what reads it: a login role with the grant of the daemon, member of a subscriber's role.
struct Setting {
    database: Database,
    session: Session,
    functions: PostgresFunctions,
    /// The subscriber's role; `run` calls it READER.
    reader: String,
}

/// A row that was handed over.
#[derive(Debug, Clone, PartialEq)]
struct Taken {
    record: String,
    truncated: bool,
    audience: Audience,
    tenant: Option<String>,
    user: Option<String>,
    names: (String, String),
    read_at_us: i64,
}

impl Taken {
    fn json(&self) -> Value {
        serde_json::from_str(&self.record).unwrap_or_else(|error| panic!("{}: {error}", self.record))
    }
}

impl Setting {
    async fn new(setup: &str) -> Self {
        let database = Database::new().await;
        let session = database.connect().await;
        let (login, reader) = (database.role().await, database.role().await);
        session.run(&format!("select tidings.grant_daemon('{login}'); grant {reader} to {login}")).await;
        let mut config: tokio_postgres::Config = database.conninfo().parse().unwrap();
        config.user(&login);
        let functions = PostgresFunctions::start(&config, FunctionLimits::default(), Metrics::default());
        let setting = Self { database, session, functions, reader };
        setting.run(setup).await;
        setting
    }

    async fn run(&self, statements: &str) {
        self.session.run(&statements.replace("READER", &self.reader)).await;
    }

    async fn read_as(
        &self,
        role: &str,
        claims: &str,
        table: &str,
        conditions: Vec<Narrowing>,
        rows_max: usize,
    ) -> Result<(Vec<Taken>, Moment), CallError> {
        let oid = self.session.line(&format!("select '{table}'::regclass::oid")).await;
        let (sender, taken) = mpsc::channel();
        let mut count = 0;
        let take = move |row: &Row<'_>| {
            let text = |text: Option<&str>| text.map(str::to_owned);
            let taken = Taken {
                record: row.record.to_owned(),
                truncated: row.truncated,
                audience: row.audience,
                tenant: text(row.tenant),
                user: text(row.user),
                names: (row.channel.to_owned(), row.type_name.to_owned()),
                read_at_us: row.read_at_us,
            };
            sender.send(taken).expect("the test waits for it");
            count += 1;
            if count == rows_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let caller = Caller { role: Arc::from(role), claims: Arc::from(claims) };
        let read = Read { table: oid.parse().unwrap(), caller, conditions };
        let moment = within("a read", self.functions.read(read, Box::new(take))).await?;
        Ok((taken.try_iter().collect(), moment))
    }

    /// All rows that the subscriber sees.
    async fn rows(&self, table: &str) -> Vec<Taken> {
        self.narrowed(table, Vec::new()).await
    }

    async fn narrowed(&self, table: &str, conditions: Vec<Narrowing>) -> Vec<Taken> {
        match self.read_as(&self.reader, "{}", table, conditions, usize::MAX).await {
            Ok((rows, _)) => rows,
            Err(error) => panic!("{table}: {error:?}"),
        }
    }

    async fn records(&self, table: &str) -> Vec<String> {
        self.rows(table).await.into_iter().map(|row| row.record).collect()
    }

    /// Why the subscriber cannot read.
    async fn refusal(&self, table: &str) -> CallError {
        match self.read_as(&self.reader, "{}", table, Vec::new(), usize::MAX).await {
            Ok((rows, _)) => panic!("{table}: {rows:?}"),
            Err(error) => error,
        }
    }
}
