//! Functions of the database that resolve and authorize, under row level security and with every fault.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::cluster::Cluster;
use crate::support::daemon::{Builder, Daemon, token, token_of};
use crate::support::database::{Database, Session};
use crate::support::sse::Sse;
use crate::support::websocket::Socket;
use crate::support::within;

const FUNCTIONS: &str = r#"
create schema app;
create table app.secrets (tenant text, secret text);
insert into app.secrets values ('acme', 'a'), ('globex', 'g'), ('o''"x', 'ü€');
alter table app.secrets enable row level security;
create policy own on app.secrets
    using (tenant = current_setting('request.jwt.claims')::jsonb ->> 'tenant_id');
create function app.secrets(event jsonb, arguments jsonb) returns jsonb stable language plpgsql as $$
begin return (select jsonb_agg(secret) from app.secrets); end $$;
create function app.echo(event jsonb, arguments jsonb) returns jsonb stable language plpgsql as $$
begin return jsonb_build_object('role', current_user, 'arguments', arguments, 'event', event); end $$;
create function app.moody(event jsonb, arguments jsonb) returns jsonb language plpgsql as $$
begin
    case event -> 'data' ->> 'mood'
        when 'raise' then raise exception 'not today';
        when 'divide' then perform 1 / 0;
        when 'hang' then perform pg_sleep(30);
        when 'shape' then return '"text"';
        when 'write' then insert into app.secrets values ('acme', 'w');
        when 'writable' then set transaction read write;
        when 'escape' then
            set role none;
            insert into app.secrets values ('acme', 'w');
        else perform pg_sleep(random() * 0.02);
    end case;
    return event -> 'data' -> 'n';
end $$;
create function app.may(event jsonb, arguments jsonb) returns boolean stable language plpgsql as $$
begin
    if arguments ->> 'room' = 'raise' then raise exception 'no'; end if;
    if arguments ->> 'room' = 'hang' then perform pg_sleep(30); end if;
    return exists (select from app.secrets where secret = arguments ->> 'room');
end $$;
"#;

const SDL: &str = r#"
type Note {
  n: Int
  secrets: [String!] @resolve(function: "app.secrets")
  echo(x: JSON): JSON @resolve(function: "app.echo")
  moody: Int @resolve(function: "app.moody")
  shared: JSON @resolve(function: "app.echo", scope: EVENT)
  ofTenant: [String!] @resolve(function: "app.secrets", scope: TENANT)
}
extend type Subscription {
  note: Note @event(channel: "notes")
  guarded(room: String @match(field: null)): Note @event(channel: "guarded") @authorize(function: "app.may")
}
"#;

struct Fixture {
    database: Database,
    admin: Session,
    login: String,
    web: String,
}

impl Fixture {
    async fn new() -> Self {
        let database = Database::new().await;
        let (login, web) = (database.role().await, database.role().await);
        let admin = database.connect().await;
        admin.run(FUNCTIONS).await;
        admin
            .run(&format!(
                "insert into tidings.definitions (name, sdl) values ('notes', $sdl${SDL}$sdl$);
                 select tidings.grant_daemon('{login}'); grant {web} to {login};
                 grant usage on schema app to {web}; grant select, insert on app.secrets to {web}"
            ))
            .await;
        Self { database, admin, login, web }
    }

    fn daemon(&self) -> Builder {
        Daemon::builder(&format!("{} user={}", self.database.conninfo(), self.login))
            .env("TIDINGS_RESOLVE_ROLE", &self.web)
            .env("TIDINGS_RESOLVE_ROLES", &self.web)
            .env("TIDINGS_RESOLVE_TIMEOUT_MS", "400")
            .env("TIDINGS_RESOLVE_SLOW_MS", "300")
    }

    fn token(&self, user: &str, tenant: &str) -> String {
        let claims = json!({"sub": user, "tenant_id": tenant, "role": self.web});
        token_of(claims, Duration::from_secs(600))
    }

    async fn publish(&self, payload: &Value) {
        let payload = payload.to_string().replace('\'', "''");
        self.admin.run(&format!("select publish_event('notes', 'x', '{payload}')")).await;
    }
}

#[tokio::test]
async fn row_level_security_decides_what_each_subscriber_gets_of_the_same_event() {
    let fixture = Fixture::new().await;
    let daemon = fixture.daemon().start().await;
    let query = "subscription($x: JSON) { note { n secrets ofTenant echo(x: $x) shared } }";
    let mut streams = Vec::new();
    for (user, tenant) in [("ann", "acme"), ("bob", "globex"), ("o'\"; reset role; ☃", "o'\"x")] {
        let variables = json!({"x": [user, 1.5, null]});
        streams.push((user, Sse::open_with(&daemon, &fixture.token(user, tenant), query, variables).await));
    }
    for n in 0..20 {
        fixture.publish(&json!({ "n": n })).await;
    }
    for ((user, stream), secret) in streams.iter_mut().zip(["a", "g", "ü€"]) {
        for n in 0..20 {
            let result = stream.next().await;
            let note = &result["data"]["note"];
            assert_eq!(note["n"], n, "{result}");
            assert_eq!((&note["secrets"], &note["ofTenant"]), (&json!([secret]), &json!([secret])));
            assert_eq!(note["echo"]["arguments"], json!({"x": [user, 1.5, null]}));
            assert_eq!(note["echo"]["role"], fixture.web.as_str());
            assert_eq!(note["shared"]["event"]["data"], json!({ "n": n }));
            assert_eq!(note["shared"]["event"]["channel"], "notes");
        }
    }
    assert!(!daemon.log().contains("globex") && !daemon.log().contains("tenant_id"), "claims are not logged");
}

#[tokio::test]
async fn each_fault_costs_its_own_result_and_the_order_is_kept() {
    let fixture = Fixture::new().await;
    let daemon = fixture.daemon().start().await;
    let query = "subscription { note { n moody } }";
    let mut stream = Sse::open(&daemon, &fixture.token("ann", "acme"), query).await;
    let faults = [
        ("raise", "RESOLVER_FAILED"),
        ("divide", "RESOLVER_FAILED"),
        ("hang", "RESOLVER_TIMEOUT"),
        ("shape", "INVALID_VALUE"),
        ("write", "RESOLVER_FAILED"),
        ("writable", "RESOLVER_FAILED"),
        ("escape", "RESOLVER_FAILED"),
    ];
    let fault = |n: usize| faults.get(n % 20);
    for n in 0..100 {
        fixture.publish(&json!({"n": n, "mood": fault(n).map_or("good", |fault| fault.0)})).await;
    }
    for n in 0..100 {
        let result = stream.next().await;
        assert_eq!(result["data"]["note"]["n"], n, "{result}");
        match fault(n) {
            None => assert_eq!((&result["data"]["note"]["moody"], result.get("errors")), (&json!(n), None)),
            Some((mood, code)) => {
                let error = &result["errors"][0];
                assert_eq!(result["data"]["note"]["moody"], Value::Null);
                assert_eq!(
                    (&error["extensions"]["code"], &error["path"]),
                    (&json!(code), &json!(["note", "moody"]))
                );
                let message = error["message"].as_str().unwrap();
                assert_eq!(message.contains("not today"), *mood == "raise", "{message}");
                assert!(!message.contains("zero") && !message.contains("read-only"), "{message}");
            }
        }
    }
    daemon.wait_for_log("slow resolver").await;
    daemon.wait_for_log("SQLSTATE 22012").await;
    let metrics = reqwest::get(format!("http://{}/metrics", daemon.address)).await.unwrap();
    let metrics = metrics.text().await.unwrap();
    for line in [
        "tidings_resolver_failures_total{kind=\"timeout\"} 5",
        "tidings_resolver_failures_total{kind=\"raised\"} 5",
        "tidings_resolver_failures_total{kind=\"failed\"} 20",
        "tidings_resolver_queue 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    assert_eq!(fixture.admin.line("select count(*) from app.secrets").await, "3", "nothing was written");
}

#[tokio::test]
async fn a_function_that_hangs_for_many_leaves_others_a_connection() {
    let fixture = Fixture::new().await;
    let daemon = fixture.daemon().env("TIDINGS_RESOLVE_TIMEOUT_MS", "60000").start().await;
    let mut hanging = Vec::new();
    for user in 0..12 {
        let mut socket = Socket::open(&daemon, &fixture.token(&user.to_string(), "acme")).await;
        socket.subscribe("1", "subscription { note { moody } }").await;
        hanging.push(socket);
    }
    fixture.publish(&json!({"mood": "hang", "n": 1})).await;
    let busy = "select 1 from pg_stat_activity where application_name = 'tidings resolve' \
                and wait_event = 'PgSleep' and datname = current_database()";
    while fixture.admin.lines(busy).await.len() < 3 {}
    let mut other = Socket::open(&daemon, &fixture.token("other", "acme")).await;
    other.subscribe("1", "subscription { note { n secrets } }").await;
    fixture.publish(&json!({"mood": "", "n": 2})).await;
    assert_eq!(other.next().await["data"]["note"], json!({"n": 2, "secrets": ["a"]}));
    assert_eq!(fixture.admin.lines(busy).await.len(), 3, "one function never takes all of the four");
}

#[tokio::test]
async fn a_lost_connection_and_a_dropped_function_cost_the_results_under_way() {
    let fixture = Fixture::new().await;
    let daemon = fixture.daemon().env("TIDINGS_RESOLVE_TIMEOUT_MS", "30000").start().await;
    let query = "subscription { note { n moody } }";
    let mut stream = Sse::open(&daemon, &fixture.token("ann", "acme"), query).await;
    fixture.publish(&json!({"n": 1, "mood": "hang"})).await;
    // In the function, and not in one of the short statements before the call.
    let busy = "from pg_stat_activity where application_name = 'tidings resolve' and wait_event = 'PgSleep' \
                and datname = current_database()";
    within("the call", async {
        while fixture.admin.line(&format!("select count(*) {busy}")).await == "0" {}
    })
    .await;
    fixture.admin.run(&format!("select pg_terminate_backend(pid) {busy}")).await;
    fixture.publish(&json!({"n": 2, "mood": "good"})).await;
    assert_eq!(stream.next().await["errors"][0]["extensions"]["code"], "RESOLVER_FAILED");
    assert_eq!(stream.next().await["data"]["note"], json!({"n": 2, "moody": 2}));
    fixture.admin.run("drop function app.moody").await;
    fixture.publish(&json!({"n": 3})).await;
    let result = stream.next().await;
    assert_eq!(
        (&result["data"]["note"]["n"], &result["errors"][0]["extensions"]["code"]),
        (&json!(3), &json!("RESOLVER_FAILED"))
    );
}

#[tokio::test]
async fn a_restart_of_the_database_costs_what_was_under_way_and_nothing_else() {
    let cluster = Cluster::start();
    let url = cluster.url("postgres");
    let run = async |statements: &str| {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        within(statements, client.batch_execute(statements)).await.unwrap();
    };
    let define = format!("insert into tidings.definitions (name, sdl) values ('notes', $sdl${SDL}$sdl$)");
    run("create extension tidings").await;
    run(FUNCTIONS).await;
    run(&define).await;
    let daemon = Daemon::builder(&url)
        .env("TIDINGS_RESOLVE_ANONYMOUS_ROLE", "postgres")
        .env("TIDINGS_RESOLVE_TIMEOUT_MS", "20000");
    let daemon = daemon.start().await;
    let mut stream = Sse::open(&daemon, &token("ann", "acme"), "subscription { note { n moody } }").await;
    let publish = async |n: usize, mood: &str| {
        run(&format!("select publish_event('notes', 'x', '{{\"n\": {n}, \"mood\": \"{mood}\"}}')")).await;
    };
    publish(0, "good").await;
    assert_eq!(stream.next().await["data"]["note"], json!({"n": 0, "moody": 0}));
    publish(1, "hang").await;
    run("do $$ begin while not exists (select from pg_stat_activity where wait_event = 'PgSleep') loop \
         perform pg_stat_clear_snapshot(); end loop; end $$")
    .await;
    cluster.pg_ctl("restart");
    for n in 2..20 {
        publish(n, "good").await;
    }
    for n in 1..20 {
        let result = stream.next().await;
        assert_eq!(result["data"]["note"]["n"], n, "{result}");
        if n == 1 {
            assert_eq!(result["errors"][0]["extensions"]["code"], "RESOLVER_FAILED");
        } else {
            assert_eq!(result["data"]["note"]["moody"], n, "{result}");
        }
    }
}

#[tokio::test]
async fn calls_beyond_the_bounds_are_refused_one_by_one() {
    let fixture = Fixture::new().await;
    let daemon = fixture.daemon().env("TIDINGS_RESOLVE_CONNECTIONS", "1").env("TIDINGS_RESOLVE_QUEUE", "5");
    let daemon = daemon.env("TIDINGS_RESOLVE_TIMEOUT_MS", "3000").start().await;
    let query = "subscription { note { n moody } }";
    let mut stream = Sse::open(&daemon, &fixture.token("ann", "acme"), query).await;
    let sleeping =
        "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()";
    fixture.publish(&json!({"n": 0, "mood": "hang"})).await;
    within("the call", async { while fixture.admin.line(sleeping).await == "0" {} }).await;
    for n in 1..9 {
        fixture.publish(&json!({"n": n, "mood": "good"})).await;
    }
    for n in 0..9 {
        let result = stream.next().await;
        assert_eq!(result["data"]["note"]["n"], n);
        let code = &result["errors"][0]["extensions"]["code"];
        match n {
            0 => assert_eq!(code, "RESOLVER_TIMEOUT"),
            1..6 => assert_eq!(result["data"]["note"]["moody"], n),
            _ => assert_eq!(code, "RESOLVER_OVERLOADED"),
        }
    }
}

#[tokio::test]
async fn check_names_the_roles_that_cannot_be_used() {
    let fixture = Fixture::new().await;
    let other = fixture.database.role().await;
    let output = tokio::process::Command::new(std::env::var("TIDINGS_BIN").unwrap())
        .arg("check")
        .env_clear()
        .env("TIDINGS_AUTH", "none")
        .env("TIDINGS_DATABASE_URL", format!("{} user={}", fixture.database.conninfo(), fixture.login))
        .env("TIDINGS_RESOLVE_ROLES", format!("{},{other}", fixture.web))
        .env("TIDINGS_RESOLVE_ANONYMOUS_ROLE", "no such role")
        .output();
    let output = within("tidings check", output).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(&format!("role {other:?}")) && text.contains("role \"no such role\""), "{text}");
    assert!(!text.contains(&fixture.web), "{text}");
}

#[tokio::test]
async fn only_those_may_subscribe_whom_the_function_lets_and_others_do_not_wait() {
    let fixture = Fixture::new().await;
    let daemon = fixture.daemon().start().await;
    let mut socket = Socket::open(&daemon, &fixture.token("ann", "acme")).await;
    let mut begin = async |id: &str, room: &str| {
        let query = format!("subscription {{ guarded(room: \"{room}\") {{ n }} }}");
        socket.send(json!({"type": "subscribe", "id": id, "payload": {"query": query}})).await;
    };
    begin("slow", "hang").await;
    begin("given up", "hang").await;
    begin("not mine", "g").await;
    socket.send(json!({"type": "complete", "id": "given up"})).await;
    let note = json!({"query": "subscription { note { n } }"});
    socket.send(json!({"type": "subscribe", "id": "note", "payload": note})).await;
    socket.send(json!({"type": "ping"})).await;
    let mut told = Vec::new();
    for _ in 0..3 {
        let message = socket.receive().await;
        told.push(format!(
            "{} {} {}",
            message["type"], message["id"], message["payload"][0]["extensions"]["code"]
        ));
    }
    assert_eq!(
        told.pop().unwrap(),
        r#""error" "slow" "AUTHORIZATION_FAILED""#,
        "the others did not wait: {told:?}"
    );
    told.sort_unstable();
    assert_eq!(told, [r#""error" "not mine" "FORBIDDEN""#, r#""pong" null null"#]);
    fixture.publish(&json!({"n": 7})).await;
    assert_eq!(socket.next().await["data"]["note"]["n"], 7, "nothing came of what was given up");

    let query = |room: &str| format!("subscription {{ guarded(room: \"{room}\") {{ n }} }}");
    let mut raised = Sse::open(&daemon, &fixture.token("ann", "acme"), &query("raise")).await;
    let error = raised.next().await["errors"][0].take();
    assert_eq!(error["extensions"]["code"], "AUTHORIZATION_FAILED");
    assert_eq!(error["locations"], json!([{"line": 1, "column": 16}]), "{error}");
    assert_eq!(error["path"], json!(["guarded"]), "{error}");
    let mut mine = Sse::open(&daemon, &fixture.token("ann", "acme"), &query("a")).await;
    fixture.admin.run(r#"select publish_event('guarded', 'x', '{"n": 1}')"#).await;
    assert_eq!(mine.next().await["data"]["guarded"]["n"], 1);
    let stranger = token_of(json!({"sub": "eve", "role": "postgres"}), Duration::from_secs(600));
    let mut stranger = Sse::open(&daemon, &stranger, &query("a")).await;
    assert_eq!(stranger.next().await["errors"][0]["extensions"]["code"], "FORBIDDEN");
}

#[tokio::test]
async fn calls_are_made_once_for_all_who_share_them() {
    let fixture = Fixture::new().await;
    let database = fixture.admin.line("select current_database()").await;
    fixture.admin.run(&format!("alter database {database} set track_functions = 'all'")).await;
    let mut daemon = fixture.daemon().start().await;
    let query = "subscription { note { n ofTenant shared } }";
    let mut streams = Vec::new();
    for (user, tenant) in [("ann", "acme"), ("amy", "acme"), ("bob", "globex")] {
        streams.push(Sse::open(&daemon, &fixture.token(user, tenant), query).await);
    }
    for n in 0..10 {
        fixture.publish(&json!({ "n": n })).await;
    }
    for stream in &mut streams {
        for n in 0..10 {
            assert_eq!(stream.next().await["data"]["note"]["n"], n);
        }
    }
    drop(streams);
    daemon.terminate().await;
    // A backend that ends has reported what it counted.
    within("the end of the daemon's connections", async {
        let left = format!("select count(*) from pg_stat_activity where usename = '{}'", fixture.login);
        while fixture.admin.line(&left).await != "0" {}
    })
    .await;
    let calls = "select calls from pg_stat_user_functions where funcname =";
    assert_eq!(fixture.admin.line(&format!("{calls} 'echo'")).await, "10", "once per event");
    assert_eq!(fixture.admin.line(&format!("{calls} 'secrets'")).await, "20", "once per event and tenant");
}
