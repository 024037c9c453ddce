//! Connections that listen to several channels. They get what all of them have in one send, not one for each: rounds pass
//! them by, for they lie among the laggards, and they are served one by one, once in a turn however much has come.

use super::Shard;
use super::delivery::LogReaders;
use crate::base::keys::{ConnKey, MirrorKey};

/// So many more than the readers of a log may stand in its list; who has left is taken out when it is read.
const GATHERERS_OVER: usize = 64;

impl Shard {
    /// A connection has one subscription more.
    pub(super) fn note_several(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get(key).filter(|conn| !conn.carried) else { return };
        let count = conn.subscriptions.len();
        // The first becomes one of several with the second.
        let new = match count {
            0 | 1 => return,
            2 => 0,
            _ => count - 1,
        };
        for index in new..count {
            let Some(subscription) = self.conns.get(key).and_then(|conn| conn.subscriptions.get(index)) else { return };
            let (mirror_key, log, place) = (subscription.mirror, subscription.log, subscription.place);
            let Some(mirror) = self.mirrors.get_mut(mirror_key) else { continue };
            let encoded = &mut mirror.logs[usize::from(log)];
            let mut readers = LogReaders { conns: &mut self.conns, mirror: mirror_key, log };
            encoded.log.demote(place, &mut readers);
            encoded.gatherers.push(key);
            if encoded.gatherers.len() > 2 * encoded.log.readers() + GATHERERS_OVER {
                self.gatherers_of(mirror_key, log);
            }
        }
        self.serve_soon(key);
    }

    /// Has those served that rounds pass by, in the logs to which something was added.
    pub(super) fn wake_gatherers(&mut self) {
        for (mirror, log) in std::mem::take(&mut self.gathering) {
            if let Some(mirror) = self.mirrors.get_mut(mirror) {
                mirror.logs[usize::from(log)].woken = false;
            }
            for key in self.gatherers_of(mirror, log) {
                self.serve_soon(key);
            }
        }
    }

    /// Who they are; those that are so no more are forgotten.
    fn gatherers_of(&mut self, key: MirrorKey, log: u8) -> Vec<ConnKey> {
        let Some(mirror) = self.mirrors.get_mut(key) else { return Vec::new() };
        let gatherers = &mut mirror.logs[usize::from(log)].gatherers;
        let conns = &self.conns;
        let mut known = std::mem::take(gatherers).into_iter().collect::<Vec<_>>();
        known.sort_unstable();
        known.dedup();
        known.retain(|conn| {
            conns.get(*conn).filter(|conn| conn.subscriptions.len() > 1).is_some_and(|conn| {
                conn.subscriptions.iter().any(|subscription| (subscription.mirror, subscription.log) == (key, log))
            })
        });
        for conn in &known {
            gatherers.push(*conn);
        }
        known
    }

    /// Has a log give back, at the end of the flush, what everyone has got: that costs a look at each laggard, and must not
    /// be done for each of them.
    pub(super) fn forget_soon(&mut self, key: MirrorKey, log: u8) {
        let Some(mirror) = self.mirrors.get_mut(key) else { return };
        let encoded = &mut mirror.logs[usize::from(log)];
        if !std::mem::replace(&mut encoded.forgets, true) {
            self.forgetting.push((key, log));
        }
    }

    /// Does what [`forget_soon`](Shard::forget_soon) put off.
    pub(super) fn forget_all(&mut self) {
        for (key, log) in std::mem::take(&mut self.forgetting) {
            if let Some(mirror) = self.mirrors.get_mut(key) {
                let encoded = &mut mirror.logs[usize::from(log)];
                encoded.forgets = false;
                encoded.log.forget();
            }
        }
    }
}
