//! The daemons, which do not live for long, and the network on both sides of them.

use parking_lot::Mutex;

use super::client::Counts;
use crate::streaming::outage::readiness;
use crate::support::cluster::signal;
use crate::support::daemon::Daemon;
use crate::support::proxy::Proxy;
use crate::support::within;

/// Two daemons on one database.
pub(super) struct Nodes([Node; 2]);

/// A daemon at an address that stays.
pub(super) struct Node {
    /// Where it finds the database.
    url: String,
    daemon: Mutex<Option<Daemon>>,
    /// Between it and its clients.
    pub(super) clients: Proxy,
    /// Between it and the database.
    pub(super) database: Proxy,
}

impl Nodes {
    /// Two daemons that reach a server by proxies.
    pub(super) async fn start(port: u16) -> Self {
        Self([Node::start(port, None).await, Node::start(port, None).await])
    }

    /// The same; they know another server, too, and follow whichever takes writes.
    pub(super) async fn start_with_standby(port: u16, standby: u16) -> Self {
        Self([Node::start(port, Some(standby)).await, Node::start(port, Some(standby)).await])
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
    async fn start(port: u16, standby: Option<u16>) -> Self {
        let database = Proxy::to(port).await;
        let url = match standby {
            None => format!("postgres://postgres@{}/postgres", database.address),
            Some(standby) => whichever_takes_writes(database.port(), standby),
        };
        let daemon = start(&url).await;
        let clients = Proxy::to(port_of(&daemon)).await;
        Self { url, daemon: Mutex::new(Some(daemon)), clients, database }
    }

    /// Kills the daemon without warning, and starts another in its place.
    pub(super) async fn kill(&self) {
        let killed = self.daemon.lock().take();
        drop(killed);
        let daemon = start(&self.url).await;
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
        let pid = self.daemon.lock().as_ref().expect("it runs").pid().to_string();
        signal("STOP", &pid);
        within("a client that gives up a frozen daemon", counts.stalls(1)).await;
        signal("CONT", &pid);
    }
}

fn port_of(daemon: &Daemon) -> u16 {
    daemon.address.rsplit(':').next().unwrap().parse().unwrap()
}

async fn start(url: &str) -> Daemon {
    Daemon::builder(url).env("TIDINGS_MAILBOX_MESSAGES", "500").start().await
}

/// Two servers of which one takes writes.
pub(super) fn whichever_takes_writes(port: u16, other: u16) -> String {
    format!("postgres://postgres@127.0.0.1:{port},127.0.0.1:{other}/postgres?target_session_attrs=read-write")
}
