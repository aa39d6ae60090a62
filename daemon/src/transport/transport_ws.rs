//! The protocol `graphql-transport-ws` without its socket: messages in, actions out.
//!
//! W1 to W14 are the lines of PROTOCOLS.md, part B.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::{frame, parameters};
use crate::error::ClientError;
use crate::graphql::error::GraphQLError;
use crate::graphql::request::Request;
use crate::hub::mailbox::SubscriptionId;

/// The subprotocol's name.
pub const SUBPROTOCOL: &str = "graphql-transport-ws";
/// Longest operation id; every operation keeps its own. Longer: 4400.
const OPERATION_ID_BYTES_MAX: usize = 256;

/// A close code and its reason, which fits the 123 bytes of W12.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// The code.
    pub code: u16,
    /// The reason.
    pub reason: String,
}

impl Close {
    /// A close with a reason that is cut to what a close frame holds.
    pub fn new(code: u16, reason: impl Into<String>) -> Self {
        const REASON_BYTES_MAX: usize = 123;
        let mut reason = reason.into();
        reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
        Self { code, reason }
    }
}

/// What the socket is to do.
#[derive(Debug)]
pub enum Action {
    /// Nothing.
    Nothing,
    /// Write a message.
    Send(String),
    /// Find out who has this `connection_init` payload, then call `acknowledge`, or close.
    Authenticate(Map<String, Value>),
    /// Run the request, then call `subscribed`, or write its outcome.
    Execute(Operation),
    /// End the subscription.
    Complete(SubscriptionId),
    /// Close the socket.
    Close(Close),
}

/// An operation that a client asks for.
#[derive(Debug)]
pub struct Operation {
    /// The client's id for it.
    pub id: Box<str>,
    /// What to run.
    pub request: Request,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Authenticating,
    Ready,
}

/// The state of one socket.
#[derive(Debug)]
pub struct Machine {
    phase: Phase,
    subscriptions_max: usize,
    by_id: HashMap<Box<str>, SubscriptionId>,
    running: HashMap<SubscriptionId, Running>,
}

#[derive(Debug)]
struct Running {
    id: Box<str>,
    next_prefix: Box<str>,
}

impl Machine {
    /// A socket that has said nothing yet.
    pub fn new(subscriptions_max: usize) -> Self {
        Self { phase: Phase::Waiting, subscriptions_max, by_id: HashMap::new(), running: HashMap::new() }
    }

    /// Whether `connection_init` has arrived.
    pub fn initialised(&self) -> bool {
        self.phase != Phase::Waiting
    }

    /// Takes a message.
    pub fn receive(&mut self, text: &str) -> Action {
        let Ok(Value::Object(mut message)) = serde_json::from_str(text) else {
            return bad("The message is not a JSON object"); // W10
        };
        let Some(Value::String(kind)) = message.remove("type") else {
            return bad("The message has no type"); // W1
        };
        match kind.as_str() {
            "connection_init" => self.initialise(message),
            "ping" => pong(message.remove("payload")), // W4: at once, before init too
            "pong" => Action::Nothing,
            "subscribe" => self.subscribe(message),
            "complete" => self.complete(message),
            // W10: `next` and `error` from a client among them
            _ => bad("The message has an unknown type"),
        }
    }

    fn initialise(&mut self, mut message: Map<String, Value>) -> Action {
        if self.phase != Phase::Waiting {
            return close(4429, "Too many initialisation requests"); // W2
        }
        let payload = match message.remove("payload") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(payload)) => payload,
            Some(_) => return bad("The payload of connection_init is not an object"),
        };
        self.phase = Phase::Authenticating;
        Action::Authenticate(payload)
    }

    /// Authentication has succeeded: the acknowledgement, with the cursor if there is one (W3, W14).
    pub fn acknowledge(&mut self, cursor: &str) -> String {
        self.phase = Phase::Ready;
        with_cursor("connection_ack", cursor)
    }

    fn subscribe(&mut self, mut message: Map<String, Value>) -> Action {
        if self.phase != Phase::Ready {
            return close(4401, "Unauthorized"); // W5
        }
        let Some(id) = operation_id(&message) else { return bad("The message has no usable id") };
        if self.by_id.contains_key(&id) {
            return close(4409, format!("Subscriber for {id} already exists")); // W5
        }
        let request = match message.remove("payload").map(parameters::from_value) {
            Some(Ok(request)) => request,
            Some(Err(error)) => return bad(&error.to_string()),
            None => return bad("The message has no payload"),
        };
        if parameters::asks_to_resume(&request) {
            return refused(&id, &ClientError::CursorUnsupported);
        }
        if self.running.len() >= self.subscriptions_max {
            // W13: a limit is an error of the operation, never 4429.
            return refused(&id, &ClientError::TooManySubscriptions(self.subscriptions_max));
        }
        Action::Execute(Operation { id, request })
    }

    fn complete(&mut self, message: Map<String, Value>) -> Action {
        let Some(id) = operation_id(&message) else { return bad("The message has no usable id") };
        match self.by_id.remove(&id) {
            Some(subscription) => {
                self.running.remove(&subscription); // W8: nothing more is sent for it
                Action::Complete(subscription)
            }
            None => Action::Nothing, // W9
        }
    }

    /// The operation has become a subscription.
    pub fn subscribed(&mut self, id: Box<str>, subscription: SubscriptionId) {
        self.by_id.insert(id.clone(), subscription);
        let next_prefix = frame::ws_next_prefix(&id);
        self.running.insert(subscription, Running { id, next_prefix });
    }

    /// A result as a message; nothing if the client has completed the subscription.
    pub fn next(&self, subscription: SubscriptionId, result: &[u8], cursor: &str) -> Option<Vec<u8>> {
        let running = self.running.get(&subscription)?;
        Some(frame::ws_next(&running.next_prefix, result, cursor))
    }

    /// The hub has ended a subscription: an `error`, and no complete after it (W7).
    pub fn end(&mut self, subscription: SubscriptionId, error: &GraphQLError) -> Option<String> {
        let running = self.running.remove(&subscription)?;
        self.by_id.remove(&running.id);
        Some(error_message(&running.id, std::slice::from_ref(error)))
    }
}

/// The messages of an operation that was executed at once: one next, then complete (W11).
pub fn answered(id: &str, result: &[u8]) -> [Vec<u8>; 2] {
    let complete = json!({ "id": id, "type": "complete" }).to_string();
    [frame::ws_whole(&frame::ws_next_prefix(id), result), complete.into_bytes()]
}

/// The message that ends an operation with errors (W7), syntax and validation among them.
pub fn error_message(id: &str, errors: &[GraphQLError]) -> String {
    json!({ "id": id, "type": "error", "payload": errors }).to_string()
}

/// A ping of ours, which tells a quiet client where it stands (W14).
pub fn ping(cursor: &str) -> String {
    with_cursor("ping", cursor)
}

/// An absent payload is omitted, never null (W3).
fn with_cursor(kind: &str, cursor: &str) -> String {
    if cursor.is_empty() {
        json!({ "type": kind }).to_string()
    } else {
        json!({ "type": kind, "payload": { "cursor": cursor } }).to_string()
    }
}

fn pong(payload: Option<Value>) -> Action {
    Action::Send(match payload {
        None | Some(Value::Null) => json!({ "type": "pong" }).to_string(),
        Some(payload) => json!({ "type": "pong", "payload": payload }).to_string(),
    })
}

/// W10: a text that is neither empty nor, for our sake, endless.
fn operation_id(message: &Map<String, Value>) -> Option<Box<str>> {
    let id = message.get("id")?.as_str()?;
    (1..=OPERATION_ID_BYTES_MAX).contains(&id.len()).then(|| id.into())
}

fn refused(id: &str, error: &ClientError) -> Action {
    Action::Send(error_message(id, &[error.to_graphql()]))
}

fn bad(reason: &str) -> Action {
    close(4400, reason)
}

fn close(code: u16, reason: impl Into<String>) -> Action {
    Action::Close(Close::new(code, reason))
}
