//! A page costs the same however much is missing.

use serde_json::Value;

use super::{beginning, page, page_of, rest};
use crate::support::database::Session;

/// Events that nobody has read, at first and in the end.
const BACKLOGS: [usize; 2] = [60_000, 180_000];

/// How many blocks a statement touched.
async fn blocks(session: &Session, query: &str) -> u64 {
    let row = session.query_one(&format!("explain (analyze, buffers, format json) {query}"), &[]).await;
    let plan: Value = row.unwrap().get(0);
    let of = |name: &str| plan[0]["Plan"][name].as_u64().unwrap();
    of("Shared Hit Blocks") + of("Shared Read Blocks")
}

/// The most blocks that a page of 500 events touches. Reads 2,000 events, or all.
async fn most_blocks(session: &Session, start: &str, channel: &str) -> (usize, u64) {
    let (mut cursor, mut most, mut events) = (start.to_owned(), 0, 0);
    loop {
        let call = format!("tidings.read_events('{cursor}', {channel}, 500)");
        most = most.max(blocks(session, &format!("select * from {call}")).await);
        let read = page_of(session, &call, &[]).await;
        (events, cursor) = (events + read.events.len(), read.end);
        if !read.more || events >= 2_000 {
            return (events, most);
        }
    }
}

#[tokio::test]
async fn a_page_of_three_times_as_much_touches_as_many_blocks() {
    let (database, session, start) = beginning().await;
    for slot in 0..3 {
        // There are statistics when the test says so, and none before.
        session.run(&format!("alter table tidings.events_{slot} set (autovacuum_enabled = off)")).await;
    }
    // Began before everything else, and has ids below and above it.
    let slow = database.connect().await;
    let some = "select publish_event('slow', 'e', '0') from generate_series(1, 5)";
    slow.run(&format!("begin; {some}")).await;
    session.run("select publish_event('first', 'e', '1')").await;
    let start = page(&session, Some(&start), 10).await.end;
    slow.run(&format!("{some}; commit")).await;
    let mut stored = 0;
    let channels = [("null", 2_000), ("'many'", 2_000), ("'slow'", 10)];
    let mut most: [Vec<u64>; 3] = Default::default();
    for size in BACKLOGS {
        let many = format!(
            "do $$ begin for batch in 1..{} loop
                perform publish_event('many', 'e', to_jsonb(n)) from generate_series(1, 1000) n; commit;
             end loop; end $$",
            (size - stored) / 1_000
        );
        session.run(&many).await;
        stored = size;
        for statistics in ["", "analyze tidings.events"] {
            session.run(statistics).await;
            for ((channel, expected), most) in channels.into_iter().zip(&mut most) {
                let (events, blocks) = most_blocks(&session, &start, channel).await;
                println!("{stored} events, channel {channel}, {statistics:?}: {blocks} blocks at most");
                assert_eq!(events, expected);
                most.push(blocks);
            }
        }
    }
    for blocks in most {
        let (least, most) = (blocks.iter().min().unwrap(), blocks.iter().max().unwrap());
        assert!(*most < least + least / 2, "{blocks:?}");
    }
    assert_eq!(rest(&session, &start, 10_000).await.len(), stored + 10);
}

#[tokio::test]
async fn large_events_make_short_pages() {
    let (_database, session, start) = beginning().await;
    let large = "select publish_event('c', 'e', to_jsonb(repeat('x', 900000))) from generate_series(1, 30)";
    session.run(large).await;
    let mut cursor = start;
    let (mut calls, mut events) = (0, 0);
    loop {
        let read = page(&session, Some(&cursor), 10_000).await;
        assert!((1..=10).contains(&read.events.len()), "{} events of 900 kB", read.events.len());
        (calls, events, cursor) = (calls + 1, events + read.events.len(), read.end);
        if !read.more {
            break;
        }
    }
    assert_eq!(events, 30);
    assert!(calls >= 3);
}
