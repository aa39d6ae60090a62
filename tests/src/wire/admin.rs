//! The operators' pages: who gets them, and who does not whatever he sends.

use tokio::net::{TcpStream, UnixStream};

use super::{alice, builder, daemon};
use crate::support::files::Files;
use crate::support::raw::{Raw, Response, Wire};

const TOKEN: &str = "an-operators-token-of-enough-bytes-0123456789";
const PAGES: [&str; 4] = ["/metrics", "/readyz", "/admin", "/admin/api/connections"];

async fn get(socket: impl Wire + 'static, path: &str, host: &str, headers: &[&str]) -> Response {
    let mut raw = Raw::over(socket);
    raw.ask(&format!("GET {path}"), host, headers, "").await;
    raw.next_response().await
}

async fn tcp(address: &str, path: &str, host: &str, headers: &[&str]) -> u16 {
    get(TcpStream::connect(address).await.unwrap(), path, host, headers).await.status
}

#[tokio::test]
async fn without_a_token_only_this_machine_gets_in() {
    let daemon = daemon().await;
    let address = &daemon.address;
    for path in PAGES {
        let found = if path.starts_with("/admin") { 404 } else { 200 };
        assert_eq!(tcp(address, path, address, &[]).await, found, "{path}");
        // Whoever a proxy speaks for is elsewhere, and no header makes anybody local.
        for header in [
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-for: ",
            "forwarded: for=127.0.0.1",
            "x-real-ip: ::1",
            "via: 1.1 proxy",
            "x-forwarded-host: localhost",
        ] {
            assert_eq!(tcp(address, path, address, &[header]).await, 403, "{path} {header}");
        }
        // A page of a foreign name that was made to mean this machine.
        assert_eq!(tcp(address, path, "rebound.example:4000", &[]).await, 403, "{path}");
    }
    assert_eq!(tcp(address, "/healthz", "rebound.example", &["x-forwarded-for: 192.0.2.1"]).await, 200);
    let refused = daemon.metric("tidings_admin_refusals_total{reason=\"not_local\"}").await;
    assert_eq!(refused, (PAGES.len() * 7).to_string());
}

#[tokio::test]
async fn whoever_comes_by_the_endpoints_unix_socket_is_not_local() {
    let files = Files::new();
    let path = files.path("socket");
    let _daemon = builder().env("TIDINGS_LISTEN", &format!("unix:{path}")).start().await;
    let ask = async |page: &str| {
        get(UnixStream::connect(&path).await.unwrap(), page, "localhost", &[]).await.status
    };
    assert_eq!(ask("/healthz").await, 200);
    for page in PAGES {
        assert_eq!(ask(page).await, 403, "{page}");
    }
}

#[tokio::test]
async fn with_a_token_nothing_else_counts() {
    let daemon = builder().env("TIDINGS_ADMIN_TOKEN", TOKEN).start().await;
    let address = &daemon.address;
    let good = format!("authorization: Bearer {TOKEN}");
    let jwt = format!("authorization: Bearer {}", alice());
    let cut = format!("authorization: Bearer {}", &TOKEN[..TOKEN.len() - 1]);
    for path in PAGES {
        let found = if path.starts_with("/admin") { 404 } else { 200 };
        let ask = async |headers: &[&str]| tcp(address, path, address, headers).await;
        assert_eq!(ask(&[&good]).await, found, "{path}");
        assert_eq!(ask(&[&good, "x-forwarded-for: 192.0.2.1"]).await, found, "{path}");
        for headers in [&[][..], &[&*jwt], &[&*cut], &[&*good, &*good], &[&*jwt, &*good], &["cookie: x"]] {
            assert_eq!(ask(headers).await, 401, "{path} {headers:?}");
        }
    }
    let refused = get(TcpStream::connect(address).await.unwrap(), "/metrics", address, &[]).await;
    assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"tidings admin\""));
    assert_eq!(tcp(address, "/graphql?query=%7B__typename%7D", address, &[&good]).await, 401, "no client's");
    assert!(!daemon.log().contains(TOKEN));
}

#[tokio::test]
async fn operators_can_have_addresses_of_their_own() {
    let files = Files::new();
    let path = files.path("admin");
    let settings = builder().env("TIDINGS_ADMIN_LISTEN", &format!("127.0.0.1:0,unix:{path}"));
    let daemon = settings.env("TIDINGS_ADMIN_TOKEN", TOKEN).start().await;
    let addresses = daemon.addresses(3).await;
    let (endpoint, operators) = (&addresses[0], &addresses[1]);
    for page in PAGES {
        assert_eq!(tcp(endpoint, page, endpoint, &[&format!("authorization: Bearer {TOKEN}")]).await, 404);
    }
    assert_eq!(tcp(endpoint, "/healthz", endpoint, &[]).await, 200);
    assert_eq!(tcp(operators, "/graphql", operators, &[]).await, 404);
    assert_eq!(tcp(operators, "/metrics", operators, &[]).await, 401);
    assert_eq!(tcp(operators, "/readyz", operators, &[]).await, 200, "what checks health knows no token");
    let unix = async |page: &str| {
        get(UnixStream::connect(&path).await.unwrap(), page, "localhost", &[]).await.status
    };
    assert_eq!((unix("/metrics").await, unix("/readyz").await), (200, 200), "its file says who may");
}
