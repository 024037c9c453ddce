//! Which pages may use a listener: the `Origin` of WebSocket handshakes, POSTs and CORS requests (RFC 6454).

/// The allowed origins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origins {
    /// Every one.
    Any,
    /// Pages of this machine: `http` or `https` from `127.0.0.1`, `localhost` or `[::1]`, any port, and `null` (files).
    Local,
    /// These, as browsers send them (`https://example.org`), compared without regard to case.
    List(Vec<String>),
}

impl Origins {
    /// Whether a request with this `Origin` may be served; one without is no browser's cross-site request.
    pub fn allow(&self, origin: Option<&str>) -> bool {
        let Some(origin) = origin else { return true };
        match self {
            Origins::Any => true,
            Origins::Local => is_local(origin),
            Origins::List(list) => list.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)),
        }
    }
}

fn is_local(origin: &str) -> bool {
    if origin == "null" {
        return true;
    }
    let origin = origin.to_ascii_lowercase();
    let Some(host) = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")) else {
        return false;
    };
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|name| match host.strip_prefix(name) {
        Some("") => true,
        Some(rest) => rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok()),
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_means_this_machine_and_nobody_who_looks_like_it() {
        for good in ["null", "http://127.0.0.1:5000", "http://localhost", "https://LOCALHOST:8443", "http://[::1]:9"] {
            assert!(Origins::Local.allow(Some(good)), "{good}");
        }
        for bad in [
            "",
            "http://127.0.0.1.evil.test",
            "http://localhost:5000.evil.test",
            "http://localhost:",
            "ftp://localhost",
            "http://evil.test",
            "http://localhost:99999",
            "http://user@localhost",
        ] {
            assert!(!Origins::Local.allow(Some(bad)), "{bad}");
        }
        assert!(Origins::Local.allow(None));
        let list = Origins::List(vec!["https://example.org".into()]);
        assert!(list.allow(Some("https://EXAMPLE.org")) && !list.allow(Some("https://example.org:8443")));
        assert!(Origins::Any.allow(Some("http://evil.test")));
    }
}
