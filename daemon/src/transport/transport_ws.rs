//! The protocol `graphql-transport-ws` without its socket: messages in, actions out.
//!
//! W1 to W14 are the lines of PROTOCOLS.md, part B.

use std::collections::{HashMap, HashSet};

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
    /// Give up the operation that is being authorized.
    Abandon(Box<str>),
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
    /// Operations that are being authorized; their ids are taken.
    authorizing: HashSet<Box<str>>,
}

#[derive(Debug)]
struct Running {
    id: Box<str>,
    next_prefix: Box<str>,
}

impl Machine {
    /// A socket that has said nothing yet.
    pub fn new(subscriptions_max: usize) -> Self {
        Self {
            phase: Phase::Waiting,
            subscriptions_max,
            by_id: HashMap::new(),
            running: HashMap::new(),
            authorizing: HashSet::new(),
        }
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
        if self.by_id.contains_key(&id) || self.authorizing.contains(&id) {
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
        if self.running.len() + self.authorizing.len() >= self.subscriptions_max {
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
            None if self.authorizing.remove(&id) => Action::Abandon(id), // W8
            None => Action::Nothing,                                     // W9
        }
    }

    /// The operation waits for somebody's consent: its id is taken meanwhile.
    pub fn authorizing(&mut self, id: Box<str>) {
        self.authorizing.insert(id);
    }

    /// The operation was authorized, or not: its id is free, or about to be a subscription's.
    pub fn decided(&mut self, id: &str) {
        self.authorizing.remove(id);
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

    /// The same for a complete result.
    pub fn next_whole(&self, subscription: SubscriptionId, result: &[u8]) -> Option<Vec<u8>> {
        let running = self.running.get(&subscription)?;
        Some(frame::ws_whole(&running.next_prefix, result))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What a machine does with a message, in short.
    fn told(machine: &mut Machine, message: &str) -> String {
        match machine.receive(message) {
            Action::Nothing => "-".into(),
            Action::Send(text) => text,
            Action::Authenticate(payload) => format!("authenticate {}", Value::Object(payload)),
            Action::Execute(operation) => format!("execute {} {}", operation.id, operation.request.query),
            Action::Complete(SubscriptionId(number)) => format!("complete {number}"),
            Action::Abandon(id) => format!("abandon {id}"),
            Action::Close(close) => format!("{} {}", close.code, close.reason),
        }
    }

    fn ready() -> Machine {
        let mut machine = Machine::new(2);
        told(&mut machine, r#"{"type":"connection_init"}"#);
        machine.acknowledge("");
        machine
    }

    const SUBSCRIBE: &str = r#"{"id":"a","type":"subscribe","payload":{"query":"{a}"}}"#;

    #[test]
    fn w02_there_is_one_init() {
        let mut machine = Machine::new(2);
        let init = r#"{"type":"connection_init","payload":{"token":"t"}}"#;
        assert!(!machine.initialised());
        assert_eq!(told(&mut machine, init), r#"authenticate {"token":"t"}"#);
        assert!(machine.initialised());
        assert_eq!(told(&mut machine, init), "4429 Too many initialisation requests");
        let null = r#"{"type":"connection_init","payload":null}"#;
        assert_eq!(told(&mut Machine::new(2), null), "authenticate {}");
    }

    /// The order of members is serde_json's business.
    fn same(text: &str, expected: &Value) {
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), *expected);
    }

    #[test]
    fn w03_w14_the_ack_omits_an_absent_payload() {
        same(&ready().acknowledge(""), &json!({ "type": "connection_ack" }));
        let payload = json!({ "cursor": "c" });
        same(&ready().acknowledge("c"), &json!({ "type": "connection_ack", "payload": payload }));
        same(&ping("c"), &json!({ "type": "ping", "payload": payload }));
    }

    #[test]
    fn w04_a_ping_is_answered_before_init_too() {
        let mut machine = Machine::new(2);
        same(&told(&mut machine, r#"{"type":"ping"}"#), &json!({ "type": "pong" }));
        let echoed = told(&mut machine, r#"{"type":"ping","payload":{"x":1}}"#);
        same(&echoed, &json!({ "type": "pong", "payload": { "x": 1 } }));
        assert_eq!(told(&mut machine, r#"{"type":"pong"}"#), "-");
    }

    #[test]
    fn w05_subscribe_needs_an_ack_and_a_free_id() {
        let mut machine = Machine::new(2);
        assert_eq!(told(&mut machine, SUBSCRIBE), "4401 Unauthorized");
        told(&mut machine, r#"{"type":"connection_init"}"#);
        assert_eq!(told(&mut machine, SUBSCRIBE), "4401 Unauthorized");
        machine.acknowledge("");
        assert_eq!(told(&mut machine, SUBSCRIBE), "execute a {a}");
        machine.subscribed("a".into(), SubscriptionId(1));
        assert_eq!(told(&mut machine, SUBSCRIBE), "4409 Subscriber for a already exists");
        assert_eq!(told(&mut machine, r#"{"id":"a","type":"complete"}"#), "complete 1");
        assert_eq!(told(&mut machine, SUBSCRIBE), "execute a {a}");
        let nulls = r#"{"id":"b","type":"subscribe","payload":{"query":"{b}","variables":null,
            "operationName":null,"extensions":null},"more":1}"#;
        assert_eq!(told(&mut machine, nulls), "execute b {b}");
    }

    #[test]
    fn w05_w08_an_operation_that_is_being_authorized_has_its_id_until_it_is_completed() {
        let mut machine = ready();
        machine.authorizing("a".into());
        assert_eq!(told(&mut machine, SUBSCRIBE), "4409 Subscriber for a already exists");
        machine.authorizing("b".into());
        let third = SUBSCRIBE.replace("\"a\"", "\"c\"");
        assert!(told(&mut machine, &third).contains("TOO_MANY_SUBSCRIPTIONS"));
        assert_eq!(told(&mut machine, r#"{"id":"a","type":"complete"}"#), "abandon a");
        assert_eq!(told(&mut machine, r#"{"id":"a","type":"complete"}"#), "-");
        machine.decided("b");
        assert_eq!(told(&mut machine, SUBSCRIBE), "execute a {a}");
    }

    #[test]
    fn w07_w08_nothing_follows_the_end_of_an_operation() {
        let mut machine = ready();
        machine.subscribed("a".into(), SubscriptionId(1));
        let next = machine.next(SubscriptionId(1), br#"{"data":{}"#, "c").unwrap();
        let expected = r#"{"id":"a","type":"next","payload":{"data":{},"extensions":{"cursor":"c"}}}"#;
        assert_eq!(std::str::from_utf8(&next).unwrap(), expected);
        let error = ClientError::SlowConsumer.to_graphql_at(&"c".into());
        let ended: Value = serde_json::from_str(&machine.end(SubscriptionId(1), &error).unwrap()).unwrap();
        assert_eq!((&ended["type"], &ended["id"]), (&"error".into(), &"a".into()));
        assert_eq!(ended["payload"][0]["extensions"], json!({ "code": "SLOW_CONSUMER", "cursor": "c" }));
        assert!(machine.next(SubscriptionId(1), b"{", "c").is_none());
        assert!(machine.end(SubscriptionId(1), &error).is_none());
        assert_eq!(told(&mut machine, r#"{"id":"a","type":"complete"}"#), "-"); // W9
        machine.subscribed("a".into(), SubscriptionId(2));
        told(&mut machine, r#"{"id":"a","type":"complete"}"#);
        assert!(machine.next(SubscriptionId(2), b"{", "c").is_none());
    }

    #[test]
    fn w10_what_is_no_message_closes_4400() {
        for message in [
            "",
            "[]",
            "7",
            "{",
            "{}",
            r#"{"type":1}"#,
            r#"{"type":"next","id":"a"}"#,
            r#"{"type":"start","id":"a"}"#,
            r#"{"type":"subscribe"}"#,
            r#"{"type":"subscribe","id":"","payload":{"query":"{a}"}}"#,
            r#"{"type":"subscribe","id":["a"],"payload":{"query":"{a}"}}"#,
            r#"{"type":"subscribe","id":1,"payload":{"query":"{a}"}}"#,
            r#"{"type":"subscribe","id":"a"}"#,
            r#"{"type":"subscribe","id":"a","payload":{}}"#,
            r#"{"type":"subscribe","id":"a","payload":{"query":"{a}","variables":[]}}"#,
            r#"{"type":"complete"}"#,
        ] {
            assert!(told(&mut ready(), message).starts_with("4400 "), "{message}");
        }
        let deep = format!("{{\"type\":\"ping\",\"payload\":{}1{}}}", "[".repeat(500), "]".repeat(500));
        assert!(told(&mut ready(), &deep).starts_with("4400 "));
        let long = SUBSCRIBE.replace("\"a\"", &format!("\"{}\"", "a".repeat(257)));
        assert!(told(&mut ready(), &long).starts_with("4400 "));
    }

    #[test]
    fn w12_a_reason_fits_its_frame() {
        let mut machine = ready();
        let id = "ä".repeat(100);
        machine.subscribed(id.as_str().into(), SubscriptionId(1));
        let Action::Close(close) = machine.receive(&SUBSCRIBE.replace("\"a\"", &format!("\"{id}\""))) else {
            panic!("the id is taken")
        };
        assert!(close.reason.len() <= 123 && close.code == 4409);
    }

    #[test]
    fn w13_limits_are_errors_of_the_operation() {
        let mut machine = ready();
        machine.subscribed("x".into(), SubscriptionId(1));
        machine.subscribed("y".into(), SubscriptionId(2));
        let refused: Value = serde_json::from_str(&told(&mut machine, SUBSCRIBE)).unwrap();
        assert_eq!((&refused["type"], &refused["id"]), (&"error".into(), &"a".into()));
        assert_eq!(refused["payload"][0]["extensions"]["code"], "TOO_MANY_SUBSCRIPTIONS");
    }

    #[test]
    fn w14_a_cursor_is_refused_not_ignored() {
        let message =
            r#"{"id":"a","type":"subscribe","payload":{"query":"{a}","extensions":{"cursor":"c"}}}"#;
        let refused: Value = serde_json::from_str(&told(&mut ready(), message)).unwrap();
        assert_eq!(refused["payload"][0]["extensions"]["code"], "CURSOR_UNSUPPORTED");
    }

    #[test]
    fn w11_a_query_is_one_next_and_complete() {
        let [next, complete] = answered("a", br#"{"data":{"a":1}}"#).map(|m| String::from_utf8(m).unwrap());
        assert_eq!(next, r#"{"id":"a","type":"next","payload":{"data":{"a":1}}}"#);
        same(&complete, &json!({ "id": "a", "type": "complete" }));
    }
}
