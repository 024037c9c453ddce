//! Socket.IO, and Engine.IO that echoes: polling, WebSocket, and from one to the other; several namespaces at a time; and
//! clients that fall silent, break the protocol, are cut off and come back.

use std::collections::VecDeque;

use tallycast::base::time::Time;

use super::{Client, Hears, Patience};
use crate::sim::scene::Scene;
use crate::sim::setup::PAYLOAD_BYTES_MAX;
use past::Past;
use session::{Ask, Last, Plan, Session};
use spaces::{Judge, Spaces, Standing};
use wire::Packet;

mod asked;
mod judges;
mod past;
mod probe;
mod session;
mod spaces;
mod wire;

/// See the module.
#[derive(Debug)]
pub(crate) struct SocketIo {
    who: String,
    /// It speaks Engine.IO alone: what is to come back.
    echo: Option<VecDeque<Packet>>,
    session: Option<Session>,
    past: Past,
    spaces: Spaces,
    /// The name of a session that is over.
    before: Option<String>,
    back_at: Time,
    asleep_until: Time,
    stuck: bool,
    leaving: bool,
    patience: Patience,
}

impl SocketIo {
    pub(crate) fn new(
        who: &str,
        name: Option<&'static str>,
        stuck: bool,
        random: &mut crate::sim::random::Random,
    ) -> SocketIo {
        SocketIo {
            who: who.to_owned(),
            echo: random.chance(12).then(VecDeque::new),
            session: None,
            past: Past::default(),
            spaces: Spaces::new(who, name),
            before: None,
            back_at: Time::ZERO,
            asleep_until: Time::ZERO,
            stuck,
            leaving: false,
            patience: Patience::default(),
        }
    }

    fn begin(&mut self, scene: &mut Scene) {
        if self.leaving || (!scene.calm && scene.now < self.back_at) || !self.patience.is_left(scene) {
            return;
        }
        let plan = scene.random.pick(&[Plan::Polling, Plan::WebSocket, Plan::Upgrade, Plan::Upgrade]);
        let path = if self.echo.is_some() { "/engine.io/" } else { "/socket.io/" };
        let mut session = Session::open(&self.who, path, plan, scene);
        session.joined = self.echo.is_some();
        if session.version == 3 && self.echo.is_none() {
            self.spaces.greeted();
            session.joined = true;
        }
        self.session = Some(session);
    }

    /// What a new session begins with.
    fn join_some(&mut self, session: &mut Session, scene: &mut Scene) {
        if std::mem::replace(&mut session.begins, true) || self.echo.is_some() {
            return;
        }
        for _ in 0..scene.random.upto(3) {
            let index = scene.random.below(spaces::NAMES.len());
            self.join(index, session, scene);
        }
    }

    fn join(&mut self, index: usize, session: &mut Session, scene: &mut Scene) {
        if matches!(self.spaces.spaces[index].standing, Standing::Out { .. } | Standing::Refused) {
            let packet = self.spaces.join(index, session.version, scene);
            session.out.push_back(packet);
        }
    }

    fn take(&mut self, packet: Packet, scene: &mut Scene) {
        match &mut self.echo {
            Some(sent) => {
                assert_eq!(Some(packet), sent.pop_front(), "{}", self.who);
                scene.coverage.hit("sio: echo");
            }
            None => self.spaces.take(packet, scene),
        }
    }

    fn say(&mut self, session: &mut Session, scene: &mut Scene) {
        if let Some(sent) = &mut self.echo {
            let (text, bytes) = (format!("投票{}", self.spaces.said), vec![4, self.spaces.said as u8, 0xff]);
            self.spaces.said += 1;
            let text_goes = scene.random.chance(60);
            sent.push_back(if text_goes { Packet::text(&text) } else { Packet::Bytes(bytes.clone()) });
            session.out.push_back(if text_goes { Packet::Text(format!("4{text}")) } else { Packet::Bytes(bytes) });
            return;
        }
        let index = scene.random.below(spaces::NAMES.len());
        if self.spaces.is_in(index) {
            session.out.extend(self.spaces.say(index, scene));
        } else if scene.random.chance(20) {
            self.join(index, session, scene);
        }
    }

    fn do_something(&mut self, session: &mut Session, scene: &mut Scene) {
        let upgrades = session.plan == Plan::Upgrade && session.polls();
        match scene.random.below(1000) {
            0..220 => {
                for _ in 0..scene.random.upto(4) {
                    self.say(session, scene);
                }
            }
            220..230 => {
                let index = scene.random.below(spaces::NAMES.len());
                if self.echo.is_none() && self.spaces.is_in(index) {
                    let packet = self.spaces.leave(index, scene);
                    session.out.push_back(packet);
                }
            }
            230..310 if upgrades => session.begin_upgrade(scene),
            310..314 => session.fall_silent(),
            314..319 => self.asleep_until = scene.soon(15_000),
            319..324 => session.give_up(scene, &mut self.past),
            324..330 => self.misbehave(session, scene),
            330..340 => self.ask_wrongly(session, scene),
            340..343 => {
                session.out.push_back(Packet::text("1"));
                session.last = Some(Last::Close);
            }
            _ => {}
        }
    }

    /// Breaks the protocol, in one of many ways: its session is over.
    fn misbehave(&mut self, session: &mut Session, scene: &mut Scene) {
        if session.probe.is_some() {
            return;
        }
        let joined = self.spaces.spaces.iter().find(|space| space.standing == Standing::In).map(|space| space.name);
        let out = self.spaces.spaces.iter().find(|space| matches!(space.standing, Standing::Out { .. }));
        let out = out.filter(|_| self.echo.is_none()).map(|space| space.name);
        let of = |name: &str| if name == "/" { String::new() } else { format!("{name},") };
        let socket_io = self.echo.is_none();
        let mut last = Last::Violation;
        let wrong = match scene.random.below(8) {
            0 => scene.random.pick(&["x", "9", "7{}", "b!!"]).to_owned(),
            1 if socket_io => scene.random.pick(&["4abc", "42{}", "4", "42[]", "44{}", "46x-[]", "42[{}]"]).to_owned(),
            2 if out.is_some() => format!("42{}[\"message\",\"too early\"]", out.map(of).unwrap_or_default()),
            3 if joined.is_some() => format!("40{}", joined.map(of).unwrap_or_default()),
            4 if joined.is_some() => {
                last = Last::Attachments(scene.now);
                format!("451-{}[\"message\",{{\"_placeholder\":true,\"num\":0}}]", joined.map(of).unwrap_or_default())
            }
            5 if socket_io => {
                scene.random.pick(&["465-[\"a\"]", "450-[\"a\"]", "4565-[\"message\"]", "452-[\"a\"]"]).into()
            }
            6 => {
                last = Last::TooLarge;
                format!("4{}", "x".repeat(PAYLOAD_BYTES_MAX + 20))
            }
            7 if session.polls() && session.get.awaits => {
                scene.coverage.hit("sio bad: second GET");
                return session.ask_twice(scene, &mut self.past);
            }
            _ => return,
        };
        scene.coverage.hit(match (&*wrong, last) {
            (_, Last::TooLarge) => "sio bad: too much",
            (_, Last::Attachments(_)) => "sio bad: attachments that do not come",
            (wrong, _) if wrong.contains("too early") => "sio bad: event before connect",
            (wrong, _) if wrong.starts_with("40") => "sio bad: second connect",
            _ => "sio bad: malformed packet",
        });
        session.out.push_back(Packet::Text(wrong));
        session.last = Some(last);
    }

    /// Requests that are refused, and change nothing.
    fn ask_wrongly(&mut self, session: &Session, scene: &mut Scene) {
        let who = format!("{} asks wrongly", self.who);
        let target = session.target("polling");
        let live: &[u64] = &[1, 3];
        match scene.random.below(8) {
            0 => {
                let unknown = self.before.clone().unwrap_or_else(|| "0.1.2".to_owned());
                let target = format!("/socket.io/?EIO=4&transport=polling&sid={unknown}");
                let method = scene.random.pick(&["GET", "POST"]);
                self.past.ask(&who, method, &target, Ask::Unknown, scene);
                scene.coverage.hit("sio bad: unknown sid");
            }
            1 => self.past.ask(&who, "GET", "/socket.io/?EIO=4&transport=smoke", Ask::Wrong(&[0]), scene),
            2 => self.past.ask(&who, "GET", "/socket.io/?EIO=5&transport=polling", Ask::Wrong(&[5]), scene),
            3 => self.past.ask(&who, "POST", "/socket.io/?EIO=4&transport=polling", Ask::Wrong(&[2]), scene),
            4 => self.past.ask(&who, "PUT", &target, Ask::Wrong(&[3]), scene),
            5 => self.past.ask(&who, "GET", &format!("{target}&j=1"), Ask::Wrong(&[3]), scene),
            6 => {
                let target = target.replace("EIO=4", "EIO=0").replace("EIO=3", "EIO=4").replace("EIO=0", "EIO=3");
                self.past.ask(&who, "GET", &target, Ask::Wrong(live), scene);
            }
            // What has a WebSocket is not polled.
            _ if session.told_by_socket => self.past.ask(&who, "GET", &target, Ask::Wrong(live), scene),
            _ => {}
        }
    }
}

impl Client for SocketIo {
    fn act(&mut self, scene: &mut Scene) {
        self.past.pump(scene);
        let Some(mut session) = self.session.take() else {
            return self.begin(scene);
        };
        let stuck = self.stuck && session.sid.is_some();
        let reading = scene.calm || (!stuck && self.asleep_until <= scene.now);
        let told = session.pump(reading, scene, &mut self.past);
        if !session.is_over() {
            self.spaces.is(session.me(scene));
        }
        for packet in told {
            self.take(packet, scene);
        }
        session.joined |= self.spaces.spaces.iter().any(|space| space.standing == Standing::In);
        session.fragile |= self.spaces.is_fragile();
        if session.is_live() {
            self.join_some(&mut session, scene);
            let waits = !self.spaces.pending.is_empty();
            if session.finish_upgrade(waits, scene, &mut self.past) {
                self.spaces.moves(session.me(scene));
            }
            if self.leaving && scene.random.chance(50) {
                session.give_up(scene, &mut self.past);
            } else if self.leaving {
                session.out.push_back(Packet::text("1"));
                session.last = Some(Last::Close);
            } else if !scene.calm {
                self.do_something(&mut session, scene);
            }
        } else if self.leaving && session.sid.is_none() {
            session.give_up(scene, &mut self.past);
        }
        if session.crowded_out && !session.is_over() {
            session.give_up(scene, &mut self.past);
            self.patience = Patience::exhausted();
        }
        session.owe(reading, scene, &mut self.past);
        if session.is_over() {
            self.before = session.ended_sid().cloned().or(self.before.take());
            self.spaces.reset();
            self.echo.iter_mut().for_each(VecDeque::clear);
            self.back_at = scene.soon(3000);
            return;
        }
        self.session = Some(session);
    }

    fn leave(&mut self) {
        self.leaving = true;
    }

    fn is_poller(&self) -> bool {
        false
    }

    fn hears(&self) -> Option<Hears<'_>> {
        None
    }

    fn all_heard(&self) -> Vec<Hears<'_>> {
        let heard =
            self.spaces.spaces.iter().filter(|space| space.standing == Standing::In && !space.channel.is_empty());
        heard
            .map(|space| {
                let told = match &space.judge {
                    Judge::Own(stream) => stream.listeners,
                    Judge::Root(_) | Judge::Cells(_) | Judge::Steps(_) | Judge::Plain(_) => None,
                };
                Hears { channel: space.channel, told, name: self.spaces.user, me: self.spaces.me() }
            })
            .collect()
    }

    fn polls(&self) -> Option<(usize, bool)> {
        let session = self.session.as_ref().filter(|session| session.polls())?;
        Some((session.home()?.0, session.get.awaits))
    }

    fn wake(&self) -> Option<Time> {
        self.session.as_ref()?.wake()
    }

    fn check_rest(&mut self, scene: &mut Scene) {
        match &mut self.session {
            Some(session) if session.sid.is_some() => {
                session.check_rest(scene);
                self.spaces.check_rest(scene);
                let missing = self.echo.as_ref().map_or(0, VecDeque::len);
                assert_eq!(missing, 0, "{}: messages never came back", self.who);
            }
            Some(session) => panic!("{}: it does not begin: {session:?}", self.who),
            // Sessions that requests carry are few, too.
            None if scene.knobs.limits.sessions_max < 100 => {}
            None => self.patience.check(&self.who, scene),
        }
    }
}
