//! The clock of the database's server jumps, over borders of slots, forwards and back. Ids, transactions and snapshots
//! know no time: only retention goes by the clock.

use std::path::PathBuf;

use tokio_postgres::Client;

use crate::streaming::exactly_once::connect;
use crate::support::cluster::Cluster;
use crate::support::daemon::{Daemon, token};
use crate::support::files::Files;
use crate::support::sse::Sse;
use crate::support::within;

const QUERY: &str = r#"subscription { events(channel: "c") { data } }"#;

/// A server whose clock is set by a file.
struct Setting {
    files: Files,
    cluster: Cluster,
    session: Client,
    daemon: Daemon,
    published: i64,
}

/// libfaketime, which makes programs believe in another time.
fn library() -> String {
    let folders = std::fs::read_dir("/usr/lib").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let library = |folder: PathBuf| folder.join("faketime/libfaketime.so.1");
    let found = folders.map(library).find(|path| path.exists());
    found.expect("libfaketime is installed; run `make test`").to_str().unwrap().to_owned()
}

impl Setting {
    async fn new() -> Self {
        let files = Files::new();
        let clock = files.write("clock", "+0\n");
        let environment = vec![
            ("LD_PRELOAD", library()),
            ("FAKETIME_TIMESTAMP_FILE", clock),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        let cluster = Cluster::start_with("", environment);
        let url = cluster.url("postgres");
        let session = connect(&url).await.unwrap();
        session
            .batch_execute(
                "create extension tidings; set tidings.retention = '1h';
                 alter database postgres set tidings.retention = '1h'",
            )
            .await
            .unwrap();
        let daemon = Daemon::builder(&url).env("TIDINGS_RING_EVENTS", "0").start().await;
        Self { files, cluster, session, daemon, published: 0 }
    }

    /// Sets the clock to so many minutes from the true time.
    async fn set_clock(&self, minutes: i64) {
        self.files.write("clock", &format!("{minutes:+}m\n"));
        let query = "select extract(epoch from clock_timestamp())::bigint";
        within("the server's new time", async {
            loop {
                let now: i64 = self.session.query_one(query, &[]).await.unwrap().get(0);
                let here = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
                if (now - i64::try_from(here.as_secs()).unwrap() - minutes * 60).abs() < 30 {
                    return;
                }
            }
        })
        .await;
    }

    /// Publishes some events, which must come on the stream; returns the cursor after them.
    async fn publish(&mut self, stream: &mut Sse) -> String {
        let mut cursor = String::new();
        for _ in 0..20 {
            self.published += 1;
            let statement = format!("select publish_event('c', 'e', '{}')", self.published);
            self.session.batch_execute(&statement).await.unwrap();
            let result = stream.next().await;
            assert_eq!(result["data"]["events"]["data"], self.published, "{result}");
            cursor = result["extensions"]["cursor"].as_str().unwrap().to_owned();
        }
        cursor
    }

    async fn count(&self, query: &str) -> i64 {
        self.session.query_one(query, &[]).await.unwrap().get(0)
    }

    async fn events(&self) -> i64 {
        self.count("select count(*) from tidings.events").await
    }

    /// Calls maintenance until it has nothing more to do at this time.
    async fn maintain(&self) {
        while self.count("select (tidings.maintain() ->> 'call_again_s')::float8::bigint").await == 0 {}
    }

    /// Comes back with a cursor and reads all after an event.
    async fn read_after(&self, cursor: &str, last: i64) {
        let mut late = Sse::resume(&self.daemon, &token("ann", "acme"), QUERY, cursor).await;
        for expected in last + 1..=self.published {
            assert_eq!(late.next().await["data"]["events"]["data"], expected, "in the order of ids");
        }
    }

    /// A cursor goes on exactly if what it lacks is there, else that is told; true if it goes on.
    async fn is_judged(&self, cursor: &str, last: i64) -> bool {
        let lacked = format!("select count(*) from tidings.events where payload::text::int > {last}");
        let goes_on = self.count(&lacked).await == self.published - last;
        if goes_on {
            self.read_after(cursor, last).await;
        } else {
            let mut late = Sse::resume(&self.daemon, &token("ann", "acme"), QUERY, cursor).await;
            let told = late.next().await;
            assert_eq!(told["errors"][0]["extensions"]["code"], "CURSOR_EXPIRED", "{told}");
        }
        goes_on
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_forwards_and_back_loses_nothing_and_hides_no_gap() {
    let mut setting = Setting::new().await;
    let mut stream = Sse::open(&setting.daemon, &token("ann", "acme"), QUERY).await;
    setting.publish(&mut stream).await;
    setting.maintain().await;
    let first = setting.publish(&mut stream).await;

    // Back, over borders of slots: what is logged seems to be from the future, and what is stored seems young.
    setting.set_clock(-150).await;
    let back = setting.publish(&mut stream).await;
    setting.maintain().await;
    setting.maintain().await;
    assert_eq!(setting.events().await, 60, "nothing is removed early");
    assert_eq!(
        setting.count("select count(*) from tidings.snapshot_log where taken_at > clock_timestamp()").await,
        0
    );
    setting.read_after(&first, 40).await;

    // On, in steps that are shorter than the retention: a snapshot is logged in time, and it has to be old enough.
    for minutes in [-120, -95] {
        setting.set_clock(minutes).await;
        setting.publish(&mut stream).await;
        setting.maintain().await;
        assert_eq!(setting.count("select count(*) from tidings.events").await, setting.published);
    }
    setting.read_after(&first, 40).await;
    let mut minutes = -95;
    while setting.count("select count(*) from tidings.events where payload::text::int <= 60").await > 0 {
        minutes += 20;
        assert!(minutes < 400, "retention goes on after the clock was set back");
        setting.set_clock(minutes).await;
        setting.publish(&mut stream).await;
        setting.maintain().await;
    }
    assert!(minutes >= -150 + 60, "not before they were an hour old by the clock that stored them");
    println!("events from before and after a step back were removed {} minutes later", minutes + 150);
    assert!(!setting.is_judged(&first, 40).await, "its events are gone");
    setting.is_judged(&back, 60).await;

    // A week forwards: all that is logged is old now, and what it saw goes; whoever lacks it is told. In another slot,
    // because an hour begins in between, is what it did not see.
    let minute = setting.count("select extract(minute from clock_timestamp())::bigint").await;
    minutes += (45 - minute).rem_euclid(60);
    setting.set_clock(minutes).await;
    let before = setting.publish(&mut stream).await;
    setting.publish(&mut stream).await;
    setting.maintain().await;
    setting.set_clock(minutes + 30).await;
    setting.maintain().await;
    let last = setting.publish(&mut stream).await;
    let published = setting.published;
    setting.set_clock(minutes + 7 * 24 * 60).await;
    setting.maintain().await;
    setting.publish(&mut stream).await;
    let goes_on = setting.is_judged(&before, published - 40).await;
    assert!(!goes_on, "its events are gone, though half an hour old");
    assert!(setting.is_judged(&last, published).await);
    let kept = setting.events().await;
    println!(
        "clock of the server set back, on and a week forwards: {} events, {} delivered, 0 missing, 0 duplicate, 0 foreign, \
         0 declared gaps to whoever was connected; {kept} events kept after the week",
        setting.published, setting.published
    );
    setting.cluster.pg_ctl("stop");
}
