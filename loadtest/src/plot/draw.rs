//! Draws the plots: SVG texts on white, so that they are readable on a light page and on a dark one.
//!
//! Nothing here measures text (there are no fonts): widths are guessed from the number of characters, generously.

use plotters::coord::Shift;
use plotters::element::{Circle, PathElement, Rectangle, Text};
use plotters::prelude::{DrawingArea, IntoDrawingArea, IntoFont, RGBColor, SVGBackend, ShapeStyle};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontTransform, TextStyle};

use super::{Axis, Bar, Series};
use crate::report::Report;

const WIDTH: i32 = 960;
const HEIGHT: i32 = 480;
/// Below a frame, for its ticks and what they are.
const FOOT: i32 = 60;
const TEXT: i32 = 16;
const SMALL: i32 = 14;
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const PALE: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
const ACCENT: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
const PLAIN: RGBColor = RGBColor(0x56, 0x8f, 0xb8);
const WHISKER: RGBColor = RGBColor(0x33, 0x33, 0x33);

/// Told apart with every kind of colour vision (Okabe and Ito), the yellow left out.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x00, 0x00, 0x00),
    RGBColor(0x88, 0x88, 0x88),
];

/// Where x of `latency` puts the largest value, in steps right of the last percentile.
const MAX_STEP: f64 = 0.5;

/// Latency over percentiles, both on a logarithmic scale; points are (percent, microseconds), 100 is the largest.
pub(super) fn latency(title: &str, series: &[Series]) -> String {
    let below: Vec<f64> = points(series).filter(|point| point.0 < 100.0).map(|point| nines(point.0)).collect();
    let last = below.iter().copied().fold(1.0, f64::max);
    let has_max = points(series).any(|point| point.0 >= 100.0);
    let place = |percent: f64| if percent >= 100.0 { last + MAX_STEP } else { nines(percent) };
    let right = if has_max { last + MAX_STEP } else { last };
    let mut x_ticks: Vec<(f64, String)> = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999]
        .into_iter()
        .filter(|percent| nines(*percent) <= last + 0.01)
        .map(|percent| (nines(percent), format!("{percent} %")))
        .collect();
    if has_max {
        x_ticks.push((right, "max".to_owned()));
    }
    let values = || points(series).map(|point| point.1.max(1.0));
    let (low, high) = decades(values().fold(f64::MAX, f64::min), values().fold(1.0, f64::max));
    let y_ticks: Vec<(f64, String)> = log_ticks(low, high).into_iter().map(|us| (us.log10(), duration(us))).collect();
    let lines = lines_of(series, |point| (place(point.0), point.1.max(1.0).log10()));
    let frame = Frame::of(series, (0.0, right), (low.log10(), high.log10()));
    let words = Words { title, x: "percentile", y: "latency (log scale)", x_ticks, y_ticks };
    chart(&words, &frame, &lines)
}

/// A rate over the seconds of a run, from zero; points are (seconds, rate).
pub(super) fn throughput(title: &str, unit: &str, series: &[Series]) -> String {
    let frame = Frame::of(series, (0.0, 1.0), (0.0, 1.0));
    let (words, frame) = over_time(title, unit, series, frame);
    chart(&words, &frame, &lines_of(series, |point| point))
}

/// Throughput and latency over the time of one run, one above the other.
pub(super) fn run(report: &Report) -> String {
    let series = |name: &str, value: fn(&crate::report::Slice) -> f64| Series {
        name: name.to_owned(),
        points: super::whole(report.series.iter().map(|slice| (slice.at, value(slice))).collect()),
    };
    let rate = [series("deliveries", |slice| slice.deliveries_per_second)];
    let latency = [series("most", |s| s.max), series("p99", |s| s.p99), series("p50", |s| s.p50)].map(|mut series| {
        // A slice without samples is no latency of zero.
        series.points.retain(|point| point.1 > 0.0);
        series
    });
    let title = format!("{} {}, {} connections", report.mode, report.url, number(report.subscribers as f64));
    let (mut upper, mut lower) =
        (Frame::of(&rate, (0.0, 1.0), (0.0, 1.0)), Frame::of(&latency, (0.0, 1.0), (0.0, 1.0)));
    upper.right = upper.right.min(lower.right);
    lower.right = upper.right;
    (lower.top, lower.bottom) = (lower.top + HEIGHT - 20, lower.bottom + HEIGHT - 20);
    let (rate_words, upper) = over_time(&title, "deliveries a second", &rate, upper);
    let (mut words, mut lower) = over_time("", "latency (log scale)", &latency, lower);
    let values = || points(&latency).map(|point| point.1.max(1.0));
    let (low, high) = decades(values().fold(f64::MAX, f64::min).min(1e9), values().fold(1.0, f64::max));
    words.y_ticks = log_ticks(low, high).into_iter().map(|us| (us.log10(), duration(us))).collect();
    // Both have the seconds of the first.
    words.x_ticks.clone_from(&rate_words.x_ticks);
    lower.x = upper.x;
    lower.y = (low.log10(), high.log10());
    svg((WIDTH, lower.bottom + FOOT), |canvas| {
        canvas.chart(&rate_words, &upper, &lines_of(&rate, |point| point));
        canvas.chart(&words, &lower, &lines_of(&latency, |point| (point.0, point.1.max(1.0).log10())));
    })
}

/// The words and the frame of lines over seconds, from zero.
fn over_time<'a>(title: &'a str, unit: &'a str, series: &[Series], mut frame: Frame) -> (Words<'a>, Frame) {
    let right = points(series).map(|point| point.0).fold(0.1, f64::max);
    let y_ticks = linear_ticks(points(series).map(|point| point.1).fold(0.0, f64::max), 6);
    (frame.x, frame.y) = ((0.0, right), (0.0, y_ticks.last().copied().unwrap_or(1.0)));
    let x_ticks = linear_ticks(right, 10).into_iter().filter(|second| *second <= right);
    let x_ticks = x_ticks.map(|second| (second, number(second))).collect();
    let y_ticks = y_ticks.into_iter().map(|rate| (rate, number(rate))).collect();
    (Words { title, x: "seconds", y: unit, x_ticks, y_ticks }, frame)
}

/// One panel for each group, one row for each bar: the median as a bar from zero, the range as a whisker, both in
/// figures beside it.
pub(super) fn bars(title: &str, unit: &str, bars: &[Bar], axis: Axis, highlight: Option<&str>) -> String {
    const ROW: i32 = 20;
    const HEAD: i32 = 30;
    const TICKS: i32 = 30;
    let mut groups: Vec<&str> = Vec::new();
    for bar in bars {
        if !groups.contains(&bar.group.as_str()) {
            groups.push(&bar.group);
        }
    }
    let left = 24 + bars.iter().map(|bar| width(&bar.name, TEXT)).max().unwrap_or(0);
    let beside = 20 + bars.iter().map(|bar| width(&figures(bar), SMALL)).max().unwrap_or(0);
    let of_group = |group: &str| bars.iter().filter(|bar| bar.group == group).collect::<Vec<_>>();
    let height: i32 = groups.iter().map(|group| HEAD + ROW * of_group(group).len() as i32 + TICKS).sum();
    let largest = |rows: &[&Bar]| rows.iter().map(|bar| bar.max.max(bar.median)).fold(0.0, f64::max);
    let all = largest(&bars.iter().collect::<Vec<_>>());
    svg((WIDTH, 60 + height + 28), |canvas| {
        canvas.text(title, (WIDTH / 2, 26), 21, HPos::Center);
        let mut y = 50;
        for group in &groups {
            let rows = of_group(group);
            canvas.text(group, (12, y + HEAD / 2), TEXT + 1, HPos::Left);
            y += HEAD;
            let ticks = linear_ticks(if axis == Axis::Shared { all } else { largest(&rows) }, 6);
            let top = ticks.last().copied().unwrap_or(1.0);
            let x = |value: f64| left + ((WIDTH - left - beside) as f64 * value / top).round() as i32;
            let bottom = y + ROW * rows.len() as i32;
            for tick in &ticks {
                canvas.line(&[(x(*tick), y), (x(*tick), bottom + 4)], PALE, 1);
                canvas.text(&number(*tick), (x(*tick), bottom + 13), SMALL, HPos::Center);
            }
            for (index, bar) in rows.iter().enumerate() {
                let middle = y + ROW * index as i32 + ROW / 2;
                let colour = if highlight == Some(bar.name.as_str()) { ACCENT } else { PLAIN };
                canvas.text(&bar.name, (left - 8, middle), TEXT, HPos::Right);
                canvas.fill((x(0.0), middle - 6), (x(bar.median), middle + 6), colour);
                canvas.line(&[(x(bar.min), middle), (x(bar.max), middle)], WHISKER, 2);
                for end in [bar.min, bar.max] {
                    canvas.line(&[(x(end), middle - 4), (x(end), middle + 4)], WHISKER, 2);
                }
                canvas.text(&figures(bar), (x(bar.max.max(bar.median)) + 8, middle), SMALL, HPos::Left);
            }
            canvas.line(&[(left, y), (left, bottom)], INK, 1);
            y = bottom + TICKS;
        }
        canvas.text(&format!("{unit}: median (least to most)"), (left, y + 8), SMALL + 1, HPos::Left);
    })
}

fn figures(bar: &Bar) -> String {
    format!("{} ({} to {})", number(bar.median), number(bar.min), number(bar.max))
}

/// The rectangle that holds the lines, and what its edges stand for.
struct Frame {
    left: i32,
    top: i32,
    right: i32,
    bottom: i32,
    x: (f64, f64),
    y: (f64, f64),
}

impl Frame {
    fn of(series: &[Series], x: (f64, f64), y: (f64, f64)) -> Self {
        let legend = 50 + series.iter().map(|one| width(&one.name, SMALL)).max().unwrap_or(0);
        let rows = 18 * series.len() as i32;
        Self { left: 96, top: 50, right: WIDTH - legend.min(360), bottom: (HEIGHT - 60).max(60 + rows), x, y }
    }

    fn place(&self, (x, y): (f64, f64)) -> (i32, i32) {
        let share = |value: f64, (from, to): (f64, f64)| if to > from { (value - from) / (to - from) } else { 0.0 };
        let across = f64::from(self.right - self.left) * share(x, self.x);
        let up = f64::from(self.bottom - self.top) * share(y, self.y);
        (self.left + across.round() as i32, self.bottom - up.round() as i32)
    }
}

type Line<'a> = (&'a str, Vec<(f64, f64)>);

fn points(series: &[Series]) -> impl Iterator<Item = (f64, f64)> {
    series.iter().flat_map(|one| one.points.iter().copied())
}

fn lines_of(series: &[Series], place: impl Fn((f64, f64)) -> (f64, f64)) -> Vec<Line<'_>> {
    series.iter().map(|one| (one.name.as_str(), one.points.iter().map(|point| place(*point)).collect())).collect()
}

/// What a chart says beside its lines.
struct Words<'a> {
    title: &'a str,
    x: &'a str,
    y: &'a str,
    x_ticks: Vec<(f64, String)>,
    y_ticks: Vec<(f64, String)>,
}

/// One chart alone.
fn chart(words: &Words<'_>, frame: &Frame, lines: &[Line<'_>]) -> String {
    svg((WIDTH, frame.bottom + FOOT), |canvas| canvas.chart(words, frame, lines))
}

/// A sheet that remembers nothing but that writing into a text does not fail.
struct Canvas<'a, 'b>(&'a DrawingArea<SVGBackend<'b>, Shift>);

fn svg(size: (i32, i32), draw: impl FnOnce(&Canvas<'_, '_>)) -> String {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (size.0 as u32, size.1 as u32)).into_drawing_area();
        infallible(area.fill(&RGBColor(255, 255, 255)));
        draw(&Canvas(&area));
        infallible(area.present());
    }
    text
}

/// A string takes every write.
fn infallible<E: std::fmt::Debug>(result: Result<(), E>) {
    result.expect("writing SVG into a string");
}

impl Canvas<'_, '_> {
    fn chart(&self, words: &Words<'_>, frame: &Frame, lines: &[Line<'_>]) {
        self.text(words.title, (WIDTH / 2, frame.top - 24), 21, HPos::Center);
        for (x, label) in &words.x_ticks {
            let (at, _) = frame.place((*x, 0.0));
            self.line(&[(at, frame.top), (at, frame.bottom + 4)], PALE, 1);
            self.text(label, (at, frame.bottom + 14), SMALL, HPos::Center);
        }
        for (y, label) in &words.y_ticks {
            let (_, at) = frame.place((0.0, *y));
            self.line(&[(frame.left - 4, at), (frame.right, at)], PALE, 1);
            self.text(label, (frame.left - 8, at), SMALL, HPos::Right);
        }
        self.line(&[(frame.left, frame.top), (frame.left, frame.bottom), (frame.right, frame.bottom)], INK, 1);
        self.text(words.x, ((frame.left + frame.right) / 2, frame.bottom + 38), TEXT, HPos::Center);
        self.upward(words.y, (18, (frame.top + frame.bottom) / 2), TEXT);
        for (index, (_, places)) in lines.iter().enumerate() {
            let places: Vec<(i32, i32)> = places.iter().map(|place| frame.place(*place)).collect();
            self.line(&places, COLOURS[index % COLOURS.len()], 2);
            // A line of few points shows them, and so does a line that repeats a colour.
            if places.len() <= 12 || index >= COLOURS.len() {
                places.iter().for_each(|place| self.dot(*place, COLOURS[index % COLOURS.len()]));
            }
        }
        self.legend(frame, lines);
    }

    /// In the order in which the lines end.
    fn legend(&self, frame: &Frame, lines: &[Line<'_>]) {
        let mut order: Vec<usize> = (0..lines.len()).collect();
        let end = |index: &usize| lines[*index].1.last().map_or(0.0, |place| place.1);
        order.sort_by(|a, b| end(b).total_cmp(&end(a)));
        for (row, index) in order.into_iter().enumerate() {
            let (x, y) = (frame.right + 14, frame.top + 10 + 18 * row as i32);
            self.line(&[(x, y), (x + 18, y)], COLOURS[index % COLOURS.len()], 3);
            if index >= COLOURS.len() {
                self.dot((x + 9, y), COLOURS[index % COLOURS.len()]);
            }
            self.text(lines[index].0, (x + 24, y), SMALL, HPos::Left);
        }
    }

    fn text(&self, text: &str, at: (i32, i32), size: i32, side: HPos) {
        self.styled(text, at, style(size, side));
    }

    fn upward(&self, text: &str, at: (i32, i32), size: i32) {
        let font = ("sans-serif", size).into_font().transform(FontTransform::Rotate270);
        self.styled(text, at, TextStyle::from(font).color(&INK).pos(Pos::new(HPos::Center, VPos::Center)));
    }

    fn styled(&self, text: &str, at: (i32, i32), style: TextStyle<'static>) {
        infallible(self.0.draw(&Text::new(text.to_owned(), at, style)));
    }

    fn line(&self, places: &[(i32, i32)], colour: RGBColor, wide: u32) {
        infallible(self.0.draw(&PathElement::new(places.to_vec(), ShapeStyle::from(&colour).stroke_width(wide))));
    }

    fn fill(&self, from: (i32, i32), to: (i32, i32), colour: RGBColor) {
        infallible(self.0.draw(&Rectangle::new([from, to], colour.filled())));
    }

    fn dot(&self, at: (i32, i32), colour: RGBColor) {
        infallible(self.0.draw(&Circle::new(at, 3, colour.filled())));
    }
}

fn style(size: i32, side: HPos) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", size).into_font()).color(&INK).pos(Pos::new(side, VPos::Center))
}

/// About the pixels that a text takes; wide characters count twice.
fn width(text: &str, size: i32) -> i32 {
    let halves: i32 = text.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum();
    halves * size * 6 / 10
}

/// How many nines a percentile has: 0 for 0 %, 1 for 90 %, 2 for 99 %.
fn nines(percent: f64) -> f64 {
    -(1.0 - percent / 100.0).log10()
}

/// The powers of ten around a range.
fn decades(low: f64, high: f64) -> (f64, f64) {
    let low = 10f64.powf(low.log10().floor());
    let high = 10f64.powf(high.log10().ceil());
    (low, if high > low { high } else { low * 10.0 })
}

/// 1, 2 and 5 of each decade, or, over many decades, 1 alone.
fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    let wide = high / low > 2e4;
    let mut ticks = Vec::new();
    let mut decade = low;
    while decade <= high * 1.001 {
        let steps: &[f64] = if wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
        ticks.extend(steps.iter().map(|step| step * decade).filter(|tick| *tick <= high * 1.001));
        decade *= 10.0;
    }
    ticks
}

/// From zero in steps of 1, 2 or 5 times a power of ten; the last is at or above `largest`, and none is doubled.
fn linear_ticks(largest: f64, count: u32) -> Vec<f64> {
    let largest = if largest.is_finite() && largest > 0.0 { largest } else { 1.0 };
    let rough = largest / f64::from(count);
    let power = 10f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].into_iter().map(|s| s * power).find(|s| *s >= rough * 0.999).unwrap_or(power * 10.0);
    (0..=(largest / step - 1e-9).ceil() as u32).map(|index| f64::from(index) * step).collect()
}

/// A figure with three digits that count, and `k`, `M` or `G`.
pub(super) fn number(value: f64) -> String {
    let (scaled, suffix) = match value.abs() {
        size if size >= 999_500_000.0 => (value / 1e9, "G"),
        size if size >= 999_500.0 => (value / 1e6, "M"),
        size if size >= 9_995.0 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let decimals = match scaled.abs() {
        size if size >= 99.95 || size == 0.0 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 => 2,
        _ => 3,
    };
    let text = format!("{scaled:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{suffix}")
}

/// Microseconds in the unit that people would use.
fn duration(us: f64) -> String {
    match us {
        us if us >= 1e6 => format!("{} s", number(us / 1e6)),
        us if us >= 1e3 => format!("{} ms", number(us / 1e3)),
        us => format!("{} µs", number(us)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.233, "0.233"),
            (3.456, "3.46"),
            (4.9, "4.9"),
            (49.96, "50"),
            (1234.0, "1234"),
            (15_000.0, "15k"),
            (1_234_567.0, "1.23M"),
            (999_999.0, "1M"),
            (2.5e9, "2.5G"),
        ] {
            assert_eq!(number(value), text);
        }
        for (us, text) in [(3.0, "3 µs"), (2_400.0, "2.4 ms"), (98_000.0, "98 ms"), (1_500_000.0, "1.5 s")] {
            assert_eq!(duration(us), text);
        }
    }

    #[test]
    fn ticks_cover_their_range() {
        for largest in [0.003, 0.337, 1.0, 4.91, 20.0, 99.0, 1e6, 1.7e6] {
            let ticks = linear_ticks(largest, 6);
            assert!(ticks.len() >= 3 && ticks.len() <= 8, "{largest}: {ticks:?}");
            assert!(
                ticks[ticks.len() - 1] >= largest * 0.999 && ticks[ticks.len() - 2] < largest,
                "{largest}: {ticks:?}"
            );
        }
        assert_eq!(log_ticks(1.0, 100.0), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
        assert_eq!(log_ticks(1.0, 1e5).len(), 6);
        assert_eq!(decades(3.0, 250.0), (1.0, 1000.0));
        assert_eq!(decades(10.0, 10.0), (10.0, 100.0));
    }

    #[test]
    fn a_frame_places_its_corners() {
        let frame = Frame { left: 10, top: 20, right: 110, bottom: 220, x: (0.0, 4.0), y: (1.0, 3.0) };
        for (value, at) in [((0.0, 1.0), (10, 220)), ((4.0, 3.0), (110, 20)), ((2.0, 2.0), (60, 120))] {
            assert_eq!(frame.place(value), at);
        }
    }
}
