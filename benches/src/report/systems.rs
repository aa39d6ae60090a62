//! The systems as the report names them, in its order, each with a colour that can be read on light and dark.

use plotters::style::RGBColor;

/// A system, as its lines name it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct System {
    pub(crate) key: &'static str,
    pub(crate) wake_up: &'static str,
    pub(crate) name: &'static str,
    pub(crate) color: RGBColor,
}

const fn system(key: &'static str, wake_up: &'static str, name: &'static str, color: u32) -> System {
    let [_, red, green, blue] = color.to_be_bytes();
    System { key, wake_up, name, color: RGBColor(red, green, blue) }
}

/// Ours first, then peers, then what no server can be below.
pub(crate) const SYSTEMS: [System; 8] = [
    system("ours-sse", "coalesced", "Tidings, SSE", 0x1f_6feb),
    system("ours-ws", "coalesced", "Tidings, WebSocket", 0xa3_71f7),
    system("nchan", "notify", "nchan, SSE, no GraphQL", 0xc6_9026),
    system("async-graphql", "notify", "async-graphql + axum, WebSocket", 0xe0_6c2b),
    system("node", "notify", "Node.js graphql-ws, WebSocket", 0x57_ab5a),
    system("postgraphile", "notify", "PostGraphile 5, WebSocket", 0xe5_534b),
    system("yoga", "notify", "graphql-yoga, SSE", 0x2a_a9b8),
    system("floor", "notify", "floor: one write each", 0x80_8b97),
];

/// With NOTIFY in every transaction: only latency tells these apart.
pub(crate) const DIRECT: [System; 2] = [
    system("ours-sse", "direct", "Tidings, SSE, direct", 0x6c_a4f8),
    system("ours-ws", "direct", "Tidings, WebSocket, direct", 0xc9_a7fa),
];

/// A bare LISTEN.
pub(crate) const HOP: System = system("hop", "notify", "bare LISTEN/NOTIFY hop", 0x80_8b97);

/// Of this name.
pub(crate) fn named(key: &str) -> System {
    SYSTEMS.into_iter().find(|system| system.key == key).unwrap_or(HOP)
}
