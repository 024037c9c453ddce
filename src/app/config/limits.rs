//! `[limits]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::section::{Section, unknown};
use super::value::{self, write_duration, write_size};
use crate::base::limits::{Limits, READ_BYTES_MAX, SEGMENT_BYTES_MIN};

const KIB: usize = 1 << 10;
const GIB: usize = 1 << 30;
const MILLION: usize = 1_000_000;
/// In the order in which they are explained.
pub(super) const KEYS: [&str; 32] = [
    "connections_max",
    "handshakes_max",
    "head_bytes_max",
    "target_bytes_max",
    "body_bytes_max",
    "pipelined_bytes_max",
    "message_bytes_max",
    "fragments_max",
    "private_bytes_max",
    "private_messages_max",
    "log_bytes_max",
    "logs_bytes_max",
    "history_publications_max",
    "history_bytes_max",
    "channels_max",
    "users_max",
    "text_bytes_max",
    "table_rows_max",
    "cell_bytes_max",
    "table_bytes_max",
    "sessions_max",
    "session_polls_max",
    "polls_max",
    "session_idle",
    "poll_wait_max",
    "head_wait",
    "body_wait",
    "keep_alive",
    "close_wait",
    "ping_interval",
    "ping_wait",
    "stop_wait",
];

/// Zero: as many as the open files allow.
const CONNECTIONS: RangeInclusive<usize> = 0..=10 * MILLION;
/// What a connection holds back when its reading is paused is one read, and what an upgrade left of another.
const PIPELINED_BYTES_LEAST: usize = 2 * READ_BYTES_MAX;
/// The shortest time that makes sense for a wait; tests use it.
const SHORT: Duration = Duration::from_millis(10);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A key, its place, and what it may be.
type Row<'l, T> = (&'static str, &'l mut T, RangeInclusive<T>);

/// Reads what the file says into the defaults.
pub(super) fn read(document: &Section<'_>) -> Limits {
    let mut limits = Limits::default();
    // Taken apart without `..`: a new field does not compile until it has a row.
    let Limits {
        connections_max,
        handshakes_max,
        head_bytes_max,
        target_bytes_max,
        body_bytes_max,
        pipelined_bytes_max,
        message_bytes_max,
        fragments_max,
        private_bytes_max,
        private_messages_max,
        log_bytes_max,
        logs_bytes_max,
        history_publications_max,
        history_bytes_max,
        sessions_max,
        session_polls_max,
        polls_max,
        channels_max,
        users_max,
        text_bytes_max,
        table_rows_max,
        cell_bytes_max,
        table_bytes_max,
        session_idle,
        poll_wait_max,
        head_wait,
        body_wait,
        keep_alive,
        close_wait,
        ping_interval,
        ping_wait,
        stop_wait,
    } = &mut limits;
    let numbers: [Row<'_, usize>; 10] = [
        ("handshakes_max", handshakes_max, 1..=10 * MILLION),
        ("fragments_max", fragments_max, 1..=2000 * MILLION),
        ("private_messages_max", private_messages_max, 1..=MILLION),
        ("history_publications_max", history_publications_max, 1..=MILLION),
        ("sessions_max", sessions_max, 1..=10 * MILLION),
        ("session_polls_max", session_polls_max, 1..=1000),
        ("polls_max", polls_max, 1..=10 * MILLION),
        ("channels_max", channels_max, 1..=10 * MILLION),
        ("users_max", users_max, 1..=10 * MILLION),
        ("table_rows_max", table_rows_max, 1..=MILLION),
    ];
    let sizes: [Row<'_, usize>; 12] = [
        ("head_bytes_max", head_bytes_max, 512..=READ_BYTES_MAX),
        ("target_bytes_max", target_bytes_max, 64..=READ_BYTES_MAX),
        ("body_bytes_max", body_bytes_max, 64..=GIB),
        ("pipelined_bytes_max", pipelined_bytes_max, PIPELINED_BYTES_LEAST..=GIB),
        ("message_bytes_max", message_bytes_max, 64..=GIB),
        ("private_bytes_max", private_bytes_max, KIB..=GIB),
        ("log_bytes_max", log_bytes_max, SEGMENT_BYTES_MIN..=GIB),
        ("logs_bytes_max", logs_bytes_max, SEGMENT_BYTES_MIN..=1024 * GIB),
        ("history_bytes_max", history_bytes_max, KIB..=GIB),
        ("text_bytes_max", text_bytes_max, 1..=GIB),
        ("cell_bytes_max", cell_bytes_max, 2..=GIB),
        ("table_bytes_max", table_bytes_max, KIB..=GIB),
    ];
    let durations: [Row<'_, Duration>; 7] = [
        ("session_idle", session_idle, SHORT..=DAY),
        ("poll_wait_max", poll_wait_max, SHORT..=10 * MINUTE),
        ("head_wait", head_wait, SHORT..=10 * MINUTE),
        ("body_wait", body_wait, SHORT..=HOUR),
        ("keep_alive", keep_alive, SHORT..=HOUR),
        ("close_wait", close_wait, SHORT..=10 * MINUTE),
        ("ping_wait", ping_wait, SHORT..=10 * MINUTE),
    ];
    let durations_or_zero: [Row<'_, Duration>; 2] =
        [("ping_interval", ping_interval, SHORT..=HOUR), ("stop_wait", stop_wait, SHORT..=10 * MINUTE)];

    let section = document.table("limits", &KEYS);
    let allowed = format!("{}, or \"auto\"", value::allowed_number(&CONNECTIONS));
    let connections = section.read("connections_max", &allowed, |value| match value.as_str() {
        Some("auto") => Ok(0),
        Some(other) => Err(unknown(other, ["auto"])),
        None => value::number(value, &CONNECTIONS),
    });
    *connections_max = connections.map_or(*connections_max, toml::Spanned::into_inner);
    for (key, place, range) in numbers {
        *place = section.number(key, range).unwrap_or(*place);
    }
    for (key, place, range) in sizes {
        *place = section.size(key, range).unwrap_or(*place);
    }
    for (key, place, range) in durations {
        *place = section.duration(key, range).unwrap_or(*place);
    }
    for (key, place, range) in durations_or_zero {
        *place = section.duration_or_zero(key, range).unwrap_or(*place);
    }
    check_sums(&section, &limits);
    limits
}

/// What must hold between limits: the first key is at most the second.
fn check_sums(section: &Section<'_>, limits: &Limits) {
    let sizes = [
        // A target is a part of its head.
        ("target_bytes_max", limits.target_bytes_max, "head_bytes_max", limits.head_bytes_max),
        // A body may be a publication: a channel can carry it without cutting off who is not done with the one before.
        ("body_bytes_max", limits.body_bytes_max, "log_bytes_max", limits.log_bytes_max),
        // One log within its bound does not make all of them too many.
        ("log_bytes_max", limits.log_bytes_max, "logs_bytes_max", limits.logs_bytes_max),
        // Nor may one publication be more than all that is kept for those who resume.
        ("body_bytes_max", limits.body_bytes_max, "history_bytes_max", limits.history_bytes_max),
    ];
    for (less, less_bytes, more, more_bytes) in sizes {
        if less_bytes > more_bytes {
            at_most(section, (less, write_size(less_bytes)), (more, write_size(more_bytes)));
        }
    }
    // The session of a poll that is parked does not idle away under it.
    if limits.poll_wait_max > limits.session_idle {
        at_most(
            section,
            ("poll_wait_max", write_duration(limits.poll_wait_max)),
            ("session_idle", write_duration(limits.session_idle)),
        );
    }
}

/// Said at the key that the file has; of two, at the first.
fn at_most(section: &Section<'_>, less: (&str, String), more: (&str, String)) {
    let wrong = format!("{} is {}, {} is {}", less.0, less.1, more.0, more.1);
    let at = if section.get(less.0).is_some() { less.0 } else { more.0 };
    section.refuse(at, wrong, format!("{} at most {}", less.0, more.0));
}
