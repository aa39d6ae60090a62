//! Random schedules of a database, two nodes and their clients, with the table as the oracle.
//!
//! Hub, mailboxes and replay are the real ones; the database is a model of what PostgreSQL promises: transactions
//! draw ids and xids in one order and commit in another, a crash gives xids of lost transactions to new ones,
//! retention removes what an old snapshot sees. Nothing waits for real time. A schedule is its seed: the one that
//! fails is printed, and `TIDINGS_SEED` runs it alone.

mod client;

mod database;

mod node;

mod outlet;

use std::sync::Arc;

use client::Client;
use database::Database;
use node::Node;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::hub::mailbox::MailboxLimits;
use crate::source::ring::RingLimits;

/// Schedules that every run of the tests tries; `TIDINGS_SCHEDULES` asks for more.
const SCHEDULES: u64 = 500;

/// Steps of one schedule.
const STEPS: usize = 400;

/// What all schedules together have met, so that a test that meets nothing fails.
#[derive(Debug, Default)]
struct Met {
    delivered: usize,
    resumes: usize,
    overflows: u64,
    gaps: usize,
    crashes: usize,
    reloads: usize,
    in_the_middle: usize,
    written: usize,
    rests: usize,
    reads_of_memory: u64,
    reads: u64,
}

#[test]
fn every_history_is_exact_or_ends_in_a_declared_gap() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("TIDINGS_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = rand::random::<u32>().into();
            first..first + number("TIDINGS_SCHEDULES").unwrap_or(SCHEDULES)
        }
    };
    let mut met = Met::default();
    let schedules = seeds.end - seeds.start;
    for seed in seeds {
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(seed, &mut met)));
        assert!(ran.is_ok(), "the schedule with TIDINGS_SEED={seed} fails");
    }
    println!("{schedules} schedules: {met:?}");
    let counts = [met.resumes, met.gaps, met.crashes, met.reloads, met.in_the_middle, met.written, met.rests]
        .map(|count| count as u64);
    let all_met =
        counts.iter().chain([&met.overflows, &met.reads_of_memory, &met.reads]).all(|count| *count > 0);
    assert!(schedules < 100 || all_met, "{met:?}");
}

fn run(seed: u64, met: &mut Met) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(schedule(StdRng::seed_from_u64(seed), met));
}

async fn schedule(mut random: StdRng, met: &mut Met) {
    let database = Arc::new(Mutex::new(Database::new(random.random())));
    // Before the nodes start, some things happen.
    (0..random.random_range(0..60)).for_each(|_| database.lock().work(&mut random));
    let ring = RingLimits { events: random.random_range(0..60), bytes: 100_000 };
    let mut nodes = [Node::new(&database, ring), Node::new(&database, ring)];
    nodes.iter_mut().for_each(|node| node.poll(usize::MAX));
    let limits = MailboxLimits { messages: random.random_range(3..40), bytes: 100_000 };
    let mut clients: Vec<Client> = (0..6).map(|number| Client::new(number, limits)).collect();
    // Some databases crash often and some never.
    let (crashes, retention) = (random.random_bool(0.5), random.random_bool(0.5));
    for _ in 0..STEPS {
        let which = random.random_range(0..nodes.len());
        match random.random_range(0..100) {
            0..35 => database.lock().work(&mut random),
            35..55 => nodes[which].poll(random.random_range(1..8)),
            55..62 => nodes[which].write(),
            62..72 => {
                let client = random.random_range(0..clients.len());
                let (lends, happens) = (random.random(), random.random());
                let meanwhile = || {
                    if happens {
                        nodes[which].poll(3);
                        nodes[which].write();
                    }
                };
                clients[client].read(lends, meanwhile).await;
            }
            72..80 => {
                let client = random.random_range(0..clients.len());
                let upto = random.random_range(0..6);
                clients[client].leave(upto).await;
                clients[client].come(&nodes[which], &mut random);
            }
            80 if crashes => {
                database.lock().crash(&mut random);
                nodes.iter_mut().for_each(Node::reconnect);
                met.crashes += 1;
            }
            81 if retention => database.lock().retain(&mut random),
            82..84 => met.reloads += clients.iter().filter(|client| client.reload()).count(),
            _ => yield_some(&mut random).await,
        }
    }
    come_to_rest(&database, &mut nodes, &mut clients, &mut random).await;
    for client in &clients {
        client.reconcile(&database.lock());
        met.delivered += client.delivered();
        met.resumes += client.resumes;
        met.gaps += client.gaps;
        met.in_the_middle += client.in_the_middle;
        met.written += client.written;
        met.rests += client.rests;
    }
    for [memory, table] in nodes.iter().map(Node::reads) {
        met.reads_of_memory += memory;
        met.reads += table;
    }
    met.overflows += nodes.iter().map(Node::overflows).sum::<u64>();
}

/// Nothing happens any more, and everybody gets what there is for them.
async fn come_to_rest(
    database: &Mutex<Database>,
    nodes: &mut [Node],
    clients: &mut [Client],
    random: &mut StdRng,
) {
    database.lock().finish();
    nodes.iter_mut().for_each(|node| node.poll(usize::MAX));
    for client in &mut *clients {
        if !client.is_connected() {
            client.come(&nodes[0], random);
        }
    }
    for _ in 0..200 {
        for client in &mut *clients {
            client.read(random.random(), || ()).await;
            if client.has_ended() {
                client.come(&nodes[0], random);
            }
        }
        nodes.iter_mut().for_each(Node::write);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

async fn yield_some(random: &mut StdRng) {
    for _ in 0..random.random_range(1..12) {
        tokio::task::yield_now().await;
    }
}
