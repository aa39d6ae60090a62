//! What an event costs among subscriptions that it does not concern: it belongs to one tenant, and each
//! subscription to another.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Case, Work};
use crate::room::Room;
use crate::shop;

/// Events of one call, each of a tenant of its own.
const EVENTS: usize = 64;

const COUNTS: [usize; 4] = [100, 1_000, 10_000, 100_000];

pub(super) fn cases(cases: &mut Vec<Case>) {
    for (kind, ask) in KINDS {
        for count in COUNTS {
            cases.push(Case::new(format!("route/{kind}/{count}"), "event", EVENTS, move || many(count, ask)));
        }
    }
    for count in [100, 1_000, 10_000] {
        cases.push(Case::new(format!("route/one-tenant-one-range/{count}"), "event", EVENTS, move || {
            one_tenant(count, |_| "{ total: { lt: 0 } }".to_owned())
        }));
    }
    for count in [100, 1_000] {
        cases.push(Case::new(format!("route/one-tenant-own-range/{count}"), "event", EVENTS, move || {
            one_tenant(count, |number| format!("{{ total: {{ lt: -{number} }} }}"))
        }));
    }
}

/// What the subscription of this number asks for.
type Ask = fn(usize) -> Asked;

struct Asked {
    declared: &'static str,
    argument: &'static str,
    variables: Value,
}

/// Every order passes what is asked of its own tenant.
const KINDS: [(&str, Ask); 4] = [
    ("tenant", |_| Asked { declared: "", argument: "", variables: Value::Null }),
    ("eq", |number| Asked {
        declared: "($id: BigInt)",
        argument: "(filter: { id: { eq: $id } })",
        variables: json!({ "id": number }),
    }),
    ("in", |number| Asked {
        declared: "($ids: [BigInt!])",
        argument: "(filter: { id: { in: $ids } })",
        variables: json!({ "ids": [number, number + 1_000_000, number + 2_000_000] }),
    }),
    ("range", |number| Asked {
        declared: "($least: BigFloat)",
        argument: "(filter: { total: { gte: $least }, state: { in: [paid, sent] } })",
        variables: json!({ "least": format!("-{number}") }),
    }),
];

fn many(count: usize, ask: Ask) -> Result<Work> {
    let mut room = Room::new()?;
    for number in 0..count {
        let Asked { declared, argument, variables } = ask(number);
        let query = format!("subscription {declared} {{ orderInserted{argument} {{ id total state }} }}");
        room.subscribe(&shop::request(&query, variables), number)?;
    }
    // Those that are met lie anywhere among the others.
    let met = (0..EVENTS).map(|index| index * count / EVENTS).collect();
    work(room, met)
}

/// All of one tenant, and of all of them one is met.
fn one_tenant(count: usize, filter: impl Fn(usize) -> String) -> Result<Work> {
    let mut room = Room::new()?;
    let query =
        |filter: &str| format!("subscription {{ orderInserted(filter: {filter}) {{ id total state }} }}");
    room.subscribe(&shop::request(&query("{ id: { gte: 0 } }"), Value::Null), 0)?;
    for number in 1..=count {
        room.subscribe(&shop::request(&query(&filter(number)), Value::Null), 0)?;
    }
    work(room, vec![0; EVENTS])
}

fn work(mut room: Room, met: Vec<usize>) -> Result<Work> {
    let events = met.iter().map(|&seat| shop::inserted(seat as i64, seat)).collect();
    let mut batch = room.batch(events);
    // The member that decides; the id of the event is its place in the stream.
    for (event, seat) in batch.events.iter_mut().zip(&met) {
        event.payload = shop::inserted(*seat as i64, *seat).payload;
    }
    room.dispatch(&batch);
    anyhow::ensure!(room.take(met.iter().copied()) == met.len(), "each event reaches one subscription");
    Ok(Box::new(move || {
        room.dispatch(&batch);
        room.take(met.iter().copied());
    }))
}
