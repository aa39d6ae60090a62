//! Who a subscriber is, and which members of a group an event admits.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::table::Table;
use crate::event::Event;

/// Whom a connection belongs to. Made from a verified token or from configuration, never from
/// anything else that a client sends.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// Tenant claim. Without one, only events that require no tenant are visible.
    pub tenant: Option<Box<str>>,
    /// User claim. Without one, only events that require no user are visible.
    pub user: Option<Box<str>>,
    /// Role claim.
    pub role: Option<Box<str>>,
    /// True if the role is one of the configured admin roles: sees the events of everybody.
    pub admin: bool,
    /// When the token was made, if it says so.
    pub issued: Option<SystemTime>,
    /// When the token ends; the connection ends with it.
    pub expires: Option<SystemTime>,
    /// What the token says, for functions that resolve and authorize; nothing if there was none.
    pub claims: Option<Claims>,
}

impl Identity {
    /// Whether both are shown the same events.
    pub(super) fn is_filed_as(&self, other: &Self) -> bool {
        if self.admin || other.admin {
            return self.admin == other.admin;
        }
        self.tenant == other.tenant && self.user == other.user
    }
}

/// Verified claims as JSON objects, in the form in which functions of the database get them.
#[derive(Clone, PartialEq, Eq)]
pub struct Claims {
    /// All of them.
    pub all: Arc<str>,
    /// The tenant claim alone.
    pub tenant: Arc<str>,
}

impl fmt::Debug for Claims {
    /// Claims belong into no log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("<claims>")
    }
}

/// Whether an event may be shown to an identity: the rule itself, of which [`ByAudience`] is the
/// indexed form. A required part that is null on either side admits nobody but administrators.
pub fn admits(event: &Event, identity: &Identity) -> bool {
    fn part(required: bool, of_event: Option<&str>, of_identity: Option<&str>) -> bool {
        !required || (of_event.is_some() && of_event == of_identity)
    }
    identity.admin
        || (part(event.audience.tenant, event.tenant_id.as_deref(), identity.tenant.as_deref())
            && part(event.audience.user, event.user_id.as_deref(), identity.user.as_deref()))
}

type Part = Option<Box<str>>;

/// Values filed by the identities they belong to, so that an event finds those it admits by hash
/// look-ups, however many others there are.
#[derive(Debug)]
pub struct ByAudience<V> {
    /// Tenant, then user.
    tenants: Table<Part, Table<Part, V>>,
    /// Under which tenants a user stands: for events that require a user only.
    users: Table<Box<str>, Vec<Part>>,
    admins: Option<V>,
}

impl<V> Default for ByAudience<V> {
    fn default() -> Self {
        Self { tenants: Table::default(), users: Table::default(), admins: None }
    }
}

impl<V: Default> ByAudience<V> {
    /// The value of an identity, made if there is none.
    pub fn entry(&mut self, identity: &Identity) -> &mut V {
        if identity.admin {
            return self.admins.get_or_insert_default();
        }
        if let Some(user) = &identity.user {
            let tenants = match self.users.get_mut(user) {
                Some(tenants) => tenants,
                None => self.users.get_or_default(user.clone()),
            };
            if !tenants.contains(&identity.tenant) {
                tenants.push(identity.tenant.clone());
            }
        }
        self.tenants.get_or_default(identity.tenant.clone()).get_or_default(identity.user.clone())
    }

    /// The value of an identity, if there is one.
    pub fn get_mut(&mut self, identity: &Identity) -> Option<&mut V> {
        if identity.admin {
            return self.admins.as_mut();
        }
        self.tenants.get_mut(&identity.tenant)?.get_mut(&identity.user)
    }

    /// Removes the value of an identity.
    pub fn remove(&mut self, identity: &Identity) {
        if identity.admin {
            self.admins = None;
            return;
        }
        if let Some(users) = self.tenants.get_mut(&identity.tenant) {
            users.remove(&identity.user);
            if users.is_empty() {
                self.tenants.remove(&identity.tenant);
            }
        }
        if let Some(user) = &identity.user
            && let Some(tenants) = self.users.get_mut(user)
        {
            tenants.retain(|tenant| *tenant != identity.tenant);
            if tenants.is_empty() {
                self.users.remove(user);
            }
        }
    }

    /// Whether nothing is filed.
    pub fn is_empty(&self) -> bool {
        self.tenants.is_empty() && self.admins.is_none()
    }

    /// Calls `visit` with the value of every identity that the event admits, see [`admits`].
    pub fn for_each_admitted(&self, event: &Event, mut visit: impl FnMut(&V)) {
        self.admins.iter().for_each(&mut visit);
        let (tenant, user) = (&event.tenant_id, &event.user_id);
        match (event.audience.tenant, event.audience.user) {
            (false, false) => self.for_each_but_admins(visit),
            (true, false) if tenant.is_some() => {
                self.tenants.get(tenant).into_iter().flat_map(Table::values).for_each(visit);
            }
            (true, true) if tenant.is_some() && user.is_some() => {
                self.tenants.get(tenant).and_then(|users| users.get(user)).into_iter().for_each(visit);
            }
            (false, true) => {
                let tenants = user.as_ref().and_then(|user| self.users.get(user));
                for tenant in tenants.into_iter().flatten() {
                    let value = self.tenants.get(tenant).and_then(|users| users.get(user));
                    value.into_iter().for_each(&mut visit);
                }
            }
            // What is required is missing.
            (true, _) => {}
        }
    }

    /// Calls `visit` with every value.
    pub fn for_each(&self, mut visit: impl FnMut(&V)) {
        self.admins.iter().for_each(&mut visit);
        self.for_each_but_admins(visit);
    }

    fn for_each_but_admins(&self, visit: impl FnMut(&V)) {
        self.tenants.values().flat_map(Table::values).for_each(visit);
    }
}

#[cfg(test)]
mod tests {
    use super::{ByAudience, Identity, admits};
    use crate::event::{Audience, Event};

    fn parts() -> [Option<Box<str>>; 3] {
        [None, Some("a".into()), Some("b".into())]
    }

    #[test]
    fn the_index_admits_exactly_whom_the_rule_admits() {
        let mut identities = Vec::new();
        for tenant in parts() {
            for user in parts() {
                for admin in [false, true] {
                    identities.push(Identity {
                        tenant: tenant.clone(),
                        user: user.clone(),
                        admin,
                        ..Identity::default()
                    });
                }
            }
        }
        // Administrators share one value; leave some identities out to notice false positives.
        let mut filed: ByAudience<Vec<usize>> = ByAudience::default();
        for (index, identity) in identities.iter().enumerate().filter(|(index, _)| index % 5 != 3) {
            filed.entry(identity).push(index);
        }
        for tenant_id in parts() {
            for user_id in parts() {
                for (tenant, user) in [(false, false), (true, false), (false, true), (true, true)] {
                    let audience = Audience { tenant, user };
                    let event = Event {
                        audience,
                        tenant_id: tenant_id.clone(),
                        user_id: user_id.clone(),
                        ..Event::default()
                    };
                    let mut found = Vec::new();
                    filed.for_each_admitted(&event, |indexes| found.extend(indexes.iter().copied()));
                    found.sort_unstable();
                    let expected: Vec<usize> = (0..identities.len())
                        .filter(|i| i % 5 != 3 && admits(&event, &identities[*i]))
                        .collect();
                    assert_eq!(found, expected, "{event:?}");
                }
            }
        }
    }

    #[test]
    fn removing_leaves_nothing_behind() {
        let mut filed: ByAudience<u8> = ByAudience::default();
        let identity = Identity { tenant: Some("a".into()), user: Some("u".into()), ..Identity::default() };
        filed.entry(&identity);
        filed.entry(&Identity { admin: true, ..Identity::default() });
        assert!(!filed.is_empty());
        filed.remove(&identity);
        filed.remove(&Identity { admin: true, ..Identity::default() });
        assert!(filed.is_empty() && filed.users.is_empty());
    }
}
