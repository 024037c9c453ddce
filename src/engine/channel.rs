//! One channel inside the embedded engine: its data, its members, and the publication that a batch is filling.

use std::sync::Arc;
use std::time::Duration;

use super::contract::{
    Act, Answer, Attached, ChannelName, ChannelSpec, Data, EngineMail, Entry, Epoch, Position, Publication, Refusal,
    State,
};
use super::embedded::Outbox;
use super::history::History;
use super::hold::Hold;
use super::log::Log;
use super::members::Members;
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
    #[cfg(feature = "faults")]
    Fault,
}

impl Class {
    pub(super) fn new(spec: ChannelSpec, seed: Seed) -> Class {
        let kind = match &spec.data {
            Data::Log | Data::Table(_) => Kind::Log,
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
    #[cfg(feature = "faults")]
    Fault(Log),
}

/// A channel.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) name: ChannelName,
    pub(super) durable: bool,
    pub(super) idle: Option<Duration>,
    pub(super) members: Members,
    /// Whether the batch in hand names it: then it is looked at when the batch ends.
    pub(super) touched: bool,
    /// When the last op came.
    pub(super) used: Time,
    pub(super) announce_timer: Option<TimerKey>,
    pub(super) idle_timer: Option<TimerKey>,
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
            members: Members::default(),
            touched: false,
            used: now,
            announce_timer: None,
            idle_timer: None,
            content: match &class.kind {
                Kind::Log => Content::Log(Log::new(history)),
                Kind::Tally(options) => Content::Tally(Tally::new(options.clone(), history)),
                #[cfg(feature = "faults")]
                Kind::Fault => Content::Fault(Log::new(history)),
            },
            filling: None,
        }
    }

    /// Does what is asked. The answer, if the act has one, is the caller's to send: behind what is mailed here.
    pub(super) fn apply(&mut self, core: CoreId, act: Act, to: &mut Mailing<'_>) -> Option<Result<Answer, Refusal>> {
        match act {
            Act::Append { body, from, .. } => Some(self.append(Entry { body, from, skip: None }, to)),
            Act::Table { .. } | Act::Editing { .. } | Act::Join { .. } => Some(Err(Refusal::WrongType)),
            Act::Leave { .. } => None,
            Act::Cast { choice } => Some(self.cast(&choice, to)),
            Act::Listeners { count } => {
                self.members.listen(core, count);
                None
            }
            Act::Attach { since } => {
                self.close(to);
                self.members.attach(core);
                let answer = Answer::Attached(Arc::new(self.attached(since)));
                if self.durable {
                    to.hold.weigh(&answer);
                }
                Some(Ok(answer))
            }
            Act::Detach => {
                self.close(to);
                self.members.detach(core);
                None
            }
            #[cfg(feature = "faults")]
            Act::Panic => match &self.content {
                Content::Fault(_) => panic!("a channel's code fails, as it was told to"),
                Content::Log(_) | Content::Tally(_) => Some(Err(Refusal::WrongType)),
            },
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

    fn append(&mut self, entry: Entry, to: &mut Mailing<'_>) -> Result<Answer, Refusal> {
        let log = match &mut self.content {
            Content::Log(log) => log,
            #[cfg(feature = "faults")]
            Content::Fault(log) => log,
            Content::Tally(_) => return Err(Refusal::WrongType),
        };
        let publication = log.append(entry);
        let at = publication.at();
        let cores = self.members.attached();
        to.of(self.durable).extend(cores.map(|core| (core, EngineMail::Publication(publication.clone()))));
        self.keep(publication, to);
        Ok(Answer::Accepted(at))
    }

    fn cast(&mut self, choice: &str, to: &mut Mailing<'_>) -> Result<Answer, Refusal> {
        let tally = match &mut self.content {
            Content::Tally(tally) => tally,
            Content::Log(_) => return Err(Refusal::WrongType),
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

    fn attached(&self, since: Option<Position>) -> Attached {
        let log = |log: &Log| (log.at(), State::Log, log.recent_since(since));
        let (at, state, recent) = match &self.content {
            Content::Log(content) => log(content),
            Content::Tally(tally) => (tally.at(), tally.state(), tally.recent_since(since)),
            #[cfg(feature = "faults")]
            Content::Fault(content) => log(content),
        };
        Attached { at, state, listeners: self.members.sum(), recent, users: Vec::new(), editing: Vec::new() }
    }
}
