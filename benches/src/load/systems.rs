//! The systems that can be measured: how each is subscribed to, and how its events are made.

use clap::ValueEnum;
use serde_json::json;

/// A system under load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum System {
    /// Tidings over server-sent events, distinct connections mode.
    OursSse,
    /// Tidings over WebSocket, `graphql-transport-ws`.
    OursWs,
    /// nchan, an nginx module in C: server-sent events, no GraphQL.
    Nchan,
    /// async-graphql and axum on tokio-postgres, WebSocket.
    AsyncGraphql,
    /// graphql-ws and pg on Node.js, WebSocket.
    Node,
    /// graphql-yoga on Node.js, server-sent events.
    Yoga,
    /// PostGraphile 5 on Node.js, WebSocket.
    Postgraphile,
    /// A loop that does one write per subscriber and event.
    Floor,
}

/// A way to subscribe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// GraphQL over server-sent events.
    GraphqlSse,
    /// A GET whose answer is the stream.
    PlainSse,
    /// `graphql-transport-ws`.
    Ws,
}

impl System {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::OursSse | Self::OursWs)
    }

    pub(crate) fn transport(self) -> Transport {
        match self {
            Self::OursSse | Self::Yoga => Transport::GraphqlSse,
            Self::Nchan | Self::Floor => Transport::PlainSse,
            Self::OursWs | Self::AsyncGraphql | Self::Node | Self::Postgraphile => Transport::Ws,
        }
    }

    /// Path of the endpoint.
    pub(crate) fn path(self, channel: &str) -> String {
        match self {
            Self::Nchan => format!("/sub/{channel}"),
            Self::Floor => format!("/{channel}"),
            _ => "/graphql".to_owned(),
        }
    }

    /// What to subscribe to: the same document for everybody, the channel in a variable.
    pub(crate) fn request(self, channel: &str) -> String {
        json!({
            "query": "subscription($channel: String!) { events(channel: $channel) { id data } }",
            "variables": { "channel": channel },
        })
        .to_string()
    }

    /// Makes the events of numbers $3 to $4 in this order; $2 is padding, $1 the channel, or the prefix of `$5`
    /// channels that take turns. The count makes the planner evaluate every row.
    pub(crate) fn publish(self) -> String {
        let data = r#"format('{"seq": %s, "sent": %s, "pad": "%s"}', seq,
            (extract(epoch from clock_timestamp()) * 1000000)::bigint, $2::text)"#;
        let channel = "$1::text || case when $5::int > 0 then (seq::bigint * 7919 % $5)::text else '' end";
        let call = match self {
            Self::OursSse | Self::OursWs => format!("publish_event({channel}, 'tick', {data}::jsonb)"),
            // PostGraphile's topics are channels of NOTIFY.
            Self::Postgraphile => format!("pg_notify({channel}, {data})"),
            _ => {
                format!(r#"pg_notify('bench', format('{{"channel": "%s", "data": %s}}', {channel}, {data}))"#)
            }
        };
        format!("select count({call}) from generate_series($3::int, $4::int) seq")
    }
}

/// Which of `channels` that take turns gets this event: what [`System::publish`] computes.
pub(crate) fn channel_of(seq: u32, channels: u32) -> u32 {
    // Below `channels`, so it fits.
    (u64::from(seq) * 7919 % u64::from(channels)) as u32
}
