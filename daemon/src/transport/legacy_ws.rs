//! The protocol of the npm package subscriptions-transport-ws without its socket. Its subprotocol is
//! named `graphql-ws`, like another package that speaks `graphql-transport-ws`.
//!
//! L1 to L7 are the lines of PROTOCOLS.md, part C.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use super::json::{self as reading, Head};
use super::machine::{
    Action, Close, Machine, Operation, Phase, complete_message, init_payload, operation_id,
    refuse_unreadable, with_cursor,
};
use super::operations::Operations;
use super::parameters;
use crate::error::ClientError;
use crate::graphql::error::GraphQLError;
use crate::graphql::request::Request;

/// The subprotocol's name.
pub const SUBPROTOCOL: &str = "graphql-ws";
/// The type of a message with a result (L3).
const RESULT: &str = "data";

/// The state of one socket.
#[derive(Debug)]
pub struct LegacyWs {
    phase: Phase,
    operations: Operations,
    held: Held,
}

/// Messages `start` that came before the acknowledgement (L2), one for each id.
#[derive(Debug)]
struct Held {
    messages: VecDeque<(Box<str>, Box<[u8]>)>,
    messages_max: usize,
    /// All of them together.
    bytes_max: usize,
}

impl Machine for LegacyWs {
    fn phase(&self) -> Phase {
        self.phase
    }

    fn operations(&mut self) -> &mut Operations {
        &mut self.operations
    }

    fn receive(&mut self, message: &[u8]) -> Vec<Action> {
        let Ok(Value::Object(mut object)) = reading::parse(message) else {
            return match Head::of(message) {
                Some(Head { r#type, id }) if r#type == "start" && self.phase == Phase::Ready => {
                    refuse_unreadable(id)
                }
                _ => vec![Action::Send(connection_error("The message is not a JSON object."))], // L6
            };
        };
        let kind = object.remove("type");
        match kind.as_ref().and_then(Value::as_str) {
            Some("connection_init") => self.initialise(object),
            Some("start") => self.start(object, message),
            Some("stop") => self.stop(&object),
            Some("connection_terminate") => vec![Action::Close(Close::new(1000, ""))], // L7
            _ => bad(&object, "The message has an unknown type."),                     // L6
        }
    }

    fn acknowledge(&mut self, cursor: &str) -> Vec<String> {
        self.phase = Phase::Ready;
        vec![with_cursor("connection_ack", cursor), keep_alive()] // L1
    }

    fn reject(&self, error: &ClientError) -> (Option<String>, Close) {
        (Some(connection_error(&error.to_string())), Close::new(1011, "Forbidden")) // L1
    }

    /// L2: what was held goes on its way once there is an acknowledgement.
    fn held(&mut self) -> Option<Box<[u8]>> {
        if self.phase != Phase::Ready {
            return None;
        }
        let (_, message) = self.held.messages.pop_front()?;
        Some(message)
    }

    /// One object, not a list (L5): the first.
    fn error_message(&self, id: &str, errors: &[GraphQLError]) -> String {
        json!({ "id": id, "type": "error", "payload": errors.first() }).to_string()
    }

    fn keep_alive(&self) -> Option<String> {
        (self.phase == Phase::Ready).then(keep_alive) // L1
    }
}

impl LegacyWs {
    /// A socket that has said nothing yet. What is held for the acknowledgement are that many
    /// operations at most, and so many bytes of messages.
    pub fn new(subscriptions_max: usize, held_bytes_max: usize) -> Self {
        Self {
            phase: Phase::Waiting,
            operations: Operations::new(subscriptions_max, RESULT),
            held: Held {
                messages: VecDeque::new(),
                messages_max: subscriptions_max,
                bytes_max: held_bytes_max,
            },
        }
    }

    fn initialise(&mut self, mut message: Map<String, Value>) -> Vec<Action> {
        if self.phase == Phase::Ready {
            // L7: acknowledged again. Who the client is remains as it is.
            return vec![Action::Send(with_cursor("connection_ack", "")), Action::Send(keep_alive())];
        }
        let Some(payload) = init_payload(&mut message) else {
            let error = ClientError::Malformed("The payload of connection_init is not an object.".into());
            let (said, close) = self.reject(&error);
            return said.map(Action::Send).into_iter().chain([Action::Close(close)]).collect();
        };
        self.phase = Phase::Authenticating;
        vec![Action::Authenticate(payload)]
    }

    fn start(&mut self, mut object: Map<String, Value>, message: &[u8]) -> Vec<Action> {
        let Some(id) = operation_id(&object) else {
            return bad(&object, "The message has no usable id.");
        };
        if self.phase != Phase::Ready {
            let held = self.held.hold(id.clone(), message); // L2
            return held.err().map(|error| Action::Refuse(id, error)).into_iter().collect();
        }
        // L4: whatever becomes of the new operation, the old one is over.
        let mut actions: Vec<_> = self.operations.remove(&id).into_iter().collect();
        let action = match self.admit(object.remove("payload")) {
            Ok(request) => Action::Execute(Operation { id, request }),
            Err(error) => Action::Refuse(id, error),
        };
        actions.push(action);
        actions
    }

    fn admit(&self, payload: Option<Value>) -> Result<Request, ClientError> {
        let payload = payload.ok_or_else(|| ClientError::Malformed("The message has no payload.".into()))?;
        let request = parameters::from_value(payload)?;
        self.operations.admit()?;
        Ok(request)
    }

    /// L3: answered with complete, if there is anything to stop.
    fn stop(&mut self, object: &Map<String, Value>) -> Vec<Action> {
        let Some(id) = operation_id(object) else {
            return bad(object, "The message has no usable id.");
        };
        let complete = Action::Send(complete_message(&id));
        match self.operations.remove(&id) {
            Some(action) => vec![action, complete],
            None if self.held.remove(&id) => vec![complete],
            None => Vec::new(),
        }
    }
}

impl Held {
    /// Holds a message, in place of one with the same id (L4).
    ///
    /// # Errors
    /// If there is no room for it.
    fn hold(&mut self, id: Box<str>, message: &[u8]) -> Result<(), ClientError> {
        self.remove(&id);
        if self.messages.len() >= self.messages_max {
            return Err(ClientError::TooManySubscriptions(self.messages_max));
        }
        let held: usize = self.messages.iter().map(|(_, message)| message.len()).sum();
        if held + message.len() > self.bytes_max {
            return Err(ClientError::TooLarge(self.bytes_max));
        }
        self.messages.push_back((id, message.into()));
        Ok(())
    }

    /// Whether there was a message with this id.
    fn remove(&mut self, id: &str) -> bool {
        let before = self.messages.len();
        self.messages.retain(|(held, _)| &**held != id);
        self.messages.len() < before
    }
}

/// L6: an error of the operation, if the message names one; the socket stays.
fn bad(object: &Map<String, Value>, reason: &str) -> Vec<Action> {
    let error = ClientError::Malformed(reason.into());
    vec![match operation_id(object) {
        Some(id) => Action::Refuse(id, error),
        None => Action::Send(json!({ "type": "error", "payload": error.to_graphql() }).to_string()),
    }]
}

fn keep_alive() -> String {
    json!({ "type": "ka" }).to_string()
}

fn connection_error(message: &str) -> String {
    json!({ "type": "connection_error", "payload": { "message": message } }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::mailbox::SubscriptionId;
    use crate::transport::machine::{result_text, told};

    const INIT: &str = r#"{"type":"connection_init"}"#;
    const START: &str = r#"{"id":"a","type":"start","payload":{"query":"{a}"}}"#;
    const STOP: &str = r#"{"id":"a","type":"stop"}"#;

    fn waiting() -> LegacyWs {
        LegacyWs::new(2, 200)
    }

    fn ready() -> LegacyWs {
        let mut machine = waiting();
        told(&mut machine, INIT);
        machine.acknowledge("");
        machine
    }

    /// Messages, whose members' order is serde_json's business.
    fn messages(lines: &str) -> Vec<Value> {
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn l01_an_ack_and_ka_or_an_error_and_1011() {
        let mut machine = waiting();
        assert!(machine.keep_alive().is_none());
        assert_eq!(told(&mut machine, INIT), "authenticate {}");
        let ack = machine.acknowledge("c").join("\n");
        let payload = json!({ "cursor": "c" });
        let expected = [json!({ "type": "connection_ack", "payload": payload }), json!({ "type": "ka" })];
        assert_eq!(messages(&ack), expected);
        assert_eq!(messages(&machine.keep_alive().unwrap()), [json!({ "type": "ka" })]);

        let (said, close) = waiting().reject(&ClientError::TokenExpired);
        let payload = json!({ "message": "The token has expired." });
        assert_eq!(messages(&said.unwrap()), [json!({ "type": "connection_error", "payload": payload })]);
        assert_eq!(close.code, 1011);
    }

    #[test]
    fn l02_a_start_is_held_until_the_ack() {
        let mut machine = waiting();
        assert_eq!(told(&mut machine, START), "");
        assert_eq!(told(&mut machine, &START.replace("\"a\"", "\"b\"")), "");
        assert_eq!(told(&mut machine, &START.replace("{a}", "{a2}")), ""); // L4
        assert_eq!(machine.held(), None);
        told(&mut machine, INIT);
        machine.acknowledge("");
        let mut executed = Vec::new();
        while let Some(message) = machine.held() {
            executed.push(told(&mut machine, std::str::from_utf8(&message).unwrap()));
        }
        assert_eq!(executed, ["execute b {a}", "execute a {a2}"]);
    }

    #[test]
    fn l02_what_is_held_is_bounded_and_can_be_stopped() {
        let mut machine = waiting();
        told(&mut machine, START);
        told(&mut machine, &START.replace("\"a\"", "\"b\""));
        let third = START.replace("\"a\"", "\"c\"");
        assert!(told(&mut machine, &third).contains("TOO_MANY_SUBSCRIPTIONS"));
        assert_eq!(messages(&told(&mut machine, STOP)), [json!({ "id": "a", "type": "complete" })]);
        assert_eq!(told(&mut machine, &third), "");
        told(&mut machine, &STOP.replace("\"a\"", "\"c\""));
        let large = START.replace("{a}", &"a".repeat(200));
        assert!(told(&mut machine, &large).contains("REQUEST_TOO_LARGE"));
    }

    #[test]
    fn l03_results_are_data_and_a_stop_is_completed() {
        let mut machine = ready();
        assert_eq!(told(&mut machine, START), "execute a {a}");
        machine.subscribed("a".into(), SubscriptionId(1));
        let data = result_text(&mut machine, 1, br#"{"data":{}"#).unwrap();
        let expected = r#"{"id":"a","type":"data","payload":{"data":{},"extensions":{"cursor":"c"}}}"#;
        assert_eq!(data, expected);
        let stopped = told(&mut machine, STOP);
        let (complete, answer) = stopped.split_once('\n').unwrap();
        assert_eq!(complete, "complete 1");
        assert_eq!(messages(answer), [json!({ "id": "a", "type": "complete" })]);
        assert_eq!(told(&mut machine, STOP), "");
        assert!(result_text(&mut machine, 1, b"{").is_none());
    }

    #[test]
    fn l04_a_second_start_takes_the_place_of_the_first() {
        let mut machine = ready();
        machine.subscribed("a".into(), SubscriptionId(1));
        machine.subscribed("b".into(), SubscriptionId(2));
        assert_eq!(told(&mut machine, START), "complete 1\nexecute a {a}");
        machine.operations().authorizing("a".into());
        assert_eq!(told(&mut machine, START), "abandon a\nexecute a {a}");
        machine.subscribed("a".into(), SubscriptionId(3));
        let refused = told(&mut machine, r#"{"id":"a","type":"start","payload":{}}"#);
        assert!(refused.starts_with("complete 3\n") && refused.contains("BAD_REQUEST"), "{refused}");
    }

    #[test]
    fn l05_an_error_is_one_object() {
        let errors =
            [ClientError::SlowConsumer.to_graphql_at(&"c".into()), ClientError::Undecided.to_graphql()];
        let error = &messages(&ready().error_message("a", &errors))[0];
        assert_eq!((&error["type"], &error["id"]), (&json!("error"), &json!("a")));
        assert_eq!(error["payload"]["extensions"], json!({ "code": "SLOW_CONSUMER", "cursor": "c" }));
        let mut machine = ready();
        machine.subscribed("x".into(), SubscriptionId(1));
        machine.subscribed("y".into(), SubscriptionId(2));
        assert!(told(&mut machine, START).contains("TOO_MANY_SUBSCRIPTIONS"));
    }

    #[test]
    fn l06_what_is_no_message_is_an_error_and_no_end() {
        for message in ["", "{", "[]", "7"] {
            assert_eq!(messages(&told(&mut ready(), message))[0]["type"], "connection_error", "{message}");
        }
        for message in [
            "{}",
            r#"{"type":1}"#,
            r#"{"type":"subscribe","id":"a"}"#,
            r#"{"type":"connection_error"}"#,
            r#"{"type":"start","payload":{"query":"{a}"}}"#,
            r#"{"type":"start","id":"a"}"#,
            r#"{"type":"start","id":"a","payload":null}"#,
            r#"{"type":"stop"}"#,
        ] {
            let error = &messages(&told(&mut ready(), message))[0];
            assert_eq!(error["type"], "error", "{message}");
            assert_eq!(error["payload"]["extensions"]["code"], "BAD_REQUEST", "{message}");
            assert_eq!(error.get("id").is_some(), message.contains("\"a\""), "{message}");
        }
        let invalid = ready().receive(b"{\"type\":\"\xff\"}");
        assert!(matches!(&invalid[..], [Action::Send(text)] if text.contains("connection_error")));
    }

    #[test]
    fn l07_terminate_closes_and_a_second_init_is_acked_again() {
        let mut machine = ready();
        assert_eq!(told(&mut machine, r#"{"type":"connection_terminate","payload":null}"#), "1000 ");
        let again = told(&mut machine, r#"{"type":"connection_init","payload":{"token":"other"}}"#);
        assert_eq!(messages(&again), [json!({ "type": "connection_ack" }), json!({ "type": "ka" })]);
        let mut nulls = waiting();
        assert_eq!(told(&mut nulls, r#"{"type":"connection_init","payload":null}"#), "authenticate {}");
        let wrong = told(&mut waiting(), r#"{"type":"connection_init","payload":7}"#);
        assert!(wrong.contains("connection_error") && wrong.ends_with("\n1011 Forbidden"), "{wrong}");
    }
}
