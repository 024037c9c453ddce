//! Connections that a client has done with, or that are about no session of its own.

use super::session::Ask;
use crate::sim::clients::link::{Requests, Seen, State, WebSocket};
use crate::sim::scene::Scene;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Past {
    pub(super) requests: Vec<Requests<Ask>>,
    /// No message comes over them.
    pub(super) sockets: Vec<WebSocket>,
}

impl Past {
    /// Asks something that is to be refused.
    pub(super) fn ask(&mut self, who: &str, method: &'static str, target: &str, ask: Ask, scene: &mut Scene) {
        let mut requests = Requests::open(scene, who);
        requests.ask(method, target, "", b"", ask);
        self.requests.push(requests);
    }

    pub(super) fn pump(&mut self, scene: &mut Scene) {
        for requests in &mut self.requests {
            requests.link.pump(scene, true);
            while let Some((ask, response)) = requests.next(scene) {
                if response.status == 503 {
                    continue;
                }
                let codes: &[u64] = match &ask {
                    Ask::Unknown => &[1],
                    Ask::Wrong(codes) => codes,
                    // Nobody waits for it any more.
                    Ask::Handshake | Ask::Poll { .. } | Ask::Post { .. } => continue,
                };
                let code = response.json()["code"].as_u64();
                let right = response.status == 400 && code.is_some_and(|code| codes.contains(&code));
                assert!(right, "{codes:?} expected: {ask:?}: {response:?}");
                scene.coverage.hit("sio: refused, as is right");
            }
            if requests.outstanding() == 0 {
                requests.link.finish();
            }
        }
        self.requests.retain(|requests| requests.link.state == State::Open);
        for socket in &mut self.sockets {
            socket.link.pump(scene, true);
            while let Some(seen) = socket.next(scene) {
                if let Seen::Close(code) = seen {
                    assert!(!matches!(code, 1002 | 1003 | 1007 | 1011), "closed by {code}");
                }
            }
            // Who broke off waits for nothing.
            if scene.calm && socket.closed.is_none() && !socket.link.is_finishing() {
                socket.close(scene, 1000);
                if !socket.open {
                    socket.link.finish();
                }
            }
        }
        self.sockets.retain(|socket| socket.link.state == State::Open);
    }
}
