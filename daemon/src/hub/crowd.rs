//! Those who are filed at one place: one of them at most places, thousands at some.

use std::sync::Arc;

use indexmap::IndexMap;
use indexmap::map::Entry;

use super::audience::{ByAudience, Identity, admits};
use super::project::Interest;
use super::route::Subscriber;
use crate::event::Event;

/// Subscribers of one identity.
#[derive(Debug, Default)]
pub(super) enum Crowd {
    /// Nobody, before the first and after the last.
    #[default]
    Nobody,
    /// The usual case, which takes no more than a pointer.
    One(Arc<Subscriber>),
    /// Those who are alike stand together.
    Many(Box<IndexMap<Likeness, Alike>>),
}

/// Subscribers of equal interests: they get the same bytes of the same events.
#[derive(Debug)]
pub(super) enum Alike {
    One(Arc<Subscriber>),
    /// By their numbers. Never empty.
    Many(Box<IndexMap<u64, Arc<Subscriber>>>),
}

/// The addresses of an interest's residual, projection and deferral; zero where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Likeness {
    pub(super) residual: usize,
    pub(super) projection: usize,
    pub(super) deferral: usize,
}

impl Likeness {
    pub(super) fn of(interest: &Interest) -> Self {
        Self {
            residual: interest.residual.as_ref().map_or(0, address),
            projection: address(&interest.projection),
            deferral: interest.deferral.as_ref().map_or(0, address),
        }
    }
}

fn address<T: ?Sized>(shared: &Arc<T>) -> usize {
    Arc::as_ptr(shared).cast::<()>().addr()
}

/// Some who are alike, in turn.
pub(super) enum Members<'a> {
    One(std::slice::Iter<'a, Arc<Subscriber>>),
    Many(indexmap::map::Values<'a, u64, Arc<Subscriber>>),
}

impl<'a> Members<'a> {
    fn one(one: &'a Arc<Subscriber>) -> Self {
        Self::One(std::slice::from_ref(one).iter())
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = &'a Arc<Subscriber>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::One(one) => one.next(),
            Self::Many(many) => many.next(),
        }
    }
}

impl Alike {
    fn insert(&mut self, subscriber: Arc<Subscriber>) {
        match self {
            Self::One(one) if one.id == subscriber.id => {}
            Self::One(one) => {
                let both = [one.clone(), subscriber].map(|subscriber| (subscriber.id, subscriber));
                *self = Self::Many(Box::new(both.into()));
            }
            Self::Many(many) => drop(many.insert(subscriber.id, subscriber)),
        }
    }

    /// Removes a subscriber, if it is here. Whether nobody is left then.
    fn remove(&mut self, subscriber: &Subscriber) -> bool {
        match self {
            Self::One(one) => one.id == subscriber.id,
            Self::Many(many) => {
                many.swap_remove(&subscriber.id);
                many.is_empty()
            }
        }
    }

    fn first(&self) -> Option<&Arc<Subscriber>> {
        match self {
            Self::One(one) => Some(one),
            Self::Many(many) => many.first().map(|(_, first)| first),
        }
    }

    fn members(&self) -> Members<'_> {
        match self {
            Self::One(one) => Members::one(one),
            Self::Many(many) => Members::Many(many.values()),
        }
    }
}

impl Crowd {
    /// Adds a subscriber, unless it is here.
    pub(super) fn insert(&mut self, subscriber: Arc<Subscriber>) {
        match self {
            Self::Nobody => *self = Self::One(subscriber),
            Self::One(one) if one.id == subscriber.id => {}
            Self::One(one) => {
                let mut many = IndexMap::default();
                insert(&mut many, one.clone());
                insert(&mut many, subscriber);
                *self = Self::Many(many.into());
            }
            Self::Many(many) => insert(many, subscriber),
        }
    }

    /// Removes a subscriber, if it is here.
    pub(super) fn remove(&mut self, subscriber: &Subscriber) {
        match self {
            Self::One(one) if one.id == subscriber.id => *self = Self::Nobody,
            Self::Nobody | Self::One(_) => {}
            Self::Many(many) => {
                let likeness = Likeness::of(&subscriber.interest);
                let Some(alike) = many.get_mut(&likeness) else { return };
                if alike.remove(subscriber) {
                    many.swap_remove(&likeness);
                }
                if many.is_empty() {
                    *self = Self::Nobody;
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Nobody)
    }

    /// Calls `visit` with those who are alike, and what they are interested in.
    pub(super) fn for_each_alike(&self, mut visit: impl FnMut(&Interest, Members<'_>)) {
        match self {
            Self::Nobody => {}
            Self::One(one) => visit(&one.interest, Members::one(one)),
            Self::Many(many) => {
                for alike in many.values() {
                    if let Some(first) = alike.first() {
                        visit(&first.interest, alike.members());
                    }
                }
            }
        }
    }

    /// Everybody's identity.
    fn identity(&self) -> Option<&Arc<Identity>> {
        let first = match self {
            Self::Nobody => None,
            Self::One(one) => Some(one),
            Self::Many(many) => many.first().and_then(|(_, alike)| alike.first()),
        };
        first.map(|first| &first.identity)
    }
}

fn insert(many: &mut IndexMap<Likeness, Alike>, subscriber: Arc<Subscriber>) {
    match many.entry(Likeness::of(&subscriber.interest)) {
        Entry::Occupied(alike) => alike.into_mut().insert(subscriber),
        Entry::Vacant(nobody) => _ = nobody.insert(Alike::One(subscriber)),
    }
}

/// Subscribers whose constraints have the same values.
#[derive(Debug)]
pub(super) enum Node {
    /// The usual case.
    OneIdentity(Crowd),
    Several(Box<ByAudience<Crowd>>),
}

impl Default for Node {
    fn default() -> Self {
        Self::OneIdentity(Crowd::Nobody)
    }
}

impl Node {
    pub(super) fn insert(&mut self, subscriber: Arc<Subscriber>) {
        if let Self::OneIdentity(crowd) = self
            && crowd.identity().is_some_and(|identity| !identity.is_filed_as(&subscriber.identity))
        {
            let crowd = std::mem::take(crowd);
            let mut several = ByAudience::default();
            if let Some(identity) = crowd.identity().cloned() {
                *several.entry(&identity) = crowd;
            }
            *self = Self::Several(several.into());
        }
        match self {
            Self::OneIdentity(crowd) => crowd.insert(subscriber),
            Self::Several(several) => {
                let identity = subscriber.identity.clone();
                several.entry(&identity).insert(subscriber);
            }
        }
    }

    pub(super) fn remove(&mut self, subscriber: &Subscriber) {
        match self {
            Self::OneIdentity(crowd) => crowd.remove(subscriber),
            Self::Several(several) => {
                let Some(crowd) = several.get_mut(&subscriber.identity) else { return };
                crowd.remove(subscriber);
                if crowd.is_empty() {
                    several.remove(&subscriber.identity);
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::OneIdentity(crowd) => crowd.is_empty(),
            Self::Several(several) => several.is_empty(),
        }
    }

    /// Calls `visit` with the crowd of every identity that the event admits.
    pub(super) fn for_each_admitted(&self, event: &Event, mut visit: impl FnMut(&Crowd)) {
        match self {
            Self::OneIdentity(crowd) => {
                if crowd.identity().is_some_and(|identity| admits(event, identity)) {
                    visit(crowd);
                }
            }
            Self::Several(several) => several.for_each_admitted(event, visit),
        }
    }

    /// Calls `visit` with every crowd.
    pub(super) fn for_each(&self, mut visit: impl FnMut(&Crowd)) {
        match self {
            Self::OneIdentity(crowd) => visit(crowd),
            Self::Several(several) => several.for_each(visit),
        }
    }
}
