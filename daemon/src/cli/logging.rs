//! Log lines, for people or as JSON, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::config::{Config, LogFormat};

/// Libraries that read and write what clients and the database send, and from when on they may speak.
///
/// Below `info` they write out what they receive, tokens included. Those that read what clients send warn of
/// each client's mistakes, so a hostile one could fill the disk; metrics count what has to be known.
const WIRE_TARGETS: [(&str, LevelFilter); 8] = [
    ("h2", LevelFilter::ERROR),
    ("hyper", LevelFilter::ERROR),
    ("hyper_util", LevelFilter::ERROR),
    ("tungstenite", LevelFilter::ERROR),
    ("tokio_tungstenite", LevelFilter::ERROR),
    ("rustls", LevelFilter::ERROR),
    ("axum", LevelFilter::INFO),
    ("tokio_postgres", LevelFilter::INFO),
];

/// Starts logging. A second call changes nothing.
pub(super) fn start(config: &Config) {
    // The configuration has parsed the filter once already.
    let filter: Targets = config.log_filter.parse().unwrap_or_default();
    let filter = filter.with_targets(WIRE_TARGETS);
    // Colours are for people who watch, not for files.
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let layer = match config.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}
