//! The plots of the report.

use std::path::Path;

use anyhow::Result;

use crate::chart::{Axis, Chart, Series};
use crate::measures::{self, CROWD, RATES};
use crate::results::{Measure, Results, Stat};
use crate::systems::{DIRECT, HOP, SYSTEMS, System, named};

const fn axis(label: &'static str, logarithmic: bool) -> Axis {
    Axis { label, logarithmic }
}

/// File and chart of each.
fn all(results: &Results) -> Vec<(&'static str, Chart)> {
    vec![
        ("deliveries-burst", deliveries(results, "burst", "Deliveries per CPU second, bursts of 100 events")),
        ("deliveries-paced", deliveries(results, "paced", "Deliveries per CPU second, events one by one")),
        ("latency-p50", latency(results, "Latency to 100 subscribers, median", measures::p50)),
        ("latency-p99", latency(results, "Latency to 100 subscribers, 99th percentile", measures::p99)),
        ("route", route(results)),
        ("memory", memory(results)),
        ("commits", commits(results)),
    ]
}

/// Draws all and returns the names of those that have something to show, with their titles.
pub(crate) fn write(results: &Results, folder: &Path) -> Result<Vec<(&'static str, &'static str)>> {
    std::fs::create_dir_all(folder)?;
    let mut written = Vec::new();
    for (name, chart) in all(results) {
        if chart.write(&folder.join(format!("{name}.svg")))? {
            written.push((name, chart.title));
        }
    }
    Ok(written)
}

fn series(system: System, points: impl Iterator<Item = (f64, Option<Stat>)>) -> Series {
    let points = points.filter_map(|(x, stat)| Some((x, stat?))).collect();
    let dashed = matches!(system.key, "floor" | "hop") || system.wake_up == "direct";
    Series { name: system.name.to_owned(), color: system.color, dashed, points }
}

fn deliveries(results: &Results, shape: &'static str, title: &'static str) -> Chart {
    let per_cpu_s = |system: System, subscribers: f64| {
        let cost = results.fanout(system.key, shape, subscribers, measures::cpu_us_per_delivery).stat()?;
        Some(cost.map(|us| 1e6 / us))
    };
    let of =
        |system: System| series(system, CROWD.into_iter().map(|count| (count, per_cpu_s(system, count))));
    Chart {
        title,
        x: axis("subscribers", true),
        y: axis("deliveries per second of server CPU time", true),
        series: SYSTEMS.into_iter().map(of).collect(),
    }
}

fn latency(results: &Results, title: &'static str, measure: Measure) -> Chart {
    let of = |system: System| {
        series(system, RATES.into_iter().map(|rate| (rate, results.latency(system, rate, measure).stat())))
    };
    let systems = SYSTEMS.into_iter().chain(DIRECT).chain([HOP]);
    Chart {
        title,
        x: axis("events per second", true),
        y: axis("milliseconds from the transaction to the subscriber", true),
        series: systems.map(of).collect(),
    }
}

fn route(results: &Results) -> Chart {
    let counts = results.steps("route-multiplexed", "subscriptions").into_iter();
    let mut ours = series(named("ours-ws"), counts.map(|count| (count, results.multiplexed(count).stat())));
    ours.name = "Tidings, 100 WebSockets".to_owned();
    let single = SYSTEMS.into_iter().map(|system| {
        let at = results.steps("route", "subscriptions").pop().unwrap_or_default();
        let mut one = series(system, std::iter::once((at, results.route(system.key).stat())));
        one.name = format!("{}, each", system.name.split(", ").next().unwrap_or_default());
        if system.key == "ours-sse" {
            one.name.push_str(" SSE")
        }
        if system.key == "ours-ws" {
            one.name.push_str(" WebSocket")
        }
        one
    });
    let single: Vec<_> = single.collect();
    Chart {
        title: "Cost of an event that concerns one subscription",
        x: axis("subscriptions", true),
        y: axis("microseconds of server CPU time per event", false),
        series: std::iter::once(ours).chain(single).collect(),
    }
}

fn memory(results: &Results) -> Chart {
    let of = |system: System| {
        let steps = results.steps("memory", "connections").into_iter();
        series(system, steps.map(|count| (count, results.memory(system.key, count, false).stat())))
    };
    Chart {
        title: "Memory with idle connections",
        x: axis("connections", false),
        y: axis("MB resident", false),
        series: SYSTEMS.into_iter().map(of).collect(),
    }
}

/// Ways of writing: how the lines name them, how the report does, whose colour they have.
pub(crate) const WAYS: [(&str, &str, &str); 6] = [
    ("bare", "no triggers", "floor"),
    ("attached-coalesced", "Tidings, attached table", "ours-sse"),
    ("attached-direct", "Tidings, attached table, direct", "ours-ws"),
    ("messages-trigger", "trigger that keeps messages", "node"),
    ("numbered-trigger", "trigger that numbers messages under a lock, with NOTIFY", "nchan"),
    ("notify-trigger", "trigger with NOTIFY", "postgraphile"),
];

fn commits(results: &Results) -> Chart {
    let groups = results.client_counts();
    let of = |(key, name, color): (&str, &str, &str)| {
        let points = groups
            .iter()
            .filter_map(|clients| Some((clients.parse::<f64>().ok()?, results.writes(clients, key)?)));
        Series {
            name: name.to_owned(),
            color: named(color).color,
            dashed: key == "bare",
            points: points.collect(),
        }
    };
    Chart {
        title: "One-row INSERTs",
        x: axis("clients", true),
        y: axis("commits per second", false),
        series: WAYS.into_iter().map(of).collect(),
    }
}
