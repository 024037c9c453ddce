//! The opening handshake (RFC 6455 section 4.2).

use base64::Engine as _;
use base64::engine::{GeneralPurpose, general_purpose};
use sha1::{Digest, Sha1};
use smallvec::SmallVec;

/// Appended to the client's key, section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// A key is 16 bytes, so 24 characters.
const KEY_BYTES: usize = 16;
const KEY_CHARACTERS: usize = 24;
/// The one version there is.
const VERSION: &str = "13";
/// Clients that write their key by hand do not always clear its last four bits; nothing depends on these.
const KEY_BASE64: GeneralPurpose =
    GeneralPurpose::new(&base64::alphabet::STANDARD, general_purpose::PAD.with_decode_allow_trailing_bits(true));

/// A handshake that may be answered by a 101.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accepted<'h> {
    /// What `Sec-WebSocket-Accept` says: ASCII.
    pub accept: [u8; 28],
    /// The subprotocols that the client offers, its favourite first. None has to be chosen.
    pub protocols: SmallVec<[&'h str; 2]>,
}

/// A handshake that is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    /// 400; or 426 for a version other than 13: the response then has `Sec-WebSocket-Version: 13`.
    pub status: u16,
    /// What is wrong, for a person.
    pub reason: &'static str,
}

/// Does the request ask for a WebSocket at all: does `Upgrade` have the token `websocket`? Only then [`check`] it.
pub fn wants_websocket<'h>(mut headers: impl Iterator<Item = (&'h str, &'h [u8])>) -> bool {
    headers.any(|(name, value)| name.eq_ignore_ascii_case("upgrade") && has_element(value, "websocket"))
}

/// Judges a request that asks for a WebSocket. `minor_version` is that of HTTP/1; `has_body`: a body is announced.
/// `Host` and `Origin` are judged elsewhere, as for any request. Offered extensions are ignored: none is agreed on.
pub fn check<'h>(
    method: &str,
    minor_version: u8,
    has_body: bool,
    headers: impl Iterator<Item = (&'h str, &'h [u8])>,
) -> Result<Accepted<'h>, Refused> {
    let bad = |reason| Err(Refused { status: 400, reason });
    if method != "GET" {
        return bad("a WebSocket handshake is a GET");
    }
    if minor_version != 1 {
        return bad("a WebSocket handshake needs HTTP/1.1");
    }
    if has_body {
        return bad("a WebSocket handshake has no body");
    }
    let lines = Lines::of(headers);
    if !lines.upgrade {
        return bad("Upgrade must be websocket");
    }
    if !lines.connection {
        return bad("Connection must have upgrade");
    }
    match lines.version {
        Only::Missing => return bad("Sec-WebSocket-Version is missing"),
        Only::Doubled => return bad("Sec-WebSocket-Version more than once"),
        Only::Once(VERSION) => {}
        Only::Once(_) => {
            let reason = "Sec-WebSocket-Version must be 13";
            return Err(Refused { status: 426, reason });
        }
    }
    let key = match lines.key {
        Only::Missing => return bad("Sec-WebSocket-Key is missing"),
        Only::Doubled => return bad("Sec-WebSocket-Key more than once"),
        Only::Once(key) if !is_key(key) => return bad("Sec-WebSocket-Key must be 16 bytes in base64"),
        Only::Once(key) => key,
    };
    Ok(Accepted { accept: accept_key(key), protocols: lines.protocols })
}

/// `Sec-WebSocket-Accept` for a key: ASCII.
pub fn accept_key(key: &str) -> [u8; 28] {
    let hash = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; 28];
    let written = general_purpose::STANDARD.encode_slice(hash, &mut accept);
    debug_assert_eq!(written, Ok(accept.len()), "20 bytes are 28 characters");
    accept
}

/// Appends the 101. `extra` are more header lines, name and value; neither may hold a line break.
pub fn write_response(out: &mut Vec<u8>, accept: &[u8; 28], extra: &[(&str, &str)]) {
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    out.extend_from_slice(b"Sec-WebSocket-Accept: ");
    out.extend_from_slice(accept);
    for (name, value) in extra {
        debug_assert!(!name.contains(['\r', '\n', ':']) && !value.contains(['\r', '\n']), "{name}: {value}");
        for part in ["\r\n", name, ": ", value] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n\r\n");
}

/// What the lines of a handshake say, found in one look at all of them.
#[derive(Default)]
struct Lines<'h> {
    upgrade: bool,
    connection: bool,
    version: Only<'h>,
    key: Only<'h>,
    protocols: SmallVec<[&'h str; 2]>,
}

/// The value of a line that may be there once.
#[derive(Clone, Copy, Default)]
enum Only<'h> {
    #[default]
    Missing,
    Once(&'h str),
    Doubled,
}

impl<'h> Lines<'h> {
    fn of(headers: impl Iterator<Item = (&'h str, &'h [u8])>) -> Lines<'h> {
        let mut lines = Lines::default();
        for (name, value) in headers {
            if name.eq_ignore_ascii_case("upgrade") {
                lines.upgrade |= has_element(value, "websocket");
            } else if name.eq_ignore_ascii_case("connection") {
                lines.connection |= has_element(value, "upgrade");
            } else if name.eq_ignore_ascii_case("sec-websocket-version") {
                lines.version = lines.version.and(value);
            } else if name.eq_ignore_ascii_case("sec-websocket-key") {
                lines.key = lines.key.and(value);
            } else if name.eq_ignore_ascii_case("sec-websocket-protocol") {
                lines.protocols.extend(elements(value).filter_map(|name| std::str::from_utf8(name).ok()));
            }
        }
        lines
    }
}

impl<'h> Only<'h> {
    /// With another line. What is not ASCII is nothing that we know: empty.
    fn and(self, value: &'h [u8]) -> Only<'h> {
        match self {
            Only::Missing => Only::Once(std::str::from_utf8(value.trim_ascii()).unwrap_or_default()),
            Only::Once(_) | Only::Doubled => Only::Doubled,
        }
    }
}

/// The elements of a list (RFC 9110 section 5.6.1); empty ones do not count.
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

fn has_element(value: &[u8], token: &str) -> bool {
    elements(value).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
}

fn is_key(key: &str) -> bool {
    let mut bytes = [0; KEY_BYTES + 2];
    key.len() == KEY_CHARACTERS && KEY_BASE64.decode_slice(key, &mut bytes) == Ok(KEY_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Line = (&'static str, &'static str);

    const KEY: Line = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    const ACCEPT: &[u8; 28] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    const UPGRADE: Line = ("Upgrade", "websocket");
    const CONNECTION: Line = ("Connection", "Upgrade");
    const VERSION_13: Line = ("Sec-WebSocket-Version", "13");

    fn bytes<'h>(lines: &'h [(&'h str, &'h str)]) -> impl Iterator<Item = (&'h str, &'h [u8])> + Clone {
        lines.iter().map(|&(name, value)| (name, value.as_bytes()))
    }

    fn get<'h>(lines: &'h [(&'h str, &'h str)]) -> Result<Accepted<'h>, Refused> {
        check("GET", 1, false, bytes(lines))
    }

    #[test]
    fn accepted() {
        let rows: &[(&[Line], &[&str])] = &[
            (&[UPGRADE, CONNECTION, KEY, VERSION_13], &[]),
            (&[VERSION_13, KEY, ("X", ""), CONNECTION, UPGRADE, ("Y", "websocket")], &[]),
            (
                &[
                    ("UPGRADE", "WebSocket"),
                    ("connection", "keep-alive, UPGRADE"),
                    ("sec-websocket-key", KEY.1),
                    ("SEC-WEBSOCKET-VERSION", "13"),
                ],
                &[],
            ),
            (
                &[
                    ("Upgrade", "h2c"),
                    ("Upgrade", " ,, foo/2 ,\twebsocket\t,"),
                    ("Connection", "close"),
                    ("Connection", "x,upgrade,y"),
                    (KEY.0, " dGhlIHNhbXBsZSBub25jZQ== "),
                    (VERSION_13.0, "\t13 "),
                ],
                &[],
            ),
            (
                &[
                    UPGRADE,
                    CONNECTION,
                    KEY,
                    VERSION_13,
                    ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits, x;;=,"),
                    ("Sec-WebSocket-Extensions", "\u{1}"),
                    ("Sec-WebSocket-Protocol", "vote, chat"),
                    ("Sec-WebSocket-Protocol", ",table,"),
                ],
                &["vote", "chat", "table"],
            ),
        ];
        for (lines, protocols) in rows {
            assert!(wants_websocket(bytes(lines)), "{lines:?}");
            let accepted = get(lines).expect("accepted");
            assert_eq!(&accepted.accept, ACCEPT, "{lines:?}");
            assert_eq!(accepted.protocols.as_slice(), *protocols, "{lines:?}");
        }
        // The last four bits of a key mean nothing.
        let key = "dGhlIHNhbXBsZSBub25jZR==";
        assert_eq!(get(&[UPGRADE, CONNECTION, VERSION_13, (KEY.0, key)]).unwrap().accept, accept_key(key));
    }

    #[test]
    fn refused() {
        let rows: &[(&[Line], u16, &str)] = &[
            (&[CONNECTION, KEY, VERSION_13], 400, "Upgrade must"),
            (&[("Upgrade", "websockets"), CONNECTION, KEY, VERSION_13], 400, "Upgrade must"),
            (&[("Upgrade", "web socket"), CONNECTION, KEY, VERSION_13], 400, "Upgrade must"),
            (&[("Upgrade", ""), CONNECTION, KEY, VERSION_13], 400, "Upgrade must"),
            (&[UPGRADE, KEY, VERSION_13], 400, "Connection must"),
            (&[UPGRADE, ("Connection", "keep-alive"), KEY, VERSION_13], 400, "Connection must"),
            (&[UPGRADE, ("Connection", "upgrade keep-alive"), KEY, VERSION_13], 400, "Connection must"),
            (&[UPGRADE, CONNECTION, VERSION_13], 400, "Key is missing"),
            (&[UPGRADE, CONNECTION, KEY, KEY, VERSION_13], 400, "Key more than once"),
            (&[UPGRADE, CONNECTION, (KEY.0, ""), VERSION_13], 400, "Key must"),
            (&[UPGRADE, CONNECTION, (KEY.0, "dGhlIHNhbXBsZSBub25j"), VERSION_13], 400, "Key must"),
            (&[UPGRADE, CONNECTION, (KEY.0, "dGhlIHNhbXBsZSBub25jZQ"), VERSION_13], 400, "Key must"),
            (&[UPGRADE, CONNECTION, (KEY.0, "dGhlIHNhbXBsZSBub25jZWU="), VERSION_13], 400, "Key must"),
            (&[UPGRADE, CONNECTION, (KEY.0, "dGhlIHNhbXBsZSBub25jZWVl"), VERSION_13], 400, "Key must"),
            (&[UPGRADE, CONNECTION, (KEY.0, "dGhlIHNhbXBsZS-ub25jZQ=="), VERSION_13], 400, "Key must"),
            (&[UPGRADE, CONNECTION, (KEY.0, "dGhlIHNhbXBsZSBub25jZQ==, x"), VERSION_13], 400, "Key must"),
            (&[UPGRADE, CONNECTION, (KEY.0, "票票票票票票票票"), VERSION_13], 400, "Key must"),
            (&[UPGRADE, CONNECTION, KEY], 400, "Version is missing"),
            (&[UPGRADE, CONNECTION, KEY, VERSION_13, VERSION_13], 400, "Version more than once"),
            (&[UPGRADE, CONNECTION, KEY, (VERSION_13.0, "8")], 426, "must be 13"),
            (&[UPGRADE, CONNECTION, KEY, (VERSION_13.0, "14")], 426, "must be 13"),
            (&[UPGRADE, CONNECTION, KEY, (VERSION_13.0, "013")], 426, "must be 13"),
            (&[UPGRADE, CONNECTION, KEY, (VERSION_13.0, "13, 8")], 426, "must be 13"),
            (&[UPGRADE, CONNECTION, KEY, (VERSION_13.0, "")], 426, "must be 13"),
            // Another version may have other rules for its key.
            (&[UPGRADE, CONNECTION, (VERSION_13.0, "0")], 426, "must be 13"),
        ];
        for &(lines, status, part) in rows {
            let refused = get(lines).expect_err("refused");
            assert_eq!(refused.status, status, "{lines:?}");
            assert!(refused.reason.contains(part), "{lines:?}: {}", refused.reason);
        }
        let good = [UPGRADE, CONNECTION, KEY, VERSION_13];
        for (method, minor_version, has_body, part) in [
            ("POST", 1, false, "GET"),
            ("get", 1, false, "GET"),
            ("GET", 0, false, "HTTP/1.1"),
            ("GET", 1, true, "body"),
        ] {
            let refused = check(method, minor_version, has_body, bytes(&good)).expect_err(method);
            assert_eq!(refused.status, 400);
            assert!(refused.reason.contains(part), "{}", refused.reason);
        }
        assert!(!wants_websocket(bytes(&[CONNECTION, KEY, ("Upgrade", "h2c")])));
    }

    #[test]
    fn header_values_that_are_not_text() {
        let lines: [(&str, &[u8]); 6] = [
            ("Upgrade", b"\xff, websocket"),
            ("Connection", b"\xfe,upgrade"),
            (KEY.0, KEY.1.as_bytes()),
            (VERSION_13.0, b"13"),
            ("Sec-WebSocket-Protocol", b"\xff, chat"),
            ("Sec-WebSocket-Extensions", b"\xff"),
        ];
        assert_eq!(check("GET", 1, false, lines.into_iter()).unwrap().protocols.as_slice(), ["chat"]);
        let mut key = lines;
        key[2].1 = b"\xff";
        assert_eq!(check("GET", 1, false, key.into_iter()).unwrap_err().status, 400);
        let mut version = lines;
        version[3].1 = b"\xff";
        assert_eq!(check("GET", 1, false, version.into_iter()).unwrap_err().status, 426);
    }

    #[test]
    fn the_key_of_section_1_3_and_tungstenite_s_judgement() {
        assert_eq!(&accept_key(KEY.1), ACCEPT);
        for i in 0..100u8 {
            let key = general_purpose::STANDARD.encode([i.wrapping_mul(37); KEY_BYTES]);
            assert!(is_key(&key));
            assert_eq!(accept_key(&key), tungstenite::handshake::derive_accept_key(key.as_bytes()).as_bytes());
        }
    }

    #[test]
    fn responses() {
        let mut out = b"before".to_vec();
        write_response(&mut out, ACCEPT, &[]);
        let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), format!("before{head}\r\n"));
        let mut out = vec![];
        write_response(&mut out, ACCEPT, &[("Server", "tallycast"), ("Sec-WebSocket-Protocol", "vote")]);
        let extra = "Server: tallycast\r\nSec-WebSocket-Protocol: vote\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), format!("{head}{extra}"));
    }
}
