//! Starts the threads of a server, and ends them.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use super::threads::{ThreadEnd, ThreadError};

use super::clock::Clock;
use super::driver::{DriverKind, SocketDriver};
use super::epoll::Epoll;
use super::event_loop::{EventLoop, Seat, Shared, run_engine};
use super::listen::{BindError, Bound, bind_all};
use super::mailbox::{EngineQueue, Mailbox};
use super::threads::Threads;
use super::uring::Uring;
use crate::base::hash::Seed;
use crate::base::keys::{CoreId, ListenerId};
use crate::base::limits::CORES_MAX;
use crate::engine::embedded::Embedded;
use crate::route::SharedSetup;
use crate::shard::Shard;

/// A server cannot start.
#[derive(Debug)]
pub enum StartError {
    /// A listener cannot be opened.
    Bind(BindError),
    /// No listener is left: none is configured, or all were optional and are taken.
    NoListener,
    /// The operating system does not give what the driver needs.
    Driver {
        /// Which.
        driver: DriverKind,
        /// What it says.
        source: io::Error,
    },
    /// The operating system does not give what every server needs.
    System {
        /// What was wanted.
        wanted: &'static str,
        /// What it says.
        source: io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Bind(error) => error.fmt(f),
            StartError::NoListener => f.write_str("no listener is left to serve"),
            StartError::Driver { driver, source } => write!(f, "the driver {driver} cannot start: {source}"),
            StartError::System { wanted, source } => write!(f, "the system does not give {wanted}: {source}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Bind(error) => Some(&error.source),
            StartError::NoListener => None,
            StartError::Driver { source, .. } | StartError::System { source, .. } => Some(source),
        }
    }
}

/// A server that runs, and goes on if this is dropped: until [`stop`](Server::stop).
#[derive(Debug)]
pub struct Server {
    addresses: Vec<(String, SocketAddr, ListenerId)>,
    stopper: Stopper,
    threads: Threads,
}

/// Stops a server, from any thread.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<Shared>);

impl Server {
    /// Opens all listeners, then starts `cores` event loops (one at least) over a driver, `loop-0` and so on, and with more
    /// than one the thread `engine`.
    ///
    /// # Errors
    /// What is missing. Nothing was served then, and all is closed again.
    pub fn start(setup: SharedSetup, cores: u16, driver: DriverKind) -> Result<Server, StartError> {
        match driver {
            DriverKind::Epoll => Server::start_over::<Epoll>(setup, cores),
            DriverKind::Uring => Server::start_over::<Uring>(setup, cores),
        }
    }

    fn start_over<D: SocketDriver>(setup: SharedSetup, cores: u16) -> Result<Server, StartError> {
        let cores = cores.clamp(1, CORES_MAX as u16);
        let clock = Clock::new();
        let mut bound = bind_all(&setup.listeners, cores).map_err(StartError::Bind)?;
        if bound.is_empty() {
            return Err(StartError::NoListener);
        }
        let drivers: Vec<D> = (0..cores)
            .map(|_| driver(clock, &mut bound))
            .collect::<io::Result<_>>()
            .map_err(|source| StartError::Driver { driver: D::KIND, source })?;
        tracing::info!("driver {}", D::KIND);
        let seeds: Vec<Seed> = (0..=cores)
            .map(|_| Ok(Seed(getrandom::u64()?, getrandom::u64()?)))
            .collect::<Result<_, getrandom::Error>>()
            .map_err(|error| system("random numbers")(error.into()))?;
        let shared = Arc::new(Shared {
            clock,
            mailboxes: drivers.iter().map(|driver| Mailbox::new(driver.waker())).collect(),
            queue: EngineQueue::new(cores),
            stopping: AtomicBool::new(false),
        });
        let mut server = Server {
            addresses: bound.into_iter().map(|bound| (bound.name, bound.address, bound.id)).collect(),
            stopper: Stopper(shared),
            threads: Threads::new(),
        };
        if let Err(source) = server.start_threads(&setup, drivers, &seeds) {
            server.stop();
            return Err(system("a thread")(source));
        }
        Ok(server)
    }

    /// Where it listens: each listener's name, address (with the port taken for port 0) and id. Those left out are not here.
    pub fn addresses(&self) -> &[(String, SocketAddr, ListenerId)] {
        &self.addresses
    }

    /// What stops this server, for other threads.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Ends it in order: each shard says goodbye, and its loop ends when it has. Returns at once; see [`wait`](Server::wait).
    pub fn stop(&self) {
        self.stopper.stop();
    }

    /// Whether it was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopper.0.stopping.load(Ordering::Acquire)
    }

    /// Waits until all threads have ended.
    ///
    /// # Errors
    /// The first thread that panicked or could not go on. This does not wait for the others: the process is to end.
    pub fn wait(self) -> Result<(), ThreadError> {
        self.threads.wait()
    }

    /// Shards and the engine come into being on their threads: they need not be able to move between any.
    fn start_threads<D: SocketDriver>(
        &mut self,
        setup: &SharedSetup,
        drivers: Vec<D>,
        seeds: &[Seed],
    ) -> io::Result<()> {
        let cores = drivers.len();
        let shared = &self.stopper.0;
        let now = shared.clock.now();
        // The last seed is the engine's; the others are the cores'.
        let seat = {
            let (setup, seed) = (setup.clone(), seeds[cores]);
            move || {
                let engine = Embedded::new(setup.specs(), setup.limits.channels_max, seed, now);
                Seat::new(engine, cores)
            }
        };
        for (index, driver) in drivers.into_iter().enumerate() {
            let (setup, shared, seed) = (setup.clone(), shared.clone(), seeds[index]);
            let seat = (cores == 1).then(|| seat.clone());
            let run = move || {
                let core = CoreId(index as u16);
                let unix = shared.clock.unix();
                let event_loop = EventLoop {
                    core,
                    driver,
                    shard: Shard::new(setup, core, cores as u16, seed, now, unix),
                    seat: seat.map(|seat| seat()),
                    shared,
                };
                event_loop.run()
            };
            self.threads.start(format!("loop-{index}"), run)?;
        }
        // Last, because it ends only when all loops have: if one cannot start, there is no engine that waits for it.
        if cores > 1 {
            let shared = shared.clone();
            self.threads.start("engine".into(), move || {
                run_engine(seat(), &shared);
                Ok(())
            })?;
        }
        Ok(())
    }
}

impl Stopper {
    /// See [`Server::stop`].
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::Release);
        for mailbox in &self.0.mailboxes {
            mailbox.nudge();
        }
    }
}

/// A driver with one socket of each listener.
fn driver<D: SocketDriver>(clock: Clock, bound: &mut [Bound]) -> io::Result<D> {
    let mut driver = D::open(clock)?;
    for bound in bound {
        if let Some(socket) = bound.sockets.pop() {
            driver.listen(bound.id, socket)?;
        }
    }
    Ok(driver)
}

fn system(wanted: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::System { wanted, source }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpStream;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;
    use crate::base::limits::Limits;
    use crate::net::driver::works_here;
    use crate::route::{Dialect, Listener, Origins, Setup};
    use crate::wire::http::Hosts;

    const EPOLL: DriverKind = DriverKind::Epoll;

    fn setup(listeners: &[(&str, SocketAddr, bool)]) -> SharedSetup {
        Arc::new(Setup {
            limits: Limits::default(),
            listeners: listeners
                .iter()
                .map(|(name, address, optional)| Listener {
                    name: (*name).into(),
                    address: *address,
                    origins: Origins::Any,
                    hosts: Hosts::Same,
                    optional: *optional,
                })
                .collect(),
            classes: Vec::new(),
            dialects: vec![Dialect::Tallycast],
            routes: Vec::new(),
        })
    }

    fn any_port() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    /// Waits, and fails instead of hanging.
    fn wait(server: Server) -> Result<(), ThreadError> {
        let (send, receive) = channel();
        let mut waiter = Threads::new();
        waiter
            .start("waiter".into(), move || {
                let _ = send.send(server.wait());
                Ok(())
            })
            .unwrap();
        receive.recv_timeout(Duration::from_secs(60)).expect("the server does not end")
    }

    #[test]
    fn it_starts_listens_and_stops() {
        let rows = [0, 1, 2, 3].map(|cores| [(cores, DriverKind::Epoll), (cores, DriverKind::Uring)]);
        for (cores, driver) in rows.into_iter().flatten().filter(|(_, driver)| works_here(*driver)) {
            let setup = setup(&[("a", any_port(), false), ("b", any_port(), false)]);
            let server = Server::start(setup, cores, driver).unwrap();
            let addresses = server.addresses().to_vec();
            let names: Vec<_> = addresses.iter().map(|(name, _, id)| (name.as_str(), *id)).collect();
            assert_eq!(names, [("a", ListenerId(0)), ("b", ListenerId(1))]);
            let mut clients: Vec<TcpStream> =
                (0..20).map(|number| TcpStream::connect(addresses[number % 2].1).unwrap()).collect();
            server.stop();
            wait(server).unwrap();
            for client in &mut clients {
                // The end, or a reset for those that nobody had accepted; in any case it comes.
                client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                let result = client.read_to_end(&mut Vec::new());
                assert!(!matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock));
            }
            for (_, address, _) in addresses {
                assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
            }
        }
    }

    #[test]
    fn a_taken_listener_is_named_or_left_out() {
        let first = Server::start(setup(&[("main", any_port(), false)]), 2, EPOLL).unwrap();
        let taken = first.addresses()[0].1;
        let error = Server::start(setup(&[("free", any_port(), false), ("mine", taken, false)]), 2, EPOLL).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("\"mine\"") && text.contains(&taken.to_string()), "{text}");

        let second = Server::start(setup(&[("side", taken, true), ("main", any_port(), false)]), 2, EPOLL).unwrap();
        let names: Vec<_> = second.addresses().iter().map(|(name, _, id)| (name.as_str(), *id)).collect();
        assert_eq!(names, [("main", ListenerId(1))]);

        for listeners in [&[("side", taken, true)][..], &[]] {
            let error = Server::start(setup(listeners), 1, EPOLL).unwrap_err();
            assert!(matches!(error, StartError::NoListener), "{error}");
        }
        for server in [first, second] {
            server.stopper().stop();
            wait(server).unwrap();
        }
    }
}
