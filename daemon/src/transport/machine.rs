//! What a socket and the state machine of its subprotocol tell each other: messages in, actions out.

use serde_json::{Map, Value, json};

use super::frame;
use super::operations::Operations;
use crate::error::ClientError;
use crate::graphql::error::GraphQLError;
use crate::graphql::request::Request;
use crate::hub::mailbox::SubscriptionId;

/// Longest operation id; every operation keeps its own.
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
    /// Write a message.
    Send(String),
    /// Find out who has this `connection_init` payload, then call `acknowledge` or `reject`.
    Authenticate(Map<String, Value>),
    /// Find out whether this payload has a token that may take the place of the client's, and say so.
    Refresh(Map<String, Value>),
    /// Run the request, then call `subscribed`, or write its outcome.
    Execute(Operation),
    /// End the subscription.
    Complete(SubscriptionId),
    /// Give up the operation that is being authorized.
    Abandon(Box<str>),
    /// Write the error that refuses an operation, and count it.
    Refuse(Box<str>, ClientError),
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

/// How far a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// `connection_init` has not come yet.
    Waiting,
    /// It is being found out who sent it.
    Authenticating,
    /// It was acknowledged.
    Ready,
}

/// A subprotocol without its socket: the state of one client.
pub trait Machine: Send {
    /// How far the client is.
    fn phase(&self) -> Phase;

    /// The client's operations.
    fn operations(&mut self) -> &mut Operations;

    /// Takes a message, which may be any bytes.
    fn receive(&mut self, message: &[u8]) -> Vec<Action>;

    /// Authentication has succeeded: what is said first, with the cursor if there is one.
    fn acknowledge(&mut self, cursor: &str) -> Vec<String>;

    /// Authentication has failed: what is said, if anything, before the close.
    fn reject(&self, error: &ClientError) -> (Option<String>, Close);

    /// The next message that came before the acknowledgement and waited for it, to be received again.
    fn held(&mut self) -> Option<Box<[u8]>> {
        None
    }

    /// The message that ends an operation with errors; there is at least one.
    fn error_message(&self, id: &str, errors: &[GraphQLError]) -> String;

    /// What is said beside every WebSocket ping.
    fn keep_alive(&self) -> Option<String> {
        None
    }

    /// How a quiet client is told where it stands, if the protocol has a way.
    fn position(&self, _cursor: &str) -> Option<String> {
        None
    }

    /// What a client is told of its new token, if the protocol has a way to bring one.
    fn refreshed(&self, _taken: bool) -> Option<String> {
        None
    }

    /// The operation has become a subscription.
    fn subscribed(&mut self, id: Box<str>, subscription: SubscriptionId) {
        self.operations().subscribed(&id, subscription);
    }

    /// The hub has ended a subscription: its last message, unless the client has ended it.
    fn ended(&mut self, subscription: SubscriptionId, error: &GraphQLError) -> Option<String> {
        let id = self.operations().ended(subscription)?;
        Some(self.error_message(&id, std::slice::from_ref(error)))
    }

    /// Appends the messages of an operation that was executed at once: its result, then complete.
    fn answered(&mut self, into: &mut Vec<u8>, id: &str, result: &[u8]) {
        self.operations().running().answer(into, id, result);
        frame::ws_message(into, complete_message(id).as_bytes());
    }
}

/// The message that says that an operation is complete.
pub fn complete_message(id: &str) -> String {
    json!({ "id": id, "type": "complete" }).to_string()
}

/// A message with a cursor as its payload. An absent payload is omitted, never null (W3).
pub fn with_cursor(kind: &str, cursor: &str) -> String {
    if cursor.is_empty() {
        json!({ "type": kind }).to_string()
    } else {
        json!({ "type": kind, "payload": { "cursor": cursor } }).to_string()
    }
}

/// W10: a text that is neither empty nor, for our sake, endless.
pub fn operation_id(message: &Map<String, Value>) -> Option<Box<str>> {
    let id = message.get("id")?.as_str()?;
    (1..=OPERATION_ID_BYTES_MAX).contains(&id.len()).then(|| id.into())
}

/// The payload of `connection_init`; nothing if it is of another type than an object.
pub fn init_payload(message: &mut Map<String, Value>) -> Option<Map<String, Value>> {
    match message.remove("payload") {
        None | Some(Value::Null) => Some(Map::new()),
        Some(Value::Object(payload)) => Some(payload),
        Some(_) => None,
    }
}

/// The answer to an operation that is JSON and cannot be read.
pub fn refuse_unreadable(id: String) -> Vec<Action> {
    let message = "The payload is nested more than 128 levels deep, or the id is not usable.";
    if id.is_empty() || id.len() > OPERATION_ID_BYTES_MAX {
        return vec![Action::Close(Close::new(4400, message))];
    }
    vec![Action::Refuse(id.into(), ClientError::Malformed(message.to_owned()))]
}

/// What a machine does with a message, in short.
#[cfg(test)]
pub fn told(machine: &mut dyn Machine, message: &str) -> String {
    let actions = machine.receive(message.as_bytes());
    let actions = actions.into_iter().map(|action| match action {
        Action::Send(text) => text,
        Action::Authenticate(payload) => format!("authenticate {}", Value::Object(payload)),
        Action::Refresh(payload) => format!("refresh {}", Value::Object(payload)),
        Action::Execute(operation) => format!("execute {} {}", operation.id, operation.request.query),
        Action::Complete(SubscriptionId(number)) => format!("complete {number}"),
        Action::Abandon(id) => format!("abandon {id}"),
        Action::Refuse(id, error) => machine.error_message(&id, &[error.to_graphql()]),
        Action::Close(close) => format!("{} {}", close.code, close.reason),
    });
    actions.collect::<Vec<_>>().join("\n")
}

/// The message of a result, if there is one.
#[cfg(test)]
pub fn result_text(machine: &mut dyn Machine, subscription: u64, result: &[u8]) -> Option<String> {
    let mut frames = Vec::new();
    machine.operations().running().result(&mut frames, SubscriptionId(subscription), result, "c");
    frame::tests::ws_texts(frames).pop()
}
