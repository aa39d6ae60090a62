//! What it costs to hand an event to many.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{Case, Work};
use crate::room::Room;
use crate::shop;

const QUERY: &str = "subscription { orderInserted { id total note state } }";

pub(super) fn cases(cases: &mut Vec<Case>) {
    for count in [1, 100, 1_000, 5_000] {
        let name = format!("dispatch/one-by-one/{count}");
        cases.push(Case::new(name, "event", 1, move || work(count, 1)));
    }
    for count in [100, 1_000] {
        let name = format!("dispatch/burst/{count}");
        cases.push(Case::new(name, "delivery", count * 64, move || work(count, 64)));
    }
    cases.push(Case::new("dispatch/nobody", "event", 64, || work(0, 64)));
}

/// A batch of events that concerns all subscriptions; their mailboxes are emptied besides.
fn work(count: usize, events: usize) -> Result<Work> {
    let mut room = Room::new()?;
    for _ in 0..count {
        room.subscribe(&shop::request(QUERY, Value::Null), 0)?;
    }
    let batch = room.batch((0..events).map(|id| shop::inserted(id as i64, 0)).collect());
    room.dispatch(&batch);
    ensure!(room.take(0..count) == count * events, "everybody gets everything");
    Ok(Box::new(move || {
        room.dispatch(&batch);
        room.take(0..count);
    }))
}
