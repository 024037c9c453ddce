//! Under which names people listen: every core says how many of its listeners have a name, and a name is present while
//! any core has one.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::contract::{Refusal, UserName};
use crate::base::keys::CoreId;

/// The names of one channel, in their order. Comparing them needs no secret: no choice of names can make it slow.
#[derive(Default, Debug)]
pub struct Names {
    /// How many on which cores. Invariant: never none, and no core twice.
    present: BTreeMap<UserName, SmallVec<[(CoreId, u32); 1]>>,
}

impl Names {
    /// So many of the core's listeners have the name now, at least one. Whether it is present for the first time.
    ///
    /// # Errors
    /// With `names_max` other names.
    pub fn join(&mut self, core: CoreId, name: &UserName, count: u32, names_max: usize) -> Result<bool, Refusal> {
        let count = count.max(1);
        if let Some(cores) = self.present.get_mut(name) {
            match cores.iter_mut().find(|(known, _)| *known == core) {
                Some((_, known)) => *known = count,
                None => cores.push((core, count)),
            }
            return Ok(false);
        }
        if self.present.len() >= names_max {
            return Err(Refusal::Full { bound: "limits.users_max" });
        }
        self.present.insert(name.clone(), SmallVec::from_buf([(core, count)]));
        Ok(true)
    }

    /// So many of the core's listeners still have the name. Whether it is gone now. A core that has not joined it, or was
    /// refused, has nothing to leave.
    pub fn leave(&mut self, core: CoreId, name: &UserName, count: u32) -> bool {
        let Some(cores) = self.present.get_mut(name) else { return false };
        for (_, known) in cores.iter_mut().filter(|(known, _)| *known == core) {
            *known = count;
        }
        cores.retain(|(_, known)| *known > 0);
        if cores.is_empty() {
            self.present.remove(name);
            return true;
        }
        false
    }

    /// Forgets the core. The names that are gone with it, in their order.
    pub fn drop_core(&mut self, core: CoreId) -> Vec<UserName> {
        let mut gone = Vec::new();
        self.present.retain(|name, cores| {
            cores.retain(|(known, _)| *known != core);
            if cores.is_empty() {
                gone.push(name.clone());
            }
            !cores.is_empty()
        });
        gone
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    /// All, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &UserName> {
        self.present.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: CoreId = CoreId(0);
    const B: CoreId = CoreId(1);

    #[test]
    fn a_name_comes_once_and_goes_once() {
        let mut names = Names::default();
        let (ming, bob): (UserName, UserName) = ("小明".into(), "bob".into());
        let present = |names: &Names| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        assert_eq!(names.join(A, &ming, 1, 2), Ok(true));
        assert_eq!(names.join(A, &ming, 2, 2), Ok(false));
        assert_eq!(names.join(B, &ming, 1, 2), Ok(false));
        assert_eq!(names.join(B, &bob, 1, 2), Ok(true));
        assert_eq!(present(&names), ["bob", "小明"]);
        let full = Err(Refusal::Full { bound: "limits.users_max" });
        assert_eq!(names.join(A, &"eve".into(), 1, 2), full);
        assert!(!names.leave(A, &"eve".into(), 0), "it was never there");
        assert!(!names.leave(A, &"eve".into(), 1), "nor does it come by leaving");
        assert_eq!(names.join(A, &bob, 1, 2), Ok(false), "no other name");
        assert!(!names.leave(A, &ming, 1));
        assert!(!names.leave(A, &ming, 0));
        assert!(!names.leave(A, &ming, 0), "it is still there on the other core");
        assert!(names.leave(B, &ming, 0));
        assert!(!names.leave(B, &ming, 0));
        assert_eq!(present(&names), ["bob"]);
        assert_eq!(names.drop_core(A), [] as [UserName; 0]);
        assert_eq!(names.drop_core(B), [bob]);
        assert!(names.is_empty());
    }
}
