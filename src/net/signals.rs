//! SIGTERM and SIGINT end the server in order; a second one ends the process at once.

use std::io;
use std::thread::Builder;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

use super::server::Server;

/// From now on the first SIGTERM or SIGINT stops `server`, and the second exits with 128 and its number, as shells count.
/// This lasts as long as the process; the caller waits with [`Server::wait`].
///
/// # Errors
/// What the operating system says, if it does not let us listen for signals or start a thread.
pub fn stop_on_signals(server: &Server) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let stopper = server.stopper();
    let listen = move || {
        let mut stopping = false;
        for signal in signals.forever() {
            if stopping {
                low_level::exit(128 + signal);
            }
            stopping = true;
            let name = low_level::signal_name(signal).unwrap_or("a signal");
            tracing::info!("{name}: ending in order; once more to end at once");
            stopper.stop();
        }
    };
    #[expect(clippy::disallowed_methods, reason = "this is where net starts its threads")]
    Builder::new().name("signals".into()).spawn(listen)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::sync::Arc;

    use super::*;
    use crate::base::limits::Limits;
    use crate::net::driver::DriverKind;
    use crate::route::{Dialect, Listener, Origins, Setup};
    use crate::wire::http::Hosts;

    const CHILD: &str = "TALLYCAST_TEST_SIGNALS";

    /// Signals are the whole process's: this runs in a process of its own.
    fn child(signals: &str) -> ! {
        let listener = Listener {
            name: "main".into(),
            address: "127.0.0.1:0".parse().unwrap(),
            origins: Origins::Any,
            hosts: Hosts::Same,
            optional: false,
        };
        let setup = Setup {
            limits: Limits::default(),
            listeners: vec![listener],
            classes: Vec::new(),
            dialects: vec![Dialect::Tallycast],
            routes: Vec::new(),
        };
        let server = Server::start(Arc::new(setup), 2, DriverKind::Epoll).unwrap();
        stop_on_signals(&server).unwrap();
        for signal in signals.split(' ') {
            low_level::raise(signal.parse().unwrap()).unwrap();
            // Two signals of one number that are pending together are one: let this one be seen.
            while !server.is_stopping() {
                std::thread::yield_now();
            }
        }
        if signals.contains(' ') {
            loop {
                std::thread::park();
            }
        }
        server.wait().unwrap();
        std::process::exit(77);
    }

    #[test]
    fn the_first_signal_stops_in_order_and_the_second_at_once() {
        if let Ok(signals) = std::env::var(CHILD) {
            child(&signals);
        }
        let rows = [
            (vec![SIGTERM], 77),
            (vec![SIGINT], 77),
            (vec![SIGINT, SIGTERM], 128 + SIGTERM),
            (vec![SIGTERM, SIGTERM], 128 + SIGTERM),
            (vec![SIGTERM, SIGINT], 128 + SIGINT),
        ];
        for (signals, expected) in rows {
            let numbers: Vec<String> = signals.iter().map(ToString::to_string).collect();
            let status = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "net::signals::tests::the_first_signal_stops_in_order_and_the_second_at_once"])
                .env(CHILD, numbers.join(" "))
                .stdout(Stdio::null())
                .status()
                .unwrap();
            assert_eq!(status.code(), Some(expected), "{signals:?}");
        }
    }
}
