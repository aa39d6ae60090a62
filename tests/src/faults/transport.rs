//! The ways in which clients subscribe, each with its own means to go on where it stood.

use std::fmt;
use std::time::Duration;

use futures_util::stream::BoxStream;
use serde_json::{Value, json};

use super::Sizes;
use crate::support::daemon::token_of;

/// A client waits no longer than this for a daemon to say anything: longer if there are many, or a busy machine looks like
/// a broken one, and all they do is to come again.
pub(super) fn patience() -> Duration {
    Duration::from_secs(3) + Duration::from_millis(40) * u32::try_from(Sizes::get().clients).unwrap()
}

/// Longer than any run.
const TOKEN_LIFE: Duration = Duration::from_secs(30 * 86_400);

/// A way to subscribe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Sse,
    SseOverHttp2,
    SingleConnection,
    Multipart,
    WebSocket,
    LegacyWebSocket,
}

impl Transport {
    pub(super) const ALL: [Self; 6] = [
        Self::Sse,
        Self::SingleConnection,
        Self::WebSocket,
        Self::SseOverHttp2,
        Self::Multipart,
        Self::LegacyWebSocket,
    ];
}

impl fmt::Display for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Sse => "SSE",
            Self::SseOverHttp2 => "SSE over HTTP/2",
            Self::SingleConnection => "SSE in single connection mode",
            Self::Multipart => "multipart",
            Self::WebSocket => "graphql-transport-ws",
            Self::LegacyWebSocket => "graphql-ws",
        })
    }
}

/// What a stream says: a result, the place to go on from after it, or both at once. Only what comes together can be
/// stored together.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) result: Option<Value>,
    pub(super) place: Option<String>,
}

impl Said {
    /// A result of a transport whose places are the cursors of results.
    pub(super) fn result(result: Value) -> Self {
        let place = result["extensions"]["cursor"].as_str().map(str::to_owned);
        Self { result: Some(result), place }
    }

    pub(super) fn place(place: &str) -> Self {
        Self { result: None, place: Some(place.to_owned()) }
    }
}

pub(super) type Stream = BoxStream<'static, Said>;

/// Who subscribes, and where they stand.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) token: String,
    /// The cursor of the last result, or another to begin at.
    pub(super) cursor: Option<String>,
    /// What the stream itself said last of where to go on.
    pub(super) place: Option<String>,
    /// The token of a reservation, and whether the operation has been sent.
    pub(super) reservation: Option<(String, bool)>,
}

impl Subscriber {
    pub(super) fn new(user: &str, tenant: &str) -> Self {
        let token = token_of(json!({ "sub": user, "tenant_id": tenant }), TOKEN_LIFE);
        Self { token, cursor: None, place: None, reservation: None }
    }

    /// Begins anew, at a cursor.
    pub(super) fn begin_at(&mut self, cursor: String) {
        (self.cursor, self.place, self.reservation) = (Some(cursor), None, None);
    }
}
