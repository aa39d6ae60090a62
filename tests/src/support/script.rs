//! The scripts of `tests/clients`, which print lines of JSON.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::within;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// A running script, killed when dropped.
pub struct Script {
    lines: Lines<BufReader<ChildStdout>>,
    child: Child,
}

impl Script {
    /// Starts a script for a subscription that ends after so many results.
    pub fn start(name: &str, url: &str, query: &str, token: &str, count: &str) -> Self {
        Self::start_with(name, url, query, token, &["--count", count])
    }

    /// Starts a script with further arguments.
    pub fn start_with(name: &str, url: &str, query: &str, token: &str, more: &[&str]) -> Self {
        assert!(
            directory().join("node_modules").exists(),
            "the npm clients are not installed; run `make test`"
        );
        Self::run(Path::new("node"), name, url, query, token, more)
    }

    /// The same for a script in Python.
    pub fn start_python(name: &str, url: &str, query: &str, token: &str, more: &[&str]) -> Self {
        let python = std::env::var("TIDINGS_TEST_PYTHON")
            .expect("TIDINGS_TEST_PYTHON names a Python with the clients' packages; run `make test`");
        Self::run(Path::new(&python), name, url, query, token, more)
    }

    fn run(program: &Path, name: &str, url: &str, query: &str, token: &str, more: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args([name, url, query, "--token", token])
            .args(more)
            .current_dir(directory())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { lines, child }
    }

    /// The next line, unless the script has ended.
    pub async fn next(&mut self) -> Option<Value> {
        let line = within("a line of the client", self.lines.next_line()).await.unwrap();
        line.map(|line| serde_json::from_str(&line).unwrap())
    }

    /// The next line, which must come.
    pub async fn line(&mut self) -> Value {
        self.next().await.expect("the client goes on")
    }

    /// Waits for the end, which must be a good one.
    pub async fn succeeds(&mut self) {
        let status = within("the client's exit", self.child.wait()).await.unwrap();
        assert!(status.success());
    }
}
