//! A chart as SVG: series of points with their spread, on axes that may be logarithmic.
//!
//! Nothing is behind it and its text is of a middle grey, so that it can be read on light and on dark pages.

use std::ops::Range;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::format::number;
use crate::results::Stat;

const SIZE: (u32, u32) = (860, 440);

/// Width of the names beside the chart.
const LEGEND: u32 = 250;

const INK: RGBColor = RGBColor(0x7d, 0x85, 0x90);

/// One axis: what it shows, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    pub(crate) label: &'static str,
    pub(crate) logarithmic: bool,
}

/// A line, or points alone if they are few.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) color: RGBColor,
    pub(crate) dashed: bool,
    pub(crate) points: Vec<(f64, Stat)>,
}

/// A chart.
#[derive(Debug)]
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) series: Vec<Series>,
}

/// An axis that knows how far it reaches, and which values it names.
#[derive(Debug, Clone)]
struct Scale {
    /// In decades if the axis is logarithmic.
    range: Range<f64>,
    ticks: Vec<f64>,
    logarithmic: bool,
}

impl Axis {
    /// An axis for these values; none if there are none.
    fn scale(self, values: impl Iterator<Item = f64>) -> Option<Scale> {
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            least = least.min(value);
            most = most.max(value);
        }
        if !least.is_finite() {
            return None;
        }
        let range = if self.logarithmic {
            let (least, most) = (decades(least), decades(most));
            let room = ((most - least) * 0.08).max(0.08);
            least - room..most + room
        } else {
            0.0..(most * 1.08).max(1e-9)
        };
        let ticks = if self.logarithmic { logarithmic(&range) } else { linear(&range) };
        Some(Scale { range, ticks, logarithmic: self.logarithmic })
    }
}

/// What is not positive has no place on a logarithmic axis; it is drawn at its edge.
fn decades(value: f64) -> f64 {
    value.max(1e-9).log10()
}

/// 1, 2 and 5 of each decade, or only 1 if there are many.
fn logarithmic(range: &Range<f64>) -> Vec<f64> {
    let steps: &[f64] = if range.end - range.start > 2.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let all = range.start.floor() as i32..=range.end.ceil() as i32;
    let all = all.flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
    all.filter(|value| range.contains(&decades(*value))).collect()
}

/// Five or so, at round numbers.
fn linear(range: &Range<f64>) -> Vec<f64> {
    let rough = range.end / 5.0;
    let decade = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * decade).find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    (0..=10).map(|count| f64::from(count) * step).filter(|value| range.contains(value)).collect()
}

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let place = if self.logarithmic { decades(*value) } else { *value };
        let share = (place - self.range.start) / (self.range.end - self.range.start);
        from + (share.clamp(0.0, 1.0) * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Scale {
    fn format(value: &f64) -> String {
        tick(*value)
    }
}

/// Ticks are round, so that they need no digits behind the point.
fn tick(value: f64) -> String {
    let text = number(value);
    match text.split_once('.') {
        Some((whole, behind)) if behind.bytes().all(|digit| digit == b'0') => whole.to_owned(),
        Some(_) => text.trim_end_matches('0').to_owned(),
        None => text,
    }
}

fn text(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

impl Chart {
    /// Writes the chart; if there is nothing to show, it is left out.
    pub(crate) fn write(&self, path: &Path) -> Result<bool> {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let values = || points().flat_map(|(_, stat)| [stat.least, stat.most]);
        let (Some(xs), Some(ys)) = (self.x.scale(points().map(|(x, _)| *x)), self.y.scale(values())) else {
            return Ok(false);
        };
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            let (plot, legend) = area.split_horizontally(SIZE.0 - LEGEND);
            let mut chart = ChartBuilder::on(&plot)
                .caption(self.title, text(17))
                .margin(8)
                .x_label_area_size(44)
                .y_label_area_size(72)
                .build_cartesian_2d(xs, ys)
                .map_err(failed)?;
            chart
                .configure_mesh()
                .x_desc(self.x.label)
                .y_desc(self.y.label)
                .axis_desc_style(text(14))
                .label_style(text(13))
                .axis_style(INK)
                .bold_line_style(INK.mix(0.25))
                .light_line_style(TRANSPARENT)
                .draw()
                .map_err(failed)?;
            for series in &self.series {
                draw(series, &mut chart).map_err(failed)?;
            }
            self.legend(&legend).map_err(failed)?;
            area.present().map_err(failed)?;
        }
        std::fs::write(path, svg)?;
        Ok(true)
    }

    fn legend<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, plotters::coord::Shift>,
    ) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
        let shown = self.series.iter().filter(|series| !series.points.is_empty());
        for (row, series) in (0_i32..).zip(shown) {
            let y = 48 + row * 22;
            let style = series.color.stroke_width(2);
            if series.dashed {
                area.draw(&PathElement::new(vec![(6, y), (13, y)], style))?;
                area.draw(&PathElement::new(vec![(17, y), (24, y)], style))?;
            } else {
                area.draw(&PathElement::new(vec![(6, y), (24, y)], style))?;
            }
            area.draw(&Circle::new((15, y), 4, series.color.filled()))?;
            let left = text(13).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw(&Text::new(series.name.clone(), (32, y), left))?;
        }
        Ok(())
    }
}

fn draw<'a, DB: DrawingBackend + 'a>(
    series: &Series,
    chart: &mut ChartContext<'a, DB, Cartesian2d<Scale, Scale>>,
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
    let style = series.color.stroke_width(2);
    let place = |(x, stat): &(f64, Stat)| (*x, stat.median);
    if series.dashed {
        chart.draw_series(DashedLineSeries::new(series.points.iter().map(place), 6, 4, style))?;
    } else {
        chart.draw_series(LineSeries::new(series.points.iter().map(place), style))?;
    }
    chart.draw_series(series.points.iter().map(|(x, stat)| {
        let ends = [stat.least, stat.most].map(|y| (*x, y));
        PathElement::new(ends.to_vec(), series.color.stroke_width(1))
    }))?;
    chart
        .draw_series(series.points.iter().map(|point| Circle::new(place(point), 4, series.color.filled())))?;
    Ok(())
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("drawing: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_within_the_range() {
        assert_eq!(linear(&(0.0..108.0)), [0.0, 50.0, 100.0]);
        let axis = Axis { label: "", logarithmic: true };
        let scale = axis.scale([100.0, 5_000.0].into_iter()).unwrap();
        let ticks: Vec<_> = scale.ticks.iter().map(|value| tick(*value)).collect();
        assert_eq!(ticks, ["100", "200", "500", "1,000", "2,000", "5,000"]);
        assert_eq!([0.02, 0.5, 1.0, 20.0].map(tick), ["0.02", "0.5", "1", "20"]);
    }
}
