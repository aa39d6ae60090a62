//! The listener and what comes over the wire: addresses, TLS, HTTP/2, proxies, and every kind of bad input,
//! which gets a bounded answer while the neighbours of its sender notice nothing.

mod addresses;

mod admin;

mod direct;

mod frames;

mod headers;

mod http1;

mod http2;

mod floods;

mod nginx;

mod slow;

mod tls;

use serde_json::json;

use crate::support::daemon::{Builder, Daemon, token};
use crate::support::database::Database;
use crate::support::sse::Sse;
use crate::support::websocket::Socket;

/// A subscription to a channel of everybody.
const NEWS: &str = "subscription { events(channel: \"news\") { data } }";

/// A daemon without a database.
fn builder() -> Builder {
    Daemon::builder("postgres://nobody@localhost/nothing").env("TIDINGS_SOURCE", "memory")
}

async fn daemon() -> Daemon {
    builder().start().await
}

fn alice() -> String {
    token("alice", "acme")
}

/// `Authorization` of the usual user, as a line.
fn authorization() -> String {
    format!("authorization: Bearer {}", alice())
}

fn body(query: &str) -> String {
    json!({ "query": query }).to_string()
}

/// Two clients who have nothing to do with what goes on, and the daemon that they share with it.
struct Neighbours {
    database: Database,
    sse: Sse,
    socket: Socket,
    published: u32,
}

impl Neighbours {
    /// Moves in, with a daemon that is built so.
    async fn of(settings: impl FnOnce(Builder) -> Builder) -> (Daemon, Self) {
        let database = Database::new().await;
        let daemon = settings(Daemon::builder(&database.conninfo())).start().await;
        let sse = Sse::open(&daemon, &alice(), NEWS).await;
        let mut socket = Socket::open(&daemon, &alice()).await;
        socket.subscribe("news", NEWS).await;
        (daemon, Self { database, sse, socket, published: 0 })
    }

    /// Publishes an event.
    async fn publish(&mut self) -> u32 {
        self.published += 1;
        let statement = format!("select publish_event('news', 'said', '{}')", self.published);
        self.database.connect().await.run(&statement).await;
        self.published
    }

    /// Publishes an event, which both must get, as the next that they get.
    async fn notice_nothing(&mut self) {
        let expected = json!({ "events": { "data": self.publish().await } });
        assert_eq!(self.sse.next().await["data"], expected);
        assert_eq!(self.socket.next().await["data"], expected);
    }
}
