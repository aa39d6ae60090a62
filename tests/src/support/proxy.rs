//! The network between two processes: it carries bytes, cuts connections, or swallows everything and keeps silent.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Bytes of a connection that are on their way.
const BUFFER_BYTES: usize = 16 * 1024;

/// A port of this machine behind which there is another. Its connections end with it.
pub struct Proxy {
    /// Host and port of the near end.
    pub address: String,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    /// The far end of connections to come.
    target: AtomicU16,
    /// A text that the first bytes of a connection have for it to be swallowed; the empty one means all.
    swallowed: watch::Sender<Option<&'static str>>,
    /// Counts the cuts.
    cut: watch::Sender<u64>,
    connections: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.connections.lock().iter().for_each(JoinHandle::abort);
    }
}

impl Proxy {
    /// A way to a port.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            target: AtomicU16::new(port),
            swallowed: watch::Sender::new(None),
            cut: watch::Sender::new(0),
            connections: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Self { address, shared, accepting }
    }

    /// The port of the near end.
    pub fn port(&self) -> u16 {
        self.address.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// Leads connections from now on to another port.
    pub fn lead_to(&self, port: u16) {
        self.shared.target.store(port, Ordering::Release);
    }

    /// Resets every connection that there is.
    pub fn cut(&self) {
        self.shared.cut.send_modify(|cuts| *cuts += 1);
    }

    /// From now on no byte gets through, either way, and nobody is told: the sockets stay open, and new ones are accepted.
    pub fn swallow(&self) {
        self.shared.swallowed.send_replace(Some(""));
    }

    /// The same for those connections alone that have a text in the first bytes of their client.
    pub fn swallow_those_with(&self, text: &'static str) {
        self.shared.swallowed.send_replace(Some(text));
    }

    /// Carries everything again; what was held back, too.
    pub fn heal(&self) {
        self.shared.swallowed.send_replace(None);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((near, _)) = listener.accept().await else { continue };
        let connection = tokio::spawn(carry(near, shared.clone()));
        let mut connections = shared.connections.lock();
        connections.retain(|connection| !connection.is_finished());
        connections.push(connection);
    }
}

/// Carries one connection until an end closes or it is cut.
async fn carry(near: TcpStream, shared: Arc<Shared>) {
    let mut cut = shared.cut.subscribe();
    let port = shared.target.load(Ordering::Acquire);
    // Whoever cannot be reached is told by a reset.
    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { return reset(&near) };
    for socket in [&near, &far] {
        let _ = socket.set_nodelay(true);
    }
    let (mut near, mut far) = (near.into_split(), far.into_split());
    let carried = async {
        let mut first = vec![0; BUFFER_BYTES];
        wait_for_way(&shared, b"").await;
        let length = near.0.read(&mut first).await?;
        first.truncate(length);
        wait_for_way(&shared, &first).await;
        far.1.write_all(&first).await?;
        tokio::try_join!(
            copy(&mut near.0, &mut far.1, &shared, &first),
            copy(&mut far.0, &mut near.1, &shared, &first)
        )
    };
    tokio::select! {
        _ = carried => {}
        _ = cut.changed() => {
            reset(near.0.as_ref());
            reset(far.0.as_ref());
        }
    }
}

fn reset(socket: &TcpStream) {
    let _ = socket.set_zero_linger();
}

/// Waits until a connection that began like this is carried.
async fn wait_for_way(shared: &Shared, first: &[u8]) {
    let carried = |swallowed: &Option<&str>| {
        swallowed.is_none_or(|text| {
            !text.is_empty() && !first.windows(text.len()).any(|part| part == text.as_bytes())
        })
    };
    // The sender lives as long as what it is shared by.
    let _ = shared.swallowed.subscribe().wait_for(carried).await;
}

async fn copy(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    shared: &Shared,
    first: &[u8],
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = from.read(&mut buffer).await?;
        wait_for_way(shared, first).await;
        if length == 0 {
            // An end that says that it is done is gone for our purposes: half-open connections are not the subject.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        to.write_all(&buffer[..length]).await?;
    }
}
