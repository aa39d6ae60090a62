//! A PostgreSQL server of a test's own, for tests that restart it or make it crash.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A running server; stopped and removed when dropped.
pub struct Cluster {
    directory: PathBuf,
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// Settings besides those that all have.
    settings: &'static str,
    /// Variables of its processes.
    environment: Vec<(&'static str, String)>,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Cluster {
    /// Makes and starts a server for which the extension is installed.
    pub fn start() -> Self {
        Self::start_with("", Vec::new())
    }

    /// The same with settings and environment variables of its own.
    pub fn start_with(settings: &'static str, environment: Vec<(&'static str, String)>) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("tidings-cluster-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        let port = free_port(number);
        let data = directory.to_str().unwrap();
        run(server("initdb").args(["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]));
        let cluster = Self { directory, port, settings, environment };
        cluster.pg_ctl("start");
        cluster
    }

    /// The URL of a database as superuser.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Starts, stops or restarts the server, and waits until that is done.
    pub fn pg_ctl(&self, action: &str) {
        // Nothing but the test itself shall write WAL or use up xids: the crash test depends on it.
        let options = format!(
            "-p {} -k {} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=200 -c autovacuum=off \
             -c wal_level=minimal -c max_wal_senders=0 -c checkpoint_timeout=1h {}",
            self.port,
            self.directory.display(),
            self.settings
        );
        let data = self.directory.to_str().unwrap();
        let log = self.directory.join("server.log");
        let log = log.to_str().unwrap();
        // The server must not inherit our pipes: waiting for their end would wait for the server.
        run(server("pg_ctl")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .args(["-D", data, "-l", log, "-o", &options, "-w", "-t", "60", "-m", "fast", action]));
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("server.log")).expect("the server's log can be read")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let data = self.directory.to_str().unwrap();
        let _ = quiet(server("pg_ctl").args(["-D", data, "-m", "immediate", "-w", "stop"])).status();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A port that nobody listens on now, below those that the kernel hands out to clients: the server
/// must find it free again after a restart.
fn free_port(number: u32) -> u16 {
    let first = 20_000 + (std::process::id() * 16 + number * 97) % 10_000;
    (first..first + 2_000)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("one of two thousand ports is free")
}

/// Sends a signal to a process of a server.
pub fn signal(name: &str, pid: &str) {
    run(Command::new("kill").args([&format!("-{name}"), pid]));
}

/// A program of the server; as its user if we are root, because PostgreSQL refuses root.
fn server(program: &str) -> Command {
    let binaries = std::env::var("TIDINGS_TEST_PGBIN").expect("TIDINGS_TEST_PGBIN; run `make test`");
    let path = format!("{binaries}/{program}");
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    let mut command = if is_root {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--", &path]);
        command
    } else {
        Command::new(path)
    };
    command.current_dir(std::env::temp_dir());
    command
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

fn run(command: &mut Command) {
    let status = quiet(command).status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}
