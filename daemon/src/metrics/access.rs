//! What the checks of tokens count.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::CaseLabel;

/// An issuer, by the first of its configured names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct IssuerLabel {
    issuer: String,
}

/// What became of a fetch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FetchLabel {
    issuer: String,
    outcome: &'static str,
}

/// The metrics of access.
#[derive(Debug, Clone, Default)]
pub struct AccessMetrics {
    /// Tokens that were refused, by reason.
    pub token_refusals: Family<CaseLabel, Counter>,
    fetches: Family<FetchLabel, Counter>,
    keys: Family<IssuerLabel, Gauge>,
    fetched: Family<IssuerLabel, Gauge<f64, AtomicU64>>,
}

impl AccessMetrics {
    /// Counts a fetch of keys.
    pub fn fetched(&self, issuer: &str, outcome: &'static str) {
        self.fetches.get_or_create(&FetchLabel { issuer: issuer.to_owned(), outcome }).inc();
    }

    /// Notes how many keys an issuer has, as of a time in seconds since 1970.
    pub fn have_keys(&self, issuer: &str, count: usize, time: f64) {
        let label = IssuerLabel { issuer: issuer.to_owned() };
        self.keys.get_or_create(&label).set(i64::try_from(count).unwrap_or(i64::MAX));
        self.fetched.get_or_create(&label).set(time);
    }

    /// Registers them.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("token_refusals", "Tokens refused, by reason", self.token_refusals.clone());
        registry.register("key_fetches", "Fetches of key sets, by outcome", self.fetches.clone());
        registry.register("keys", "Keys of an issuer that can be used", self.keys.clone());
        registry.register_with_unit(
            "keys_fetched_timestamp",
            "When the keys of an issuer were last fetched",
            Unit::Seconds,
            self.fetched.clone(),
        );
    }
}
