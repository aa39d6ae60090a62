//! The schema changes under a thousand subscriptions: documents that stay valid go on without missing or
//! doubling an event, and each of the others is told once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::daemon::{Daemon, token};
use crate::support::database::{Database, Session};
use crate::support::websocket::Socket;
use crate::support::within;

const SOCKETS: usize = 4;
const SUBSCRIPTIONS_EACH: usize = 250;
/// Events that may be under way at a time.
const WINDOW: i64 = 16;
/// The number of the last event.
const LAST: i64 = 1_000_000;

const SETUP: &str = r#"
    create table orders (id int primary key, note text);
    select attach_trigger('orders', type_name => 'Order');
    insert into tidings.definitions (name, sdl) values
        ('notes', 'type Note { n: Int } extend type Subscription { noted: Note @event(channel: "notes") }');
"#;

/// Each costs one reload.
const CHANGES: [&str; 5] = [
    "alter table orders add column total numeric",
    "alter table orders rename column note to remark",
    "create table parcels (id int primary key); select attach_trigger('parcels', type_name => 'Parcel')",
    "insert into tidings.definitions (name, sdl) values
        ('more', 'type More { n: Int } extend type Subscription { more: More @event(channel: \"more\") }')",
    "delete from tidings.definitions where name = 'notes'",
];

/// What is subscribed to in turn: a document, where its result has the event's number, and whether the
/// document is still valid at the end.
const KINDS: [(&str, &str, bool); 4] = [
    ("subscription { orderInserted { id } }", "/orderInserted/id", true),
    ("subscription { orderInserted { id note } }", "/orderInserted/id", false),
    ("subscription { events(channel: \"ticks\") { data } }", "/events/data", true),
    ("subscription { noted { n } }", "/noted/n", false),
];

/// What one subscription got.
#[derive(Default)]
struct Got {
    numbers: Vec<i64>,
    error: Option<String>,
}

/// Subscribes, and returns once all are live.
async fn subscribe(daemon: &Daemon) -> Socket {
    let mut socket = Socket::open(daemon, &token("ann", "acme")).await;
    for id in 0..SUBSCRIPTIONS_EACH {
        let (query, ..) = KINDS[id % KINDS.len()];
        let payload = json!({"query": query, "extensions": {"acknowledge": true}});
        socket.send(json!({"type": "subscribe", "id": id.to_string(), "payload": payload})).await;
        assert_eq!(socket.next().await["extensions"]["subscribed"], true, "{query}");
    }
    socket
}

/// Reads until every subscription has had its last event or its error.
async fn read(mut socket: Socket) -> HashMap<usize, Got> {
    let mut all: HashMap<usize, Got> = HashMap::new();
    let mut open = SUBSCRIPTIONS_EACH;
    while open > 0 {
        let message = socket.receive().await;
        let id: usize = message["id"].as_str().unwrap().parse().unwrap();
        let (_, at, _) = KINDS[id % KINDS.len()];
        let got = all.entry(id).or_default();
        assert!(got.error.is_none(), "nothing follows the end of an operation: {message}");
        if message["type"] == "error" {
            let code = &message["payload"][0]["extensions"]["code"];
            got.error = Some(code.as_str().unwrap().to_owned());
            open -= 1;
            continue;
        }
        let number = message["payload"]["data"].pointer(at).and_then(Value::as_i64);
        let number = number.unwrap_or_else(|| panic!("no number at {at}: {message}"));
        got.numbers.push(number);
        open -= usize::from(number == LAST);
    }
    all
}

/// Publishes 1, 2, 3 … of each kind, and at the end `LAST`; returns how many came before that.
async fn publish(
    sql: Session,
    mut pacer: Socket,
    progress: watch::Sender<i64>,
    stop: Arc<AtomicBool>,
) -> i64 {
    for number in 1.. {
        let last = stop.load(Ordering::Relaxed);
        let number_or_last = if last { LAST } else { number };
        sql.run(&format!(
            "insert into orders (id) values ({number_or_last});
             select publish_event('ticks', 't', '{number_or_last}'),
                    publish_event('notes', 'n', '{{\"n\": {number_or_last}}}')"
        ))
        .await;
        if last {
            return number - 1;
        }
        if number > WINDOW {
            assert_eq!(pacer.next().await["data"]["events"]["data"], number - WINDOW);
        }
        progress.send_replace(number);
    }
    unreachable!("the numbers do not end")
}

/// Checks what one subscription got against what was published.
fn reconcile(id: usize, got: &Got, published: i64) {
    let (query, _, stays) = KINDS[id % KINDS.len()];
    if stays {
        let expected: Vec<i64> = (1..=published).chain([LAST]).collect();
        assert_eq!((&got.numbers, &got.error), (&expected, &None), "{query}");
    } else {
        let expected: Vec<i64> = (1..).take(got.numbers.len()).collect();
        assert_eq!(got.numbers, expected, "{query}: everything up to its end");
        assert_eq!(got.error.as_deref(), Some("SCHEMA_CHANGED"), "{query}");
        assert!(!got.numbers.is_empty() && got.numbers.len() < published as usize, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_subscriptions_outlive_what_does_not_concern_them() {
    let database = Database::new().await;
    let sql = database.connect().await;
    sql.run(SETUP).await;
    // The clients of this test share two cores with the daemon: they may fall behind.
    let builder = Daemon::builder(&database.conninfo());
    let builder =
        builder.env("TIDINGS_MAILBOX_MESSAGES", "1000000").env("TIDINGS_MAILBOX_BYTES", "1073741824");
    let daemon = builder.start().await;
    let mut readers = Vec::new();
    for _ in 0..SOCKETS {
        readers.push(tokio::spawn(read(subscribe(&daemon).await)));
    }
    let mut pacer = Socket::open(&daemon, &token("ann", "acme")).await;
    pacer.subscribe("pace", "subscription { events(channel: \"ticks\") { data } }").await;
    let (progress, mut reached) = watch::channel(0);
    let stop = Arc::new(AtomicBool::new(false));
    let publisher = tokio::spawn(publish(database.connect().await, pacer, progress, stop.clone()));

    for (index, change) in CHANGES.iter().enumerate() {
        let next = *reached.borrow() + 2 * WINDOW;
        within("the publisher", reached.wait_for(|number| *number >= next)).await.unwrap();
        sql.run(change).await;
        daemon.wait_for_logs("schema loaded", 2 + index).await;
    }
    let next = *reached.borrow() + 2 * WINDOW;
    within("the publisher", reached.wait_for(|number| *number >= next)).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let published = within("the publisher's end", publisher).await.unwrap();

    let (mut results, mut errors) = (0, 0);
    for reader in readers {
        let all = within("the last events", reader).await.unwrap();
        assert_eq!(all.len(), SUBSCRIPTIONS_EACH);
        for (id, got) in &all {
            reconcile(*id, got, published);
            results += got.numbers.len();
            errors += usize::from(got.error.is_some());
        }
    }
    println!(
        "reload: {} subscriptions over {SOCKETS} sockets, {} schema changes, {} events of each kind: {results} \
         results, none missing, none twice; {errors} subscriptions ended, each with one SCHEMA_CHANGED",
        SOCKETS * SUBSCRIPTIONS_EACH,
        CHANGES.len(),
        published + 1,
    );
}
