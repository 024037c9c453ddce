//! Every bound, with its unit last in the name. What the configuration may change is in [`Limits`]; the rest is fixed.

use std::time::Duration;

/// Bytes of a WebSocket control frame's payload (RFC 6455 section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;
/// Header lines of a request.
pub const HEADER_LINES_MAX: usize = 64;
/// Bytes of a chunk's size line, extensions included.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;
/// Bytes of a channel's name, after percent-decoding.
pub const CHANNEL_NAME_BYTES_MAX: usize = 128;
/// Bytes of an option's id.
pub const OPTION_BYTES_MAX: usize = 64;
/// Bytes of a user's name.
pub const USER_NAME_BYTES_MAX: usize = 64;
/// Columns of a table.
pub const TABLE_COLUMNS_MAX: usize = 100;
/// Bytes of a row's or a column's id.
pub const TABLE_ID_BYTES_MAX: usize = 64;
/// Cells that one op writes.
pub const CELLS_AT_ONCE_MAX: usize = 1000;
/// Bytes of the name of a Socket.IO namespace or event.
pub const EVENT_NAME_BYTES_MAX: usize = 128;
/// Binary attachments of one Socket.IO packet.
pub const ATTACHMENTS_MAX: usize = 64;
/// How deep the JSON of a Socket.IO packet may be nested.
pub const JSON_DEPTH_MAX: usize = 64;
/// Namespaces of one Socket.IO route.
pub const NAMESPACES_MAX: usize = 64;
/// How long an upgrade may take from the WebSocket's handshake to its last packet.
pub const ENGINE_IO_UPGRADE_WAIT: Duration = Duration::from_secs(10);
/// How long an upgraded session may wait for the engine's answers before it moves.
pub const ENGINE_IO_MOVE_WAIT: Duration = Duration::from_secs(1);
/// How long a GET waits that comes while a WebSocket tries to take over, until it comes back empty. By then the news has
/// come from the WebSocket's core if it has taken over already.
pub const ENGINE_IO_EMPTY_WAIT: Duration = Duration::from_millis(20);
/// Packets that a GET gets at once; the next GET gets the rest. Clients in Python refuse a payload of more.
pub const POLL_PACKETS_MAX: usize = 16;
/// So many times as much as usual may wait for a session that is about to move.
pub const MOVING_ROOM_FACTOR: usize = 4;
/// Packets of one POST.
pub const PAYLOAD_PACKETS_MAX: usize = 16 << 10;
/// Events that a Socket.IO namespace knows; they are looked for one after another.
pub const EVENTS_MAX: usize = 100;
/// Options of a vote.
pub const OPTIONS_MAX: usize = 1000;
/// Channels, routes and listeners of a configuration, each.
pub const CONFIG_ENTRIES_MAX: usize = 10_000;
/// Bytes of a configuration file.
pub const CONFIG_BYTES_MAX: usize = 4 << 20;
/// Event loops of a process.
pub const CORES_MAX: usize = 256;
/// Bytes of a listener's name in a configuration.
pub const LISTENER_NAME_BYTES_MAX: usize = 64;
/// Bytes of a word in a configuration that clients see: a form's field, a dialect's key.
pub const WORD_BYTES_MAX: usize = 64;
/// Dialects of a configuration; each different key of `steps` is one.
pub const DIALECTS_MAX: usize = 256;

/// Bytes that a driver reads from one connection at a time.
pub const READ_BYTES_MAX: usize = 64 << 10;
/// Events that a driver serves in one turn.
pub const TURN_EVENTS_MAX: usize = 256;
/// Connections that a driver accepts in one turn.
pub const TURN_ACCEPTS_MAX: usize = 64;
/// Bytes that a driver reads in one turn, about: at this much it leaves the rest for the next.
pub const TURN_READ_BYTES_MAX: usize = 1 << 20;
/// Messages and requests that a shard reads in one turn; the rest waits for the next. At 100 to 500 ns each: about 1 ms.
pub const TURN_MESSAGES_MAX: usize = 2048;
/// Sends that a shard does in one turn; a longer round goes on in the next. At 3.5 to 5 us each: about 1 ms.
pub const FLUSH_SENDS_MAX: usize = 224;
/// Bytes put together for one send out of private pieces and pieces of logs; what is larger is sent from where it lies.
pub const SCRATCH_BYTES_MAX: usize = 16 << 10;

/// Ops that a core has under way in the engine; at this much it reads no further until some are answered.
pub const OPS_IN_FLIGHT_MAX: usize = 16_384;
/// Mail that waits in a core's inbox, in pieces; publications beyond it are dropped, the core is told, its mirrors re-attach.
pub const INBOX_MAIL_MAX: usize = 65_536;
/// Batches that wait for the engine, from each core.
pub const ENGINE_BATCHES_MAX: usize = 64;

/// Pieces of mail of durable channels that wait for the disk: one core's ops in flight, each with an outcome and a
/// publication.
pub const HELD_MAIL_MAX: usize = 2 * OPS_IN_FLIGHT_MAX;
/// Bytes of the mail of durable channels that waits for the disk, about.
pub const HELD_BYTES_MAX: usize = 64 << 20;

/// Connections of one core that are one too many and are being told so (503); who comes on top of them is just closed.
pub const TURNED_AWAY_MAX: usize = 64;
/// Connections of a process if nobody knows how many files it may have open.
pub const CONNECTIONS_UNKNOWN_MAX: usize = 100_000;
/// Files that a process needs besides its connections and sockets: standard streams, a log, a journal, libraries.
pub const RESERVED_FILES: usize = 64;
/// Files that each event loop needs besides its sockets: epoll, the waker, and connections that are turned away.
pub const RESERVED_FILES_OF_CORE: usize = 4 + TURNED_AWAY_MAX;

/// Smallest and largest segment of a send log, bytes. A larger message has a segment of its own.
pub const SEGMENT_BYTES_MIN: usize = 1 << 10;
/// See [`SEGMENT_BYTES_MIN`].
pub const SEGMENT_BYTES_MAX: usize = 64 << 10;
/// A message's rest up to this long is copied for a reader whom the log's tail passes; a longer one shares its segment.
pub const REST_COPIED_BYTES_MAX: usize = 4 << 10;
/// Who is merely not visited yet, or has a send under way, may hold this many times as much of a log's tail as a laggard.
pub const ROUND_TAIL_FACTOR: usize = 8;

/// How long a mirror is kept after its last use.
pub const MIRROR_LINGER: Duration = Duration::from_secs(10);
/// How long a channel that came by a pattern is kept after its last use, in the engine.
pub const CHANNEL_IDLE: Duration = Duration::from_secs(600);
/// How long messages that are kept for an absent user are kept, unless the configuration says otherwise.
pub const UNHEARD_IDLE: Duration = Duration::from_secs(24 * 3600);
/// Flushes a second that a channel's pace may be set to.
pub const RATE_PER_SECOND_MAX: usize = 1000;
/// The longest that a paced channel holds news back, however long its rounds take.
pub const PACE_WAIT_MAX: Duration = Duration::from_secs(1);
/// Next flush of a paced channel: no sooner than this many times what the last round took.
pub const PACE_ROUND_FACTOR: u32 = 2;
/// Bytes of the text that says that there was a gap.
pub const GAP_BYTES_MAX: usize = 1024;
/// At most one listener count per channel in this time.
pub const LISTENERS_PACE: Duration = Duration::from_millis(200);

const _: () = assert!(SEGMENT_BYTES_MIN <= SEGMENT_BYTES_MAX);
const _: () = assert!(OPS_IN_FLIGHT_MAX < INBOX_MAIL_MAX, "outcomes must always find room in the inbox");
const _: () = assert!(SCRATCH_BYTES_MAX <= SEGMENT_BYTES_MAX);
const _: () = assert!(REST_COPIED_BYTES_MAX <= SEGMENT_BYTES_MAX);
const _: () = assert!(HELD_MAIL_MAX < INBOX_MAIL_MAX, "what is released at once must find room in an inbox");
const _: () = assert!(READ_BYTES_MAX <= TURN_READ_BYTES_MAX, "a turn reads from one connection at least");
const _: () = assert!(CHUNK_LINE_BYTES_MAX <= READ_BYTES_MAX);
const _: () = assert!(FLUSH_SENDS_MAX >= 4, "a log gets a quarter of a turn's sends, and one at least");

/// What the configuration may change, `[limits]`. Sizes in bytes, times as durations.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections of this process, over all cores; zero: as many as the files that it may have open allow.
    pub connections_max: usize,
    /// Connections of this process that have not sent their first complete request; one more ends the oldest of them.
    pub handshakes_max: usize,
    /// A request's head: request line and header lines.
    pub head_bytes_max: usize,
    /// A request's target.
    pub target_bytes_max: usize,
    /// A request's body.
    pub body_bytes_max: usize,
    /// What is received from one connection behind the request in hand (pipelined), or behind a message that must wait,
    /// and is not parsed yet.
    pub pipelined_bytes_max: usize,
    /// A WebSocket message.
    pub message_bytes_max: usize,
    /// Fragments of one WebSocket message.
    pub fragments_max: usize,
    /// Bytes waiting for one connection alone (pong, replies, snapshot): at this much its reading stops.
    pub private_bytes_max: usize,
    /// Messages waiting for one connection alone: at this many its reading stops.
    pub private_messages_max: usize,
    /// Bytes that a channel keeps, per encoding and core, for readers that lag behind.
    pub log_bytes_max: usize,
    /// Bytes of all logs of one core together: if there are more, who lags behind in the longest is passed.
    pub logs_bytes_max: usize,
    /// Publications that a channel keeps for those who resume.
    pub history_publications_max: usize,
    /// Bytes that a channel keeps for those who resume.
    pub history_bytes_max: usize,
    /// Sessions of one core.
    pub sessions_max: usize,
    /// Polls parked in one session.
    pub session_polls_max: usize,
    /// Long-polls that are parked on one core without a session.
    pub polls_max: usize,
    /// Channels that came by a pattern, in the engine.
    pub channels_max: usize,
    /// Different names under which people listen to one channel.
    pub users_max: usize,
    /// The text of a message of a group or to one user.
    pub text_bytes_max: usize,
    /// Rows of a table.
    pub table_rows_max: usize,
    /// The value of a cell, as JSON.
    pub cell_bytes_max: usize,
    /// All values and row ids of a table together.
    pub table_bytes_max: usize,
    /// How long a session lives without a request.
    pub session_idle: Duration,
    /// The longest that a poll is parked.
    pub poll_wait_max: Duration,
    /// How long a request's head may take from its first byte, and a new connection to send its first: so a handshake.
    pub head_wait: Duration,
    /// How long a request's body may take.
    pub body_wait: Duration,
    /// How long a connection may rest between two requests.
    pub keep_alive: Duration,
    /// How long the peer has for its half of a close, and for a message in hand.
    pub close_wait: Duration,
    /// A WebSocket that said nothing for this long is asked (ping), an event stream gets a comment; zero: never.
    pub ping_interval: Duration,
    /// How long the answer to a ping may take.
    pub ping_wait: Duration,
    /// How long a stop may take before what is left is cut.
    pub stop_wait: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 0,
            handshakes_max: 16_384,
            head_bytes_max: 16 << 10,
            target_bytes_max: 4 << 10,
            body_bytes_max: 1 << 20,
            pipelined_bytes_max: 256 << 10,
            message_bytes_max: 1 << 20,
            fragments_max: 1024,
            private_bytes_max: 256 << 10,
            private_messages_max: 1000,
            log_bytes_max: 1 << 20,
            logs_bytes_max: 256 << 20,
            history_publications_max: 1000,
            history_bytes_max: 4 << 20,
            sessions_max: 10_000,
            session_polls_max: 8,
            polls_max: 20_000,
            channels_max: 10_000,
            users_max: 1000,
            text_bytes_max: 64 << 10,
            table_rows_max: 1000,
            cell_bytes_max: 4 << 10,
            table_bytes_max: 2 << 20,
            session_idle: Duration::from_secs(60),
            poll_wait_max: Duration::from_secs(60),
            head_wait: Duration::from_secs(10),
            body_wait: Duration::from_secs(30),
            keep_alive: Duration::from_secs(75),
            close_wait: Duration::from_secs(5),
            ping_interval: Duration::from_secs(25),
            ping_wait: Duration::from_secs(20),
            stop_wait: Duration::from_secs(5),
        }
    }
}
