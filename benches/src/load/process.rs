//! What a server has used so far, from /proc: all of its processes together.

use std::time::Duration;

use anyhow::{Context, Result};

/// Linux counts CPU time in ticks of 10 ms towards user space, whatever the kernel's own.
const TICK: Duration = Duration::from_millis(10);

/// A reading.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// User and system time of all threads, by the ticks of `stat`.
    ticked: Duration,
    /// The same by the scheduler's clock, in nanoseconds, without threads that have ended.
    scheduled: Duration,
    pub(crate) resident_bytes: u64,
}

impl Usage {
    /// Of a process and all that it started.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let mut total = Self::default();
        let mut pids = vec![pid];
        while let Some(pid) = pids.pop() {
            let one = Self::of_one(pid, &mut pids)
                .with_context(|| format!("reading /proc/{pid}: is --pid the server's?"))?;
            total.ticked += one.ticked;
            total.scheduled += one.scheduled;
            total.resident_bytes += one.resident_bytes;
        }
        Ok(total)
    }

    fn of_one(pid: u32, children: &mut Vec<u32>) -> Result<Self> {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
        let mut scheduled = 0;
        for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let thread = thread?.path();
            // A thread may end while we look.
            let text = std::fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
            scheduled += text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
            let text = std::fs::read_to_string(thread.join("children")).unwrap_or_default();
            children.extend(text.split_ascii_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        Ok(Self {
            ticked: ticked(&read("stat")?).context("unexpected stat")?,
            scheduled: Duration::from_nanos(scheduled),
            resident_bytes: resident(&read("status")?).context("unexpected status")?,
        })
    }

    /// CPU time since an earlier reading. The scheduler's clock is finer; ticks know threads that have ended.
    pub(crate) fn cpu_since(&self, earlier: &Self) -> Duration {
        let ticked = self.ticked.saturating_sub(earlier.ticked);
        self.scheduled.saturating_sub(earlier.scheduled).max(ticked.saturating_sub(2 * TICK))
    }
}

fn ticked(stat: &str) -> Option<Duration> {
    // The second field is the command in parentheses and may hold spaces; utime and stime are
    // fields 14 and 15 of proc(5), so 11 and 12 after it.
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u32>().ok()? + fields.next()?.parse::<u32>().ok()?;
    Some(TICK * ticks)
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
        assert_eq!(ticked(stat), Some(Duration::from_secs(3)));
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
