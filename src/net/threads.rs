//! The threads of a server: who ended, and how.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

/// A thread of the server ended that should not have.
#[derive(Debug)]
pub struct ThreadError {
    /// Its name: `loop-0`, `engine`.
    pub thread: String,
    /// Why.
    pub why: ThreadEnd,
}

/// Why a thread ended.
#[derive(Debug)]
pub enum ThreadEnd {
    /// A panic, with its message.
    Panicked(String),
    /// The operating system does not let it wait for its sockets.
    Failed(io::Error),
}

impl fmt::Display for ThreadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            ThreadEnd::Panicked(message) => write!(f, "thread \"{}\" panicked: {message}", self.thread),
            ThreadEnd::Failed(error) => write!(f, "thread \"{}\" cannot go on: {error}", self.thread),
        }
    }
}

impl std::error::Error for ThreadError {}

/// Threads that are waited for together.
#[derive(Debug)]
pub(super) struct Threads {
    handles: Vec<JoinHandle<()>>,
    ends: Receiver<Result<(), ThreadError>>,
    end: Sender<Result<(), ThreadError>>,
}

impl Threads {
    pub(super) fn new() -> Threads {
        let (end, ends) = channel();
        Threads { handles: Vec::new(), ends, end }
    }

    /// Starts a thread.
    pub(super) fn start(
        &mut self,
        name: String,
        body: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let end = self.end.clone();
        let thread = name.clone();
        let report = move || {
            // Nothing that the body leaves half done is used after a panic: the server ends.
            let result = match panic::catch_unwind(AssertUnwindSafe(body)) {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(ThreadEnd::Failed(error)),
                Err(payload) => Err(ThreadEnd::Panicked(message(&*payload))),
            };
            // Nobody may be waiting any more.
            let _ = end.send(result.map_err(|why| ThreadError { thread, why }));
        };
        #[expect(clippy::disallowed_methods, reason = "this is where net starts its threads")]
        self.handles.push(Builder::new().name(name).spawn(report)?);
        Ok(())
    }

    /// Waits until all have ended in order, or one has not: then the others are left as they are.
    pub(super) fn wait(self) -> Result<(), ThreadError> {
        for _ in &self.handles {
            // A sender lives in `self`, so an end always comes.
            self.ends.recv().unwrap_or(Ok(()))?;
        }
        for handle in self.handles {
            // It has reported, and cannot panic any more.
            let _ = handle.join();
        }
        Ok(())
    }
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_fails_is_named_though_others_go_on() {
        type Body = fn() -> io::Result<()>;
        let rows: [(Body, &str); 3] = [
            (|| panic!("number {}", 7), "thread \"odd\" panicked: number 7"),
            (|| panic!("plain"), "thread \"odd\" panicked: plain"),
            (|| Err(io::Error::other("gone")), "thread \"odd\" cannot go on: gone"),
        ];
        for (body, expected) in rows {
            let mut threads = Threads::new();
            let (hold, held) = channel::<()>();
            threads
                .start("steady".into(), move || {
                    // Until the test lets go.
                    let _ = held.recv();
                    Ok(())
                })
                .unwrap();
            threads.start("odd".into(), body).unwrap();
            assert_eq!(threads.wait().unwrap_err().to_string(), expected);
            drop(hold);
        }
    }

    #[test]
    fn all_are_waited_for() {
        let mut threads = Threads::new();
        let (send, receive) = channel();
        for number in 0..4 {
            let send = send.clone();
            threads
                .start(format!("t-{number}"), move || {
                    send.send(number).unwrap();
                    Ok(())
                })
                .unwrap();
        }
        drop(send);
        threads.wait().unwrap();
        let mut numbers: Vec<i32> = receive.iter().collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2, 3]);
    }
}
