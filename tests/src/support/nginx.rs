//! An nginx of a test's own.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use super::files::Files;
use super::within;

/// A running nginx, killed when dropped.
pub struct Nginx {
    /// Host and port.
    pub address: String,
    _files: Files,
    child: Child,
}

impl Nginx {
    /// Starts one with these lines in its `http` block, which are told the port to listen on.
    pub async fn start(http: impl FnOnce(u16) -> String) -> Self {
        let binary =
            std::env::var("TIDINGS_TEST_NGINX").expect("TIDINGS_TEST_NGINX names nginx; run `make test`");
        let files = Files::new();
        // Free a moment ago; nothing else in these tests asks for a port by number.
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let is_root = std::process::Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
        let user = if is_root { "user root;" } else { "" };
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {kind};\n"))
            .concat();
        let configuration = format!(
            "{user}\ndaemon off;\nworker_processes 1;\npid nginx.pid;\nerror_log stderr notice;\n\
             events {{ worker_connections 2048; }}\n\
             http {{\naccess_log off;\n{temporary}{}\n}}\n",
            http(port)
        );
        let path = files.write("nginx.conf", &configuration);
        let mut child = Command::new(binary)
            .args(["-e", "stderr", "-p", &files.path(""), "-c", &path])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(false)
            .spawn()
            .expect("nginx starts");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut told = Vec::new();
        within("nginx", async {
            // The sockets are open before there are workers.
            while !told.last().is_some_and(|line: &String| line.contains("start worker process ")) {
                let line = lines.next_line().await.unwrap();
                told.push(line.unwrap_or_else(|| panic!("nginx does not start: {told:?}\n{configuration}")));
            }
        })
        .await;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { address: format!("127.0.0.1:{port}"), _files: files, child }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // A master that is killed leaves its workers; one that is asked takes them along.
        if let Some(pid) = self.child.id() {
            let _ = std::process::Command::new("kill").args(["-TERM", &pid.to_string()]).status();
        }
    }
}
