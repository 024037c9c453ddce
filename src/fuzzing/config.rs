//! The configuration: whatever the text, an answer; and what is accepted holds together.

use std::sync::Arc;

use crate::app::config::{Config, parse};
use crate::base::hash::Seed;
use crate::base::keys::CoreId;
use crate::base::limits::{CORES_MAX, Limits};
use crate::base::time::Time;
use crate::kind::Kind;
use crate::route::{Aim, Dialect, PathPattern, Pattern, Serve, Setup, Target};
use crate::shard::Shard;

/// Never a panic. A refusal names file, line and key, and is one line of text for each error; what is accepted refers to
/// nothing that is not there, and a shard can be made of it.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse(text, "fuzz.toml") {
        Err(errors) => {
            assert!(errors.iter().len() > 0);
            let mut last = 0;
            for error in errors.iter() {
                let line = error.line.expect("it is about a line");
                assert!(line >= last && line <= text.lines().count() + 1, "line {line} of {error}");
                last = line;
                assert!(!error.wrong.is_empty() && !error.allowed.is_empty(), "{error}");
                let told = error.to_string();
                assert!(told.starts_with(&format!("fuzz.toml:{line}: ")), "{told}");
                assert!(!told.chars().any(char::is_control), "one line of plain text: {told:?}");
            }
            assert!(errors.to_string().lines().count() <= 101);
        }
        Ok(Config { setup, cores }) => {
            assert!(usize::from(cores) <= CORES_MAX);
            holds_together(&setup);
            let shard = Shard::new(Arc::new(setup), CoreId(0), 1, Seed(1, 2), Time::ZERO, std::time::Duration::ZERO);
            assert_eq!(shard.census().connections, 0);
        }
    }
}

fn holds_together(setup: &Setup) {
    let Limits { target_bytes_max, head_bytes_max, body_bytes_max, log_bytes_max, .. } = setup.limits;
    assert!(target_bytes_max <= head_bytes_max && body_bytes_max <= log_bytes_max);
    assert_eq!(setup.dialects[0], Dialect::Tallycast);
    let target = |target: &Target| {
        let class = setup.class(target.class);
        assert_eq!(setup.class_of(&target.channel), Some(target.class), "a target is of the class of its name");
        class.kind
    };
    for class in &setup.classes {
        assert_eq!(class.spec.is_none(), class.kind == Kind::Echo);
        match &class.pattern {
            Pattern::Name(name) => assert!(!name.is_empty()),
            Pattern::Prefix(prefix) => assert!(!prefix.contains('*')),
        }
    }
    for route in &setup.routes {
        assert!(usize::from(route.listener.0) < setup.listeners.len());
        match &route.path {
            PathPattern::Exact(path) | PathPattern::Prefix(path) => assert!(path.starts_with('/'), "{path}"),
        }
        match &route.serve {
            Serve::Channels => assert!(matches!(route.path, PathPattern::Prefix(_))),
            Serve::WebSocket { aim: Aim::One(of), dialect } => match setup.dialect(*dialect) {
                Dialect::Tallycast => _ = target(of),
                Dialect::Steps { key } => assert!(target(of) == Kind::Vote && !key.is_empty()),
                Dialect::Plain => assert!(target(of) != Kind::Vote),
                _ => {}
            },
            Serve::LongPoll { target: of, dialect, wait } => {
                assert!(target(of) == Kind::Vote && *wait <= setup.limits.poll_wait_max);
                assert!(matches!(setup.dialect(*dialect), Dialect::Steps { .. }));
            }
            Serve::Form { target: of, field, .. } => assert!(target(of) != Kind::Echo && !field.is_empty()),
            _ => {}
        }
    }
}
