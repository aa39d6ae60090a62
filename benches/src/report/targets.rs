//! What was aimed at, beside what was measured.

use crate::format::{Table, number};
use crate::measures::{self, CROWD, Cell};
use crate::results::{Measure, Results, Stat};
use crate::systems::{DIRECT, SYSTEMS, System};

/// Which side of its bound a value has to be on.
#[derive(Debug, Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// One target.
struct Target {
    what: String,
    bound: Bound,
    unit: &'static str,
    measured: Option<f64>,
}

impl Target {
    fn cells(&self) -> [String; 4] {
        let (sign, bound) = match self.bound {
            Bound::AtMost(bound) => ("≤", bound),
            Bound::AtLeast(bound) => ("≥", bound),
        };
        let is_met = self.measured.map(|value| match self.bound {
            Bound::AtMost(bound) => value <= bound,
            Bound::AtLeast(bound) => value >= bound,
        });
        let verdict = match is_met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "not measured",
        };
        let measured = self.measured.map_or_else(|| "–".to_owned(), number);
        [
            self.what.clone(),
            format!("{sign} {} {}", number(bound), self.unit).trim().to_owned(),
            measured,
            verdict.to_owned(),
        ]
    }
}

/// The table of all targets, and how many of them are met.
pub(crate) fn table(results: &Results) -> (Table, String) {
    let mut table = Table::new(["target", "bound", "measured", "verdict"]);
    let all =
        [writes(results), tail(results), route(results), deliver(results), latency(results), idle(results)];
    let (mut met, mut missed, mut open) = (0, 0, 0);
    for target in all.into_iter().flatten() {
        let cells = target.cells();
        match cells[3].as_str() {
            "met" => met += 1,
            "not measured" => open += 1,
            _ => missed += 1,
        }
        table.text_row(cells);
    }
    (table, format!("{met} met, {missed} missed, {open} not measured."))
}

fn target(what: impl Into<String>, bound: Bound, unit: &'static str, measured: Option<f64>) -> Target {
    Target { what: what.into(), bound, unit, measured }
}

fn median(stat: Option<Stat>) -> Option<f64> {
    stat.map(|stat| stat.median)
}

fn ratio(one: Option<Stat>, other: Option<Stat>) -> Option<f64> {
    Some(one?.median / other?.median)
}

fn writes(results: &Results) -> Vec<Target> {
    use Bound::{AtLeast, AtMost};
    let of =
        |group: &str, one: &str, other: &str| ratio(results.writes(group, one), results.writes(group, other));
    let mut targets = Vec::new();
    for clients in ["8", "32"] {
        let what = format!("one-row INSERTs, {clients} clients, to a table without triggers");
        targets.push(target(what, AtLeast(0.8), "times", of(clients, "attached-coalesced", "bare")));
    }
    let beside = of("32", "attached-coalesced", "notify-trigger");
    targets.push(target("the same at 32 clients, to a trigger with NOTIFY", AtLeast(2.5), "times", beside));
    for (verb, bound) in [("update", 2.0), ("insert", 2.5), ("copy", 2.5)] {
        let what = format!("{} of 100,000 rows, to the bare statement", verb.to_uppercase());
        targets.push(target(what, AtMost(bound), "times", of(verb, "attached", "bare")));
    }
    for clients in ["8", "32"] {
        let what = format!("publish_event, {clients} clients, to an INSERT of the same row");
        targets.push(target(
            what,
            AtLeast(0.85),
            "times",
            of(clients, "publish-coalesced", "bare-event-row"),
        ));
    }
    targets
}

/// What the micro benchmarks measure.
fn tail(results: &Results) -> Vec<Target> {
    MICRO
        .iter()
        .map(|(what, name, bound, unit, per)| {
            target(*what, *bound, unit, median(results.micro(name)).map(per))
        })
        .collect()
}

/// Target, name of the line, bound, unit, and how its value is to be read.
type Micro = (&'static str, &'static str, Bound, &'static str, fn(f64) -> f64);

const MICRO: [Micro; 7] = [
    ("tail: events from the table into the hub", "tail/rate", Bound::AtLeast(100_000.0), "per second", same),
    ("tail: daemon CPU of a wake-up when idle", "tail/wake-up", Bound::AtMost(100.0), "us", same),
    ("tail: daemon CPU with no traffic", "tail/idle", Bound::AtMost(2.0), "ms per second", same),
    (
        "dispatch: one event to 100 matching subscriptions",
        "dispatch/one-by-one/100",
        Bound::AtMost(50.0),
        "us",
        us,
    ),
    (
        "dispatch: mailbox pushes",
        "mailbox/push-64-and-take",
        Bound::AtLeast(2e6),
        "per second and core",
        per_second,
    ),
    (
        "dispatch: memory bus, few subscribers",
        "memory/1",
        Bound::AtLeast(1e6),
        "events per second",
        per_second,
    ),
    ("subscribe: on the server, p99", "subscribe/p99", Bound::AtMost(1.0), "ms", same),
];

fn same(value: f64) -> f64 {
    value
}

fn us(nanoseconds: f64) -> f64 {
    nanoseconds / 1e3
}

fn per_second(nanoseconds: f64) -> f64 {
    1e9 / nanoseconds
}

fn route(results: &Results) -> Vec<Target> {
    let few = results.multiplexed(100.0).stat();
    let flat = |count: f64| ratio(results.multiplexed(count).stat(), few);
    let nchan = results.route("nchan").stat();
    let mut targets = vec![
        target(
            "route: an event among 10,000 subscriptions, to 100",
            Bound::AtMost(1.1),
            "times",
            flat(10_000.0),
        ),
        target(
            "route: an event among 100,000 subscriptions, to 100",
            Bound::AtMost(1.3),
            "times",
            flat(100_000.0),
        ),
    ];
    for system in ours() {
        let what = format!("route: one of 2,000, {}, to nchan", system.name);
        let measured = ratio(results.route(system.key).stat(), nchan);
        targets.push(target(what, Bound::AtMost(1.0), "times", measured));
    }
    targets
}

fn ours() -> impl Iterator<Item = System> {
    SYSTEMS.into_iter().filter(|system| system.key.starts_with("ours"))
}

fn deliver(results: &Results) -> Vec<Target> {
    let stat = |key: &str, shape: &str, count: f64, measure: Measure| {
        results.fanout(key, shape, count, measure).stat()
    };
    let cost = |key: &str, shape: &str, count: f64| stat(key, shape, count, measures::cpu_us_per_delivery);
    let mut targets = Vec::new();
    for count in CROWD {
        let at = number(count);
        let better =
            [cost("nchan", "burst", count), cost("async-graphql", "burst", count)].into_iter().flatten();
        let better = better.min_by(|one, other| one.median.total_cmp(&other.median));
        let bursts = ratio(cost("ours-sse", "burst", count), better);
        let what = format!("deliver: burst to {at}, to the better of nchan and async-graphql");
        targets.push(target(what, Bound::AtMost(0.5), "times", bursts));
        for (peer, bound) in [("nchan", 1.0), ("floor", 1.3)] {
            let what = format!("deliver: one by one to {at}, to {peer}");
            let measured = ratio(cost("ours-sse", "paced", count), cost(peer, "paced", count));
            targets.push(target(what, Bound::AtMost(bound), "times", measured));
        }
        let late = ratio(
            stat("ours-sse", "paced", count, measures::p99),
            stat("nchan", "paced", count, measures::p99),
        );
        let what = format!("deliver: one by one to {at}, p99, to nchan");
        targets.push(target(what, Bound::AtMost(1.0), "times", late));
        for shape in ["burst", "paced"] {
            let what = format!("deliver: WebSocket, {shape}, to {at}, to SSE");
            let measured = ratio(cost("ours-ws", shape, count), cost("ours-sse", shape, count));
            targets.push(target(what, Bound::AtMost(1.2), "times", measured));
        }
    }
    targets
}

fn latency(results: &Results) -> Vec<Target> {
    let at = |system: System, measure: Measure| results.latency(system, 1_000.0, measure).stat();
    let mut targets = Vec::new();
    for system in ours().chain(DIRECT) {
        let name = format!("{} ({})", system.name.trim_end_matches(", direct"), system.wake_up);
        let (p50, p99) = (at(system, measures::p50), at(system, measures::p99));
        let what = format!("latency: {name} at 1,000 events/s, p50, to a bare LISTEN beside it");
        targets.push(target(what, Bound::AtMost(2.0), "times", ratio(p50, at(system, measures::hop_p50))));
        let what = format!("latency: {name} at 1,000 events/s, p99, to its p50");
        targets.push(target(what, Bound::AtMost(5.0), "times", ratio(p99, p50)));
    }
    targets
}

fn idle(results: &Results) -> Vec<Target> {
    let steps = results.steps("memory", "connections");
    let most = steps.last().copied().unwrap_or_default();
    let each = |key: &str| median(results.kb_per_connection(key, most));
    let ready =
        results.cell("subscribe", &[("system", crate::results::Is::Text("ours-ws"))], measures::ready_s);
    let subscriptions = results.kb_per_subscription();
    let connected = matches!(results.memory("ours-sse", most, false), Cell::Found(_)).then_some(most);
    vec![
        target("memory: an idle SSE connection", Bound::AtMost(8.0), "kB", each("ours-sse")),
        target("memory: an idle WebSocket", Bound::AtMost(10.0), "kB", each("ours-ws")),
        target(
            "memory: a further subscription",
            Bound::AtMost(1.0),
            "kB",
            median(subscriptions.map(|(_, stat)| stat)),
        ),
        target("connections of one process", Bound::AtLeast(15_000.0), "", connected),
        target(
            "subscriptions of one process, multiplexed",
            Bound::AtLeast(100_000.0),
            "",
            subscriptions.map(|(count, _)| count),
        ),
        target("subscribe: 10,000 of one document ready", Bound::AtMost(2.0), "s", median(ready.stat())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_itself_is_met() {
        let verdict = |bound, value| target("", bound, "", value).cells()[3].clone();
        assert_eq!(verdict(Bound::AtMost(2.0), Some(2.0)), "met");
        assert_eq!(verdict(Bound::AtLeast(2.0), Some(2.0)), "met");
        assert_eq!(verdict(Bound::AtLeast(2.0), Some(1.9)), "**missed**");
        assert_eq!(verdict(Bound::AtMost(2.0), None), "not measured");
    }
}
