//! Keys from a URL: fetched in the background, kept while they are not too old, and fetched again, not
//! too often, when a token names one that is not there.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use rand::Rng;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fetch::{FetchError, Fetcher};
use super::key::Key;
use super::key_set::KeySet;
use super::refusal::TokenError;
use crate::config::JwtAlgorithm;
use crate::config::jwt::FetchTimes;
use crate::metrics::AccessMetrics;

/// How long a client waits for the first keys after a start, and for a fetch that its token is worth. For
/// some clients a refusal is final, so they wait; but not as long as a server may take.
const WAIT_TIME: Duration = Duration::from_secs(3);
/// Pause after the first failed fetch; each further failure in a row doubles it.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest such pause.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// The keys of one URL.
#[derive(Debug)]
pub struct RemoteKeys {
    state: watch::Sender<State>,
    /// Somebody has a token whose key is not here.
    wanted: Notify,
    times: FetchTimes,
}

#[derive(Debug, Default)]
struct State {
    /// What the last successful fetch brought, and when.
    keys: Option<(Arc<KeySet>, Instant)>,
    /// When the last fetch began.
    began: Option<Instant>,
    /// Fetches that have ended.
    ended: u64,
    fetching: bool,
    /// Whether the last one failed.
    failed: bool,
}

impl RemoteKeys {
    /// No keys yet; somebody has to `follow`.
    pub fn new(times: FetchTimes) -> Self {
        Self { state: watch::Sender::new(State::default()), wanted: Notify::new(), times }
    }

    /// The keys that may have signed a token of this kid and algorithm. Waits, not for long, for the first
    /// keys, or for a fetch that an unknown kid is worth.
    ///
    /// # Errors
    /// If there is none, or nothing that could tell.
    pub async fn candidates(
        &self,
        id: Option<&str>,
        algorithm: JwtAlgorithm,
    ) -> Result<Vec<Key>, TokenError> {
        let mut state = self.state.subscribe();
        let started = state.wait_for(|state| state.keys.is_some());
        // The sender lives as long as `self`.
        let _ = tokio::time::timeout(WAIT_TIME, started).await;
        let seen = match self.look_up(id, algorithm)? {
            Found::Keys(keys) => return Ok(keys),
            Found::Nothing { ended } => ended,
        };
        if !self.ask_for_a_fetch() {
            return Err(self.unknown());
        }
        let fetched = state.wait_for(|state| state.ended > seen);
        let _ = tokio::time::timeout(WAIT_TIME, fetched).await;
        match self.look_up(id, algorithm)? {
            Found::Keys(keys) => Ok(keys),
            Found::Nothing { .. } => Err(self.unknown()),
        }
    }

    fn look_up(&self, id: Option<&str>, algorithm: JwtAlgorithm) -> Result<Found, TokenError> {
        let state = self.state.borrow();
        let young = state.keys.as_ref().filter(|(_, fetched)| fetched.elapsed() <= self.times.age_max);
        let (keys, _) = young.ok_or(TokenError::KeysUnavailable)?;
        let keys: Vec<Key> = keys.candidates(id, algorithm).cloned().collect();
        Ok(if keys.is_empty() { Found::Nothing { ended: state.ended } } else { Found::Keys(keys) })
    }

    /// Has the keys fetched as soon as that is allowed. True if that is now.
    fn ask_for_a_fetch(&self) -> bool {
        let state = self.state.borrow();
        if !state.fetching {
            self.wanted.notify_one();
        }
        state.fetching || state.began.is_none_or(|began| began.elapsed() >= self.times.refetch)
    }

    /// Whether it is the token or our knowledge that is at fault.
    fn unknown(&self) -> TokenError {
        let state = self.state.borrow();
        if state.failed || state.fetching { TokenError::KeysUnavailable } else { TokenError::UnknownKey }
    }

    /// Fetches the keys, again and again, until it is stopped.
    pub async fn follow(
        &self,
        fetcher: Fetcher,
        issuer: String,
        metrics: AccessMetrics,
        stop: CancellationToken,
    ) {
        let url = fetcher.url().to_string();
        let told = |result: &Result<Arc<KeySet>, FetchError>| match result {
            Ok(keys) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                metrics.fetched(&issuer, "ok");
                metrics.have_keys(&issuer, keys.size(), now.as_secs_f64());
                tracing::debug!(url, keys = keys.size(), skipped = ?keys.skipped(), "keys fetched");
            }
            Err(error) => {
                metrics.fetched(&issuer, error.outcome());
                tracing::warn!(url, %error, "the keys that check tokens cannot be fetched; trying again");
            }
        };
        let fetch = || {
            let fetcher = fetcher.clone();
            async move { fetcher.fetch().await }
        };
        let fetching = self.fetch_for_ever(fetch, told);
        stop.run_until_cancelled(fetching).await;
    }

    /// One fetch at a time: after `refresh`, after a pause that grows with failures, or when a key is
    /// wanted and the last fetch began `refetch` ago.
    async fn fetch_for_ever<F: Future<Output = Result<KeySet, FetchError>>>(
        &self,
        fetch: impl Fn() -> F,
        told: impl Fn(&Result<Arc<KeySet>, FetchError>),
    ) {
        let mut failures = 0;
        loop {
            let began = Instant::now();
            // Whatever was wanted until now is answered by this fetch.
            let _ = self.wanted.notified().now_or_never();
            self.state.send_modify(|state| {
                state.fetching = true;
                state.began = Some(began);
            });
            let result = fetch().await.map(Arc::new);
            told(&result);
            failures = if result.is_ok() { 0 } else { failures + 1 };
            self.state.send_modify(|state| {
                state.fetching = false;
                state.ended += 1;
                state.failed = result.is_err();
                if let Ok(keys) = result {
                    state.keys = Some((keys, Instant::now()));
                }
            });
            let pause = pause(failures, self.times.refresh);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = async {
                    self.wanted.notified().await;
                    tokio::time::sleep_until(began + self.times.refetch).await;
                } => {}
            }
        }
    }
}

enum Found {
    Keys(Vec<Key>),
    Nothing { ended: u64 },
}

/// The time to the next fetch, up to a tenth shorter, so that many daemons do not ask at once.
fn pause(failures: u32, refresh: Duration) -> Duration {
    let whole = match failures {
        0 => refresh,
        // The exponent is bounded, so the product is, too.
        _ => (RETRY_FIRST * 2_u32.pow((failures - 1).min(10))).min(RETRY_MAX).min(refresh),
    };
    whole.mul_f64(rand::rng().random_range(0.9..=1.0))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use parking_lot::Mutex;
    use serde_json::json;

    use super::*;

    const TIMES: FetchTimes = FetchTimes {
        refresh: Duration::from_secs(600),
        refetch: Duration::from_secs(10),
        age_max: Duration::from_secs(3600),
        timeout: Duration::from_secs(5),
    };

    /// What the other side does, and how often it was asked.
    #[derive(Default)]
    struct Server {
        /// The kid of its key; nothing while it is out of order.
        kid: Mutex<Option<&'static str>>,
        asked: AtomicUsize,
        /// Time for an answer.
        takes: Mutex<Duration>,
    }

    impl Server {
        fn with(kid: Option<&'static str>) -> Arc<Self> {
            Arc::new(Self { kid: Mutex::new(kid), ..Self::default() })
        }

        async fn answer(&self) -> Result<KeySet, FetchError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let takes = *self.takes.lock();
            tokio::time::sleep(takes).await;
            let kid = self.kid.lock().ok_or(FetchError::TooLarge)?;
            let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
            let set = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x }] });
            Ok(KeySet::parse(set.to_string().as_bytes(), &[JwtAlgorithm::EdDsa])?)
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }
    }

    fn follow(server: &Arc<Server>) -> Arc<RemoteKeys> {
        let keys = Arc::new(RemoteKeys::new(TIMES));
        let (following, server) = (keys.clone(), server.clone());
        tokio::spawn(async move {
            let fetch = || {
                let server = server.clone();
                async move { server.answer().await }
            };
            following.fetch_for_ever(fetch, |_| {}).await;
        });
        keys
    }

    async fn look_for(keys: &RemoteKeys, kid: &str) -> Result<usize, TokenError> {
        keys.candidates(Some(kid), JwtAlgorithm::EdDsa).await.map(|keys| keys.len())
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_keys_are_waited_for_but_not_for_ever() {
        let server = Server::with(Some("a"));
        *server.takes.lock() = Duration::from_secs(2);
        let keys = follow(&server);
        assert_eq!(look_for(&keys, "a").await, Ok(1));

        let start = Instant::now();
        let never = RemoteKeys::new(TIMES);
        assert_eq!(look_for(&never, "a").await, Err(TokenError::KeysUnavailable));
        assert_eq!(start.elapsed(), WAIT_TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_kid_is_worth_one_fetch_for_all_who_wait() {
        let server = Server::with(Some("a"));
        let keys = follow(&server);
        assert_eq!(look_for(&keys, "a").await, Ok(1));
        tokio::time::sleep(TIMES.refetch).await;
        *server.kid.lock() = Some("b");
        *server.takes.lock() = Duration::from_secs(1);
        let found = futures_util::future::join_all((0..1000).map(|_| look_for(&keys, "b"))).await;
        assert!(found.iter().all(|found| *found == Ok(1)));
        assert_eq!(server.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_is_not_waited_for_to_the_end() {
        let server = Server::with(Some("a"));
        let keys = follow(&server);
        assert_eq!(look_for(&keys, "a").await, Ok(1));
        tokio::time::sleep(TIMES.refetch).await;
        *server.kid.lock() = Some("b");
        *server.takes.lock() = Duration::from_secs(5);
        let start = Instant::now();
        assert_eq!(look_for(&keys, "b").await, Err(TokenError::KeysUnavailable));
        assert_eq!(start.elapsed(), WAIT_TIME);
        assert_eq!(look_for(&keys, "a").await, Ok(1), "nobody else waits");
        assert_eq!(look_for(&keys, "b").await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn made_up_kids_cause_few_fetches() {
        let server = Server::with(Some("a"));
        let keys = follow(&server);
        assert_eq!(look_for(&keys, "a").await, Ok(1));
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(100) {
            assert_eq!(look_for(&keys, "x").await, Err(TokenError::UnknownKey));
            assert_eq!(look_for(&keys, "a").await, Ok(1));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!((9..=11).contains(&server.asked()), "{}", server.asked());
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_was_refused_in_haste_is_there_soon() {
        let server = Server::with(Some("a"));
        let keys = follow(&server);
        assert_eq!(look_for(&keys, "x").await, Err(TokenError::UnknownKey));
        *server.kid.lock() = Some("b");
        assert_eq!(look_for(&keys, "b").await, Err(TokenError::UnknownKey));
        tokio::time::sleep(TIMES.refetch).await;
        assert_eq!(look_for(&keys, "b").await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn keys_outlive_their_server_for_a_while() {
        let server = Server::with(Some("a"));
        let keys = follow(&server);
        assert_eq!(look_for(&keys, "a").await, Ok(1));
        *server.kid.lock() = None;
        tokio::time::sleep(TIMES.age_max - Duration::from_secs(1)).await;
        assert_eq!(look_for(&keys, "a").await, Ok(1));
        assert_eq!(look_for(&keys, "b").await, Err(TokenError::KeysUnavailable));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(look_for(&keys, "a").await, Err(TokenError::KeysUnavailable));
        *server.kid.lock() = Some("a");
        tokio::time::sleep(RETRY_MAX).await;
        assert_eq!(look_for(&keys, "a").await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_removed_key_is_gone_after_the_next_refresh() {
        let server = Server::with(Some("a"));
        let keys = follow(&server);
        assert_eq!(look_for(&keys, "a").await, Ok(1));
        *server.kid.lock() = Some("b");
        tokio::time::sleep(TIMES.refresh).await;
        assert_eq!(look_for(&keys, "a").await, Err(TokenError::UnknownKey));
        assert_eq!(look_for(&keys, "b").await, Ok(1));
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        for (failures, seconds) in [(0, 600.0), (1, 1.0), (2, 2.0), (6, 32.0), (7, 60.0), (u32::MAX, 60.0)] {
            let pause = pause(failures, TIMES.refresh).as_secs_f64();
            assert!((0.89 * seconds..=seconds).contains(&pause), "{failures}: {pause}");
        }
        assert!(pause(9, Duration::from_secs(1)) <= Duration::from_secs(1));
    }
}
