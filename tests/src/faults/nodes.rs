//! The daemons, which do not live for long, and the network on both sides of them.

use parking_lot::Mutex;

use super::client::Counts;
use crate::streaming::outage::readiness;
use crate::support::cluster::signal;
use crate::support::daemon::{Builder, Daemon};
use crate::support::proxy::Proxy;
use crate::support::within;

/// Variables of a daemon's environment.
pub(super) type Settings = &'static [(&'static str, &'static str)];

/// So that mailboxes overflow now and then, and some of those who come back need the database and some do not.
const SMALL: Settings = &[("TIDINGS_MAILBOX_MESSAGES", "500"), ("TIDINGS_RING_EVENTS", "500")];

/// Two daemons on one database.
pub(super) struct Nodes([Node; 2]);

/// A daemon at an address that stays.
pub(super) struct Node {
    /// How it starts.
    builder: Builder,
    daemon: Mutex<Option<Daemon>>,
    /// Between it and its clients.
    pub(super) clients: Proxy,
    /// Between it and the database.
    pub(super) database: Proxy,
}

impl Nodes {
    /// Two daemons that reach a server by proxies.
    pub(super) async fn start(port: u16) -> Self {
        Self::start_with(port, SMALL).await
    }

    /// The same; they know another server, too, and follow whichever takes writes.
    pub(super) async fn start_with_standby(port: u16, standby: u16) -> Self {
        let standby = Some(standby);
        Self([Node::start(port, standby, SMALL).await, Node::start(port, standby, SMALL).await])
    }

    /// The first, with settings.
    pub(super) async fn start_with(port: u16, settings: Settings) -> Self {
        Self([Node::start(port, None, settings).await, Node::start(port, None, settings).await])
    }

    /// Where a node is to be reached.
    pub(super) fn address(&self, node: usize) -> &str {
        &self.0[node].clients.address
    }

    pub(super) fn node(&self, node: usize) -> &Node {
        &self.0[node]
    }

    pub(super) fn all(&self) -> &[Node] {
        &self.0
    }
}

impl Node {
    async fn start(port: u16, standby: Option<u16>, settings: Settings) -> Self {
        let database = Proxy::to(port).await;
        let url = match standby {
            None => format!("postgres://postgres@{}/postgres", database.address),
            Some(standby) => whichever_takes_writes(database.port(), standby),
        };
        let mut builder = Daemon::builder(&url);
        for (name, value) in settings {
            builder = builder.env(name, value);
        }
        let daemon = builder.clone().start().await;
        let clients = Proxy::to(port_of(&daemon)).await;
        Self { builder, daemon: Mutex::new(Some(daemon)), clients, database }
    }

    /// Asks the daemon, which runs.
    pub(super) fn daemon<T>(&self, ask: impl FnOnce(&Daemon) -> T) -> T {
        ask(self.daemon.lock().as_ref().expect("it runs"))
    }

    /// Kills the daemon without warning, and starts another in its place.
    pub(super) async fn kill(&self) {
        let killed = self.daemon.lock().take();
        drop(killed);
        let daemon = self.builder.clone().start().await;
        self.clients.lead_to(port_of(&daemon));
        *self.daemon.lock() = Some(daemon);
    }

    /// Waits until it is not ready and says this of the reason.
    pub(super) async fn is_unready_because(&self, reason: &str) {
        within(&format!("{reason:?} as a reason"), async {
            loop {
                let (status, text) = readiness(&self.clients.address).await;
                if status == 503 && text.contains(reason) {
                    return;
                }
            }
        })
        .await;
    }

    /// Has the daemon stand still until a client has given it up.
    pub(super) async fn freeze(&self, counts: &Counts) {
        let pid = self.daemon(Daemon::pid).to_string();
        signal("STOP", &pid);
        within("a client that gives up a frozen daemon", counts.stalls(1)).await;
        signal("CONT", &pid);
    }
}

fn port_of(daemon: &Daemon) -> u16 {
    daemon.address.rsplit(':').next().unwrap().parse().unwrap()
}

/// Two servers of which one takes writes.
pub(super) fn whichever_takes_writes(port: u16, other: u16) -> String {
    format!("postgres://postgres@127.0.0.1:{port},127.0.0.1:{other}/postgres?target_session_attrs=read-write")
}
