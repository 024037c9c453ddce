//! Breaks every rule. The server may end its connection and nothing else; what it says until then is still right.

use tallycast::base::time::Time;

use super::link::{Link, Seen, State, WebSocket};
use super::{Client, Hears};
use crate::sim::scene::Scene;
use crate::sim::wire::write_frame;

#[derive(Debug)]
enum Connection {
    /// HTTP or worse.
    Raw(Link),
    Socket {
        socket: WebSocket,
        /// The rule was broken.
        done: bool,
    },
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Bad {
    who: String,
    connection: Option<Connection>,
    until: Time,
    leaving: bool,
}

impl Bad {
    pub(crate) fn new(who: &str) -> Bad {
        Bad { who: who.to_owned(), connection: None, until: Time::ZERO, leaving: false }
    }

    fn connect(&mut self, scene: &mut Scene) {
        self.until = scene.soon(15_000);
        self.connection = Some(if scene.random.chance(60) {
            let target = scene.random.pick(&["/c/vote/bad", "/c/vote/bad", "/c/echo"]);
            Connection::Socket { socket: WebSocket::open(scene, &self.who, target), done: false }
        } else {
            let mut link = Link::open(scene, &self.who);
            link.rude = true;
            link.send(&bad_request(scene));
            Connection::Raw(link)
        });
    }
}

fn bad_request(scene: &mut Scene) -> Vec<u8> {
    let some = scene.random.upto(600);
    let text = match scene.random.below(12) {
        0 => return (0..some).map(|_| scene.random.next() as u8).collect(),
        1 => format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(600)),
        2 => format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(3000)),
        3 => "GET /c/vote/bad HTTP/9.9\r\nHost: a\r\n\r\n".into(),
        4 => "POST /c/vote/bad HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n1".into(),
        5 => "POST /c/vote/bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n1\r\n0\r\n\r\n".into(),
        6 => "POST /c/vote/bad HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n".into(),
        7 => "POST /c/vote/bad HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n1".into(),
        8 => "GET /c/vote/bad HTTP/1.1\r\nHo".into(),
        9 => "GET /c/vote/bad HTTP/1.1\r\n\r\n".into(),
        10 => "GET /c/%ff%2e%zz HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        _ => String::new(),
    };
    text.into_bytes()
}

fn bad_frames(scene: &mut Scene) -> Vec<u8> {
    let mask = scene.mask();
    let frame = |fin, opcode, payload: &[u8]| write_frame(fin, opcode, payload, mask);
    let vote = b"{\"choice\":\"1\"}";
    match scene.random.below(14) {
        0 => vec![0x81, 1, b'1'],
        1 => frame(true, 3, b""),
        2 => {
            let mut bytes = frame(true, 1, vote);
            bytes[0] |= 0x40;
            bytes
        }
        3 => frame(false, 9, b"ping"),
        4 => frame(true, 9, &[b'x'; 126]),
        5 => [&[0x82, 0xff][..], &u64::MAX.to_be_bytes(), &mask].concat(),
        6 => [&[0x82, 0xff][..], &(1u64 << 40).to_be_bytes(), &mask].concat(),
        7 => frame(true, 1, b"\xc0\x80"),
        8 => frame(true, 8, b"\x03"),
        9 => frame(true, 8, &1005u16.to_be_bytes()),
        10 => frame(true, 0, vote),
        11 => [frame(false, 1, b"{"), frame(true, 1, vote)].concat(),
        12 => frame(true, 2, &vec![7; scene.knobs.limits.message_bytes_max + 1]),
        _ => (0..20).flat_map(|part| frame(false, u8::from(part == 0), b"1")).collect(),
    }
}

impl Client for Bad {
    fn act(&mut self, scene: &mut Scene) {
        let over = self.leaving || scene.calm || scene.now > self.until;
        match &mut self.connection {
            None if scene.calm || self.leaving => {}
            None => self.connect(scene),
            Some(Connection::Raw(link)) => {
                let reading = scene.random.chance(50) || scene.calm;
                link.pump(scene, reading);
                if over {
                    if scene.random.chance(50) { link.finish() } else { link.reset(scene) }
                }
                if link.state != State::Open {
                    self.connection = None;
                }
            }
            Some(Connection::Socket { socket, done }) => {
                socket.link.pump(scene, true);
                while let Some(seen) = socket.next(scene) {
                    if let Seen::Close(code) = seen {
                        let right = matches!(code, 1002 | 1007 | 1009);
                        assert!(!*done || right || code == 1001 || code == 4008, "{}: closed by {code}", self.who);
                        scene.coverage.hit("bad: closed for it");
                    }
                }
                if socket.is_live() && !*done && !scene.calm && scene.random.chance(40) {
                    let bytes = bad_frames(scene);
                    socket.link.send(&bytes);
                    *done = true;
                }
                if over {
                    socket.link.reset(scene);
                }
                if socket.is_over() {
                    self.connection = None;
                }
            }
        }
    }

    fn leave(&mut self) {
        self.leaving = true;
    }

    fn is_poller(&self) -> bool {
        true
    }

    fn hears(&self) -> Option<Hears<'_>> {
        None
    }

    fn check_rest(&mut self, _: &mut Scene) {
        assert!(self.connection.is_none(), "{}: it was to leave: {:?}", self.who, self.connection);
    }
}
