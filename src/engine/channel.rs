//! One channel inside the embedded engine: its data, its members, and the publication that a batch is filling.

use std::sync::Arc;
use std::time::Duration;

use super::contract::{
    Act, Answer, Attached, ChannelName, ChannelSpec, Data, EngineMail, Entry, Epoch, Origin, Position, Presence,
    Publication, Refusal, State, UserName,
};
use super::editing::Marks;
use super::embedded::Outbox;
use super::history::History;
use super::hold::Hold;
use super::log::Log;
use super::map::Map;
use super::members::Members;
use super::presence::Names;
use super::table::{CellName, TableSpec};
use super::tally::{Options, Tally};
use crate::base::hash::Seed;
use crate::base::keys::CoreId;
use crate::base::time::Time;
use crate::base::wheel::TimerKey;

/// What all channels of an entry of the configuration share.
#[derive(Debug)]
pub(super) struct Class {
    spec: ChannelSpec,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Log,
    Tally(Arc<Options>),
    Table(Arc<TableSpec>),
    #[cfg(feature = "faults")]
    Fault,
}

impl Class {
    pub(super) fn new(spec: ChannelSpec, seed: Seed) -> Class {
        let kind = match &spec.data {
            Data::Log => Kind::Log,
            Data::Table(table) => Kind::Table(table.clone()),
            Data::Tally { options } => Kind::Tally(Arc::new(Options::new(options.clone(), seed))),
            #[cfg(feature = "faults")]
            Data::Fault => Kind::Fault,
        };
        Class { spec, kind }
    }

    /// Whether its channels come and go.
    pub(super) fn goes(&self) -> bool {
        self.spec.idle.is_some()
    }

    /// The refusal of an act that begins no channel: what it is about can only be in one that is there.
    pub(super) fn refuse_without_channel(&self, act: &Act) -> Option<Refusal> {
        match act {
            Act::Append { only_if_heard: true, .. } => Some(match &self.kind {
                Kind::Log => Refusal::Absent,
                #[cfg(feature = "faults")]
                Kind::Fault => Refusal::Absent,
                Kind::Tally(_) | Kind::Table(_) => Refusal::WrongType,
            }),
            Act::Editing { cell: None, .. } => Some(match &self.kind {
                Kind::Table(_) => Refusal::UnknownRow,
                #[cfg(feature = "faults")]
                Kind::Fault => Refusal::WrongType,
                Kind::Log | Kind::Tally(_) => Refusal::WrongType,
            }),
            Act::Append { .. }
            | Act::Table { .. }
            | Act::Editing { .. }
            | Act::Join { .. }
            | Act::Leave { .. }
            | Act::Cast { .. }
            | Act::Listeners { .. }
            | Act::Attach { .. }
            | Act::Detach => None,
            #[cfg(feature = "faults")]
            Act::Panic => None,
        }
    }
}

/// Where mail goes: into the outbox, or where the mail of durable channels waits.
pub(super) struct Mailing<'a> {
    pub(super) hold: &'a mut Hold,
    pub(super) out: &'a mut Outbox,
}

impl Mailing<'_> {
    /// The mail of durable channels, or of the others. Until the batch ends it is only added to.
    pub(super) fn of(&mut self, durable: bool) -> &mut Vec<(CoreId, EngineMail)> {
        self.hold.mail_of(durable, self.out)
    }
}

#[derive(Debug)]
enum Content {
    Log(Log),
    Tally(Tally),
    Table(Box<Map>),
    #[cfg(feature = "faults")]
    Fault(Log),
}

/// A channel.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) name: ChannelName,
    pub(super) durable: bool,
    idle: Option<Duration>,
    unheard: Option<Duration>,
    pub(super) members: Members,
    pub(super) names: Names,
    /// Different names, and marks of who edits.
    users_max: usize,
    /// Whether the batch in hand names it: then it is looked at when the batch ends.
    pub(super) touched: bool,
    /// When the last op came.
    pub(super) used: Time,
    pub(super) announce_timer: Option<TimerKey>,
    pub(super) editing_timer: Option<TimerKey>,
    pub(super) idle_timer: Option<(TimerKey, Time)>,
    content: Content,
    /// Where in the mail the publication stands that is being filled. Invariant: there is one place for each attached
    /// core, and while it is filled no core comes or goes.
    filling: Option<usize>,
}

impl Channel {
    pub(super) fn new(name: ChannelName, class: &Class, epoch: Epoch, now: Time) -> Channel {
        let history = History::new(name.clone(), epoch, &class.spec);
        Channel {
            name,
            durable: class.spec.durable,
            idle: class.spec.idle,
            unheard: class.spec.unheard,
            members: Members::default(),
            names: Names::default(),
            users_max: class.spec.users_max,
            touched: false,
            used: now,
            announce_timer: None,
            editing_timer: None,
            idle_timer: None,
            content: match &class.kind {
                Kind::Log => Content::Log(Log::new(history)),
                Kind::Tally(options) => Content::Tally(Tally::new(options.clone(), history)),
                Kind::Table(spec) => Content::Table(Box::new(Map::new(spec.clone(), history))),
                #[cfg(feature = "faults")]
                Kind::Fault => Content::Fault(Log::new(history)),
            },
            filling: None,
        }
    }

    /// Does what is asked. The answer, if the act has one, is the caller's to send: behind what is mailed here.
    pub(super) fn apply(&mut self, who: Origin, act: Act, to: &mut Mailing<'_>) -> Option<Result<Answer, Refusal>> {
        match act {
            Act::Append { body, from, echo, only_if_heard } => {
                let entry = Entry { body, from, skip: if echo { None } else { Some(who) } };
                Some(self.append(entry, only_if_heard, to))
            }
            Act::Table { act, by } => Some(match &mut self.content {
                Content::Table(map) => map.act(&act, by.as_ref()).map(|publication| self.publish(publication, to)),
                Content::Log(_) | Content::Tally(_) => Err(Refusal::WrongType),
                #[cfg(feature = "faults")]
                Content::Fault(_) => Err(Refusal::WrongType),
            }),
            Act::Editing { cell, by } => Some(self.edit(who, cell, by)),
            Act::Join { user, count } => Some(self.join(who.core, &user, count, to)),
            Act::Leave { user, count } => {
                if self.names.leave(who.core, &user, count) {
                    self.tell(Presence::Left(user), to);
                }
                None
            }
            Act::Cast { choice } => Some(self.cast(&choice, to)),
            Act::Listeners { count } => {
                self.members.listen(who.core, count);
                None
            }
            Act::Attach { since } => Some(Ok(self.attach(who.core, since, to))),
            Act::Detach => {
                self.detach(who.core, to);
                None
            }
            #[cfg(feature = "faults")]
            Act::Panic => match &self.content {
                Content::Fault(_) => panic!("a channel's code fails, as it was told to"),
                Content::Log(_) | Content::Tally(_) | Content::Table(_) => Some(Err(Refusal::WrongType)),
            },
        }
    }

    /// Whether it comes and goes.
    pub(super) fn goes(&self) -> bool {
        self.idle.is_some()
    }

    /// When it may go if nobody needs it until then.
    pub(super) fn idle_at(&self) -> Option<Time> {
        let idle = self.idle?;
        let is_unheard = matches!(&self.content, Content::Log(log) if log.is_unheard());
        Some(self.used + self.unheard.filter(|_| is_unheard).unwrap_or(idle))
    }

    /// Whether anyone needs it.
    pub(super) fn is_used(&self) -> bool {
        self.members.attached().next().is_some() || !self.names.is_empty()
    }

    /// The marks of who edits what, if it is a table; who is there, and its name.
    pub(super) fn marks(&mut self) -> Option<(&mut Marks, &Members, &ChannelName)> {
        match &mut self.content {
            Content::Table(map) => Some((&mut map.marks, &self.members, &self.name)),
            Content::Log(_) | Content::Tally(_) => None,
            #[cfg(feature = "faults")]
            Content::Fault(_) => None,
        }
    }

    /// Publishes the votes that the batch brought so far, in the place kept for them: before their outcomes.
    pub(super) fn close(&mut self, to: &mut Mailing<'_>) {
        let Some(place) = self.filling.take() else { return };
        let Content::Tally(tally) = &mut self.content else {
            return;
        };
        let Some(publication) = tally.publish() else { return };
        let mail = &mut to.of(self.durable)[place..];
        for ((_, blank), _) in mail.iter_mut().zip(self.members.attached()) {
            *blank = EngineMail::Publication(publication.clone());
        }
        self.keep(publication, to);
    }

    fn append(&mut self, entry: Entry, only_if_heard: bool, to: &mut Mailing<'_>) -> Result<Answer, Refusal> {
        let log = match &mut self.content {
            Content::Log(log) => log,
            #[cfg(feature = "faults")]
            Content::Fault(log) => log,
            Content::Tally(_) | Content::Table(_) => return Err(Refusal::WrongType),
        };
        // A name comes before the core counts whom it belongs to.
        let is_heard = self.members.is_heard() || !self.names.is_empty();
        if only_if_heard && !is_heard {
            return Err(Refusal::Absent);
        }
        let publication = log.append(entry, is_heard);
        Ok(self.publish(publication, to))
    }

    /// Sends a publication to all cores that are attached, and keeps it if it must be saved.
    fn publish(&mut self, publication: Arc<Publication>, to: &mut Mailing<'_>) -> Answer {
        let at = publication.at();
        let cores = self.members.attached();
        to.of(self.durable).extend(cores.map(|core| (core, EngineMail::Publication(publication.clone()))));
        self.keep(publication, to);
        Answer::Accepted(at)
    }

    fn edit(&mut self, who: Origin, cell: Option<CellName>, user: Option<UserName>) -> Result<Answer, Refusal> {
        let map = match &mut self.content {
            Content::Table(map) => map,
            Content::Log(_) | Content::Tally(_) => return Err(Refusal::WrongType),
            #[cfg(feature = "faults")]
            Content::Fault(_) => return Err(Refusal::WrongType),
        };
        if let Some(cell) = &cell {
            map.table().find(cell)?;
        }
        map.marks.set(who, cell, user, self.users_max)?;
        Ok(Answer::Accepted(map.at()))
    }

    fn join(&mut self, core: CoreId, user: &UserName, count: u32, to: &mut Mailing<'_>) -> Result<Answer, Refusal> {
        if self.names.join(core, user, count, self.users_max)? {
            self.tell(Presence::Joined(user.clone()), to);
        }
        Ok(match &mut self.content {
            Content::Log(log) => Answer::Joined { at: log.at(), heard: log.hear() },
            #[cfg(feature = "faults")]
            Content::Fault(log) => Answer::Joined { at: log.at(), heard: log.hear() },
            // Who comes sees the present state: nothing is kept for them.
            Content::Tally(tally) => Answer::Joined { at: tally.at(), heard: tally.at().revision },
            Content::Table(map) => Answer::Joined { at: map.at(), heard: map.at().revision },
        })
    }

    fn attach(&mut self, core: CoreId, since: Option<Position>, to: &mut Mailing<'_>) -> Answer {
        self.close(to);
        self.members.attach(core);
        let answer = Answer::Attached(Arc::new(self.attached(core, since)));
        if self.durable {
            to.hold.weigh(&answer);
        }
        answer
    }

    fn detach(&mut self, core: CoreId, to: &mut Mailing<'_>) {
        self.close(to);
        self.members.detach(core);
        if let Some((marks, _, _)) = self.marks() {
            marks.drop_core(core);
        }
        for name in self.names.drop_core(core) {
            self.tell(Presence::Left(name), to);
        }
    }

    /// Tells all cores that are attached.
    fn tell(&self, news: Presence, to: &mut Mailing<'_>) {
        let mail = |core| (core, EngineMail::Presence { channel: self.name.clone(), news: news.clone() });
        to.of(self.durable).extend(self.members.attached().map(mail));
    }

    fn cast(&mut self, choice: &str, to: &mut Mailing<'_>) -> Result<Answer, Refusal> {
        let tally = match &mut self.content {
            Content::Tally(tally) => tally,
            Content::Log(_) | Content::Table(_) => return Err(Refusal::WrongType),
            #[cfg(feature = "faults")]
            Content::Fault(_) => return Err(Refusal::WrongType),
        };
        let at = tally.cast(choice)?;
        if self.filling.is_none() {
            let mail = to.of(self.durable);
            self.filling = Some(mail.len());
            // A place for each core. Nobody sees what stands in it, and who did would attach anew.
            let blank = EngineMail::Failed { channel: self.name.clone() };
            mail.extend(self.members.attached().map(|core| (core, blank.clone())));
        }
        Ok(Answer::Accepted(at))
    }

    fn keep(&self, publication: Arc<Publication>, to: &mut Mailing<'_>) {
        if self.durable {
            to.hold.keep(publication);
        }
    }

    fn attached(&mut self, core: CoreId, since: Option<Position>) -> Attached {
        let log = |log: &Log| (log.at(), State::Log, log.recent_since(since));
        let mut editing = Vec::new();
        let (at, state, recent) = match &mut self.content {
            Content::Log(content) => log(content),
            Content::Tally(tally) => (tally.at(), tally.state(), tally.recent_since(since)),
            Content::Table(map) => {
                editing = map.marks.attach(core);
                (map.at(), map.state(), map.recent_since(since))
            }
            #[cfg(feature = "faults")]
            Content::Fault(content) => log(content),
        };
        let users = self.names.iter().cloned().collect();
        Attached { at, state, listeners: self.members.sum(), recent, users, editing }
    }
}
