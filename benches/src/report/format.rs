//! Numbers for people, and tables of them.

use std::fmt::Write;

use crate::measures::Cell;
use crate::results::Stat;

/// Three digits that count, with separators.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        1_000.0.. => grouped(value),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        0.01.. => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

impl Stat {
    pub(crate) fn text(&self) -> String {
        if self.least == self.most {
            return number(self.median);
        }
        format!("{} ({} – {})", number(self.median), number(self.least), number(self.most))
    }
}

fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::with_capacity(digits.len() + 4);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && digit.is_ascii_digit() && (digits.len() - at).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A table, and below it what its marks mean.
#[derive(Debug)]
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    pub(crate) fn new<T: Into<String>>(head: impl IntoIterator<Item = T>) -> Self {
        Self { head: head.into_iter().map(Into::into).collect(), rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds a row, unless nothing at all is in it.
    pub(crate) fn row(&mut self, name: &str, cells: impl IntoIterator<Item = Cell>) {
        let cells: Vec<_> = cells.into_iter().collect();
        if cells.iter().all(|cell| matches!(cell, Cell::Nothing)) {
            return;
        }
        let mut row = vec![name.to_owned()];
        for cell in cells {
            row.push(match cell {
                Cell::Found(stat) => stat.text(),
                Cell::Failed(why) => self.mark(format!("{name}: {why}")),
                Cell::Nothing => "–".to_owned(),
            });
        }
        self.rows.push(row);
    }

    pub(crate) fn text_row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    fn mark(&mut self, note: String) -> String {
        let at = self.notes.iter().position(|known| *known == note).unwrap_or_else(|| {
            self.notes.push(note);
            self.notes.len() - 1
        });
        format!("none ({})", at + 1)
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        let line = |text: &mut String, cells: &[String]| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        };
        line(&mut text, &self.head);
        let _ = writeln!(text, "|---|{}", "--:|".repeat(self.head.len() - 1));
        self.rows.iter().for_each(|row| line(&mut text, row));
        for (at, note) in self.notes.iter().enumerate() {
            let _ = write!(text, "\n({}) {note}\n", at + 1);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_show_the_digits_that_count() {
        let shown: Vec<_> = [0.0, 0.004, 1.234, 56.78, 432.1, 9_876_543.2, 1_000.0].map(number).into();
        assert_eq!(shown, ["0", "0.0040", "1.23", "56.8", "432", "9,876,543", "1,000"]);
    }

    #[test]
    fn a_cell_that_failed_says_why_below() {
        let mut table = Table::new(["system", "us"]);
        table.row("a", [Cell::Failed("cannot keep up".to_owned())]);
        table.row("b", [Cell::Nothing]);
        let text = table.markdown();
        assert!(text.contains("| a | none (1) |") && text.contains("(1) a: cannot keep up"), "{text}");
        assert!(!text.contains("| b |"), "{text}");
    }
}
