//! Encodings: a dialect's text framed for a transport. A publication is encoded at most once per encoding and core.

use std::ops::Range;

use super::Standing;
use super::sendlog::SendLog;
use crate::engine::{Editing, Origin, Position, Presence, Publication, State, UserName};
use crate::route::dialect::{Dialect, DialectId, Raw, Snapshot, Written};
use crate::wire::engineio::{self, Version};
use crate::wire::{sse, ws};

/// How bytes reach a listener.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Transport {
    /// Frames.
    WebSocket,
    /// Server-Sent Events.
    EventStream,
    /// Engine.IO's message packets in WebSocket frames.
    EngineIo(Version),
}

/// What a send log is written in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Encoding {
    /// Which dialect.
    pub dialect: DialectId,
    /// Which transport.
    pub transport: Transport,
}

/// Writes messages; owns the scratch that it needs.
#[derive(Debug, Default)]
pub struct Encoder {
    text: Vec<u8>,
    message: Vec<u8>,
}

impl Encoder {
    /// Writes a publication: each message of it, framed, goes to `emit`.
    pub fn publication(
        &mut self,
        transport: Transport,
        dialect: &Dialect,
        state: &State,
        publication: &Publication,
        mut emit: impl FnMut(&[u8]),
    ) {
        #[cfg(feature = "faults")]
        if matches!(&publication.change, crate::engine::Change::Message(entry) if entry.body.bytes() == b"encode") {
            panic!("a fault in an encoding, as asked");
        }
        let Encoder { text, message } = self;
        dialect.publication(state, publication, text, &mut |written| {
            message.clear();
            frame(message, transport, &written);
            emit(message);
        });
    }

    /// Writes the present state, all of it as one, if the dialect can say it.
    pub fn snapshot(&mut self, transport: Transport, dialect: &Dialect, snapshot: &Snapshot<'_>) -> Option<&[u8]> {
        if !dialect.has_snapshots() {
            return None;
        }
        self.all(transport, |text, each| dialect.snapshot(snapshot, text, each));
        Some(&self.message)
    }

    /// Writes that of `before` rows none stands behind the last any more, if the dialect needs it; otherwise nothing.
    pub fn emptied(&mut self, transport: Transport, dialect: &Dialect, state: &State, before: usize) -> &[u8] {
        self.all(transport, |text, each| dialect.emptied(state, before, text, each))
    }

    /// Writes that something is missing and what follows continues at the snapshot's position, if the dialect can say it;
    /// otherwise nothing.
    pub fn gap(&mut self, transport: Transport, dialect: &Dialect, snapshot: &Snapshot<'_>) -> &[u8] {
        let at = snapshot.history.at();
        self.all(transport, |text, each| dialect.gap(snapshot.channel, snapshot.kind, at, text, each))
    }

    /// Writes that what follows continues at `at`, if the dialect can say it; otherwise nothing.
    pub fn resumed(&mut self, transport: Transport, dialect: &Dialect, snapshot: &Snapshot<'_>, at: Position) -> &[u8] {
        self.all(transport, |text, each| dialect.resumed(snapshot.channel, snapshot.kind, at, text, each))
    }

    /// Writes how many listen, if the dialect can say it; otherwise nothing.
    pub fn listeners(&mut self, transport: Transport, dialect: &Dialect, count: u32) -> &[u8] {
        self.all(transport, |text, each| dialect.listeners(count, text, each))
    }

    /// Writes under which names people listen, if the dialect can say it; otherwise nothing.
    pub fn members<'u>(
        &mut self,
        transport: Transport,
        dialect: &Dialect,
        users: impl Iterator<Item = &'u UserName>,
    ) -> &[u8] {
        self.all(transport, |text, each| dialect.members(users, text, each))
    }

    /// Writes that somebody came, went or edits something, if the dialect can say it; otherwise nothing.
    pub fn presence(&mut self, transport: Transport, dialect: &Dialect, news: &Presence) -> &[u8] {
        self.all(transport, |text, each| dialect.presence(news, text, each))
    }

    /// Writes who edits what, if the dialect can say it; otherwise nothing.
    pub fn editing(&mut self, transport: Transport, dialect: &Dialect, editing: &Editing) -> &[u8] {
        self.all(transport, |text, each| dialect.editing(editing, text, each))
    }

    /// Writes who is there, in the order of a stream that begins, each to `emit`; of marks, not the one of `myself`.
    pub fn present(
        &mut self,
        transport: Transport,
        dialect: &Dialect,
        standing: &Standing,
        notices: bool,
        myself: Option<Origin>,
        mut emit: impl FnMut(Option<Origin>, &[u8]),
    ) {
        emit(None, self.listeners(transport, dialect, standing.listeners));
        if notices {
            emit(None, self.members(transport, dialect, standing.present.users.iter()));
        }
        for editing in standing.present.editing.iter().filter(|editing| Some(editing.who) != myself) {
            emit(Some(editing.who), self.editing(transport, dialect, editing));
        }
    }

    /// Appends the present state to a log, and who is there. Returns where everyone's own mark stands.
    pub fn state(
        &mut self,
        transport: Transport,
        dialect: &Dialect,
        snapshot: &Snapshot<'_>,
        standing: &Standing,
        notices: bool,
        log: &mut SendLog,
    ) -> Vec<(Origin, Range<u64>)> {
        let mut append = |message: &[u8]| {
            // Of an empty table there may be nothing to say.
            if !message.is_empty() {
                log.append(message);
            }
        };
        match self.snapshot(transport, dialect, snapshot) {
            Some(state) => append(state),
            None => append(self.gap(transport, dialect, snapshot)),
        }
        append(self.emptied(transport, dialect, snapshot.state, standing.rows_most));
        let mut own = Vec::new();
        self.present(transport, dialect, standing, notices, None, |who, message| {
            let start = log.end();
            if !message.is_empty() {
                log.append(message);
                own.extend(who.map(|who| (who, start..log.end())));
            }
        });
        own
    }

    fn all(&mut self, transport: Transport, write: impl FnOnce(&mut Vec<u8>, &mut dyn FnMut(Written<'_>))) -> &[u8] {
        let Encoder { text, message } = self;
        message.clear();
        write(text, &mut |written| frame(message, transport, &written));
        &self.message
    }
}

/// Appends one message, framed. Of Engine.IO, a packet and its attachments.
pub fn frame(out: &mut Vec<u8>, transport: Transport, written: &Written<'_>) {
    match (transport, written.body) {
        (Transport::WebSocket, Raw::Text(text)) => ws::head::write_frame(out, ws::Opcode::Text, text.as_bytes()),
        (Transport::WebSocket, Raw::Binary(bytes)) => ws::head::write_frame(out, ws::Opcode::Binary, bytes),
        (Transport::EventStream, Raw::Text(text)) => {
            let id = written.at.map(|at| at.to_string());
            sse::write_event(out, id.as_deref(), text);
        }
        // Only dialects that write JSON are for event streams.
        (Transport::EventStream, Raw::Binary(_)) => {}
        (Transport::EngineIo(version), body) => {
            match body {
                Raw::Text(text) => {
                    let mut packet = Vec::with_capacity(text.len() + 1);
                    engineio::write_text(&mut packet, engineio::Kind::Message, text);
                    ws::head::write_frame(out, ws::Opcode::Text, &packet);
                }
                Raw::Binary(bytes) => binary_packet(out, version, bytes),
            }
            for attachment in written.attachments {
                binary_packet(out, version, attachment);
            }
        }
    }
}

fn binary_packet(out: &mut Vec<u8>, version: Version, bytes: &[u8]) {
    let prefix = engineio::binary_prefix(version);
    if prefix.is_empty() {
        return ws::head::write_frame(out, ws::Opcode::Binary, bytes);
    }
    ws::head::write_frame(out, ws::Opcode::Binary, &[prefix, bytes].concat());
}
