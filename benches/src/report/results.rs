//! What was measured: lines of JSON, and the median of those that belong together.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// Values of equal runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stat {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Stat {
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => f64::midpoint(values[middle - 1], values[middle]),
            _ => values[middle],
        };
        Some(Self { median, least, most })
    }

    pub(crate) fn map(self, change: impl Fn(f64) -> f64) -> Self {
        let (one, other) = (change(self.least), change(self.most));
        Self { median: change(self.median), least: one.min(other), most: one.max(other) }
    }
}

/// One line.
#[derive(Debug)]
pub(crate) struct Line(Value);

impl Line {
    pub(crate) fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_default()
    }

    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        self.0[key].as_f64()
    }

    pub(crate) fn object(&self, key: &str) -> impl Iterator<Item = (&str, &str)> {
        let object = self.0[key].as_object().into_iter().flatten();
        object.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
    }

    pub(crate) fn pair(&self, key: &str) -> Option<[f64; 2]> {
        let pair = self.0[key].as_array()?;
        Some([pair.first()?.as_f64()?, pair.get(1)?.as_f64()?])
    }

    fn matches(&self, wanted: &[(&str, Is)]) -> bool {
        wanted.iter().all(|(key, is)| match is {
            Is::Text(text) => self.text(key) == *text,
            Is::Number(number) => self.number(key) == Some(*number),
            Is::Bool(bool) => self.0[key].as_bool() == Some(*bool),
        })
    }
}

/// What a line has to say.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Is<'a> {
    Text(&'a str),
    Number(f64),
    Bool(bool),
}

/// What is taken of a line.
pub(crate) type Measure = fn(&Line) -> Option<f64>;

/// All lines of all parts.
#[derive(Debug)]
pub(crate) struct Results {
    lines: Vec<Line>,
}

impl Results {
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "jsonl") {
                files.push(path);
            }
        }
        files.sort();
        let mut lines = Vec::new();
        for path in files {
            let text = std::fs::read_to_string(&path)?;
            for (number, line) in text.lines().enumerate() {
                let parse = || format!("{}, line {}", path.display(), number + 1);
                lines.push(Line(serde_json::from_str(line).with_context(parse)?));
            }
        }
        Ok(Self { lines })
    }

    pub(crate) fn of_part<'a>(&'a self, part: &'a str) -> impl Iterator<Item = &'a Line> {
        self.lines.iter().filter(move |line| line.text("part") == part)
    }

    /// Median and spread of a measure over the lines of a part that say all of this.
    pub(crate) fn stat(&self, part: &str, wanted: &[(&str, Is)], measure: Measure) -> Option<Stat> {
        let lines = self.of_part(part).filter(|line| line.matches(wanted));
        Stat::of(lines.filter_map(measure).collect())
    }

    /// Why there is nothing.
    pub(crate) fn error<'a>(&'a self, part: &'a str, wanted: &[(&str, Is)]) -> Option<&'a str> {
        let mut lines = self.of_part(part).filter(|line| line.matches(wanted));
        lines.find_map(|line| line.0["error"].as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(Stat::of(vec![4.0, 1.0, 2.0, 3.0]), Some(Stat { median: 2.5, least: 1.0, most: 4.0 }));
        assert_eq!(Stat::of(vec![3.0, 1.0, 2.0]), Some(Stat { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!(Stat::of(vec![]), None);
    }

    #[test]
    fn a_reciprocal_turns_the_spread_around() {
        let stat = Stat { median: 2.0, least: 1.0, most: 4.0 }.map(|value| 1.0 / value);
        assert_eq!(stat, Stat { median: 0.5, least: 0.25, most: 1.0 });
    }
}
