//! `@initial`: the rows that are there, then every change since.

mod writers;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, token_of};
use crate::support::database::{Database, Session};
use crate::support::sse::Sse;
use crate::support::websocket::Socket;

/// Rows of two tenants, for roles of which one may not read everything.
const ORDERS: &str = "
    create table orders (id int primary key, tenant text, state text default 'open', total numeric, note text);
    insert into orders values (3, 'acme', 'open', 9.5, null), (1, 'acme', 'paid', 7, 'x'), (2, 'globex', 'open', 1, null),
        (4, null, 'open', 1, null), (5, 'acme', 'open', 20, 'y');
    grant select on orders to READER; grant select (id, tenant, state) on orders to CLERK;
    select attach_trigger('orders', type_name => 'Order', tenant_column => 'tenant');
    select attach_trigger('empty', type_name => 'Empty', tenant_column => 'tenant')";

const ROWS: &str = "subscription { orderChanged @initial { operation record { id total } } }";

/// A database with the table, and a daemon whose tokens may take the two roles.
struct Setting {
    session: Session,
    daemon: Daemon,
    reader: String,
    clerk: String,
    _database: Database,
}

impl Setting {
    async fn new(statements: &str, settings: &[(&str, &str)]) -> Self {
        let database = Database::new().await;
        let session = database.connect().await;
        let (reader, clerk) = (database.role().await, database.role().await);
        let fill = |text: &str| text.replace("READER", &reader).replace("CLERK", &clerk);
        session
            .run(&fill(
                "create table empty (id int primary key, tenant text); grant select on empty to READER",
            ))
            .await;
        session.run(&fill(ORDERS)).await;
        session.run(&fill(statements)).await;
        let mut daemon =
            Daemon::builder(&database.conninfo()).env("TIDINGS_RESOLVE_ROLES", &format!("{reader},{clerk}"));
        for (name, value) in settings {
            daemon = daemon.env(name, value);
        }
        Self { session, daemon: daemon.start().await, reader, clerk, _database: database }
    }

    fn token(&self, tenant: &str, role: &str) -> String {
        token_of(json!({"sub": "ann", "tenant_id": tenant, "role": role}), Duration::from_secs(600))
    }

    async fn stream(&self, query: &str) -> Sse {
        Sse::open(&self.daemon, &self.token("acme", &self.reader), query).await
    }

    /// A socket on which an operation has been asked for.
    async fn socket(&self, token: &str, payload: Value) -> Socket {
        let mut socket = Socket::open(&self.daemon, token).await;
        socket.send(json!({"type": "subscribe", "id": "1", "payload": payload})).await;
        socket
    }

    /// The error that a subscription is refused with, or ends with before its first result.
    async fn refusal(&self, role: &str, query: &str) -> Value {
        let mut socket = self.socket(&self.token("acme", role), json!({"query": query})).await;
        let message = socket.receive().await;
        assert_eq!(message["type"], "error", "{query}: {message}");
        message["payload"][0].clone()
    }
}

fn change(result: &Value) -> String {
    let change = &result["data"]["orderChanged"];
    format!("{} {}", change["operation"], change["record"]).replace('"', "")
}

#[tokio::test]
async fn the_rows_of_a_tenant_come_first_and_then_the_changes() {
    let it = Setting::new("", &[]).await;
    let mut stream = it.stream(ROWS).await;
    let mut socket = it.socket(&it.token("acme", &it.reader), json!({"query": ROWS})).await;
    assert!(stream.named_ids().is_empty(), "whoever came back with a cursor from before would miss the rows");
    let mut results = Vec::new();
    for _ in 0..3 {
        let event = stream.next_event().await.unwrap();
        let result: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!(event.id.as_deref(), result["extensions"]["cursor"].as_str(), "only behind the last row");
        let mut over_socket = socket.next().await;
        for cursor in [&result, &over_socket].map(|it| it["extensions"]["cursor"].is_string()) {
            assert_eq!(cursor, results.len() == 2);
        }
        if let Some(cursor) = over_socket["extensions"].get_mut("cursor") {
            *cursor = result["extensions"]["cursor"].clone();
        }
        assert_eq!(over_socket, result);
        results.push(result);
    }
    let rows: Vec<String> = results.iter().map(change).collect();
    assert_eq!(rows, ["INITIAL {id:1,total:7}", "INITIAL {id:3,total:9.5}", "INITIAL {id:5,total:20}"]);
    let remaining = |result: &Value| result["extensions"]["initial"]["remaining"].clone();
    assert_eq!(results.iter().map(remaining).collect::<Vec<_>>(), [2, 1, 0]);
    it.session.run("update orders set total = 8 where id in (1, 2)").await;
    it.session.run("insert into orders values (6, 'acme')").await;
    for _ in 0..2 {
        let result = stream.next().await;
        assert_eq!(result["extensions"]["initial"], Value::Null);
        assert!(result["extensions"]["cursor"].is_string());
        assert_eq!(change(&socket.next().await), change(&result));
        results.push(result);
    }
    assert_eq!(change(&results[3]), "UPDATE {id:1,total:8}");
    assert_eq!(change(&results[4]), "INSERT {id:6,total:null}");
    assert_eq!(it.daemon.metric("tidings_initial_rows_total").await.parse::<u32>().unwrap() % 3, 0);
}

#[tokio::test]
async fn arguments_filters_and_conditions_decide_about_rows_as_about_changes() {
    let it = Setting::new("", &[]).await;
    for (arguments, ids) in [
        ("(id: 3)", vec![3]),
        ("(id: 2)", vec![]),
        ("(filter: {state: {eq: \"open\"}})", vec![3, 5]),
        ("(filter: {total: {gt: \"7\"}, note: {is: NULL}})", vec![3]),
        ("(filter: {total: {gte: \"7\", lt: \"9.50\"}})", vec![1]),
        ("(filter: {note: {startsWith: \"x\"}})", vec![1]),
        ("(filter: {note: {ilike: \"X%\"}})", vec![1]),
        ("(filter: {or: [{id: {eq: 1}}, {total: {gt: \"10\"}}]})", vec![1, 5]),
        ("(filter: {or: [{id: {eq: 1}}, {note: {like: \"y\"}}]})", vec![1, 5]),
        ("(filter: {not: {state: {in: [\"open\", \"paid\"]}}})", vec![]),
        ("(filter: {state: {in: [\"paid\", \"it's \\\\ '; drop table orders; --\"]}})", vec![1]),
        ("(filter: {state: {in: []}})", vec![]),
        ("(filter: {id: {neq: 3}, state: {gt: \"o\"}})", vec![1, 5]),
    ] {
        let query =
            format!("subscription {{ orderChanged{arguments} @initial {{ operation record {{ id }} }} }}");
        let payload = json!({"query": query, "extensions": {"acknowledge": true}});
        let mut stream = Sse::post(&it.daemon, &it.token("acme", &it.reader), &payload).await;
        let mut found = Vec::new();
        let acknowledgement = loop {
            let result = stream.next().await;
            if result["extensions"]["subscribed"] == true {
                break result;
            }
            found.push(result["data"]["orderChanged"]["record"]["id"].clone());
        };
        assert_eq!(found, ids, "{arguments}");
        assert_eq!(acknowledgement["extensions"]["initial"], json!({"rows": ids.len()}), "{arguments}");
        assert!(acknowledgement["extensions"]["cursor"].is_string());
        assert_eq!(acknowledgement["data"], Value::Null);
    }
}

#[tokio::test]
async fn fields_of_one_operation_begin_with_rows_too_and_variables_may_leave_them_out() {
    let it = Setting::new("", &[]).await;
    for field in ["orderInserted", "orderUpdated"] {
        let mut stream =
            it.stream(&format!("subscription {{ {field}(id: 1) @initial {{ id note }} }}")).await;
        assert_eq!(stream.next().await["data"][field], json!({"id": 1, "note": "x"}));
    }
    let query = "subscription($first: Boolean!) { orderChanged(id: 1) @initial(if: $first) { operation } }";
    let token = it.token("acme", &it.reader);
    let mut without = Sse::open_with(&it.daemon, &token, query, json!({"first": false})).await;
    assert_eq!(without.named_ids().len(), 1, "where it stands");
    let mut with = Sse::open_with(&it.daemon, &token, query, json!({"first": true})).await;
    assert_eq!(change(&with.next().await), "INITIAL null");
    it.session.run("update orders set note = 'z'").await;
    assert_eq!(change(&without.next().await), "UPDATE null");
    assert_eq!(change(&with.next().await), "UPDATE null");
}

#[tokio::test]
async fn where_there_are_no_rows_to_begin_with_it_is_refused() {
    let it = Setting::new(
        "select define_subscriptions('type M { id: ID } extend type Subscription { posted: M @event(channel: \"chat\") }')",
        &[],
    )
    .await;
    for (query, column, message) in [
        ("subscription { orderDeleted @initial { id } }", 29, "does not go with deletions"),
        ("subscription { orderChanged { operation @initial } }", 41, "on its root field only"),
        ("subscription { posted @initial { id } }", 23, "this field listens to none"),
        ("subscription { events(channel: \"a\") @initial { id } }", 37, "this field listens to none"),
    ] {
        let error = it.refusal(&it.reader, query).await;
        assert_eq!(error["extensions"]["code"], "BAD_USER_INPUT", "{error}");
        assert_eq!(error["locations"], json!([{"line": 1, "column": column}]), "{error}");
        assert!(error["message"].as_str().unwrap().contains(message), "{error}");
    }
    let error = it.refusal("stranger", ROWS).await;
    assert_eq!(error["extensions"]["code"], "FORBIDDEN", "{error}");
    assert!(error["message"].as_str().unwrap().contains("resolve.roles"), "{error}");
}

#[tokio::test]
async fn what_the_role_may_not_read_ends_the_subscription() {
    let it =
        Setting::new("create table hidden (id int primary key); select attach_trigger('hidden')", &[]).await;
    let error = it.refusal(&it.clerk, ROWS).await;
    assert_eq!(error["extensions"]["code"], "INITIAL_FAILED", "{error}");
    assert!(error["message"].as_str().unwrap().contains("column \"total\""), "{error}");
    assert_eq!(error["extensions"]["cursor"], Value::Null, "it has not begun");
    let error = it.refusal(&it.reader, "subscription { hiddenChanged @initial { operation } }").await;
    assert_eq!(error["extensions"]["code"], "INITIAL_FAILED", "{error}");
    let query = "subscription { orderChanged(id: 1) @initial { record { id state } } }";
    let mut socket = it.socket(&it.token("acme", &it.clerk), json!({"query": query})).await;
    assert_eq!(socket.next().await["data"]["orderChanged"]["record"], json!({"id": 1, "state": "paid"}));
}

#[tokio::test]
async fn policies_decide_about_the_rows_with_and_without_row_security_of_events() {
    let it = Setting::new(
        "alter table orders enable row level security;
         create policy cheap on orders for select using (
             total < 10 and tenant = current_setting('request.jwt.claims', true)::json ->> 'tenant_id');
         alter table empty enable row level security;
         insert into empty values (1, 'acme'), (2, 'acme');
         create policy odd on empty for select using (id % 2 = 1);
         select attach_trigger('empty', type_name => 'Empty', row_security => true)",
        &[],
    )
    .await;
    let mut stream = it.stream(ROWS).await;
    assert_eq!(change(&stream.next().await), "INITIAL {id:1,total:7}");
    assert_eq!(change(&stream.next().await), "INITIAL {id:3,total:9.5}");
    it.session.run("update orders set total = 30 where id = 3").await;
    assert_eq!(change(&stream.next().await), "UPDATE {id:3,total:30}", "its events are the tenant's");
    let mut secured = it.stream("subscription { emptyChanged @initial { operation record { id } } }").await;
    let row = |operation: &str, id: u32| json!({"operation": operation, "record": {"id": id}});
    assert_eq!(secured.next().await["data"]["emptyChanged"], row("INITIAL", 1));
    it.session.run("insert into empty values (4, 'acme'), (5, 'acme')").await;
    assert_eq!(secured.next().await["data"]["emptyChanged"], row("INSERT", 5));
}

#[tokio::test]
async fn more_than_the_limit_is_refused_before_the_first_row() {
    let settings = [("TIDINGS_INITIAL_MAX_ROWS", "50"), ("TIDINGS_INITIAL_MAX_BYTES", "65536")];
    let it = Setting::new(
        "insert into orders select n, 'acme', 'many' from generate_series(101, 150) n",
        &settings,
    )
    .await;
    let error = it.refusal(&it.reader, ROWS).await;
    assert_eq!(error["extensions"]["code"], "INITIAL_TOO_LARGE", "{error}");
    assert!(error["message"].as_str().unwrap().contains("50 rows"), "{error}");
    let many =
        "subscription { orderChanged(filter: {state: {eq: \"many\"}}) @initial { record { id note } } }";
    let mut stream = it.stream(many).await;
    for remaining in (0..50).rev() {
        assert_eq!(stream.next().await["extensions"]["initial"]["remaining"], remaining);
    }
    it.session.run("update orders set note = repeat('x', 3000) where state = 'many'").await;
    let error = it.refusal(&it.reader, many).await;
    assert_eq!(error["extensions"]["code"], "INITIAL_TOO_LARGE", "{error}");
    assert!(error["message"].as_str().unwrap().contains("65536 bytes"), "{error}");
}

#[tokio::test]
async fn rows_that_cannot_be_read_in_time_end_the_subscription_and_nobody_elses() {
    let it = Setting::new(
        "alter table orders enable row level security;
         create policy slow on orders for select using (
             case when current_setting('request.jwt.claims', true)::json ->> 'tenant_id' = 'globex'
                 then pg_sleep(3600) is null else true end)",
        &[("TIDINGS_RESOLVE_TIMEOUT_MS", "500")],
    )
    .await;
    let mut slow = it.socket(&it.token("globex", &it.reader), json!({"query": ROWS})).await;
    let mut stream = it.stream(ROWS).await;
    assert_eq!(change(&stream.next().await), "INITIAL {id:1,total:7}");
    let message = slow.receive().await;
    assert_eq!(message["payload"][0]["extensions"]["code"], "INITIAL_FAILED", "{message}");
    assert!(message["payload"][0]["message"].as_str().unwrap().contains("in time"), "{message}");
    let failed = "tidings_initial_reads_total{outcome=\"failed\"}";
    assert_eq!(it.daemon.metric(failed).await, "1");
}

#[tokio::test]
async fn equal_subscriptions_share_a_read_and_other_operations_go_on_meanwhile() {
    let it = Setting::new(
        "create table gate (open boolean); insert into gate values (false); grant select on gate to READER;
         alter table orders enable row level security;
         create function wait_for_gate() returns boolean language plpgsql as $$
             begin perform pg_advisory_xact_lock_shared(4711); return true; end $$;
         create policy gated on orders for select using ((select public.wait_for_gate()))",
        &[("TIDINGS_RESOLVE_TIMEOUT_MS", "30000")],
    )
    .await;
    it.session.run("select pg_advisory_lock(4711)").await;
    let token = it.token("acme", &it.reader);
    let mut socket = Socket::open(&it.daemon, &token).await;
    for number in 0..50 {
        let payload = json!({"query": ROWS});
        socket.send(json!({"type": "subscribe", "id": number.to_string(), "payload": payload})).await;
    }
    socket.subscribe("plain", "subscription { orderChanged { operation record { id total } } }").await;
    it.session.run("insert into orders values (7, 'acme', 'new')").await;
    let message = socket.receive().await;
    assert_eq!(
        (&message["id"], change(&message["payload"]).as_str()),
        (&json!("plain"), "INSERT {id:7,total:null}")
    );
    it.session.run("select pg_advisory_unlock(4711)").await;
    let mut seen = vec![Vec::new(); 50];
    for _ in 0..50 * 4 {
        let message = socket.receive().await;
        let number: usize = message["id"].as_str().unwrap().parse().unwrap();
        seen[number].push(change(&message["payload"]));
    }
    let rows = ["INITIAL {id:1,total:7}", "INITIAL {id:3,total:9.5}", "INITIAL {id:5,total:20}"];
    for changes in seen {
        assert_eq!(changes[..3], rows);
        let last = changes[3].split(' ').next().unwrap();
        assert!(["INSERT", "INITIAL"].contains(&last), "as a change or as a row, once: {changes:?}");
        assert!(changes[3].ends_with("{id:7,total:null}"));
    }
    let reads: u32 = it.daemon.metric("tidings_initial_reads_total{outcome=\"read\"}").await.parse().unwrap();
    assert!(reads <= 2, "{reads} reads for 50 subscriptions");
}

#[tokio::test]
async fn a_change_of_the_schema_while_rows_are_read_costs_nothing() {
    let it = Setting::new(
        "alter table orders enable row level security;
         create function wait_for_gate() returns boolean language plpgsql as $$
             begin perform pg_advisory_xact_lock_shared(4712); return true; end $$;
         create policy gated on orders for select using ((select public.wait_for_gate()))",
        &[("TIDINGS_RESOLVE_TIMEOUT_MS", "30000")],
    )
    .await;
    it.session.run("select pg_advisory_lock(4712)").await;
    let mut stream = it.stream(ROWS).await;
    let waiting = "select 1 from pg_locks where locktype = 'advisory' and objid = 4712 and not granted";
    while it.session.lines(waiting).await.is_empty() {}
    it.session.run("alter table empty add column more int").await;
    it.daemon.wait_for_logs("schema loaded", 2).await;
    it.session.run("update orders set total = 70 where id = 1").await;
    it.session.run("select pg_advisory_unlock(4712)").await;
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(change(&stream.next().await));
    }
    let rows = [
        "INITIAL {id:1,total:7}",
        "INITIAL {id:3,total:9.5}",
        "INITIAL {id:5,total:20}",
        "UPDATE {id:1,total:70}",
    ];
    assert_eq!(told, rows);
}

#[tokio::test]
async fn a_throttle_holds_no_row_back() {
    let it = Setting::new("", &[]).await;
    let query =
        "subscription { orderChanged @initial @throttle(ms: 3600000) { operation record { id total } } }";
    let mut stream = it.stream(query).await;
    for id in [1, 3, 5] {
        assert_eq!(stream.next().await["data"]["orderChanged"]["record"]["id"], id);
    }
    it.session.run("update orders set total = 8 where id = 1").await;
    assert_eq!(change(&stream.next().await), "UPDATE {id:1,total:8}", "the first change of its key");
}

#[tokio::test]
async fn subscriptions_that_come_and_go_while_rows_are_read_are_bounded() {
    let it = Setting::new(
        "alter table orders enable row level security;
         create function wait_for_gate() returns boolean language plpgsql as $$
             begin perform pg_advisory_xact_lock_shared(4713); return true; end $$;
         create policy gated on orders for select using ((select public.wait_for_gate()))",
        &[("TIDINGS_RESOLVE_TIMEOUT_MS", "30000"), ("TIDINGS_MAILBOX_MESSAGES", "100")],
    )
    .await;
    it.session.run("select pg_advisory_lock(4713)").await;
    let mut socket = Socket::open(&it.daemon, &it.token("acme", &it.reader)).await;
    for number in 0..101 {
        let id = number.to_string();
        socket.send(json!({"type": "subscribe", "id": id, "payload": {"query": ROWS}})).await;
        socket.send(json!({"type": "complete", "id": id})).await;
    }
    let refused = socket.receive().await;
    assert_eq!(refused["payload"][0]["extensions"]["code"], "SLOW_CONSUMER", "{refused}");
    assert_eq!(refused["id"], "100");
    it.session.run("select pg_advisory_unlock(4713)").await;
    // There is room again as soon as the rows are there.
    let first = loop {
        socket.send(json!({"type": "subscribe", "id": "last", "payload": {"query": ROWS}})).await;
        let message = socket.receive().await;
        if message["type"] == "next" {
            break message;
        }
        assert_eq!(message["payload"][0]["extensions"]["code"], "SLOW_CONSUMER", "{message}");
    };
    assert_eq!(change(&first["payload"]), "INITIAL {id:1,total:7}");
}
