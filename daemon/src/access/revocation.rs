//! Revocation: connections that an operator ends, and tokens that are no longer good.
//!
//! What is kept is the truth, and every node reads all of it whenever somebody says that it has changed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use tokio::sync::watch;

use super::presence::{ConnectionId, Presence, Present};
use crate::hub::audience::Identity;

/// How far ahead the clock of whoever issues tokens may be, at most.
const AHEAD_MAX: Duration = Duration::from_secs(60);

/// One order to leave. What is not named restricts nothing, but something is named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kick {
    /// Its number.
    pub id: i64,
    /// The user who has to leave.
    pub user: Option<Box<str>>,
    /// The tenant whose users have to leave, or whose user.
    pub tenant: Option<Box<str>>,
    /// The connection that has to end.
    pub connection: Option<ConnectionId>,
    /// Tokens from before are no longer good; nothing if they are.
    pub tokens_before: Option<SystemTime>,
}

/// All kicks that are in force, and whom they concern here. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Revocations(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    presence: Presence,
    /// Tolerated difference between the clocks of the database and of whoever issues tokens.
    leeway: Duration,
    known: RwLock<Known>,
    loaded: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Known {
    ids: HashSet<i64>,
    /// Those that refuse tokens, by whom they name.
    by_name: HashMap<Name, Vec<Kick>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name {
    User(Box<str>),
    Tenant(Box<str>),
}

impl Kick {
    fn names(&self, identity: &Identity) -> bool {
        let is = |wanted: &Option<Box<str>>, given: &Option<Box<str>>| wanted.is_none() || wanted == given;
        let somebody = self.user.is_some() || self.tenant.is_some();
        somebody && is(&self.user, &identity.user) && is(&self.tenant, &identity.tenant)
    }

    /// Whether an identity's token is one of those that are no longer good. A token that does not say when
    /// it was issued is, and so is one that says that it has yet to be, beyond the difference of clocks.
    fn refuses(&self, identity: &Identity, leeway: Duration) -> bool {
        let ahead = SystemTime::now().checked_add(AHEAD_MAX);
        let is_sound = |issued: SystemTime| ahead.is_none_or(|ahead| issued <= ahead);
        self.names(identity)
            && self.tokens_before.is_some_and(|before| {
                let after = before.checked_add(leeway).unwrap_or(before);
                identity.issued.is_none_or(|issued| issued < after || !is_sound(issued))
            })
    }

    /// Whether a connection has to end: also one with a newer token, if it is older than the kick itself.
    fn ends(&self, present: &Present, leeway: Duration) -> bool {
        match self.tokens_before {
            Some(before) => {
                let after = before.checked_add(leeway).unwrap_or(before);
                self.refuses(&present.identity, leeway)
                    || (self.names(&present.identity) && present.since < after)
            }
            None => self.connection == Some(present.id) || self.names(&present.identity),
        }
    }

    /// By which name it is found; nothing if it refuses no token.
    fn filed_under(&self) -> Option<Name> {
        self.tokens_before?;
        let user = self.user.clone().map(Name::User);
        user.or_else(|| self.tenant.clone().map(Name::Tenant))
    }
}

impl Revocations {
    /// Nothing is known yet: nobody can come in before [`Revocations::replace`].
    pub fn new(presence: Presence, leeway: Duration) -> Self {
        let loaded = watch::Sender::new(false);
        Self(Arc::new(Inner { presence, leeway, known: RwLock::default(), loaded }))
    }

    /// The connections that can be ended.
    pub fn presence(&self) -> &Presence {
        &self.0.presence
    }

    /// Waits until it is known whose tokens are not good.
    pub async fn loaded(&self) {
        // The sender lives as long as `self`.
        let _ = self.0.loaded.subscribe().wait_for(|loaded| *loaded).await;
    }

    /// Why nobody with a token can come in, or nothing if they can.
    pub fn unready(&self) -> Option<&'static str> {
        let known = *self.0.loaded.borrow();
        (!known).then_some(
            "kicks have not been read yet, so nobody knows which tokens are revoked; the log says why",
        )
    }

    /// Whether an identity's token is no longer good.
    pub fn refuse(&self, identity: &Identity) -> bool {
        let known = self.0.known.read();
        if known.by_name.is_empty() {
            return false;
        }
        let names = [identity.user.clone().map(Name::User), identity.tenant.clone().map(Name::Tenant)];
        let kicks = names.into_iter().flatten().filter_map(|name| known.by_name.get(&name)).flatten();
        kicks.into_iter().any(|kick| kick.refuses(identity, self.0.leeway))
    }

    /// These are all kicks that are in force. Connections that new ones concern end: those kicks, and how many
    /// connections.
    pub fn replace(&self, kicks: Vec<Kick>) -> (Vec<Kick>, usize) {
        let mut known = Known { ids: kicks.iter().map(|kick| kick.id).collect(), ..Known::default() };
        for kick in &kicks {
            if let Some(name) = kick.filed_under() {
                known.by_name.entry(name).or_default().push(kick.clone());
            }
        }
        // First nobody more comes in, then whoever is there leaves: so nobody slips between.
        let before = std::mem::replace(&mut *self.0.known.write(), known);
        let new: Vec<_> = kicks.into_iter().filter(|kick| !before.ids.contains(&kick.id)).collect();
        self.0.loaded.send_replace(true);
        if new.is_empty() {
            return (new, 0);
        }
        let ended = self.0.presence.kick(|present| new.iter().any(|kick| kick.ends(present, self.0.leeway)));
        (new, ended)
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::access::presence::Stay;

    const LEEWAY: Duration = Duration::from_secs(5);

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn somebody(tenant: &str, user: &str, issued: Option<u64>) -> Arc<Identity> {
        let text = |text: &str| (!text.is_empty()).then(|| text.into());
        let issued = issued.map(at);
        Arc::new(Identity { tenant: text(tenant), user: text(user), issued, ..Identity::default() })
    }

    fn kick(id: i64, tenant: Option<&str>, user: Option<&str>, before: Option<u64>) -> Kick {
        let text = |text: Option<&str>| text.map(Into::into);
        Kick { id, user: text(user), tenant: text(tenant), tokens_before: before.map(at), ..Kick::default() }
    }

    #[test]
    fn tokens_from_before_are_refused_and_later_ones_are_not() {
        let revocations = Revocations::new(Presence::default(), LEEWAY);
        revocations.replace(vec![
            kick(1, None, Some("alice"), Some(1_000)),
            kick(2, Some("acme"), Some("bob"), Some(1_000)),
            kick(3, Some("globex"), None, Some(1_000)),
        ]);
        let refused = |tenant, user, issued| revocations.refuse(&somebody(tenant, user, issued));
        assert!(refused("acme", "alice", Some(999)) && refused("", "alice", Some(0)));
        assert!(refused("acme", "alice", Some(1_004)), "the issuer's clock may be ahead");
        assert!(!refused("acme", "alice", Some(1_005)));
        assert!(refused("acme", "alice", None), "nobody knows from when it is");
        assert!(refused("acme", "bob", Some(1)) && !refused("other", "bob", Some(1)));
        assert!(refused("globex", "anybody", Some(1)) && refused("globex", "", Some(1)));
        assert!(!refused("acme", "carol", Some(1)) && !refused("", "", None));
        revocations.replace(vec![kick(2, Some("acme"), Some("bob"), Some(1_000))]);
        assert!(!revocations.refuse(&somebody("", "alice", None)), "it is no longer in force");
    }

    #[tokio::test]
    async fn only_new_kicks_end_connections() {
        let presence = Presence::default();
        let revocations = Revocations::new(presence.clone(), LEEWAY);
        assert!(tokio::time::timeout(Duration::ZERO, revocations.loaded()).await.is_err());
        assert!(revocations.unready().is_some());
        let begin = |user, issued| {
            presence.begin("sse", somebody("acme", user, Some(issued)), CancellationToken::new())
        };
        let stays = [begin("alice", 1), begin("alice", 2_000), begin("bob", 1)];
        let kicked = || stays.each_ref().map(Stay::is_kicked);
        let all = vec![kick(1, None, Some("alice"), Some(1_000))];
        assert_eq!(revocations.replace(all.clone()).1, 1);
        assert_eq!(kicked(), [true, false, false], "a newer token stays good");
        revocations.loaded().await;
        assert_eq!(revocations.unready(), None);

        // To end connections without refusing tokens, whatever their age is.
        let again = begin("alice", 1);
        let more = [all, vec![kick(2, None, Some("bob"), None)]].concat();
        assert_eq!(revocations.replace(more.clone()).1, 1);
        assert_eq!(kicked(), [true, false, true]);
        assert!(!again.is_kicked() && !revocations.refuse(&somebody("acme", "bob", Some(1))));

        let one = Kick { id: 3, connection: Some(again.id()), ..Kick::default() };
        assert_eq!(revocations.replace([more, vec![one]].concat()).1, 1);
        assert!(again.is_kicked());
    }
}
