//! What a process costs, read from /proc: CPU, memory, wake-ups. And limits and placement of our own.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::Serialize;

/// Bytes of a page of memory, as /proc/PID/statm counts.
const PAGE_BYTES: u64 = 4096;

/// What a process has used so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub(crate) struct Usage {
    /// CPU time of all threads, user and system, in nanoseconds.
    pub(crate) cpu_nanos: u64,
    /// Resident memory, in bytes.
    pub(crate) rss_bytes: u64,
    /// Times that a thread went to sleep by itself: each is followed by a wake-up.
    pub(crate) sleeps: u64,
}

/// The process that is watched.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pub(crate) pid: u32,
    /// Its descendants count as well.
    children: bool,
}

impl Watched {
    /// # Errors
    /// There is no such process, or it is not ours to see; in words.
    pub(crate) fn new(pid: u32, children: bool) -> Result<Watched, String> {
        let watched = Watched { pid, children };
        match fs::read_to_string(format!("/proc/{pid}/statm")) {
            Ok(_) => Ok(watched),
            Err(error) => Err(format!("process {pid}: {error}")),
        }
    }

    /// The process that listens at this address.
    ///
    /// # Errors
    /// None is found; in words.
    pub(crate) fn listening(address: SocketAddr, children: bool) -> Result<Watched, String> {
        let inodes = listeners(address.port());
        let mut found: Vec<u32> = processes().into_iter().filter(|pid| holds_any(*pid, &inodes)).collect();
        // A parent that shares its listener with its workers is the oldest.
        found.sort_unstable();
        match found.first() {
            Some(pid) => Watched::new(*pid, children),
            None => Err(format!("no process that we may look at listens on port {}: name it by --pid", address.port())),
        }
    }

    /// What it has used so far. A process that has ended has used nothing.
    pub(crate) fn usage(&self) -> Usage {
        let mut sum = Usage::default();
        let mut add = |usage: Usage| {
            sum.cpu_nanos += usage.cpu_nanos;
            sum.rss_bytes += usage.rss_bytes;
            sum.sleeps += usage.sleeps;
        };
        add(usage_of(self.pid));
        if self.children {
            descendants(self.pid).into_iter().for_each(|pid| add(usage_of(pid)));
        }
        sum
    }

    /// Resident memory in bytes; cheaper than [`Watched::usage`].
    pub(crate) fn rss_bytes(&self) -> u64 {
        let children = if self.children { descendants(self.pid) } else { vec![] };
        resident(self.pid) + children.into_iter().map(resident).sum::<u64>()
    }
}

/// CPU time of this process so far, in nanoseconds.
pub(crate) fn own_cpu_nanos() -> u64 {
    usage_of(std::process::id()).cpu_nanos
}

/// Puts the calling thread on this core.
///
/// # Errors
/// There is no such core, or it is not ours.
pub(crate) fn pin(core: usize) -> Result<(), String> {
    if core >= CpuSet::MAX_CPU {
        return Err(format!("there is no core {core}"));
    }
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).map_err(|error| format!("cannot run on core {core}: {error}"))
}

/// Raises the limit of open files to what is allowed.
///
/// # Errors
/// `needed` are more than that; in words.
pub(crate) fn raise_open_files(needed: u64) -> Result<(), String> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // What is refused is told below, if it matters.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    match getrlimit(Resource::Nofile).current {
        Some(had) if had < needed => Err(format!(
            "{needed} open files are needed, and this process may have {had}: raise the limit (ulimit -n {needed}), \
             or run several processes with fewer connections each"
        )),
        Some(_) | None => Ok(()),
    }
}

fn usage_of(pid: u32) -> Usage {
    let mut usage = Usage { rss_bytes: resident(pid), ..Usage::default() };
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return usage };
    for task in tasks.flatten() {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        // Run time in nanoseconds, time waiting to run, time slices. Some kernels are built without.
        let run_time = read("schedstat").split(' ').next().and_then(|nanos| nanos.parse::<u64>().ok());
        usage.cpu_nanos += run_time.unwrap_or_else(|| tick_nanos(&read("stat")));
        let status = read("status");
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        usage.sleeps += line.and_then(|count| count.trim().parse().ok()).unwrap_or(0);
    }
    usage
}

/// User and system time in /proc/PID/stat: the 14th and 15th field, in ticks of 10 ms. The second is a name in brackets.
fn tick_nanos(stat: &str) -> u64 {
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let fields = behind_name.split_whitespace().skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10_000_000
}

fn resident(pid: u32) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * PAGE_BYTES
}

fn descendants(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        next += 1;
        let Ok(tasks) = fs::read_dir(format!("/proc/{parent}/task")) else { continue };
        for task in tasks.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    found.remove(0);
    found
}

fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The inodes of the sockets that listen on this port.
fn listeners(port: u16) -> BTreeSet<u64> {
    const LISTEN: &str = "0A";
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines());
    lines
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let local = fields.get(1)?.rsplit(':').next()?;
            let is_it = fields.get(3) == Some(&LISTEN) && u16::from_str_radix(local, 16) == Ok(port);
            if is_it { fields.get(9)?.parse().ok() } else { None }
        })
        .collect()
}

fn holds_any(pid: u32, inodes: &BTreeSet<u64>) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).any(|link| {
        let inode = link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        inode.is_some_and(|inode: u64| inodes.contains(&inode))
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_process_that_listens_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let found = Watched::listening(listener.local_addr().unwrap(), true).unwrap();
        assert_eq!(found.pid, std::process::id());
        let usage = found.usage();
        assert!(usage.rss_bytes > 100_000 && usage.cpu_nanos > 0, "{usage:?}");
        assert_eq!(usage.rss_bytes / 100_000_000, found.rss_bytes() / 100_000_000);
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(Watched::listening(address, false).is_err());
    }

    #[test]
    fn more_files_than_there_can_be_are_refused_in_words() {
        assert_eq!(raise_open_files(8), Ok(()));
        if getrlimit(Resource::Nofile).maximum.is_some() {
            let error = raise_open_files(u64::MAX).unwrap_err();
            assert!(error.contains("open files are needed") && error.contains("ulimit -n"), "{error}");
        }
    }

    #[test]
    fn ticks() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 12 30 0 0 20 0 1 0 100 1 2 3";
        assert_eq!(tick_nanos(stat), 420_000_000);
        assert_eq!(tick_nanos(""), 0);
    }

    #[test]
    fn a_core_that_is_not_there() {
        assert!(pin(1_000_000).is_err());
    }
}
