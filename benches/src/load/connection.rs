//! One connection and its subscriptions, from the request to the results.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, bail};
use memchr::memmem;
use serde_json::{Value, json};

use crate::sse::Answer;
use crate::systems::{System, Transport};
use crate::websocket::{self, Frame};

/// More than this without a complete block or frame is a mistake.
const REST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The server to talk to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) system: System,
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
}

/// Channels of one connection's subscriptions, and the number of the first subscriber.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) first: usize,
    pub(crate) channels: Vec<String>,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The request for a stream, or for an upgrade, is sent.
    Asked,
    /// `connection_init` is sent.
    Initialized,
    /// The subscriptions are sent, and a ping behind them: messages are answered in order.
    Subscribed,
    Live,
}

pub(crate) struct Connection {
    pub(crate) socket: mio::net::TcpStream,
    wanted: Wanted,
    target_is_ws: bool,
    phase: Phase,
    answer: Answer,
    /// Received, and not complete.
    rest: Vec<u8>,
    /// To be sent, and not taken by the kernel yet.
    outbound: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(target: &Target, wanted: Wanted) -> Result<Self> {
        // Over loopback the kernel connects at once, whatever the server does.
        let socket = TcpStream::connect(target.address).context("connecting to the server")?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let mut this = Self {
            socket: mio::net::TcpStream::from_std(socket),
            target_is_ws: target.system.transport() == Transport::Ws,
            outbound: opening(target, &wanted.channels[0]).into_bytes(),
            wanted,
            phase: Phase::Asked,
            answer: Answer::default(),
            rest: Vec::new(),
        };
        this.flush()?;
        Ok(this)
    }

    pub(crate) fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    /// Reads all that is there into `buffer` and passes on subscriber and result of each delivery.
    pub(crate) fn receive(
        &mut self,
        target: &Target,
        buffer: &mut [u8],
        on_result: &mut impl FnMut(usize, &[u8]) -> Result<()>,
    ) -> Result<()> {
        loop {
            let read = match self.socket.read(buffer) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.flush(),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("reading"),
            };
            if self.rest.is_empty() {
                let taken = self.take(target, &buffer[..read], on_result)?;
                self.rest.extend_from_slice(&buffer[taken..read]);
            } else {
                self.rest.extend_from_slice(&buffer[..read]);
                let rest = std::mem::take(&mut self.rest);
                let taken = self.take(target, &rest, on_result)?;
                self.rest = rest;
                self.rest.drain(..taken);
            }
            if self.rest.len() + self.answer.waiting() > REST_BYTES_MAX {
                bail!("a block of more than {REST_BYTES_MAX} bytes");
            }
            // A read that does not fill the buffer has emptied the socket: whatever comes, or its end, wakes us.
            if read < buffer.len() {
                return self.flush();
            }
        }
    }

    fn take(
        &mut self,
        target: &Target,
        raw: &[u8],
        on_result: &mut impl FnMut(usize, &[u8]) -> Result<()>,
    ) -> Result<usize> {
        if self.target_is_ws {
            return self.take_frames(target, raw, on_result);
        }
        let subscriber = self.wanted.first;
        let taken = self.answer.take(raw, &mut |result: &[u8]| on_result(subscriber, result))?;
        if self.answer.has_begun() {
            self.phase = Phase::Live;
        }
        Ok(taken)
    }

    fn take_frames(
        &mut self,
        target: &Target,
        raw: &[u8],
        on_result: &mut impl FnMut(usize, &[u8]) -> Result<()>,
    ) -> Result<usize> {
        let mut at = 0;
        if self.phase == Phase::Asked {
            let Some(end) = memmem::find(raw, b"\r\n\r\n") else { return Ok(0) };
            self.upgraded(target, &raw[..end])?;
            at = end + 4;
        }
        while let Some((frame, length)) = websocket::first(&raw[at..])? {
            at += length;
            match frame {
                Frame::Text(message) if is_next(message) => on_result(id_of(message)?, message)?,
                Frame::Text(message) => self.control(target, message)?,
                Frame::Ping(payload) => websocket::pong(payload, &mut self.outbound),
                Frame::Pong => {}
            }
        }
        Ok(at)
    }

    fn upgraded(&mut self, target: &Target, head: &[u8]) -> Result<()> {
        let head = String::from_utf8_lossy(head).to_ascii_lowercase();
        if !head.starts_with("http/1.1 101 ") || !head.contains("graphql-transport-ws") {
            bail!("no WebSocket of graphql-transport-ws: {head}");
        }
        let init = if target.token.is_empty() {
            json!({ "type": "connection_init" })
        } else {
            let authorization = format!("Bearer {}", target.token);
            json!({ "type": "connection_init", "payload": { "authorization": authorization } })
        };
        websocket::text(&init.to_string(), &mut self.outbound);
        self.phase = Phase::Initialized;
        Ok(())
    }

    /// A message that is no result.
    fn control(&mut self, target: &Target, message: &[u8]) -> Result<()> {
        let value: Value = serde_json::from_slice(message)?;
        match (self.phase, value["type"].as_str()) {
            (_, Some("ping")) => websocket::text(r#"{"type":"pong"}"#, &mut self.outbound),
            (Phase::Initialized, Some("connection_ack")) => {
                for (number, channel) in self.wanted.channels.iter().enumerate() {
                    let id = self.wanted.first + number;
                    let request = target.system.request(channel);
                    let subscribe = format!(r#"{{"id":"{id}","type":"subscribe","payload":{request}}}"#);
                    websocket::text(&subscribe, &mut self.outbound);
                }
                websocket::text(r#"{"type":"ping"}"#, &mut self.outbound);
                self.phase = Phase::Subscribed;
            }
            (Phase::Subscribed, Some("pong")) => self.phase = Phase::Live,
            (_, Some("pong")) => {}
            _ => bail!("unexpected message: {value}"),
        }
        Ok(())
    }

    /// Sends what the kernel takes; it says when it takes more.
    pub(crate) fn flush(&mut self) -> Result<()> {
        while !self.outbound.is_empty() {
            match self.socket.write(&self.outbound) {
                Ok(written) => drop(self.outbound.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("writing"),
            }
        }
        Ok(())
    }
}

/// The request that begins a connection.
fn opening(target: &Target, channel: &str) -> String {
    let path = target.system.path(channel);
    let host = target.address;
    let authorization = if target.token.is_empty() {
        String::new()
    } else {
        format!("authorization: Bearer {}\r\n", target.token)
    };
    match target.system.transport() {
        Transport::Ws => format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-protocol: graphql-transport-ws\r\n\r\n"
        ),
        Transport::PlainSse => {
            format!("GET {path} HTTP/1.1\r\nhost: {host}\r\naccept: text/event-stream\r\n{authorization}\r\n")
        }
        Transport::GraphqlSse => {
            let body = target.system.request(channel);
            format!(
                "POST {path} HTTP/1.1\r\nhost: {host}\r\naccept: text/event-stream\r\n\
                 content-type: application/json\r\n{authorization}content-length: {}\r\n\r\n{body}",
                body.len()
            )
        }
    }
}

/// Type and id come before the payload, so that they are among the first bytes.
fn envelope(message: &[u8]) -> &[u8] {
    &message[..message.len().min(64)]
}

fn is_next(message: &[u8]) -> bool {
    memmem::find(envelope(message), br#""type":"next""#).is_some()
}

/// The subscriber that the message names.
fn id_of(message: &[u8]) -> Result<usize> {
    const KEY: &[u8] = br#""id":""#;
    let start = memmem::find(envelope(message), KEY).context("a result without an id")? + KEY.len();
    let digits = message[start..].iter().take_while(|byte| byte.is_ascii_digit());
    Ok(digits.take(9).fold(0, |id, digit| id * 10 + usize::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_id_of_the_message_and_not_that_of_the_event() {
        let message = br#"{"type":"next","id":"17","payload":{"data":{"events":{"id":"4"}}}}"#;
        assert!(is_next(message));
        assert_eq!(id_of(message).unwrap(), 17);
    }
}
