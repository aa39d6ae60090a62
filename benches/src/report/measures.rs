//! What the report takes of the lines, in one place: tables, plots and targets mean the same.

use crate::results::{Is, Line, Measure, Results, Stat};
use crate::systems::System;

/// Numbers of subscribers of the fan-out.
pub(crate) const CROWD: [f64; 3] = [100.0, 1_000.0, 5_000.0];

/// Events per second of the latencies.
pub(crate) const RATES: [f64; 3] = [100.0, 300.0, 1_000.0];

pub(crate) fn cpu_us_per_delivery(line: &Line) -> Option<f64> {
    Some(line.number("cpu_s")? * 1e6 / line.number("deliveries")?)
}

pub(crate) fn deliveries_per_s(line: &Line) -> Option<f64> {
    Some(line.number("deliveries")? / line.number("wall_s")?)
}

pub(crate) fn cpu_us_per_event(line: &Line) -> Option<f64> {
    Some(line.number("cpu_s")? * 1e6 / line.number("events")?)
}

pub(crate) fn p50(line: &Line) -> Option<f64> {
    line.number("p50_ms")
}

/// Of a bare LISTEN beside the subscribers.
pub(crate) fn hop_p50(line: &Line) -> Option<f64> {
    line.number("hop_p50_ms")
}

pub(crate) fn p99(line: &Line) -> Option<f64> {
    line.number("p99_ms")
}

pub(crate) fn mb(line: &Line) -> Option<f64> {
    Some(line.number("rss_bytes")? / 1024.0 / 1024.0)
}

pub(crate) fn ready_s(line: &Line) -> Option<f64> {
    line.number("ready_s")
}

pub(crate) fn value(line: &Line) -> Option<f64> {
    line.number("value")
}

/// A cell: what was measured, or why not.
#[derive(Debug, Clone)]
pub(crate) enum Cell {
    Found(Stat),
    Failed(String),
    Nothing,
}

impl Cell {
    pub(crate) fn stat(&self) -> Option<Stat> {
        if let Self::Found(stat) = self { Some(*stat) } else { None }
    }
}

impl Results {
    pub(crate) fn cell(&self, part: &str, wanted: &[(&str, Is)], measure: Measure) -> Cell {
        if let Some(error) = self.error(part, wanted) {
            return Cell::Failed(error.to_owned());
        }
        self.stat(part, wanted, measure).map_or(Cell::Nothing, Cell::Found)
    }

    /// Deliveries to so many, in bursts or one by one.
    pub(crate) fn fanout(&self, system: &str, shape: &str, subscribers: f64, measure: Measure) -> Cell {
        let wanted = [
            ("system", Is::Text(system)),
            ("shape", Is::Text(shape)),
            ("subscribers", Is::Number(subscribers)),
        ];
        self.cell("fanout", &wanted, measure)
    }

    pub(crate) fn latency(&self, system: System, rate: f64, measure: Measure) -> Cell {
        let wanted = [
            ("system", Is::Text(system.key)),
            ("wake_up", Is::Text(system.wake_up)),
            ("rate", Is::Number(rate)),
        ];
        self.cell("latency", &wanted, measure)
    }

    pub(crate) fn route(&self, system: &str) -> Cell {
        self.cell("route", &[("system", Is::Text(system))], cpu_us_per_event)
    }

    /// An event among so many subscriptions on few connections.
    pub(crate) fn multiplexed(&self, subscriptions: f64) -> Cell {
        self.cell("route-multiplexed", &[("subscriptions", Is::Number(subscriptions))], cpu_us_per_event)
    }

    /// Memory with so many connections, before they leave or after.
    pub(crate) fn memory(&self, system: &str, connections: f64, left: bool) -> Cell {
        let wanted = [
            ("system", Is::Text(system)),
            ("connections", Is::Number(connections)),
            ("left", Is::Bool(left)),
        ];
        self.cell("memory", &wanted, mb)
    }

    /// kB per connection when there are so many.
    pub(crate) fn kb_per_connection(&self, system: &str, connections: f64) -> Option<Stat> {
        let empty = self.memory(system, 0.0, false).stat()?.median;
        let full = self.memory(system, connections, false).stat()?;
        Some(full.map(|mb| (mb - empty) * 1024.0 / connections))
    }

    /// kB per subscription when connections have many.
    pub(crate) fn kb_per_subscription(&self) -> Option<(f64, Stat)> {
        let count = self.steps("memory-multiplexed", "subscriptions").pop()?;
        let at = |subscriptions| {
            let wanted = [("subscriptions", Is::Number(subscriptions)), ("left", Is::Bool(false))];
            self.stat("memory-multiplexed", &wanted, mb)
        };
        let empty = at(0.0)?.median;
        Some((count, at(count)?.map(|mb| (mb - empty) * 1024.0 / count)))
    }

    /// Values of a key in a part, each once, in order.
    pub(crate) fn steps(&self, part: &str, key: &str) -> Vec<f64> {
        let mut steps: Vec<f64> = self.of_part(part).filter_map(|line| line.number(key)).collect();
        steps.sort_unstable_by(f64::total_cmp);
        steps.dedup();
        steps
    }

    pub(crate) fn writes(&self, group: &str, name: &str) -> Option<Stat> {
        self.stat("writes", &[("group", Is::Text(group)), ("name", Is::Text(name))], value)
    }

    /// Numbers of clients that wrote one row at a time, as the lines name them.
    pub(crate) fn client_counts(&self) -> Vec<String> {
        let mut counts: Vec<u32> =
            self.of_part("writes").filter_map(|line| line.text("group").parse().ok()).collect();
        counts.sort_unstable();
        counts.dedup();
        counts.into_iter().map(|count| count.to_string()).collect()
    }

    pub(crate) fn micro(&self, name: &str) -> Option<Stat> {
        let line = self.of_part("micro").find(|line| line.text("name") == name)?;
        let median = line.number("value")?;
        let [least, most] = line.pair("spread").unwrap_or([median, median]);
        Some(Stat { median, least, most })
    }
}
