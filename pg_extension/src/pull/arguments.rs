//! What a consumer asks for, within bounds.

use crate::error::refuse_argument;
use crate::publish::CHANNEL_BYTES_MAX;

/// Most events of a page.
const ROWS_MAX: i32 = 10_000;

pub(super) struct Arguments {
    /// Null: all.
    pub(super) channel: Option<String>,
    pub(super) max_rows: usize,
    /// Whether only what this tenant and user may see is asked for.
    pub(super) of_somebody: bool,
    pub(super) tenant_id: Option<String>,
    pub(super) user_id: Option<String>,
}

impl Arguments {
    pub(super) fn checked(
        channel: Option<&str>,
        max_rows: Option<i32>,
        of_somebody: bool,
        tenant_id: Option<&str>,
        user_id: Option<&str>,
    ) -> Self {
        let channel_hint = "Name a channel, or pass null for the events of all channels.";
        match channel {
            Some("") => refuse_argument("channel must not be empty".to_owned(), channel_hint),
            Some(name) if name.len() > CHANNEL_BYTES_MAX => refuse_argument(
                format!("channel is {} bytes long, the limit is {CHANNEL_BYTES_MAX}", name.len()),
                channel_hint,
            ),
            _ => {}
        }
        let rows_hint =
            "Ask for 1 to 10000 events; call again with the cursor of the last row for those that follow.";
        let max_rows = match max_rows {
            None => refuse_argument("max_rows must not be null".to_owned(), rows_hint),
            Some(rows) if !(1..=ROWS_MAX).contains(&rows) => {
                refuse_argument(format!("max_rows is {rows}, allowed are 1 to {ROWS_MAX}"), rows_hint)
            }
            Some(rows) => rows.unsigned_abs() as usize,
        };
        // Nobody has an empty name: it matches nothing, like null.
        let named = |name: Option<&str>| name.filter(|name| !name.is_empty()).map(str::to_owned);
        Self {
            channel: channel.map(str::to_owned),
            max_rows,
            of_somebody,
            tenant_id: named(tenant_id),
            user_id: named(user_id),
        }
    }
}
