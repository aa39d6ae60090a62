//! Attempts to connect are counted by the client's address, which only trusted proxies may tell.

use reqwest::Response;

use super::places::{ask, builder};
use crate::support::daemon::{Daemon, token};
use crate::support::websocket::Socket;
use crate::support::within;

/// A daemon behind a proxy on this machine, which lets two attempts in.
async fn daemon() -> Daemon {
    let builder = builder().env("TIDINGS_TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8");
    builder.env("TIDINGS_LIMITS_ATTEMPTS_PER_MINUTE", "2").start().await
}

async fn attempt(daemon: &Daemon, header: &str, value: &str) -> u16 {
    let authorization = format!("Bearer {}", token("alice", "acme"));
    ask(daemon, "", &[("authorization", &authorization), (header, value)]).await.status().as_u16()
}

async fn event_stream(daemon: &Daemon, headers: &[(&str, &str)]) -> Response {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client
        .get(format!("http://{}/graphql?query=%7B__typename%7D", daemon.address))
        .bearer_auth(token("alice", "acme"))
        .header("accept", "text/event-stream");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    within("the head", request.send()).await.unwrap()
}

#[tokio::test]
async fn an_address_may_try_so_often_and_others_do_not_notice() {
    let daemon = daemon().await;
    for (header, mine, also_mine, other) in [
        ("x-forwarded-for", "203.0.113.5, 198.51.100.1", "198.51.100.1:99, 10.1.2.3", "198.51.100.2"),
        ("forwarded", "for=198.51.100.3", "for=unknown, for=198.51.100.3;proto=https", "for=198.51.100.4"),
        // Whoever has an IPv6 address has a whole network of them.
        ("x-forwarded-for", "2001:db8:1:2::3", "[2001:db8:1:2:ffff::4]:5", "2001:db8:1:3::3"),
    ] {
        assert_eq!(attempt(&daemon, header, mine).await, 200);
        assert_eq!(attempt(&daemon, header, also_mine).await, 200);
        assert_eq!(attempt(&daemon, header, mine).await, 429, "{header}: {mine}");
        assert_eq!(attempt(&daemon, header, also_mine).await, 429, "{header}: {also_mine}");
        assert_eq!(attempt(&daemon, header, other).await, 200, "{header}: {other}");
    }
    let rejected = daemon.metric("tidings_limit_rejections_total{limit=\"attempts_per_minute\"}").await;
    assert_eq!(rejected, "6");
}

#[tokio::test]
async fn w13_s22_who_tries_too_often_is_told_when_to_come_back() {
    let daemon = daemon().await;
    let from = ("x-forwarded-for", "198.51.100.1");
    for _ in 0..2 {
        assert_eq!(event_stream(&daemon, &[from]).await.status(), 200);
    }
    let refused = event_stream(&daemon, &[from]).await;
    assert_eq!(refused.status(), 429);
    let seconds: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    let text = refused.text().await.unwrap();
    assert!(text.contains("TOO_MANY_ATTEMPTS") && text.contains("try again in"), "{text}");

    // EventSource would give up for ever at a status.
    let shed = event_stream(&daemon, &[from, ("last-event-id", "x")]).await;
    assert_eq!(shed.status(), 200);
    let text = shed.text().await.unwrap();
    let wait: u64 = text.strip_prefix("retry: ").unwrap().trim_end().parse().unwrap();
    assert!((1_000..70_000).contains(&wait) && text.ends_with("\n\n"), "{text}");

    // So would WebSocket clients at the upgrade.
    let mut socket = Socket::connect_with(&daemon, "graphql-transport-ws", &[from]).await;
    let (code, reason) = socket.closed().await;
    assert_eq!(code, 1013);
    assert!(reason.starts_with("Too many attempts to connect came from this address"), "{reason}");
}

#[tokio::test]
async fn who_is_no_trusted_proxy_is_not_believed() {
    let daemon = builder().env("TIDINGS_LIMITS_ATTEMPTS_PER_MINUTE", "1").start().await;
    // Programs of this machine are not limited, and what they say of others counts for nothing.
    for _ in 0..3 {
        assert_eq!(attempt(&daemon, "x-forwarded-for", "198.51.100.1").await, 200);
    }
    let warnings = daemon.log().matches("is not among `trusted_proxies`").count();
    assert_eq!(warnings, 1, "once is enough");

    let trusting = daemon_trusting("192.0.2.0/24").await;
    for _ in 0..3 {
        assert_eq!(attempt(&trusting, "forwarded", "for=198.51.100.1").await, 200);
    }
}

async fn daemon_trusting(proxies: &str) -> Daemon {
    let builder = builder().env("TIDINGS_TRUSTED_PROXIES", proxies);
    builder.env("TIDINGS_LIMITS_ATTEMPTS_PER_MINUTE", "1").start().await
}

#[tokio::test]
async fn a_client_cannot_choose_its_address_behind_a_proxy() {
    let daemon = daemon_trusting("127.0.0.1").await;
    let from = |value: &'static str| attempt(&daemon, "x-forwarded-for", value);
    assert_eq!(from("203.0.113.1, 198.51.100.1").await, 200);
    // Another first hop, and nonsense there, change nothing.
    assert_eq!(from("203.0.113.2, 198.51.100.1").await, 429);
    assert_eq!(from("\"', 198.51.100.1").await, 429);
    // The proxy of this one wrote X-Forwarded-For; the other header is the client's own.
    let authorization = format!("Bearer {}", token("alice", "acme"));
    let both = async |forwarded: &str| {
        let headers = [
            ("authorization", authorization.as_str()),
            ("x-forwarded-for", "198.51.100.9"),
            ("forwarded", forwarded),
        ];
        ask(&daemon, "", &headers).await.status().as_u16()
    };
    assert_eq!(both("for=203.0.113.1").await, 200, "counted as the proxy itself");
    assert_eq!(both("for=203.0.113.2").await, 429, "with all who try that");
    assert_eq!(from("198.51.100.9").await, 200, "which costs nobody else");
}
