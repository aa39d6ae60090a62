//! Where the daemon listens: IPv4, IPv6, Unix sockets, several at a time.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use tokio::net::{TcpStream, UnixStream};
use tokio::process::Command;

use super::{authorization, body, builder, daemon};
use crate::support::daemon::Daemon;
use crate::support::files::Files;
use crate::support::raw::{Raw, Wire};
use crate::support::within;

async fn asks(socket: impl Wire + 'static, host: &str) {
    let mut raw = Raw::over(socket);
    let headers = [&authorization(), "content-type: application/json"];
    raw.ask("POST /graphql", host, &headers, &body("{__typename}")).await;
    let response = raw.next_response().await;
    assert_eq!((response.status, &*response.body), (200, r#"{"data":{"__typename":"Query"}}"#));
}

#[tokio::test]
async fn several_addresses_of_every_kind_are_served_at_once() {
    let files = Files::new();
    let path = files.path("socket");
    let listen = format!("127.0.0.1:0,[::1]:0,unix:{path},127.0.0.2:0");
    let mut daemon = builder().env("TIDINGS_LISTEN", &listen).start().await;
    let addresses = daemon.addresses(4).await;
    assert!(addresses[1].starts_with("[::1]:"), "{addresses:?}");
    assert_eq!(addresses[2], format!("unix:{path}"));
    for address in [&addresses[0], &addresses[1], &addresses[3]] {
        asks(TcpStream::connect(address).await.unwrap(), address).await;
    }
    asks(UnixStream::connect(&path).await.unwrap(), "localhost").await;
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660, "not for everybody");
    assert!(daemon.terminate().await.success());
    assert!(!std::path::Path::new(&path).exists(), "the file goes with its daemon");
}

#[tokio::test]
async fn the_file_of_a_daemon_that_was_killed_is_taken_over() {
    let files = Files::new();
    let path = files.path("socket");
    let settings = || {
        let settings = builder().env("TIDINGS_LISTEN", &format!("unix:{path}"));
        settings.env("TIDINGS_LISTEN_MODE", "600")
    };
    let first = settings().start().await;
    first.signal("KILL").await;
    within("the refusal of connections", async {
        while UnixStream::connect(&path).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(std::path::Path::new(&path).exists());
    let second = settings().start().await;
    asks(UnixStream::connect(&path).await.unwrap(), "localhost").await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(second.addresses(1).await, [format!("unix:{path}")]);
}

/// What a daemon says that cannot start.
async fn gives_up(listen: &str) -> String {
    let output = Command::new(std::env::var("TIDINGS_BIN").unwrap())
        .args(["serve", "--listen", listen, "--source", "memory", "--auth", "none"])
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = within("the daemon's end", output).await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn an_address_that_is_taken_is_told_and_left_alone() {
    let files = Files::new();
    let taken = files.path("taken");
    let _theirs = UnixListener::bind(&taken).unwrap();
    let told = gives_up(&format!("unix:{taken}")).await;
    assert!(told.contains("setting `listen`") && told.contains("another process listens there"), "{told}");
    let file = files.write("file", "precious");
    let told = gives_up(&format!("unix:{file}")).await;
    assert!(told.contains("a file that is no socket"), "{told}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    let told = gives_up(&format!("unix:{}", files.path("nowhere/socket"))).await;
    assert!(told.contains("No such file or directory"), "{told}");
    let daemon = daemon().await;
    let told = gives_up(&daemon.address).await;
    assert!(told.contains("Address already in use"), "{told}");
    let told = gives_up("unix:relative").await;
    assert!(told.contains("absolute path"), "{told}");
}

#[tokio::test]
async fn http1_connections_are_kept_for_many_requests() {
    let daemon: Daemon = daemon().await;
    let mut raw = Raw::connect(&daemon).await;
    let (headers, body) = ([&*authorization(), "content-type: application/json"], body("{__typename}"));
    for _ in 0..50 {
        raw.ask("POST /graphql", &daemon.address, &headers, &body).await;
        assert_eq!(raw.next_response().await.status, 200);
    }
    // Two at once are answered in order.
    let query = |alias: &str| format!("GET /graphql?query=%7B{alias}:__typename%7D");
    raw.ask(&query("first"), &daemon.address, &headers[..1], "").await;
    raw.ask(&query("second"), &daemon.address, &headers[..1], "").await;
    assert!(raw.next_response().await.body.contains("first"));
    assert!(raw.next_response().await.body.contains("second"));
    assert_eq!(daemon.metric("tidings_sockets").await, "2", "one, and the one that asks this");
}
