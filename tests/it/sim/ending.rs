//! How a seed ends: everything heals, everyone comes to rest, everyone leaves; each time the whole is judged.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;
use tallycast::base::limits::{LISTENERS_PACE, MIRROR_LINGER};

use super::clients::link::Requests;
use super::clients::path;
use super::setup::{COOKIE_WAIT, PING_INTERVAL, PING_TIMEOUT};
use super::world::World;

/// A channel's listeners, as they are.
#[derive(Debug, Default)]
struct Heard {
    count: u64,
    told: Vec<u64>,
    names: BTreeSet<String>,
    connections: Vec<String>,
}

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
        // Sessions of cookies, and of Engine.IO whose clients are gone without a word.
        let sessions = limits.session_idle.max(PING_INTERVAL + PING_TIMEOUT);
        self.pass(sessions + limits.close_wait + LISTENERS_PACE * 2 + Duration::from_secs(1));
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

    /// Only clients of Socket.IO that poll are left.
    fn check_sessions(&self) {
        for (id, core) in self.cores.iter().enumerate() {
            let census = core.shard.census();
            let here = self.clients.iter().filter_map(|client| client.polls()).filter(|(core, _)| *core == id);
            let expected =
                here.fold((0, 0), |(sessions, parked), (_, polls)| (sessions + 1, parked + usize::from(polls)));
            assert_eq!((census.sessions, census.parked_polls), expected, "core {id}: {census:?}");
        }
    }

    /// Listeners are counted right: as many as there are, and everyone was told.
    fn check_listeners(&mut self) {
        let mut heard: BTreeMap<String, Heard> = BTreeMap::new();
        for hears in self.clients.iter().flat_map(|client| client.all_heard()) {
            let of = heard.entry(hears.channel.to_owned()).or_default();
            of.count += 1;
            of.told.extend(hears.told);
            let again = hears.name.is_some_and(|name| !of.names.insert(name.to_owned()));
            if again {
                self.scene.coverage.hit("rest: two connections of one user");
            }
            of.connections.extend(hears.me.map(|me| me.to_string()));
        }
        // A connection that listens in two ways has one mark.
        for of in heard.values_mut() {
            of.connections.sort();
            of.connections.dedup();
        }
        for channel in self.scene.model.names() {
            let Heard { count, told, names, connections } = heard.remove(&channel).unwrap_or_default();
            let World { scene, .. } = self;
            assert!(told.iter().all(|told| *told == count), "{channel} has {count} listeners, told: {told:?}");
            if !told.is_empty() {
                scene.coverage.hit("rest: listeners counted right");
            }
            let crowd = scene.model.crowd(&channel);
            crowd.check_rest(&channel);
            assert_eq!(crowd.listeners(), count, "{channel}: as the engine has it");
            assert!(crowd.names.keys().eq(&names), "{channel}: {names:?} are there, not {:?}", crowd.names);
            let gone = crowd.marks.keys().find(|who| !connections.contains(*who));
            assert_eq!(gone, None, "{channel}: who is gone edits: {:?}, there are {connections:?}", crowd.marks);
            if !names.is_empty() {
                scene.coverage.hit("rest: names known");
            }
            self.check_members(&channel, count, &names);
        }
        assert!(heard.is_empty(), "what the engine never heard of: {heard:?}");
    }

    /// Who asks is told the same.
    fn check_members(&mut self, channel: &str, count: u64, names: &BTreeSet<String>) {
        let mut requests = Requests::open(&mut self.scene, "who is there");
        requests.ask("GET", &format!("/c/{}?members", path(channel)), "", b"", ());
        let response = loop {
            self.rest();
            let moved = self.scene.moved;
            requests.link.pump(&mut self.scene, true);
            if let Some(((), response)) = requests.next(&self.scene) {
                break response;
            }
            assert_ne!(self.scene.moved, moved, "{channel}: who is there is not answered");
        };
        requests.link.finish();
        requests.link.pump(&mut self.scene, true);
        self.rest();
        if response.status == 503 {
            return;
        }
        let expected = json!({"type": "members", "channel": channel, "listeners": count, "users": names});
        assert_eq!((response.status, response.json()), (200, expected));
        self.scene.coverage.hit("rest: members asked for");
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
                census.names,
            ];
            assert_eq!(of_clients, [0; 7], "core {id}: {census:?}{}", self.scene.drivers[id].describe());
            assert!(!late || (census.mirrors, census.timers) == (0, 0), "core {id}, late: {census:?}");
        }
    }
}
