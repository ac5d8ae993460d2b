//! The base's figures as a picture: operations a second and latency, each over the number in flight.

use crate::load::Done;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::path::Path;

const SIZE: (u32, u32) = (900, 400);
const COLOURS: [RGBColor; 3] = [
    RGBColor(0x1f, 0x6f, 0xb5),
    RGBColor(0xc8, 0x55, 0x1b),
    RGBColor(0x77, 0x77, 0x77),
];

/// The figures of one operation.
pub(crate) struct Series {
    name: &'static str,
    points: Vec<Point>,
}

struct Point {
    in_flight: usize,
    per_second: f64,
    p50_ms: f64,
}

/// All that was measured so far.
#[derive(Default)]
pub(crate) struct Figures(Vec<Series>);

impl Figures {
    pub(crate) fn add(&mut self, name: &'static str, in_flight: usize, done: &Done) {
        let point = Point {
            in_flight,
            per_second: done.per_second(),
            p50_ms: done.p50_ms,
        };
        match self.0.iter_mut().find(|series| series.name == name) {
            Some(series) => series.points.push(point),
            None => self.0.push(Series {
                name,
                points: vec![point],
            }),
        }
    }

    /// Writes both panels to an SVG file.
    pub(crate) fn draw(&self, file: &Path) -> Result<(), PlotError> {
        let area = SVGBackend::new(file, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let (left, right) = area.split_horizontally(50.percent_width());
        self.panel(&left, "operations a second", |point| point.per_second)?;
        self.panel(&right, "latency, p50, ms", |point| point.p50_ms)?;
        area.present().map_err(failed)
    }

    fn panel(
        &self,
        area: &DrawingArea<SVGBackend<'_>, Shift>,
        caption: &str,
        shown: fn(&Point) -> f64,
    ) -> Result<(), PlotError> {
        let points = || self.0.iter().flat_map(|series| &series.points);
        let (low, high) = bounds(points().map(shown))?;
        let (few, many) = bounds(points().map(|point| point.in_flight as f64))?;
        let mut chart = ChartBuilder::on(area)
            .caption(caption, ("sans-serif", 16))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(56)
            .build_cartesian_2d((few..many).log_scale(), (low..high).log_scale())
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_desc("in flight")
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(0xdd, 0xdd, 0xdd))
            .x_label_formatter(&number)
            .y_label_formatter(&number)
            .draw()
            .map_err(failed)?;
        for (series, colour) in self.0.iter().zip(COLOURS.iter().cycle()) {
            let line = series.points.iter().map(|point| (point.in_flight as f64, shown(point)));
            let style = colour.stroke_width(2);
            chart
                .draw_series(LineSeries::new(line, style).point_size(3))
                .map_err(failed)?
                .label(series.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.8))
            .draw()
            .map_err(failed)
    }
}

/// The picture could not be drawn.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlotError {
    #[error("the plot cannot be drawn: {0}")]
    Drawing(String),
    #[error("the plot has no figures")]
    Empty,
}

fn failed(error: impl std::error::Error) -> PlotError {
    PlotError::Drawing(error.to_string())
}

/// What all lies within, with some room around it.
fn bounds(shown: impl Iterator<Item = f64>) -> Result<(f64, f64), PlotError> {
    let ends = shown
        .filter(|value| *value > 0.0)
        .fold(None, |ends: Option<(f64, f64)>, value| {
            Some(ends.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
        });
    ends.map(|(low, high)| (low * 0.7, high * 1.6)).ok_or(PlotError::Empty)
}

/// 1, 2 and 5 times each power of ten: more would overlap.
fn number(value: &f64) -> String {
    let shown = if *value >= 1.0 {
        format!("{value:.0}")
    } else {
        format!("{value}")
    };
    let leading = shown.chars().find(|digit| ('1'..='9').contains(digit));
    match leading {
        Some('1' | '2' | '5') => shown,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_is_in_both_panels_and_nothing_measured_draws_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plot.svg");
        let mut figures = Figures::default();
        assert!(matches!(figures.draw(&file), Err(PlotError::Empty)));
        for (name, in_flight, operations) in [("read", 1, 1_000), ("read", 64, 8_000), ("write", 1, 400)] {
            let done = Done {
                operations,
                failed: 0,
                seconds: 1.0,
                p50_ms: 2.5,
                p99_ms: 9.0,
                worst_ms: 20.0,
            };
            figures.add(name, in_flight, &done);
        }
        figures.draw(&file).unwrap();
        let drawn = std::fs::read_to_string(&file).unwrap();
        for name in ["read", "write"] {
            assert_eq!(drawn.matches(&format!("\n{name}\n")).count(), 2, "{name}");
        }
        assert!(drawn.contains("in flight"), "axes are named");
    }
}
