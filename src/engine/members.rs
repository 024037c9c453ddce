//! Who is there: which cores are attached to a channel, how many listen on each, and who was told which sum.

use smallvec::SmallVec;

use crate::base::keys::CoreId;
use crate::base::limits::LISTENERS_PACE;
use crate::base::time::Time;

/// One core's part. A core may have listeners before it is attached.
#[derive(Clone, Copy, Debug)]
struct Member {
    core: CoreId,
    attached: bool,
    listeners: u32,
    /// The sum that the core knows. Invariant: only an attached core is told, and one whose number is not the present
    /// sum is told at the next announcement.
    told: u32,
}

/// The cores of one channel. A core that neither is attached nor has listeners is not remembered.
#[derive(Default, Debug)]
pub struct Members {
    members: SmallVec<[Member; 1]>,
    announced: Option<Time>,
}

/// When to announce the sum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Announce {
    /// Everybody knows it.
    Never,
    /// Now.
    Now,
    /// The last announcement is too near: at this time.
    At(Time),
}

impl Members {
    /// The core gets the channel's publications from now on; the answer tells it the present sum.
    pub fn attach(&mut self, core: CoreId) {
        let told = self.sum();
        let member = self.member(core);
        (member.attached, member.told) = (true, told);
    }

    /// Forgets the core and its listeners.
    pub fn detach(&mut self, core: CoreId) {
        self.members.retain(|member| member.core != core);
    }

    /// How many listen on the core.
    pub fn listen(&mut self, core: CoreId, count: u32) {
        self.member(core).listeners = count;
        self.members.retain(|member| member.attached || member.listeners > 0);
    }

    /// How many listen on all cores together.
    pub fn sum(&self) -> u32 {
        let listeners = self.members.iter().map(|member| member.listeners);
        listeners.fold(0, u32::saturating_add)
    }

    /// Whether anyone listens.
    pub fn is_heard(&self) -> bool {
        self.members.iter().any(|member| member.listeners > 0)
    }

    /// The cores that are attached.
    pub fn attached(&self) -> impl Iterator<Item = CoreId> + Clone {
        self.members.iter().filter(|member| member.attached).map(|member| member.core)
    }

    /// Whether, and when, the sum is to be announced.
    pub fn announce(&self, now: Time) -> Announce {
        let sum = self.sum();
        if !self.members.iter().any(|member| member.attached && member.told != sum) {
            return Announce::Never;
        }
        match self.announced.map(|announced| announced + LISTENERS_PACE) {
            Some(at) if at > now => Announce::At(at),
            Some(_) | None => Announce::Now,
        }
    }

    /// Announces the sum: the cores that do not know it yet are told by `tell`.
    pub fn announced(&mut self, now: Time, mut tell: impl FnMut(CoreId, u32)) {
        let sum = self.sum();
        self.announced = Some(now);
        let unaware = |member: &&mut Member| member.attached && member.told != sum;
        for member in self.members.iter_mut().filter(unaware) {
            member.told = sum;
            tell(member.core, sum);
        }
    }

    fn member(&mut self, core: CoreId) -> &mut Member {
        let index = self.members.iter().position(|member| member.core == core);
        let index = index.unwrap_or_else(|| {
            self.members.push(Member { core, attached: false, listeners: 0, told: 0 });
            self.members.len() - 1
        });
        &mut self.members[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: CoreId = CoreId(0);
    const B: CoreId = CoreId(1);

    fn tell(members: &mut Members, now: Time) -> Vec<(CoreId, u32)> {
        let mut told = Vec::new();
        members.announced(now, |core, count| told.push((core, count)));
        told
    }

    #[test]
    fn a_sum_that_came_back_is_still_told_to_who_knows_another() {
        let start = Time::from_millis(1000);
        let mut members = Members::default();
        members.attach(A);
        assert_eq!(members.announce(start), Announce::Never);
        members.listen(A, 5);
        assert_eq!(members.announce(start), Announce::Now);
        assert_eq!(tell(&mut members, start), [(A, 5)]);
        members.listen(A, 6);
        let due = start + LISTENERS_PACE;
        assert_eq!(members.announce(start), Announce::At(due));
        members.attach(B); // B is told 6 by its answer.
        members.listen(A, 5);
        assert_eq!(members.announce(due), Announce::Now);
        assert_eq!(tell(&mut members, due), [(B, 5)]);
        assert_eq!(members.announce(due), Announce::Never);
    }

    #[test]
    fn numbers_are_absolute_and_go_with_their_core() {
        let mut members = Members::default();
        members.listen(A, 2); // Before it is attached.
        members.attach(A);
        members.attach(B);
        members.listen(B, u32::MAX);
        assert_eq!(members.sum(), u32::MAX);
        members.listen(B, 3);
        members.listen(B, 4);
        assert_eq!(members.sum(), 6);
        members.detach(A);
        members.detach(A);
        assert_eq!((members.sum(), members.attached().collect::<Vec<_>>()), (4, vec![B]));
        members.listen(A, 1);
        members.listen(A, 0);
        members.detach(B);
        assert!(members.members.is_empty());
    }
}
