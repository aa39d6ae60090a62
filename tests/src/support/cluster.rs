//! A PostgreSQL server of a test's own, for tests that restart it, make it crash or promote its standby.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::database::STEP_TIME_MAX;

/// A running server; stopped and removed when dropped.
pub struct Cluster {
    directory: PathBuf,
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// Whether something may follow it.
    followed: &'static str,
    /// Settings besides.
    settings: &'static str,
    /// Variables of its processes.
    environment: Vec<(&'static str, String)>,
}

/// Nothing but the test itself shall write WAL or use up xids: the crash test depends on it.
const ALONE: &str = "-c wal_level=minimal -c max_wal_senders=0";

/// Something may follow it.
const FOLLOWED: &str = "-c wal_level=replica -c max_wal_senders=4 -c wal_keep_size=1GB";

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Cluster {
    /// Makes and starts a server for which the extension is installed.
    pub fn start() -> Self {
        Self::start_with("", Vec::new())
    }

    /// The same with settings and environment variables of its own.
    pub fn start_with(settings: &'static str, environment: Vec<(&'static str, String)>) -> Self {
        let mut cluster = Self::unmade(ALONE);
        (cluster.settings, cluster.environment) = (settings, environment);
        cluster.made()
    }

    /// The same, and standbys can be made of it.
    pub fn start_primary() -> Self {
        Self::unmade(FOLLOWED).made()
    }

    fn made(self) -> Self {
        run(server("initdb").args([
            "-D",
            self.data(),
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]));
        self.pg_ctl("start");
        self
    }

    /// A streaming standby of this server, started. It reaches the server by a port, which may be a proxy's.
    pub fn standby_by(&self, port: u16) -> Self {
        let standby = Self::unmade(FOLLOWED);
        let from = format!("postgres://postgres@127.0.0.1:{port}");
        run(server("pg_basebackup").args([
            "-D",
            standby.data(),
            "-d",
            &from,
            "-X",
            "stream",
            "-c",
            "fast",
            "-R",
            "--no-sync",
        ]));
        standby.pg_ctl("start");
        standby
    }

    fn unmade(followed: &'static str) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("tidings-cluster-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        let port = free_port(number);
        Self { directory, port, followed, settings: "", environment: Vec::new() }
    }

    fn data(&self) -> &str {
        self.directory.to_str().unwrap()
    }

    /// The URL of a database as superuser.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Starts, stops, restarts or promotes the server, and waits until that is done.
    pub fn pg_ctl(&self, action: &str) {
        let data = self.data();
        let options = format!(
            "-p {} -k {data} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=200 -c autovacuum=off \
             -c checkpoint_timeout=1h {} {}",
            self.port, self.followed, self.settings
        );
        let log = self.directory.join("server.log");
        let log = log.to_str().unwrap();
        // The server must not inherit our pipes: waiting for their end would wait for the server.
        let done = quiet(
            server("pg_ctl")
                .envs(self.environment.iter().map(|(name, value)| (name, value)))
                .args(["-D", data, "-l", log, "-o", &options, "-w", "-t", "60", "-m", "fast", action]),
        )
        .status()
        .unwrap();
        assert!(done.success(), "{action}: {}", std::fs::read_to_string(log).unwrap_or_default());
    }

    /// Keeps the files of the stopped server as they are now.
    pub fn save(&self) {
        run(Command::new("cp").args(["-a", self.data(), &self.saved()]));
    }

    /// Makes the files of the stopped server what they were.
    pub fn put_back(&self) {
        std::fs::remove_dir_all(&self.directory).unwrap();
        std::fs::rename(self.saved(), &self.directory).unwrap();
    }

    fn saved(&self) -> String {
        format!("{}-saved", self.data())
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("server.log")).expect("the server's log can be read")
    }

    /// Sets how large a file may become that its processes write, and those that begin from now on.
    pub fn limit_files(&self, bytes: &str) {
        for pid in self.processes() {
            // Some may have ended meanwhile.
            let limit = format!("--fsize={bytes}:unlimited");
            let _ = quiet(as_user_of_server("prlimit").args(["--pid", &pid, &limit])).status();
        }
    }

    /// Its processes, of which the first is the parent of the others.
    fn processes(&self) -> Vec<String> {
        let file = std::fs::read_to_string(self.directory.join("postmaster.pid")).expect("the server runs");
        let postmaster = file.lines().next().expect("it begins with the process").to_owned();
        let mut all = children(&postmaster);
        all.insert(0, postmaster);
        all
    }

    /// Kills all of its processes at once, as a machine that loses its power does.
    pub fn kill(&self) {
        // The parent comes first: it must not tidy up after the others, some of which go by themselves then.
        let all = self.processes();
        let _ = quiet(Command::new("kill").arg("-KILL").args(&all)).status();
        let began = Instant::now();
        // A process whose end its parent has not looked at still counts for the next server.
        while all.iter().any(|pid| parent(pid).is_some()) {
            assert!(began.elapsed() < STEP_TIME_MAX, "the killed server is still there");
            std::thread::yield_now();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = quiet(server("pg_ctl").args(["-D", self.data(), "-m", "immediate", "-w", "stop"])).status();
        let _ = std::fs::remove_dir_all(&self.directory);
        let _ = std::fs::remove_dir_all(self.saved());
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

/// The parent of a process, if it is there.
fn parent(pid: &str) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, which may hold anything, is in parentheses before it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1).map(str::to_owned)
}

fn children(of: &str) -> Vec<String> {
    let all =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    all.filter(|pid| parent(pid).is_some_and(|parent| parent == of)).collect()
}

/// Sends a signal to a process of a server.
pub fn signal(name: &str, pid: &str) {
    run(Command::new("kill").args([&format!("-{name}"), pid]));
}

/// A program of the server, as its user.
fn server(program: &str) -> Command {
    let binaries = std::env::var("TIDINGS_TEST_PGBIN").expect("TIDINGS_TEST_PGBIN; run `make test`");
    as_user_of_server(&format!("{binaries}/{program}"))
}

/// A program; as another user if we are root, because PostgreSQL refuses root.
fn as_user_of_server(program: &str) -> Command {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    let mut command = if is_root {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--", program]);
        command
    } else {
        Command::new(program)
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
