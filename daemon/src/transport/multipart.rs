//! Apollo's multipart subscriptions: one operation, one `multipart/mixed` response.
//!
//! M1 to M7 are lines of docs/protocols.md.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Request};
use axum::response::Response;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::accept::Accept;
use super::frame::close_result;
use super::refusal::refuse;
use super::sse;
use super::stream::{self, Format};
use super::{Endpoint, Transport};
use crate::error::{ClientError, errors_body};
use crate::graphql::error::GraphQLError;

const KIND: (&str, &str) = ("multipart", "mixed");
/// What makes `multipart/mixed` this protocol; others of the type deliver parts of one result.
const SPEC: (&str, &str) = ("subscriptionspec", "1.0");

/// Requests whose `Accept` names the protocol, and no event stream that is as welcome (M1).
#[derive(Debug)]
pub struct Multiparts;

impl Transport for Multiparts {
    fn admits(&self, head: &Parts) -> bool {
        let accept = Accept::of(&head.headers);
        let quality = accept.named_with(KIND, &[SPEC]);
        quality > 0 && quality > accept.named("text", "event-stream")
    }

    fn answer(&self, endpoint: Endpoint, request: Request<Body>) -> BoxFuture<'static, Response> {
        async move {
            let (head, body) = request.into_parts();
            let format = Multipart::for_client(&Accept::of(&head.headers));
            // No client sends it by itself; whoever sends it does not want to begin now.
            let opened = stream::open(&endpoint, &head, body, format, sse::last_event_id(&head)).await;
            opened.unwrap_or_else(|error| refuse(&endpoint, &error))
        }
        .boxed()
    }
}

/// A stream as parts.
///
/// Clients see a part once the delimiter after it has come, so it is written with the part (M3); what
/// is open is always the next part, or the end.
#[derive(Debug, Clone, Copy)]
struct Multipart {
    media_type: &'static str,
    delimiter: &'static str,
}

const GRAPHQL: Multipart = Multipart {
    media_type: r#"multipart/mixed; boundary="graphql"; subscriptionSpec="1.0""#,
    delimiter: "\r\n--graphql",
};

const DASH: Multipart = Multipart {
    media_type: r#"multipart/mixed; boundary="-"; subscriptionSpec="1.0""#,
    delimiter: "\r\n---",
};

impl Multipart {
    /// M2: the usual boundary, or the one of incremental delivery for who names it.
    fn for_client(accept: &Accept) -> Self {
        if accept.named_with(KIND, &[SPEC, ("boundary", "-")]) > 0 { DASH } else { GRAPHQL }
    }

    fn part(&self, into: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        into.extend_from_slice(b"\r\ncontent-type: application/json\r\n\r\n");
        write(into);
        into.extend_from_slice(self.delimiter.as_bytes());
    }

    fn payload(&self, into: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        self.part(into, |into| {
            into.extend_from_slice(br#"{"payload":"#);
            write(into);
            into.push(b'}');
        });
    }

    /// M6: what is wrong with the stream rather than with a result.
    fn transport_error(&self, into: &mut Vec<u8>, error: GraphQLError) {
        self.part(into, |into| {
            into.extend_from_slice(br#"{"payload":null,"#);
            into.extend_from_slice(&errors_body(&[error])[1..]);
        });
    }
}

impl Format for Multipart {
    const LABEL: &'static str = "multipart";
    const OVERHEAD: usize = 96;

    fn media_type(&self) -> HeaderValue {
        HeaderValue::from_static(self.media_type)
    }

    fn opening(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(self.delimiter.trim_start().as_bytes());
    }

    fn live(&self, into: &mut Vec<u8>, _cursor: &str) {
        self.keep_alive(into); // M4
    }

    fn result(&self, into: &mut Vec<u8>, result: &[u8], cursor: &str) {
        self.payload(into, |into| {
            into.extend_from_slice(result);
            close_result(into, cursor);
        });
    }

    fn whole(&self, into: &mut Vec<u8>, result: &[u8], _cursor: &str) {
        self.payload(into, |into| into.extend_from_slice(result));
    }

    fn refused(&self, into: &mut Vec<u8>, errors: &[GraphQLError]) {
        self.payload(into, |into| into.extend_from_slice(&errors_body(errors))); // M5
    }

    fn ended(&self, into: &mut Vec<u8>, error: GraphQLError) {
        self.transport_error(into, error);
    }

    fn complete(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(b"--\r\n"); // M7
    }

    fn keep_alive(&self, into: &mut Vec<u8>) {
        self.part(into, |into| into.extend_from_slice(b"{}")); // M4
    }

    /// A heartbeat is empty, so it cannot say.
    fn position(&self, _into: &mut Vec<u8>, _cursor: &str) {}

    fn leave(&self, into: &mut Vec<u8>) {
        self.transport_error(into, ClientError::Draining.to_graphql());
        self.complete(into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(accept: &str) -> Parts {
        Request::get("/graphql").header("accept", accept).body(()).unwrap().into_parts().0
    }

    #[test]
    fn m01_the_accept_header_names_the_protocol() {
        for accept in [
            "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/json",
            r#"multipart/mixed; boundary="graphql"; subscriptionSpec="1.0", application/json"#,
            "Multipart/Mixed;SUBSCRIPTIONSPEC=1.0;q=0.1, application/json, */*",
            "text/event-stream;q=0.5, multipart/mixed;subscriptionSpec=1.0;q=0.6",
        ] {
            assert!(Multiparts.admits(&head(accept)), "{accept}");
        }
        for accept in [
            "multipart/mixed",
            "multipart/mixed;deferSpec=20220824",
            "multipart/mixed;subscriptionSpec=2.0",
            "multipart/mixed;subscriptionSpec=1.0;q=0",
            "text/event-stream, multipart/mixed;subscriptionSpec=1.0",
            "*/*",
        ] {
            assert!(!Multiparts.admits(&head(accept)), "{accept}");
        }
    }

    #[test]
    fn m02_m03_a_part_is_written_with_the_delimiter_after_it() {
        for (accept, boundary) in [
            ("multipart/mixed;subscriptionSpec=1.0", "graphql"),
            ("multipart/mixed;boundary=other;subscriptionSpec=1.0", "graphql"),
            (r#"multipart/mixed;boundary="-";subscriptionSpec=1.0"#, "-"),
        ] {
            let format = Multipart::for_client(&Accept::of(&head(accept).headers));
            let named = format!("multipart/mixed; boundary=\"{boundary}\"; subscriptionSpec=\"1.0\"");
            assert_eq!(format.media_type(), named);
            let mut bytes = Vec::new();
            format.opening(&mut bytes);
            format.live(&mut bytes, "c");
            format.result(&mut bytes, br#"{"data":{"a":1}"#, "c");
            format.complete(&mut bytes);
            let expected = format!(
                "--{boundary}\r\ncontent-type: application/json\r\n\r\n{{}}\r\n--{boundary}\r\n\
                 content-type: application/json\r\n\r\n\
                 {{\"payload\":{{\"data\":{{\"a\":1}},\"extensions\":{{\"cursor\":\"c\"}}}}}}\r\n\
                 --{boundary}--\r\n"
            );
            assert_eq!(String::from_utf8(bytes).unwrap(), expected);
        }
    }

    #[test]
    fn m06_an_end_is_an_error_beside_the_payload() {
        let mut bytes = Vec::new();
        GRAPHQL.ended(&mut bytes, ClientError::SlowConsumer.to_graphql_at(&"c".into()));
        let text = String::from_utf8(bytes).unwrap();
        let (_, part) = text.split_once("\r\n\r\n").unwrap();
        let part: serde_json::Value =
            serde_json::from_str(part.strip_suffix("\r\n--graphql").unwrap()).unwrap();
        assert_eq!(part["payload"], serde_json::Value::Null);
        let extensions = serde_json::json!({ "code": "SLOW_CONSUMER", "cursor": "c" });
        assert_eq!(part["errors"][0]["extensions"], extensions);
    }
}
