//! Two nodes on one database: every request may go to either.

use super::client::Reservation;
use super::streams::{CHAT, begin, next, next_data, publish, said};
use crate::protocol::alice;
use crate::support::cluster::Cluster;
use crate::support::daemon::{Daemon, token};
use crate::support::database::Database;
use crate::support::within;

async fn two_nodes() -> (Database, Daemon, Daemon) {
    let database = Database::new().await;
    let one = Daemon::start(&database.conninfo()).await;
    let other = Daemon::start(&database.conninfo()).await;
    (database, one, other)
}

#[tokio::test]
async fn s12_s15_operations_of_one_node_run_on_the_stream_of_another() {
    let (database, one, other) = two_nodes().await;
    let reservation = Reservation::make(&one, &alice()).await;
    let mut stream = reservation.open(&other, None).await;
    begin(&one, &reservation, &mut stream, "1", CHAT).await;
    publish(&database, "chat", 1).await;
    assert_eq!(next_data(&mut stream).await, said("1", 1));
    assert_eq!(reservation.post(&one, "1", CHAT).await.0, 409);
    assert_eq!(reservation.delete(&one, "1").await.0, 200);
    assert_eq!(next(&mut stream).await.0, "complete");
    begin(&one, &reservation, &mut stream, "1", CHAT).await;
}

#[tokio::test]
async fn s10_who_has_heard_from_the_stream_takes_it_over_on_another_node() {
    let (database, one, other) = two_nodes().await;
    let reservation = Reservation::make(&one, &alice()).await;
    let mut first = reservation.open(&one, None).await;
    begin(&one, &reservation, &mut first, "1", CHAT).await;
    assert_eq!(reservation.get(&other, None).await.status(), 409);
    let stolen = reservation.stolen_by(&token("bob", "acme"));
    assert_eq!(stolen.get(&other, first.last_id().as_deref()).await.status(), 404);
    publish(&database, "chat", 1).await;
    assert_eq!(next_data(&mut first).await, said("1", 1));
    let mut second = reservation.open(&other, first.last_id().as_deref()).await;
    assert_eq!(first.next_event().await, None, "the older stream is closed");
    assert_eq!(next(&mut second).await.2["extensions"]["subscribed"], true);
    publish(&database, "chat", 2).await;
    assert_eq!(next_data(&mut second).await, said("1", 2));
    // And back, where the first one was.
    let mut third = reservation.open(&one, second.last_id().as_deref()).await;
    assert_eq!(second.next_event().await, None);
    assert_eq!(next(&mut third).await.2["extensions"]["subscribed"], true);
    publish(&database, "chat", 3).await;
    assert_eq!(next_data(&mut third).await, said("1", 3));
    assert_eq!(other.metric("tidings_reservations_taken_over_total").await, "1");
}

#[tokio::test]
async fn s10_the_lease_of_a_dead_node_ends() {
    let (database, one, other) = two_nodes().await;
    let reservation = Reservation::make(&one, &alice()).await;
    let mut stream = reservation.open(&one, None).await;
    begin(&one, &reservation, &mut stream, "1", CHAT).await;
    drop(one);
    assert_eq!(reservation.get(&other, None).await.status(), 409, "nobody knows yet that the node is dead");
    // Instead of waiting for half a minute.
    let sql = database.connect().await;
    let until = "select lease_until between clock_timestamp() and clock_timestamp() + '30 s' from tidings.connections";
    assert!(sql.query_one(until, &[]).await.unwrap().get::<_, bool>(0));
    sql.run("update tidings.connections set lease_until = clock_timestamp()").await;
    let mut stream = reservation.open(&other, None).await;
    assert_eq!(next(&mut stream).await.2["extensions"]["subscribed"], true);
    publish(&database, "chat", 1).await;
    assert_eq!(next_data(&mut stream).await, said("1", 1));
}

#[tokio::test]
async fn what_nobody_was_told_of_is_found_when_the_lease_is_renewed() {
    let (database, one, other) = two_nodes().await;
    let reservation = Reservation::make(&one, &alice()).await;
    let mut stream = reservation.open(&one, None).await;
    let sql = database.connect().await;
    let control = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                   where application_name = 'tidings control' and datname = current_database()";
    let ended: i64 = sql.query_one(control, &[]).await.unwrap().get(0);
    assert_eq!(ended, 2, "each node listens once");
    begin(&other, &reservation, &mut stream, "1", CHAT).await;
    one.wait_for_log("messages between nodes are not heard").await;
    begin(&other, &reservation, &mut stream, "2", CHAT).await;
}

#[tokio::test]
async fn a_renewed_lease_keeps_the_reservation_alive() {
    let database = Database::new().await;
    let daemon = Daemon::builder(&database.conninfo())
        .env("TIDINGS_RESERVATIONS_UNFULFILLED_S", "1")
        .env("TIDINGS_RESERVATIONS_IDLE_S", "60")
        .start()
        .await;
    let reservation = Reservation::make(&daemon, &alice()).await;
    let _stream = reservation.open(&daemon, None).await;
    let sql = database.connect().await;
    let renewed = "select last_seen_at > created_at + '5 s', expires_at > clock_timestamp() + '50 s', \
                   place is not null from tidings.connections";
    within("the renewal", async {
        loop {
            let row = sql.query_one(renewed, &[]).await.unwrap();
            if row.get(0) {
                assert!(row.get::<_, bool>(1) && row.get::<_, bool>(2));
                break;
            }
            // A renewal is silent: it shows in the row alone.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn limits_hold_in_the_database_too() {
    let database = Database::new().await;
    let daemon = Daemon::builder(&database.conninfo())
        .env("TIDINGS_RESERVATIONS_PER_USER", "2")
        .env("TIDINGS_RESERVATIONS_TOTAL", "3")
        .env("TIDINGS_LIMITS_SUBSCRIPTIONS", "1")
        .start()
        .await;
    let put = async |user: &str| {
        let bearer = token(user, "acme");
        super::client::answer(super::client::request(&daemon, reqwest::Method::PUT, "/graphql", &bearer))
            .await
            .0
    };
    let first = Reservation::make(&daemon, &alice()).await;
    let second = Reservation::make(&daemon, &alice()).await;
    let _stream = first.open(&daemon, None).await;
    let third = Reservation::make(&daemon, &alice()).await;
    assert_eq!(second.delete(&daemon, "1").await.0, 404, "it was idle, and made room");
    let _other = third.open(&daemon, None).await;
    assert_eq!(put("alice").await, 429);
    third.subscribe(&daemon, "1", CHAT).await;
    assert_eq!(third.post(&daemon, "2", CHAT).await.0, 429);
    assert_eq!(put("bob").await, 201);
    within("the count of all", async { while put("eve").await != 503 {} }).await;
}

#[tokio::test]
async fn without_privileges_the_store_says_what_to_do() {
    let database = Database::new().await;
    let role = database.role().await;
    let sql = database.connect().await;
    sql.run(&format!("select tidings.grant_daemon('{role}'); revoke all on tidings.connections from {role}"))
        .await;
    let url = format!("{} user='{role}'", database.conninfo().replace("user='postgres'", ""));
    let daemon = Daemon::start(&url).await;
    let (status, body) =
        super::client::answer(super::client::request(&daemon, reqwest::Method::PUT, "/graphql", &alice()))
            .await;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("STORE_UNAVAILABLE") && !body.contains("tidings."), "{body}");
    let line = daemon.wait_for_log("the store of reservations does not answer").await;
    assert!(line.contains("tidings.grant_daemon"), "{line}");
    assert_eq!(daemon.metric("tidings_reservation_store_failures_total").await, "1");
}

#[tokio::test]
async fn s22_while_the_database_is_away_who_resumes_is_told_to_come_back() {
    let cluster = Cluster::start();
    let connect = async || {
        let (sql, connection) =
            tokio_postgres::connect(&cluster.url("postgres"), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        sql
    };
    connect().await.batch_execute("create extension tidings").await.unwrap();
    let daemon = Daemon::start(&cluster.url("postgres")).await;
    let reservation = Reservation::make(&daemon, &alice()).await;
    let mut stream = reservation.open(&daemon, None).await;
    reservation.subscribe(&daemon, "1", CHAT).await;
    connect().await.batch_execute("select publish_event('chat', 'said', '1')").await.unwrap();
    assert_eq!(next_data(&mut stream).await, said("1", 1));
    let id = stream.last_id();
    drop(stream);
    cluster.pg_ctl("stop");
    let shed = reservation.get(&daemon, id.as_deref()).await;
    assert_eq!(shed.status(), 200);
    let text = shed.text().await.unwrap();
    assert!(text.starts_with("retry: ") && text.ends_with("\n\n"), "{text:?}");
    let (status, body) = reservation.post(&daemon, "2", CHAT).await;
    assert_eq!(status, 503, "{body}");
    assert_eq!(reservation.get(&daemon, None).await.status(), 503);
    cluster.pg_ctl("start");
    connect().await.batch_execute("select publish_event('chat', 'said', '2')").await.unwrap();
    // As EventSource does, if with less patience.
    let event = within("the stream", async {
        loop {
            let mut stream = reservation.open(&daemon, id.as_deref()).await;
            if let Some(event) = stream.next_event().await {
                break event;
            }
        }
    })
    .await;
    assert!(event.data.starts_with(r#"{"id":"1","payload":{"data":{"events":{"data":2}}"#), "{event:?}");
}
