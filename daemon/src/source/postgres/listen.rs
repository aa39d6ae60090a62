//! The LISTEN connection: when to look. It carries nothing else and is never in a transaction,
//! because an open transaction keeps the server's notification queue from being emptied.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client};

use super::connection::Connection;
use super::error::SessionError;

/// Wakes the source when something was published.
#[derive(Debug)]
pub(super) struct Listener {
    signals: Arc<Signals>,
    task: JoinHandle<()>,
    /// Dropping the client would end the connection.
    _client: Client,
}

#[derive(Debug, Default)]
struct Signals {
    wake: Notify,
    schema_changed: AtomicBool,
    lost: AtomicBool,
}

impl Listener {
    /// Listens on a connection of its own.
    pub(super) async fn start(client: Client, connection: Connection) -> Result<Self, SessionError> {
        let signals = Arc::new(Signals::default());
        let task = tokio::spawn(receive(connection, signals.clone()));
        let listener = Self { signals, task, _client: client };
        listener
            ._client
            .batch_execute("listen tidings; listen tidings_schema")
            .await
            .map_err(SessionError::Query)?;
        Ok(listener)
    }

    /// Waits for a wake-up, at most this long.
    pub(super) async fn wait(&self, at_most: Duration) -> Result<(), SessionError> {
        // Running out of time is the safety poll, not a failure.
        let _ = tokio::time::timeout(at_most, self.signals.wake.notified()).await;
        if self.signals.lost.load(Ordering::Acquire) { Err(SessionError::ListenLost) } else { Ok(()) }
    }

    /// Whether the attached tables changed since the last call.
    pub(super) fn take_schema_changed(&self) -> bool {
        self.signals.schema_changed.swap(false, Ordering::AcqRel)
    }

    /// Whether they changed; the next [`Listener::take_schema_changed`] still says so.
    pub(super) fn schema_changed(&self) -> bool {
        self.signals.schema_changed.load(Ordering::Acquire)
    }

    /// Makes the next look at the attached tables due.
    pub(super) fn set_schema_changed(&self) {
        self.signals.schema_changed.store(true, Ordering::Release);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(mut connection: Connection, signals: Arc<Signals>) {
    while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
        match message {
            Ok(AsyncMessage::Notification(notification)) => {
                if notification.channel() == "tidings_schema" {
                    signals.schema_changed.store(true, Ordering::Release);
                }
                // Any number of wake-ups before the next poll are one.
                signals.wake.notify_one();
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(error = %SessionError::Query(error).for_people(), "the LISTEN connection ended");
                break;
            }
        }
    }
    signals.lost.store(true, Ordering::Release);
    signals.wake.notify_one();
}
