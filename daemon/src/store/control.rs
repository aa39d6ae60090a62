//! The control channel: what one node has to tell all others, itself included.
//!
//! A message is a hint that may get lost, and anybody who can connect to the database can send one. So nothing
//! is done because of a message that what is stored does not say, too. Who listens is told when messages may
//! have been missed, and then reads everything again.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio_postgres::{AsyncMessage, Client, Config};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::source::postgres::{Connection, SessionError, connect};

/// Signals that may wait for a receiver. One that is further behind gets [`Signal::Reconnected`] instead of
/// what it has missed.
const SIGNALS_MAX: usize = 1_024;

/// Bytes of a message; PostgreSQL takes no more than 7,999.
const MESSAGE_BYTES_MAX: usize = 4_096;

/// Time for a message to be taken.
const SEND_TIME: Duration = Duration::from_secs(5);

/// Pauses between attempts to connect: the first, and the longest.
const RECONNECT_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// What nodes tell each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// The reservation that a node serves on this stream has changed: look it up again.
    Stream(i64),
    /// Somebody was kicked, or a kick was lifted: read all of them again. `tidings.kick()` sends it.
    Revoked,
}

/// What a receiver is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// Messages may have been missed: read everything again.
    Reconnected,
    /// Somebody has sent this.
    Message(Message),
}

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It is too long.
    #[error("a message between nodes has at most {MESSAGE_BYTES_MAX} bytes")]
    TooLong,
    /// The database cannot be reached, or did not answer in time.
    #[error("the database does not take messages between nodes now")]
    Unavailable,
}

/// The control channel of a node. Cheap to clone; it ends with the last clone.
#[derive(Debug, Clone)]
pub struct Control(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    signals: broadcast::Sender<Signal>,
    /// Where messages go; without one they come back to this process only.
    database: Option<watch::Receiver<Option<Arc<Client>>>>,
    _stop: Option<DropGuard>,
}

impl Control {
    /// The channel of a process that is alone.
    pub fn memory() -> Self {
        Self(Arc::new(Inner { signals: broadcast::Sender::new(SIGNALS_MAX), database: None, _stop: None }))
    }

    /// The channel of all nodes of a database. Connects by itself, again and again. Needs a tokio runtime.
    pub fn postgres(database: Config) -> Self {
        let signals = broadcast::Sender::new(SIGNALS_MAX);
        let (connected, client) = watch::channel(None);
        let stop = CancellationToken::new();
        let listening = listen(database, signals.clone(), connected);
        tokio::spawn(stop.clone().run_until_cancelled_owned(listening));
        Self(Arc::new(Inner { signals, database: Some(client), _stop: Some(stop.drop_guard()) }))
    }

    /// What is told from now on; first of all [`Signal::Reconnected`].
    pub fn signals(&self) -> Signals {
        Signals { receiver: self.0.signals.subscribe(), begun: false }
    }

    /// Waits until messages can be sent and are heard.
    pub async fn ready(&self) {
        if let Some(database) = &self.0.database {
            // The sender lives as long as the task, which lives as long as `self`.
            let _ = database.clone().wait_for(Option::is_some).await;
        }
    }

    /// Tells every node, this one too.
    ///
    /// # Errors
    ///
    /// If the message is too long, or the database does not take it.
    pub async fn send(&self, message: &Message) -> Result<(), ControlError> {
        // Texts and numbers into memory: that cannot fail.
        let text = serde_json::to_string(message).unwrap_or_default();
        if text.len() > MESSAGE_BYTES_MAX {
            return Err(ControlError::TooLong);
        }
        let Some(database) = &self.0.database else {
            // Nobody listens yet, or nobody any more: a hint.
            let _ = self.0.signals.send(Signal::Message(message.clone()));
            return Ok(());
        };
        let client = database.borrow().clone().ok_or(ControlError::Unavailable)?;
        let sent = async { client.execute("select pg_notify('tidings_control', $1)", &[&text]).await };
        match tokio::time::timeout(SEND_TIME, sent).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(ControlError::Unavailable),
        }
    }
}

/// Receives what is told.
#[derive(Debug)]
pub struct Signals {
    receiver: broadcast::Receiver<Signal>,
    begun: bool,
}

impl Signals {
    /// Waits for the next signal; for ever once the channel has ended. Cancel-safe.
    pub async fn next(&mut self) -> Signal {
        if !std::mem::replace(&mut self.begun, true) {
            return Signal::Reconnected;
        }
        match self.receiver.recv().await {
            Ok(signal) => signal,
            Err(RecvError::Lagged(_)) => Signal::Reconnected,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Listens for ever.
async fn listen(
    database: Config,
    signals: broadcast::Sender<Signal>,
    client: watch::Sender<Option<Arc<Client>>>,
) {
    let mut pause = RECONNECT_PAUSE.0;
    loop {
        let error = match open(&database).await {
            Ok((connected, mut connection)) => {
                let listening = tokio::select! {
                    error = receive(&mut connection, &signals) => Err(error),
                    started = start(&connected) => started,
                };
                match listening {
                    Ok(()) => {
                        client.send_replace(Some(Arc::new(connected)));
                        pause = RECONNECT_PAUSE.0;
                        // Nobody may be listening to us yet.
                        let _ = signals.send(Signal::Reconnected);
                        let error = receive(&mut connection, &signals).await;
                        client.send_replace(None);
                        error
                    }
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        let wait = pause.mul_f64(rand::random_range(0.5..1.0));
        tracing::warn!(error = %error.for_people(), pause = ?wait, "messages between nodes are not heard; trying again");
        tokio::time::sleep(wait).await;
        pause = (pause * 2).min(RECONNECT_PAUSE.1);
    }
}

async fn open(database: &Config) -> Result<(Client, Connection), SessionError> {
    connect(database, "tidings control").await
}

/// Messages are lost in a crash anyway, so sending one need not wait for the disk.
async fn start(client: &Client) -> Result<(), SessionError> {
    let start = "set synchronous_commit = off; listen tidings_control";
    match tokio::time::timeout(SEND_TIME, client.batch_execute(start)).await {
        Ok(started) => started.map_err(SessionError::Query),
        Err(_) => Err(SessionError::Timeout),
    }
}

/// Hands on what comes, until the connection ends.
async fn receive(connection: &mut Connection, signals: &broadcast::Sender<Signal>) -> SessionError {
    while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
        match message {
            Ok(AsyncMessage::Notification(notification)) => {
                match serde_json::from_str(notification.payload()) {
                    // Nobody may be listening to us.
                    Ok(message) => drop(signals.send(Signal::Message(message))),
                    // Of a newer daemon, or of somebody else; its text is not ours to log.
                    Err(_) => tracing::debug!("a message between nodes that is none was ignored"),
                }
            }
            Ok(_) => {}
            Err(error) => return SessionError::Query(error),
        }
    }
    SessionError::ListenLost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn alone_a_node_hears_itself() {
        let control = Control::memory();
        let mut signals = control.signals();
        assert_eq!(signals.next().await, Signal::Reconnected);
        control.send(&Message::Stream(7)).await.unwrap();
        assert_eq!(signals.next().await, Signal::Message(Message::Stream(7)));
    }

    #[tokio::test]
    async fn who_is_too_far_behind_reads_again() {
        let control = Control::memory();
        let mut signals = control.signals();
        signals.next().await;
        for number in 0..SIGNALS_MAX as i64 + 1 {
            control.send(&Message::Stream(number)).await.unwrap();
        }
        assert_eq!(signals.next().await, Signal::Reconnected);
        assert_eq!(signals.next().await, Signal::Message(Message::Stream(1)));
    }

    #[test]
    fn messages_are_short_json() {
        assert_eq!(serde_json::to_string(&Message::Stream(-7)).unwrap(), r#"{"stream":-7}"#);
        assert_eq!(serde_json::to_string(&Message::Revoked).unwrap(), r#""revoked""#);
        assert!(serde_json::from_str::<Message>(r#"{"other":1}"#).is_err());
    }
}
