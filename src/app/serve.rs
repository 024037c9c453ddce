//! `tallycast serve`: starts the server, says where it is, and waits for its end.

use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::thread;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::config::Config;
use super::{Failure, print};
use crate::base::keys::ListenerId;
use crate::base::limits::CORES_MAX;
use crate::net::files;
use crate::net::server::Server;
use crate::net::signals;
use crate::route::{PathPattern, Serve, Setup};

/// What a URL's path may not hold as it is (<https://url.spec.whatwg.org/#path-percent-encode-set>).
const PATH_ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'}');

/// Serves until a signal or a failure ends it.
pub(super) fn serve(config: Config) -> Result<(), Failure> {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .log_internal_errors(false)
        .init();
    let cores = cores(config.cores);
    let mut setup = config.setup;
    setup.limits.connections_max = connections_max(setup.limits.connections_max, cores, setup.listeners.len());
    let setup = Arc::new(setup);
    let server = Server::start(Arc::clone(&setup), cores, config.driver.kind())
        .map_err(|error| Failure::Runtime(error.to_string()))?;
    signals::stop_on_signals(&server)
        .map_err(|error| Failure::Runtime(format!("cannot watch for signals: {error}")))?;
    print::lines(&banner(&setup, server.addresses()));
    server.wait().map_err(|error| Failure::Runtime(error.to_string()))
}

/// Connections: as many as are asked for; 0: as many as the files that may be open allow.
fn connections_max(asked: usize, cores: u16, listeners: usize) -> usize {
    let open_files_max = files::open_files_max();
    let possible = files::connections_for(open_files_max, cores.into(), listeners);
    match (asked, open_files_max) {
        (0, files) => {
            let files = files.map_or("any number of".to_owned(), |files| files.to_string());
            tracing::info!("at most {possible} connections: this process may have {files} open files");
            possible
        }
        (asked, Some(files)) if asked > possible => {
            tracing::warn!(
                "connections_max is {asked}, but this process may have {files} open files, enough for {possible}: \
                 more wait until others leave; raise the limit (ulimit -n)"
            );
            asked
        }
        (asked, _) => asked,
    }
}

/// Event loops: as many as are asked for; 0: as many as the process may use processors.
fn cores(asked: u16) -> u16 {
    match asked {
        0 => thread::available_parallelism().map_or(1, |cores| cores.get().min(CORES_MAX) as u16),
        asked => asked,
    }
}

/// `listening NAME http://ADDRESS` for each listener, then a line for each page: its URL and what it is.
fn banner(setup: &Setup, addresses: &[(String, SocketAddr, ListenerId)]) -> Vec<String> {
    let listening = addresses.iter().map(|(name, address, _)| format!("listening {name} http://{address}"));
    let pages = setup.routes.iter().filter_map(|route| {
        let (PathPattern::Exact(path), Serve::Page { page, .. }) = (&route.path, &route.serve) else {
            return None;
        };
        let (_, address, _) = addresses.iter().find(|(_, _, id)| *id == route.listener)?;
        let path = utf8_percent_encode(path, PATH_ENCODED);
        Some(format!("  http://{}{path}   {} page", reachable(*address), page.name()))
    });
    listening.chain(pages).collect()
}

/// An address that a browser here can open: one that stands for all of this machine's is none.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::config::parse;

    const CONFIG: &str = r#"
        listener = [
            { name = "main", address = "127.0.0.1:0" },
            { name = "side", address = "127.0.0.1:1", optional = true },
            { name = "wide", address = "[::]:0" },
        ]
        channel = [{ name = "poll", kind = "vote", options = [{ id = "1" }] }]
        route = [
            { listener = ["main", "wide"], path = "/投票 page", serve = "page", channel = "poll", page = "vote" },
            { listener = "side", path = "/", serve = "page", channel = "poll", page = "vote" },
            { listener = "main", path = "/text", serve = "text", text = "no page" },
        ]
    "#;

    #[test]
    fn every_listener_that_stands_and_every_page_that_can_be_opened_are_told() {
        let config = parse(CONFIG, "test").unwrap_or_else(|errors| panic!("{errors}"));
        let addresses = [
            ("main".to_owned(), "127.0.0.1:4000".parse().unwrap(), ListenerId(0)),
            ("wide".to_owned(), "[::]:4001".parse().unwrap(), ListenerId(2)),
        ];
        assert_eq!(
            banner(&config.setup, &addresses),
            [
                "listening main http://127.0.0.1:4000",
                "listening wide http://[::]:4001",
                "  http://127.0.0.1:4000/%E6%8A%95%E7%A5%A8%20page   vote page",
                "  http://[::1]:4001/%E6%8A%95%E7%A5%A8%20page   vote page",
            ]
        );
    }

    #[test]
    fn connections_are_those_asked_for_or_those_that_are_possible() {
        assert!(connections_max(0, 1, 1) >= 1);
        assert_eq!(connections_max(7, 1, 1), 7);
        assert_eq!(connections_max(usize::MAX, 1, 1), usize::MAX);
    }

    #[test]
    fn zero_cores_means_all_there_are() {
        assert!(cores(0) >= 1);
        assert_eq!(cores(3), 3);
    }
}
