//! A running `tidings` process.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::log::Reader;
use super::within;

/// The secret that the daemons of this suite verify tokens with.
pub const SECRET: &str = "the test suite's secret, long enough for HS256";

/// What stands before an address in the log, as text and as JSON.
const ADDRESS: [&str; 2] = ["address=", "\"address\":\""];

/// A daemon, killed when dropped.
pub struct Daemon {
    child: Child,
    /// Host and port.
    pub address: String,
    log: Reader,
}

impl Drop for Daemon {
    /// Ends the daemon, and fails the test if it has logged what it must not.
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        self.log.finish();
    }
}

/// Starts daemons with settings of their own.
#[derive(Clone)]
pub struct Builder(BTreeMap<String, String>);

impl Builder {
    /// Sets an environment variable of the daemon.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// Starts the daemon and waits until it is ready.
    pub async fn start(self) -> Daemon {
        let daemon = self.spawn().await;
        daemon.wait_for_log("schema loaded").await;
        daemon
    }

    /// Starts the daemon and waits until it listens.
    pub async fn spawn(self) -> Daemon {
        let binary =
            std::env::var("TIDINGS_BIN").expect("TIDINGS_BIN names the daemon's binary; run `make test`");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let child = Command::new(binary)
            .arg("serve")
            .env_clear()
            .envs(&self.0)
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(writer.try_clone().expect("the pipe's other end"))
            .stderr(writer)
            .kill_on_drop(true)
            .spawn()
            .expect("the daemon starts");
        let mut daemon = Daemon { child, address: String::new(), log: Reader::start(reader) };
        daemon.address = daemon.addresses(1).await.remove(0);
        daemon
    }
}

impl Daemon {
    /// A daemon on a database, with JWT authentication and `admin` as admin role.
    pub fn builder(database_url: &str) -> Builder {
        Builder(BTreeMap::new())
            .env("TIDINGS_DATABASE_URL", database_url)
            .env("TIDINGS_LISTEN", "127.0.0.1:0")
            .env("TIDINGS_AUTH", "jwt")
            .env("TIDINGS_JWT_SECRET", SECRET)
            .env("TIDINGS_ADMIN_ROLES", "admin")
            // Much is logged, so that what must not be in a log is noticed.
            .env("TIDINGS_LOG_FILTER", "debug")
    }

    /// The usual daemon, ready.
    pub async fn start(database_url: &str) -> Self {
        Self::builder(database_url).start().await
    }

    /// The first addresses that it listens on, as many as asked for.
    pub async fn addresses(&self, count: usize) -> Vec<String> {
        self.wait_for_logs("listening", count).await;
        let lines = self.log();
        let address = |line: &str| {
            let after = ADDRESS.iter().find_map(|before| line.split_once(before))?.1;
            after.split(['"', ' ']).next().map(str::to_owned)
        };
        lines.lines().filter(|line| line.contains("listening")).filter_map(address).collect()
    }

    /// Sends it a signal.
    pub async fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().await.unwrap();
        assert!(sent.success());
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the daemon runs")
    }

    /// Waits for a log line with this text, past lines included.
    pub async fn wait_for_log(&self, text: &str) -> String {
        self.wait_for_logs(text, 1).await
    }

    /// Waits until that many log lines have this text; returns the last of them.
    pub async fn wait_for_logs(&self, text: &str, count: usize) -> String {
        within(&format!("{count} log lines with {text:?}"), async {
            loop {
                let log = &self.log.log;
                let grown = log.grown.notified();
                tokio::pin!(grown);
                grown.as_mut().enable();
                if let Some(line) = log.lines.lock().iter().filter(|line| line.contains(text)).nth(count - 1)
                {
                    return line.clone();
                }
                grown.await;
            }
        })
        .await
    }

    /// The value of the first metric whose line begins with this text.
    pub async fn metric(&self, name: &str) -> String {
        metric(&self.address, name).await
    }

    /// The memory that it holds, in KiB.
    pub fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Everything logged so far.
    pub fn log(&self) -> String {
        self.log.log.lines.lock().join("\n")
    }

    /// Kills it as nothing else does, and waits for the exit.
    pub async fn kill(&mut self) {
        within("the daemon's end", self.child.kill()).await.unwrap();
    }

    /// Sends SIGTERM and waits for the exit.
    pub async fn terminate(&mut self) -> std::process::ExitStatus {
        self.signal("TERM").await;
        within("the daemon's exit", self.child.wait()).await.unwrap()
    }
}

/// The same at an address.
pub async fn metric(address: &str, name: &str) -> String {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.get(format!("http://{address}/metrics")).send();
    let text = within("the metrics", request).await.unwrap().text().await.unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
    line.rsplit(' ').next().unwrap().to_owned()
}

/// A token for a user of a tenant, good for ten minutes.
pub fn token(user: &str, tenant: &str) -> String {
    token_of(json!({"sub": user, "tenant_id": tenant}), Duration::from_secs(600))
}

/// A token with these claims besides `exp`.
pub fn token_of(mut claims: Value, good_for: Duration) -> String {
    let expires = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + good_for;
    claims["exp"] = expires.as_secs().into();
    encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}
