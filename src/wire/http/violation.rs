//! What a client can do wrong in a request, one variant per culprit.

/// The peer broke the protocol: it gets [`status`](Violation::status) and the connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Violation {
    /// A line that ends in LF alone (RFC 9112 section 2.2 lets a server take it; proxies disagree about it).
    BareLineFeed,
    /// A CR that is not followed by LF.
    BareCarriageReturn,
    /// Too many empty lines before a request line.
    EmptyLines,
    /// The request line is not `method target version` with one space between.
    RequestLineShape,
    /// The method is no token, or longer than any method.
    MethodInvalid,
    /// A method that nobody has registered.
    MethodUnknown,
    /// A request line without a version: HTTP/0.9.
    VersionMissing,
    /// The version is not `HTTP/digit.digit`, or is 0.x.
    VersionInvalid,
    /// A major version other than 1.
    VersionUnsupported,
    /// CONNECT: this is no proxy.
    Connect,
    /// The target has another form than the method takes, or characters that no target has.
    TargetInvalid,
    /// The target is longer than its limit.
    TargetTooLong,
    /// The head is longer than its limit.
    HeadTooLong,
    /// More header lines than the limit.
    HeadersTooMany,
    /// A header line that begins with a space or tab (obs-fold, RFC 9112 section 5.2).
    LineFolded,
    /// A header line without a colon.
    ColonMissing,
    /// Space between a header's name and its colon (RFC 9112 section 5.1).
    SpaceBeforeColon,
    /// A header's name is no token.
    HeaderNameInvalid,
    /// NUL or another control character in a header's value.
    HeaderValueInvalid,
    /// An HTTP/1.1 request without Host.
    HostMissing,
    /// More than one Host.
    HostTwice,
    /// Host is empty, or not `host[:port]`.
    HostInvalid,
    /// A target in absolute form whose authority is not that of Host.
    HostDiffers,
    /// More than one Content-Length, in lines or in one list.
    LengthTwice,
    /// Content-Length is not a number.
    LengthInvalid,
    /// Both Content-Length and Transfer-Encoding.
    LengthAndCoding,
    /// Transfer-Encoding is malformed, or `chunked` is not the last coding, or there twice.
    CodingInvalid,
    /// A transfer coding that nobody has registered, or none that says where the body ends.
    CodingUnsupported,
    /// Transfer-Encoding in a request of HTTP/1.0.
    CodingBeforeHttp11,
    /// An expectation other than `100-continue`.
    ExpectationUnknown,
    /// The body is longer than its limit.
    BodyTooLong,
    /// A chunk's size is not hexadecimal, or there is none.
    ChunkSizeInvalid,
    /// A chunk's size line is longer than its limit.
    ChunkLineTooLong,
    /// A chunk extension is malformed.
    ChunkExtensionInvalid,
    /// A body's chunk extensions together are longer than a head may be.
    ChunkExtensionsTooLong,
    /// A chunk's data is not followed by CRLF.
    ChunkEndMissing,
    /// The trailers are longer than a head may be.
    TrailersTooLong,
}

impl Violation {
    /// The status that says so (RFC 9110 section 15, RFC 6585 section 5).
    pub fn status(&self) -> u16 {
        match self {
            Violation::BareLineFeed
            | Violation::BareCarriageReturn
            | Violation::EmptyLines
            | Violation::RequestLineShape
            | Violation::MethodInvalid
            | Violation::VersionMissing
            | Violation::VersionInvalid
            | Violation::Connect
            | Violation::TargetInvalid
            | Violation::LineFolded
            | Violation::ColonMissing
            | Violation::SpaceBeforeColon
            | Violation::HeaderNameInvalid
            | Violation::HeaderValueInvalid
            | Violation::HostMissing
            | Violation::HostTwice
            | Violation::HostInvalid
            | Violation::HostDiffers
            | Violation::LengthTwice
            | Violation::LengthInvalid
            | Violation::LengthAndCoding
            | Violation::CodingInvalid
            | Violation::CodingBeforeHttp11
            | Violation::ChunkSizeInvalid
            | Violation::ChunkLineTooLong
            | Violation::ChunkExtensionInvalid
            | Violation::ChunkExtensionsTooLong
            | Violation::ChunkEndMissing => 400,
            Violation::BodyTooLong => 413,
            Violation::TargetTooLong => 414,
            Violation::ExpectationUnknown => 417,
            Violation::HeadTooLong | Violation::HeadersTooMany | Violation::TrailersTooLong => 431,
            Violation::MethodUnknown | Violation::CodingUnsupported => 501,
            Violation::VersionUnsupported => 505,
        }
    }

    /// What is wrong, for the peer's developer: a short text without a full stop.
    pub fn reason(&self) -> &'static str {
        match self {
            Violation::BareLineFeed => "a line ends in LF instead of CRLF",
            Violation::BareCarriageReturn => "a CR is not followed by LF",
            Violation::EmptyLines => "too many empty lines before the request",
            Violation::RequestLineShape => "the request line is not: method, space, target, space, version",
            Violation::MethodInvalid => "the method is not a token",
            Violation::MethodUnknown => "the method is not known",
            Violation::VersionMissing => "the request line has no version",
            Violation::VersionInvalid => "the version is not HTTP/1.1 or HTTP/1.0",
            Violation::VersionUnsupported => "this server speaks HTTP/1.1",
            Violation::Connect => "this server is no proxy",
            Violation::TargetInvalid => "the target is malformed",
            Violation::TargetTooLong => "the target is too long",
            Violation::HeadTooLong => "the head is too long",
            Violation::HeadersTooMany => "there are too many header lines",
            Violation::LineFolded => "a header line begins with a space",
            Violation::ColonMissing => "a header line has no colon",
            Violation::SpaceBeforeColon => "there is a space before a header's colon",
            Violation::HeaderNameInvalid => "a header's name is not a token",
            Violation::HeaderValueInvalid => "there is a control character in a header",
            Violation::HostMissing => "there is no Host",
            Violation::HostTwice => "there is more than one Host",
            Violation::HostInvalid => "Host is not: host, or host:port",
            Violation::HostDiffers => "the target names another host than Host",
            Violation::LengthTwice => "there is more than one Content-Length",
            Violation::LengthInvalid => "Content-Length is not a number",
            Violation::LengthAndCoding => "there are both Content-Length and Transfer-Encoding",
            Violation::CodingInvalid => "Transfer-Encoding is malformed",
            Violation::CodingUnsupported => "the last transfer coding is not chunked, or one before it is unknown",
            Violation::CodingBeforeHttp11 => "HTTP/1.0 has no Transfer-Encoding",
            Violation::ExpectationUnknown => "the only expectation here is 100-continue",
            Violation::BodyTooLong => "the body is too long",
            Violation::ChunkSizeInvalid => "a chunk's size is not a hexadecimal number",
            Violation::ChunkLineTooLong => "a chunk's size line is too long",
            Violation::ChunkExtensionInvalid => "a chunk extension is malformed",
            Violation::ChunkExtensionsTooLong => "the chunk extensions are too long",
            Violation::ChunkEndMissing => "a chunk's data is not followed by CRLF",
            Violation::TrailersTooLong => "the trailers are too long",
        }
    }
}
