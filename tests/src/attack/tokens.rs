//! By forged claims, and by all places where a client could write a tenant.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::{Arena, SECRET};
use crate::support::daemon::{SECRET as KEY, token_of};
use crate::support::websocket::Socket;
use crate::support::within;

const QUERY: &str = "subscription { orderInserted { note } }";

/// The status and the body that somebody gets who subscribes with a token over SSE; nothing of a stream.
async fn refused(arena: &Arena, token: &str) -> (u16, String) {
    let request = reqwest::Client::new()
        .post(format!("http://{}/graphql", arena.daemon.address))
        .bearer_auth(token)
        .header("accept", "text/event-stream")
        .header("content-type", "application/json")
        .body(json!({"query": QUERY}).to_string());
    let response = within("an answer", request.send()).await.unwrap();
    let status = response.status().as_u16();
    if status == 200 {
        return (status, String::new());
    }
    (status, within("the body", response.text()).await.unwrap())
}

fn claims(role: &str) -> Value {
    let exp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 600;
    json!({"sub": "ann", "tenant_id": "acme", "role": role, "exp": exp})
}

fn signed(role: &str, algorithm: Algorithm, key: &[u8]) -> String {
    encode(&Header::new(algorithm), &claims(role), &EncodingKey::from_secret(key)).unwrap()
}

fn unsigned(header: &Value, signature: &str) -> String {
    let part = |value: &Value| BASE64.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(&claims("admin")))
}

#[tokio::test]
async fn a_token_that_nobody_signed_opens_nothing() {
    let arena = Arena::new().await;
    let own = arena.mallory();
    let [header, payload, signature] = own.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let mut mine: Value = serde_json::from_slice(&BASE64.decode(payload).unwrap()).unwrap();
    mine["tenant_id"] = "acme".into();
    let changed = format!("{header}.{}.{signature}", BASE64.encode(mine.to_string()));
    let good = signed(&arena.web, Algorithm::HS256, KEY.as_bytes());
    let (rest, good_signature) = good.rsplit_once('.').unwrap();
    for forged in [
        changed,
        format!("{rest}.{signature}"),
        format!("{rest}."),
        rest.to_owned(),
        format!("{rest}.{}", &good_signature[..good_signature.len() - 4]),
        format!("{rest}.{good_signature}.{good_signature}"),
        unsigned(&json!({"alg": "none"}), ""),
        unsigned(&json!({"alg": "None", "typ": "JWT"}), signature),
        unsigned(&json!({"alg": "HS256"}), ""),
        unsigned(&json!({"alg": "RS256"}), signature),
        unsigned(&json!({"alg": "HS256", "jwk": {"kty": "oct", "k": "YWJj"}}), good_signature),
        unsigned(
            &json!({"alg": "HS256", "jku": "http://127.0.0.1:1/keys", "kid": "../../dev/null"}),
            signature,
        ),
        signed(&arena.web, Algorithm::HS256, b"another secret, which is long enough for HS256"),
        signed(&arena.web, Algorithm::HS256, b""),
        signed(&arena.web, Algorithm::HS512, KEY.as_bytes()),
    ] {
        let (status, body) = refused(&arena, &forged).await;
        assert_eq!(status, 401, "{forged}: {body}");
        assert!(!body.contains("acme") && !body.contains("globex"), "{body}");
        let mut socket = Socket::connect(&arena.daemon, "graphql-transport-ws").await;
        socket.send(json!({"type": "connection_init", "payload": {"token": forged}})).await;
        assert_eq!(socket.closed().await.0, 4403, "{forged}");
    }
    // The same claims with the right signature are ann's.
    assert_eq!(refused(&arena, &good).await.0, 200);
    let seen = arena.seen(&good, "acme", &json!({"query": QUERY})).await;
    assert!(seen[0].contains(SECRET), "{seen:?}");
}

#[tokio::test]
async fn claims_that_are_signed_count_only_as_they_are() {
    let arena = Arena::new().await;
    let good_for = Duration::from_secs(600);
    // Tenants that are almost acme, or several at once.
    for tenant in [
        json!("ACME"),
        json!("acme "),
        json!("acme\0"),
        json!("acme,globex"),
        json!(""),
        json!("%"),
        json!("globex"),
    ] {
        let token = token_of(json!({"sub": "mallory", "tenant_id": tenant, "role": arena.web}), good_for);
        let mut socket = Socket::open(&arena.daemon, &token).await;
        socket.subscribe("1", QUERY).await;
        socket.subscribe("end", "subscription { letter(box: 8) { body } }").await;
        arena.both_write().await;
        // What everybody sees comes last.
        arena.sql.run(r#"select publish_event('letters', 'sent', '{"box": "8"}')"#).await;
        let mut told = Vec::new();
        while told.last().is_none_or(|message: &Value| message["id"] != "end") {
            told.push(socket.receive().await);
        }
        let shown = if tenant == "globex" { 2 } else { 1 };
        assert_eq!(told.len(), shown, "{tenant}: {told:?}");
        assert!(!told.iter().any(|message| message.to_string().contains(SECRET)), "{tenant}: {told:?}");
    }
    for tenant in [json!(["acme"]), json!(["globex", "acme"]), json!({"eq": "acme"}), json!(true)] {
        let token = token_of(json!({"sub": "mallory", "tenant_id": tenant}), good_for);
        assert_eq!(refused(&arena, &token).await.0, 401, "{tenant}");
    }
}

#[tokio::test]
async fn a_tenant_counts_nowhere_but_in_the_token() {
    let arena = Arena::new().await;
    // What connection_init brings besides the token.
    let mut socket = Socket::connect(&arena.daemon, "graphql-transport-ws").await;
    let payload = json!({"token": arena.mallory(), "tenant_id": "acme", "tenant": "acme", "role": "admin", "sub": "ann",
        "claims": {"tenant_id": "acme"}, "headers": {"x-tenant-id": "acme", "x-hasura-role": "admin"}});
    socket.send(json!({"type": "connection_init", "payload": payload})).await;
    assert_eq!(socket.receive().await["type"], "connection_ack");
    socket.subscribe("1", QUERY).await;
    // Headers and parameters of a request.
    let request = reqwest::Client::new()
        .post(format!(
            "http://{}/graphql?tenant_id=acme&tenant=acme&role=admin&sub=ann",
            arena.daemon.address
        ))
        .bearer_auth(arena.mallory())
        .header("accept", "text/event-stream")
        .header("content-type", "application/json")
        .header("x-tenant-id", "acme")
        .header("x-hasura-role", "admin")
        .header("x-forwarded-user", "ann")
        .header("cookie", format!("token={}; tenant_id=acme", arena.ann()))
        .body(json!({"query": QUERY, "tenant_id": "acme", "claims": {"tenant_id": "acme"}}).to_string());
    let mut stream = within("the head", request.send()).await.unwrap();
    assert_eq!(stream.status(), 200);
    let mut received = String::new();
    while !received.contains("id: ") {
        received.push_str(
            std::str::from_utf8(&within("the start", stream.chunk()).await.unwrap().unwrap()).unwrap(),
        );
    }
    arena.both_write().await;
    assert_eq!(socket.next().await["data"]["orderInserted"]["note"], "of globex");
    while !received.contains("of globex") {
        received
            .push_str(std::str::from_utf8(&within("a row", stream.chunk()).await.unwrap().unwrap()).unwrap());
    }
    assert!(!received.contains(SECRET), "{received}");
    // In the token it does.
    let seen = arena.seen(&arena.ann(), "acme", &json!({"query": QUERY})).await;
    assert!(seen[0].contains(SECRET), "{seen:?}");
}
