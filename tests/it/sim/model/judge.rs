//! Judges what the engine sends.

use std::collections::BTreeMap;

use tallycast::base::keys::CoreId;
use tallycast::engine::{
    Act, Answer, Asker, Attached, Body, Change, EngineMail, Op, Origin, Outcome, Presence, Publication, State,
};

use super::present::Expected;
use super::table::Change as TableChange;
use super::{Entry, Life, Model, option};
use crate::sim::setup::Sort;

impl Model {
    /// Ops that the engine is about to get (not those of a batch that it had already).
    pub(crate) fn expect(&mut self, ops: &[Op]) {
        self.waiting = ops.to_vec();
    }

    /// Judges what came out of one call of the engine.
    pub(crate) fn observe(&mut self, from: Option<CoreId>, mail: &[(CoreId, EngineMail)]) {
        let ops = std::mem::take(&mut self.waiting);
        let changes = self.foresee(from, &ops, mail);
        let detached: Vec<(CoreId, String)> = from
            .iter()
            .flat_map(|core| {
                let gone = ops.iter().filter(|op| op.act == Act::Detach);
                gone.map(|op| (*core, op.channel.to_string()))
            })
            .collect();
        let mut answered = vec![false; ops.len()];
        for (core, mail) in mail {
            match mail {
                EngineMail::Publication(publication) => self.publication(*core, publication, &detached),
                EngineMail::Outcome(outcome) => {
                    let op = ops.iter().position(|op| op.ticket == outcome.ticket && op.channel == outcome.channel);
                    let Some(op) = op else { continue };
                    assert!(!answered[op], "answered twice: {:?}", ops[op]);
                    answered[op] = true;
                    self.outcome(*core, outcome, &ops[op], changes.get(&op), &detached);
                }
                EngineMail::Presence { channel, news: Presence::Editing(editing) } => {
                    self.crowd(channel).told(*core, editing);
                }
                EngineMail::Listeners { .. } | EngineMail::Presence { .. } => {}
                EngineMail::Failed { channel } => panic!("the engine failed in {channel}"),
            }
        }
        for (op, answered) in ops.iter().zip(answered) {
            let quiet = matches!(op.act, Act::Detach | Act::Listeners { .. } | Act::Leave { .. });
            assert_eq!(answered, !quiet, "an answer is missing, or too many: {op:?}");
        }
        for key in detached {
            let last =
                ops.iter().rfind(|op| *op.channel == *key.1 && matches!(op.act, Act::Attach { .. } | Act::Detach));
            if last.is_some_and(|op| op.act == Act::Detach) {
                self.attached.remove(&key);
            }
        }
    }

    /// What the ops come to: judges their answers and who is told that somebody came or went. Returns the tables' changes.
    fn foresee(
        &mut self,
        from: Option<CoreId>,
        ops: &[Op],
        mail: &[(CoreId, EngineMail)],
    ) -> BTreeMap<usize, TableChange> {
        let mut expected: BTreeMap<(CoreId, String), Vec<Presence>> = BTreeMap::new();
        let mut changes = BTreeMap::new();
        let users_max = self.users_max;
        for (index, op) in ops.iter().enumerate() {
            let core = from.expect("a batch has a core");
            let result = mail.iter().find_map(|(_, mail)| match mail {
                EngineMail::Outcome(outcome) if outcome.ticket == op.ticket && outcome.channel == op.channel => {
                    Some(&outcome.result)
                }
                _ => None,
            });
            let result = result.filter(|_| !matches!(op.act, Act::Detach | Act::Listeners { .. } | Act::Leave { .. }));
            let mut told = Expected::new();
            let change = self.crowd(&op.channel).take(core, op, result, users_max, &mut told);
            changes.extend(change.map(|change| (index, change)));
            for (core, news) in told {
                expected.entry((core, op.channel.to_string())).or_default().push(news);
            }
            if let (Some(Ok(Answer::Joined { at, heard })), Asker::Connection(_)) = (result, op.ticket.asker) {
                let who = Origin { core, asker: op.ticket.asker }.to_string();
                self.joined.insert((op.channel.to_string(), who), (at.epoch.0, at.revision, *heard));
            }
        }
        let mut found: BTreeMap<(CoreId, String), Vec<Presence>> = BTreeMap::new();
        for (core, mail) in mail {
            if let EngineMail::Presence { channel, news } = mail
                && !matches!(news, Presence::Editing(_))
            {
                found.entry((*core, channel.to_string())).or_default().push(news.clone());
            }
        }
        assert_eq!(found, expected, "first joins and last leaves, each once and in order");
        changes
    }

    fn publication(&mut self, core: CoreId, publication: &Publication, detached: &[(CoreId, String)]) {
        let name = publication.channel.to_string();
        self.record(publication);
        let key = (core, name);
        match self.attached.get_mut(&key) {
            Some((epoch, last)) => {
                let expected = (*epoch, *last + 1);
                let found = (publication.epoch.0, publication.first);
                assert_eq!(found, expected, "promise 1: publications to core {} in order", core.0);
                *last = publication.last;
            }
            None => assert!(detached.contains(&key), "{key:?} is not attached and gets a publication"),
        }
    }

    fn record(&mut self, publication: &Publication) {
        let count = (publication.last + 1 - publication.first) as usize;
        let mut skip = None;
        let entries = match &publication.change {
            Change::Message(message) => {
                skip = message.skip;
                vec![said(&message.body, message.from.as_deref())]
            }
            Change::Table(change) => vec![Entry::Table(TableChange::of(change))],
            Change::Tally { steps, .. } => steps.iter().map(|step| Entry::Vote(step.option.into())).collect(),
        };
        assert_eq!(entries.len(), count, "as many changes as revisions: {publication:?}");
        let life = self.life_of(&publication.channel, publication.epoch.0);
        life.record(publication.first, entries, skip);
        life.ends.insert(publication.last);
        self.note_message(&publication.channel, publication.first);
        let life = self.life_of(&publication.channel, publication.epoch.0);
        if let Change::Tally { steps, counts } = &publication.change {
            assert_eq!(**counts, life.counts(publication.last)[..], "{publication:?}");
            for (revision, step) in (publication.first..).zip(steps) {
                assert_eq!(step.count, life.counts(revision)[usize::from(step.option)], "{publication:?}");
            }
        }
    }

    /// Remembers where a message stands.
    fn note_message(&mut self, name: &str, revision: u64) {
        if !matches!(Sort::of(name), Sort::Group | Sort::Direct) {
            return;
        }
        let channel = self.channel(name);
        let life = channel.lives.len() - 1;
        let bytes = match channel.lives[life].entry(revision) {
            Entry::Text(text, _) => text.clone().into_bytes(),
            Entry::Binary(bytes, _) => bytes.clone(),
            Entry::Vote(_) | Entry::Table(_) => return,
        };
        let before = channel.messages.insert(bytes, (life, revision));
        assert!(before.is_none_or(|before| before == (life, revision)), "{name}: no message is sent twice");
    }

    fn life_of(&mut self, name: &str, epoch: u64) -> &mut Life {
        let channel = self.channel(name);
        if !channel.lives.iter().any(|life| life.epoch == epoch) {
            channel.lives.push(Life::new(epoch, Sort::of(name)));
        }
        let last = channel.lives.last_mut().expect("one at least");
        assert_eq!(last.epoch, epoch, "{name}: an epoch that has ended speaks");
        last
    }

    fn outcome(
        &mut self,
        core: CoreId,
        outcome: &Outcome,
        op: &Op,
        change: Option<&TableChange>,
        detached: &[(CoreId, String)],
    ) {
        let name = outcome.channel.to_string();
        match &outcome.result {
            Ok(Answer::Accepted(at)) => {
                let mut skip = None;
                let entry = match &op.act {
                    Act::Cast { choice } => Entry::Vote(option(choice)),
                    Act::Append { body, from, echo, .. } => {
                        skip = (!echo).then_some(Origin { core, asker: op.ticket.asker });
                        said(body, from.as_deref())
                    }
                    Act::Table { .. } => Entry::Table(change.expect("foreseen").clone()),
                    // It changes nothing that has a revision.
                    Act::Editing { .. } => return,
                    other => panic!("accepted: {other:?}"),
                };
                let revision = at.revision;
                self.life_of(&name, at.epoch.0).record(revision, vec![entry], skip);
                self.note_message(&name, revision);
                for (key, (_, last)) in &self.attached {
                    let behind = key.1 == name && *last < revision && !detached.contains(key);
                    assert!(!behind, "promise 2: {at} is answered, core {} has only {last}", key.0.0);
                }
            }
            Ok(Answer::Attached(attached)) => self.attach(core, &name, attached, op),
            Ok(Answer::Joined { .. }) | Err(_) => {}
        }
    }

    fn attach(&mut self, core: CoreId, name: &str, attached: &Attached, op: &Op) {
        let end = self.life_of(name, attached.at.epoch.0).end();
        assert_eq!(attached.at.revision, end, "{name}: attached at the present position");
        for publication in &attached.recent {
            assert_eq!(publication.epoch, attached.at.epoch);
            self.record(publication);
        }
        let pairs = attached.recent.windows(2);
        assert!(pairs.into_iter().all(|pair| pair[0].last + 1 == pair[1].first), "recent has a gap");
        assert!(attached.recent.last().is_none_or(|last| last.last == end), "recent ends early");
        if let State::Tally { counts, .. } = &attached.state {
            let life = self.life_of(name, attached.at.epoch.0);
            assert_eq!(counts[..], life.counts(end)[..], "{name}: the state at {}", attached.at);
        }
        assert!(matches!(op.act, Act::Attach { .. }), "attached: {op:?}");
        self.attached.insert((core, name.to_owned()), (attached.at.epoch.0, attached.at.revision));
    }
}

fn said(body: &Body, from: Option<&str>) -> Entry {
    let from = from.map(str::to_owned);
    match body {
        Body::Text(text) => Entry::Text(text.to_string(), from),
        Body::Binary(bytes) => Entry::Binary(bytes.to_vec(), from),
    }
}
