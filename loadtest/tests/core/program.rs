//! Runs the built program and reads what it says.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tallycast-loadtest");

/// How a run ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    /// Null if there is none.
    pub(crate) report: Value,
    /// The table, and stderr.
    pub(crate) words: String,
}

/// Runs a mode to its end.
pub(crate) fn run(mode: &str, url: &str, arguments: &[&str]) -> Ran {
    let folder = TempDir::new().expect("a folder");
    let output = command(mode, url, arguments, &folder).output().expect("the program runs");
    ran(&output, &folder)
}

/// The same, with SIGINT once it measures.
pub(crate) fn interrupted(mode: &str, url: &str, arguments: &[&str]) -> Ran {
    let folder = TempDir::new().expect("a folder");
    // A shell that waits gives the program the time to connect and to measure something.
    let mut child = Started(command(mode, url, arguments, &folder).stdout(Stdio::piped()).spawn().expect("it runs"));
    let kill = format!("sleep 2; kill -INT {}", child.0.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
    let mut stdout = Vec::new();
    child.0.stdout.take().expect("a pipe").read_to_end(&mut stdout).expect("its output");
    let status = child.0.wait().expect("its end");
    ran(&Output { status, stdout, stderr: vec![] }, &folder)
}

/// The yardstick, running.
pub(crate) struct Floor {
    _child: Started,
    pub(crate) url: String,
    pub(crate) pid: u32,
}

impl Floor {
    pub(crate) fn start() -> Floor {
        let mut command = Command::new(PROGRAM);
        command.args(["floor", "127.0.0.1:0", "--seconds", "60"]).stdout(Stdio::piped());
        let mut child = Started(command.spawn().expect("the program runs"));
        let mut line = String::new();
        BufReader::new(child.0.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["floor", "pid", pid, "port", _, "url", url] = words[..] else { panic!("{line}") };
        assert_eq!(pid, child.0.id().to_string());
        Floor { pid: pid.parse().expect("a number"), url: url.to_owned(), _child: child }
    }
}

/// Ends with the test.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(mode: &str, url: &str, arguments: &[&str], folder: &TempDir) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args([mode, url]).args(arguments).arg("--json").arg(folder.path().join("report.json"));
    command
}

fn ran(output: &Output, folder: &TempDir) -> Ran {
    let json = std::fs::read_to_string(folder.path().join("report.json")).unwrap_or_default();
    let words = [&output.stdout[..], &output.stderr[..]].concat();
    Ran {
        code: output.status.code().unwrap_or(-1),
        report: serde_json::from_str(&json).unwrap_or_default(),
        words: String::from_utf8_lossy(&words).into_owned(),
    }
}
