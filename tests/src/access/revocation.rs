//! `tidings kick`: who has to leave leaves, on every node and over every transport, and nobody else does.

use std::time::{Duration, Instant, SystemTime};

use reqwest::Response;
use serde_json::{Value, json};
use tokio::process::Command;

use super::places::ask;
use crate::support::daemon::{Builder, Daemon, token_of};
use crate::support::database::Database;
use crate::support::sse::Sse;
use crate::support::websocket::Socket;
use crate::support::within;

const CHAT: &str = "subscription { events(channel: \"chat\") { id } }";
/// Of the text above.
const CHAT_HASH: &str = "select encode(sha256('subscription { events(channel: \"chat\") { id } }'), 'hex')";
const ACTIVE: &str = "select count(*) from tidings.active_connections";
const MULTIPART: &str = "multipart/mixed;subscriptionSpec=1.0";

/// How long a kick may take where nobody waits for a poll of a minute. The suite runs on busy machines.
const SOON: Duration = Duration::from_secs(30);

fn builder(database: &Database) -> Builder {
    Daemon::builder(&database.conninfo()).env("TIDINGS_JWT_LEEWAY_S", "0")
}

/// A token that was issued so many seconds from now.
fn issued(user: &str, tenant: &str, in_seconds: i64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().cast_signed();
    token_of(json!({ "sub": user, "tenant_id": tenant, "iat": now + in_seconds }), Duration::from_secs(600))
}

/// What `tidings` with these arguments says, and whether it is content.
pub(super) async fn tidings(database: &Database, arguments: &[&str]) -> (bool, String) {
    let binary =
        std::env::var("TIDINGS_BIN").expect("TIDINGS_BIN names the daemon's binary; run `make test`");
    let mut command = Command::new(binary);
    command.args(arguments).env_clear().env("TIDINGS_DATABASE_URL", database.conninfo());
    let output = within("the command", command.output()).await.unwrap();
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.success(), told)
}

async fn kick(database: &Database, arguments: &[&str]) {
    let (content, told) = tidings(database, &[&["kick"], arguments].concat()).await;
    assert!(content && told.starts_with("kick "), "{told}");
}

/// An open stream of another kind than event streams.
async fn multipart(daemon: &Daemon, token: &str) -> Response {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client
        .post(format!("http://{}/graphql", daemon.address))
        .bearer_auth(token)
        .header("accept", MULTIPART)
        .header("content-type", "application/json")
        .body(json!({ "query": CHAT }).to_string());
    let mut response = within("the head", request.send()).await.unwrap();
    assert_eq!(response.status(), 200);
    within("the first part", response.chunk()).await.unwrap();
    response
}

async fn legacy(daemon: &Daemon, token: &str) -> Socket {
    let mut socket = Socket::connect(daemon, "graphql-ws").await;
    socket.send(json!({ "type": "connection_init", "payload": { "token": token } })).await;
    assert_eq!(socket.receive().await["type"], "connection_ack");
    assert_eq!(socket.receive().await["type"], "ka");
    socket.send(json!({ "type": "start", "id": "1", "payload": { "query": CHAT } })).await;
    socket
}

/// A reservation, and its open stream.
async fn reserved(daemon: &Daemon, token: &str) -> (String, Response) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/graphql/stream", daemon.address);
    let put = within("the reservation", client.put(&url).bearer_auth(token).send()).await.unwrap();
    assert_eq!(put.status(), 201);
    let reservation = put.text().await.unwrap();
    let with = |request: reqwest::RequestBuilder| {
        request.bearer_auth(token).header("x-graphql-event-stream-token", &reservation)
    };
    let operation = json!({ "query": CHAT, "extensions": { "operationId": "1" } });
    let post = with(client.post(&url)).header("content-type", "application/json").body(operation.to_string());
    assert_eq!(within("the operation", post.send()).await.unwrap().status(), 202);
    let get = with(client.get(&url)).header("accept", "text/event-stream");
    let mut stream = within("the stream", get.send()).await.unwrap();
    assert_eq!(stream.status(), 200);
    within("the first bytes", stream.chunk()).await.unwrap();
    (reservation, stream)
}

async fn rest(response: Response) -> String {
    within("the end of the stream", response.text()).await.unwrap()
}

async fn code(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    (status, body["errors"][0]["extensions"]["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_kicked_user_leaves_every_node_over_every_transport() {
    let database = Database::new().await;
    let (one, other) = (builder(&database).start().await, builder(&database).start().await);
    let alice = issued("alice", "acme", -10);
    let mut stream = Sse::open(&one, &alice, CHAT).await;
    let parts = multipart(&one, &alice).await;
    let (reservation, single) = reserved(&one, &alice).await;
    let mut socket = Socket::open(&other, &alice).await;
    socket.subscribe("1", CHAT).await;
    let mut legacy = legacy(&other, &alice).await;
    let mut bob = Sse::open(&one, &issued("bob", "acme", -10), CHAT).await;
    let mut carol = Socket::open(&other, &issued("carol", "acme", -10)).await;
    carol.subscribe("1", CHAT).await;

    kick(&database, &["--user", "alice"]).await;
    let since = Instant::now();
    let error = stream.next().await;
    assert_eq!(error["errors"][0]["extensions"]["code"], "KICKED", "{error}");
    assert_eq!(stream.next_event().await.unwrap().event, "complete");
    assert_eq!(stream.next_event().await, None);
    let parts = rest(parts).await;
    assert!(parts.contains(r#""payload":null"#) && parts.contains("KICKED"), "{parts}");
    assert!(parts.ends_with("--graphql--\r\n"), "{parts}");
    let single = rest(single).await;
    assert!(single.contains(r#""id":"1""#) && single.contains("KICKED"), "{single}");
    assert_eq!(socket.closed().await, (4403, "Forbidden".to_owned()));
    assert_eq!(legacy.closed().await.0, 4403);
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    let kept = "select count(*) from tidings.connections where user_id = 'alice'";
    assert_eq!(database.connect().await.line(kept).await, "0");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let again = client
        .get(format!("http://{}/graphql/stream", other.address))
        .bearer_auth(issued("alice", "acme", 60))
        .header("x-graphql-event-stream-token", &reservation)
        .header("accept", "text/event-stream");
    assert_eq!(within("an answer", again.send()).await.unwrap().status(), 404, "the reservation is void");

    database.connect().await.run("select publish_event('chat', 'posted', '{}')").await;
    assert!(bob.next().await["data"]["events"]["id"].is_string());
    assert!(carol.next().await["data"]["events"]["id"].is_string());
    assert_eq!(one.metric("tidings_refusals_total{code=\"KICKED\"}").await, "3");
}

#[tokio::test]
async fn tokens_from_before_the_kick_are_refused_until_it_is_lifted() {
    let database = Database::new().await;
    let daemon = builder(&database).start().await;
    kick(&database, &["--user", "alice", "--tenant", "acme"]).await;
    let bearer = |token: String| format!("Bearer {token}");
    let asked = async |daemon: &Daemon, token: String| {
        let authorization = bearer(token);
        code(ask(daemon, "", &[("authorization", &authorization)]).await).await
    };
    let refused = (401, "TOKEN_REVOKED".to_owned());
    within("the daemon to hear of it", async {
        while asked(&daemon, issued("alice", "acme", -10)).await != refused {}
    })
    .await;
    let mut socket = Socket::connect(&daemon, "graphql-transport-ws").await;
    let payload = json!({ "token": issued("alice", "acme", -10) });
    socket.send(json!({ "type": "connection_init", "payload": payload })).await;
    assert_eq!(socket.closed().await.0, 4403);
    // Nobody knows how old a token without iat is.
    let undated = token_of(json!({ "sub": "alice", "tenant_id": "acme" }), Duration::from_secs(600));
    assert_eq!(asked(&daemon, undated).await, refused);
    let welcome = (200, String::new());
    for (user, tenant, in_seconds) in [("alice", "acme", 60), ("alice", "globex", -10), ("bob", "acme", -10)]
    {
        assert_eq!(asked(&daemon, issued(user, tenant, in_seconds)).await, welcome, "{user} of {tenant}");
    }

    // A daemon that was not there lets nobody in before it knows.
    let later = builder(&database).start().await;
    assert_eq!(asked(&later, issued("alice", "acme", -10)).await, refused);
    assert_eq!(tidings(&database, &["kick", "--lift", "1"]).await, (true, "kick 1 is lifted\n".to_owned()));
    within("the daemons to hear of it", async {
        while asked(&daemon, issued("alice", "acme", -10)).await != welcome {}
        while asked(&later, issued("alice", "acme", -10)).await != welcome {}
    })
    .await;
    let reason = "tidings_token_refusals_total{reason=\"revoked\"}";
    assert_ne!(daemon.metric(reason).await, "0");
}

#[tokio::test]
async fn a_tenant_leaves_and_may_come_again_if_tokens_stay_good() {
    let database = Database::new().await;
    let daemon = builder(&database).start().await;
    let open = async |user: &str, tenant: &str| Sse::open(&daemon, &issued(user, tenant, -10), CHAT).await;
    let (mut alice, mut bob) = (open("alice", "acme").await, open("bob", "acme").await);
    let mut carol = open("carol", "globex").await;
    kick(&database, &["--tenant", "acme", "--block", "0"]).await;
    for stream in [&mut alice, &mut bob] {
        assert_eq!(stream.next().await["errors"][0]["extensions"]["code"], "KICKED");
    }
    let mut again = open("alice", "acme").await;
    database.connect().await.run("select publish_event('chat', 'posted', '{}')").await;
    assert!(carol.next().await["data"].is_object() && again.next().await["data"].is_object());
}

#[tokio::test]
async fn one_connection_is_seen_by_its_id_and_ends_by_it() {
    let database = Database::new().await;
    let mut daemon = builder(&database).start().await;
    let session = database.connect().await;
    let mut socket = Socket::open(&daemon, &issued("alice", "acme", -10)).await;
    socket.subscribe("1", CHAT).await;
    let mut stream = Sse::open(&daemon, &issued("alice", "acme", -10), CHAT).await;
    let seen =
        "select string_agg(concat_ws(' ', transport, user_id, tenant_id, subscriptions->0->>'document'), ', '
            order by transport)
        from tidings.active_connections
        where since > clock_timestamp() - interval '5 minutes' and seen_at <= clock_timestamp()";
    let hash = session.line(CHAT_HASH).await;
    let expected = format!("graphql-transport-ws alice acme {hash}, sse alice acme {hash}");
    within("both to be seen", async { while session.line(seen).await != expected {} }).await;
    let id =
        session.line("select connection_id from tidings.active_connections where transport = 'sse'").await;
    assert!(daemon.log().contains(&format!("connection={id}")), "{}", daemon.log());

    kick(&database, &["--connection", &id]).await;
    assert_eq!(stream.next().await["errors"][0]["extensions"]["code"], "KICKED");
    socket.send(json!({ "type": "complete", "id": "1" })).await;
    socket.send(json!({ "type": "ping" })).await;
    assert_eq!(socket.receive().await["type"], "pong");
    let left = "select connection_id || subscriptions::text from tidings.active_connections";
    within("what has ended to be gone", async {
        while !matches!(&session.lines(left).await[..], [only] if only.ends_with("[]")) {}
    })
    .await;

    assert!(daemon.terminate().await.success());
    assert_eq!(session.line(ACTIVE).await, "0", "a daemon that leaves takes its own along");
}

#[tokio::test]
async fn a_kick_of_one_connection_voids_its_reservation() {
    let database = Database::new().await;
    let (one, other) = (builder(&database).start().await, builder(&database).start().await);
    let alice = issued("alice", "acme", -10);
    let (reservation, stream) = reserved(&one, &alice).await;
    let (kept, _open) = reserved(&other, &alice).await;
    let session = database.connect().await;
    let ours = format!(
        "select coalesce(min(connection_id), '') from tidings.active_connections where node = (
             select node from tidings.connections where token_hash = sha256('{reservation}'::bytea))"
    );
    let id = within("the connection's name", async {
        loop {
            let id = session.line(&ours).await;
            if !id.is_empty() {
                return id;
            }
        }
    })
    .await;
    session.run(&format!("select tidings.kick(connection_id => '{id}')")).await;
    assert!(rest(stream).await.contains("KICKED"));
    let left = "select count(*) from tidings.connections";
    within("the reservation's end", async { while session.line(left).await != "1" {} }).await;
    let status = async |reservation: &str| {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let delete = client
            .delete(format!("http://{}/graphql/stream?operationId=x", other.address))
            .bearer_auth(&alice)
            .header("x-graphql-event-stream-token", reservation);
        within("an answer", delete.send()).await.unwrap().status().as_u16()
    };
    assert_eq!((status(&reservation).await, status(&kept).await), (404, 200));
}

#[tokio::test]
async fn a_token_of_the_future_helps_nobody_who_is_kicked() {
    let database = Database::new().await;
    let daemon = builder(&database).start().await;
    let alice = issued("alice", "acme", 300);
    let mut stream = Sse::open(&daemon, &alice, CHAT).await;
    kick(&database, &["--user", "alice"]).await;
    assert_eq!(stream.next().await["errors"][0]["extensions"]["code"], "KICKED");
    let again = ask(&daemon, "", &[("authorization", &format!("Bearer {alice}"))]).await;
    assert_eq!(code(again).await, (401, "TOKEN_REVOKED".into()));
}

#[tokio::test]
async fn what_a_dead_node_has_left_is_hidden_and_removed() {
    let database = Database::new().await;
    let daemon = builder(&database).start().await;
    let session = database.connect().await;
    let _stream = Sse::open(&daemon, &issued("alice", "acme", -10), CHAT).await;
    within("it to be seen", async { while session.line(ACTIVE).await != "1" {} }).await;
    drop(daemon);
    session.run("update tidings.nodes set seen_at = seen_at - interval '61 seconds'").await;
    assert_eq!(session.line(ACTIVE).await, "0");
    assert_eq!(session.line("select count(*) from tidings.node_connections").await, "1");
    session.run("select tidings.maintain()").await;
    assert_eq!(session.line("select count(*) from tidings.node_connections").await, "0");
}

#[tokio::test]
async fn a_node_that_has_counted_as_gone_comes_back() {
    let database = Database::new().await;
    let daemon = builder(&database).start().await;
    let session = database.connect().await;
    let _stream = Sse::open(&daemon, &issued("alice", "acme", -10), CHAT).await;
    within("it to be seen", async { while session.line(ACTIVE).await != "1" {} }).await;
    session.run("delete from tidings.nodes").await;
    assert_eq!(session.line(ACTIVE).await, "0");
    within("it to be seen again", async { while session.line(ACTIVE).await != "1" {} }).await;
}

#[tokio::test]
async fn a_kick_that_was_not_heard_is_read_after_the_connection_was_lost() {
    let database = Database::new().await;
    let daemon = builder(&database).start().await;
    let session = database.connect().await;
    let mut stream = Sse::open(&daemon, &issued("alice", "acme", -10), CHAT).await;
    // As tidings.kick() does, but for the message.
    session
        .run(
            "insert into tidings.revocations (user_id, tokens_before, expires_at)
             values ('alice', clock_timestamp(), clock_timestamp() + interval '1 day')",
        )
        .await;
    let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity
               where application_name = 'tidings control' and datname = current_database()";
    within("the connection to be cut", async { while session.line(cut).await == "0" {} }).await;
    let since = Instant::now();
    assert_eq!(stream.next().await["errors"][0]["extensions"]["code"], "KICKED");
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
}

#[tokio::test]
async fn reservations_are_voided_and_only_those_of_whom_is_meant() {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            "insert into tidings.connections (token_hash, principal, tenant_id, user_id, expires_at)
             select decode(n, 'hex'), 'p', t, u, now() + interval '1 day'
             from (values ('01', 'acme', 'alice'), ('02', 'acme', 'bob'), ('03', 'globex', 'alice'),
                 ('04', null, 'alice'), ('05', null, null)) r (n, t, u)",
        )
        .await;
    let left =
        "select string_agg(encode(token_hash, 'hex'), ' ' order by token_hash) from tidings.connections";
    session.run("select tidings.kick(connection_id => '0123456789abcdef')").await;
    assert_eq!(session.line(left).await, "01 02 03 04 05");
    session.run("select tidings.kick(user_id => 'alice', tenant_id => 'globex')").await;
    assert_eq!(session.line(left).await, "01 02 04 05");
    session.run("select tidings.kick(user_id => 'alice')").await;
    assert_eq!(session.line(left).await, "02 05");
    session.run("select tidings.kick(tenant_id => 'acme', block => '0')").await;
    assert_eq!(session.line(left).await, "05");
}

#[tokio::test]
async fn a_kick_has_to_name_somebody_and_needs_a_privilege() {
    let database = Database::new().await;
    let session = database.connect().await;
    for (arguments, told) in [
        ("", "nobody is named"),
        ("user_id => ''", "empty text"),
        ("tenant_id => ''", "empty text"),
        ("connection_id => 'abc'", "16 hexadecimal digits"),
        ("connection_id => '0123456789abcdef', user_id => 'a'", "besides"),
        ("user_id => 'a', block => '-1 s'", "negative"),
        ("user_id => 'a', block => null", "null"),
        ("user_id => 'a', block => '11 years'", "ten years"),
    ] {
        session.refused(&format!("select tidings.kick({arguments})")).await.assert_names(told);
    }
    assert_eq!(session.line("select count(*) from tidings.revocations").await, "0");
    let (content, told) = tidings(&database, &["kick", "--user", ""]).await;
    assert!(!content && told.contains("nobody was kicked"), "{told}");
    assert_eq!(
        tidings(&database, &["kick", "--lift", "7"]).await,
        (false, "tidings: no kick of number 7 is in force\n".to_owned())
    );

    let role = database.role().await;
    session.run(&format!("grant usage on schema tidings to {role}")).await;
    for statement in [
        "select tidings.kick(user_id => 'a')",
        "select tidings.lift_kick(1)",
        "select * from tidings.active_connections",
        "select * from tidings.revocations",
    ] {
        let refusal = database.connect_as(&role).await.refused(statement).await;
        assert!(refusal.message.contains("permission denied"), "{refusal:?}");
    }
    session.run(&format!("select tidings.grant_daemon('{role}')")).await;
    database.connect_as(&role).await.run("select tidings.lift_kick(tidings.kick(user_id => 'a'))").await;
}

#[tokio::test]
async fn kicks_are_bounded_in_number_and_forgotten_in_time() {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            "insert into tidings.revocations (user_id, expires_at)
             select 'u' || n, clock_timestamp() + case when n > 1 then interval '1 day' else '0' end
             from generate_series(1, 100001) n",
        )
        .await;
    session.refused("select tidings.kick(user_id => 'a')").await.assert_names("100000 kicks are in force");
    session
        .run("select tidings.maintain(); select tidings.lift_kick(2); select tidings.kick(user_id => 'a')")
        .await;
    assert_eq!(session.line("select count(*) from tidings.revocations").await, "100000");
}

#[tokio::test]
async fn nobody_comes_in_before_kicks_are_known() {
    let database = Database::new().await;
    let session = database.connect().await;
    let role = database.role().await;
    let url = format!("{} user={role}", database.conninfo());
    session
        .run(&format!(
            "select tidings.grant_daemon('{role}'); revoke select on tidings.revocations from {role}"
        ))
        .await;
    let builder = builder(&database).env("TIDINGS_DATABASE_URL", &url);
    let daemon = builder.start().await;
    let readyz = async || {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.get(format!("http://{}/readyz", daemon.address)).send();
        within("the readiness", request).await.unwrap().text().await.unwrap()
    };
    let told = daemon.wait_for_log("kicks cannot be read").await;
    assert!(told.contains("run SELECT tidings.grant_daemon"), "{told}");
    within("the reason", async { while !readyz().await.starts_with("kicks have not been read yet") {} })
        .await;
    let authorization = format!("Bearer {}", issued("alice", "acme", 0));
    let refused = code(ask(&daemon, "", &[("authorization", &authorization)]).await).await;
    assert_eq!(refused, (503, "NOT_READY".to_owned()));

    let binary = std::env::var("TIDINGS_BIN").unwrap();
    let check = async || {
        let mut command = Command::new(&binary);
        command.arg("check").env_clear().env("TIDINGS_DATABASE_URL", &url).env("TIDINGS_AUTH", "none");
        let output = within("the check", command.output()).await.unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let told = check().await;
    assert!(told.contains("kicks cannot be read") && told.contains("tidings.grant_daemon"), "{told}");
    session.run(&format!("select tidings.grant_daemon('{role}')")).await;
    within("readiness", async { while readyz().await != "ready\n" {} }).await;
    let welcome = code(ask(&daemon, "", &[("authorization", &authorization)]).await).await;
    assert_eq!(welcome, (200, String::new()));
    assert!(check().await.contains("kicks:         ok, 0 in force"));
}
