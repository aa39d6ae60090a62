//! The report: tables, targets and plots from what was measured, without measuring anything.
//!
//! # Layout
//!
//! [`results`] are the lines that a run has left, [`measures`] what is taken of them, [`systems`] who was measured.
//! [`tables`], [`targets`] and [`plots`] (drawn by [`chart`]) become one document; [`format`] writes numbers.

mod results;

mod systems;

mod measures;

mod format;

mod chart;

mod plots;

mod tables;

mod targets;

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;

use crate::results::Results;

/// Writes RESULTS.md and plots/.
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder of the files of JSON lines.
    #[arg(long)]
    results: PathBuf,
    /// Where the report goes.
    #[arg(long)]
    to: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let results = Results::read(&arguments.results)?;
    let plots = plots::write(&results, &arguments.to.join("plots"))?;
    let document = document(&results, &plots)?;
    std::fs::write(arguments.to.join("RESULTS.md"), document).context("RESULTS.md")
}

fn document(results: &Results, plots: &[(&'static str, &'static str)]) -> Result<String> {
    let mut text = String::new();
    writeln!(
        text,
        "# Results\n\nMade by `make bench`; [README.md](README.md) says how a run works and how to read it. Numbers are \
         medians, with the least and the most of all runs behind them. Only what was measured in one run on one machine \
         can be compared.\n"
    )?;
    machine(results, &mut text)?;
    let (targets, count) = targets::table(results);
    writeln!(text, "## Targets\n\n{count}\n\n{}", targets.markdown())?;
    for section in tables::all(results) {
        if results.of_part(section.part).next().is_none() {
            continue;
        }
        writeln!(text, "## {}\n\n{}\n\n{}", section.title, section.about, section.table.markdown())?;
        for (name, title) in plots.iter().filter(|(name, _)| section.plots.contains(name)) {
            writeln!(text, "![{title}](plots/{name}.svg)\n")?;
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    Ok(text)
}

fn machine(results: &Results, text: &mut String) -> Result<()> {
    let mut versions = String::new();
    for line in results.of_part("machine") {
        let whole = |key| line.number(key).unwrap_or_default();
        if versions.is_empty() {
            writeln!(
                text,
                "{} cores of {}, {:.0} GB, Linux {}, PostgreSQL {}, Rust {}, Tidings {}.\n",
                whole("cores"),
                line.text("cpu"),
                whole("memory_kb") / 1024.0 / 1024.0,
                line.text("kernel"),
                line.text("postgresql"),
                line.text("rust"),
                line.text("tidings"),
            )?;
            versions.push_str("no versions are known");
        }
        let known: Vec<_> =
            line.object("versions").map(|(name, version)| format!("{name} {version}")).collect();
        if !known.is_empty() {
            versions = known.join(", ");
        }
    }
    if results.of_part("machine").any(|line| line.text("size") == "quick") {
        writeln!(text, "**Parts of this are of a quick run: too short to mean anything.**\n")?;
    }
    writeln!(
        text,
        "Peers: {versions}.\n\n| part | measured | commit | load average before it |\n|---|---|---|---|"
    )?;
    for line in results.of_part("machine") {
        let [of, date, commit, load] = ["of", "date", "commit", "load"].map(|key| line.text(key));
        writeln!(text, "| {of} | {date} | {commit} | {load} |")?;
    }
    writeln!(text)?;
    Ok(())
}
