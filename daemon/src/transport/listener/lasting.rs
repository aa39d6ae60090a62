//! Answers that last, over HTTP/1.1.
//!
//! For the time of an answer hyper keeps the buffers that it read the request into and may have to write into: 16 KiB
//! of every subscriber who hears nothing for hours. So it hands over the socket once such an answer begins, which is
//! written from here, in chunks (RFC 9112, section 7.1), and gets it back when the answer is over.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::http::header::{CONNECTION, DATE, EXPECT, TRANSFER_ENCODING};
use axum::http::{HeaderMap, Method, Request, Response, Version};
use bytes::BytesMut;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use hyper::body::{Body as _, Incoming};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::presence::UnderWay;
use crate::shutdown::Shutdown;
use crate::transport::scratch::Scratch;

/// Bytes of further requests that are kept for later. More stay in the socket, and their sender waits.
const AHEAD_BYTES_MAX: usize = 8 << 10;
/// Read at a time: nobody says anything while an answer lasts, but that it leaves.
const READ_BYTES: usize = 512;

/// The bytes of a body that has no foreseeable end. None is empty.
pub type Flow = BoxStream<'static, Scratch>;

/// Such a body, as an extension of its response: whoever takes it from there writes it. Cheap to clone.
#[derive(Clone)]
pub struct Lasting(Arc<Mutex<Option<Flow>>>);

impl Lasting {
    /// Makes a response last.
    pub fn extend(response: Response<()>, flow: Flow) -> Response<Body> {
        let lasting = Self(Arc::new(Mutex::new(Some(flow))));
        let (mut head, ()) = response.into_parts();
        head.extensions.insert(lasting.clone());
        Response::from_parts(head, Body::from_stream(lasting))
    }

    fn take(&self) -> Option<Flow> {
        self.0.lock().take()
    }
}

/// For hyper, if it is to write the body.
impl Stream for Lasting {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut flow = self.0.lock();
        let Some(flow) = flow.as_mut() else { return Poll::Ready(None) };
        flow.poll_next_unpin(cx).map(|next| next.map(|bytes| Ok(bytes.into_bytes())))
    }
}

/// Where an answer that lasts is put by the service, to be found by whoever runs the connection.
#[derive(Clone, Default)]
pub(super) struct Slot(Arc<Mutex<Option<Answer>>>);

/// An answer that is to be written without hyper.
pub(super) struct Answer {
    head: Vec<u8>,
    flow: Flow,
    /// Whether the next request of the socket begins where this one ended.
    continues: bool,
    _under_way: Arc<UnderWay>,
}

/// What may become of an answer, told by its request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prospect {
    continues: bool,
}

impl Prospect {
    /// Nothing if hyper has to write the answer.
    pub(super) fn of(request: &Request<Incoming>) -> Option<Self> {
        let whole = request.version() == Version::HTTP_11
            && matches!(*request.method(), Method::GET | Method::POST)
            // Its interim answer is hyper's, and may still be on its way.
            && !request.headers().contains_key(EXPECT);
        // A stream that is asked for by POST begins when all of the request is read; other bodies are not read.
        let read = request.method() == Method::POST || request.body().is_end_stream();
        whole.then(|| Self { continues: read && !asks_to_close(request.headers()) })
    }

    /// Takes the answer out of a response if it lasts.
    pub(super) fn take(self, response: &Response<Body>, under_way: &Arc<UnderWay>) -> Option<Answer> {
        let flow = response.extensions().get::<Lasting>()?.take()?;
        let continues = self.continues && !asks_to_close(response.headers());
        let head = head_of(response, continues);
        Some(Answer { head, flow, continues, _under_way: under_way.clone() })
    }
}

fn asks_to_close(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|option| option.trim().eq_ignore_ascii_case("close"))
}

impl Slot {
    pub(super) fn put(&self, answer: Answer) {
        *self.0.lock() = Some(answer);
    }

    pub(super) fn take(&self) -> Option<Answer> {
        self.0.lock().take()
    }
}

impl Answer {
    /// Writes all of it. Gives what has been read of the next request, if there may be one.
    ///
    /// # Errors
    /// If the peer takes nothing.
    pub(super) async fn write<S>(
        &mut self,
        socket: &mut S,
        ahead: Bytes,
        shutdown: &Shutdown,
    ) -> io::Result<Option<Bytes>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        socket.write_all(&std::mem::take(&mut self.head)).await?;
        // Copied, for it is a part of what hyper read of the request into.
        let mut next_request = BytesMut::from(&ahead[..]);
        drop(ahead);
        loop {
            let next = tokio::select! {
                biased;
                next = self.flow.next() => next,
                () = left(socket, &mut next_request) => return Ok(None),
            };
            let Some(mut bytes) = next else { break };
            socket.write_all(bytes.as_chunk()).await?;
            // TLS may hold something back.
            socket.flush().await?;
        }
        socket.write_all(b"0\r\n\r\n").await?;
        socket.flush().await?;
        if self.continues && !shutdown.has_begun() {
            return Ok(Some(next_request.freeze()));
        }
        socket.shutdown().await?;
        Ok(None)
    }
}

/// The head of a response, for a body in chunks.
fn head_of(response: &Response<Body>, continues: bool) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    for part in ["HTTP/1.1 ", response.status().as_str(), " "] {
        head.extend_from_slice(part.as_bytes());
    }
    head.extend_from_slice(response.status().canonical_reason().unwrap_or_default().as_bytes());
    let mut line = |name: &str, value: &[u8]| {
        for part in [b"\r\n", name.as_bytes(), b": ", value] {
            head.extend_from_slice(part);
        }
    };
    for (name, value) in response.headers() {
        line(name.as_str(), value.as_bytes());
    }
    line(TRANSFER_ENCODING.as_str(), b"chunked");
    if let Ok(now) = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now()) {
        line(DATE.as_str(), now.as_bytes());
    }
    if !continues && !asks_to_close(response.headers()) {
        line(CONNECTION.as_str(), b"close");
    }
    head.extend_from_slice(b"\r\n\r\n");
    head
}

/// Ends when the peer is gone. What it says meanwhile is kept.
async fn left<S: AsyncRead + Unpin>(socket: &mut S, ahead: &mut BytesMut) {
    poll_fn(|cx| {
        while ahead.len() < AHEAD_BYTES_MAX {
            let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut bytes);
            match ready!(Pin::new(&mut *socket).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => ahead.extend_from_slice(buffer.filled()),
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};

    use super::super::presence::Presence;
    use super::*;
    use crate::config::Config;

    fn answer(texts: &[&'static str], continues: bool) -> Answer {
        let texts = texts.to_vec();
        let flow = stream::iter(texts).map(|text| {
            let mut bytes = Scratch::default();
            bytes.bytes().extend_from_slice(text.as_bytes());
            bytes
        });
        let response = Lasting::extend(Response::new(()), flow.boxed());
        let under_way = Arc::new(Presence::new(&Config::default().limits).begin(false));
        Prospect { continues }.take(&response, &under_way).unwrap()
    }

    async fn write(
        answer: &mut Answer,
        socket: &mut DuplexStream,
        ahead: &'static [u8],
    ) -> io::Result<Option<Bytes>> {
        let shutdown = Shutdown::new(std::time::Duration::ZERO);
        answer.write(socket, Bytes::from_static(ahead), &shutdown).await
    }

    #[tokio::test]
    async fn an_answer_is_written_in_chunks_and_the_next_request_begins_behind_it() {
        let (mut client, mut server) = duplex(4096);
        client.write_all(b" /later").await.unwrap();
        // Pending once, so that the socket is looked at.
        let mut answer = answer(&["one", "seventeen letters"], true);
        answer.flow = answer.flow.chain(pause()).boxed();
        let next = write(&mut answer, &mut server, b"GET").await.unwrap();
        assert_eq!(next.unwrap(), "GET /later");
        drop(server);
        let mut written = String::new();
        client.read_to_string(&mut written).await.unwrap();
        let (head, body) = written.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ndate: "), "{head}");
        assert!(!head.contains("connection"), "{head}");
        assert_eq!(body, "3\r\none\r\n11\r\nseventeen letters\r\n0\r\n\r\n");
    }

    /// Nothing, a moment later.
    fn pause() -> impl Stream<Item = Scratch> {
        stream::once(tokio::task::yield_now()).filter_map(|()| async { None })
    }

    #[tokio::test]
    async fn a_socket_that_cannot_go_on_says_so_and_is_closed() {
        let (mut client, mut server) = duplex(4096);
        assert_eq!(write(&mut answer(&["one"], false), &mut server, b"GET").await.unwrap(), None);
        let mut written = String::new();
        client.read_to_string(&mut written).await.unwrap();
        assert!(
            written.contains("\r\nconnection: close\r\n") && written.ends_with("\r\n0\r\n\r\n"),
            "{written}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_the_peer_leaves_and_keeps_a_bounded_part_of_what_the_peer_says() {
        for said in [0, AHEAD_BYTES_MAX + READ_BYTES] {
            let (mut client, mut server) = duplex(2 * AHEAD_BYTES_MAX);
            client.write_all(&vec![b'x'; said]).await.unwrap();
            let mut answer = answer(&[], true);
            answer.flow = stream::pending().boxed();
            let writing = write(&mut answer, &mut server, b"");
            let leaving = async {
                tokio::task::yield_now().await;
                drop(client);
            };
            let writing = tokio::time::timeout(std::time::Duration::from_secs(60), writing);
            let (written, ()) = tokio::join!(writing, leaving);
            // Who says too much is not read any more; a keep-alive will find that nobody is there.
            assert_eq!(written.is_ok(), said == 0);
        }
    }
}
