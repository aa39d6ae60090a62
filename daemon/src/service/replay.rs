//! Brings subscriptions that are behind to the stream: reads what they have missed and has
//! [`crate::hub::replay`] hand it over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::hub::dispatch::Hub;
use crate::hub::mailbox::Bounds;
use crate::hub::replay::Group;
use crate::hub::subscribed::Subscribed;
use crate::metrics::ReplayMetrics;
use crate::source::history::{History, HistoryError, Moment};

/// Most groups that catch up at a time, of those who are near the stream and of those who are far behind it. Who
/// comes meanwhile is in the next.
const NEAR_GROUPS_MAX: usize = 3;
const FAR_GROUPS_MAX: usize = 1;

/// Ids that a group reads in one statement at first; more while they hold few events.
const WIDTH_MIN: i64 = 5_000;
const WIDTH_MAX: i64 = 1_000_000;
/// Events of a read beyond which the next is not wider.
const FEW_EVENTS: usize = 1_000;

/// A group whose missing ids span no more than this is registered for the stream before it reads them: what the stream
/// brings meanwhile has to fit into mailboxes.
const LAST_SPAN: i64 = 20_000;
/// A group that has not come so near by then, because events happen faster, is registered all the same.
const READINGS_MAX: usize = 8;

/// Pauses after a read that failed: the first, and the longest.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(50);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Results that a group hands over before the connections get a turn.
const RESULTS_MAX: usize = 10_000;

/// Brings whoever is behind to the stream, for ever. Whoever is far behind holds up nobody who is near.
pub(super) async fn run(hub: Arc<Hub>, history: Arc<dyn History>, metrics: ReplayMetrics) {
    let replay = Replay { hub, history, metrics };
    let (send, receive) = mpsc::unbounded_channel();
    tokio::join!(replay.clone().bring_near(send), replay.bring_far(receive));
}

#[derive(Clone)]
struct Replay {
    hub: Arc<Hub>,
    history: Arc<dyn History>,
    metrics: ReplayMetrics,
}

impl Replay {
    async fn bring_near(self, far_behind: mpsc::UnboundedSender<Arc<Subscribed>>) {
        let groups = Arc::new(Semaphore::new(NEAR_GROUPS_MAX));
        loop {
            // Before they are taken, so that all who come while no place is free become one group.
            let Ok(place) = groups.clone().acquire_owned().await else { return };
            let (ready, full): (Vec<_>, _) =
                self.hub.behind().await.into_iter().partition(|it| it.has_room());
            self.wait_for_room(full);
            // By themselves: whoever needs the table does not have it read for those who do not.
            let (recent, older): (Vec<_>, _) =
                ready.into_iter().partition(|it| it.lacks(|missing| self.history.holds(missing)));
            let top = self.hub.position().top().saturating_sub(LAST_SPAN);
            let (near, far): (Vec<_>, _) =
                older.into_iter().partition(|it| it.lacks(|missing| missing.top >= top));
            for subscribed in far {
                // As many as there are subscriptions, at most.
                let _ = far_behind.send(subscribed);
            }
            let place = Arc::new(place);
            for group in [recent, near] {
                if !group.is_empty() {
                    tokio::spawn(self.clone().bring(group, place.clone()));
                }
            }
        }
    }

    async fn bring_far(self, mut far_behind: mpsc::UnboundedReceiver<Arc<Subscribed>>) {
        let groups = Arc::new(Semaphore::new(FAR_GROUPS_MAX));
        let mut waiting = Vec::new();
        loop {
            let Ok(place) = groups.clone().acquire_owned().await else { return };
            if far_behind.recv_many(&mut waiting, usize::MAX).await == 0 {
                return;
            }
            tokio::spawn(self.clone().bring(std::mem::take(&mut waiting), Arc::new(place)));
        }
    }

    async fn bring(self, waiting: Vec<Arc<Subscribed>>, _place: Arc<OwnedSemaphorePermit>) {
        let began = Instant::now();
        let mut group = Group::of(waiting);
        let _counted = Counted::new(&self.metrics, group.len());
        for reading in 1.. {
            let Some(mut moment) = self.moment(&mut group).await else { break };
            let last = moment.span() <= LAST_SPAN || reading >= READINGS_MAX;
            if last {
                group.join(&self.hub);
                // Another moment: this one has to contain all that the stream had brought before.
                let Some(later) = self.moment(&mut group).await else { break };
                moment = later;
            }
            self.read(&mut group, &moment).await;
            group.finish(&self.hub, &moment);
            if last {
                self.metrics.count("joined", group.settle(&self.hub));
            }
            self.let_go(&mut group);
        }
        self.let_go(&mut group);
        self.metrics.time.observe(began.elapsed().as_secs_f64());
    }

    /// The moment now, for those whom it does not end; nothing if nobody is left.
    async fn moment(&self, group: &mut Group) -> Option<Moment> {
        let mut pause = RETRY_PAUSE_MIN;
        while !group.is_empty() {
            let missing = group.missing();
            match self.history.moment(&missing).await {
                // The stream is about to end for everybody, or what was read is not of the server that it follows.
                Ok(moment) if !self.hub.stands_in(moment.history) => {
                    let other = HistoryError("the stream has another history than what was read".into());
                    self.failed(&other, &mut pause).await;
                }
                Ok(moment) => {
                    let (changed, expired) = group.check(&self.hub, &moment);
                    self.metrics.count("history_changed", changed);
                    self.metrics.count("expired", expired);
                    return (!group.is_empty()).then_some(moment);
                }
                Err(error) => self.failed(&error, &mut pause).await,
            }
            group.forget_unwanted(&self.hub);
        }
        None
    }

    /// Reads what is missing of a moment and hands it over.
    async fn read(&self, group: &mut Group, moment: &Moment) {
        let Some((first, last)) = moment.ids else { return };
        let missing = group.missing();
        let (mut after, mut width, mut pause) = (first - 1, WIDTH_MIN, RETRY_PAUSE_MIN);
        while after < last && !group.is_empty() {
            let passage = match self.history.passage(&missing, moment, after, width).await {
                Ok(passage) => passage,
                Err(error) => {
                    self.failed(&error, &mut pause).await;
                    group.forget_unwanted(&self.hub);
                    continue;
                }
            };
            pause = RETRY_PAUSE_MIN;
            let bounds = || Bounds { oldest: moment.oldest().encode(), newest: moment.cursor(0).encode() };
            let expired = group.end_expired(&self.hub, passage.floor.as_ref(), bounds);
            self.metrics.count("expired", expired);
            // The connections that share this worker thread must get to their mailboxes before those are full.
            for events in passage.events.chunks((RESULTS_MAX / group.len().max(1)).clamp(1, 64)) {
                group.offer(&self.hub, events, moment);
                tokio::task::yield_now().await;
            }
            self.metrics.events.inc_by(passage.events.len() as u64);
            self.metrics.deliveries.inc_by(group.take_delivered());
            self.let_go(group);
            after = passage.upto;
            width = if passage.events.len() < FEW_EVENTS { (width * 2).min(WIDTH_MAX) } else { WIDTH_MIN };
        }
    }

    /// Has those who could not go on with the group go on later.
    fn let_go(&self, group: &mut Group) {
        self.wait_for_room(group.take_left());
    }

    fn wait_for_room(&self, waiting: Vec<Arc<Subscribed>>) {
        for subscribed in waiting {
            let hub = self.hub.clone();
            tokio::spawn(async move { hub.wait_for_room(subscribed).await });
        }
    }

    async fn failed(&self, error: &HistoryError, pause: &mut Duration) {
        self.metrics.failures.inc();
        let wait = pause.mul_f64(rand::rng().random_range(0.5..1.0));
        tracing::warn!(%error, ?wait, "missed events cannot be read now; trying again");
        tokio::time::sleep(wait).await;
        *pause = (*pause * 2).min(RETRY_PAUSE_MAX);
    }
}

/// Those who catch up, as long as they do.
struct Counted {
    metrics: ReplayMetrics,
    members: i64,
}

impl Counted {
    fn new(metrics: &ReplayMetrics, members: usize) -> Self {
        let members = i64::try_from(members).unwrap_or(i64::MAX);
        metrics.catching_up.inc_by(members);
        Self { metrics: metrics.clone(), members }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.catching_up.dec_by(self.members);
    }
}
