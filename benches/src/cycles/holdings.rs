//! What the daemon holds, from /proc.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// A reading.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holdings {
    pub(crate) resident_bytes: u64,
    /// Open files, sockets among them.
    pub(crate) files: usize,
}

impl Holdings {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
            .with_context(|| format!("reading /proc/{pid}/status: is --pid the daemon's?"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).context("its open files")?.count();
        Ok(Self { resident_bytes: kilobytes << 10, files })
    }

    /// A reading once so few files are open, or have been as many for a while; at last whatever there is.
    pub(crate) async fn settled(pid: u32, files: Option<usize>, time: Duration) -> Result<Self> {
        const STEADY: u32 = 20;
        let (began, mut last, mut same) = (Instant::now(), Self::of(pid)?, 0);
        loop {
            let done = files.map_or(same >= STEADY, |files| last.files <= files);
            if done || began.elapsed() >= time {
                return Ok(last);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = Self::of(pid)?;
            same = if now.files == last.files { same + 1 } else { 0 };
            last = now;
        }
    }

    pub(crate) fn mib(&self) -> f64 {
        self.resident_bytes as f64 / f64::from(1 << 20)
    }
}
