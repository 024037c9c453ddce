//! How a seed ends: everything heals, everyone comes to rest, everyone leaves; each time the whole is judged.

use std::collections::BTreeMap;
use std::time::Duration;

use tallycast::base::limits::{LISTENERS_PACE, MIRROR_LINGER};

use super::setup::COOKIE_WAIT;
use super::world::World;

impl World {
    /// All of the ending.
    pub(crate) fn end(&mut self) {
        self.calm();
        let limits = self.scene.knobs.limits.clone();
        // Longer than any poll is parked here, and than any heartbeat or ping takes.
        self.pass(COOKIE_WAIT + Duration::from_secs(5));
        let World { clients, scene, .. } = self;
        clients.iter_mut().for_each(|client| client.check_rest(scene));
        scene.model.check_ledger();

        let pollers = self.clients.iter_mut().filter(|client| client.is_poller());
        pollers.for_each(|client| client.leave());
        self.pass(limits.session_idle + limits.close_wait + LISTENERS_PACE * 2 + Duration::from_secs(1));
        self.check_sessions();
        self.check_listeners();

        if self.scene.knobs.stops {
            self.stop();
            self.pass(limits.stop_wait + limits.close_wait + Duration::from_secs(1));
            for (id, core) in self.cores.iter().enumerate() {
                assert!(core.shard.is_stopped(), "core {id} does not stop: {:?}", core.shard.census());
                assert_eq!(core.shard.census().connections, 0, "core {id} stops with connections");
            }
            return;
        }
        self.clients.iter_mut().for_each(|client| client.leave());
        self.pass(limits.close_wait * 2 + Duration::from_secs(1));
        self.check_census(false);
        self.pass(MIRROR_LINGER + limits.keep_alive + limits.head_wait + Duration::from_secs(1));
        self.check_census(true);
    }

    fn check_sessions(&self) {
        for (id, core) in self.cores.iter().enumerate() {
            let census = core.shard.census();
            assert_eq!((census.sessions, census.parked_polls), (0, 0), "core {id}: {census:?}");
        }
    }

    /// Listeners are counted right: as many as there are, and everyone was told.
    fn check_listeners(&mut self) {
        let mut heard: BTreeMap<&str, (u64, Vec<u64>)> = BTreeMap::new();
        for (channel, told) in self.clients.iter().filter_map(|client| client.hears()) {
            let of = heard.entry(channel).or_default();
            of.0 += 1;
            of.1.extend(told);
        }
        for (channel, (count, told)) in &heard {
            assert!(told.iter().all(|told| told == count), "{channel} has {count} listeners, told: {told:?}");
            if !told.is_empty() {
                self.scene.coverage.hit("rest: listeners counted right");
            }
        }
    }

    /// Nobody is there any more. `late`: and what lingers is gone too.
    pub(crate) fn check_census(&self, late: bool) {
        for (id, core) in self.cores.iter().enumerate() {
            let census = core.shard.census();
            let of_clients = [
                census.connections,
                census.sessions,
                census.parked_polls,
                census.subscribers,
                census.private_bytes,
                census.send_log_bytes,
            ];
            assert_eq!(of_clients, [0; 6], "core {id}: {census:?}{}", self.scene.drivers[id].describe());
            assert!(!late || (census.mirrors, census.timers) == (0, 0), "core {id}, late: {census:?}");
        }
    }
}
