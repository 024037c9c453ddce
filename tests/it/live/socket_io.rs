//! Socket.IO and Engine.IO over real sockets, as no client library would speak them: packets by hand, floods, and what
//! breaks the protocol. The demo pings every 25 s, so nothing here ends by a heartbeat that was missed.

use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::Message;

use super::http::{Answer, Http, get, post_form};
use super::server::{Config, Server};
use super::socket::Socket;
use super::with_one_loop_and_two;

with_one_loop_and_two!(
    the_table_of_old_pages,
    polls_and_posts_on_any_connection,
    what_breaks_the_protocol_ends_its_session_alone,
    refusals_leave_the_connection_open,
    floods_are_read_or_ended,
    attachments_that_never_come,
    the_bundle_is_served,
    foreign_pages_are_kept_out,
);

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";
const A_WHILE: Duration = Duration::from_millis(100);

fn open(server: &Server, eio: u8) -> Socket {
    let mut socket = Socket::open(server.main(), &format!("/socket.io/?EIO={eio}&transport=websocket"));
    let handshake = socket.text();
    let handshake: Value = serde_json::from_str(&handshake[1..]).expect("JSON behind the 0");
    assert_eq!(handshake["upgrades"], json!([]));
    assert_eq!(handshake["maxPayload"], 1_000_000);
    socket
}

/// A session that polls.
struct Poller {
    target: String,
    http: Http,
}

impl Poller {
    fn open(server: &Server) -> Poller {
        let mut http = Http::to(server.main());
        let answer = http.ask("GET", POLLING, &[], b"").ok();
        let handshake: Value = serde_json::from_str(&answer.text()[1..]).expect("JSON behind the 0");
        assert_eq!(handshake["upgrades"], json!(["websocket"]));
        Poller { target: format!("{POLLING}&sid={}", handshake["sid"].as_str().expect("a sid")), http }
    }

    /// On a connection of its own: it may arrive at another loop.
    fn post(&self, server: &Server, body: &str) -> Answer {
        let headers = [("Content-Type", "text/plain;charset=UTF-8")];
        Http::to(server.main()).ask("POST", &self.target, &headers, body.as_bytes())
    }

    fn get(&mut self) -> Vec<String> {
        let answer = self.http.ask("GET", &self.target.clone(), &[], b"").ok();
        answer.text().split('\u{1e}').map(str::to_owned).collect()
    }

    fn is_gone(&self, server: &Server) -> bool {
        get(server.main(), &self.target).status == 400
    }
}

fn events(texts: impl IntoIterator<Item = String>) -> Vec<(String, Value)> {
    let event = |text: String| {
        let list = &text[text.find('[').unwrap_or_else(|| panic!("no event: {text}"))..];
        let list: Value = serde_json::from_str(list).expect("JSON");
        (list[0].as_str().expect("a name").to_owned(), list[1].clone())
    };
    texts.into_iter().map(event).collect()
}

/// The next text that is not a count of listeners.
fn answer(socket: &mut Socket) -> String {
    loop {
        let text = socket.text();
        if !text.contains("\"type\":\"listeners\"") {
            return text;
        }
    }
}

/// Row 9, in both versions of the protocol.
fn the_table_of_old_pages(cores: u16) {
    let server = Server::demo(cores);
    for (round, eio) in [4, 3].into_iter().enumerate() {
        let mut socket = open(&server, eio);
        if eio == 3 {
            assert_eq!(socket.text(), "40", "the connection itself");
        }
        socket.send("40/test,");
        assert!(socket.text().starts_with("40/test,"));
        let greeting = events([socket.text()]);
        assert_eq!(greeting, [("my_response".into(), json!({"data": "Connected", "count": 0}))]);
        let cells = events((0..15).map(|_| socket.text()));
        assert!(cells.iter().all(|(name, _)| name == "input-change"));
        assert_eq!(cells[1].1, json!({"index": 0, "value": "18", "forms": "age"}));
        socket.send("42/test,7[\"my_event\",{\"data\":\"I'm connected!\"}]");
        assert_eq!(socket.text(), "43/test,7[]");
        let change = json!({"index": 2, "value": format!("小{round}"), "forms": "name"});
        let page = [("Content-Type", "application/json"), ("Origin", "http://localhost:1")];
        let answer = Http::to(server.main()).ask("POST", "/input-change", &page, change.to_string().as_bytes()).ok();
        assert_eq!(
            (answer.text(), answer.header("Access-Control-Allow-Origin")),
            ("success!", Some("http://localhost:1"))
        );
        assert_eq!(events([socket.text()]), [("input-change".into(), change)]);
    }
}

fn polls_and_posts_on_any_connection(cores: u16) {
    let server = Server::demo(cores);
    let mut poller = Poller::open(&server);
    assert_eq!(poller.post(&server, "40/room,{\"name\":\"小明\"}").ok().text(), "ok");
    let mut seen = Vec::new();
    while !seen.iter().any(|text: &String| text.contains("\"members\"")) {
        seen.extend(poller.get());
    }
    assert!(seen[0].starts_with("40/room,{\"sid\":"), "{seen:?}");
    assert!(seen.iter().any(|text| text.contains("\"users\":[\"小明\"]")), "{seen:?}");
    // More than a payload carries comes in several, in order.
    for number in 0..40 {
        post_form(server.main(), "/c/room/lobby", &format!("text={number}")).ok();
    }
    let mut texts = Vec::new();
    while texts.len() < 40 {
        let payload = poller.get();
        assert!(payload.len() <= 16, "{} packets", payload.len());
        let said = payload.into_iter().filter(|text| text.contains("\"type\":\"message\""));
        texts.extend(events(said).into_iter().map(|(_, message)| message["text"].as_str().expect("a text").to_owned()));
    }
    assert_eq!(texts, (0..40).map(|number| number.to_string()).collect::<Vec<_>>());
    // A GET that waits has what another connection brings; one beside it ends the session.
    poller.http.send("GET", &poller.target.clone(), &[], b"");
    assert!(poller.http.is_silent(A_WHILE));
    poller.post(&server, "42/room,1[\"message\",{\"text\":\"mine\"}]").ok();
    let ack = poller.http.answer_to("GET").ok();
    assert!(ack.text().starts_with("43/room,1[{\"type\":\"ok\""), "{ack:?}");
    poller.http.send("GET", &poller.target.clone(), &[], b"");
    assert!(poller.http.is_silent(A_WHILE));
    assert_eq!(get(server.main(), &poller.target).status, 400);
    assert_eq!(poller.http.answer_to("GET").ok().text(), "1");
    assert!(poller.is_gone(&server));
}

fn what_breaks_the_protocol_ends_its_session_alone(cores: u16) {
    let server = Server::demo(cores);
    let mut neighbour = open(&server, 4);
    neighbour.send("40/test,");
    (0..17).for_each(|_| _ = neighbour.text());
    let deep = format!("42/test,[\"my_event\",{}{}]", "[".repeat(5000), "]".repeat(5000));
    let rows: [(&str, &[&str]); 10] = [
        ("4abc", &[]),
        ("42/test,[\"my_event\"]", &[]),
        ("42{}", &["40/test,"]),
        ("4x/test,", &["40/test,"]),
        ("40/test,", &["40/test,"]),
        ("9", &["40/test,"]),
        ("", &["40/test,"]),
        (&deep, &["40/test,"]),
        ("4565-/test,[\"my_event\"]", &["40/test,"]),
        ("42/test,[\"my_event\"]", &["40/test,", "451-/test,[\"my_event\",{\"_placeholder\":true,\"num\":0}]"]),
    ];
    for (wrong, before) in rows {
        let mut socket = open(&server, 4);
        let poller = Poller::open(&server);
        for text in before {
            socket.send(text);
            poller.post(&server, text).ok();
        }
        socket.send(wrong);
        socket.end();
        assert_eq!(poller.post(&server, wrong).status, 400, "{wrong:.60}");
        assert!(poller.is_gone(&server), "{wrong:.60}");
    }
    let mut socket = open(&server, 4);
    socket.send_binary(b"nobody asked");
    socket.end();
    assert_eq!(Poller::open(&server).post(&server, &format!("4{}", "x".repeat(1_000_000))).status, 413);
    let mut large = open(&server, 4);
    large.send(&format!("42/test,[\"my_event\",\"{}\"]", "x".repeat(1_000_000)));
    large.end();
    for (target, status) in [
        ("/socket.io/?EIO=2&transport=polling", 400),
        ("/socket.io/?transport=polling", 400),
        ("/socket.io/?EIO=4&transport=carrier", 400),
        ("/socket.io/?EIO=4&transport=polling&sid=0.1.2", 400),
        ("/socket.io/?EIO=4&transport=polling&j=0", 400),
        ("/socket.io/other", 404),
    ] {
        get(server.main(), target).with_status(status);
    }
    neighbour.send("42/test,1[\"my_event\"]");
    assert_eq!(neighbour.text(), "43/test,1[]", "nobody else notices");
}

fn refusals_leave_the_connection_open(cores: u16) {
    let server = Server::demo(cores);
    let mut socket = open(&server, 4);
    socket.send("40/nowhere,");
    assert_eq!(socket.text(), "44/nowhere,{\"message\":\"Invalid namespace\"}");
    socket.send("40/table,{\"name\":\"\"}");
    assert!(socket.text().starts_with("44/table,{\"message\":\"malformed"));
    socket.send("40/table,{\"name\":\"bob\"}");
    while !socket.text().contains("\"members\"") {}
    for (event, code) in [
        ("[\"change\"]", "malformed"),
        ("[\"change\",7]", "malformed"),
        ("[\"change\",{\"set\":[{\"row\":\"9\",\"column\":\"age\",\"value\":1}]}]", "unknown_row"),
        ("[\"change\",{\"set\":[{\"row\":\"1\",\"column\":\"age\",\"value\":1,\"if_rev\":77}]}]", "stale"),
        ("[\"unheard_of\"]", "unknown_event"),
    ] {
        socket.send(&format!("42/table,5{event}"));
        let ack = answer(&mut socket);
        assert!(ack.starts_with("43/table,5[{\"type\":\"refused\"") && ack.contains(code), "{event}: {ack}");
        socket.send(&format!("42/table,{event}"));
        let [(name, refusal)] = &events([answer(&mut socket)])[..] else { unreachable!() };
        assert_eq!((name.as_str(), &refusal["code"]), ("refused", &json!(code)), "{event}");
    }
}

fn floods_are_read_or_ended(cores: u16) {
    let server = Server::demo(cores);
    let mut socket = open(&server, 4);
    socket.send("40/test,");
    (0..17).for_each(|_| _ = socket.text());
    for number in 0..5000 {
        socket.send(&format!("42/test,{number}[\"my_event\"]"));
    }
    for number in 0..5000 {
        assert_eq!(socket.text(), format!("43/test,{number}[]"));
    }
    // A payload of more packets than one may have.
    let poller = Poller::open(&server);
    let packets = vec!["42/test,[]"; 20_000].join("\u{1e}");
    assert!(poller.post(&server, &packets).status >= 400);
    assert!(poller.is_gone(&server));
    // Who asks, and never looks at the answers, is held back or let go; the server goes on.
    let mut deaf = Poller::open(&server);
    deaf.post(&server, "40/test,").ok();
    let packets = vec!["42/test,1[\"my_event\"]"; 500].join("\u{1e}");
    for _ in 0..5 {
        deaf.http.send("POST", &deaf.target.clone(), &[("Content-Type", "text/plain")], packets.as_bytes());
        if !deaf.http.is_silent(A_WHILE) {
            _ = deaf.http.answer_to("POST");
        } else {
            deaf.http = Http::to(server.main());
        }
    }
    get(server.main(), "/index").ok();
}

fn attachments_that_never_come(cores: u16) {
    let server = Config::demo().cores(cores).limit("body_wait", "100ms").start();
    let mut socket = open(&server, 4);
    socket.send("40/room,");
    socket.send("451-/room,[\"message\",{\"_placeholder\":true,\"num\":0}]");
    let (messages, _) = socket.rest();
    assert!(messages.iter().all(|message| *message != Message::text("2")), "long before the first ping");
}

fn the_bundle_is_served(cores: u16) {
    let server = Server::demo(cores);
    for name in ["socket.io.js", "socket.io.min.js"] {
        let bundle = get(server.main(), &format!("/socket.io/{name}")).ok();
        assert!(bundle.header("Content-Type").is_some_and(|media| media.starts_with("text/javascript")));
        assert!(bundle.text().contains("Socket.IO v4.8"));
        let tag = bundle.header("ETag").expect("a tag").to_owned();
        let target = format!("/socket.io/{name}");
        Http::to(server.main()).ask("GET", &target, &[("If-None-Match", &tag)], b"").with_status(304);
    }
}

fn foreign_pages_are_kept_out(cores: u16) {
    let server = Server::demo(cores);
    let ask = |method: &str, origin: &str| Http::to(server.main()).ask(method, POLLING, &[("Origin", origin)], b"");
    for origin in ["http://localhost:8080", "null"] {
        let allowed = ask("GET", origin).ok();
        assert_eq!(allowed.header("Access-Control-Allow-Origin"), Some(origin));
        assert_eq!(allowed.header("Access-Control-Allow-Credentials"), Some("true"), "as older clients ask");
        let preflight = ask("OPTIONS", origin).with_status(204);
        assert_eq!(preflight.header("Access-Control-Allow-Credentials"), Some("true"));
    }
    let foreign = ask("GET", "https://example.org").with_status(403);
    assert_eq!(foreign.header("Access-Control-Allow-Origin"), None);
    assert_eq!(Socket::try_open(server.main(), WEBSOCKET, &[("Origin", "https://example.org")]).err(), Some(403));
}
