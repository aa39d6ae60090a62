//! A crash between two calls gives xids that a cursor counts as finished to new transactions.

use tidings_daemon::source::cursor::Cursor;

use super::{page, rest};
use crate::streaming::crash::{Crash, text};
use crate::streaming::exactly_once::connect;
use crate::support::cluster::Cluster;

#[tokio::test]
async fn events_with_reused_xids_are_read_after_a_crash() {
    let cluster = Cluster::start();
    let client = connect(&cluster.url("postgres")).await.unwrap();
    client.batch_execute("create extension tidings; checkpoint").await.unwrap();
    client
        .batch_execute("select publish_event('c', 'before', to_jsonb(n)) from generate_series(1, 4) n")
        .await
        .unwrap();
    let crash = Crash::prepare(cluster, client).await;
    crash.use_up_xids().await;
    // Everything has been read, or a part of it.
    let whole = page(&crash.client, None, 10).await.end;
    let part = page(&crash.client, None, 2).await.end;
    let newest = text(&crash.client, "select tidings.current_cursor()").await;
    let (_cluster, client) = crash.happen().await;
    client.batch_execute("select publish_event('c', 'after', '5')").await.unwrap();
    client.batch_execute("select publish_event('c', 'after', '6')").await.unwrap();
    let xid = text(&client, "select min(xid)::text from tidings.events where event_type = 'after'").await;
    let seen = Cursor::decode(&whole).unwrap().seen;
    assert!(seen.sees(xid.parse().unwrap()), "the crash must have given a seen xid away again");
    for rows_max in [1, 2, 10] {
        assert_eq!(rest(&client, &whole, rows_max).await, ["5", "6"]);
        assert_eq!(rest(&client, &newest, rows_max).await, ["5", "6"]);
        assert_eq!(rest(&client, &part, rows_max).await, ["3", "4", "5", "6"]);
    }
}
