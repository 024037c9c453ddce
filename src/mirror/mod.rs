//! A mirror: what one core holds of one channel that someone there listens to or polls.

pub mod encoding;
pub mod pace;
pub mod sendlog;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::keys::{ConnKey, ListenerId, SessionKey};
use crate::base::limits::Limits;
use crate::base::rarely::Rarely;
use crate::base::segment::Slice;
use crate::base::time::Time;
use crate::engine::history::History;
use crate::engine::{
    Attached, Change, ChannelName, ChannelSpec, ClassId, Editing, Outcome, Position, Presence, Publication, State,
    UserName,
};
use crate::kind::Kind;
use crate::route::Target;
use crate::route::dialect::Snapshot;
use crate::route::page::{Language, PageId};

use encoding::Encoding;
use pace::Pace;
use sendlog::SendLog;

/// See the module. Attaching until the engine has answered, live from then on, lingering while nobody uses it.
#[derive(Debug)]
pub struct Mirror {
    /// The channel.
    pub channel: ChannelName,
    /// Its class.
    pub class: ClassId,
    /// Its kind.
    pub kind: Kind,
    /// The number of the attach op under way: the mirror is not live.
    pub attaching: Option<u32>,
    /// What it knows; `None` before the first answer.
    pub standing: Option<Standing>,
    /// One per encoding that is listened to; never removed while the mirror lives, so that an index stays good.
    pub logs: Vec<EncodedLog>,
    /// Connections whose poll is parked here.
    pub parked: Rarely<ConnKey>,
    /// Sessions with polls parked here.
    pub sessions: Rarely<SessionKey>,
    /// Reads that wait until it is live.
    pub reads: u32,
    /// Answers that came before their publication: the inbox had overflowed.
    pub early: Rarely<Outcome>,
    /// The listener count that the engine was told last.
    pub reported: u32,
    /// Unused since then.
    pub unused_since: Option<Time>,
    /// A timer will look at that.
    pub lingers: bool,
    /// Its pace, if it has one.
    pub pace: Option<Box<Pace>>,
    cached: Rarely<(View, Position, Slice)>,
}

/// A send log and what it is written in.
#[derive(Debug)]
pub struct EncodedLog {
    /// The encoding.
    pub encoding: Encoding,
    /// The log.
    pub log: SendLog,
    /// Whether it stands in the queue of logs to be flushed.
    pub queued: bool,
    /// Readers of several logs, whom rounds pass by; some may have left.
    pub gatherers: Rarely<ConnKey>,
    /// They are to be served in this turn.
    pub woken: bool,
    /// It is to give back in this turn what everyone has got.
    pub forgets: bool,
}

/// What a mirror knows of its channel.
#[derive(Debug)]
pub struct Standing {
    /// Where the channel stands, and its recent publications.
    pub history: History,
    /// Its state there.
    pub state: State,
    /// How many listen, on all cores.
    pub listeners: u32,
    /// Under which names, and who edits what.
    pub present: Present,
    /// Of a table, the most rows that were ever shown here.
    pub rows_most: usize,
}

/// Who is there.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Present {
    /// Under which names people listen, in their order.
    pub users: BTreeSet<UserName>,
    /// Who edits which cell.
    pub editing: Vec<Editing>,
}

/// A way to show the present state, which is written once per position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// Framed for listeners.
    Framed(Encoding),
    /// The same for those who were shown another state before.
    Again(Encoding),
    /// The JSON of a plain GET.
    Json,
    /// A page, with the links of this listener.
    Page(PageId, Language, ListenerId),
}

/// What a publication is to a mirror.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sequel {
    /// The next one: it is taken.
    Next,
    /// Known already, or of no concern before the mirror is live.
    Old,
    /// There is something missing before it.
    Gap,
}

impl Mirror {
    /// A mirror whose attach op, `number`, is under way.
    pub fn new(channel: ChannelName, class: ClassId, kind: Kind, number: u32) -> Mirror {
        Mirror {
            channel,
            class,
            kind,
            attaching: Some(number),
            standing: None,
            logs: Vec::new(),
            parked: Rarely::default(),
            sessions: Rarely::default(),
            reads: 0,
            early: Rarely::default(),
            reported: 0,
            unused_since: None,
            lingers: false,
            pace: None,
            cached: Rarely::default(),
        }
    }

    /// The channel and its class.
    pub fn target(&self) -> Target {
        Target { channel: self.channel.clone(), class: self.class }
    }

    /// What it knows, if it is live.
    pub fn live(&self) -> Option<&Standing> {
        self.standing.as_ref().filter(|_| self.attaching.is_none())
    }

    /// How many streams read its logs: these are the channel's listeners. (Who polls comes and goes with each answer.)
    pub fn readers(&self) -> usize {
        self.logs.iter().map(|encoded| encoded.log.readers()).sum()
    }

    /// Whether anyone needs it.
    pub fn is_used(&self) -> bool {
        self.readers() + self.sessions.len() + self.parked.len() + self.early.len() > 0 || self.reads > 0
    }

    /// Whether those who have not been visited yet hold so much that publishers here should wait.
    pub fn is_congested(&self, limits: &Limits) -> bool {
        self.logs.iter().any(|encoded| encoded.log.has_round() && encoded.log.tail_bytes() > limits.log_bytes_max / 2)
    }

    /// The log of an encoding, made if there is none.
    pub fn log(&mut self, encoding: Encoding) -> usize {
        self.logs.iter().position(|known| known.encoding == encoding).unwrap_or_else(|| {
            // Most channels are listened to in one encoding: room for four would weigh more than all the rest.
            self.logs.reserve_exact(1);
            let (log, gatherers) = (SendLog::default(), Rarely::default());
            self.logs.push(EncodedLog { encoding, log, queued: false, gatherers, woken: false, forgets: false });
            self.logs.len() - 1
        })
    }

    /// Takes a publication, if it is the next.
    pub fn take(&mut self, publication: &Arc<Publication>) -> Sequel {
        let Some(standing) = self.standing.as_mut().filter(|_| self.attaching.is_none()) else { return Sequel::Old };
        let at = standing.at();
        if publication.epoch == at.epoch && publication.last <= at.revision {
            return Sequel::Old;
        }
        if publication.epoch != at.epoch || publication.first != at.revision + 1 {
            return Sequel::Gap;
        }
        standing.take(publication.clone());
        Sequel::Next
    }

    /// Takes the engine's answer. Returns the publications that continue what was known (they are still to be
    /// [taken](Mirror::take)), or `None` if there is a gap, or nothing was known, and the answer's state stands instead.
    pub fn attached(&mut self, attached: &Attached, spec: &ChannelSpec) -> Option<Vec<Arc<Publication>>> {
        self.attaching = None;
        if let Some(standing) = &mut self.standing {
            let known = standing.at();
            let news = attached.recent.iter().filter(|news| news.last > known.revision);
            let next = news.clone().next().map_or(attached.at.revision + 1, |next| next.first);
            if known.epoch == attached.at.epoch && next == known.revision + 1 {
                standing.listeners = attached.listeners;
                return Some(news.cloned().collect());
            }
        }
        let (publications_max, bytes_max) = (spec.history_publications_max, spec.history_bytes_max);
        let history = History::resume(self.channel.clone(), attached, publications_max, bytes_max);
        // Who is there is told by and by, as to who had no gap.
        let (present, rows_most) =
            self.standing.take().map(|known| (known.present, known.rows_most)).unwrap_or_default();
        let (listeners, state) = (attached.listeners, attached.state.clone());
        let mut standing = Standing { history, state, listeners, present, rows_most };
        standing.rows_most = rows_most.max(standing.rows());
        self.standing = Some(standing);
        None
    }

    /// The present state for a dialect to write.
    pub fn snapshot(&self) -> Option<Snapshot<'_>> {
        self.live().map(|standing| standing.snapshot(&self.channel, self.kind))
    }

    /// A view of the present state, written by `write` unless it is at hand.
    pub fn view(&mut self, view: View, write: impl FnOnce(&Snapshot<'_>) -> Option<Vec<u8>>) -> Option<Slice> {
        // While it attaches anew it stands where its logs end.
        let snapshot = self.standing.as_ref()?.snapshot(&self.channel, self.kind);
        let at = snapshot.history.at();
        if let Some((_, _, slice)) = self.cached.iter().find(|(known, position, _)| *known == view && *position == at) {
            return Some(slice.clone());
        }
        let slice = Slice::copied(&write(&snapshot)?);
        self.cached.retain(|(known, position, _)| *known != view && *position == at);
        self.cached.push((view, at, slice.clone()));
        Some(slice)
    }

    /// How far the readers of a log are told who have all of it. The dialect that it is written in may want every step.
    pub fn told(&self, wants_steps: bool) -> Option<Position> {
        let told = self.pace.as_ref().and_then(|pace| pace.told).filter(|_| !wants_steps);
        told.or(self.standing.as_ref().map(Standing::at))
    }

    /// Bytes that its logs occupy.
    pub fn log_bytes(&self) -> usize {
        self.logs.iter().map(|encoded| encoded.log.bytes()).sum()
    }
}

impl Present {
    /// Who is there by the engine's answer.
    pub fn of(attached: &Attached) -> Present {
        Present { users: attached.users.iter().cloned().collect(), editing: attached.editing.clone() }
    }

    /// Takes what happened among those who listen. False if it is known already.
    pub fn take(&mut self, news: &Presence) -> bool {
        match news {
            Presence::Joined(user) => self.users.insert(user.clone()),
            Presence::Left(user) => self.users.remove(user),
            Presence::Editing(editing) => {
                let known = self.editing.iter().position(|known| known.who == editing.who);
                let before = known.map(|index| self.editing.swap_remove(index));
                if editing.cell.is_some() {
                    self.editing.push(editing.clone());
                }
                before.as_ref().and_then(|before| before.cell.as_ref()) != editing.cell.as_ref()
            }
        }
    }

    /// What has happened from here to `now`.
    pub fn news(&self, now: &Present) -> Vec<Presence> {
        let gone = self.users.difference(&now.users).cloned().map(Presence::Left);
        let came = now.users.difference(&self.users).cloned().map(Presence::Joined);
        let ended = self.editing.iter().filter(|known| !now.editing.iter().any(|mark| mark.who == known.who));
        let ended = ended.map(|known| Presence::Editing(Editing { cell: None, ..known.clone() }));
        let edited = now.editing.iter().filter(|mark| !self.editing.contains(mark)).cloned().map(Presence::Editing);
        gone.chain(came).chain(ended).chain(edited).collect()
    }
}

impl Standing {
    /// Rows of a table that are shown; none of other channels.
    pub fn rows(&self) -> usize {
        match &self.state {
            State::Table(table) => table.rows().len(),
            State::Log | State::Tally { .. } => 0,
        }
    }

    /// Where the channel stands.
    pub fn at(&self) -> Position {
        self.history.at()
    }

    /// The state for a dialect to write.
    pub fn snapshot<'a>(&'a self, channel: &'a str, kind: Kind) -> Snapshot<'a> {
        Snapshot { channel, kind, state: &self.state, history: &self.history }
    }

    fn take(&mut self, publication: Arc<Publication>) {
        match (&publication.change, &mut self.state) {
            (Change::Tally { counts: after, .. }, State::Tally { counts, .. }) => counts.copy_from_slice(after),
            (Change::Message(_), State::Log) => {}
            (Change::Table(change), State::Table(table)) => table.apply(change, publication.last),
            (Change::Tally { .. } | Change::Message(_) | Change::Table(_), _) => {
                unreachable!("a channel has one data type")
            }
        }
        self.rows_most = self.rows_most.max(self.rows());
        self.history.take(publication);
    }
}
