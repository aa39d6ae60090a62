//! A client: comes, reads, leaves and comes back with its cursor.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use rand::Rng;
use rand::rngs::StdRng;

use super::database::{CHANNELS, Database};
use super::node::Node;
use super::outlet::Socket;
use crate::hub::audience::Identity;
use crate::hub::dispatch::Hub;
use crate::hub::mailbox::{CursorText, Delivery, EndReason, Mailbox, MailboxLimits, SubscriptionId};
use crate::hub::project::{Interest, ParsedEvent, Projection, Topic};
use crate::hub::subscribed::Subscribed;
use crate::source::cursor::Cursor;

#[derive(Debug)]
struct ById;

impl Projection for ById {
    fn project(&self, event: &ParsedEvent<'_>) -> Bytes {
        event.event.id.to_string().into()
    }
}

pub(super) struct Client {
    channels: Vec<u64>,
    limits: MailboxLimits,
    stream: Option<Stream>,
    /// Where it goes on; nothing if it begins anew.
    cursor: Option<CursorText>,
    /// What it cannot get: it was there before the client was, or had been removed when it began anew.
    before: HashSet<i64>,
    /// What it got since.
    got: Vec<i64>,
    ended: bool,
    pub(super) resumes: usize,
    pub(super) gaps: usize,
    pub(super) in_the_middle: usize,
    /// What was written past its reader, and how often some of it was left to the reader.
    pub(super) written: usize,
    pub(super) rests: usize,
}

struct Stream {
    hub: Arc<Hub>,
    socket: Arc<Socket>,
    mailbox: Arc<Mailbox>,
    subscribed: Arc<Subscribed>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.hub.unsubscribe(&self.subscribed);
    }
}

impl Client {
    pub(super) fn new(number: u64, limits: MailboxLimits) -> Self {
        let channels = (0..CHANNELS).filter(|channel| (number + 1) >> (channel % 3) & 1 == 1).collect();
        Self {
            channels,
            limits,
            stream: None,
            cursor: None,
            before: HashSet::new(),
            got: Vec::new(),
            ended: false,
            resumes: 0,
            gaps: 0,
            in_the_middle: 0,
            written: 0,
            rests: 0,
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.stream.is_some()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn delivered(&self) -> usize {
        self.got.len()
    }

    /// Comes to a node, with its cursor if it has one. Whoever ended in a gap goes on with what is left.
    pub(super) fn come(&mut self, node: &Node, random: &mut StdRng) {
        self.ended = false;
        let interest = self.interest();
        let (hub, identity) = (node.hub.clone(), Arc::new(Identity::default()));
        let limits = MailboxLimits { messages: random.random_range(2..=self.limits.messages), ..self.limits };
        let mailbox = Arc::new(Mailbox::new(limits));
        let socket = Arc::new(Socket::new(random.random()));
        mailbox.set_outlet(socket.clone());
        let subscribed = match &self.cursor {
            Some(cursor) => {
                let cursor = Cursor::decode(cursor).unwrap();
                self.resumes += 1;
                self.in_the_middle += usize::from(cursor.within.is_some());
                hub.resume(interest, identity, mailbox.clone(), SubscriptionId(1), cursor)
            }
            None => {
                let position = hub.position().cursor;
                let begun = hub.subscribe(interest, identity, mailbox.clone(), SubscriptionId(1));
                // Without a cursor it has what is dispatched from now on.
                self.before = node.everything_before();
                self.got.clear();
                self.cursor = node.is_between_batches().then_some(position);
                begun
            }
        };
        self.stream = Some(Stream { hub, socket, mailbox, subscribed });
    }

    fn interest(&self) -> Interest {
        Interest {
            topics: self.channels.iter().map(|channel| Topic::Channel(channel.to_string().into())).collect(),
            constraints: Vec::new(),
            residual: None,
            projection: Arc::new(ById),
            deferral: None,
            throttle: None,
            beginning: None,
        }
    }

    /// The schema is loaded anew: the subscription goes on by another plan, which gives the same results. Whether there
    /// was one.
    pub(super) fn reload(&self) -> bool {
        let Some(stream) = &self.stream else { return false };
        stream.hub.replace(&stream.subscribed, self.interest());
        true
    }

    /// Reads what there is, and may lend its socket until it reads again. As its task does on two threads: between the look
    /// into the mailbox and the moment when it has the socket back, something may happen.
    pub(super) async fn read(&mut self, lends: bool, meanwhile: impl FnOnce()) {
        // Once more than what was ready: a reader that waits takes its turn.
        tokio::task::yield_now().await;
        let Some(stream) = &self.stream else { return };
        let mut read = Vec::new();
        let _ = stream.mailbox.drain(&mut read, lends).now_or_never();
        meanwhile();
        let returned = stream.mailbox.take_back();
        let mut deliveries = stream.socket.go_on(&returned);
        self.written += deliveries.len();
        self.rests += usize::from(!returned.rest.is_empty());
        deliveries.append(&mut read);
        // All of it is written, and it waits for more.
        let _ = stream.mailbox.drain(&mut deliveries, lends).now_or_never();
        deliveries.into_iter().for_each(|delivery| self.take(delivery));
    }

    /// Leaves after a few of what waits.
    pub(super) async fn leave(&mut self, upto: usize) {
        let Some(stream) = self.stream.take() else { return };
        // What has left for it arrives.
        let received = stream.socket.received();
        let upto = received.len() + if stream.mailbox.take_back().rest.is_empty() { upto } else { 0 };
        let mut deliveries = received;
        let _ = stream.mailbox.drain(&mut deliveries, false).now_or_never();
        deliveries.into_iter().take(upto).for_each(|delivery| self.take(delivery));
        if self.cursor.is_none() {
            // It never learned where it was: it will begin anew.
            self.got.clear();
        }
    }

    fn take(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Next { result, cursor, .. } => {
                let id = std::str::from_utf8(&result).unwrap().parse().unwrap();
                let set = Cursor::decode(&cursor).unwrap();
                assert!(
                    set.top >= id || set.parts().any(|part| part.upto >= id),
                    "{id} is not in its cursor"
                );
                self.got.push(id);
                self.cursor = Some(cursor);
            }
            Delivery::End { reason: EndReason::Expired(_), .. } => {
                self.gaps += 1;
                self.ended = true;
                self.stream = None;
                self.cursor = None;
                self.got.clear();
            }
            other => panic!("{other:?}"),
        }
    }

    /// Whether it got everything that it could see, once, and the events of each row in order.
    pub(super) fn reconcile(&self, database: &Database) {
        assert!(self.is_connected(), "nobody is left out");
        let mine = |channel: &str| self.channels.contains(&channel.parse().unwrap());
        let expected: HashSet<i64> = database
            .committed
            .iter()
            .filter(|event| mine(&event.channel) && !self.before.contains(&event.id))
            .map(|event| event.id)
            .collect();
        let got: HashSet<i64> = self.got.iter().copied().collect();
        assert_eq!(got.len(), self.got.len(), "{:?} gets twice: {:?}", self.channels, self.got);
        let mut missing: Vec<_> = expected.difference(&got).collect();
        missing.sort();
        assert!(missing.is_empty(), "{:?} misses {missing:?}", self.channels);
        let foreign: Vec<_> = got.difference(&expected).collect();
        assert!(foreign.is_empty(), "foreign: {foreign:?}");
        let row_of: HashMap<i64, &str> =
            database.committed.iter().map(|event| (event.id, &*event.payload)).collect();
        let mut last: HashMap<&str, i64> = HashMap::new();
        for id in &self.got {
            let before = last.insert(row_of[id], *id);
            assert!(before.is_none_or(|before| before < *id), "row {} out of order", row_of[id]);
        }
    }
}
