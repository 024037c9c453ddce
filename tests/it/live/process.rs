//! The process: how it starts, how it ends, what it does when it has no files left, and what a panic costs.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::json;

use super::http::{Events, Http, connect, get, get_json, post_form, request};
use super::rows::parked;
use super::server::{Config, MAIN, Server, Signal, pause};
use super::socket::{End, Socket};
use super::with_one_loop_and_two;

with_one_loop_and_two!(
    sigterm_ends_it_in_order,
    sigint_ends_it_in_order,
    an_optional_listener_may_be_taken,
    no_files_left,
);

fn sigterm_ends_it_in_order(cores: u16) {
    ends_in_order(cores, Signal::Terminate);
}

fn sigint_ends_it_in_order(cores: u16) {
    ends_in_order(cores, Signal::Interrupt);
}

fn ends_in_order(cores: u16, signal: Signal) {
    let mut server = Server::demo(cores);
    let (at, poll) = (server.main(), server.poll());
    let paths = [poll.as_str(), "/message", "/get_new_vote", "/c/test/echo"];
    let mut sockets: Vec<Socket> = paths.iter().cycle().take(12).map(|path| Socket::open(at, path)).collect();
    let mut streams: Vec<Events> = (0..4).map(|_| Events::open(at, &poll, &[])).collect();
    let present = get_json(at, &poll);
    let since = present["at"].as_str().expect("a position").to_owned();
    let mut polls: Vec<Http> = (0..4).map(|_| Http::to(at)).collect();
    for http in &mut polls {
        http.send("GET", &format!("{poll}?wait=60&since={since}"), &[], b"");
    }
    let cookie = get(at, "/index").ok().cookie();
    let mut sessions: Vec<Http> = (0..4).map(|_| parked(at, &cookie)).collect();
    for http in polls.iter_mut().chain(&mut sessions) {
        assert!(http.is_silent(Duration::from_millis(30)), "parked");
    }
    let mut idle = Http::to(at);
    idle.ask("GET", "/index", &[], b"").ok();

    server.signal(signal);
    for http in &mut polls {
        let answer = http.answer_to("GET").ok().json();
        assert_eq!((&answer["publications"], &answer["at"]), (&json!([]), &json!(since)));
    }
    for http in &mut sessions {
        assert_eq!(http.answer_to("GET").ok().json(), json!({"status": false, "data": null}));
    }
    for socket in &mut sockets {
        assert_eq!(socket.end(), End::Closed(1001));
    }
    for stream in &mut streams {
        while stream.next().is_some() {}
    }
    assert!(idle.ends());
    let status = server.ended();
    assert_eq!(status.code(), Some(0), "{status}\n{}", server.stderr());
}

fn an_optional_listener_may_be_taken(cores: u16) {
    let mut config = Config::demo().cores(cores);
    let (optional, _) = config.optional_ports();
    let shipped = *optional.first().expect("the demo has optional listeners");
    let name = config.listener_name(shipped);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port();
    let server = config.port(shipped, port).without(shipped).start();
    get(server.main(), "/index").ok();
    let warning = server.stderr();
    assert!(warning.contains(&port.to_string()), "the warning names the port {port}: {warning:?}");
    assert!(warning.contains(&name), "the warning names the listener {name}: {warning:?}");
}

#[test]
fn a_required_listener_may_not_be_taken() {
    for cores in [1, 2] {
        let mut config = Config::demo().cores(cores);
        let (_, required) = config.optional_ports();
        assert!(required.contains(&MAIN), "the main listener is not optional");
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = taken.local_addr().expect("its address").port();
        let name = config.listener_name(MAIN);
        let (status, said) = config.port(MAIN, port).fail();
        assert!(!status.success(), "{status}");
        assert!(said.contains(&port.to_string()) && said.contains(&name), "says which address is taken: {said:?}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

/// With no files left it stops accepting, without spinning, serves those who are in, and goes on when some leave.
fn no_files_left(cores: u16) {
    const CLIENTS: usize = 100;
    let mut server = Config::demo().cores(cores).limit("connections_max", 1000).files(64).start();
    let at = server.main();
    let mut clients: Vec<Http> = (0..CLIENTS).map(|_| Http::over(connect(at))).collect();
    for client in &mut clients {
        client.write(&request("GET", "/message", &[], b""));
    }
    // Who is in has an answer; the others wait in the kernel's queue.
    let mut inside = Vec::new();
    let mut outside = Vec::new();
    for mut client in clients {
        let waits = client.is_silent(Duration::from_millis(100));
        if waits { &mut outside } else { &mut inside }.push(client);
    }
    assert!(!inside.is_empty(), "some are served");
    assert!(outside.len() > CLIENTS / 4, "the limit was not reached: only {} wait", outside.len());
    let before = server.cpu_ticks();
    pause(Duration::from_secs(2));
    let spent = server.cpu_ticks() - before;
    // A loop that spins would use 200 ticks and more of these two seconds.
    assert!(spent < 40, "{spent} ticks of CPU time while nothing could be done");
    assert!(server.runs());
    for client in &mut inside {
        assert_eq!(client.answer_to("GET").ok().text(), "您使用的是Http协议");
        client.ask("GET", "/message", &[], b"").ok();
    }
    // Who leaves makes room for others who wait, whichever loop they wait at.
    let mut rounds = 0;
    while !outside.is_empty() {
        rounds += 1;
        assert!(rounds < 200, "{} still wait", outside.len());
        inside.clear();
        for mut client in std::mem::take(&mut outside) {
            if client.is_silent(Duration::from_millis(20)) {
                outside.push(client);
            } else {
                assert_eq!(client.answer_to("GET").ok().text(), "您使用的是Http协议");
                inside.push(client);
            }
        }
    }
    drop(inside);
    post_form(at, "/vote", "uid=1").ok();
}

/// A panic in one channel's code ends that channel's listeners, and nothing else.
#[cfg(feature = "faults")]
mod faults {
    use super::super::http::post;
    use super::*;

    with_one_loop_and_two!(in_a_kind, in_the_engine, in_an_encoding);

    fn in_a_kind(cores: u16) {
        costs_one_channel(cores, "kind");
    }

    fn in_the_engine(cores: u16) {
        costs_one_channel(cores, "engine");
    }

    fn in_an_encoding(cores: u16) {
        costs_one_channel(cores, "encode");
    }

    fn costs_one_channel(cores: u16, fault: &str) {
        const FAULT: &str = "/c/test/fault";
        let mut server = Config::demo().cores(cores).channel("test/fault", "fault").start();
        let (at, poll) = (server.main(), server.poll());
        let mut others: Vec<Socket> = (0..4).map(|_| Socket::open(at, &poll)).collect();
        for other in &mut others {
            assert_eq!(other.news()["type"], "snapshot");
        }
        for (round, by_post) in (1..).zip([true, false, true]) {
            let mut listeners: Vec<Socket> = (0..4).map(|_| Socket::open(at, FAULT)).collect();
            for listener in &mut listeners {
                assert_eq!(listener.news()["type"], "snapshot");
            }
            // Without a fault it works.
            post(at, FAULT, "text/plain", "fine").ok();
            for listener in &mut listeners {
                assert_eq!(listener.news()["text"], "fine");
            }
            if by_post {
                // What is written too late to fail was accepted.
                let answer = post(at, FAULT, "text/plain", fault);
                let expected: &[u16] = if fault == "encode" { &[200, 500] } else { &[500] };
                assert!(expected.contains(&answer.status), "{fault}: {answer:?}");
            } else {
                listeners[0].send(fault);
            }
            for listener in &mut listeners {
                assert_eq!(listener.end(), End::Closed(1011), "{fault}");
            }
            others[0].send(r#"{"choice":"1"}"#);
            for other in &mut others {
                assert_eq!(other.json_of("tally")["total"], round, "the other channels go on");
            }
        }
        assert!(server.runs());
        server.signal(Signal::Terminate);
        assert_eq!(server.ended().code(), Some(0));
    }
}
