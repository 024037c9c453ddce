//! Encodings: a dialect's text framed for a transport. A publication is encoded at most once per encoding and core.

use crate::engine::{Body, Change, Position, Publication, State};
use crate::route::dialect::bare;
use crate::route::dialect::{Dialect, DialectId, Snapshot, own};
use crate::wire::{sse, ws};

/// How bytes reach a listener.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Transport {
    /// Text frames.
    WebSocket,
    /// Server-Sent Events.
    EventStream,
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
        if matches!(&publication.change, Change::Message(body) if body.body.bytes() == b"encode") {
            panic!("a fault in an encoding, as asked");
        }
        match (dialect, &publication.change) {
            (Dialect::Tallycast, _) => {
                self.begin(|text| own::publication(text, state, publication));
                emit(self.frame(transport, Some(publication.at())));
            }
            (Dialect::Steps { key }, Change::Tally { steps, .. }) => {
                let State::Tally { options, .. } = state else { unreachable!("a channel has one data type") };
                for step in steps {
                    self.begin(|text| bare::step(text, key, &options[usize::from(step.option)], step.count));
                    emit(self.frame(transport, None));
                }
            }
            (Dialect::Plain, Change::Message(entry)) => {
                self.begin(|text| text.extend_from_slice(entry.body.bytes()));
                emit(match &entry.body {
                    Body::Text(_) => self.frame(transport, None),
                    Body::Binary(_) => self.binary_frame(),
                });
            }
            // The configuration lets neither arise: `steps` is for votes, `plain` for messages.
            _ => {}
        }
    }

    /// Writes the present state, if the dialect can say it.
    pub fn snapshot(&mut self, transport: Transport, dialect: &Dialect, snapshot: &Snapshot<'_>) -> Option<&[u8]> {
        match dialect {
            Dialect::Tallycast => {
                self.begin(|text| own::snapshot(text, snapshot));
                Some(self.frame(transport, Some(snapshot.history.at())))
            }
            _ => None,
        }
    }

    /// Writes that what follows continues at `at`, if the dialect can say it.
    pub fn resumed(
        &mut self,
        transport: Transport,
        dialect: &Dialect,
        snapshot: &Snapshot<'_>,
        at: Position,
    ) -> Option<&[u8]> {
        match dialect {
            Dialect::Tallycast => {
                self.begin(|text| own::resumed(text, snapshot.channel, snapshot.kind, at));
                Some(self.frame(transport, Some(at)))
            }
            _ => None,
        }
    }

    /// Writes how many listen, if the dialect can say it.
    pub fn listeners(&mut self, transport: Transport, dialect: &Dialect, count: u32) -> Option<&[u8]> {
        match dialect {
            Dialect::Tallycast => {
                self.begin(|text| own::listeners(text, count));
                Some(self.frame(transport, None))
            }
            _ => None,
        }
    }

    fn begin(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.text.clear();
        write(&mut self.text);
    }

    /// `plain` is for WebSocket alone.
    fn binary_frame(&mut self) -> &[u8] {
        self.message.clear();
        ws::head::write_frame(&mut self.message, ws::Opcode::Binary, &self.text);
        &self.message
    }

    fn frame(&mut self, transport: Transport, at: Option<Position>) -> &[u8] {
        self.message.clear();
        match transport {
            Transport::WebSocket => ws::head::write_frame(&mut self.message, ws::Opcode::Text, &self.text),
            Transport::EventStream => {
                let id = at.map(|at| at.to_string());
                // Dialects write JSON, and JSON is UTF-8; `plain` is for WebSocket alone.
                let text = std::str::from_utf8(&self.text).unwrap_or_default();
                sse::write_event(&mut self.message, id.as_deref(), text);
            }
        }
        &self.message
    }
}
