//! Who is connected to this node now: for operators to see, and to end.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::graphql::persisted::DocumentHash;
use crate::hub::audience::Identity;
use crate::hub::by_subscription::BySubscription;
use crate::hub::mailbox::SubscriptionId;

/// Names a connection on whichever node it is; says nothing about whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl FromStr for ConnectionId {
    type Err = NotAConnectionId;

    fn from_str(text: &str) -> Result<Self, NotAConnectionId> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or(NotAConnectionId)
    }
}

/// The text names no connection.
#[derive(Debug, thiserror::Error)]
#[error("the id of a connection has 16 hexadecimal digits")]
pub struct NotAConnectionId;

/// The connections of this node; as many as `limits.connections` lets in. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Presence(Arc<Mutex<HashMap<ConnectionId, Arc<Present>>>>);

/// A connection that is there.
#[derive(Debug)]
pub struct Present {
    /// Its name.
    pub id: ConnectionId,
    /// Its transport.
    pub transport: &'static str,
    /// Whose it is.
    pub identity: Arc<Identity>,
    /// Since when.
    pub since: SystemTime,
    kicked: CancellationToken,
    running: Mutex<Running>,
}

/// What a connection runs.
#[derive(Debug, Clone, Default)]
pub struct Running {
    /// Grows with every change.
    pub version: u64,
    /// The documents of its subscriptions.
    pub documents: BySubscription<Arc<DocumentHash>>,
}

impl Running {
    /// A document, in the place of one of the latest if it is the same: mostly it is.
    fn shared(&self, document: DocumentHash) -> Arc<DocumentHash> {
        const LATEST: usize = 16;
        let known = self.documents.latest(LATEST).find(|known| ***known == document);
        known.cloned().unwrap_or_else(|| Arc::new(document))
    }
}

/// A connection's presence; dropping it ends it.
#[derive(Debug)]
pub struct Stay {
    present: Arc<Present>,
    presence: Presence,
}

impl Presence {
    /// A connection of somebody, from now on.
    /// `kicked` is cancelled when it has to end.
    pub fn begin(&self, transport: &'static str, identity: Arc<Identity>, kicked: CancellationToken) -> Stay {
        let mut all = self.0.lock();
        let mut id = ConnectionId(rand::random());
        while all.contains_key(&id) {
            id = ConnectionId(rand::random());
        }
        let present = Arc::new(Present {
            id,
            transport,
            identity,
            since: SystemTime::now(),
            kicked,
            running: Mutex::default(),
        });
        all.insert(id, present.clone());
        Stay { present, presence: self.clone() }
    }

    /// Everybody who is there.
    pub fn all(&self) -> Vec<Arc<Present>> {
        self.0.lock().values().cloned().collect()
    }

    /// Ends the connections that are meant. Returns how many.
    pub fn kick(&self, mut is_meant: impl FnMut(&Present) -> bool) -> usize {
        let meant: Vec<_> = self.0.lock().values().filter(|present| is_meant(present)).cloned().collect();
        // Cancelling runs wakers, so not under the lock.
        meant.iter().for_each(|present| present.kicked.cancel());
        meant.len()
    }
}

impl Present {
    /// What it runs now.
    pub fn running(&self) -> Running {
        self.running.lock().clone()
    }

    /// How often that has changed.
    pub fn version(&self) -> u64 {
        self.running.lock().version
    }
}

impl Stay {
    /// The connection's name.
    pub fn id(&self) -> ConnectionId {
        self.present.id
    }

    /// Whether the connection has to end.
    pub fn is_kicked(&self) -> bool {
        self.present.kicked.is_cancelled()
    }

    /// A subscription to a document has begun.
    pub fn subscribed(&self, subscription: SubscriptionId, document: DocumentHash) {
        let mut running = self.present.running.lock();
        running.version += 1;
        let document = running.shared(document);
        running.documents.insert(subscription, document);
    }

    /// A subscription has ended.
    pub fn ended(&self, subscription: SubscriptionId) {
        let mut running = self.present.running.lock();
        running.version += 1;
        running.documents.remove(subscription);
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.presence.0.lock().remove(&self.present.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_16_hexadecimal_digits() {
        let id = ConnectionId(0xfe);
        assert_eq!(id.to_string(), "00000000000000fe");
        assert_eq!(id.to_string().parse::<ConnectionId>().unwrap(), id);
        for wrong in ["", "fe", "00000000000000fg", "+0000000000000fe", "00000000000000fe0"] {
            assert!(wrong.parse::<ConnectionId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn who_is_meant_is_kicked_and_who_has_left_is_not_there() {
        let presence = Presence::default();
        let user = |name: &str| Arc::new(Identity { user: Some(name.into()), ..Identity::default() });
        let begin = |name| presence.begin("sse", user(name), CancellationToken::new());
        let (alice, bob, second) = (begin("alice"), begin("bob"), begin("alice"));
        second.subscribed(SubscriptionId(1), DocumentHash::of("{a}"));
        assert_eq!(presence.all().iter().map(|present| present.version()).sum::<u64>(), 1);
        let kicked = presence.kick(|present| present.identity.user.as_deref() == Some("alice"));
        assert_eq!(kicked, 2);
        assert!(alice.is_kicked() && second.is_kicked() && !bob.is_kicked());
        drop((alice, second));
        assert_eq!(presence.all().len(), 1);
        assert_eq!(presence.kick(|present| present.id == bob.id()), 1);
    }
}
