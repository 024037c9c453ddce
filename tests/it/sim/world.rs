//! The whole server and all its clients, in one thread: shards, engine, mail, network and time, moved on by one seed.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tallycast::base::hash::Seed;
use tallycast::base::io::Driver;
use tallycast::base::keys::CoreId;
use tallycast::base::limits::{SEGMENT_BYTES_MAX, TURN_MESSAGES_MAX};
use tallycast::base::time::Time;
use tallycast::engine::embedded::{Embedded, Outbox};
use tallycast::engine::{Act, Batch, ChannelName, EngineMail, Op, Ticket};
use tallycast::route::SharedSetup;
use tallycast::shard::{Mail, Post, Shard};

use super::clients::Client;
use super::random::Random;
use super::scene::Scene;
use super::setup::{Knobs, setup};

/// What waits for one core.
#[derive(Debug, Default)]
struct Inbox {
    mail: VecDeque<Mail>,
    /// Something was dropped since the last drain.
    overflowed: bool,
}

/// One core, and when it wants its next turn.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) shard: Shard,
    wake: Option<Time>,
    /// Its last flush left something.
    more: bool,
    /// Its last mail was given back.
    given_back: bool,
    /// Numbers of batches rise by one.
    batch: u64,
    attaching: Attaching,
}

/// The channels whose attachment a core waits for.
#[derive(Debug, Default)]
struct Attaching(BTreeMap<ChannelName, Ticket>);

impl Attaching {
    fn asked(&mut self, ops: &[Op]) {
        for op in ops {
            if matches!(op.act, Act::Attach { .. }) {
                self.0.insert(op.channel.clone(), op.ticket);
            } else if op.act == Act::Detach {
                self.0.remove(&op.channel);
            }
        }
    }

    fn heard(&mut self, mail: &Mail) {
        if let Mail::Engine(EngineMail::Outcome(outcome)) = mail
            && self.0.get(&outcome.channel) == Some(&outcome.ticket)
        {
            self.0.remove(&outcome.channel);
        }
    }
}

/// See the module.
pub(crate) struct World {
    pub(crate) scene: Scene,
    pub(crate) cores: Vec<Core>,
    pub(crate) clients: Vec<Box<dyn Client>>,
    inboxes: Vec<Inbox>,
    engine: Embedded,
    engine_wake: Option<Time>,
    to_engine: Vec<VecDeque<Batch>>,
    from_engine: VecDeque<(CoreId, EngineMail)>,
    /// The model judges what the engine says.
    judged: bool,
}

impl World {
    pub(crate) fn new(knobs: Knobs, random: Random) -> World {
        let setup = setup(&knobs);
        World { judged: true, ..World::of(&setup, knobs, random) }
    }

    /// With a setup of one's own, which the model does not know.
    pub(crate) fn of(setup: &SharedSetup, knobs: Knobs, mut random: Random) -> World {
        let cores = knobs.cores;
        let scene = Scene::new(knobs, random.fork());
        let now = scene.now;
        let core = |id: usize, random: &mut Random| Core {
            shard: Shard::new(
                setup.clone(),
                CoreId(id as u16),
                cores as u16,
                Seed(random.next(), random.next()),
                now,
                Duration::from_secs(1_700_000_000),
            ),
            wake: None,
            more: false,
            given_back: false,
            batch: 0,
            attaching: Attaching::default(),
        };
        World {
            cores: (0..cores).map(|id| core(id, &mut random)).collect(),
            clients: Vec::new(),
            inboxes: (0..cores).map(|_| Inbox::default()).collect(),
            engine: Embedded::new(setup.specs(), setup.limits.channels_max, Seed(random.next(), random.next()), now),
            engine_wake: None,
            to_engine: (0..cores).map(|_| VecDeque::new()).collect(),
            from_engine: VecDeque::new(),
            judged: false,
            scene,
        }
    }

    /// One thing happens, whatever chance picks.
    pub(crate) fn step(&mut self) {
        match self.scene.random.below(100) {
            0..35 => {
                let core = self.scene.random.below(self.cores.len());
                self.turn(core);
            }
            35..50 => {
                for _ in 0..self.scene.random.upto(3) {
                    self.run_engine();
                }
                let all = self.scene.random.chance(80);
                let some = self.scene.random.below(self.from_engine.len() + 1);
                self.deliver(if all { usize::MAX } else { some });
            }
            50..55 => self.move_time(),
            55..98 => {
                let client = self.scene.random.below(self.clients.len());
                self.clients[client].act(&mut self.scene);
            }
            _ => {
                let core = self.scene.random.below(self.cores.len());
                let cuts = self.scene.knobs.cuts;
                let cut = self.scene.random.rarely(cuts * 20);
                if cut || self.scene.random.chance(20) {
                    self.scene.drivers[core].trouble(cut);
                }
            }
        }
        self.check_bounds();
    }

    /// One turn of a core, in the order that net keeps.
    pub(crate) fn turn(&mut self, id: usize) {
        let World { scene, cores, inboxes, to_engine, .. } = self;
        let core = &mut cores[id];
        let driver = &mut scene.drivers[id];
        driver.now = scene.now;
        driver.turn(Some(Duration::ZERO), &mut core.shard).expect("this driver does not fail");
        if std::mem::take(&mut inboxes[id].overflowed) {
            scene.trace.print(scene.now, || format!("core {id}: its inbox overflowed"));
            scene.coverage.hit("core: inbox overflowed");
            core.shard.inbox_overflowed();
        }
        for mail in inboxes[id].mail.drain(..) {
            scene.trace.print(scene.now, || format!("core {id}: gets {mail:?}"));
            core.attaching.heard(&mail);
            core.shard.mail(mail);
        }
        core.shard.advance(scene.now);
        core.more = core.shard.flush(driver);
        if core.more {
            scene.coverage.hit("core: flush left something");
        }
        // What was given back gathers more; otherwise a batch is what one turn has read, and what mirrors ask.
        let slice = if core.given_back { usize::MAX } else { TURN_MESSAGES_MAX + 100 };
        core.given_back = false;
        let Core { shard, batch, given_back, attaching, .. } = core;
        shard.take_mail(|post| {
            let (inbox_max, batches_max) = (scene.knobs.inbox_max, scene.knobs.batches_max);
            let given = match post {
                Post::Engine(given) if to_engine[id].len() >= batches_max => Post::Engine(given),
                Post::Engine(given) => {
                    assert_eq!((given.core, given.number), (CoreId(id as u16), *batch + 1), "batches are numbered");
                    assert!(!given.ops.is_empty(), "an empty batch");
                    assert!(given.ops.len() <= slice, "{} ops in one turn", given.ops.len());
                    *batch = given.number;
                    attaching.asked(&given.ops);
                    scene.trace.print(scene.now, || format!("core {id}: asks {given:?}"));
                    to_engine[id].push_back(given);
                    return Ok(());
                }
                Post::Core(to, mail) => {
                    let inbox = &mut inboxes[usize::from(to.0)].mail;
                    if inbox.is_empty() || inbox.len() + mail.len() <= inbox_max {
                        scene.trace.print(scene.now, || format!("core {id}: sends to {to:?} {mail:?}"));
                        scene.coverage.hit("core: mail to another core");
                        inbox.extend(mail);
                        return Ok(());
                    }
                    Post::Core(to, mail)
                }
            };
            *given_back = true;
            scene.coverage.hit("core: mail given back");
            Err(given)
        });
        // What was given back may hide that a channel is asked for.
        if *given_back || !attaching.0.is_empty() {
            scene.unattached[id] = scene.now;
        }
        core.wake = shard.deadline();
    }

    /// The engine does a batch, or what time brings.
    pub(crate) fn run_engine(&mut self) {
        let mut out = Outbox::default();
        let waiting: Vec<usize> = (0..self.to_engine.len()).filter(|core| !self.to_engine[*core].is_empty()).collect();
        let mut from = None;
        if !waiting.is_empty() {
            let core = self.scene.random.pick(&waiting);
            let batch = self.to_engine[core].pop_front().expect("it waits");
            from = Some(batch.core);
            if self.judged {
                self.scene.model.expect(&batch.ops);
            }
            let again = self.scene.random.chance(10).then(|| batch.clone());
            self.engine.batch(batch, self.scene.now, &mut out);
            if let Some(batch) = again {
                let len = out.mail.len();
                self.engine.batch(batch, self.scene.now, &mut out);
                assert_eq!(out.mail.len(), len, "promise 4: a batch sent twice counts once");
                self.scene.coverage.hit("engine: batch twice");
            }
        }
        self.engine_wake = self.engine.advance(self.scene.now, &mut out);
        assert!(out.keep.is_empty(), "no channel here is durable");
        for (core, mail) in &out.mail {
            self.scene.note(|| format!("engine: to core {}: {mail:?}", core.0));
        }
        if self.judged {
            self.scene.model.observe(from, &out.mail);
        }
        self.from_engine.extend(out.mail);
    }

    /// So many pieces of the engine's mail reach the inboxes, in its order.
    pub(crate) fn deliver(&mut self, most: usize) {
        for _ in 0..most {
            let Some((core, mail)) = self.from_engine.pop_front() else {
                return;
            };
            let inbox = &mut self.inboxes[usize::from(core.0)];
            let may_be_dropped = match &mail {
                EngineMail::Publication(_) | EngineMail::Listeners { .. } | EngineMail::Presence { .. } => true,
                EngineMail::Outcome(_) | EngineMail::Failed { .. } => false,
            };
            if may_be_dropped && !self.scene.calm && inbox.mail.len() >= self.scene.knobs.inbox_max {
                inbox.overflowed = true;
                self.scene.note(|| format!("core {}: no room for {mail:?}", core.0));
                continue;
            }
            inbox.mail.push_back(Mail::Engine(mail));
        }
    }

    fn move_time(&mut self) {
        let millis = match self.scene.random.below(100) {
            0..60 => self.scene.random.below(40),
            60..75 => self.scene.random.below(1000),
            75..77 => self.scene.random.below(20_000),
            _ => {
                if let Some(deadline) = self.deadline() {
                    self.scene.now = self.scene.now.max(deadline);
                }
                0
            }
        };
        self.scene.now += Duration::from_millis(millis as u64);
        self.scene.note(|| "time".to_owned());
        let now = self.scene.now;
        self.scene.drivers.iter_mut().for_each(|driver| driver.now = now);
    }

    /// When time alone brings something.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let cores = self.cores.iter().filter_map(|core| core.wake);
        let clients = self.clients.iter().filter_map(|client| client.wake());
        cores.chain(self.engine_wake).chain(clients.filter(|wake| *wake > self.scene.now)).min()
    }

    /// Laws 2 and 4: what is held is bounded, at every moment.
    fn check_bounds(&mut self) {
        let limits = &self.scene.knobs.limits;
        for (id, core) in self.cores.iter().enumerate() {
            let census = core.shard.census();
            // Our own dialect over two transports, and steps under two keys and tallies, or another that is bare; and each of two
            // as events, for both versions of Engine.IO.
            let logs = census.mirrors * 9;
            let most = logs * (limits.log_bytes_max + 2 * SEGMENT_BYTES_MAX);
            assert!(census.send_log_bytes <= most, "core {id}: {census:?}, {most} bytes in {logs} logs at most");
            // Behind the bound, what is under way may still be answered: a snapshot, a body, a message.
            let each = 2 * limits.private_bytes_max + 4 * limits.message_bytes_max + limits.body_bytes_max + (64 << 10);
            let most = (census.connections + census.turned_away + census.sessions) * each;
            assert!(census.private_bytes <= most, "core {id}: {census:?}, {most} private bytes at most");
            assert!(census.connections <= limits.connections_max, "core {id}: {census:?}");
            assert!(census.sessions <= limits.sessions_max, "core {id}: {census:?}");
        }
    }
}

// At rest.
impl World {
    /// Nothing fails from now on, and nobody begins anything.
    pub(crate) fn calm(&mut self) {
        self.scene.calm = true;
        self.scene.drivers.iter_mut().for_each(super::network::SimDriver::heal);
    }

    /// Why this core would take a turn now, if nobody made it.
    fn reason(&self, id: usize) -> Option<&'static str> {
        let core = &self.cores[id];
        let room = self.to_engine[id].len() < self.scene.knobs.batches_max;
        if self.scene.drivers[id].has_events() {
            Some("the network brings something")
        } else if !self.inboxes[id].mail.is_empty() || self.inboxes[id].overflowed {
            Some("there is mail")
        } else if core.more {
            Some("flush said that there is more")
        } else if core.given_back && room {
            Some("the mail that was given back can go")
        } else if core.wake.is_some_and(|wake| wake <= self.scene.now) {
            Some("advance asked to be called by now")
        } else {
            None
        }
    }

    /// Lets everyone do what there is to do at this moment. A core takes no turn without a reason, so what a shard
    /// forgets to ask for does not happen.
    pub(crate) fn rest(&mut self) {
        for round in 0.. {
            let moved = self.scene.moved;
            for client in &mut self.clients {
                client.act(&mut self.scene);
            }
            let mut busy = self.scene.moved != moved;
            for id in 0..self.cores.len() {
                let reason = self.reason(id);
                if let Some(reason) = reason {
                    assert!(round < 20_000, "no rest: core {id}: {reason}{}", self.scene.drivers[id].describe());
                    self.turn(id);
                    busy = true;
                }
            }
            let engine_due = self.engine_wake.is_some_and(|wake| wake <= self.scene.now);
            if engine_due || self.to_engine.iter().any(|queue| !queue.is_empty()) {
                self.run_engine();
                busy = true;
            }
            busy |= !self.from_engine.is_empty();
            self.deliver(usize::MAX);
            if !busy {
                return;
            }
            assert!(round < 20_000, "no rest: the engine or the clients go on and on");
        }
    }

    /// Lets so much time pass, deadline by deadline.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.scene.now + duration;
        self.rest();
        while self.scene.now < end {
            let next = self.deadline().unwrap_or(end).min(end);
            self.scene.now = next.max(self.scene.now);
            self.scene.note(|| "time".to_owned());
            let now = self.scene.now;
            self.scene.drivers.iter_mut().for_each(|driver| driver.now = now);
            self.rest();
        }
    }

    /// Tells all shards to stop.
    pub(crate) fn stop(&mut self) {
        self.scene.stopping = true;
        for id in 0..self.cores.len() {
            self.cores[id].shard.stop();
            self.turn(id);
        }
    }
}
