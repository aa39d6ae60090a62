//! Replay: brings subscriptions that have missed events to where the stream is.
//!
//! Those that wait are taken together. A [`Group`] has a router of its own, so that one reading of the table serves
//! all of them, however many there are and wherever each of them stands: every event is offered to those that
//! match it, may see it and do not have it yet. What each has seen is a set, so none gets an event twice.
//!
//! Within one reading the order is that of ids, like in every batch: the second writer of a row draws its id after
//! the first has committed, so the order of ids is that of each row's versions, whichever batch they were in.
//!
//! The last reading of a group is made when its members are registered for the stream: what the stream brings meanwhile
//! waits behind it, and the moment of the reading decides about that ([`super::initial`]).

use std::collections::HashMap;
use std::sync::Arc;

use super::deliver::{Made, Receive, Results};
use super::delivery::{Bounds, Delivery, EndReason};
use super::dispatch::Hub;
use super::entry::Entry;
use super::later::Later;
use super::project::ParsedEvent;
use super::route::{Router, Subscriber};
use super::subscribed::Subscribed;
use crate::event::Event;
use crate::source::cursor::{Cursor, Floor, PARTS_MAX};
use crate::source::history::{Missing, Moment};

/// Subscriptions that catch up together.
#[derive(Debug, Default)]
pub struct Group {
    router: Router,
    members: HashMap<u64, Member>,
    /// Those that have to wait for room, or begin again with another document.
    left: Vec<Arc<Subscribed>>,
    /// Results handed over.
    delivered: u64,
}

/// One of them, by the number of its subscriber.
#[derive(Debug)]
struct Member {
    owner: Arc<Subscribed>,
    subscriber: Arc<Subscriber>,
    /// What it has seen.
    seen: Cursor,
    out: bool,
}

impl Group {
    /// Those that are still wanted of the ones that wait.
    pub fn of(waiting: Vec<Arc<Subscribed>>) -> Self {
        let mut group = Self::default();
        for owner in waiting {
            let state = owner.lock();
            let Some((subscriber, seen)) = state.current.clone().zip(state.seen.as_deref().cloned()) else {
                continue;
            };
            drop(state);
            group.router.insert(&subscriber);
            group.members.insert(subscriber.id, Member { owner, subscriber, seen, out: false });
        }
        group
    }

    /// Whether nobody is left to catch up.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How many catch up.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// What may be missing from any of them.
    pub fn missing(&self) -> Missing {
        Missing::from_any(self.members.values().map(|member| &member.seen))
    }

    /// Ends those whose set this history cannot complete, and gives up those that are not wanted any more. Returns how
    /// many of each kind: of another history, and expired.
    pub fn check(&mut self, hub: &Hub, moment: &Moment) -> (u64, u64) {
        let bounds = || Bounds { oldest: moment.oldest().encode(), newest: moment.cursor(0).encode() };
        let foreign = |seen: &Cursor| moment.is_foreign(seen);
        let changed = self.end(hub, foreign, || EndReason::HistoryChanged(bounds()));
        let expired = self.end_expired(hub, moment.floor.as_ref(), bounds);
        (changed, expired)
    }

    /// Ends those who miss what may have been removed.
    pub fn end_expired(&mut self, hub: &Hub, floor: Option<&Floor>, bounds: impl Fn() -> Bounds) -> u64 {
        let Some(floor) = floor else { return 0 };
        self.end(hub, |seen| seen.lacks(floor), || EndReason::Expired(bounds()))
    }

    fn end(&mut self, hub: &Hub, lost: impl Fn(&Cursor) -> bool, reason: impl Fn() -> EndReason) -> u64 {
        let mut ended = 0;
        for member in self.members.values_mut().filter(|member| lost(&member.seen)) {
            member.out = true;
            ended += u64::from(member.fail(reason()));
        }
        self.dismiss(hub);
        ended
    }

    /// Lets those go who have gone, or go by another document now.
    pub fn forget_unwanted(&mut self, hub: &Hub) {
        for member in self.members.values_mut() {
            member.out = !member.owner.lock().goes_by(&member.subscriber);
        }
        self.dismiss(hub);
    }

    /// Registers the members for the stream: the next reading is the last.
    pub fn join(&mut self, hub: &Hub) {
        for member in self.members.values_mut() {
            let state = member.owner.lock();
            member.out = !state.goes_by(&member.subscriber);
            if !member.out {
                hub.register(&member.subscriber);
            }
        }
        self.dismiss(hub);
    }

    /// Offers events, in the order of their ids, to those who lack them.
    pub fn offer(&mut self, hub: &Hub, events: &[Event], moment: &Moment) {
        let (mut topic, mut key, mut results) = (String::new(), String::new(), Results::default());
        for event in events {
            let mut parsed = None;
            let mut turn = Turn { members: &mut self.members, event, moment };
            self.router.for_each_topic(event, &mut topic, |shapes| {
                let parsed = parsed.get_or_insert_with(|| ParsedEvent::new(event));
                shapes.for_each_match(parsed, &mut key, |crowd, found| {
                    results.deliver(crowd, found, parsed, &mut turn);
                });
            });
            self.delivered += std::mem::take(&mut results.delivered);
            results.clear();
        }
        self.dismiss(hub);
    }

    /// Ends a reading that offered everything.
    pub fn finish(&mut self, hub: &Hub, moment: &Moment) {
        self.members.values_mut().for_each(|member| member.moves_to(moment.cursor(member.seen.top)));
        self.dismiss(hub);
    }

    /// The members have come to where the stream takes over. Returns how many.
    pub fn settle(&mut self, hub: &Hub) -> u64 {
        let mut settled = 0;
        for member in self.members.values_mut() {
            let mut state = member.owner.lock();
            member.out = !state.goes_by(&member.subscriber);
            if !member.out {
                state.seen = None;
                if let Some(initial) = &member.subscriber.initial {
                    initial.replayed_up_to(member.seen.clone());
                }
                member.subscriber.mailbox.settled(0);
                settled += 1;
            }
        }
        self.dismiss(hub);
        self.members.values().for_each(|member| self.router.remove(&member.subscriber));
        self.members.clear();
        settled
    }

    /// Those that go on later, each when its mailbox has room.
    pub fn take_left(&mut self) -> Vec<Arc<Subscribed>> {
        std::mem::take(&mut self.left)
    }

    /// Results handed over since it was last asked.
    pub fn take_delivered(&mut self) -> u64 {
        std::mem::take(&mut self.delivered)
    }

    fn dismiss(&mut self, hub: &Hub) {
        let (router, left) = (&self.router, &mut self.left);
        self.members.retain(|_, member| {
            if member.out {
                router.remove(&member.subscriber);
                hub.deregister(&member.subscriber);
                if member.owner.lock().current.is_some() {
                    left.push(member.owner.clone());
                }
            }
            !member.out
        });
    }
}

impl Member {
    /// Records what it has seen, unless it goes by another subscriber now.
    fn moves_to(&mut self, seen: Cursor) {
        let mut state = self.owner.lock();
        self.out = !state.goes_by(&self.subscriber);
        if !self.out {
            state.seen = Some(seen.clone().into());
            self.seen = seen;
        }
    }

    fn fail(&self, reason: EndReason) -> bool {
        let mut state = self.owner.lock();
        if !state.goes_by(&self.subscriber) {
            return false;
        }
        (state.current, state.seen) = (None, None);
        if let Some(initial) = &self.subscriber.initial {
            initial.fail(reason, self.seen.encode());
        }
        self.subscriber.mailbox.settled(0);
        true
    }
}

/// One event, offered to the members.
struct Turn<'a> {
    members: &'a mut HashMap<u64, Member>,
    event: &'a Event,
    moment: &'a Moment,
}

impl Receive for Turn<'_> {
    fn wants(&self, subscriber: &Subscriber) -> bool {
        let member = self.members.get(&subscriber.id);
        member.is_some_and(|member| !member.out && !member.seen.contains(self.event.id, self.event.xid))
    }

    fn put(&mut self, subscriber: &Arc<Subscriber>, made: &Made) -> bool {
        let Some(member) = self.members.get_mut(&subscriber.id) else { return false };
        let Some(initial) = &subscriber.initial else { return false };
        let seen = member.seen.up_to(self.event.id, &self.moment.snapshot);
        if seen.parts().count() > PARTS_MAX {
            // A text that left a part out would name less than was seen. It ends where it can be named.
            member.out = true;
            member.fail(EndReason::SlowConsumer);
            return false;
        }
        let (subscription, cursor) = (subscriber.subscription, seen.encode());
        let entry = match made {
            Made::Now(result) => Entry::Now(Delivery::Next { subscription, result: result.clone(), cursor }),
            Made::Later(slot) => {
                let before = member.seen.encode();
                Entry::Later(Later { subscription, slot: slot.clone(), cursor, before, unless: None })
            }
        };
        let mut state = member.owner.lock();
        let put = state.goes_by(subscriber) && subscriber.mailbox.push_replayed(initial, entry).is_ok();
        if put {
            state.seen = Some(seen.clone().into());
            member.seen = seen;
        } else {
            member.out = true;
        }
        put
    }
}
