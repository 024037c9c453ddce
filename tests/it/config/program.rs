//! What the command line does with configurations: `check`, codes, and files that are none.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use tallycast::app::config::load;
use tallycast::base::limits::CONFIG_BYTES_MAX;

fn tallycast(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tallycast"));
    command.args(arguments).current_dir("/").stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = tallycast(arguments).output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn check_prints_what_a_configuration_will_do() {
    let (code, stdout, stderr) = output(&["check"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for line in [
        "demo.toml (embedded) is valid: as many event loops as the process may use processors, driver epoll",
        "  main        127.0.0.1:5000  16 routes            local origins",
        "  raw         127.0.0.1:8002  1 route    optional  local origins",
        "  poll/lunch      vote    3 options          history 1000",
        "  room/lobby      group   messages           history 200   tells who comes and goes",
        "  dm/*            direct  messages           history 100   refused for who is absent",
        "  table/people    table   5 columns, 3 rows  history 1000  tells who comes and goes",
        "  echo/heartbeat  echo    keeps nothing                    every 2s \"*heartbeat from serve\"",
        "  main        /get_new_vote     GET                   poll/lunch      long-poll, steps, key \"uid\", waits 10s",
        "  main        /chat             GET                   dm/*            page \"chat\"",
        "                /table          namespace             table/people    tallycast as event \"change\", \"change\" sends",
        "  main        /input-change     POST                  table/people    JSON, cells, answers \"success!\"",
        "  chat        /my_ws/*          WebSocket             dm/*            addressed, to \"to_user\"",
    ] {
        assert!(stdout.lines().any(|printed| printed == line), "{stdout}\nlacks {line}");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/conformance.toml");
    let (code, stdout, _) = output(&["check", path]);
    assert_eq!(code, Some(0));
    assert!(stdout.contains("\nroutes (4)\n"), "{stdout}");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/bench.toml");
    let (code, stdout, _) = output(&["check", path]);
    assert_eq!(code, Some(0));
    for line in [
        "  bench  group  messages       history 1  slow: skip, senders get their own",
        "  vote   vote   4 options      history 1  at most 20 a second",
        "  main  /bench  WebSocket  bench  plain, gap \"gap\"",
        "  main  /vote   WebSocket  vote   tally",
    ] {
        assert!(stdout.lines().any(|printed| printed == line), "{stdout}\nlacks {line}");
    }
}

#[test]
fn the_command_line_ends_with_the_codes_that_it_promises() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"[server]\ncors = 1\n").expect("written");
    let path = file.path().to_str().expect("UTF-8");
    for arguments in [&["check", path][..], &["--config", path], &["serve", "--config", path]] {
        let (code, stdout, stderr) = output(arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}");
        let told =
            format!("{path}:2: server.cors: unknown key, the nearest known key is `cores`; allowed: cores, driver\n");
        assert!(stderr.contains(&told), "{stderr}");
    }
    for arguments in
        [&["--bogus"][..], &["bogus"], &["check", "/no/such/file"], &["--config", "/no/such/file"], &["--config"]]
    {
        let (code, _, stderr) = output(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        assert!(!stderr.is_empty());
    }
    let (code, stdout, _) = output(&["--version"]);
    assert_eq!((code, stdout), (Some(0), format!("tallycast {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_listener_that_cannot_be_had_ends_the_start_with_code_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    writeln!(file, "[[listener]]\nname = \"main\"\naddress = \"{address}\"").expect("written");
    let (code, stdout, stderr) = output(&["--config", file.path().to_str().expect("UTF-8")]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert!(stderr.contains("tallycast: "), "{stderr}");
}

#[test]
fn files_that_cannot_be_configurations_are_refused_whole() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"name = \"\xff\"").expect("written");
    let told = load(file.path()).expect_err("not UTF-8").to_string();
    assert!(told.contains("cannot read it") && told.contains("UTF-8"), "{told}");
    file.as_file().set_len(CONFIG_BYTES_MAX as u64 + 1).expect("grown");
    let told = load(file.path()).expect_err("too large").to_string();
    assert!(told.contains("; allowed: a TOML file in UTF-8 of at most 4 MiB"), "{told}");
}

#[test]
fn nobody_reading_the_output_is_no_failure() {
    let mut child = tallycast(&["check"]).stdout(Stdio::piped()).spawn().expect("the binary runs");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}
