//! A client that is connected or comes back, and is told now and then that it has missed something.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use crate::streaming::exactly_once::{LAST_ROW, QUERY};
use crate::support::daemon::{Daemon, token};
use crate::support::sse::Sse;

/// The results between two gaps that were declared, each a row and its version.
type Segment = Vec<(i32, i64)>;

/// What a client has seen.
pub struct History {
    pub name: String,
    /// Never empty. Between two of them the client was told of a gap.
    segments: Vec<Segment>,
    pub connections: usize,
}

impl History {
    /// How often it was told of a gap.
    pub fn gaps(&self) -> usize {
        self.segments.len() - 1
    }

    /// Prints the line that says what was delivered, and fails unless every gap was declared. `versions` are those that
    /// rows have in the end; each version was an event.
    pub fn reconcile(&self, versions: &BTreeMap<i32, i64>) {
        let expected: i64 = versions.values().sum();
        let delivered: usize = self.segments.iter().map(Vec::len).sum();
        let (mut missing, mut duplicate, mut foreign) = (0, 0, 0);
        // What it knows of each row: at first that there was no version, and after a gap nothing.
        let mut known: BTreeMap<i32, i64> = versions.keys().map(|row| (*row, 0)).collect();
        for (number, segment) in self.segments.iter().enumerate() {
            if number > 0 {
                known.clear();
            }
            for (row, version) in segment {
                let before = known.insert(*row, *version).unwrap_or(version - 1);
                missing += (version - before - 1).max(0);
                duplicate += i64::from(*version <= before);
                foreign += i64::from(versions.get(row).is_none_or(|last| version > last));
            }
        }
        missing += known.iter().map(|(row, version)| versions[row] - version).sum::<i64>();
        println!(
            "{}: {expected} events, {delivered} delivered, {missing} missing, {duplicate} duplicate, {foreign} foreign, \
             {} declared gaps, {} connections",
            self.name,
            self.gaps(),
            self.connections
        );
        assert_eq!((missing, duplicate, foreign), (0, 0, 0), "{}", self.name);
    }
}

/// How a client behaves.
#[derive(Clone, Copy)]
pub struct Habit {
    /// Most results that it reads before it leaves.
    pub results_max: u32,
    /// Longest time that it stays away.
    pub away_max: Duration,
}

/// Reads until the last row has come; leaves and comes back as its habit is, until the day is over. Without a habit it
/// stays connected. Where it is told of a gap it goes on behind it.
pub async fn run(daemon: &Daemon, seed: u64, habit: Option<Habit>, is_over: &AtomicBool) -> History {
    let mut random = StdRng::seed_from_u64(seed);
    let name = match habit {
        None => format!("connected client {seed}"),
        Some(habit) => format!("client {seed}, away for up to {:?}", habit.away_max),
    };
    let mut history = History { name, segments: vec![Vec::new()], connections: 0 };
    let mut cursor: Option<String> = None;
    loop {
        let token = token("ann", "acme");
        let mut stream = match &cursor {
            None => Sse::open(daemon, &token, QUERY).await,
            Some(cursor) => Sse::resume(daemon, &token, QUERY, cursor).await,
        };
        history.connections += 1;
        cursor = stream.last_id().or(cursor);
        let mut wanted = habit.map_or(u32::MAX, |habit| random.random_range(1..habit.results_max));
        while wanted > 0 {
            let Some(event) = stream.next_event().await else { break };
            if event.event == "complete" {
                break;
            }
            let result: Value = serde_json::from_str(&event.data).unwrap();
            if let Some(error) = result["errors"].get(0) {
                assert_eq!(error["extensions"]["code"], "CURSOR_EXPIRED", "{result}");
                history.segments.push(Vec::new());
                let oldest = error["extensions"]["oldestCursor"].as_str();
                cursor = Some(oldest.unwrap_or_else(|| panic!("{result}")).to_owned());
                break;
            }
            cursor = Some(result["extensions"]["cursor"].as_str().expect("a cursor").to_owned());
            let row = &result["data"]["counterUpdated"];
            let id = i32::try_from(row["id"].as_i64().unwrap_or_else(|| panic!("{result}"))).unwrap();
            let version = row["version"].as_str().unwrap().parse().unwrap();
            history.segments.last_mut().expect("it is never empty").push((id, version));
            if id == LAST_ROW {
                return history;
            }
            if !is_over.load(Ordering::Relaxed) {
                wanted -= 1;
            }
        }
        drop(stream);
        if let Some(habit) = habit
            && !is_over.load(Ordering::Relaxed)
        {
            // Its being away is what the cursor grows old by.
            tokio::time::sleep(habit.away_max.mul_f64(random.random_range(0.0..1.0))).await;
        }
    }
}
