//! The subscribers: one task and one connection each, all subscribed to the same channel.

use std::rc::Rc;

use anyhow::{Context, Result, bail};
use futures_util::stream::{StreamExt, TryStreamExt};
use memchr::memmem;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::arguments::{Arguments, Transport};
use crate::ledger::{Progress, Receipts};
use crate::sse::SseStream;
use crate::websocket::WebSocket;

/// Connections that are being opened at the same time.
const OPENING_MAX: usize = 32;

/// Everybody who is connected.
pub(crate) struct Subscribers {
    tasks: Vec<JoinHandle<Receipts>>,
    stop: watch::Sender<bool>,
}

/// A subscription over either transport.
enum Stream {
    Sse(SseStream),
    Ws(Box<WebSocket>),
}

impl Subscribers {
    /// Returns when every subscription is live.
    pub(crate) async fn connect(
        arguments: &Arguments,
        channel: &str,
        progress: &Rc<Progress>,
    ) -> Result<Self> {
        let request = serde_json::json!({
            "query": "subscription($channel: String!) { events(channel: $channel) { id data } }",
            "variables": { "channel": channel },
        });
        let streams: Vec<Stream> = futures_util::stream::iter(0..arguments.subscribers)
            .map(|_| subscribe(arguments, &request))
            .buffer_unordered(OPENING_MAX)
            .try_collect()
            .await?;
        let (stop, stopped) = watch::channel(false);
        let tasks = streams
            .into_iter()
            .map(|stream| tokio::task::spawn_local(receive(stream, Rc::clone(progress), stopped.clone())))
            .collect();
        Ok(Self { tasks, stop })
    }

    /// Ends all subscriptions and returns what they received.
    pub(crate) async fn finish(self) -> Vec<Receipts> {
        let _ = self.stop.send(true);
        futures_util::future::join_all(self.tasks)
            .await
            .into_iter()
            .map(|joined| joined.unwrap_or_else(|error| Receipts::failed(error.to_string())))
            .collect()
    }
}

async fn subscribe(arguments: &Arguments, request: &serde_json::Value) -> Result<Stream> {
    let opening = async {
        Ok(match arguments.transport {
            Transport::Sse => Stream::Sse(SseStream::open(arguments, request).await?),
            Transport::Ws => Stream::Ws(Box::new(WebSocket::open(arguments, request).await?)),
        })
    };
    tokio::time::timeout(arguments.patience(), opening).await.context("subscribing took too long")?
}

async fn receive(mut stream: Stream, progress: Rc<Progress>, mut stopped: watch::Receiver<bool>) -> Receipts {
    let mut receipts = Receipts::default();
    let failure = loop {
        let mut note = |result: &[u8]| {
            receipts.note(number_of(result)?, &progress);
            Ok(())
        };
        let received = async {
            match &mut stream {
                Stream::Sse(stream) => stream.receive(&mut note).await,
                Stream::Ws(socket) => socket.receive(&mut note).await,
            }
        };
        tokio::select! {
            biased;
            received = received => if let Err(error) = received { break Some(format!("{error:#}")) },
            _ = stopped.changed() => break None,
        }
    };
    receipts.failure = failure;
    receipts
}

/// The event's number, found without parsing the result: parsing a hundred thousand a second
/// would measure the parser.
fn number_of(result: &[u8]) -> Result<usize> {
    const KEY: &[u8] = br#""seq":"#;
    let Some(start) = memmem::find(result, KEY) else {
        bail!("a result without a number: {}", String::from_utf8_lossy(result));
    };
    let digits = result[start + KEY.len()..].trim_ascii_start();
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    std::str::from_utf8(&digits[..end])?.parse().context("a result with a bad number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_number_with_and_without_a_space() {
        assert_eq!(number_of(br#"{"data":{"events":{"data":{"pad":"x","seq":17}}}}"#).unwrap(), 17);
        assert_eq!(number_of(br#"{"data":{"events":{"data":{"seq": 0, "pad": "x"}}}}"#).unwrap(), 0);
    }

    #[test]
    fn a_result_with_errors_is_no_delivery() {
        assert!(number_of(br#"{"errors":[{"message":"no"}]}"#).is_err());
    }
}
