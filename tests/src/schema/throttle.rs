//! `@throttle`: the last result of each key, and no more of them than asked for.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::daemon::{Daemon, token};
use crate::support::database::Database;
use crate::support::websocket::Socket;

const INTERVAL: Duration = Duration::from_millis(300);
const UPDATES: u32 = 200;

const TABLE: &str = "
    create table lamps (id int primary key, level int);
    select attach_trigger('lamps', type_name => 'Lamp');
    insert into lamps values (1, 0), (2, 0)";

fn changed(throttle: &str) -> String {
    format!("subscription {{ lampChanged {throttle} {{ operation record {{ id level }} }} }}")
}

#[tokio::test]
async fn a_throttled_subscription_gets_the_last_state_of_each_row() {
    let database = Database::new().await;
    let client = database.connect().await;
    client.batch_execute(TABLE).await.unwrap();
    let daemon = Daemon::start(&database.conninfo()).await;
    let mut socket = Socket::open(&daemon, &token("ann", "acme")).await;
    socket.subscribe("all", &changed("")).await;
    socket.subscribe("throttled", &changed(r#"@throttle(ms: 300, key: "record.id")"#)).await;

    let began = Instant::now();
    for level in 1..=UPDATES {
        client.batch_execute(&format!("update lamps set level = {level} where id = 1")).await.unwrap();
    }
    client.batch_execute("update lamps set level = 7 where id = 2; truncate lamps").await.unwrap();

    let (mut all, mut throttled) = (0, Vec::new());
    while throttled.last().is_none_or(|(operation, ..): &(String, _, _)| operation != "TRUNCATE") {
        let message = socket.receive().await;
        let change = &message["payload"]["data"]["lampChanged"];
        if message["id"] == "all" {
            all += 1;
            continue;
        }
        let operation = change["operation"].as_str().unwrap().to_owned();
        throttled.push((operation, change["record"]["id"].clone(), change["record"]["level"].clone()));
    }
    let took = began.elapsed();
    let first_lamp: Vec<_> =
        throttled.iter().filter(|(_, id, _)| *id == 1).map(|(.., level)| level).collect();
    let most = 2 + took.as_millis() / INTERVAL.as_millis();
    assert_eq!(*first_lamp[0], 1, "the first passes at once");
    assert_eq!(**first_lamp.last().unwrap(), UPDATES, "and the last is never lost");
    assert!(first_lamp.len() as u128 <= most, "{} results in {took:?}", first_lamp.len());
    assert!(throttled.iter().any(|(_, id, level)| *id == 2 && *level == 7), "each row for itself");
    while all < UPDATES + 2 {
        assert_eq!(socket.receive().await["id"], "all");
        all += 1;
    }
}

#[tokio::test]
async fn a_key_that_names_nothing_is_refused() {
    let database = Database::new().await;
    let client = database.connect().await;
    client.batch_execute(TABLE).await.unwrap();
    let daemon = Daemon::start(&database.conninfo()).await;
    let mut socket = Socket::open(&daemon, &token("ann", "acme")).await;
    for key in ["record.typo", "typo", "record", "record.id.x", "operation.x"] {
        let query = changed(&format!(r#"@throttle(ms: 300, key: "{key}")"#));
        socket.send(json!({"type": "subscribe", "id": "1", "payload": {"query": query}})).await;
        let refused = socket.receive().await;
        assert_eq!(refused["payload"][0]["extensions"]["code"], "BAD_USER_INPUT", "{key}: {refused}");
        assert!(refused["payload"][0]["message"].as_str().unwrap().contains("names no value"), "{refused}");
    }
    for key in ["record.id", "operation"] {
        socket.subscribe(key, &changed(&format!(r#"@throttle(ms: 300, key: "{key}")"#))).await;
    }
}
