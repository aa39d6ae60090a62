//! The floor: a loop that does one write per subscriber and event, and nothing else.
//!
//! What comes in by NOTIFY goes out as server-sent events. There is no GraphQL, nobody is asked who they are, nothing is
//! buffered and nobody is too slow. It says what the system calls cost that a server cannot avoid when events come one
//! by one. In bursts a server can be cheaper than this, because it may put many events into one write.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use futures_util::StreamExt;
use tidings_benches::notifications::{self, Payload};
use tokio_postgres::AsyncMessage;

/// Bytes of a request.
const REQUEST_BYTES_MAX: usize = 4_096;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n:\n\n";

/// Serves the events of the database's channel `bench`.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
    /// The database.
    #[arg(long)]
    database_url: String,
}

/// Sockets by the path that they asked for.
type Subscribers = Arc<Mutex<HashMap<String, Vec<TcpStream>>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let subscribers = Subscribers::default();
    let (client, mut messages) = notifications::connect(&arguments.database_url).await?;
    let listener = TcpListener::bind(arguments.listen).context("the address")?;
    let coming = Arc::clone(&subscribers);
    let driver = tokio::spawn(async move {
        let mut block = Vec::new();
        while let Some(message) = messages.next().await {
            if let AsyncMessage::Notification(notification) = message? {
                deliver(notification.payload(), &subscribers, &mut block)?;
            }
        }
        bail!("the database closed the connection")
    });
    notifications::listen(&client).await?;
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            // A look at the port without a request is no subscriber.
            if let Ok((path, socket)) = greet(socket) {
                lock(&coming).entry(path).or_default().push(socket);
            }
        }
    });
    driver.await?
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Reads a request and answers with the head of a stream.
fn greet(mut socket: TcpStream) -> Result<(String, TcpStream)> {
    socket.set_nodelay(true)?;
    let (mut request, mut length) = ([0; REQUEST_BYTES_MAX], 0);
    while !request[..length].ends_with(b"\r\n\r\n") {
        ensure!(length < request.len(), "a long request");
        let read = socket.read(&mut request[length..])?;
        ensure!(read > 0, "half a request");
        length += read;
    }
    let request = std::str::from_utf8(&request[..length])?;
    let path = request.split(' ').nth(1).and_then(|path| path.strip_prefix('/')).context("a path")?;
    socket.write_all(HEAD)?;
    Ok((path.to_owned(), socket))
}

fn deliver(payload: &str, subscribers: &Subscribers, block: &mut Vec<u8>) -> Result<()> {
    let payload: Payload = serde_json::from_str(payload)?;
    block.clear();
    write!(block, "data: {}\n\n", payload.data)?;
    if let Some(sockets) = lock(subscribers).get_mut(payload.channel) {
        // Who has gone has gone.
        sockets.retain_mut(|socket| socket.write_all(block).is_ok());
    }
    Ok(())
}
