//! A server of key sets that does what it is told, wrong things too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::support::within;

/// What the server does when it is asked.
#[derive(Clone)]
pub(super) enum Answer {
    /// These keys.
    Keys(Vec<Value>),
    /// This text.
    Text(String),
    /// A status.
    Status(u16),
    /// A redirect to where the keys are.
    Redirect,
    /// A body without an end.
    Endless,
    /// A head, and then nothing.
    Hang,
    /// Nothing at all.
    Silence,
}

/// A running server; it ends with the test.
pub(super) struct KeyServer {
    pub(super) url: String,
    state: Arc<State>,
}

struct State {
    answer: Mutex<Answer>,
    /// The keys, for whoever follows a redirect.
    elsewhere: AtomicUsize,
    asked: watch::Sender<usize>,
}

impl KeyServer {
    pub(super) async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let state = Arc::new(State {
            answer: Mutex::new(answer),
            elsewhere: AtomicUsize::new(0),
            asked: watch::Sender::new(0),
        });
        let router = router(state.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, state }
    }

    pub(super) fn answer(&self, answer: Answer) {
        *self.state.answer.lock() = answer;
    }

    /// How often it was asked.
    pub(super) fn asked(&self) -> usize {
        *self.state.asked.borrow()
    }

    /// How often somebody followed its redirect.
    pub(super) fn followed(&self) -> usize {
        self.state.elsewhere.load(Ordering::Relaxed)
    }

    /// Waits until it has been asked that often.
    pub(super) async fn wait_until_asked(&self, times: usize) {
        let mut asked = self.state.asked.subscribe();
        within("a fetch", asked.wait_for(|asked| *asked >= times)).await.unwrap();
    }
}

fn router(state: Arc<State>) -> Router {
    let elsewhere = state.clone();
    Router::new().route("/jwks.json", get(move || respond(state.clone()))).route(
        "/elsewhere.json",
        get(move || async move {
            elsewhere.elsewhere.fetch_add(1, Ordering::Relaxed);
            "{}"
        }),
    )
}

async fn respond(state: Arc<State>) -> Response {
    state.asked.send_modify(|asked| *asked += 1);
    let answer = state.answer.lock().clone();
    match answer {
        Answer::Keys(keys) => key_set(&keys).into_response(),
        Answer::Text(text) => text.into_response(),
        Answer::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Answer::Redirect => (StatusCode::FOUND, [(header::LOCATION, "/elsewhere.json")]).into_response(),
        Answer::Endless => {
            let blanks = stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 64 << 10]));
            Body::from_stream(blanks).into_response()
        }
        Answer::Hang => Body::from_stream(stream::pending::<std::io::Result<Vec<u8>>>()).into_response(),
        Answer::Silence => std::future::pending().await,
    }
}

/// Keys as a document.
pub(super) fn key_set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}
