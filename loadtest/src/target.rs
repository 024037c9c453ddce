//! Where a server is: a URL taken apart, and the addresses that connections come from.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// A server's address and what to ask it for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    /// The first address that the name has; IPv4 before IPv6.
    pub(crate) address: SocketAddr,
    /// What the header `Host` says.
    pub(crate) host: String,
    /// Path and query, with the leading `/`.
    pub(crate) path: String,
    /// `ws` or `http`.
    pub(crate) scheme: &'static str,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(url: &str) -> Result<Target, String> {
        let (scheme, rest) = match url.split_once("://") {
            Some(("ws", rest)) => ("ws", rest),
            Some(("http", rest)) => ("http", rest),
            Some((other, _)) => return Err(format!("{other}:// is not spoken here: only ws:// and http://")),
            None => return Err("a URL begins with ws:// or http://".into()),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let cut = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(cut);
        if host.is_empty() || host.contains('@') {
            return Err("the URL needs a host".into());
        }
        if url.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
            return Err("the URL has a blank in it".into());
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let has_port = host.rfind(':').is_some_and(|colon| !host[colon..].contains(']'));
        let with_port = if has_port { host.to_owned() } else { format!("{host}:80") };
        let addresses = with_port.to_socket_addrs().map_err(|error| format!("{host}: {error}"))?;
        let address = addresses.min_by_key(SocketAddr::is_ipv6).ok_or_else(|| format!("{host} has no address"))?;
        Ok(Target { address, host: host.to_owned(), path, scheme })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.host, self.path)
    }
}

/// Addresses that connections to one port are spread over: an address has about 28,000 ports of its own, and those
/// that were just closed rest for a minute.
const SOURCES: u32 = 200;

/// The address that the connection with this number comes from; `None`: the kernel's choice.
/// Only loopback has addresses enough: all of 127.0.0.0/8 is this machine.
pub(crate) fn source(target: SocketAddr, number: u64) -> Option<SocketAddr> {
    match target.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => {
            let spread = (number % u64::from(SOURCES)) as u8;
            Some(SocketAddr::from((Ipv4Addr::new(127, 77, spread / 100, 1 + spread % 100), 0)))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let rows = [
            ("ws://127.0.0.1:9100/bench", "127.0.0.1:9100", "127.0.0.1:9100", "/bench"),
            ("ws://127.0.0.1/", "127.0.0.1:80", "127.0.0.1", "/"),
            ("ws://127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:1", "/"),
            ("http://127.0.0.1:8/p?a=b&c#d", "127.0.0.1:8", "127.0.0.1:8", "/p?a=b&c"),
            ("ws://127.0.0.1:8?a", "127.0.0.1:8", "127.0.0.1:8", "/?a"),
            ("ws://[::1]:81/x", "[::1]:81", "[::1]:81", "/x"),
            ("ws://[::1]/x", "[::1]:80", "[::1]", "/x"),
        ];
        for (url, address, host, path) in rows {
            let target: Target = url.parse().unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(
                (target.address, target.host.as_str(), target.path.as_str()),
                (address.parse().unwrap(), host, path)
            );
        }
        for url in ["127.0.0.1:9100", "wss://127.0.0.1/", "ws://", "ws:///x", "ws://a b/", "ws://127.0.0.1:99999/"] {
            assert!(url.parse::<Target>().is_err(), "{url}");
        }
    }

    #[test]
    fn loopback_is_spread_and_others_are_not() {
        let target = "127.0.0.1:9100".parse().unwrap();
        let sources: std::collections::BTreeSet<_> = (0..1000).filter_map(|number| source(target, number)).collect();
        assert_eq!(sources.len(), SOURCES as usize);
        assert!(sources.iter().all(|source| source.ip().is_loopback() && source.port() == 0));
        assert_eq!(source("10.0.0.1:80".parse().unwrap(), 3), None);
        assert_eq!(source("[::1]:80".parse().unwrap(), 3), None);
    }
}
