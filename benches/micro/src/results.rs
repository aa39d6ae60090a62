//! Where values go besides the terminal.

use std::fs::OpenOptions;
use std::io::Write;

use anyhow::Result;
use serde_json::json;

/// The middle one of several values, with the least and the most.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Half of them are smaller.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
}

impl Measured {
    /// Of several values; nothing if there is none.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        Some(Self { median: values[values.len() / 2], least, most })
    }
}

/// Adds a value to the file that `RESULTS` names, as a line of JSON.
///
/// # Errors
///
/// If the file cannot be written.
pub fn record(name: &str, unit: &str, measured: Measured) -> Result<()> {
    let Some(path) = std::env::var_os("RESULTS") else { return Ok(()) };
    let Measured { median, least, most } = measured;
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    let line = json!({"part": "micro", "name": name, "value": median, "unit": unit, "spread": [least, most]});
    writeln!(file, "{line}")?;
    Ok(())
}

/// Prints a value and records it.
///
/// # Errors
///
/// If the file cannot be written.
pub fn tell(name: &str, unit: &str, values: Vec<f64>) -> Result<()> {
    let Some(measured) = Measured::of(values) else { return Ok(()) };
    let Measured { median, least, most } = measured;
    println!("{name}: {median:.1} {unit} ({least:.1} to {most:.1})");
    record(name, unit, measured)
}
