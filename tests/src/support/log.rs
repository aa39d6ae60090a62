//! What a daemon writes: kept line by line, with a signal for each, and searched for secrets at its end.

use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::daemon::SECRET;

/// How every JSON Web Token begins, and each of its parts that is JSON: base64 of `{"`.
const TOKEN_BEGINS: &str = "eyJ";

/// The lines of one daemon.
#[derive(Default)]
pub struct Log {
    pub lines: Mutex<Vec<String>>,
    pub grown: Notify,
}

/// A log that is being written.
pub struct Reader {
    pub log: Arc<Log>,
    reading: Option<JoinHandle<()>>,
}

impl Reader {
    /// Reads until nobody can write any more. A thread of its own, so that nothing is lost with a test's runtime.
    pub fn start(output: PipeReader) -> Self {
        let log = Arc::new(Log::default());
        let (writing, mut copy) = (log.clone(), copy());
        let reading = std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                if let Some(copy) = &mut copy {
                    let _ = writeln!(copy, "{line}");
                }
                writing.lines.lock().push(line);
                writing.grown.notify_waiters();
            }
        });
        Self { log, reading: Some(reading) }
    }

    /// Waits for the last line, which comes once the daemon has gone, and looks for what must not be there.
    pub fn finish(&mut self) {
        if let Some(reading) = self.reading.take() {
            let _ = reading.join();
        }
        if std::thread::panicking() {
            return;
        }
        let secrets: Vec<_> = self.log.lines.lock().iter().filter(|line| tells(line)).cloned().collect();
        assert!(secrets.is_empty(), "the daemon's log tells a token or its secret: {secrets:#?}");
    }
}

/// Whether a line has a token, a part of one, or what the suite's tokens are signed with.
pub fn tells(line: &str) -> bool {
    line.contains(TOKEN_BEGINS) || line.contains(SECRET)
}

/// The logs of a run may be kept in one folder, to be searched once more at its end.
fn copy() -> Option<File> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let folder = PathBuf::from(std::env::var_os("TIDINGS_TEST_LOGS")?);
    std::fs::create_dir_all(&folder).expect("the folder of TIDINGS_TEST_LOGS");
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    Some(File::create(folder.join(format!("daemon-{}-{number}.log", std::process::id()))).expect("a log"))
}

#[test]
fn tokens_and_their_secret_are_found() {
    let token = super::daemon::token("alice", "acme");
    let payload = token.split('.').nth(1).unwrap();
    assert!(tells(&format!("INFO refused token={token}")) && tells(&format!("claims {payload}")));
    assert!(tells(SECRET) && !tells("INFO tidings_daemon: connection opened connection=0011223344556677"));
}
