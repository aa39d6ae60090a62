//! What is counted of the checks of policies.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::endpoint::CaseLabel;

/// The metrics of row security.
#[derive(Debug, Clone, Default)]
pub struct RowSecurityMetrics {
    /// Checks, each of which is one statement.
    pub checks: Counter,
    /// Records by verdict: `admitted`, `denied`, `failed`, `undecided`, `overloaded`.
    records: Family<CaseLabel, Counter>,
}

impl RowSecurityMetrics {
    /// Counts records.
    pub fn count(&self, verdict: &'static str, records: usize) {
        self.records.get_or_create(&[("verdict", verdict)]).inc_by(records as u64);
    }

    /// Registers them.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "row_security_checks",
            "Statements that evaluated policies for one identity",
            self.checks.clone(),
        );
        registry.register(
            "row_security_records",
            "Records of events whose policies were evaluated, once per identity, by verdict",
            self.records.clone(),
        );
    }
}
