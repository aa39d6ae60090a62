//! One client on one socket, whatever its subprotocol.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{AbortHandle, BoxFuture, abortable};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Endpoint;
use super::address::ClientAddress;
use super::admission::Admission;
use super::gate::Gate;
use super::listener::Tap;
use super::machine::{Action, Close, Machine, Operation, Phase};
use super::scratch::Scratch;
use super::websocket::Socket;
use crate::access::token::Presented;
use crate::error::ClientError;
use crate::graphql::error::GraphQLError;
use crate::hub::mailbox::Delivery;
use crate::service::{Answer, Connection, Permit};

mod identity;

mod writing;

use writing::taken;

/// Time for `connection_init` to arrive (PROTOCOLS W2).
const INIT_TIME: Duration = Duration::from_secs(3);
/// Time between pings, and for the pong to one (W12); a `ka` is due within 15 s (L1).
const PING_INTERVAL: Duration = Duration::from_secs(12);
/// A client that was told no cursor for this long is told one with the next ping: once a minute (W14).
const CURSOR_AGE: Duration = Duration::from_secs(48);
/// Time for the client to answer our close.
const CLOSE_TIME: Duration = Duration::from_secs(2);
/// Time for a client that has to leave to take what is being written to it.
const KICK_TIME: Duration = Duration::from_millis(500);
/// Messages that are read before a missing pong is believed.
const BACKLOG_MESSAGES_MAX: usize = 64;

/// One client on one socket.
pub struct Session {
    endpoint: Endpoint,
    address: ClientAddress,
    admission: Admission,
    /// What the upgrade brought. A `connection_init` may bring another.
    presented: Option<Presented>,
    machine: Box<dyn Machine>,
    /// From the acknowledgement on.
    client: Option<Client>,
    awaits_pong: bool,
    named_cursor: Instant,
    /// Another way to write to the socket, if it has one.
    tap: Option<Tap>,
}

/// Who a session is for.
struct Client {
    connection: Connection,
    /// Operations that functions are being asked about; as many as may run.
    authorizing: FuturesUnordered<BoxFuture<'static, Decided>>,
    /// How to give them up, by their ids.
    abandon: HashMap<Box<str>, AbortHandle>,
    /// Ends when the client has to leave.
    over: Gate<BoxFuture<'static, ClientError>>,
}

/// What became of an operation that had to be authorized; nothing if it was given up.
type Decided = Option<(Box<str>, Authorization)>;

type Authorization = Result<Permit, Vec<GraphQLError>>;

/// How a session ends.
#[derive(Debug)]
enum End {
    /// With a close frame.
    Close(Close),
    /// Without: the socket is gone, or useless.
    Gone,
}

impl Session {
    /// A session that has not begun.
    pub fn new(
        endpoint: Endpoint,
        address: ClientAddress,
        admission: Admission,
        presented: Presented,
        machine: Box<dyn Machine>,
        tap: Option<Tap>,
    ) -> Self {
        let named_cursor = Instant::now();
        let presented = Some(presented);
        let (client, awaits_pong) = (None, false);
        Self { endpoint, address, admission, presented, machine, client, awaits_pong, named_cursor, tap }
    }

    /// Runs until the client or the daemon has had enough.
    pub async fn run(mut self: Box<Self>, mut socket: Socket) {
        let shutdown = self.endpoint.shutdown().clone();
        let kicked = self.admission.kicked().clone();
        let cut_off = Gate::new(
            async move {
                let stuck = async {
                    kicked.cancelled().await;
                    tokio::time::sleep(KICK_TIME).await;
                };
                tokio::select! {
                    () = stuck => {}
                    () = shutdown.over() => {}
                }
            }
            .boxed(),
        );
        let end = tokio::select! {
            end = self.converse(&mut socket) => end,
            () = cut_off => End::Gone,
        };
        // The subscriptions end before the farewell, so nothing is delivered to a closing socket.
        self.client = None;
        if let End::Close(close) = end {
            tracing::debug!(code = close.code, reason = close.reason, "closing WebSocket");
            Box::pin(leave(socket, close)).await;
        }
    }

    async fn converse(&mut self, socket: &mut Socket) -> End {
        let start = Instant::now();
        let mut ping = Gate::new(Pings::new(start));
        let mut turn = Gate::new(self.endpoint.shutdown().turn());
        let mut deliveries = Vec::new();
        loop {
            let wake = self.wake(socket, &mut ping, &mut turn, start, &mut deliveries).await;
            if let Err(end) = self.take_back(socket).await {
                return end;
            }
            let ended = match wake {
                Wake::Deliveries => self.deliver(socket, &mut deliveries).await,
                // What is rare is in a box: no socket has room for it meanwhile.
                Wake::Message(message) => Box::pin(self.take(socket, message)).await,
                Wake::Decided(None) => Ok(()),
                Wake::Decided(Some((id, authorization))) => {
                    Box::pin(self.decided(socket, id, authorization)).await
                }
                Wake::Tick => Box::pin(self.tick(socket)).await,
                Wake::Late => Err(close(4408, "Connection initialisation timeout")), // W2
                Wake::Over(error) => {
                    self.endpoint.count_refusal(&error);
                    Err(close(4403, "Forbidden")) // W13: 4401 would be final to clients
                }
                Wake::Leave => Err(close(1012, "Service Restart")), // W13
            };
            if let Err(end) = ended {
                return end;
            }
        }
    }

    async fn wake(
        &mut self,
        socket: &mut Socket,
        ping: &mut Gate<Pings>,
        turn: &mut Gate<BoxFuture<'static, ()>>,
        start: Instant,
        deliveries: &mut Vec<Delivery>,
    ) -> Wake {
        let Some(client) = &mut self.client else {
            let late = async move {
                match self.machine.phase() {
                    Phase::Waiting => tokio::time::sleep_until(start + INIT_TIME).await,
                    Phase::Authenticating | Phase::Ready => std::future::pending().await,
                }
            };
            let wake = async {
                tokio::select! {
                    message = socket.receive() => Wake::Message(message),
                    () = ping => Wake::Tick,
                    () = turn => Wake::Leave,
                    () = late => Wake::Late,
                }
            };
            // It lasts for a moment, and nobody keeps its room.
            return Box::pin(wake).await;
        };
        tokio::select! {
            message = socket.receive() => Wake::Message(message),
            () = client.connection.drain(deliveries) => Wake::Deliveries,
            Some(decided) = client.authorizing.next() => Wake::Decided(decided),
            () = ping => Wake::Tick,
            () = turn => Wake::Leave,
            error = &mut client.over => Wake::Over(error),
        }
    }

    async fn take(&mut self, socket: &mut Socket, message: Incoming) -> Result<(), End> {
        let message = match message {
            None => return Err(End::Gone),
            Some(Err(error)) => return Err(socket_error(&error)),
            Some(Ok(message)) => message,
        };
        match message {
            Message::Text(text) => self.obey(socket, text.as_str().as_bytes()).await,
            Message::Binary(bytes) => self.obey(socket, &bytes).await, // W10
            Message::Pong(_) => {
                self.awaits_pong = false;
                Ok(())
            }
            Message::Ping(_) => self.flush(socket).await, // the library's own pong
            Message::Frame(_) => Ok(()),                  // is never read
            Message::Close(_) => {
                // Flushing sends the answer that the library has prepared.
                let _ = tokio::time::timeout(CLOSE_TIME, socket.flush()).await;
                Err(End::Gone)
            }
        }
    }

    async fn obey(&mut self, socket: &mut Socket, message: &[u8]) -> Result<(), End> {
        let mut actions = VecDeque::from(self.machine.receive(message));
        loop {
            while let Some(action) = actions.pop_front() {
                self.act(socket, action).await?;
            }
            let Some(message) = self.machine.held() else { return Ok(()) };
            actions = self.machine.receive(&message).into();
        }
    }

    async fn act(&mut self, socket: &mut Socket, action: Action) -> Result<(), End> {
        match action {
            Action::Send(text) => self.send(socket, [text]).await,
            Action::Authenticate(payload) => self.authenticate(socket, &payload).await,
            Action::Refresh(payload) => self.refresh(socket, &payload).await,
            Action::Execute(operation) => self.execute(socket, operation).await,
            Action::Complete(subscription) => {
                if let Some(client) = &mut self.client {
                    client.connection.complete(subscription);
                    self.admission.ended(subscription);
                }
                Ok(())
            }
            Action::Abandon(id) => {
                let client = self.client.as_mut();
                if let Some(abandon) = client.and_then(|client| client.abandon.remove(&id)) {
                    abandon.abort();
                }
                Ok(())
            }
            Action::Refuse(id, error) => self.refuse(socket, &id, &error).await,
            Action::Close(close) => Err(End::Close(close)),
        }
    }

    async fn refuse(&mut self, socket: &mut Socket, id: &str, error: &ClientError) -> Result<(), End> {
        self.endpoint.count_refusal(error);
        let message = self.machine.error_message(id, &[error.to_graphql()]);
        self.send(socket, [message]).await
    }

    async fn execute(&mut self, socket: &mut Socket, operation: Operation) -> Result<(), End> {
        let Some(client) = &mut self.client else { return Err(close(4401, "Unauthorized")) };
        let identity = client.connection.identity().clone();
        if let Err(error) = self.admission.operation() {
            return self.refuse(socket, &operation.id, &error).await; // W13
        }
        let errors = match self.endpoint.service().query(&operation.request, &identity).await {
            Some(Answer::Result(result)) => {
                let mut frames = Scratch::default();
                self.machine.answered(frames.bytes(), &operation.id, &result);
                return self.write(socket, &frames).await;
            }
            Some(Answer::Refused(errors)) => errors,
            None => return self.authorize(socket, operation).await,
        };
        let message = self.machine.error_message(&operation.id, &errors);
        self.send(socket, [message]).await
    }

    /// Asks whether the operation may run. What is not known at once must not hold up the others.
    async fn authorize(&mut self, socket: &mut Socket, operation: Operation) -> Result<(), End> {
        let Some(client) = &mut self.client else { return Err(close(4401, "Unauthorized")) };
        let (service, identity) = (self.endpoint.service().clone(), client.connection.identity().clone());
        let Operation { id, request } = operation;
        let mut asking = async move { service.authorize(&request, &identity).await }.boxed();
        if let Some(authorization) = (&mut asking).now_or_never() {
            return self.decided(socket, id, authorization).await;
        }
        let (asking, abandon) = abortable(asking);
        self.machine.operations().authorizing(id.clone());
        client.abandon.insert(id.clone(), abandon);
        client.authorizing.push(async move { Some((id, asking.await.ok()?)) }.boxed());
        Ok(())
    }

    /// Begins a subscription that may begin.
    async fn decided(
        &mut self,
        socket: &mut Socket,
        id: Box<str>,
        authorization: Authorization,
    ) -> Result<(), End> {
        let Some(client) = &mut self.client else { return Err(close(4401, "Unauthorized")) };
        client.abandon.remove(&id);
        self.machine.operations().decided(&id);
        let begun = authorization.and_then(|permit| {
            let document = permit.document();
            Ok((client.connection.subscribe(permit)?, document))
        });
        match begun {
            Ok((subscription, document)) => {
                self.machine.subscribed(id, subscription);
                self.admission.subscribed(subscription, document);
                Ok(())
            }
            Err(errors) => {
                let message = self.machine.error_message(&id, &errors);
                self.send(socket, [message]).await
            }
        }
    }

    /// W12: a ping, unless the last one was never answered.
    async fn tick(&mut self, socket: &mut Socket) -> Result<(), End> {
        if self.awaits_pong {
            // The pong may be waiting behind other messages: read them before it is missed.
            for _ in 0..BACKLOG_MESSAGES_MAX {
                let Some(message) = socket.receive().now_or_never() else { break };
                self.take(socket, message).await?;
            }
            if self.awaits_pong {
                tracing::debug!("no pong: terminating");
                return Err(End::Gone);
            }
        }
        self.awaits_pong = true;
        taken(0, self.endpoint.limits().write_stall, socket.ping()).await?;
        if let Some(message) = self.machine.keep_alive() {
            self.send(socket, [message]).await?; // L1
        }
        if self.client.is_some() && self.named_cursor.elapsed() >= CURSOR_AGE {
            self.name_cursor(socket).await
        } else {
            self.flush(socket).await
        }
    }

    /// W14: tells a quiet client where it stands.
    async fn name_cursor(&mut self, socket: &mut Socket) -> Result<(), End> {
        // If something waits, it brings its own cursor.
        let cursor = self.client.as_ref().and_then(|client| client.connection.quiet_cursor());
        let Some(cursor) = cursor else { return self.flush(socket).await };
        self.named_cursor = Instant::now();
        let message = self.machine.position(&cursor);
        self.send(socket, message).await
    }
}

/// Rings when it is time for a ping, again and again.
struct Pings(Interval);

impl Pings {
    fn new(start: Instant) -> Self {
        let mut interval = tokio::time::interval_at(start + PING_INTERVAL, PING_INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self(interval)
    }
}

impl Future for Pings {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_tick(cx).map(drop)
    }
}

type Incoming = Option<Result<Message, Error>>;

/// Why a session goes on.
enum Wake {
    Message(Incoming),
    Deliveries,
    Decided(Decided),
    Tick,
    Late,
    Over(ClientError),
    Leave,
}

fn close(code: u16, reason: &str) -> End {
    End::Close(Close::new(code, reason))
}

/// What a broken frame deserves.
fn socket_error(error: &Error) -> End {
    match error {
        Error::Capacity(_) => close(1009, "Message too big"), // W15
        Error::Utf8(_) => close(1007, "Invalid UTF-8"),
        Error::Protocol(_) => close(1002, "Protocol error"),
        _ => End::Gone,
    }
}

/// Closes the socket and waits, not for long, until the client has taken notice.
pub async fn leave(mut socket: Socket, close: Close) {
    let frame = CloseFrame { code: close.code.into(), reason: close.reason.into() };
    let farewell = async {
        if socket.close(frame).await.is_ok() {
            while let Some(Ok(_)) = socket.receive().await {}
        }
    };
    // Whether it took notice or not, the socket is dropped.
    let _ = tokio::time::timeout(CLOSE_TIME, farewell).await;
}
