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
    /// One who listens to a channel in two dialects has two names there.
    by_asker: Map<(Asker, MirrorKey, DialectId), UserName>,
    counts: Map<(MirrorKey, UserName), u32>,
    /// Who edits a cell of which channel's table.
    editing: Map<(Asker, MirrorKey), ()>,
}

impl Names {
    pub(super) fn new(seed: Seed) -> Names {
        Names { by_asker: Map::with_hasher(seed), counts: Map::with_hasher(seed), editing: Map::with_hasher(seed) }
    }

    /// How many listen under names.
    pub(super) fn len(&self) -> usize {
        self.by_asker.len()
    }

    /// A mirror is gone, and with it what its channel knows of this core.
    pub(super) fn forget(&mut self, mirror: MirrorKey) {
        self.counts.retain(|(of, _), _| *of != mirror);
        self.by_asker.retain(|(_, of, _), _| *of != mirror);
        self.editing.retain(|(_, of), _| *of != mirror);
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
        let count = self.names.counts.entry((mirror, user.clone())).or_insert(0);
        *count += 1;
        let count = *count;
        self.ask(&target, who, number, Act::Join { user: user.clone(), count });
        number
    }

    /// Tells the engine that `who` listens no more, if it had a name, and that it edits nothing.
    pub(super) fn depart(&mut self, mirror: MirrorKey, who: Asker, dialect: DialectId) {
        let user = self.names.by_asker.remove(&(who, mirror, dialect));
        let edited = self.names.editing.remove(&(who, mirror)).is_some();
        let Some(target) = self.mirrors.get(mirror).map(|mirror| mirror.target()) else { return };
        if edited {
            let number = self.next_number();
            self.ask(&target, who, number, Act::Editing { cell: None, by: None });
        }
        let Some(user) = user else { return };
        let key = (mirror, user.clone());
        let Some(count) = self.names.counts.get_mut(&key) else { return };
        *count -= 1;
        let count = *count;
        if count == 0 {
            self.names.counts.remove(&key);
        }
        self.ask(&target, who, 0, Act::Leave { user, count });
    }

    /// Tells the engine again who listens here: it may have forgotten.
    pub(super) fn enter_again(&mut self, mirror: MirrorKey, target: &Target) {
        let counts: Vec<(UserName, u32)> = self
            .names
            .counts
            .iter()
            .filter(|((of, _), _)| *of == mirror)
            .map(|((_, user), count)| (user.clone(), *count))
            .collect();
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
            self.names.editing.insert((who, mirror), ());
        } else {
            self.names.editing.remove(&(who, mirror));
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
        let name = format!("{prefix}{user}");
        (name.len() <= crate::base::limits::CHANNEL_NAME_BYTES_MAX)
            .then(|| Target { channel: name.into(), class: target.class })
    }
}
