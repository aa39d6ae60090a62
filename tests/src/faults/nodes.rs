//! The daemons, which do not live for long, and the network on both sides of them.

use parking_lot::Mutex;

use super::client::Counts;
use crate::support::cluster::signal;
use crate::support::daemon::Daemon;
use crate::support::proxy::Proxy;
use crate::support::within;

/// Two daemons on one database.
pub(super) struct Nodes([Node; 2]);

/// A daemon at an address that stays.
pub(super) struct Node {
    daemon: Mutex<Option<Daemon>>,
    /// Between it and its clients.
    pub(super) clients: Proxy,
    /// Between it and the database.
    pub(super) database: Proxy,
}

impl Nodes {
    /// Two daemons that reach a server by proxies.
    pub(super) async fn start(port: u16) -> Self {
        Self([Node::start(port).await, Node::start(port).await])
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
    async fn start(port: u16) -> Self {
        let database = Proxy::to(port).await;
        let daemon = start(&database).await;
        let clients = Proxy::to(port_of(&daemon)).await;
        Self { daemon: Mutex::new(Some(daemon)), clients, database }
    }

    /// Kills the daemon without warning, and starts another in its place.
    pub(super) async fn kill(&self) {
        let killed = self.daemon.lock().take();
        drop(killed);
        let daemon = start(&self.database).await;
        self.clients.lead_to(port_of(&daemon));
        *self.daemon.lock() = Some(daemon);
    }

    /// Has the daemon stand still until a client has given it up.
    pub(super) async fn freeze(&self, counts: &Counts) {
        let pid = self.daemon.lock().as_ref().expect("it runs").pid().to_string();
        signal("STOP", &pid);
        within("a client that gives up a frozen daemon", counts.stalls(1)).await;
        signal("CONT", &pid);
    }
}

fn port_of(daemon: &Daemon) -> u16 {
    daemon.address.rsplit(':').next().unwrap().parse().unwrap()
}

async fn start(database: &Proxy) -> Daemon {
    let url = format!("postgres://postgres@{}/postgres", database.address);
    Daemon::builder(&url).env("TIDINGS_MAILBOX_MESSAGES", "500").start().await
}
