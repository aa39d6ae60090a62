//! TLS: protocols by ALPN, a certificate that is read again, and handshakes that come to nothing.

use std::process::Stdio;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::Command;

use super::{NEWS, authorization, body, builder};
use crate::support::certificates::{Authority, Certificate};
use crate::support::daemon::{Builder, Daemon};
use crate::support::files::Files;
use crate::support::http2::Http2;
use crate::support::raw::{Raw, Wire};
use crate::support::within;

/// Where the daemon finds its certificate.
struct Place {
    files: Files,
    certificate: String,
    key: String,
}

impl Place {
    fn with(first: &Certificate) -> Self {
        let files = Files::new();
        let certificate = files.write("certificate.pem", &first.certificate);
        let key = files.write("key.pem", &first.key);
        Self { files, certificate, key }
    }

    fn settings(&self) -> Builder {
        // What operators ask for must be found over plain HTTP.
        let settings = builder().env("TIDINGS_TLS_CERTIFICATE", &self.certificate);
        let operators = format!("unix:{}", self.files.path("operators"));
        settings.env("TIDINGS_TLS_KEY", &self.key).env("TIDINGS_ADMIN_LISTEN", &operators)
    }

    /// Puts other files in the place of the old ones, at once each, as tools do.
    fn put(&self, certificate: &str, key: &str) {
        for (path, content) in [(&self.certificate, certificate), (&self.key, key)] {
            let new = self.files.write("new", content);
            std::fs::rename(new, path).unwrap();
        }
    }

    async fn metric(&self, name: &str) -> String {
        let socket = tokio::net::UnixStream::connect(self.files.path("operators")).await.unwrap();
        let mut raw = Raw::over(socket);
        raw.ask("GET /metrics", "localhost", &[], "").await;
        let text = raw.next_response().await.body;
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.rsplit(' ').next()).unwrap_or("0").to_owned()
    }
}

async fn answers(socket: impl Wire + 'static) -> crate::support::raw::Response {
    let mut raw = Raw::over(socket);
    let headers = [&authorization(), "content-type: application/json"];
    raw.ask("POST /graphql", "localhost", &headers, &body("{__typename}")).await;
    raw.next_response().await
}

#[tokio::test]
async fn alpn_chooses_the_protocol() {
    let authority = Authority::new();
    let place = Place::with(&authority.certificate());
    let mut daemon = place.settings().start().await;
    for (offered, chosen) in
        [(&["h2", "http/1.1"][..], Some("h2")), (&["http/1.1"], Some("http/1.1")), (&[], None)]
    {
        let socket = authority.connect(&daemon.address, offered).await.unwrap();
        let agreed = socket.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        assert_eq!(agreed.as_deref(), chosen.map(str::as_bytes));
        if chosen == Some("h2") {
            let mut client = Http2::over(socket, "localhost").await;
            let authorization = authorization();
            let (_, token) = authorization.split_once(": ").unwrap();
            let headers = [("authorization", token), ("accept", "text/event-stream")];
            let mut stream =
                client.request(http::Method::GET, "/graphql?query=%7B__typename%7D", &headers, "").await;
            stream.until("event: complete").await;
            assert_eq!(stream.headers["strict-transport-security"], "max-age=31536000");
        } else {
            let response = answers(socket).await;
            assert_eq!(response.status, 200);
            assert_eq!(response.header("strict-transport-security"), Some("max-age=31536000"));
        }
    }
    assert!(authority.connect(&daemon.address, &["http/0.9"]).await.is_err(), "no protocol in common");
    daemon.terminate().await;
    let silent = place.settings().env("TIDINGS_TLS_HSTS_S", "0").start().await;
    let socket = authority.connect(&silent.address, &[]).await.unwrap();
    assert_eq!(answers(socket).await.header("strict-transport-security"), None);
}

#[tokio::test]
async fn a_new_certificate_is_noticed_and_streams_go_on() {
    let (old, new) = (Authority::new(), Authority::new());
    let place = Place::with(&old.certificate());
    let daemon = place.settings().start().await;
    let mut stream = Raw::over(old.connect(&daemon.address, &[]).await.unwrap());
    let headers = [&*authorization(), "accept: text/event-stream", "content-type: application/json"];
    stream.ask("POST /graphql", "localhost", &headers, &body(NEWS)).await;
    stream.until("id: ").await;
    let next = new.certificate();
    place.put(&next.certificate, &next.key);
    daemon.wait_for_log("certificate read again").await;
    assert_eq!(answers(new.connect(&daemon.address, &[]).await.unwrap()).await.status, 200);
    assert!(old.connect(&daemon.address, &[]).await.is_err(), "the old one is not used any more");
    // The stream of before is still there: a keep-alive comes.
    stream.until("\r\n:\n\n\r\n").await;
    assert_eq!(place.metric("tidings_tls_certificate_reads_total{outcome=\"ok\"}").await, "1");
}

#[tokio::test]
async fn sighup_reads_the_certificate_at_once_and_what_is_bad_changes_nothing() {
    let authority = Authority::new();
    let first = authority.certificate();
    let place = Place::with(&first);
    let daemon = place.settings().start().await;
    daemon.signal("HUP").await;
    daemon.wait_for_log("certificate read again").await;

    let another = authority.certificate();
    let refused = [
        ("no certificate here", &*first.key, "holds no certificate in PEM form"),
        (&*first.certificate, "no key here", "holds no private key in PEM form"),
        // Certificate and key of different pairs, as in the middle of an exchange.
        (&*another.certificate, &*first.key, "the key of `tls.key` cannot be used"),
    ];
    for (count, (certificate, key, told)) in refused.into_iter().enumerate() {
        place.put(certificate, key);
        daemon.signal("HUP").await;
        // Whoever looks first tells; a signal always does.
        let line = daemon.wait_for_logs(told, 1).await;
        assert!(line.contains("the old one stays"), "{line}");
        assert!(!line.contains("BEGIN"), "{line}");
        assert_eq!(answers(authority.connect(&daemon.address, &[]).await.unwrap()).await.status, 200);
        let failed = place.metric("tidings_tls_certificate_reads_total{outcome=\"failed\"}").await;
        assert!(failed.parse::<usize>().unwrap() > count, "{failed}");
    }
    std::fs::remove_file(&place.key).unwrap();
    daemon.signal("HUP").await;
    daemon.wait_for_log("of setting `tls.key` cannot be read").await;
    assert_eq!(answers(authority.connect(&daemon.address, &[]).await.unwrap()).await.status, 200);
}

#[tokio::test]
async fn handshakes_that_come_to_nothing_are_counted_and_end() {
    let authority = Authority::new();
    let place = Place::with(&authority.certificate());
    let daemon = place.settings().env("TIDINGS_LIMITS_REQUEST_S", "1").start().await;
    let counted = async |outcome: &str| {
        place.metric(&format!("tidings_tls_handshakes_total{{outcome=\"{outcome}\"}}")).await
    };
    // Plain HTTP, garbage, and somebody who does not trust the certificate.
    for bytes in ["GET / HTTP/1.1\r\nhost: localhost\r\n\r\n", "\u{16}\u{3}\u{1}garbage\u{0}\u{0}\u{0}"] {
        let mut raw = Raw::over(TcpStream::connect(&daemon.address).await.unwrap());
        raw.write(bytes.as_bytes()).await;
        raw.until_closed().await;
    }
    assert!(Authority::new().connect(&daemon.address, &[]).await.is_err());
    assert!(authority.connect(&daemon.address, &["spdy/1"]).await.is_err());
    // Nothing at all, and half a hello.
    for bytes in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00"] {
        let mut raw = Raw::over(TcpStream::connect(&daemon.address).await.unwrap());
        raw.write(bytes).await;
        raw.until_closed().await;
    }
    // A handshake, and no request after it.
    for protocols in [&[][..], &["h2"]] {
        let socket = authority.connect(&daemon.address, protocols).await.unwrap();
        Raw::over(socket).until_closed().await;
    }
    assert_eq!((counted("failed").await, counted("timeout").await), ("4".into(), "2".into()));
    assert_eq!(counted("ok").await, "2");
    assert_eq!(place.metric("tidings_listener_limits_total{limit=\"head\"}").await, "4");
    within("the sockets' end", async {
        while place.metric("tidings_sockets ").await != "1" {
            // A gauge tells nobody that it has changed.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

async fn run(command: &str, settings: &[(&str, &str)]) -> (bool, String) {
    let output = Command::new(std::env::var("TIDINGS_BIN").unwrap())
        .args([command, "--source", "memory", "--auth", "none"])
        .env_clear()
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = within("the command", output).await.unwrap();
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.success(), told)
}

#[tokio::test]
async fn what_cannot_be_a_certificate_keeps_the_daemon_from_starting() {
    let place = Place::with(&Authority::new().certificate());
    let (certificate, key) = ("TIDINGS_TLS_CERTIFICATE", "TIDINGS_TLS_KEY");
    let good = [(certificate, &*place.certificate), (key, &*place.key)];
    let (ok, told) = run("check", &good).await;
    assert!(ok && told.contains("certificate:   ok") && told.contains("https://127.0.0.1:4000"), "{told}");
    for command in ["check", "serve"] {
        let (ok, told) = run(command, &good[..1]).await;
        assert!(!ok && told.contains("`tls.certificate` and `tls.key` need each other"), "{told}");
        let (ok, told) = run(command, &[(certificate, &place.key), (key, &place.key)]).await;
        assert!(!ok && told.contains("of setting `tls.certificate` holds no certificate"), "{told}");
        let (ok, told) = run(command, &[good[0], (key, "/nowhere/key.pem")]).await;
        assert!(!ok && told.contains("/nowhere/key.pem of setting `tls.key` cannot be read"), "{told}");
        let other = Place::with(&Authority::new().certificate());
        let (ok, told) = run(command, &[good[0], (key, &other.key)]).await;
        assert!(!ok && told.contains("cannot be used"), "{told}");
    }
}

#[tokio::test]
async fn a_unix_socket_has_no_tls() {
    let place = Place::with(&Authority::new().certificate());
    let path = place.files.path("endpoint");
    let _daemon: Daemon = place.settings().env("TIDINGS_LISTEN", &format!("unix:{path}")).start().await;
    assert_eq!(answers(tokio::net::UnixStream::connect(&path).await.unwrap()).await.status, 200);
}
