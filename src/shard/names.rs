//! Under which names the connections and sessions of this core listen, and which of them edit a cell: the engine is told
//! of every one that comes or goes.

use super::{Shard, Target};
use crate::base::hash::{Map, Seed};
use crate::base::keys::MirrorKey;
use crate::engine::{Act, Asker, UserName};
use crate::kind::{Kind, user_name};
use crate::route::{DialectId, Pattern};

/// See the module.
#[derive(Debug)]
pub(super) struct Names {
    seed: Seed,
    /// One who listens to a channel in two dialects has two names there.
    by_asker: Map<(Asker, MirrorKey, DialectId), UserName>,
    /// Only mirrors that anybody with a name, or who edits, listens to.
    by_mirror: Map<MirrorKey, Present>,
}

/// What the engine was told of one channel.
#[derive(Debug)]
struct Present {
    counts: Map<UserName, u32>,
    /// Who edits a cell. At most `users_max` of them, so looking through is cheap.
    editing: Vec<Asker>,
}

impl Names {
    pub(super) fn new(seed: Seed) -> Names {
        Names { seed, by_asker: Map::with_hasher(seed), by_mirror: Map::with_hasher(seed) }
    }

    /// How many listen under names.
    pub(super) fn len(&self) -> usize {
        self.by_asker.len()
    }

    /// A mirror is gone, and with it what its channel knows of this core.
    pub(super) fn forget(&mut self, mirror: MirrorKey) {
        // Hardly ever: who had a name there left before, unless the channel failed.
        if self.by_mirror.remove(&mirror).is_some() {
            self.by_asker.retain(|(_, of, _), _| *of != mirror);
        }
    }

    fn present(&mut self, mirror: MirrorKey) -> &mut Present {
        let seed = self.seed;
        let present = || Present { counts: Map::with_hasher(seed), editing: Vec::new() };
        self.by_mirror.entry(mirror).or_insert_with(present)
    }

    /// One more under this name: how many there are now.
    fn add(&mut self, mirror: MirrorKey, user: &UserName) -> u32 {
        let count = self.present(mirror).counts.entry(user.clone()).or_insert(0);
        *count += 1;
        *count
    }

    /// One fewer: how many are left, if there were any.
    fn remove(&mut self, mirror: MirrorKey, user: &UserName) -> Option<u32> {
        let present = self.by_mirror.get_mut(&mirror)?;
        let count = present.counts.get_mut(user)?;
        *count -= 1;
        let left = *count;
        if left == 0 {
            present.counts.remove(user);
            self.tidy(mirror);
        }
        Some(left)
    }

    fn begin_editing(&mut self, mirror: MirrorKey, who: Asker) {
        let editing = &mut self.present(mirror).editing;
        if !editing.contains(&who) {
            editing.push(who);
        }
    }

    /// Whether it edited anything.
    fn end_editing(&mut self, mirror: MirrorKey, who: Asker) -> bool {
        let Some(present) = self.by_mirror.get_mut(&mirror) else { return false };
        let found = present.editing.iter().position(|known| *known == who);
        if let Some(index) = found {
            present.editing.swap_remove(index);
            self.tidy(mirror);
        }
        found.is_some()
    }

    fn tidy(&mut self, mirror: MirrorKey) {
        let unused = |present: &Present| present.counts.is_empty() && present.editing.is_empty();
        if self.by_mirror.get(&mirror).is_some_and(unused) {
            self.by_mirror.remove(&mirror);
        }
    }
}

impl Shard {
    /// Tells the engine that `who` listens to the mirror's channel under this name. Returns the number under which the
    /// answer comes.
    pub(super) fn enter(&mut self, mirror: MirrorKey, who: Asker, dialect: DialectId, user: &UserName) -> u32 {
        self.depart(mirror, who, dialect);
        let number = self.next_number();
        let Some(target) = self.mirrors.get(mirror).map(|mirror| mirror.target()) else { return number };
        self.names.by_asker.insert((who, mirror, dialect), user.clone());
        let count = self.names.add(mirror, user);
        self.ask(&target, who, number, Act::Join { user: user.clone(), count });
        number
    }

    /// Tells the engine that `who` listens no more, if it had a name, and that it edits nothing.
    pub(super) fn depart(&mut self, mirror: MirrorKey, who: Asker, dialect: DialectId) {
        let user = self.names.by_asker.remove(&(who, mirror, dialect));
        let edited = self.names.end_editing(mirror, who);
        let Some(target) = self.mirrors.get(mirror).map(|mirror| mirror.target()) else { return };
        if edited {
            let number = self.next_number();
            self.ask(&target, who, number, Act::Editing { cell: None, by: None });
        }
        let Some(user) = user else { return };
        let Some(count) = self.names.remove(mirror, &user) else { return };
        self.ask(&target, who, 0, Act::Leave { user, count });
    }

    /// Tells the engine again who listens here: it may have forgotten.
    pub(super) fn enter_again(&mut self, mirror: MirrorKey, target: &Target) {
        let Some(present) = self.names.by_mirror.get(&mirror) else { return };
        let counts: Vec<(UserName, u32)> = present.counts.iter().map(|(user, count)| (user.clone(), *count)).collect();
        for (user, count) in counts {
            let number = self.next_number();
            self.ask(target, Asker::Mirror(mirror), number, Act::Join { user, count });
        }
    }

    /// Remembers whether `who` edits a cell, so that this ends with it.
    pub(super) fn note_editing(&mut self, channel: &str, who: Asker, act: &Act) {
        let Act::Editing { cell, .. } = act else { return };
        let Some(mirror) = self.channels.get(channel).copied() else { return };
        if cell.is_some() {
            self.names.begin_editing(mirror, who);
        } else {
            self.names.end_editing(mirror, who);
        }
    }

    /// The name that a channel itself gives to who listens to it: of `direct`, the channel is the user's.
    pub(super) fn user_of(&self, target: &Target) -> Option<UserName> {
        let class = self.setup.class(target.class);
        match &class.pattern {
            Pattern::Prefix(prefix) if class.kind == Kind::Direct => user_name(&target.channel[prefix.len()..]).ok(),
            Pattern::Prefix(_) | Pattern::Name(_) => None,
        }
    }

    /// The channel of a user, of the class that `target` is of. `None`: the name makes it too long.
    pub(super) fn channel_of(&self, target: &Target, user: &str) -> Option<Target> {
        let Pattern::Prefix(prefix) = &self.setup.class(target.class).pattern else { return None };
        self.setup.target(&format!("{prefix}{user}"))
    }
}
