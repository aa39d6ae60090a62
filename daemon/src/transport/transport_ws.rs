//! The protocol `graphql-transport-ws` without its socket.
//!
//! W1 to W14 are the lines of PROTOCOLS.md, part B.

use serde_json::{Map, Value, json};

use super::json::{self as reading, Head};
use super::machine::{
    Action, Close, Machine, Operation, Phase, init_payload, operation_id, refuse_unreadable, with_cursor,
};
use super::operations::Operations;
use super::parameters;
use crate::access::token::from_payload;
use crate::error::ClientError;
use crate::graphql::error::GraphQLError;

/// The subprotocol's name.
pub const SUBPROTOCOL: &str = "graphql-transport-ws";
/// The type of a message with a result (W6).
const RESULT: &str = "next";

/// The state of one socket.
#[derive(Debug)]
pub struct TransportWs {
    phase: Phase,
    operations: Operations,
}

impl Machine for TransportWs {
    fn phase(&self) -> Phase {
        self.phase
    }

    fn operations(&mut self) -> &mut Operations {
        &mut self.operations
    }

    fn receive(&mut self, message: &[u8]) -> Vec<Action> {
        let Ok(Value::Object(mut message)) = reading::parse(message) else {
            return self.unreadable(message);
        };
        let Some(Value::String(kind)) = message.remove("type") else {
            return bad("The message has no type"); // W1
        };
        match kind.as_str() {
            "connection_init" => self.initialise(message),
            "ping" => self.ping(message.remove("payload")),
            "pong" => Vec::new(),
            "subscribe" => self.subscribe(message),
            "complete" => self.complete(&message),
            // W10: `next` and `error` from a client among them
            _ => bad("The message has an unknown type"),
        }
    }

    fn acknowledge(&mut self, cursor: &str) -> Vec<String> {
        self.phase = Phase::Ready;
        vec![with_cursor("connection_ack", cursor)] // W3, W14
    }

    fn reject(&self, _error: &ClientError) -> (Option<String>, Close) {
        (None, Close::new(4403, "Forbidden")) // W2
    }

    /// Nothing follows it (W7); syntax and validation errors are such errors.
    fn error_message(&self, id: &str, errors: &[GraphQLError]) -> String {
        json!({ "id": id, "type": "error", "payload": errors }).to_string()
    }

    fn position(&self, cursor: &str) -> Option<String> {
        Some(with_cursor("ping", cursor)) // W14
    }

    fn refreshed(&self, taken: bool) -> Option<String> {
        Some(json!({ "type": "pong", "payload": { "refreshed": taken } }).to_string())
    }
}

impl TransportWs {
    /// A socket that has said nothing yet.
    pub fn new(subscriptions_max: usize) -> Self {
        Self { phase: Phase::Waiting, operations: Operations::new(subscriptions_max, RESULT) }
    }

    /// W10, unless only an operation is unreadable: that is its own business.
    fn unreadable(&self, message: &[u8]) -> Vec<Action> {
        match Head::of(message) {
            Some(Head { r#type, id }) if r#type == "subscribe" && self.phase == Phase::Ready => {
                if self.operations.has(&id) {
                    return close(4409, format!("Subscriber for {id} already exists")); // W5
                }
                refuse_unreadable(id)
            }
            _ => bad("The message is not a JSON object"),
        }
    }

    fn initialise(&mut self, mut message: Map<String, Value>) -> Vec<Action> {
        if self.phase != Phase::Waiting {
            return close(4429, "Too many initialisation requests"); // W2
        }
        let Some(payload) = init_payload(&mut message) else {
            return bad("The payload of connection_init is not an object");
        };
        self.phase = Phase::Authenticating;
        vec![Action::Authenticate(payload)]
    }

    fn subscribe(&mut self, mut message: Map<String, Value>) -> Vec<Action> {
        if self.phase != Phase::Ready {
            return close(4401, "Unauthorized"); // W5
        }
        let Some(id) = operation_id(&message) else { return bad("The message has no usable id") };
        if self.operations.has(&id) {
            return close(4409, format!("Subscriber for {id} already exists")); // W5
        }
        let request = match message.remove("payload").map(parameters::from_value) {
            Some(Ok(request)) => request,
            Some(Err(error)) => return bad(&error.to_string()),
            None => return bad("The message has no payload"),
        };
        if let Err(error) = self.operations.admit() {
            return vec![Action::Refuse(id, error)]; // W13: a limit is an error of the operation, never 4429.
        }
        vec![Action::Execute(Operation { id, request })]
    }

    /// W4: answered at once, before init too; unless it brings a new token, which has to be checked.
    fn ping(&self, payload: Option<Value>) -> Vec<Action> {
        match payload {
            Some(Value::Object(payload))
                if self.phase == Phase::Ready && from_payload(&payload).is_some() =>
            {
                vec![Action::Refresh(payload)]
            }
            payload => pong(payload),
        }
    }

    fn complete(&mut self, message: &Map<String, Value>) -> Vec<Action> {
        let Some(id) = operation_id(message) else { return bad("The message has no usable id") };
        self.operations.remove(&id).into_iter().collect() // W8, W9
    }
}

fn pong(payload: Option<Value>) -> Vec<Action> {
    vec![Action::Send(match payload {
        None | Some(Value::Null) => json!({ "type": "pong" }).to_string(),
        Some(payload) => json!({ "type": "pong", "payload": payload }).to_string(),
    })]
}

fn bad(reason: &str) -> Vec<Action> {
    close(4400, reason)
}

fn close(code: u16, reason: impl Into<String>) -> Vec<Action> {
    vec![Action::Close(Close::new(code, reason))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::mailbox::SubscriptionId;
    use crate::transport::frame::tests::ws_texts;
    use crate::transport::machine;

    fn ready() -> TransportWs {
        let mut machine = TransportWs::new(2);
        machine::told(&mut machine, r#"{"type":"connection_init"}"#);
        machine.acknowledge("");
        machine
    }

    const SUBSCRIBE: &str = r#"{"id":"a","type":"subscribe","payload":{"query":"{a}"}}"#;

    #[test]
    fn a_ping_may_bring_a_new_token() {
        let mut machine = TransportWs::new(2);
        let ping = r#"{"type":"ping","payload":{"authorization":"Bearer t"}}"#;
        let echo = r#"{"payload":{"authorization":"Bearer t"},"type":"pong"}"#;
        assert_eq!(machine::told(&mut machine, ping), echo, "there is none yet that it could replace");
        let mut machine = ready();
        assert_eq!(machine::told(&mut machine, ping), r#"refresh {"authorization":"Bearer t"}"#);
        let other = r#"{"type":"ping","payload":{"time":1}}"#;
        assert_eq!(machine::told(&mut machine, other), r#"{"payload":{"time":1},"type":"pong"}"#);
        let taken = r#"{"payload":{"refreshed":true},"type":"pong"}"#;
        assert_eq!(machine.refreshed(true).as_deref(), Some(taken));
    }

    #[test]
    fn w02_there_is_one_init() {
        let mut machine = TransportWs::new(2);
        let init = r#"{"type":"connection_init","payload":{"token":"t"}}"#;
        assert_eq!(machine.phase(), Phase::Waiting);
        assert_eq!(machine::told(&mut machine, init), r#"authenticate {"token":"t"}"#);
        assert_eq!(machine.phase(), Phase::Authenticating);
        assert_eq!(machine::told(&mut machine, init), "4429 Too many initialisation requests");
        let null = r#"{"type":"connection_init","payload":null}"#;
        assert_eq!(machine::told(&mut TransportWs::new(2), null), "authenticate {}");
    }

    /// The order of members is serde_json's business.
    fn same(text: &str, expected: &Value) {
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), *expected);
    }

    #[test]
    fn w03_w14_the_ack_omits_an_absent_payload() {
        same(&ready().acknowledge("")[0], &json!({ "type": "connection_ack" }));
        let payload = json!({ "cursor": "c" });
        same(&ready().acknowledge("c")[0], &json!({ "type": "connection_ack", "payload": payload }));
        same(&ready().position("c").unwrap(), &json!({ "type": "ping", "payload": payload }));
    }

    #[test]
    fn w04_a_ping_is_answered_before_init_too() {
        let mut machine = TransportWs::new(2);
        same(&machine::told(&mut machine, r#"{"type":"ping"}"#), &json!({ "type": "pong" }));
        let echoed = machine::told(&mut machine, r#"{"type":"ping","payload":{"x":1}}"#);
        same(&echoed, &json!({ "type": "pong", "payload": { "x": 1 } }));
        assert_eq!(machine::told(&mut machine, r#"{"type":"pong"}"#), "");
    }

    #[test]
    fn w05_subscribe_needs_an_ack_and_a_free_id() {
        let mut machine = TransportWs::new(2);
        assert_eq!(machine::told(&mut machine, SUBSCRIBE), "4401 Unauthorized");
        machine::told(&mut machine, r#"{"type":"connection_init"}"#);
        assert_eq!(machine::told(&mut machine, SUBSCRIBE), "4401 Unauthorized");
        machine.acknowledge("");
        assert_eq!(machine::told(&mut machine, SUBSCRIBE), "execute a {a}");
        machine.subscribed("a".into(), SubscriptionId(1));
        assert_eq!(machine::told(&mut machine, SUBSCRIBE), "4409 Subscriber for a already exists");
        assert_eq!(machine::told(&mut machine, r#"{"id":"a","type":"complete"}"#), "complete 1");
        assert_eq!(machine::told(&mut machine, SUBSCRIBE), "execute a {a}");
        let nulls = r#"{"id":"b","type":"subscribe","payload":{"query":"{b}","variables":null,
            "operationName":null,"extensions":null},"more":1}"#;
        assert_eq!(machine::told(&mut machine, nulls), "execute b {b}");
    }

    #[test]
    fn w05_w08_an_operation_that_is_being_authorized_has_its_id_until_it_is_completed() {
        let mut machine = ready();
        machine.operations().authorizing("a".into());
        assert_eq!(machine::told(&mut machine, SUBSCRIBE), "4409 Subscriber for a already exists");
        machine.operations().authorizing("b".into());
        let third = SUBSCRIBE.replace("\"a\"", "\"c\"");
        assert!(machine::told(&mut machine, &third).contains("TOO_MANY_SUBSCRIPTIONS"));
        assert_eq!(machine::told(&mut machine, r#"{"id":"a","type":"complete"}"#), "abandon a");
        assert_eq!(machine::told(&mut machine, r#"{"id":"a","type":"complete"}"#), "");
        machine.operations().decided("b");
        assert_eq!(machine::told(&mut machine, SUBSCRIBE), "execute a {a}");
    }

    #[test]
    fn w07_w08_nothing_follows_the_end_of_an_operation() {
        let mut machine = ready();
        machine.subscribed("a".into(), SubscriptionId(1));
        let next = machine::result_text(&mut machine, 1, br#"{"data":{}"#).unwrap();
        let expected = r#"{"id":"a","type":"next","payload":{"data":{},"extensions":{"cursor":"c"}}}"#;
        assert_eq!(next, expected);
        let error = ClientError::SlowConsumer.to_graphql_at(&"c".into());
        let ended: Value = serde_json::from_str(&machine.ended(SubscriptionId(1), &error).unwrap()).unwrap();
        assert_eq!((&ended["type"], &ended["id"]), (&"error".into(), &"a".into()));
        assert_eq!(ended["payload"][0]["extensions"], json!({ "code": "SLOW_CONSUMER", "cursor": "c" }));
        assert!(machine::result_text(&mut machine, 1, b"{").is_none());
        assert!(machine.ended(SubscriptionId(1), &error).is_none());
        assert_eq!(machine::told(&mut machine, r#"{"id":"a","type":"complete"}"#), ""); // W9
        machine.subscribed("a".into(), SubscriptionId(2));
        machine::told(&mut machine, r#"{"id":"a","type":"complete"}"#);
        assert!(machine::result_text(&mut machine, 2, b"{").is_none());
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
            assert!(machine::told(&mut ready(), message).starts_with("4400 "), "{message}");
        }
        let deep = format!("{{\"type\":\"ping\",\"payload\":{}1{}}}", "[".repeat(500), "]".repeat(500));
        assert!(machine::told(&mut ready(), &deep).starts_with("4400 "));
        let long = SUBSCRIBE.replace("\"a\"", &format!("\"{}\"", "a".repeat(257)));
        assert!(machine::told(&mut ready(), &long).starts_with("4400 "));
    }

    #[test]
    fn w12_a_reason_fits_its_frame() {
        let mut machine = ready();
        let id = "ä".repeat(100);
        machine.subscribed(id.as_str().into(), SubscriptionId(1));
        let closed = machine::told(&mut machine, &SUBSCRIBE.replace("\"a\"", &format!("\"{id}\"")));
        let reason = closed.strip_prefix("4409 ").expect("the id is taken");
        assert!(reason.len() <= 123 && reason.starts_with("Subscriber for ä"));
    }

    #[test]
    fn w13_limits_are_errors_of_the_operation() {
        let mut machine = ready();
        machine.subscribed("x".into(), SubscriptionId(1));
        machine.subscribed("y".into(), SubscriptionId(2));
        let refused: Value = serde_json::from_str(&machine::told(&mut machine, SUBSCRIBE)).unwrap();
        assert_eq!((&refused["type"], &refused["id"]), (&"error".into(), &"a".into()));
        assert_eq!(refused["payload"][0]["extensions"]["code"], "TOO_MANY_SUBSCRIPTIONS");
    }

    #[test]
    fn w11_a_query_is_one_next_and_complete() {
        let mut frames = Vec::new();
        ready().answered(&mut frames, "a", br#"{"data":{"a":1}}"#);
        let [next, complete] = ws_texts(frames).try_into().unwrap();
        assert_eq!(next, r#"{"id":"a","type":"next","payload":{"data":{"a":1}}}"#);
        same(&complete, &json!({ "id": "a", "type": "complete" }));
    }
}
