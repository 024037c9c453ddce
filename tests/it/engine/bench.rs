//! An engine on the bench: ops go in, and the mail that comes out is written as lines.

use std::time::Duration;

use tallycast::base::keys::{CoreId, OfConnection, Slots};
use tallycast::base::time::Time;
use tallycast::engine::table::Edit;
use tallycast::engine::{
    Act, Answer, Asker, Attached, Batch, Body, CellName, Change, ClassId, Editing, EngineMail, Epoch, Op, Outcome,
    Position, Presence, Publication, Refusal, State, Table, TableAct, TableChange, Ticket,
};

use super::{Engine, Mail, OPTIONS, specs};

/// An engine, the numbers that rise, and the epoch that was seen last.
pub(super) struct Bench<E> {
    pub(super) engine: E,
    pub(super) now: Time,
    batches: [u64; 4],
    pub(super) tickets: u32,
    askers: Vec<Asker>,
    /// Which of the askers asks, from 0; it is written as the next number.
    pub(super) who: usize,
    pub(super) epoch: u64,
}

impl<E: Engine> Bench<E> {
    pub(super) fn new(channels_max: usize) -> Bench<E> {
        let now = Time::from_millis(1_000);
        let mut connections: Slots<OfConnection, ()> = Slots::default();
        Bench {
            engine: E::start(specs(), channels_max, 1, now),
            now,
            batches: [0; 4],
            tickets: 0,
            askers: (0..9).map(|_| Asker::Connection(connections.insert(()))).collect(),
            who: 0,
            epoch: 0,
        }
    }

    /// The next batch of a core. Tickets count on, over all cores.
    pub(super) fn make(&mut self, core: u16, ops: &[(&str, ClassId, Act)]) -> Batch {
        self.batches[usize::from(core)] += 1;
        let ops = ops.iter().map(|(channel, class, act)| {
            self.tickets += 1;
            Op {
                channel: (*channel).into(),
                class: *class,
                ticket: Ticket { asker: self.askers[self.who], number: self.tickets },
                act: act.clone(),
            }
        });
        Batch { core: CoreId(core), number: self.batches[usize::from(core)], ops: ops.collect() }
    }

    pub(super) fn send(&mut self, core: u16, ops: &[(&str, ClassId, Act)]) -> Vec<String> {
        let batch = self.make(core, ops);
        let mail = self.engine.batch(batch, self.now);
        self.lines(mail)
    }

    /// The same, from another asker of that core.
    pub(super) fn send_as(&mut self, who: usize, core: u16, ops: &[(&str, ClassId, Act)]) -> Vec<String> {
        self.who = who;
        let lines = self.send(core, ops);
        self.who = 0;
        lines
    }

    pub(super) fn save(&mut self) -> Vec<String> {
        let saved = self.engine.save();
        self.lines(saved.map(|(_, mail)| mail).unwrap_or_default())
    }

    pub(super) fn wait(&mut self, millis: u64) -> Vec<String> {
        self.now += Duration::from_millis(millis);
        let (mail, _) = self.engine.advance(self.now);
        self.lines(mail)
    }

    pub(super) fn at(&self, revision: u64) -> Option<Position> {
        Some(Position { epoch: Epoch(self.epoch), revision })
    }

    fn lines(&mut self, mail: Mail) -> Vec<String> {
        mail.iter().map(|(core, mail)| format!("{} {}", core.0, self.line(mail))).collect()
    }

    fn line(&mut self, mail: &EngineMail) -> String {
        match mail {
            EngineMail::Publication(publication) => written_publication(publication),
            EngineMail::Listeners { channel, count } => format!("{channel} listeners {count}"),
            EngineMail::Failed { channel } => format!("{channel} failed"),
            EngineMail::Presence { channel, news } => match news {
                Presence::Joined(user) => format!("{channel} joined {user}"),
                Presence::Left(user) => format!("{channel} left {user}"),
                Presence::Editing(editing) => format!("{channel} editing {}", written_editing(editing)),
            },
            EngineMail::Outcome(Outcome { ticket, channel, result }) => {
                let result = match result {
                    Ok(answer) => self.answer(answer),
                    Err(Refusal::Stale(stale)) => {
                        let by = written_by(stale.by.as_deref());
                        format!("stale: {}={}@{}{by}", written_cell(&stale.cell), stale.value.0, stale.revision)
                    }
                    Err(refusal) => format!("{}: {}", refusal.code(), refusal.expected()),
                };
                format!("#{} {channel} {result}", ticket.number)
            }
        }
    }

    fn answer(&mut self, answer: &Answer) -> String {
        match answer {
            Answer::Accepted(at) => {
                self.epoch = at.epoch.0;
                format!("accepted {}", at.revision)
            }
            Answer::Joined { at, heard } => {
                self.epoch = at.epoch.0;
                format!("is there at {}, heard {heard}", at.revision)
            }
            Answer::Attached(attached) => {
                self.epoch = attached.at.epoch.0;
                written_attached(attached)
            }
        }
    }
}

fn written_attached(attached: &Attached) -> String {
    let Attached { at, state, listeners, recent, users, editing } = attached;
    let state = match state {
        State::Log => String::new(),
        State::Tally { options, counts } => {
            assert!(options.iter().map(|option| &option.id).eq(&OPTIONS));
            format!(" {counts:?}")
        }
        State::Table(table) => written_table(table),
    };
    let recent = recent.iter().map(|p| format!(" {}-{}", p.first, p.last));
    let mut line = format!("attached {}{state}, {listeners} listen, recent{}", at.revision, recent.collect::<String>());
    if !users.is_empty() {
        line += &format!(", {}", users.join(" "));
    }
    for editing in editing {
        line += &format!(", {}", written_editing(editing));
    }
    line
}

fn written_publication(publication: &Publication) -> String {
    let Publication { channel, first, last, change, .. } = publication;
    match change {
        Change::Message(entry) => {
            let from = written_by(entry.from.as_deref());
            let skip = entry.skip.map_or(String::new(), |who| format!(" not {who}"));
            format!("{channel} {first}: {}{from}{skip}", String::from_utf8_lossy(entry.body.bytes()))
        }
        Change::Tally { steps, counts } => {
            let step = |step: &tallycast::engine::Step| format!("{}={}", OPTIONS[usize::from(step.option)], step.count);
            let steps: Vec<String> = steps.iter().map(step).collect();
            format!("{channel} {first}-{last}: {} {counts:?}", steps.join(" "))
        }
        Change::Table(TableChange { edit, by }) => {
            let by = written_by(by.as_deref());
            format!("{channel} {first}: {}{by}", written_edit(edit))
        }
    }
}

fn written_edit(edit: &Edit) -> String {
    match edit {
        Edit::Cells(cells) => {
            let cells =
                cells.iter().map(|cell| format!("{}[{}].{}={}", cell.row, cell.index, cell.column, cell.value.0));
            cells.collect::<Vec<_>>().join(" ")
        }
        Edit::Insert { row, index, cells } => {
            let cells: Vec<&str> = cells.iter().map(|value| &*value.0).collect();
            format!("{row} at {index} {}", cells.join(" "))
        }
        Edit::Move { row, from, to } => format!("{row} from {from} to {to}"),
        Edit::Delete { row, index } => format!("{row} gone from {index}"),
    }
}

/// A cell is its value, and behind `@` its revision and writer unless it was so from the beginning.
fn written_table(table: &Table) -> String {
    let cell = |cell: &tallycast::engine::table::Cell| match cell.revision {
        0 => format!(" {}", cell.value.0),
        revision => format!(" {}@{revision}{}", cell.value.0, written_by(cell.by.as_deref())),
    };
    let row = |row: &tallycast::engine::table::Row| {
        let cells: String = row.cells.iter().map(cell).collect();
        format!(" {}:{cell}", row.id, cell = cells)
    };
    table.rows().iter().map(row).collect()
}

fn written_editing(editing: &Editing) -> String {
    let cell = editing.cell.as_ref().map_or("nothing".to_owned(), written_cell);
    format!("{}{} {cell}", editing.who, written_by(editing.user.as_deref()))
}

fn written_cell(cell: &CellName) -> String {
    format!("{}.{}", cell.row, cell.column)
}

fn written_by(user: Option<&str>) -> String {
    user.map_or(String::new(), |user| format!(" by {user}"))
}

pub(super) const NEW: Act = Act::Attach { since: None };

pub(super) fn cast(choice: &str) -> Act {
    Act::Cast { choice: choice.into() }
}

/// To everyone.
pub(super) fn say(text: &str) -> Act {
    Act::Append { body: Body::Text(text.into()), from: None, echo: true, only_if_heard: false }
}

pub(super) fn attach(since: Option<Position>) -> Act {
    Act::Attach { since }
}

pub(super) fn listeners(count: u32) -> Act {
    Act::Listeners { count }
}

pub(super) fn join(user: &str, count: u32) -> Act {
    Act::Join { user: user.into(), count }
}

pub(super) fn leave(user: &str, count: u32) -> Act {
    Act::Leave { user: user.into(), count }
}

/// By bob.
pub(super) fn table(act: TableAct) -> Act {
    Act::Table { act, by: Some("bob".into()) }
}

/// A cell, written `row.column`.
pub(super) fn edit(cell: &str) -> Act {
    let (row, column) = cell.split_once('.').expect("row and column");
    Act::Editing { cell: Some(CellName { row: row.into(), column: column.into() }), by: None }
}

pub(super) const EDIT_NOTHING: Act = Act::Editing { cell: None, by: None };
