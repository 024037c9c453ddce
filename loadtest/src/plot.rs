//! `tallycast-loadtest plot`: SVG plots of reports, and of bars that another program has worked out.

mod draw;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::Value;

use crate::arguments::Stop;
use crate::report::Report;

/// What `plot` is asked to draw.
#[derive(Args, Debug)]
#[command(after_help = "\
What the files hold:
  latency      reports of this program (--json): `latency_us` with p50, p90, p99, p999 and max,
               or with `curve`: [[percent, microseconds], ..]
  throughput   reports of this program (--json): `series` with `at` and `deliveries_per_second`
  bars         [{\"group\": \"1k subscribers\", \"name\": \"floor\", \"min\": 3.4, \"median\": 3.5, \"max\": 3.6}, ..]
A report is called by its key `name`, or by its file.")]
pub(crate) struct Arguments {
    /// The kind of plot.
    #[arg(long, value_enum)]
    kind: Kind,
    /// Reports, or files of bars.
    #[arg(required = true, value_name = "IN.json")]
    inputs: Vec<PathBuf>,
    /// The SVG file to write.
    #[arg(short, long, value_name = "OUT.svg")]
    out: PathBuf,
    /// The heading.
    #[arg(long)]
    title: Option<String>,
    /// What the figures are, for bars and throughput, such as "CPU µs per delivery".
    #[arg(long)]
    unit: Option<String>,
    /// What the reports are called, in their order; once for each.
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
    /// Bars: whether each group has an axis of its own, from zero to its largest, or all share one.
    #[arg(long, value_enum, default_value_t = Axis::Group)]
    axis: Axis,
    /// Bars: the name that stands out.
    #[arg(long, value_name = "NAME")]
    highlight: Option<String>,
}

/// The kinds of plot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Latency over percentiles, both logarithmic; one line for each report.
    Latency,
    /// Deliveries a second over the run; one line for each report.
    Throughput,
    /// Medians with their spread, in groups.
    Bars,
}

/// What the length of a bar is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Axis {
    /// The largest of its group.
    Group,
    /// The largest of all.
    Shared,
}

/// One line of a plot.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    /// What the legend calls it.
    pub(crate) name: String,
    /// Of latency (percent, microseconds), of throughput (second, rate); in the order of the first.
    pub(crate) points: Vec<(f64, f64)>,
}

/// One bar of a plot: several runs of one thing.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bar {
    /// The panel that it stands in.
    pub(crate) group: String,
    /// What it is of.
    pub(crate) name: String,
    /// The least of the runs.
    pub(crate) min: f64,
    /// The run in the middle.
    pub(crate) median: f64,
    /// The most of the runs.
    pub(crate) max: f64,
}

/// Why there is no plot.
#[derive(Debug)]
pub(crate) enum PlotError {
    /// A file cannot be read, or not be written.
    File(PathBuf, io::Error),
    /// A file is no JSON of the shape that the kind wants.
    Shape(PathBuf, String),
    /// There is nothing to draw in it.
    Empty(PathBuf),
    /// As many `--name` as files are wanted, or none.
    Names(usize, usize),
}

impl fmt::Display for PlotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlotError::File(path, error) => write!(f, "{}: {error}", path.display()),
            PlotError::Shape(path, wrong) => write!(f, "{}: {wrong}", path.display()),
            PlotError::Empty(path) => write!(f, "{}: it has nothing to draw", path.display()),
            PlotError::Names(names, files) => write!(f, "--name stands {names} times for {files} files"),
        }
    }
}

impl std::error::Error for PlotError {}

impl Arguments {
    /// Reads the inputs, draws, and writes the SVG.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub(crate) fn run(&self) -> Result<(), Stop> {
        let written = svg(self)
            .and_then(|text| fs::write(&self.out, text).map_err(|error| PlotError::File(self.out.clone(), error)));
        written.map_err(|error| Stop::Usage(error.to_string()))
    }
}

/// Writes throughput and latency over the time of a run, and latency over percentiles, as one SVG.
///
/// # Errors
/// What could not be written, in words.
pub(crate) fn write(report: &Report, path: &Path) -> Result<(), String> {
    fs::write(path, draw::run(report)).map_err(|error| error.to_string())
}

fn svg(arguments: &Arguments) -> Result<String, PlotError> {
    let title = |default: &str| arguments.title.clone().unwrap_or_else(|| default.to_owned());
    let unit = |default: &str| arguments.unit.clone().unwrap_or_else(|| default.to_owned());
    if !arguments.names.is_empty() && arguments.names.len() != arguments.inputs.len() {
        return Err(PlotError::Names(arguments.names.len(), arguments.inputs.len()));
    }
    match arguments.kind {
        Kind::Latency => Ok(draw::latency(&title("Latency"), &all_series(arguments, latency_points)?)),
        Kind::Throughput => {
            let series = all_series(arguments, throughput_points)?;
            Ok(draw::throughput(&title("Throughput"), &unit("deliveries a second"), &series))
        }
        Kind::Bars => {
            let mut bars = Vec::new();
            for path in &arguments.inputs {
                bars.extend(read_bars(path)?);
            }
            Ok(draw::bars(&title("Comparison"), &unit("value"), &bars, arguments.axis, arguments.highlight.as_deref()))
        }
    }
}

fn read(path: &Path) -> Result<Value, PlotError> {
    let text = fs::read_to_string(path).map_err(|error| PlotError::File(path.to_owned(), error))?;
    serde_json::from_str(&text).map_err(|error| PlotError::Shape(path.to_owned(), error.to_string()))
}

fn read_bars(path: &Path) -> Result<Vec<Bar>, PlotError> {
    let shape = |wrong: String| PlotError::Shape(path.to_owned(), wrong);
    let bars: Vec<Bar> = serde_json::from_value(read(path)?).map_err(|error| shape(error.to_string()))?;
    for bar in &bars {
        if !(0.0 <= bar.min && bar.min <= bar.median && bar.median <= bar.max) {
            return Err(shape(format!("{}, {}: wanted 0 <= min <= median <= max", bar.group, bar.name)));
        }
    }
    if bars.is_empty() { Err(PlotError::Empty(path.to_owned())) } else { Ok(bars) }
}

fn all_series(arguments: &Arguments, points: fn(&Value) -> Vec<(f64, f64)>) -> Result<Vec<Series>, PlotError> {
    let mut all = Vec::new();
    for (index, path) in arguments.inputs.iter().enumerate() {
        let report = read(path)?;
        let points = points(&report);
        if points.is_empty() {
            return Err(PlotError::Empty(path.clone()));
        }
        let own = || report.get("name").and_then(Value::as_str).map(str::to_owned);
        let file = || path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = arguments.names.get(index).cloned().or_else(own).unwrap_or_else(file);
        all.push(Series { name, points });
    }
    Ok(all)
}

/// Pairs of numbers, without those that are none.
fn pairs(value: &Value) -> Vec<(f64, f64)> {
    let pair = |pair: &Value| Some((pair.get(0)?.as_f64()?, pair.get(1)?.as_f64()?));
    value.as_array().into_iter().flatten().filter_map(pair).collect()
}

fn latency_points(report: &Value) -> Vec<(f64, f64)> {
    let latency = &report["latency_us"];
    if latency["count"].as_u64() == Some(0) {
        return Vec::new();
    }
    let curve = pairs(&latency["curve"]);
    if !curve.is_empty() {
        return curve;
    }
    let named = [(50.0, "p50"), (90.0, "p90"), (99.0, "p99"), (99.9, "p999"), (100.0, "max")];
    named.iter().filter_map(|(percent, key)| Some((*percent, latency[*key].as_f64()?))).collect()
}

fn throughput_points(report: &Value) -> Vec<(f64, f64)> {
    let slice = |slice: &Value| Some((slice["at"].as_f64()?, slice["deliveries_per_second"].as_f64()?));
    whole(report["series"].as_array().into_iter().flatten().filter_map(slice).collect())
}

/// Points over time without a last one whose slice was cut short: its rate would be that of a moment.
fn whole(mut points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    if let [.., (before, _), (last, _), (cut, _)] = points[..]
        && cut - last < (last - before) / 2.0
    {
        points.pop();
    }
    points
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        plot: Arguments,
    }

    /// What `plot` writes for these files and flags.
    fn plot(files: &[(&str, String)], flags: &[&str]) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.svg");
        let mut line = vec!["plot".to_owned(), "-o".to_owned(), out.display().to_string()];
        line.extend(flags.iter().map(|flag| (*flag).to_owned()));
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            line.push(path.display().to_string());
        }
        let arguments = Line::try_parse_from(line).map_err(|error| error.to_string())?.plot;
        arguments.run().map_err(|stop| format!("{stop:?}"))?;
        Ok(fs::read_to_string(out).unwrap())
    }

    fn report(scale: f64) -> String {
        let us = |us: f64| us * scale;
        let latency =
            json!({"count": 9, "p50": us(100.0), "p90": us(200.0), "p99": us(900.0), "p999": us(2e3), "max": us(9e3)});
        let slice = |at: f64, rate: f64| json!({"at": at, "deliveries_per_second": rate * scale});
        json!({"latency_us": latency, "series": [slice(0.1, 10.0), slice(0.2, 12.0), slice(0.3, 11.0)]}).to_string()
    }

    /// Flags, files, and texts that the plot must have.
    type Row = (&'static [&'static str], Vec<(&'static str, String)>, &'static [&'static str]);

    #[test]
    fn each_kind_says_what_it_shows() {
        let bars = json!([
            {"group": "1k", "name": "floor", "min": 3.4, "median": 3.46, "max": 3.6},
            {"group": "1k", "name": "a < b & c", "min": 3.5, "median": 3.75, "max": 3.8},
            {"group": "15k", "name": "floor", "min": 4.8, "median": 4.91, "max": 5.1},
        ]);
        let rows: &[Row] = &[
            (
                &["--kind", "latency", "--title", "One and two", "--name", "one", "--name", "two"],
                vec![("a.json", report(1.0)), ("b.json", report(3.0))],
                &["One and two", "99.9 %", "max", "latency (log scale)", "100 µs", "10 ms", "one", "two"],
            ),
            (
                &["--kind", "throughput"],
                vec![("first.json", report(1000.0))],
                &["Throughput", "seconds", "deliveries a second", "12k", "first"],
            ),
            (
                &["--kind", "bars", "--unit", "CPU µs per delivery", "--highlight", "floor"],
                vec![("bars.json", bars.to_string())],
                &["1k", "15k", "floor", "a &lt; b &amp; c", "3.46 (3.4 to 3.6)", "CPU µs per delivery", "#D55E00"],
            ),
        ];
        for (flags, files, wanted) in rows {
            let svg = plot(files, flags).unwrap();
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
            for text in *wanted {
                assert!(svg.contains(text), "{flags:?} has no {text:?}: {svg}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let bar = |min: f64| json!([{"group": "g", "name": "n", "min": min, "median": 2, "max": 3}]).to_string();
        for (flags, text, wanted) in [
            (vec!["--kind", "bars"], "[]".to_owned(), "nothing to draw"),
            (vec!["--kind", "bars"], "[1".to_owned(), "EOF"),
            (vec!["--kind", "bars"], json!([{"group": "g"}]).to_string(), "missing field"),
            (vec!["--kind", "bars"], bar(2.5), "min <= median"),
            (vec!["--kind", "latency"], "{}".to_owned(), "nothing to draw"),
            (vec!["--kind", "throughput"], json!({"series": []}).to_string(), "nothing to draw"),
            (vec!["--kind", "latency", "--name", "a", "--name", "b"], report(1.0), "2 times for 1 files"),
            (vec!["--kind", "pie"], report(1.0), "invalid value"),
        ] {
            let error = plot(&[("in.json", text)], &flags).unwrap_err();
            assert!(error.contains(wanted), "{flags:?}: {error}");
        }
    }

    #[test]
    fn a_slice_that_was_cut_short_is_left_out() {
        let short = whole(vec![(0.1, 5.0), (0.2, 5.0), (0.201, 0.0)]);
        assert_eq!(short, [(0.1, 5.0), (0.2, 5.0)]);
        assert_eq!(whole(vec![(0.1, 5.0), (0.2, 5.0), (0.29, 4.0)]).len(), 3);
        assert_eq!(whole(vec![(0.1, 5.0), (0.101, 0.0)]).len(), 2);
    }

    #[test]
    fn a_curve_goes_before_single_percentiles() {
        let report = json!({"latency_us": {"count": 3, "p50": 7, "curve": [[0.0, 5], [50.0, 7], [100.0, 9]]}});
        assert_eq!(latency_points(&report), [(0.0, 5.0), (50.0, 7.0), (100.0, 9.0)]);
        assert!(latency_points(&json!({"latency_us": {"count": 0, "p50": 0}})).is_empty());
    }
}
