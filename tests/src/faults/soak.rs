//! Steady load for a long time: what the daemons hold, and how late they are, must not grow.
//!
//! `make soak MINUTES=…` is the long form. Among the other tests it runs for some seconds, in which growth cannot be
//! told from what a daemon allocates once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::Barrier;

use super::client::{Client, Counts};
use super::ledger::Ledger;
use super::nodes::{Node, Nodes, Settings};
use super::workload::{SETUP, Writers};
use crate::streaming::exactly_once::connect;
use crate::support::cluster::Cluster;
use crate::support::daemon::metric;

const WRITERS: u64 = 8;
const PACE: Duration = Duration::from_secs(1);
const CLIENTS: u64 = 36;
/// Results after which a client has left at the latest: some seconds.
const STAY_MAX: u32 = 300;

/// How long it takes among the other tests.
const SHORT: Duration = Duration::from_secs(10);
/// From this time on growth is told from what is allocated once.
const LONG_MIN: Duration = Duration::from_secs(120);
/// Of a reading, at most.
const READING_PAUSE: Duration = Duration::from_secs(5);
/// Readings of a run, at least.
const READINGS_MIN: u32 = 20;
/// Part of the readings that does not count, because caches and pools still fill.
const WARM_UP: f64 = 0.2;

/// Growth along the fitted line, over the time that counts, that fails a run: of both daemons together.
const MEMORY_GROWTH_KB_MAX: f64 = 6.0 * 1024.0;
const FILES_GROWTH_MAX: f64 = 6.0;
const LAG_GROWTH_MS_MAX: f64 = 250.0;

/// The lag is that of a moment, so the median of so many makes a reading.
const LAGS_PER_READING: u32 = 16;

/// Without the lines about connections, which the test would keep.
const QUIET: Settings = &[("TIDINGS_LOG_FILTER", "info,tidings_daemon::transport::admission=warn")];

/// One quantity over time, in seconds.
struct Series {
    name: &'static str,
    unit: &'static str,
    growth_max: f64,
    points: Vec<(f64, f64)>,
}

impl Series {
    fn new(name: &'static str, unit: &'static str, growth_max: f64) -> Self {
        Self { name, unit, growth_max, points: Vec::new() }
    }

    /// Prints what it was and how it grew; whether that is within its bound.
    fn report(&self) -> bool {
        let tenths: Vec<String> =
            (0..10).map(|tenth| format!("{:.0}", self.points[self.points.len() * tenth / 10].1)).collect();
        println!("{} from tenth to tenth of the time: {} {}", self.name, tenths.join(", "), self.unit);
        let points = &self.points[(self.points.len() as f64 * WARM_UP) as usize..];
        let (first, last) = (points[0], points[points.len() - 1]);
        let slope = slope(points);
        let growth = slope * (last.0 - first.0);
        println!(
            "{}: {:.0} {unit} at first, {:.0} at last, slope {:+.1} {unit}/h; {growth:+.1} {unit} in {:.1} min, of which {:.0} may be",
            self.name,
            first.1,
            last.1,
            slope * 3600.0,
            (last.0 - first.0) / 60.0,
            self.growth_max,
            unit = self.unit,
        );
        growth <= self.growth_max
    }
}

/// Of the line that fits best, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>() / spread
}

/// Memory in kB and open files of a daemon.
fn holdings(node: &Node) -> (f64, f64) {
    let (pid, memory) = node.daemon(|daemon| (daemon.pid(), daemon.memory_kib()));
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    (memory as f64, files as f64)
}

/// What the daemons lag behind, in milliseconds: the median over some time.
async fn lag_ms(nodes: &Nodes, time: Duration) -> f64 {
    let mut ticks = tokio::time::interval(time / LAGS_PER_READING);
    let mut lags = Vec::new();
    for _ in 0..LAGS_PER_READING {
        ticks.tick().await;
        let mut sum = 0.0;
        for node in nodes.all() {
            let lag = metric(&node.clients.address, "tidings_source_lag_seconds").await;
            sum += lag.parse::<f64>().unwrap() * 1e3;
        }
        lags.push(sum);
    }
    lags.sort_unstable_by(f64::total_cmp);
    lags[lags.len() / 2]
}

/// Reads again and again until the time is over.
async fn watch(nodes: &Nodes, time: Duration) -> [Series; 3] {
    let mut all = [
        Series::new("resident memory", "kB", MEMORY_GROWTH_KB_MAX),
        Series::new("open files", "files", FILES_GROWTH_MAX),
        Series::new("tail lag", "ms", LAG_GROWTH_MS_MAX),
    ];
    let pause = READING_PAUSE.min(time / READINGS_MIN);
    let began = Instant::now();
    while began.elapsed() < time {
        let lag = lag_ms(nodes, pause).await;
        let at = began.elapsed().as_secs_f64();
        let held = nodes.all().iter().map(holdings);
        let (memory, files) = held.fold((0.0, 0.0), |sum, held| (sum.0 + held.0, sum.1 + held.1));
        for (series, value) in all.iter_mut().zip([memory, files, lag]) {
            series.points.push((at, value));
        }
    }
    all
}

#[test]
fn the_slope_is_that_of_the_line() {
    let line: Vec<(f64, f64)> = (0..10).map(|x| (f64::from(x), 7.0 - 2.0 * f64::from(x))).collect();
    assert!((slope(&line) + 2.0).abs() < 1e-9);
    let mut series = Series::new("x", "", 1.0);
    series.points = (0..10).map(|x| (f64::from(x), f64::from(x))).collect();
    assert!(!series.report(), "it grows by 7");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_steady_load_nothing_grows() {
    let minutes = std::env::var("TIDINGS_SOAK_MINUTES").ok();
    let time = minutes.map_or(SHORT, |text| {
        Duration::from_secs_f64(text.parse::<f64>().expect("TIDINGS_SOAK_MINUTES is a number") * 60.0)
    });
    let cluster = Cluster::start();
    let url = cluster.url("postgres");
    connect(&url).await.unwrap().batch_execute(SETUP).await.unwrap();
    let nodes = Arc::new(Nodes::start_with(cluster.port, QUIET).await);
    let started = Arc::new(Barrier::new(CLIENTS as usize + 1));
    let counts = Arc::new(Counts::default());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|seed| {
            let client = Client::new(seed, nodes.clone(), counts.clone()).stays(STAY_MAX);
            tokio::spawn(client.run(started.clone()))
        })
        .collect();
    started.wait().await;
    let writers = Writers::start(&url, WRITERS, PACE);
    let series = watch(&nodes, time).await;
    writers.finish(&url).await;
    let mut ledger = Ledger::open(&url).await;
    for (number, client) in clients.into_iter().enumerate() {
        let client = counts.end_of(number, client).await;
        let [part] = &client.parts[..] else { panic!("nothing was lost, so nobody may be told so") };
        ledger.reconcile(&client.name, client.tenant, &part.received, None, 0).await;
    }
    println!(
        "{:.1} minutes, {CLIENTS} clients, {} connections; of both daemons together:",
        time.as_secs_f64() / 60.0,
        counts.connections.load(Ordering::Relaxed)
    );
    let within_bounds = series.map(|series| series.report());
    assert!(time < LONG_MIN || within_bounds == [true; 3], "something grows");
}
