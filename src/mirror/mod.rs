//! A mirror: what one core holds of one channel that someone there listens to or polls.

pub mod encoding;
pub mod sendlog;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::keys::{ConnKey, SessionKey};
use crate::base::limits::Limits;
use crate::base::segment::Slice;
use crate::base::time::Time;
use crate::engine::{Attached, Change, ChannelName, ClassId, Outcome, Position, Publication, State};
use crate::kind::Kind;
use crate::route::dialect::Snapshot;
use crate::route::page::{Language, PageId};

use encoding::Encoding;
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
    pub parked: Vec<ConnKey>,
    /// Sessions with polls parked here.
    pub sessions: Vec<SessionKey>,
    /// Reads that wait until it is live.
    pub reads: u32,
    /// Answers that came before their publication: the inbox had overflowed.
    pub early: Vec<Outcome>,
    /// The listener count that the engine was told last.
    pub reported: u32,
    /// Unused since then.
    pub unused_since: Option<Time>,
    cached: Vec<(View, Position, Slice)>,
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
}

/// What a mirror knows of its channel.
#[derive(Debug)]
pub struct Standing {
    /// Where the channel stands.
    pub at: Position,
    /// Its state there.
    pub state: State,
    /// Its recent publications, oldest first, without a gap, up to `at`.
    pub recent: VecDeque<Arc<Publication>>,
    /// How many listen, on all cores.
    pub listeners: u32,
    recent_bytes: usize,
}

/// A way to show the present state, which is written once per position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// Framed for listeners.
    Framed(Encoding),
    /// The JSON of a plain GET.
    Json,
    /// A page.
    Page(PageId, Language),
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
            parked: Vec::new(),
            sessions: Vec::new(),
            reads: 0,
            early: Vec::new(),
            reported: 0,
            unused_since: None,
            cached: Vec::new(),
        }
    }

    /// What it knows, if it is live.
    pub fn live(&self) -> Option<&Standing> {
        self.standing.as_ref().filter(|_| self.attaching.is_none())
    }

    /// How many listen here: those on a stream, and sessions whose poll is parked.
    pub fn listeners(&self) -> u32 {
        (self.readers() + self.sessions.len() + self.parked.len()) as u32
    }

    /// How many streams read its logs.
    pub fn readers(&self) -> usize {
        self.logs.iter().map(|encoded| encoded.log.readers()).sum()
    }

    /// Whether anyone needs it.
    pub fn is_used(&self) -> bool {
        self.listeners() > 0 || self.reads > 0
    }

    /// Whether those who have not been visited yet hold so much that publishers here should wait.
    pub fn is_congested(&self, limits: &Limits) -> bool {
        self.logs
            .iter()
            .any(|encoded| encoded.log.has_round() && encoded.log.tail_bytes() > limits.log_bytes_max / 2)
    }

    /// The log of an encoding, made if there is none.
    pub fn log(&mut self, encoding: Encoding) -> usize {
        self.logs
            .iter()
            .position(|known| known.encoding == encoding)
            .unwrap_or_else(|| {
                self.logs.push(EncodedLog {
                    encoding,
                    log: SendLog::default(),
                    queued: false,
                });
                self.logs.len() - 1
            })
    }

    /// Takes a publication, if it is the next; what is kept is bounded.
    pub fn take(&mut self, publication: &Arc<Publication>, publications_max: usize, bytes_max: usize) -> Sequel {
        if self.attaching.is_some() {
            return Sequel::Old;
        }
        let Some(standing) = &mut self.standing else {
            return Sequel::Old;
        };
        if publication.epoch != standing.at.epoch {
            return Sequel::Gap;
        }
        if publication.last <= standing.at.revision {
            return Sequel::Old;
        }
        if publication.first != standing.at.revision + 1 {
            return Sequel::Gap;
        }
        standing.take(publication.clone());
        while standing.recent.len() > publications_max || standing.recent_bytes > bytes_max {
            let Some(oldest) = standing.recent.pop_front() else {
                break;
            };
            standing.recent_bytes -= weight(&oldest);
        }
        Sequel::Next
    }

    /// Takes the engine's answer. Returns the publications that continue what was known, or `None` if there is a gap
    /// (or nothing was known) and the answer's state stands instead.
    pub fn attached(&mut self, attached: &Attached) -> Option<Vec<Arc<Publication>>> {
        self.attaching = None;
        let news = self.standing.as_ref().and_then(|standing| {
            let known = standing.at;
            let news: Vec<_> = attached
                .recent
                .iter()
                .filter(|news| news.last > known.revision)
                .cloned()
                .collect();
            let follows = match news.first() {
                Some(first) => first.first == known.revision + 1,
                None => attached.at.revision == known.revision,
            };
            (known.epoch == attached.at.epoch && follows).then_some(news)
        });
        match &news {
            Some(_) => {
                if let Some(standing) = &mut self.standing {
                    standing.listeners = attached.listeners;
                }
            }
            None => {
                self.standing = Some(Standing {
                    at: attached.at,
                    state: attached.state.clone(),
                    recent: attached.recent.iter().cloned().collect(),
                    listeners: attached.listeners,
                    recent_bytes: attached.recent.iter().map(|publication| weight(publication)).sum(),
                });
            }
        }
        news
    }

    /// The present state for a dialect to write.
    pub fn snapshot(&self) -> Option<Snapshot<'_>> {
        self.live().map(|standing| Snapshot {
            channel: &self.channel,
            kind: self.kind,
            at: standing.at,
            state: &standing.state,
            recent: &standing.recent,
        })
    }

    /// A view of the present state, written by `write` unless it is at hand.
    pub fn view(&mut self, view: View, write: impl FnOnce(&Snapshot<'_>) -> Option<Vec<u8>>) -> Option<Slice> {
        let snapshot = self.snapshot()?;
        let at = snapshot.at;
        if let Some((_, _, slice)) = self
            .cached
            .iter()
            .find(|(known, position, _)| *known == view && *position == at)
        {
            return Some(slice.clone());
        }
        let slice = Slice::copied(&write(&snapshot)?);
        self.cached
            .retain(|(known, position, _)| *known != view && *position == at);
        self.cached.push((view, at, slice.clone()));
        Some(slice)
    }

    /// Bytes that its logs occupy.
    pub fn log_bytes(&self) -> usize {
        self.logs.iter().map(|encoded| encoded.log.bytes()).sum()
    }
}

impl Standing {
    fn take(&mut self, publication: Arc<Publication>) {
        match (&publication.change, &mut self.state) {
            (Change::Tally { counts: after, .. }, State::Tally { counts, .. }) => counts.copy_from_slice(after),
            (Change::Message(_), State::Log) => {}
            (Change::Tally { .. }, State::Log) | (Change::Message(_), State::Tally { .. }) => {
                unreachable!("a channel has one data type")
            }
        }
        self.at = publication.at();
        self.recent_bytes += weight(&publication);
        self.recent.push_back(publication);
    }

    /// The publications after `since`, or `None` if it is of another life, from the future, or too long ago.
    pub fn follow(&self, since: Position) -> Option<impl Iterator<Item = &Arc<Publication>>> {
        let oldest = self.recent.front().map_or(self.at.revision, |oldest| oldest.first - 1);
        let known = since.epoch == self.at.epoch && (oldest..=self.at.revision).contains(&since.revision);
        let begin = self
            .recent
            .partition_point(|publication| publication.last <= since.revision);
        known.then(|| self.recent.range(begin..))
    }
}

/// About how many bytes a publication occupies.
fn weight(publication: &Publication) -> usize {
    size_of::<Publication>()
        + match &publication.change {
            Change::Message(body) => body.bytes().len(),
            Change::Tally { steps, counts } => size_of_val(&**steps) + size_of_val(&**counts),
        }
}
