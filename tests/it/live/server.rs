//! Starts the real binary on ports of its own, from a shipped configuration, and ends it with the test.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use tempfile::TempDir;
use toml::{Table, Value};

/// The port of the demo that has the pages, the poll and `/c/`.
pub(crate) const MAIN: u16 = 5000;
/// How long anything may take that must happen: a bound for hangs, not a measure of speed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A configuration to start from: what is shipped, with free ports, and what a test changes.
pub(crate) struct Config {
    table: Table,
    /// Listeners as shipped: port and name.
    listeners: Vec<(u16, String)>,
    files_max: Option<u32>,
    missing: BTreeSet<String>,
}

/// A running server. Dropping it kills the process.
pub(crate) struct Server {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    /// Port as shipped, address as it is.
    addresses: Vec<(u16, SocketAddr)>,
    poll: String,
    folder: TempDir,
}

/// How to ask a process to end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    Terminate,
    Interrupt,
}

impl Config {
    /// `configs/demo.toml`.
    pub(crate) fn demo() -> Config {
        Config::shipped("demo.toml")
    }

    /// `configs/conformance.toml`.
    pub(crate) fn conformance() -> Config {
        Config::shipped("conformance.toml")
    }

    fn shipped(name: &str) -> Config {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(name);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Config::of(&text)
    }

    /// A configuration of a test's own; its listeners get free ports, too.
    pub(crate) fn of(text: &str) -> Config {
        let mut table: Table = text.parse().expect("the configuration is TOML");
        let mut listeners = Vec::new();
        for listener in entries(&mut table, "listener") {
            let address = address_of(listener);
            assert!(address.ip().is_loopback(), "{address}: the shipped configurations listen on loopback");
            listeners.push((address.port(), string(listener, "name")));
            let free = SocketAddr::new(address.ip(), 0).to_string();
            listener.insert("address".into(), Value::String(free));
        }
        assert!(!listeners.is_empty(), "the configuration has listeners");
        // Which driver is tested; without it, that of the configuration.
        if let Ok(driver) = std::env::var("TALLYCAST_DRIVER") {
            section(&mut table, "server").insert("driver".into(), Value::String(driver));
        }
        Config { table, listeners, files_max: None, missing: BTreeSet::new() }
    }

    /// How many event loops.
    pub(crate) fn cores(mut self, cores: u16) -> Config {
        section(&mut self.table, "server").insert("cores".into(), Value::Integer(cores.into()));
        self
    }

    /// One more channel of a kind that needs no options; `name` may be a pattern (`feed/*`).
    pub(crate) fn channel(mut self, name: &str, kind: &str) -> Config {
        let mut channel = Table::new();
        channel.insert("kind".into(), Value::String(kind.into()));
        name_channel(&mut channel, name);
        self.push_channel(channel);
        self
    }

    /// One more vote, with the options of the shipped poll; `name` may be a pattern.
    pub(crate) fn vote(mut self, name: &str) -> Config {
        let mut channel = entries(&mut self.table, "channel")
            .find(|channel| channel.get("kind").and_then(Value::as_str) == Some("vote"))
            .expect("the configuration has a vote")
            .clone();
        channel.remove("name");
        channel.remove("pattern");
        name_channel(&mut channel, name);
        self.push_channel(channel);
        self
    }

    /// One of `[limits]`, as in the configuration.
    pub(crate) fn limit(mut self, key: &str, value: impl Into<Value>) -> Config {
        let value = value.into();
        if key == "poll_wait_max" {
            // A route's own wait cannot be longer.
            for route in entries(&mut self.table, "route").filter(|route| route.contains_key("wait")) {
                route.insert("wait".into(), value.clone());
            }
        }
        section(&mut self.table, "limits").insert(key.into(), value);
        self
    }

    /// Puts the listener that is shipped with `shipped_port` on another port than a free one.
    pub(crate) fn port(mut self, shipped_port: u16, port: u16) -> Config {
        let name = self.listener_name(shipped_port);
        let listener = entries(&mut self.table, "listener")
            .find(|listener| string(listener, "name") == name)
            .expect("the listener");
        let address = SocketAddr::new(address_of(listener).ip(), port).to_string();
        listener.insert("address".into(), Value::String(address));
        self
    }

    /// The start does not wait for this listener: its port is taken.
    pub(crate) fn without(mut self, shipped_port: u16) -> Config {
        let name = self.listener_name(shipped_port);
        self.missing.insert(name);
        self
    }

    /// How many files the process may have open.
    pub(crate) fn files(mut self, max: u32) -> Config {
        self.files_max = Some(max);
        self
    }

    /// The shipped ports of listeners that may be missing, and of those that may not.
    pub(crate) fn optional_ports(&mut self) -> (Vec<u16>, Vec<u16>) {
        let ports = self.listeners.clone();
        let optional = |listener: &Table| listener.get("optional").and_then(Value::as_bool).unwrap_or(false);
        let names: BTreeSet<String> = entries(&mut self.table, "listener")
            .filter(|listener| optional(listener))
            .map(|listener| string(listener, "name"))
            .collect();
        let (may, must): (Vec<_>, Vec<_>) = ports.into_iter().partition(|(_, name)| names.contains(name));
        let only_ports = |list: Vec<(u16, String)>| list.into_iter().map(|(port, _)| port).collect();
        (only_ports(may), only_ports(must))
    }

    pub(crate) fn listener_name(&self, shipped_port: u16) -> String {
        let found = self.listeners.iter().find(|(port, _)| *port == shipped_port);
        found.unwrap_or_else(|| panic!("no listener has port {shipped_port}")).1.clone()
    }

    /// The channel that a form posts to: rows 1 to 4.
    fn poll(&mut self) -> String {
        let route = entries(&mut self.table, "route").find(|route| string(route, "serve") == "form");
        route.map_or_else(String::new, |route| string(route, "channel"))
    }

    fn push_channel(&mut self, channel: Table) {
        self.table["channel"].as_array_mut().expect("[[channel]]").push(Value::Table(channel));
    }

    /// Starts the process and does not wait for anything.
    fn spawn(&self, folder: &TempDir) -> Child {
        let file = folder.path().join("tallycast.toml");
        let text = toml::to_string(&self.table).expect("a table is TOML");
        std::fs::write(&file, text).expect("the configuration is written");
        let log = std::fs::File::create(folder.path().join("stderr")).expect("a file for stderr");
        let mut command = match self.files_max {
            None => Command::new(binary()),
            Some(max) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {max}; exec \"$0\" \"$@\"")]).arg(binary());
                shell
            }
        };
        command.args(["serve", "--config"]).arg(&file);
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        command.spawn().unwrap_or_else(|error| panic!("{}: {error}", binary().display()))
    }

    /// Starts a server that must refuse to start: how it ended, and what it said on stderr.
    pub(crate) fn fail(self) -> (ExitStatus, String) {
        let folder = TempDir::new().expect("a folder");
        let mut child = Reaped(self.spawn(&folder));
        let status = wait_for_end(&mut child.0);
        (status, stderr(&folder))
    }

    /// Starts a server and waits until it listens.
    pub(crate) fn start(mut self) -> Server {
        let folder = TempDir::new().expect("a folder");
        let mut child = self.spawn(&folder);
        let lines = lines_of(child.stdout.take().expect("stdout is piped"));
        let mut server = Server { child, lines, seen: Vec::new(), addresses: Vec::new(), poll: self.poll(), folder };
        let expected = self.listeners.iter().filter(|(_, name)| !self.missing.contains(name));
        let mut expected: BTreeSet<String> = expected.map(|(_, name)| name.clone()).collect();
        while !expected.is_empty() {
            let line = match server.lines.recv_timeout(PATIENCE) {
                Ok(line) => line,
                Err(why @ (RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)) => {
                    panic!(
                        "the server did not say that {expected:?} listen ({why}): {:?}\n{}",
                        server.seen,
                        server.stderr()
                    )
                }
            };
            if let Some((name, address)) = listening(&line) {
                expected.remove(name);
                let shipped = self.listeners.iter().find(|(_, known)| known == name);
                server.addresses.push((shipped.expect("a listener of ours").0, address));
            }
            server.seen.push(line);
        }
        if let Ok(driver) = std::env::var("TALLYCAST_DRIVER") {
            assert!(server.stderr().contains(&format!("driver {driver}")), "{}", server.stderr());
        }
        server
    }
}

impl Server {
    /// The demo with this many event loops, and the channels `test/feed`, `test/echo` and `test/polls/*` besides.
    pub(crate) fn demo(cores: u16) -> Server {
        let config = Config::demo().cores(cores).channel("test/feed", "feed");
        config.channel("test/echo", "echo").vote("test/polls/*").start()
    }

    /// The address of the listener that is shipped with this port.
    pub(crate) fn at(&self, shipped_port: u16) -> SocketAddr {
        let found = self.addresses.iter().find(|(port, _)| *port == shipped_port);
        found.unwrap_or_else(|| panic!("no listener has port {shipped_port}")).1
    }

    /// The address of the pages, the poll and `/c/`.
    pub(crate) fn main(&self) -> SocketAddr {
        self.at(MAIN)
    }

    /// The path of the poll of rows 1 to 4 under `/c/`.
    pub(crate) fn poll(&self) -> String {
        assert!(!self.poll.is_empty(), "the configuration has a form");
        format!("/c/{}", self.poll)
    }

    /// The name of that channel.
    pub(crate) fn poll_name(&self) -> &str {
        &self.poll
    }

    /// What the process wrote to stderr so far.
    pub(crate) fn stderr(&self) -> String {
        stderr(&self.folder)
    }

    /// The process, as the kernel knows it.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU time of the process so far, in clock ticks (100 a second).
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("the process is there");
        // Behind the name, which is in brackets and may hold spaces: state is field 3, utime and stime are 14 and 15.
        let behind = &stat[stat.rfind(')').expect("a name in brackets") + 2..];
        let fields: Vec<&str> = behind.split(' ').collect();
        let ticks = |field: usize| fields[field - 3].parse::<u64>().expect("a number of ticks");
        ticks(14) + ticks(15)
    }

    /// Asks the process to end.
    pub(crate) fn signal(&self, signal: Signal) {
        let name = match signal {
            Signal::Terminate => "TERM",
            Signal::Interrupt => "INT",
        };
        let script = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &script]).status().expect("sh");
        assert!(status.success(), "{script}");
    }

    /// Waits for the end of the process.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        wait_for_end(&mut self.child)
    }

    /// Whether the process still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_none()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            loud(&format!("the server's stderr:\n{}", self.stderr()));
        }
    }
}

/// A child that does not outlive its owner.
pub(crate) struct Reaped(pub(crate) Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The binary: this build's, or another (a release) that `TALLYCAST_BIN` names.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("TALLYCAST_BIN").map_or_else(|| env!("CARGO_BIN_EXE_tallycast").into(), PathBuf::from)
}

/// A port of 127.0.0.1 that was free a moment ago, for a server that is to be restarted where it was.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let step = Duration::from_millis(20);
    for _ in 0..PATIENCE.as_millis() / step.as_millis() {
        if so() {
            return;
        }
        pause(step);
    }
    panic!("never: {what}");
}

/// Lets time pass for a process that cannot be asked whether it is done.
#[expect(clippy::disallowed_methods, reason = "a test of another process has nothing else to wait on")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// A line that nobody overlooks.
#[expect(clippy::print_stderr, reason = "what a test did not do must be seen")]
pub(crate) fn loud(line: &str) {
    eprintln!("*** {line}");
}

/// The lines of a pipe, read by a thread, so that the process never waits for us and we can wait with a bound.
#[expect(clippy::disallowed_methods, reason = "a pipe can only be waited for with a bound by another thread")]
pub(crate) fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn wait_for_end(child: &mut Child) -> ExitStatus {
    let mut status = None;
    eventually("the process ends", || {
        status = child.try_wait().expect("our own child");
        status.is_some()
    });
    status.expect("it ended")
}

fn listening(line: &str) -> Option<(&str, SocketAddr)> {
    let (name, url) = line.strip_prefix("listening ")?.split_once(' ')?;
    let address = url.trim().strip_prefix("http://")?.trim_end_matches('/').replace("localhost:", "127.0.0.1:");
    Some((name, address.parse().ok()?))
}

fn stderr(folder: &TempDir) -> String {
    std::fs::read_to_string(folder.path().join("stderr")).expect("the file for stderr")
}

fn address_of(listener: &Table) -> SocketAddr {
    let address = string(listener, "address").replace("localhost:", "127.0.0.1:");
    address.parse().expect("a listener's address")
}

fn entries<'a>(table: &'a mut Table, key: &str) -> impl Iterator<Item = &'a mut Table> {
    let array = table.get_mut(key).and_then(Value::as_array_mut);
    array.into_iter().flatten().map(|entry| entry.as_table_mut().expect("an array of tables"))
}

fn section<'a>(table: &'a mut Table, name: &str) -> &'a mut Table {
    let section = table.entry(name).or_insert_with(|| Value::Table(Table::new()));
    section.as_table_mut().expect("a section")
}

fn string(table: &Table, key: &str) -> String {
    let text = table.get(key).and_then(Value::as_str);
    text.unwrap_or_else(|| panic!("no {key} in {table}")).to_owned()
}

fn name_channel(channel: &mut Table, name: &str) {
    let key = if name.ends_with('*') { "pattern" } else { "name" };
    channel.insert(key.into(), Value::String(name.into()));
}
