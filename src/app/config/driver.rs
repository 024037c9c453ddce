//! `[server]`, `driver`.

use std::fmt;

use super::section::Section;
use crate::net::driver::DriverKind;

/// What the file says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DriverChoice {
    /// This one.
    Fixed(DriverKind),
    /// The one that measures best.
    Auto,
}

impl DriverChoice {
    /// The driver that is meant. `auto` is epoll: io_uring sends no faster (it is the same work of the kernel's), and costs
    /// four times the kernel memory for each idle connection. See docs/decisions/0015-io-uring.md.
    pub fn kind(self) -> DriverKind {
        match self {
            DriverChoice::Fixed(kind) => kind,
            DriverChoice::Auto => DriverKind::Epoll,
        }
    }
}

impl fmt::Display for DriverChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DriverChoice::Fixed(kind) => write!(f, "driver {kind}"),
            DriverChoice::Auto => write!(f, "driver {} (auto)", self.kind()),
        }
    }
}

pub(super) fn read(server: &Section<'_>) -> DriverChoice {
    match server.word("driver", &["epoll", "uring", "auto"]) {
        Some("uring") => DriverChoice::Fixed(DriverKind::Uring),
        Some("auto") => DriverChoice::Auto,
        Some(_) | None => DriverChoice::Fixed(DriverKind::Epoll),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::config::parse;

    #[test]
    fn each_word_has_its_driver() {
        let rows = [
            ("", DriverKind::Epoll, "driver epoll"),
            ("driver = 'epoll'", DriverKind::Epoll, "driver epoll"),
            ("driver = 'uring'", DriverKind::Uring, "driver uring"),
            ("driver = 'auto'", DriverKind::Epoll, "driver epoll (auto)"),
        ];
        for (line, kind, told) in rows {
            let text = format!("[server]\n{line}\n[[listener]]\nname = 'main'\naddress = '127.0.0.1:0'");
            let config = parse(&text, "test").unwrap_or_else(|errors| panic!("{errors}"));
            assert_eq!((config.driver.kind(), config.driver.to_string().as_str()), (kind, told), "{line:?}");
        }
    }
}
