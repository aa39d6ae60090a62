//! The page and its files as HTTP answers.

use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Method, Response, StatusCode};

use crate::support::daemon::{Builder, Daemon};
use crate::support::within;

/// What Chromium sends when an address is typed in.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";

fn builder() -> Builder {
    Daemon::builder("postgres://nobody@localhost/nothing").env("TIDINGS_SOURCE", "memory")
}

async fn ask(daemon: &Daemon, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    let request = reqwest::Client::new().request(method, format!("http://{}{path}", daemon.address));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    within("a response", request.send()).await.unwrap()
}

async fn get(daemon: &Daemon, path: &str, headers: &[(&str, &str)]) -> Response {
    ask(daemon, Method::GET, path, headers).await
}

async fn visit(daemon: &Daemon, path: &str) -> Response {
    get(daemon, path, &[("accept", BROWSER)]).await
}

fn header(headers: &HeaderMap, name: impl Into<String>) -> String {
    let name: HeaderName = name.into().parse().unwrap();
    headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join(", ")
}

/// The addresses in a page that are quoted and start with a slash.
fn addresses(page: &str) -> Vec<&str> {
    page.split('"').filter(|text| text.starts_with('/')).collect()
}

#[tokio::test]
async fn a_browser_gets_the_page_and_everybody_else_what_they_ask_for() {
    let daemon = builder().start().await;
    for path in ["/graphql", "/graphql/stream", "/graphql?x=1"] {
        let page = visit(&daemon, path).await;
        assert_eq!(header(page.headers(), "content-type"), "text/html; charset=utf-8", "{path}");
    }
    for (path, accept) in [
        ("/graphql?query=%7B__typename%7D", BROWSER),
        ("/graphql", "*/*"),
        ("/graphql", "application/json"),
        ("/graphql", "text/html, application/json"),
        ("/graphql", "text/html;q=0.5, */*"),
        ("/graphql", "text/html, text/event-stream"),
        ("/graphql?token=x", BROWSER),
    ] {
        let answer = get(&daemon, path, &[("accept", accept)]).await;
        let media = header(answer.headers(), "content-type");
        assert_eq!(media, "application/json; charset=utf-8", "{path} {accept}");
    }
    assert_eq!(ask(&daemon, Method::POST, "/graphql", &[("accept", "text/html")]).await.status(), 406);
}

#[tokio::test]
async fn the_page_may_load_from_its_own_host_only() {
    let page = visit(&builder().start().await, "/graphql").await;
    let headers = page.headers().clone();
    let policy = header(&headers, "content-security-policy");
    assert!(
        policy.starts_with("default-src 'none';") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    assert_eq!(header(&headers, "x-content-type-options"), "nosniff");
    assert_eq!(header(&headers, "referrer-policy"), "no-referrer");
    assert_eq!(header(&headers, "x-frame-options"), "DENY");
    assert_eq!(header(&headers, "cache-control"), "no-cache");
    assert_eq!(header(&headers, "vary"), "accept-encoding, accept, origin");
    let text = page.text().await.unwrap();
    assert!(!text.contains("//"), "{text}");
}

#[tokio::test]
async fn files_are_packed_for_those_who_take_it_and_kept_for_ever() {
    let daemon = builder().start().await;
    let page = visit(&daemon, "/graphql").await.text().await.unwrap();
    assert_eq!(addresses(&page).len(), 4, "{page}");
    for path in addresses(&page) {
        let packed = get(&daemon, path, &[("accept-encoding", "br;q=1.0, gzip;q=0.8, *;q=0.1")]).await;
        let plain = get(&daemon, path, &[("accept-encoding", "gzip;q=0")]).await;
        assert_eq!(header(packed.headers(), "content-encoding"), "gzip", "{path}");
        assert_eq!(header(plain.headers(), "content-encoding"), "", "{path}");
        assert_eq!(header(plain.headers(), "cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(header(plain.headers(), "vary"), "accept-encoding, origin");
        let (packed, plain) = (packed.bytes().await.unwrap(), plain.text().await.unwrap());
        assert!(packed.starts_with(&[0x1f, 0x8b]) && packed.len() < plain.len(), "{path}");
    }
    assert_eq!(get(&daemon, "/graphql/ui/nothing.js", &[]).await.status(), 404);
    assert_eq!(get(&daemon, "/graphql/ui/page.html", &[]).await.status(), 404);
}

#[tokio::test]
async fn who_has_a_file_is_not_sent_it_again() {
    let daemon = builder().start().await;
    let page = visit(&daemon, "/graphql").await;
    let tag = header(page.headers(), "etag");
    let again = get(&daemon, "/graphql", &[("accept", BROWSER), ("if-none-match", &tag)]).await;
    assert_eq!((again.status(), header(again.headers(), "etag")), (StatusCode::NOT_MODIFIED, tag));
    assert!(again.bytes().await.unwrap().is_empty());
    let other = get(&daemon, "/graphql", &[("accept", BROWSER), ("if-none-match", "\"x\"")]).await;
    assert_eq!(other.status(), 200);
}

#[tokio::test]
async fn head_says_what_get_would() {
    let daemon = builder().start().await;
    let page = visit(&daemon, "/graphql").await;
    let length = header(page.headers(), "content-length");
    let text = page.text().await.unwrap();
    let head = ask(&daemon, Method::HEAD, "/graphql", &[("accept", BROWSER)]).await;
    assert_eq!((head.status(), header(head.headers(), "content-length")), (StatusCode::OK, length));
    for path in addresses(&text) {
        assert_eq!(ask(&daemon, Method::HEAD, path, &[]).await.status(), 200, "{path}");
        assert_eq!(ask(&daemon, Method::POST, path, &[]).await.status(), 405, "{path}");
    }
}

#[tokio::test]
async fn without_graphiql_a_browser_is_a_client_like_any_other() {
    let daemon = builder().env("TIDINGS_GRAPHIQL", "false").start().await;
    let answer = visit(&daemon, "/graphql").await;
    assert_eq!(answer.status(), 400);
    assert_eq!(header(answer.headers(), "content-type"), "application/json; charset=utf-8");
    let page = visit(&builder().start().await, "/graphql").await.text().await.unwrap();
    for path in addresses(&page) {
        assert_eq!(get(&daemon, path, &[]).await.status(), 404, "{path}");
    }
}
