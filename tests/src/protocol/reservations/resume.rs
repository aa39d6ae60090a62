//! What happened before a stream was open, or between two.

use std::collections::HashMap;

use serde_json::json;

use super::client::Reservation;
use super::streams::{CHAT, NEWS, next, next_data, publish, said};
use crate::protocol::{alice, code};
use crate::support::daemon::{Daemon, token};
use crate::support::database::Database;

#[tokio::test]
async fn s18_what_happens_before_the_stream_is_open_is_replayed() {
    let database = Database::new().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let reservation = Reservation::make(&daemon, &alice()).await;
    reservation.subscribe(&daemon, "1", CHAT).await;
    reservation.subscribe(&daemon, "2", NEWS).await;
    publish(&database, "chat", 1).await;
    publish(&database, "news", 1).await;
    publish(&database, "chat", 2).await;
    let mut stream = reservation.open(&daemon, None).await;
    publish(&database, "chat", 3).await;
    let mut got = Vec::new();
    for _ in 0..4 {
        got.push(next_data(&mut stream).await);
    }
    let chat: Vec<_> = got.iter().filter(|(_, id, _)| id == "1").cloned().collect();
    assert_eq!(chat, [said("1", 1), said("1", 2), said("1", 3)]);
    assert!(got.contains(&said("2", 1)), "{got:?}");
}

/// The serving node is killed; the client goes on with the other, as EventSource does.
#[tokio::test]
async fn s21_last_event_id_resumes_every_operation_after_a_crash() {
    let database = Database::new().await;
    let (one, other) = (Daemon::start(&database.conninfo()).await, Daemon::start(&database.conninfo()).await);
    let reservation = Reservation::make(&one, &alice()).await;
    let mut stream = reservation.open(&one, None).await;
    reservation.subscribe(&other, "chat", CHAT).await;
    reservation.subscribe(&one, "news", NEWS).await;
    publish(&database, "chat", 1).await;
    assert_eq!(next_data(&mut stream).await, said("chat", 1));
    publish(&database, "news", 1).await;
    assert_eq!(next_data(&mut stream).await, said("news", 1));
    let id = stream.last_id();
    drop(one);
    for number in 2..5 {
        publish(&database, "chat", number).await;
    }
    reservation.subscribe(&other, "late", NEWS).await;
    publish(&database, "news", 2).await;
    let mut stream = reservation.open(&other, id.as_deref()).await;
    let mut got = Vec::new();
    for _ in 0..5 {
        got.push(next_data(&mut stream).await);
    }
    let of = |wanted: &str| -> Vec<_> {
        got.iter()
            .filter(|(_, id, _)| id == wanted)
            .map(|(.., data)| data["events"]["data"].clone())
            .collect()
    };
    assert_eq!(
        (of("chat"), of("news"), of("late")),
        (vec![json!(2), json!(3), json!(4)], vec![json!(2)], vec![json!(2)])
    );
}

/// A client that loses its stream again and again, and goes on wherever it gets in, while many publish.
#[tokio::test]
async fn s20_s21_each_operation_gets_every_event_once_however_often_the_stream_breaks() {
    const OPERATIONS: usize = 12;
    const EVENTS: i64 = 400;
    let database = Database::new().await;
    let nodes = [Daemon::start(&database.conninfo()).await, Daemon::start(&database.conninfo()).await];
    let reservation = Reservation::make(&nodes[0], &alice()).await;
    let operations: Vec<String> = (0..OPERATIONS).map(|number| number.to_string()).collect();
    for (number, id) in operations.iter().enumerate() {
        reservation.subscribe(&nodes[number % 2], id, CHAT).await;
    }
    let publishing: Vec<_> = (0..4)
        .map(|writer| {
            let conninfo = database.conninfo();
            tokio::spawn(async move {
                let (sql, connection) =
                    tokio_postgres::connect(&conninfo, tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                for number in 0..EVENTS / 4 {
                    let event =
                        format!("select publish_event('chat', 'said', '{}')", writer * EVENTS / 4 + number);
                    sql.batch_execute(&event).await.unwrap();
                }
            })
        })
        .collect();
    let mut got: HashMap<String, Vec<i64>> = HashMap::new();
    let mut total = 0;
    let mut id = None;
    let mut turn = 0;
    while total < OPERATIONS * EVENTS as usize {
        let mut stream = reservation.open(&nodes[turn % 2], id.as_deref()).await;
        turn += 1;
        // Another number each time, sometimes in the middle of what is being replayed.
        for _ in 0..(turn * 37) % 500 + 20 {
            if total == OPERATIONS * EVENTS as usize {
                break;
            }
            let (_, operation, data) = next_data(&mut stream).await;
            got.entry(operation).or_default().push(data["events"]["data"].as_i64().unwrap());
            total += 1;
        }
        id = stream.read_id();
    }
    for writer in publishing {
        writer.await.unwrap();
    }
    let all: Vec<i64> = (0..EVENTS).collect();
    for operation in operations {
        let mut numbers = got.remove(&operation).unwrap_or_default();
        numbers.sort_unstable();
        assert_eq!(numbers, all, "operation {operation} after {turn} streams");
    }
    assert!(turn > 5, "the stream has to break now and then: {turn}");
}

#[tokio::test]
async fn s10_without_last_event_id_a_stream_goes_on_from_where_it_was() {
    let database = Database::new().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let reservation = Reservation::make(&daemon, &alice()).await;
    let mut stream = reservation.open(&daemon, None).await;
    reservation.subscribe(&daemon, "1", CHAT).await;
    publish(&database, "chat", 1).await;
    assert_eq!(next_data(&mut stream).await, said("1", 1));
    drop(stream);
    daemon.wait_for_log("connection closed").await;
    publish(&database, "chat", 2).await;
    let mut stream = reservation.open(&daemon, None).await;
    assert_eq!(next_data(&mut stream).await, said("1", 2));
}

#[tokio::test]
async fn s21_what_is_no_id_of_a_stream_is_refused() {
    let database = Database::new().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let reservation = Reservation::make(&daemon, &alice()).await;
    reservation.subscribe(&daemon, "1", CHAT).await;
    for id in ["x", "0.x", "0.", "!", &"A".repeat(5_000)] {
        let refused = reservation.get(&daemon, Some(id)).await;
        assert_eq!(refused.status(), 400, "{id:?}");
    }
    publish(&database, "chat", 1).await;
    assert_eq!(next_data(&mut reservation.open(&daemon, None).await).await, said("1", 1));
}

#[tokio::test]
async fn a_cursor_of_another_tenants_stream_shows_nothing_of_it() {
    let database = Database::new().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let acme = Reservation::make(&daemon, &alice()).await;
    let mut stream = acme.open(&daemon, None).await;
    acme.subscribe(&daemon, "1", CHAT).await;
    let sql = database.connect().await;
    sql.run("select publish_event('chat', 'said', '1', tenant_id => 'acme')").await;
    assert_eq!(next_data(&mut stream).await, said("1", 1));
    let id = stream.last_id();
    sql.run("select publish_event('chat', 'said', '2', tenant_id => 'acme')").await;
    assert_eq!(next_data(&mut stream).await, said("1", 2));
    let globex = Reservation::make(&daemon, &token("eve", "globex")).await;
    globex.subscribe(&daemon, "1", CHAT).await;
    let mut stolen = globex.open(&daemon, id.as_deref()).await;
    publish(&database, "chat", 3).await;
    assert_eq!(next_data(&mut stolen).await, said("1", 3));
}

#[tokio::test]
async fn s21_a_place_in_another_history_is_told_for_each_operation() {
    let database = Database::new().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let reservation = Reservation::make(&daemon, &alice()).await;
    let mut stream = reservation.open(&daemon, None).await;
    reservation.subscribe(&daemon, "1", CHAT).await;
    publish(&database, "chat", 1).await;
    assert_eq!(next_data(&mut stream).await, said("1", 1));
    drop(stream);
    let sql = database.connect().await;
    // As a restored copy of the database would say.
    sql.run("update tidings.documents set start_cursor = null").await;
    let elsewhere = "select 'EAECAwQFBgcIAAIA'";
    let cursor: String = sql.query_one(elsewhere, &[]).await.unwrap().get(0);
    let mut stream = reservation.open(&daemon, Some(&format!("9.{cursor}"))).await;
    let (event, id, payload) = next(&mut stream).await;
    assert_eq!((event.as_str(), id.as_str(), code(&payload)), ("next", "1", "CURSOR_HISTORY_CHANGED"));
    assert_eq!(next(&mut stream).await.0, "complete");
    reservation.subscribe(&daemon, "1", CHAT).await;
    publish(&database, "chat", 2).await;
    assert_eq!(next_data(&mut stream).await, said("1", 2));
}
