//! A batch far larger than one statement carries.

use std::time::Duration;

use tidings_daemon::metrics::Metrics;
use tidings_daemon::source::postgres::{PostgresOptions, PostgresSource};
use tidings_daemon::source::{Batch, Source, Step};

use super::database_with_orders;
use crate::support::database::heard;
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

/// Takes steps until a batch with events comes.
async fn batch(source: &mut PostgresSource) -> Batch {
    within("a batch", async {
        loop {
            match source.next().await {
                Step::Batch(batch) if !batch.events.is_empty() => return batch,
                _ => {}
            }
        }
    })
    .await
}

/// The tables of the next catalog. No batch may come before it.
async fn tables(source: &mut PostgresSource) -> Vec<String> {
    within("a catalog", async {
        loop {
            match source.next().await {
                Step::Catalog(catalog) => {
                    return catalog.tables.into_iter().map(|table| table.type_name).collect();
                }
                Step::Batch(batch) => assert!(batch.events.is_empty(), "events come before the catalog"),
                Step::Start(_) | Step::Gap(..) => {}
            }
        }
    })
    .await
}

#[tokio::test]
async fn what_changed_while_the_connection_was_lost_comes_before_the_rest_of_a_backlog() {
    let database = database_with_orders().await;
    let client = database.connect().await;
    let options =
        PostgresOptions { page_events: 100, ..PostgresOptions::new(database.conninfo().parse().unwrap()) };
    let mut source = PostgresSource::new(options, Metrics::default());
    let before = tables(&mut source).await;
    client.run("select publish_event('c', 'bulk', to_jsonb(i)) from generate_series(1, 1000) i").await;
    assert!(!batch(&mut source).await.last, "a backlog is under way");
    client
        .run(
            "select pg_terminate_backend(pid, 30000) from pg_stat_activity
                where datname = current_database() and pid <> pg_backend_pid();
             create table parcels (id int primary key);
             select attach_trigger('parcels', type_name => 'Parcel')",
        )
        .await;
    assert_eq!(tables(&mut source).await, [before, vec!["Parcel".to_owned()]].concat());
    while !batch(&mut source).await.last {}
}

#[tokio::test]
async fn a_change_that_nobody_was_notified_of_is_found_when_the_catalog_is_old() {
    let database = database_with_orders().await;
    let options = PostgresOptions {
        safety_poll: Duration::from_millis(10),
        catalog_age_max: Duration::from_millis(50),
        ..PostgresOptions::new(database.conninfo().parse().unwrap())
    };
    let mut source = PostgresSource::new(options, Metrics::default());
    let before = tables(&mut source).await;
    let mut listener = database.connect().await;
    listener.run("listen tidings_schema").await;
    let client = database.connect().await;
    client
        .run(
            "set tidings.notify = off; create table parcels (id int primary key);
             select attach_trigger('parcels', type_name => 'Parcel')",
        )
        .await;
    assert_eq!(tables(&mut source).await, [before, vec!["Parcel".to_owned()]].concat());
    assert_eq!(heard(&mut listener, "tidings_schema", &client).await, [""; 0]);
}
