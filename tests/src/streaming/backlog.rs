//! A batch far larger than one statement carries.

use tidings_daemon::metrics::Metrics;
use tidings_daemon::source::postgres::{PostgresOptions, PostgresSource};
use tidings_daemon::source::{Source, Step};

use super::database_with_orders;
use crate::support::within;

#[tokio::test]
async fn a_backlog_comes_in_pages_each_event_once_and_in_order() {
    let database = database_with_orders().await;
    let client = database.connect().await;
    let options = PostgresOptions {
        page_events: 700,
        page_bytes: 40_000,
        ..PostgresOptions::new(database.conninfo().parse().unwrap())
    };
    let mut source = PostgresSource::new(options, Metrics::default());
    let Step::Start(start) = within("the start", source.next()).await else {
        panic!("the first step is the start")
    };

    // A transaction that draws low ids and stays open over the whole backlog.
    let open = database.connect().await;
    open.batch_execute("begin; select publish_event('c', 'late', '{}') from generate_series(1, 5)")
        .await
        .unwrap();
    client
        .batch_execute("select publish_event('c', 'bulk', to_jsonb(i)) from generate_series(1, 10000) i")
        .await
        .unwrap();

    let mut ids = Vec::new();
    let mut pages = 0;
    let mut seen = start;
    within("the pages", async {
        while ids.len() < 10_000 {
            let Step::Batch(batch) = source.next().await else { continue };
            pages += 1;
            assert!(batch.events.len() <= 701, "{}", batch.events.len());
            for (index, event) in batch.events.iter().enumerate() {
                assert_eq!(&*event.event_type, "bulk");
                assert!(!seen.contains(event.id, event.xid), "seen before: {event:?}");
                ids.push(event.id);
                seen = batch.cursor_after(index);
                assert!(seen.contains(event.id, event.xid), "not seen after: {event:?}");
            }
            seen = batch.end();
        }
    })
    .await;
    assert!(pages > 14, "{pages}");
    assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] != pair[1]));

    open.batch_execute("commit").await.unwrap();
    let late = within("the late events", async {
        loop {
            match source.next().await {
                Step::Batch(batch) if !batch.events.is_empty() => break batch.events,
                _ => {}
            }
        }
    })
    .await;
    assert_eq!(late.iter().filter(|event| &*event.event_type == "late").count(), 5);
    assert!(late.iter().all(|event| event.id < ids[0]), "ids drawn first, committed last");
}
