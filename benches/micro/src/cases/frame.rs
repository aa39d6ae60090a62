//! A shared result between the bytes of a frame.

use std::hint::black_box;

use serde_json::Value;
use tidings_daemon::hub::audience::Identity;
use tidings_daemon::hub::project::ParsedEvent;
use tidings_daemon::transport::frame::{self, ResultHead};

use super::Case;
use crate::room::{self, Room};
use crate::shop;

pub(super) fn cases(cases: &mut Vec<Case>) {
    cases.push(Case::new("frame/sse", "frame", 1, || {
        let (result, cursor) = result()?;
        let mut out = Vec::new();
        Ok(Box::new(move || {
            out.clear();
            frame::sse_next(&mut out, &result, &cursor);
            black_box(&out);
        }))
    }));
    cases.push(Case::new("frame/websocket", "frame", 1, || {
        let (result, cursor) = result()?;
        let head = ResultHead { id: r#""1""#, kind: "next" };
        let mut out = Vec::new();
        Ok(Box::new(move || {
            out.clear();
            frame::ws_result(&mut out, &head, &result, &cursor);
            black_box(&out);
        }))
    }));
}

fn result() -> anyhow::Result<(bytes::Bytes, std::sync::Arc<str>)> {
    let query = "subscription { orderInserted { id total note state } }";
    let interest = Room::new()?.interest(&shop::request(query, Value::Null), &Identity::default())?;
    let event = shop::inserted(7, 0);
    Ok((interest.projection.project(&ParsedEvent::new(&event)), room::start().encode()))
}
