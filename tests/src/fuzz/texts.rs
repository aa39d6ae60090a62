//! What clients send and the daemon takes apart by itself, without a socket: cursors, tokens, messages.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use futures_util::FutureExt;
use jsonwebtoken::{EncodingKey, Header, encode};
use rand::Rng;
use serde_json::Value;
use tidings_daemon::access::authenticator::Authenticator;
use tidings_daemon::config::{AuthMode, Config, Secret};
use tidings_daemon::source::cursor::Cursor;
use tidings_daemon::transport::legacy_ws::LegacyWs;
use tidings_daemon::transport::machine::{Action, Machine};
use tidings_daemon::transport::transport_ws::TransportWs;

use super::Fuzz;
use crate::support::daemon::{SECRET, token};

#[test]
fn cursors_are_read_or_refused_and_mean_what_they_say() {
    Fuzz::new("cursors", &[]).run(|input, rng| {
        // As a text from a client, and as the bytes that such a text stands for.
        let text = String::from_utf8_lossy(input);
        for text in [text.into_owned(), BASE64.encode(input)] {
            if let Ok(cursor) = Cursor::decode(&text) {
                assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor.clone()), "{text}");
                cursor.contains(rng.random(), rng.random());
            }
        }
    });
}

fn authenticator() -> Authenticator {
    let mut config = Config { auth: Some(AuthMode::Jwt), ..Config::default() };
    config.jwt.main.secret = Some(Secret::new(SECRET));
    Authenticator::new(&config).unwrap()
}

#[test]
fn no_token_is_good_that_was_not_signed() {
    let authenticator = authenticator();
    let good = token("ann", "acme");
    let identify = |token: &str| {
        authenticator.identify(Ok(Some(Secret::new(token)))).now_or_never().expect("no waiting for keys")
    };
    assert!(identify(&good).is_ok(), "the control");
    Fuzz::new(
        "tokens",
        &["alg", "none", "HS256", "HS512", "RS256", "kid", "exp", "nbf", "iss", "aud", "{GOOD}", ".", "=="],
    )
    .run(|input, _| {
        let input = String::from_utf8_lossy(input).replace("{GOOD}", &good);
        // The token itself, and one whose parts are these texts.
        let parts: Vec<_> = input.split('.').map(|part| BASE64.encode(part)).collect();
        for token in [input.clone(), parts.join(".")] {
            assert!(token.trim() == good || identify(&token).is_err(), "{token:?} was let in");
        }
    });
}

#[test]
fn claims_that_are_signed_make_an_identity_or_none() {
    let authenticator = authenticator();
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    Fuzz::new(
        "claims",
        &["\"sub\":", "\"tenant_id\":", "\"role\":", "\"exp\":", "9999999999", "[", "{", "\"acme\"", ","],
    )
    .run(|input, _| {
        let Ok(claims) = serde_json::from_slice::<Value>(input) else { return };
        let token = encode(&Header::default(), &claims, &key).unwrap();
        let identity = authenticator
            .identify(Ok(Some(Secret::new(&token))))
            .now_or_never()
            .expect("no waiting for keys");
        if let Ok(identity) = identity {
            let claimed = claims["tenant_id"].as_str().filter(|tenant| !tenant.is_empty());
            let claimed = claimed
                .map(str::to_owned)
                .or_else(|| claims["tenant_id"].as_number().map(ToString::to_string));
            assert_eq!(identity.tenant.as_deref(), claimed.as_deref(), "{claims}");
        }
    });
}

const MESSAGES: &[&str] = &[
    "\"type\":",
    "\"id\":",
    "\"payload\":",
    "\"connection_init\"",
    "\"subscribe\"",
    "\"start\"",
    "\"stop\"",
    "\"complete\"",
    "\"ping\"",
    "\"pong\"",
    "\"next\"",
    "\"connection_terminate\"",
    "\"query\":",
    "\"variables\":",
    "\"extensions\":",
    "\"cursor\":",
    "\"operationName\":",
    "\n",
    "{",
    "}",
    "[",
    "]",
    ",",
    "null",
];

/// What the socket would do with the actions of a machine.
fn obey(machine: &mut dyn Machine, actions: Vec<Action>, number: &mut u64) -> bool {
    for action in actions {
        match action {
            Action::Send(text) => drop(serde_json::from_str::<Value>(&text).expect("messages are JSON")),
            Action::Authenticate(_) => {
                for text in machine.acknowledge("c") {
                    serde_json::from_str::<Value>(&text).expect("messages are JSON");
                }
            }
            Action::Execute(operation) => {
                *number += 1;
                let subscription = tidings_daemon::hub::mailbox::SubscriptionId(*number);
                machine.subscribed(operation.id, subscription);
                if number.is_multiple_of(3) {
                    machine.operations().ended(subscription);
                }
            }
            Action::Refuse(id, error) => {
                serde_json::from_str::<Value>(&machine.error_message(&id, &[error.to_graphql()]))
                    .expect("messages are JSON");
            }
            Action::Close(close) => {
                assert!(close.reason.len() <= 123, "W12: {}", close.reason);
                return false;
            }
            Action::Complete(_) | Action::Abandon(_) | Action::Refresh(_) => {}
        }
    }
    true
}

/// Each line of an input is a message.
fn converse(mut machine: impl Machine, input: &[u8]) {
    let mut number = 0;
    for line in input.split(|byte| *byte == b'\n') {
        let actions = machine.receive(line);
        if !obey(&mut machine, actions, &mut number) {
            return;
        }
        while let Some(held) = machine.held() {
            let actions = machine.receive(&held);
            if !obey(&mut machine, actions, &mut number) {
                return;
            }
        }
        machine.keep_alive();
    }
}

#[test]
fn messages_of_both_subprotocols_are_obeyed_or_refused() {
    Fuzz::new("messages", MESSAGES).run(|input, _| {
        converse(TransportWs::new(5), input);
        converse(LegacyWs::new(5, 4096), input);
    });
}
