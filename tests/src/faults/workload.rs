//! What is written while things go wrong, and what each client is to get of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::streaming::exactly_once::{connect, write_while};

/// Counters of two tenants. Every version of a row has a stamp that no other has, so that what a lost
/// transaction wrote is not taken for what another one wrote in its place.
pub(super) const SETUP: &str = "
    create extension tidings;
    create table counters (id int primary key, version bigint not null default 0, tenant text, stamp uuid);
    insert into counters (id) select generate_series(1, 40) union all select generate_series(100, 123)
        union all select -1 union all select -2;
    update counters set tenant = case when id % 2 = 0 then 'acme' else 'globex' end;
    create function stamp() returns trigger language plpgsql
        as 'begin new.stamp := gen_random_uuid(); return new; end';
    create trigger stamp before update on counters for each row execute function stamp();
    select attach_trigger('counters', type_name => 'Counter', tenant_column => 'tenant');
";

pub(super) const QUERY: &str = "subscription { counterUpdated { id version stamp } }";

/// The tenants of even and of odd rows.
pub(super) const TENANTS: [&str; 2] = ["acme", "globex"];

/// One version of a row, as a client got it.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) row: i32,
    pub(super) version: i64,
    pub(super) stamp: u128,
}

impl Change {
    pub(super) fn of(result: &Value) -> Self {
        let record = &result["data"]["counterUpdated"];
        // Of a long run millions are kept.
        let stamp = |text: &str| u128::from_str_radix(&text.replace('-', ""), 16).unwrap();
        let text = |name: &str| record[name].as_str().unwrap_or_else(|| panic!("{result}"));
        Self {
            row: i32::try_from(record["id"].as_i64().unwrap()).unwrap(),
            version: text("version").parse().unwrap(),
            stamp: stamp(text("stamp")),
        }
    }

    /// Whether it says that everything else has been written.
    pub(super) fn is_last(&self) -> bool {
        self.row < 0
    }
}

/// Writers that go on until they are told to stop.
pub(super) struct Writers {
    stop: Arc<AtomicBool>,
    running: Vec<JoinHandle<()>>,
}

impl Writers {
    /// Nobody.
    pub(super) fn none() -> Self {
        Self { stop: Arc::default(), running: Vec::new() }
    }

    /// Each begins a transaction at most once in a time.
    pub(super) fn start(url: &str, count: u64, pace: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let running = (0..count).map(|seed| {
            let mut ticks = tokio::time::interval(pace);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let ticks = Arc::new(Mutex::new(ticks));
            let stop = stop.clone();
            tokio::spawn(write_while(url.to_owned(), seed, move || {
                let (ticks, stop) = (ticks.clone(), stop.clone());
                async move {
                    ticks.lock().await.tick().await;
                    !stop.load(Ordering::Relaxed)
                }
            }))
        });
        Self { running: running.collect(), stop }
    }

    /// Has them end, and writes the rows that say so to everybody.
    pub(super) async fn finish(self, url: &str) {
        self.stop.store(true, Ordering::Relaxed);
        for writer in self.running {
            writer.await.unwrap();
        }
        let last = "update counters set version = version + 1 where id < 0";
        connect(url).await.unwrap().batch_execute(last).await.unwrap();
    }
}
