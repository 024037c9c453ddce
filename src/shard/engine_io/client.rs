//! Socket.IO: namespaces are joined and left, events mean something to a channel, acknowledgements come back.

use std::collections::VecDeque;

use base64::Engine as _;
use rand::RngExt;
use serde::Deserialize;

use super::told::Told;
use super::upgrade::Resume;
use super::{Ending, Talk, frames};
use crate::base::keys::ConnKey;
use crate::engine::{Act, Answer, Asker, CellName, Position, Refusal, UserName};
use crate::kind::{By, Deed, Kind, Sender, USER_NAME, user_name};
use crate::mirror::encoding::{Encoding, Transport};
use crate::route::dialect::{Dialect, Raw, own};
use crate::route::{Does, EngineIo, EventRule, Namespace, Speaks, Target};
use crate::shard::Shard;
use crate::shard::connection::{Answering, Begins, Pending, Protocol, Read};
use crate::shard::outgoing::Behind;
use crate::shard::pace::accepted;
use crate::wire::engineio::{Data, Version};
use crate::wire::http;
use crate::wire::socketio::{self, Args, Argument, Message, Reader};

/// Bytes of a namespace's sid before base64.
const SID_BYTES: usize = 15;
/// The event that brings a refusal nobody asked for.
const REFUSED: &str = "refused";

/// A Socket.IO client, whatever carries it.
#[derive(Debug)]
pub(super) struct Client {
    version: Version,
    bytes_max: usize,
    reader: Reader,
    joined: Vec<Joined>,
    /// Questions that the engine has not answered yet, in order.
    asked: VecDeque<Question>,
}

/// A namespace that the client has joined.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Joined {
    /// Its place in the endpoint's list.
    namespace: u16,
    /// Under which name it listens and speaks.
    user: Option<UserName>,
    /// Which cell of the channel's table it edits.
    editing: Option<CellName>,
}

/// A question to the engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Question {
    number: u32,
    namespace: u16,
    /// The acknowledgement that the client wants.
    id: Option<u64>,
}

impl Client {
    pub(super) fn new(version: Version, bytes_max: usize) -> Client {
        let reader = Reader::new(version, bytes_max);
        Client { version, bytes_max, reader, joined: Vec::new(), asked: VecDeque::new() }
    }

    /// Whether the engine is to answer something.
    pub(super) fn asks(&self) -> bool {
        !self.asked.is_empty()
    }

    pub(super) fn forget_questions(&mut self) {
        self.asked.clear();
    }

    /// The questions that will not be answered here any more.
    pub(super) fn give_up_questions(&mut self) -> Vec<Question> {
        self.asked.drain(..).collect()
    }

    /// Another connection has this client from now on.
    pub(super) fn hand_over(&mut self) -> Client {
        let left = Client::new(self.version, self.bytes_max);
        std::mem::replace(self, left)
    }

    fn joined(&mut self, namespace: u16) -> Option<&mut Joined> {
        self.joined.iter_mut().find(|joined| joined.namespace == namespace)
    }
}

/// What a client says of itself when it joins.
#[derive(Deserialize, Default)]
struct Credentials {
    name: Option<String>,
    since: Option<String>,
}

const CREDENTIALS: &str = "name and since as texts, if they are given";
const SINCE: &str = "since: a position as this channel gave it, EPOCH-REVISION";

impl Credentials {
    fn read(query: Option<&str>, auth: Option<&str>) -> Result<Credentials, Refusal> {
        if let Some(auth) = auth {
            return serde_json::from_str(auth).map_err(|_| Refusal::Malformed { expected: CREDENTIALS });
        }
        let query = query.unwrap_or_default().as_bytes();
        let field = |name| {
            let field = http::field(query, name).map_err(|error| Refusal::Malformed { expected: error.expected() })?;
            Ok(field.map(|value| value.into_owned()))
        };
        Ok(Credentials { name: field("name")?, since: field("since")? })
    }

    fn begins(&self) -> Result<Begins, Refusal> {
        let Some(since) = self.since.as_deref().filter(|since| !since.is_empty()) else { return Ok(Begins::Now) };
        let at: Position = since.parse().map_err(|_| Refusal::Malformed { expected: SINCE })?;
        Ok(Begins::Since(at))
    }
}

/// What a client sent with its connect, as JSON: the event that greets may give it back.
fn payload(query: Option<&str>, auth: Option<&str>) -> String {
    if let Some(auth) = auth {
        return auth.to_owned();
    }
    let fields = http::fields(query.unwrap_or_default().as_bytes()).filter_map(Result::ok);
    let object: serde_json::Map<String, serde_json::Value> =
        fields.map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect();
    serde_json::Value::from(object).to_string()
}

fn namespaces(endpoint: &EngineIo) -> &[Namespace] {
    match &endpoint.speaks {
        Speaks::Echo => &[],
        Speaks::SocketIo { namespaces, .. } => namespaces,
    }
}

fn find_namespace(endpoint: &EngineIo, name: &str) -> Option<u16> {
    namespaces(endpoint).iter().position(|namespace| namespace.name == name).map(|index| index as u16)
}

fn namespace(endpoint: &EngineIo, index: u16) -> &Namespace {
    &namespaces(endpoint)[usize::from(index)]
}

fn encoding(namespace: &Namespace, version: Version) -> Encoding {
    Encoding { dialect: namespace.dialect, transport: Transport::EngineIo(version) }
}

/// Nothing is answered in HTTP any more.
const HOW: Answering = Answering::closing();

// What clients say.
impl Shard {
    /// A Socket.IO packet of a client, or an attachment.
    pub(super) fn socket_io(&mut self, key: ConnKey, talk: &mut Talk, data: Data<'_>) -> Result<(), Ending> {
        let Some(client) = &mut talk.client else { return Ok(()) };
        let message = match data {
            Data::Text(text) => client.reader.text(&text),
            Data::Binary(bytes) => client.reader.binary(&bytes),
        };
        let (now, wait) = (self.now, self.setup.limits.body_wait);
        let due = client.reader.is_waiting().then_some(now + wait);
        talk.attachments_due = due.map(|due| talk.attachments_due.unwrap_or(due));
        let Some(message) = message.map_err(|_| Ending::Violation("a packet is malformed"))? else { return Ok(()) };
        match message {
            Message::Connect { namespace, query, auth } => {
                self.connect(key, talk, &namespace, query.as_deref(), auth.as_deref())
            }
            Message::Disconnect { namespace } => {
                let index = joined(talk, &namespace)?;
                self.leave_namespace(key, talk, index);
                Ok(())
            }
            Message::Event { namespace, id, name, args } => {
                let index = joined(talk, &namespace)?;
                self.event(key, talk, index, id, &name, &args);
                Ok(())
            }
            // Nothing here asks for one; the reference server takes them calmly too.
            Message::Ack { namespace, .. } => joined(talk, &namespace).map(|_| ()),
        }
    }

    /// A client of protocols 3 and 4 is in `/` from the beginning, and waits for the word even if nothing is there.
    pub(super) fn greet(&mut self, key: ConnKey, talk: &mut Talk) {
        if talk.client.is_none() || talk.version != Version::V3 {
            return;
        }
        if find_namespace(&talk.endpoint, "/").is_some() {
            let greeted = self.connect(key, talk, "/", None, None);
            debug_assert_eq!(greeted, Ok(()), "nothing is joined yet");
        } else {
            let reply = frames::message(talk.version, &[], |out| {
                socketio::write_connected(out, Version::V3, "/", "");
            });
            self.push(key, &reply, None);
        }
    }

    fn connect(
        &mut self,
        key: ConnKey,
        talk: &mut Talk,
        name: &str,
        query: Option<&str>,
        auth: Option<&str>,
    ) -> Result<(), Ending> {
        let version = talk.version;
        let Some(index) = find_namespace(&talk.endpoint, name) else {
            self.refuse_connect(key, version, name, "Invalid namespace");
            return Ok(());
        };
        let Some(client) = &mut talk.client else { return Ok(()) };
        if client.joined(index).is_some() {
            return Err(Ending::Violation("a namespace is joined twice"));
        }
        let endpoint = talk.endpoint.clone();
        let space = namespace(&endpoint, index);
        let begins = match self.admit_to(space, query, auth) {
            Ok(begins) => begins,
            Err(refusal) => {
                self.refuse_connect(key, version, name, &words(&refusal));
                return Ok(());
            }
        };
        let sid = self.namespace_sid();
        let mut head = frames::message(version, &[], |out| {
            socketio::write_connected(out, version, name, &sid);
        });
        if let Some(greeting) = &space.connected {
            let data = greeting.data.clone().unwrap_or_else(|| payload(query, auth));
            head.extend(event(version, name, &greeting.event, &data));
        }
        let (user, begins) = begins;
        let joins = match &space.target {
            Some(target) => self.join(key, &HOW, target, encoding(space, version), begins, &head, user.as_ref()),
            None => Ok(None),
        };
        match joins {
            Ok(Some(pending)) => self.wait_stream(key, pending),
            Ok(None) => self.push(key, &head, None),
            Err(refusal) => {
                self.refuse_connect(key, version, name, &words(&refusal));
                return Ok(());
            }
        }
        let Some(client) = &mut talk.client else { return Ok(()) };
        client.joined.push(Joined { namespace: index, user, editing: None });
        talk.connect_due = None;
        Ok(())
    }

    /// Under which name a client joins a namespace, and from where on.
    fn admit_to(
        &self,
        space: &Namespace,
        query: Option<&str>,
        auth: Option<&str>,
    ) -> Result<(Option<UserName>, Begins), Refusal> {
        let Some(target) = &space.target else { return Ok((None, Begins::Now)) };
        let credentials = Credentials::read(query, auth)?;
        let begins = credentials.begins()?;
        let user = if self.setup.class(target.class).kind == Kind::Direct {
            Some(self.user_of(target).ok_or(Refusal::Malformed { expected: USER_NAME })?)
        } else {
            credentials.name.as_deref().map(user_name).transpose()?
        };
        Ok((user, begins))
    }

    fn namespace_sid(&mut self) -> String {
        let bytes: [u8; SID_BYTES] = self.random.random();
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    }

    fn refuse_connect(&mut self, key: ConnKey, version: Version, name: &str, message: &str) {
        let refusal = frames::message(version, &[], |out| {
            // The present reference server says it alike to clients of all protocols.
            socketio::write_connect_error(out, Version::V4, name, message);
        });
        self.push(key, &refusal, None);
    }

    /// The channel of a namespace that is being joined cannot be listened to. False if none is being joined.
    pub(in crate::shard) fn refuse_namespace(&mut self, key: ConnKey, refusal: &Refusal) -> bool {
        let Some(encoding) = self.joining(key) else { return false };
        self.drop_pending(key);
        let Some(Protocol::EngineIo(session)) = self.conns.get_mut(key).map(|conn| &mut conn.protocol) else {
            return true;
        };
        let moved = session.taking.is_some();
        let (endpoint, version) = (session.talk.endpoint.clone(), session.talk.version);
        let index = namespaces(&endpoint).iter().position(|space| space.dialect == encoding.dialect);
        let Some(index) = index else { return true };
        if let Some(client) = &mut session.talk.client {
            client.joined.retain(|joined| usize::from(joined.namespace) != index);
        }
        if moved {
            // Its client is in the namespace already, and cannot be told otherwise.
            let code = crate::wire::ws::close::TRY_AGAIN;
            self.close_engine_io(key, code, "the channel cannot be listened to now: try again later");
        } else {
            self.refuse_connect(key, version, &namespaces(&endpoint)[index].name, &words(refusal));
        }
        true
    }

    fn leave_namespace(&mut self, key: ConnKey, talk: &mut Talk, index: u16) {
        let Some(client) = &mut talk.client else { return };
        client.joined.retain(|joined| joined.namespace != index);
        client.asked.retain(|question| question.namespace != index);
        let space = namespace(&talk.endpoint, index);
        if let Some(target) = &space.target {
            self.unsubscribe_from(key, target, encoding(space, talk.version));
        }
    }

    fn event(&mut self, key: ConnKey, talk: &mut Talk, index: u16, id: Option<u64>, name: &str, args: &Args) {
        let (endpoint, version) = (talk.endpoint.clone(), talk.version);
        let space = namespace(&endpoint, index);
        let Some(EventRule { does, .. }) = space.events.iter().find(|rule| rule.event == name) else {
            let known: Vec<&str> = space.events.iter().map(|rule| rule.event.as_str()).collect();
            let mut json = Vec::new();
            own::refused(&mut json, None, "unknown_event", &known.join(", "));
            return self.reply(key, version, space, id, &json);
        };
        match does {
            Does::Send => self.send(key, talk, (space, index), id, name, args),
            Does::Nothing => self.acknowledge(key, version, space, id, None),
            Does::Back(other) => {
                self.emit_back(key, version, space, other, args);
                self.acknowledge(key, version, space, id, None);
            }
            Does::Acknowledge => self.acknowledge(key, version, space, id, Some(args)),
        }
    }

    /// The same arguments, under a name.
    fn emit_back(&mut self, key: ConnKey, version: Version, space: &Namespace, name: &str, args: &Args) {
        let Args { json, attachments } = args;
        let inner = json.trim().strip_prefix('[').and_then(|json| json.strip_suffix(']')).unwrap_or_default().trim();
        let back = frames::message(version, attachments, |out| {
            socketio::begin_event(out, &space.name, name, attachments.len());
            if !inner.is_empty() {
                out.push(b',');
                out.extend_from_slice(inner.as_bytes());
            }
            out.push(b']');
        });
        self.push(key, &back, None);
    }

    /// Acknowledges with these arguments, or none, if that is asked for.
    fn acknowledge(&mut self, key: ConnKey, version: Version, space: &Namespace, id: Option<u64>, args: Option<&Args>) {
        let Some(id) = id else { return };
        let (json, attachments) = args.map_or(("[]", &[][..]), |args| (args.json.as_str(), &args.attachments));
        let ack = frames::message(version, attachments, |out| {
            socketio::write_ack(out, &space.name, id, json, attachments.len());
        });
        self.push(key, &ack, None);
    }

    /// A message for the namespace's channel.
    fn send(
        &mut self,
        key: ConnKey,
        talk: &mut Talk,
        (space, index): (&Namespace, u16),
        id: Option<u64>,
        name: &str,
        args: &Args,
    ) {
        let (Some(target), Some(client)) = (&space.target, &mut talk.client) else { return };
        let Some(joined) = client.joined(index) else { return };
        let kind = self.setup.class(target.class).kind;
        let setup = self.setup.clone();
        let dialect = setup.dialect(space.dialect);
        let text;
        let raw = match args.first() {
            Some(Argument::Json(json)) => match plain_text(dialect, json) {
                Some(plain) => {
                    text = plain;
                    Ok(Raw::Text(&text))
                }
                None => Ok(Raw::Text(json)),
            },
            Some(Argument::Attachment(bytes)) => Ok(Raw::Binary(bytes)),
            None => Err(Refusal::Malformed { expected: "an event with one argument" }),
        };
        let deed = raw.and_then(|raw| dialect.read(kind, raw).map_err(|(refusal, _)| refusal)).and_then(|incoming| {
            let sender = Sender { by: By::Listener, user: joined.user.as_ref() };
            self.receive(target, sender, incoming.content.message())
        });
        let asker = Asker::Connection(key);
        let asked = match deed {
            Ok(Deed::Op(act)) => {
                if let Act::Editing { cell, .. } = &act {
                    joined.editing.clone_from(cell);
                }
                self.note_editing(&target.channel, asker, &act);
                Ok((target.clone(), act))
            }
            Ok(Deed::OpOf(user, act)) => match self.channel_of(target, &user) {
                Some(target) => Ok((target, act)),
                None => Err(Refusal::Malformed { expected: USER_NAME }),
            },
            Ok(Deed::Reply) => {
                self.emit_back(key, talk.version, space, name, args);
                return self.acknowledge(key, talk.version, space, id, None);
            }
            Err(refusal) => Err(refusal),
        };
        match asked {
            Ok((target, act)) => {
                let number = self.next_number();
                client.asked.push_back(Question { number, namespace: index, id });
                self.ask(&target, asker, number, act);
            }
            Err(refusal) => {
                let mut json = Vec::new();
                own::refusal(&mut json, None, &refusal);
                self.reply(key, talk.version, space, id, &json);
            }
        }
    }
}

// What the engine says.
impl Shard {
    /// The engine has decided what a client asked for.
    pub(in crate::shard) fn answer_engine_io(&mut self, key: ConnKey, number: u32, result: &Result<Answer, Refusal>) {
        let Some(Protocol::EngineIo(session)) = self.conns.get_mut(key).map(|conn| &mut conn.protocol) else { return };
        let talk = &mut session.talk;
        let Some(client) = &mut talk.client else { return };
        let Some(place) = client.asked.iter().position(|question| question.number == number) else { return };
        let Some(question) = client.asked.remove(place) else { return };
        let (endpoint, version) = (talk.endpoint.clone(), talk.version);
        self.answer_question(key, version, &endpoint, question, result);
    }

    /// A session moves, and what was asked is not answered: whether it was done is not known.
    pub(super) fn refuse_unanswered(&mut self, key: ConnKey, talk: &Talk, questions: &[Question]) {
        for question in questions {
            self.answer_question(key, talk.version, &talk.endpoint, *question, &Err(Refusal::Unknown));
        }
    }

    fn answer_question(
        &mut self,
        key: ConnKey,
        version: Version,
        endpoint: &EngineIo,
        question: Question,
        result: &Result<Answer, Refusal>,
    ) {
        let mut json = Vec::new();
        match result {
            Ok(Answer::Accepted(at)) => own::ok(&mut json, None, *at),
            Ok(Answer::Attached(_) | Answer::Joined { .. }) => return,
            Err(refusal) => own::refusal(&mut json, None, refusal),
        }
        let (space, at) = (namespace(endpoint, question.namespace), accepted(result));
        self.reply_behind(key, version, space, question.id, &json, at);
    }

    /// Refuses what the engine need not judge.
    fn reply(&mut self, key: ConnKey, version: Version, space: &Namespace, id: Option<u64>, json: &[u8]) {
        self.reply_behind(key, version, space, id, json, None);
    }

    /// Acknowledges with one argument; without an acknowledgement that is asked for, a refusal is an event. `at`: what was
    /// accepted.
    fn reply_behind(
        &mut self,
        key: ConnKey,
        version: Version,
        space: &Namespace,
        id: Option<u64>,
        json: &[u8],
        at: Option<Position>,
    ) {
        // What is written here is text throughout.
        let json = std::str::from_utf8(json).unwrap_or_default();
        let reply = match id {
            Some(id) => frames::message(version, &[], |out| {
                socketio::write_ack(out, &space.name, id, &format!("[{json}]"), 0);
            }),
            None if at.is_none() => event(version, &space.name, REFUSED, json),
            None => return,
        };
        let behind = space.target.as_ref().and_then(|target| self.end_of(key, target, encoding(space, version), at));
        self.push(key, &reply, behind);
    }

    /// Where the log ends that a connection reads in this encoding, or will end with what was accepted.
    fn end_of(&self, key: ConnKey, target: &Target, encoding: Encoding, at: Option<Position>) -> Option<Behind> {
        let mirror = *self.channels.get(&target.channel)?;
        let logs = &self.mirrors.get(mirror)?.logs;
        let subscriptions = &self.conns.get(key)?.subscriptions;
        let of_it = subscriptions.iter().find(|subscription| {
            subscription.mirror == mirror && logs[usize::from(subscription.log)].encoding == encoding
        })?;
        self.behind(mirror, of_it.log, at)
    }
}

// What goes along when a session moves.
impl Shard {
    /// In which encoding a connection is about to listen to something.
    fn joining(&self, key: ConnKey) -> Option<Encoding> {
        match self.conns.get(key)?.pending.as_deref()? {
            Pending::Read { read: Read::Join { encoding, .. }, .. } => Some(*encoding),
            _ => None,
        }
    }

    /// Takes back a join under way: the encoding, where the stream was to begin, and with what.
    fn take_join(&mut self, key: ConnKey) -> Option<(Encoding, Begins, Box<[u8]>)> {
        let pending = self.conns.get(key)?.pending.as_deref()?;
        let Pending::Read { read: Read::Join { encoding, begins, head, .. }, .. } = pending else { return None };
        let join = (*encoding, *begins, head.clone());
        self.drop_pending(key);
        Some(join)
    }

    /// The channels to be joined again, each from where the client was told.
    pub(super) fn resume_points(&mut self, key: ConnKey, talk: &Talk) -> VecDeque<Resume> {
        let mut under_way = self.take_join(key);
        let mut resume = VecDeque::new();
        for joined in talk.client.iter().flat_map(|client| &client.joined) {
            let space = namespace(&talk.endpoint, joined.namespace);
            let Some(target) = &space.target else { continue };
            let (begins, head, told) = match under_way.take_if(|(encoding, _, _)| encoding.dialect == space.dialect) {
                Some((_, begins, head)) => (begins, head, None),
                None => {
                    let mirror = self.channels.get(&target.channel).and_then(|mirror| self.mirrors.get(*mirror));
                    let standing = mirror.and_then(|mirror| mirror.standing.as_ref());
                    let told = self.told(key, target, encoding(space, talk.version));
                    let begins = told.map_or(Begins::Now, Begins::Continued);
                    (begins, Box::default(), standing.map(Told::of))
                }
            };
            resume.push_back(Resume { namespace: joined.namespace, begins, head, told });
        }
        resume
    }

    /// Joins a namespace that the client is in already.
    pub(super) fn resume_namespace(&mut self, key: ConnKey, talk: &mut Talk, resume: &Resume) {
        let endpoint = talk.endpoint.clone();
        let space = namespace(&endpoint, resume.namespace);
        let joined = talk.client.as_mut().and_then(|client| client.joined(resume.namespace)).cloned();
        let (Some(target), Some(joined)) = (&space.target, joined) else { return };
        let encoding = encoding(space, talk.version);
        match self.join(key, &HOW, target, encoding, resume.begins, &resume.head, joined.user.as_ref()) {
            Ok(Some(pending)) => self.wait_stream(key, pending),
            Ok(None) => {}
            Err(_) => {
                if let Some(conn) = self.conns.get_mut(key) {
                    let code = crate::wire::ws::close::TRY_AGAIN;
                    conn.closing = Some(Box::new((code, "the channel cannot be listened to now: try again later")));
                }
            }
        }
        if joined.editing.is_some() {
            let act = Act::Editing { cell: joined.editing, by: joined.user };
            let number = self.next_number();
            self.note_editing(&target.channel, Asker::Connection(key), &act);
            self.ask(target, Asker::Connection(key), number, act);
        }
    }
}

/// The namespace of this name, if the client is in it.
fn joined(talk: &mut Talk, name: &str) -> Result<u16, Ending> {
    let index = find_namespace(&talk.endpoint, name);
    let client = talk.client.as_mut();
    let joined = client.zip(index).and_then(|(client, index)| client.joined(index));
    joined.map(|joined| joined.namespace).ok_or(Ending::Violation("a namespace was not joined"))
}

/// An event with one argument.
fn event(version: Version, namespace: &str, name: &str, json: &str) -> Vec<u8> {
    frames::message(version, &[], |out| {
        socketio::begin_event(out, namespace, name, 0);
        out.push(b',');
        out.extend_from_slice(json.as_bytes());
        out.push(b']');
    })
}

/// What a dialect reads that takes texts as they are: the text that a JSON string means.
fn plain_text(dialect: &Dialect, json: &str) -> Option<String> {
    match dialect {
        Dialect::Event { of, .. } => plain_text(of, json),
        Dialect::Plain { .. } | Dialect::Tally | Dialect::Addressed { .. } | Dialect::Steps { .. } => {
            serde_json::from_str(json).ok()
        }
        Dialect::Tallycast | Dialect::Cells => None,
    }
}

/// A refusal for people.
fn words(refusal: &Refusal) -> String {
    format!("{}: expected {}", refusal.code(), refusal.expected())
}
