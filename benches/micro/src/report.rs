//! What criterion and callgrind measured as one table, and as JSON lines in the file that `RESULTS` names.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use tidings_micro::results::{Measured, record};
use tidings_micro::{Case, all};

/// Instructions that may be more than before, in percent: seeds of hashes differ from run to run.
const MORE_PERCENT: f64 = 5.0;

/// Criterion's samples: so many calls took so long, in nanoseconds.
#[derive(Deserialize)]
struct Samples {
    iters: Vec<f64>,
    times: Vec<f64>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Criterion's folder.
    criterion: PathBuf,
    /// What was counted: `NAME<tab>INSTRUCTIONS` a line.
    counts: PathBuf,
    /// What was counted before.
    kept: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let (counts, kept) = (read_counts(&arguments.counts)?, read_counts(&arguments.kept)?);
    println!("| what | unit | CPU ns | least | most | instructions | before |");
    println!("|---|---|--:|--:|--:|--:|--:|");
    let mut grown = Vec::new();
    for case in all() {
        let time = read_samples(&arguments.criterion, &case)?;
        let count = counts.get(&case.name).map(|count| count / case.units as f64);
        let before = kept.get(&case.name).map(|count| count / case.units as f64);
        if time.is_none() && count.is_none() {
            continue;
        }
        println!("{}", row(&case, time, count, before));
        note(&case, time, count)?;
        if let (Some(count), Some(before)) = (count, before)
            && count > before * (1.0 + MORE_PERCENT / 100.0)
        {
            grown.push(format!("{}: {count:.0} instructions a {}, {before:.0} before", case.name, case.unit));
        }
    }
    if !grown.is_empty() {
        println!("\nMore than {MORE_PERCENT} % above what is kept:\n  {}", grown.join("\n  "));
    }
    Ok(())
}

fn read_counts(path: &Path) -> Result<HashMap<String, f64>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let parse = |line: &str| {
        let (name, count) = line.split_once('\t')?;
        Some((name.to_owned(), count.trim().parse().ok()?))
    };
    text.lines().map(|line| parse(line).with_context(|| format!("{path:?}: {line}"))).collect()
}

/// What one unit took; nothing if the case was not measured.
fn read_samples(criterion: &Path, case: &Case) -> Result<Option<Measured>> {
    let (station, what) = case.name.split_once('/').context("a case is named station/what")?;
    let file = criterion.join(station).join(what.replace('/', "_")).join("new/sample.json");
    let Ok(text) = fs::read_to_string(&file) else { return Ok(None) };
    let Samples { iters, times } = serde_json::from_str(&text).with_context(|| format!("{file:?}"))?;
    let calls = iters.iter().zip(&times);
    Ok(Measured::of(calls.map(|(calls, time)| time / calls / case.units as f64).collect()))
}

fn row(case: &Case, time: Option<Measured>, count: Option<f64>, before: Option<f64>) -> String {
    let shown = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.0}"));
    let fine = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1}"));
    let (median, least, most) = (time.map(|it| it.median), time.map(|it| it.least), time.map(|it| it.most));
    format!(
        "| {} | {} | {} | {} | {} | {} | {} |",
        case.name,
        case.unit,
        fine(median),
        fine(least),
        fine(most),
        shown(count),
        shown(before)
    )
}

fn note(case: &Case, time: Option<Measured>, count: Option<f64>) -> Result<()> {
    if let Some(measured) = time {
        record(&case.name, &format!("ns of CPU per {}", case.unit), measured)?;
    }
    if let Some(count) = count {
        let measured = Measured { median: count, least: count, most: count };
        record(&format!("{}/instructions", case.name), &format!("instructions per {}", case.unit), measured)?;
    }
    Ok(())
}
