//! Close codes and the Close frame (RFC 6455 sections 5.5.1 and 7.4).

use super::Violation;
use super::head::{Opcode, write_frame};
use crate::base::limits::CONTROL_BYTES_MAX;

/// Done.
pub const NORMAL: u16 = 1000;
/// The server stops, or the page is left.
pub const GOING_AWAY: u16 = 1001;
/// The peer broke the protocol.
pub const PROTOCOL: u16 = 1002;
/// Data of a kind that is not taken here.
pub const UNSUPPORTED: u16 = 1003;
/// Text that is not UTF-8.
pub const BAD_DATA: u16 = 1007;
/// Not allowed, without a better code.
pub const POLICY: u16 = 1008;
/// A message over the limit.
pub const TOO_BIG: u16 = 1009;
/// The channel's code failed.
pub const FAILED: u16 = 1011;
/// Come back later (IANA's registry).
pub const TRY_AGAIN: u16 = 1013;
/// Our own: the reader fell too far behind; come back and resume.
pub const TOO_SLOW: u16 = 4008;

/// May this code stand in a Close, from either side? Section 7.4 and IANA's registry (1012 to 1014);
/// not 1004 (reserved), not 1005, 1006 and 1015 (never on the wire).
pub const fn is_allowed(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Reads the payload of a Close, unmasked: nothing, or a code and a reason (which may be empty).
pub fn parse(payload: &[u8]) -> Result<Option<(u16, &str)>, Violation> {
    match payload {
        [] => Ok(None),
        [_] => Err(Violation::BadClosePayload),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !is_allowed(code) {
                return Err(Violation::BadCloseCode);
            }
            let reason = std::str::from_utf8(reason).map_err(|_| Violation::BadCloseReason)?;
            Ok(Some((code, reason)))
        }
    }
}

/// Appends a server's Close. A reason over 123 bytes is cut, between two characters.
pub fn write_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    debug_assert!(is_allowed(code), "{code} may not be sent");
    let mut end = reason.len().min(CONTROL_BYTES_MAX - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = [0; CONTROL_BYTES_MAX];
    payload[..2].copy_from_slice(&code.to_be_bytes());
    payload[2..2 + end].copy_from_slice(&reason.as_bytes()[..end]);
    write_frame(out, Opcode::Close, &payload[..2 + end]);
}

/// Appends the server's answer to a Close without a code.
pub fn write_close_without_code(out: &mut Vec<u8>) {
    write_frame(out, Opcode::Close, &[]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_may_be_sent() {
        let allowed =
            [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4008, 4999];
        let refused = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
        for code in allowed {
            assert_eq!(parse(&code_and(code, b"")), Ok(Some((code, ""))), "{code}");
        }
        for code in refused {
            assert_eq!(parse(&code_and(code, b"")), Err(Violation::BadCloseCode), "{code}");
        }
    }

    fn code_and(code: u16, reason: &[u8]) -> Vec<u8> {
        [&code.to_be_bytes(), reason].concat()
    }

    #[test]
    fn payloads() {
        assert_eq!(parse(b""), Ok(None));
        assert_eq!(parse(&[0x03]), Err(Violation::BadClosePayload));
        assert_eq!(parse(&code_and(1000, "再见".as_bytes())), Ok(Some((1000, "再见"))));
        assert_eq!(parse(&code_and(1000, b"\xed\xa0\x80")), Err(Violation::BadCloseReason));
        assert_eq!(parse(&code_and(1000, b"\xe6\x8a")), Err(Violation::BadCloseReason));
        // The code is judged before the reason.
        assert_eq!(parse(&code_and(1005, b"\xff")), Err(Violation::BadCloseCode));
    }

    #[test]
    fn what_is_written_is_read_back_and_long_reasons_are_cut_between_characters() {
        let reasons = [String::new(), "bye".into(), "a".repeat(123), "a".repeat(200), "票".repeat(41), "票".repeat(60)];
        for reason in reasons {
            let mut out = vec![];
            write_close(&mut out, TOO_SLOW, &reason);
            assert_eq!(out[0], 0x88);
            assert_eq!(usize::from(out[1]), out.len() - 2);
            let (code, read) = parse(&out[2..]).unwrap().unwrap();
            assert_eq!(code, TOO_SLOW);
            assert!(reason.starts_with(read));
            assert!(read.len() == reason.len() || (121..=123).contains(&read.len()), "{}", read.len());
        }
        let mut out = vec![];
        write_close_without_code(&mut out);
        assert_eq!(out, [0x88, 0]);
    }
}
