//! WebSocket connections: messages in, answers out.

use super::connection::{Alarm, Asked, Protocol, Questions, Ws};
use super::pace::accepted;
use super::{Flow, Shard};
use crate::base::keys::ConnKey;
use crate::base::limits::SCRATCH_BYTES_MAX;
use crate::conn::ws::{Event, WebSocket};
use crate::engine::{Answer, Asker, Refusal, UserName};
use crate::kind::{By, Deed, Sender, USER_NAME};
use crate::route::dialect::{Dialect, Raw, bare, own};
use crate::route::{DialectId, Target};
use crate::wire::ws::{Opcode, head};

impl Shard {
    pub(super) fn new_websocket(&self, target: Target, dialect: DialectId, user: Option<UserName>) -> Ws {
        let kind = self.setup.class(target.class).kind;
        Ws { socket: WebSocket::new(), target, kind, dialect, user: user.map(Box::new), asked: Questions::default() }
    }

    /// Reads frames until they are used up or one must wait. Returns the protocol, how much of `bytes` was used, and
    /// whether to go on.
    pub(super) fn read_websocket(
        &mut self,
        key: ConnKey,
        mut ws: Box<Ws>,
        bytes: &mut [u8],
    ) -> (Protocol, usize, Flow) {
        let mut used = 0;
        let mut flow = Flow::Stop;
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        let limits = self.message_limits;
        loop {
            if ws.socket.is_open() && self.must_wait(key) {
                flow = Flow::Wait;
                break;
            }
            let Ws { socket, target, kind, dialect, user, asked } = &mut *ws;
            let next = socket.next(&mut bytes[used..], &limits, &mut out);
            let (len, message) = match next {
                Ok((len, Some(Event::Text(text)))) => (len, Raw::Text(text)),
                Ok((len, Some(Event::Binary(body)))) => (len, Raw::Binary(body)),
                Ok((len, Some(Event::Pong))) => {
                    used += len;
                    continue;
                }
                Ok((len, Some(Event::Closed))) => {
                    used += len;
                    continue;
                }
                Ok((_, None)) => {
                    used = bytes.len();
                    break;
                }
                Err(_) => {
                    used = bytes.len();
                    break;
                }
            };
            self.turn_messages += 1;
            let incoming = self.setup.dialect(*dialect).read(*kind, message);
            let (deed, id) = match incoming {
                Ok(incoming) => {
                    let sender = Sender { by: By::Listener, user: user.as_deref() };
                    (self.receive(target, sender, incoming.content.message()), incoming.id)
                }
                Err((refusal, id)) => (Err(refusal), id),
            };
            match deed {
                Ok(Deed::Op(act)) => {
                    let number = self.next_number();
                    asked.push(Asked { number, id });
                    self.note_editing(&target.channel, Asker::Connection(key), &act);
                    self.ask(target, Asker::Connection(key), number, act);
                }
                Ok(Deed::OpOf(user, act)) => match self.channel_of(target, &user) {
                    Some(target) => {
                        let number = self.next_number();
                        asked.push(Asked { number, id });
                        self.ask(&target, Asker::Connection(key), number, act);
                    }
                    None => {
                        let refusal = Refusal::Malformed { expected: USER_NAME };
                        write_refusal(&mut out, self.setup.dialect(*dialect), id, &refusal);
                    }
                },
                Ok(Deed::Reply) => {
                    let (opcode, body) = match message {
                        Raw::Text(text) => (Opcode::Text, text.as_bytes()),
                        Raw::Binary(body) => (Opcode::Binary, body),
                    };
                    head::write_frame(&mut out, opcode, body);
                }
                Err(refusal) => write_refusal(&mut out, self.setup.dialect(*dialect), id, &refusal),
            }
            used += len;
            self.push(key, &out, None);
            out.clear();
            if let Some(closing) = self.conns.get_mut(key).and_then(|conn| conn.closing.take()) {
                let (code, reason) = *closing;
                ws.socket.close(code, reason, &mut out);
            }
        }
        if !ws.socket.is_open() {
            // Nothing is sent behind a Close, and what is asked is not answered any more.
            self.unsubscribe(key);
            ws.asked.clear();
        }
        self.push(key, &out, None);
        if ws.socket.is_done() {
            self.end(key);
        } else if !ws.socket.is_open() {
            let due = self.now + self.limits().close_wait;
            self.set_alarm(key, Some((due, Alarm::CloseDue)));
        }
        self.keep_scratch(out);
        (Protocol::WebSocket(ws), used, flow)
    }

    /// The engine has decided what a client asked for.
    pub(super) fn answer_websocket(&mut self, key: ConnKey, number: u32, result: &Result<Answer, Refusal>) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let Protocol::WebSocket(ws) = &mut conn.protocol else {
            return;
        };
        let Some(Asked { id, .. }) = ws.asked.take(number) else { return };
        let dialect = self.setup.dialect(ws.dialect);
        // The text and behind it the frame, in room that is used again and again.
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        match (result, dialect) {
            (Ok(Answer::Accepted(at)), Dialect::Tallycast) => own::ok(&mut out, id, *at),
            (Ok(_), _) => {}
            (Err(refusal), dialect) => write_refusal_text(&mut out, dialect, id, refusal),
        }
        let text_len = out.len();
        if text_len > 0 {
            head::write_head(&mut out, Opcode::Text, text_len);
            out.extend_from_within(..text_len);
        }
        let of = conn.subscriptions.first().map(|subscription| (subscription.mirror, subscription.log));
        let behind = of.and_then(|(mirror, log)| self.behind(mirror, log, accepted(result)));
        self.push(key, &out[text_len..], behind);
        self.keep_scratch(out);
    }

    /// Room for the next answer; a long one's is given back.
    fn keep_scratch(&mut self, mut out: Vec<u8>) {
        out.clear();
        out.shrink_to(SCRATCH_BYTES_MAX);
        self.scratch = out;
    }
}

fn write_refusal(out: &mut Vec<u8>, dialect: &Dialect, id: Option<u64>, refusal: &Refusal) {
    let mut text = Vec::new();
    write_refusal_text(&mut text, dialect, id, refusal);
    head::write_frame(out, Opcode::Text, &text);
}

fn write_refusal_text(text: &mut Vec<u8>, dialect: &Dialect, id: Option<u64>, refusal: &Refusal) {
    match dialect {
        Dialect::Tallycast => own::refusal(text, id, refusal),
        _ => bare::refused(text, refusal),
    }
}
