//! What a peer may do wrong after the handshake.

use super::close;

/// The peer broke the protocol (RFC 6455) or a limit. Final: nothing that follows can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// A client's frame came without a mask (section 5.1).
    Unmasked,
    /// A server's frame came with a mask (section 5.1).
    Masked,
    /// RSV1, RSV2 or RSV3 is set, and no extension was agreed on (section 5.2).
    ReservedBits,
    /// An opcode that RFC 6455 reserves (section 5.2).
    ReservedOpcode,
    /// A control frame without FIN (section 5.5).
    FragmentedControl,
    /// A control frame of more than 125 bytes (section 5.5).
    LongControl,
    /// A length that fits a shorter form (section 5.2).
    LengthNotMinimal,
    /// A 64-bit length whose top bit is set (section 5.2).
    LengthTopBit,
    /// A continuation, and no message is open (section 5.4).
    OrphanContinuation,
    /// A new message while another is open (section 5.4).
    InterleavedMessage,
    /// A text message that is not UTF-8 (section 8.1).
    BadUtf8,
    /// A message beyond `message_bytes_max`.
    TooBig,
    /// A message of more than `fragments_max` frames.
    TooManyFragments,
    /// A Close with one byte of payload: half a code (section 5.5.1).
    BadClosePayload,
    /// A close code that may not be sent (section 7.4).
    BadCloseCode,
    /// A close reason that is not UTF-8 (section 5.5.1).
    BadCloseReason,
}

impl Violation {
    /// The close code that answers it: 1002, 1007 or 1009 (section 7.4.1).
    pub fn close_code(&self) -> u16 {
        match self {
            Violation::Unmasked
            | Violation::Masked
            | Violation::ReservedBits
            | Violation::ReservedOpcode
            | Violation::FragmentedControl
            | Violation::LongControl
            | Violation::LengthNotMinimal
            | Violation::LengthTopBit
            | Violation::OrphanContinuation
            | Violation::InterleavedMessage
            | Violation::BadClosePayload
            | Violation::BadCloseCode
            | Violation::BadCloseReason => close::PROTOCOL,
            Violation::BadUtf8 => close::BAD_DATA,
            Violation::TooBig | Violation::TooManyFragments => close::TOO_BIG,
        }
    }

    /// The reason that goes with [`Violation::close_code`]: ASCII, short enough for a Close.
    pub fn reason(&self) -> &'static str {
        match self {
            Violation::Unmasked => "frame without a mask",
            Violation::Masked => "frame with a mask",
            Violation::ReservedBits => "reserved bits set",
            Violation::ReservedOpcode => "reserved opcode",
            Violation::FragmentedControl => "fragmented control frame",
            Violation::LongControl => "control frame over 125 bytes",
            Violation::LengthNotMinimal => "length not in its shortest form",
            Violation::LengthTopBit => "length with its top bit set",
            Violation::OrphanContinuation => "continuation of no message",
            Violation::InterleavedMessage => "new message inside another",
            Violation::BadUtf8 => "text is not UTF-8",
            Violation::TooBig => "message too big",
            Violation::TooManyFragments => "too many fragments",
            Violation::BadClosePayload => "close with half a code",
            Violation::BadCloseCode => "close code not allowed",
            Violation::BadCloseReason => "close reason is not UTF-8",
        }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Violation {}
