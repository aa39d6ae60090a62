//! One case under callgrind: its work is done within [`counted`], and only that is counted.

use anyhow::{Context, Result};
use tidings_micro::{Work, all};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Name of the case.
    name: String,
    /// How often its work is done.
    calls: u32,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let case = all().into_iter().find(|case| case.name == arguments.name).context("no such case")?;
    let mut work = (case.make)()?;
    // What is made the first time is not counted.
    work();
    counted(&mut work, arguments.calls);
    Ok(())
}

/// Callgrind knows it by its name.
#[inline(never)]
fn counted(work: &mut Work, calls: u32) {
    for _ in 0..calls {
        work();
    }
}
