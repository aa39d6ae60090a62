//! The tables of the report.

use crate::format::Table;
use crate::measures::{self, CROWD, Cell, RATES};
use crate::plots::WAYS;
use crate::results::{Measure, Results};
use crate::systems::{DIRECT, HOP, SYSTEMS};

/// A section: title, what it says of itself, its table.
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) about: &'static str,
    /// The part that it is made from.
    pub(crate) part: &'static str,
    pub(crate) table: Table,
    pub(crate) plots: &'static [&'static str],
}

pub(crate) fn all(results: &Results) -> Vec<Section> {
    let mut sections = fanout(results);
    sections.extend(latency(results));
    sections.extend([route(results), multiplexed(results), memory(results), per_connection(results)]);
    sections.extend([subscribe(results), writes(results), bulk(results), micro(results)]);
    sections
}

fn by_crowd(results: &Results, first: &str, shape: &str, measure: Measure) -> Table {
    let mut table = Table::new([first, "100 subscribers", "1,000", "5,000"]);
    for system in SYSTEMS {
        table.row(system.name, CROWD.map(|count| results.fanout(system.key, shape, count, measure)));
    }
    table
}

fn fanout(results: &Results) -> Vec<Section> {
    vec![
        Section {
            title: "Fan-out in bursts",
            about: "Server CPU time per delivery, microseconds. A burst is 100 events in one transaction (10 for Node.js \
                    servers at 5,000 subscribers); the next begins when everybody has all of it.",
            part: "fanout",
            table: by_crowd(results, "us of CPU per delivery", "burst", measures::cpu_us_per_delivery),
            plots: &["deliveries-burst"],
        },
        Section {
            title: "Throughput of bursts",
            about: "Deliveries per second of wall clock. Above some hundred thousand the load generator, which has one \
                    core together with PostgreSQL, is what takes the time.",
            part: "fanout",
            table: by_crowd(results, "deliveries per second", "burst", measures::deliveries_per_s),
            plots: &[],
        },
        Section {
            title: "Fan-out one by one",
            about: "Server CPU time per delivery, microseconds, when each event comes in a transaction of its own: 100 \
                    events/s at 100 subscribers, 20 at 1,000, 4 at 5,000 (2 for Node.js servers).",
            part: "fanout",
            table: by_crowd(results, "us of CPU per delivery", "paced", measures::cpu_us_per_delivery),
            plots: &["deliveries-paced"],
        },
        Section {
            title: "Latency one by one, 99th percentile",
            about: "Milliseconds from the transaction to the subscriber, of the same runs.",
            part: "fanout",
            table: by_crowd(results, "p99 ms", "paced", measures::p99),
            plots: &[],
        },
    ]
}

fn by_rate(results: &Results, first: &str, measure: Measure) -> Table {
    let mut table = Table::new([first, "100 events/s", "300", "1,000"]);
    for system in [HOP].into_iter().chain(SYSTEMS).chain(DIRECT) {
        table.row(system.name, RATES.map(|rate| results.latency(system, rate, measure)));
    }
    table
}

fn latency(results: &Results) -> Vec<Section> {
    let mut median = by_rate(results, "p50 ms", measures::p50);
    for system in SYSTEMS.into_iter().filter(|system| system.key.starts_with("ours")).chain(DIRECT) {
        let name = format!("bare LISTEN beside {}", system.name);
        median.row(&name, RATES.map(|rate| results.latency(system, rate, measures::hop_p50)));
    }
    vec![
        Section {
            title: "Latency, median",
            about: "Milliseconds from inside the transaction to each of 100 subscribers. The hop is a bare LISTEN with \
                    nobody behind it, on the server's core and with nothing else going on. A bare LISTEN beside a run is \
                    one more client of the database, on the core of the load: what the notification itself takes while \
                    100 subscribers are being served.",
            part: "latency",
            table: median,
            plots: &["latency-p50"],
        },
        Section {
            title: "Latency, 99th percentile",
            about: "Of the same runs.",
            part: "latency",
            table: by_rate(results, "p99 ms", measures::p99),
            plots: &["latency-p99"],
        },
    ]
}

fn route(results: &Results) -> Section {
    let mut table = Table::new(["2,000 subscribers, 500 events/s", "us of CPU per event"]);
    SYSTEMS.into_iter().for_each(|system| table.row(system.name, [results.route(system.key)]));
    Section {
        title: "An event for one of 2,000 subscribers",
        about: "Server CPU time per event: each subscriber has a connection and a channel of its own, and the event \
                concerns one of them. Hand-written peers find it in a map of channels.",
        part: "route",
        table,
        plots: &["route"],
    }
}

fn multiplexed(results: &Results) -> Section {
    let mut table = Table::new(["subscriptions on 100 WebSockets", "us of CPU per event"]);
    for count in results.steps("route-multiplexed", "subscriptions") {
        table.row(&crate::format::number(count), [results.multiplexed(count)]);
    }
    Section {
        title: "An event among many subscriptions",
        about: "The same at 500 events/s with more and more subscriptions that do not match.",
        part: "route",
        table,
        plots: &[],
    }
}

fn memory(results: &Results) -> Section {
    let steps = results.steps("memory", "connections");
    let head = steps.iter().map(|count| format!("{} connections", crate::format::number(*count)));
    let head = std::iter::once("MB resident".to_owned()).chain(head).chain(["after all left".to_owned()]);
    let mut table = Table::new(head);
    for system in SYSTEMS {
        let cells = steps.iter().map(|count| results.memory(system.key, *count, false));
        table.row(system.name, cells.chain([results.memory(system.key, 0.0, true)]));
    }
    Section {
        title: "Memory of idle connections",
        about: "Resident memory of the server's processes, each connection with one subscription. Peers are measured \
                once.",
        part: "memory",
        table,
        plots: &["memory"],
    }
}

fn per_connection(results: &Results) -> Section {
    let steps: Vec<_> =
        results.steps("memory", "connections").into_iter().filter(|count| *count > 0.0).collect();
    let head = steps.iter().map(|count| format!("at {}", crate::format::number(*count)));
    let mut table = Table::new(std::iter::once("kB each".to_owned()).chain(head));
    for system in SYSTEMS {
        let cell =
            |count: &f64| results.kb_per_connection(system.key, *count).map_or(Cell::Nothing, Cell::Found);
        table.row(&format!("connection, {}", system.name), steps.iter().map(cell));
    }
    if let Some((count, stat)) = results.kb_per_subscription() {
        let name = format!("subscription, Tidings: {} on 100 WebSockets", crate::format::number(count));
        let last = steps.len().saturating_sub(1);
        table.row(
            &name,
            (0..steps.len()).map(|at| if at == last { Cell::Found(stat) } else { Cell::Nothing }),
        );
    }
    Section {
        title: "Memory of one",
        about: "Growth of resident memory by the number of connections, or of subscriptions with a channel each.",
        part: "memory",
        table,
        plots: &[],
    }
}

fn subscribe(results: &Results) -> Section {
    let mut table =
        Table::new(["10,000 subscriptions of one document, 100 WebSockets", "seconds until all are ready"]);
    for system in SYSTEMS {
        let wanted = [("system", crate::results::Is::Text(system.key))];
        table.row(system.name, [results.cell("subscribe", &wanted, measures::ready_s)]);
    }
    Section {
        title: "Subscribing",
        about: "From the first connection until the server has answered what came behind the last subscription.",
        part: "subscribe",
        table,
        plots: &[],
    }
}

fn writes(results: &Results) -> Section {
    let groups = results.client_counts();
    let head = groups.iter().map(|clients| format!("{clients} clients"));
    let mut table = Table::new(std::iter::once("commits per second".to_owned()).chain(head));
    let published = [
        ("bare-event-row", "INSERT of the row of an event"),
        ("publish-coalesced", "publish_event"),
        ("publish-direct", "publish_event, direct"),
    ];
    let ways = WAYS.into_iter().map(|(key, name, _)| (key, name)).chain(published);
    for (key, name) in ways {
        let cell = |clients: &String| results.writes(clients, key).map_or(Cell::Nothing, Cell::Found);
        table.row(name, groups.iter().map(cell));
    }
    Section {
        title: "Commits of one row",
        about: "PostgreSQL on all cores, WAL flushed.",
        part: "writes",
        table,
        plots: &["commits"],
    }
}

/// Tables of the bulk statements: how the lines name them, and how the report does.
const TABLES: [(&str, &str); 4] = [
    ("bare", "no triggers"),
    ("attached", "Tidings, attached table"),
    ("messages_source", "trigger that keeps messages"),
    ("notifying", "trigger with NOTIFY"),
];

fn bulk(results: &Results) -> Section {
    let verbs = ["insert", "update", "copy"];
    let mut table = Table::new(["milliseconds for 100,000 rows", "INSERT", "UPDATE", "COPY"]);
    for (key, name) in TABLES {
        table.row(name, verbs.map(|verb| results.writes(verb, key).map_or(Cell::Nothing, Cell::Found)));
    }
    Section { title: "One statement of many rows", about: "As above.", part: "writes", table, plots: &[] }
}

fn micro(results: &Results) -> Section {
    let mut table = Table::new(["what", "median", "least", "most", "unit"]);
    for line in results.of_part("micro") {
        let shown = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), crate::format::number);
        let [least, most] = line.pair("spread").map_or([None, None], |pair| pair.map(Some));
        table.text_row([
            line.text("name").to_owned(),
            shown(line.number("value")),
            shown(least),
            shown(most),
            line.text("unit").to_owned(),
        ]);
    }
    Section {
        title: "Single stations",
        about: "One thread, no socket; instructions are counted by callgrind and hardly depend on the machine.",
        part: "micro",
        table,
        plots: &[],
    }
}
