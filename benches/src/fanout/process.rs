//! What the daemon has used so far, from /proc.

use std::time::Duration;

use anyhow::{Context, Result};

/// Linux counts CPU time in ticks of 10 ms towards user space, whatever the kernel's own.
const TICKS_PER_SECOND: u64 = 100;

/// A reading.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// User and system time of all threads.
    pub(crate) cpu: Duration,
    pub(crate) resident_bytes: u64,
}

impl Usage {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let read = |file: &str| {
            std::fs::read_to_string(format!("/proc/{pid}/{file}"))
                .with_context(|| format!("reading /proc/{pid}/{file}: is --pid the daemon's?"))
        };
        Ok(Self {
            cpu: cpu(&read("stat")?).context("unexpected /proc/PID/stat")?,
            resident_bytes: resident(&read("status")?).context("unexpected /proc/PID/status")?,
        })
    }
}

fn cpu(stat: &str) -> Option<Duration> {
    // The second field is the command in parentheses and may hold spaces; utime and stime are
    // fields 14 and 15 of proc(5), so 11 and 12 after it.
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

fn resident(status: &str) -> Option<u64> {
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kilobytes.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_cpu_time_past_a_command_with_spaces() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 1 2 3";
        assert_eq!(cpu(stat), Some(Duration::from_secs(3)));
    }

    #[test]
    fn reads_resident_memory() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"), Some(2048 * 1024));
    }

    #[test]
    fn reads_itself() {
        assert!(Usage::of(std::process::id()).unwrap().resident_bytes > 0);
    }
}
