//! The report as a person reads it.

use std::fmt::Write;

use serde_json::Value;

use crate::report::{LatencyReport, Report};

/// Lines of a name and a value with its unit.
pub(crate) fn text(report: &Report) -> String {
    let mut out = String::new();
    let mut row = |name: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name:>14}  {value}");
    };
    row(&report.mode, format!("{} with {} connections", report.url, grouped(report.subscribers)));
    if report.seconds > 0.0 {
        row("measured", format!("{:.2} s", report.seconds));
    }
    if report.expected > 0 || report.received > 0 {
        let rate = grouped(report.deliveries_per_second as u64);
        row("deliveries", format!("{} of {} expected, {rate}/s", grouped(report.received), grouped(report.expected)));
    }
    if report.lost + report.doubled + report.reordered > 0 {
        let (lost, doubled) = (grouped(report.lost), grouped(report.doubled));
        row("wrong", format!("{lost} lost, {doubled} doubled, {} reordered", grouped(report.reordered)));
    }
    if let Some(latency) = &report.latency_us {
        row("latency", latency_text(latency));
    }
    if let Some(server) = &report.server {
        let share = server.cpu_seconds / report.seconds.max(1e-9) * 100.0;
        let per = server.cpu_us_per_delivery;
        row("server CPU", format!("{:.2} s, {share:.0}% of one core, {per:.3} us per delivery", server.cpu_seconds));
        let [before, after, peak] = [server.rss_bytes_before, server.rss_bytes_after, server.rss_bytes_peak]
            .map(|bytes| bytes as f64 / 1048576.0);
        row(
            "server memory",
            format!("{before:.1} MiB before, {after:.1} after, {peak:.1} at most (pid {})", server.pid),
        );
    }
    if report.client.cpu_seconds > 0.0 {
        let client = &report.client;
        row(
            "client CPU",
            format!("{:.2} s, {:.0}% of its threads' time", client.cpu_seconds, client.cpu_share * 100.0),
        );
    }
    for (key, value) in &report.own {
        row(&key.replace('_', " "), plain(value));
    }
    report.notes.iter().for_each(|note| row("note", note.clone()));
    report.failures.iter().for_each(|failure| row("failure", format!("{} x {}", grouped(failure.count), failure.what)));
    row("result", verdict(report).into());
    out
}

/// Three digits at a time: 1 234 567.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

fn verdict(report: &Report) -> &'static str {
    match (report.ok, report.is_refused) {
        (true, _) => "good",
        (false, true) => "REFUSED: the server, or a limit of it, did not let us in",
        (false, false) => "FAILED",
    }
}

fn latency_text(latency: &LatencyReport) -> String {
    let [p50, p90, p99, p999, max] =
        [latency.p50, latency.p90, latency.p99, latency.p999, latency.max].map(|micros| micros / 1000.0);
    let count = grouped(latency.count);
    format!("p50 {p50:.2} ms, p90 {p90:.2}, p99 {p99:.2}, p99.9 {p999:.2}, max {max:.2} ({count} samples)")
}

fn plain(value: &Value) -> String {
    match value {
        Value::Number(number) => match (number.as_u64(), number.as_f64()) {
            (Some(whole), _) => grouped(whole),
            (None, Some(real)) => format!("{real:.3}"),
            (None, None) => number.to_string(),
        },
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_in_groups() {
        let rows = [(0, "0"), (999, "999"), (1000, "1 000"), (1_234_567, "1 234 567")];
        rows.into_iter().for_each(|(number, text)| assert_eq!(grouped(number), text));
    }

    #[test]
    fn a_report_in_lines() {
        let mut report = Report::new("fanout", "ws://127.0.0.1:1/");
        report.lost = 3;
        report.set("outstanding", 16);
        report.fail("closed: 1013", 2);
        let text = text(&report);
        for part in ["fanout  ws://127.0.0.1:1/", "3 lost", "outstanding  16", "2 x closed: 1013", "FAILED"] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
    }
}
