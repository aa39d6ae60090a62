//! From an event to the bytes of a result, and what a filter takes.

use std::hint::black_box;

use anyhow::{Context, Result};
use serde_json::Value;
use tidings_daemon::event::Event;
use tidings_daemon::hub::audience::Identity;
use tidings_daemon::hub::project::ParsedEvent;

use super::{Case, Work};
use crate::room::Room;
use crate::shop;

pub(super) fn cases(cases: &mut Vec<Case>) {
    cases.push(Case::new("project/parse", "event", 1, || {
        let event = shop::inserted(7, 0);
        Ok(Box::new(move || {
            black_box(ParsedEvent::new(&event));
        }))
    }));
    cases.push(Case::new("project/narrow", "event", 1, || {
        project("subscription { orderInserted { id } }", shop::inserted(7, 0))
    }));
    cases.push(Case::new("project/row", "event", 1, || {
        project(
            "subscription { orderInserted { id tenant total note placed_at lines state } }",
            shop::inserted(7, 0),
        )
    }));
    cases.push(Case::new("project/change", "event", 1, || {
        let query = "subscription { orderChanged { operation changedColumns eventId createdAt
            record { id total note state } old { id total state } } }";
        project(query, shop::updated(7, 0))
    }));
    cases.push(Case::new("project/filter", "event", 1, || {
        let filter = "{ total: { gte: 10 }, note: { like: \"%some%\" }, state: { neq: sent } }";
        let query = format!("subscription {{ orderInserted(filter: {filter}) {{ id }} }}");
        let interest = Room::new()?.interest(&shop::request(&query, Value::Null), &Identity::default())?;
        let residual = interest.residual.context("nothing that no look-up answers")?;
        let event = shop::inserted(7, 0);
        anyhow::ensure!(residual.passes(&ParsedEvent::new(&event)), "the order passes");
        Ok(Box::new(move || {
            black_box(residual.passes(&ParsedEvent::new(&event)));
        }))
    }));
}

fn project(query: &str, event: Event) -> Result<Work> {
    let interest = Room::new()?.interest(&shop::request(query, Value::Null), &Identity::default())?;
    Ok(Box::new(move || {
        black_box(interest.projection.project(&ParsedEvent::new(&event)));
    }))
}
