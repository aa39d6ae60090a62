//! One run, one row.

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;

use crate::arguments::{Arguments, Transport};
use crate::ledger::Receipts;
use crate::publisher::Commit;

/// All there is to say about a reconciled run.
pub(crate) struct Report<'a> {
    pub(crate) arguments: &'a Arguments,
    pub(crate) receipts: &'a [Receipts],
    pub(crate) commits: &'a [Commit],
    pub(crate) first_measured: usize,
    pub(crate) idle_bytes: u64,
    pub(crate) resident_bytes: u64,
    pub(crate) cpu: Duration,
}

/// A burst of 20 x 5 is 20 transactions of 5 events each.
/// The commit happens between the call and its acknowledgement, so latency is shown from both.
pub(crate) fn print_header() {
    println!(
        "| transport | mode | subscribers | deliveries | deliveries/s | deliveries per CPU s | CPU us per delivery \
         | p50 ms from call | p99 | p50 ms from ack | p99 | max | kB per idle subscriber | RSS MB |"
    );
    println!("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
}

impl Report<'_> {
    pub(crate) fn print(&self) -> Result<()> {
        let (from_call, from_acknowledgement) = self.latencies()?;
        let deliveries = from_call.len();
        let cpu_s = self.cpu.as_secs_f64();
        let wall_s = f64::from(self.wall_micros()) / 1e6;
        println!(
            "| {} | {} | {} | {} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.1} | {:.1} |",
            match self.arguments.transport {
                Transport::Sse => "SSE",
                Transport::Ws => "WS",
            },
            self.mode(),
            self.arguments.subscribers,
            deliveries,
            deliveries as f64 / wall_s,
            deliveries as f64 / cpu_s,
            cpu_s * 1e6 / deliveries as f64,
            millis(from_call.value_at_quantile(0.5)),
            millis(from_call.value_at_quantile(0.99)),
            millis(from_acknowledgement.value_at_quantile(0.5)),
            millis(from_acknowledgement.value_at_quantile(0.99)),
            millis(from_call.max()),
            self.idle_bytes as f64 / 1024.0 / self.arguments.subscribers as f64,
            self.resident_bytes as f64 / 1024.0 / 1024.0,
        );
        if self.cpu < Duration::from_millis(500) {
            eprintln!("note: only {cpu_s} s of CPU, counted in steps of 10 ms: use more events");
        }
        Ok(())
    }

    fn mode(&self) -> String {
        match self.arguments.rate {
            0 => format!(
                "bursts of {} x {}",
                self.arguments.burst / self.arguments.batch,
                self.arguments.batch
            ),
            rate => format!("{rate}/s"),
        }
    }

    fn latencies(&self) -> Result<(Histogram<u64>, Histogram<u64>)> {
        let mut from_call = Histogram::new(3)?;
        let mut from_acknowledgement = Histogram::new(3)?;
        for (event, commit) in self.commits.iter().enumerate().skip(self.first_measured) {
            for receipts in self.receipts {
                let at = receipts.at_micros(event);
                from_call.record(u64::from(at.saturating_sub(commit.sent_micros)))?;
                // A subscriber may well have the event before the publisher has its acknowledgement.
                from_acknowledgement.record(u64::from(at.saturating_sub(commit.acknowledged_micros)))?;
            }
        }
        Ok((from_call, from_acknowledgement))
    }

    /// From the first measured call to the last receipt.
    fn wall_micros(&self) -> u32 {
        let last = self.commits.len() - 1;
        let end = self.receipts.iter().map(|receipts| receipts.at_micros(last)).max().unwrap_or(0);
        end.saturating_sub(self.commits[self.first_measured].sent_micros).max(1)
    }
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1e3
}
