//! Chromium opens the vote page twice, votes, watches both windows, and survives a restart of the server.
//! The pictures go to target/screenshots.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::clients::{Program, installed};
use crate::live::server::{Config, MAIN, Server, Signal, free_port};

#[test]
fn two_windows_and_a_restart() {
    let Some(_) = installed("TALLYCAST_NODE_MODULES") else {
        return;
    };
    let pictures = pictures();
    let port = free_port();
    let start = || -> Server { Config::demo().cores(2).port(MAIN, port).start() };
    let mut server = start();
    let address = server.main().to_string();
    let picture_folder = pictures.to_str().expect("a path in UTF-8");
    let arguments = [chromium(), address.as_str(), picture_folder];
    let mut browser = Program::start(Path::new("node"), "browser.mjs", &arguments);

    let both = |seen: &Value, counts: Value| {
        assert_eq!(seen["one"], counts, "{seen}");
        assert_eq!(seen["two"], counts, "{seen}");
    };
    let open = browser.step("open");
    both(&open, json!({"1": 0, "2": 0, "3": 0}));
    assert_eq!(open["lang"], "en");
    both(&browser.step("voted"), json!({"1": 1, "2": 2, "3": 0}));

    browser.step("restart");
    server.signal(Signal::Terminate);
    assert_eq!(server.ended().code(), Some(0));
    browser.go_on();
    browser.step("waiting");
    let _server = start();
    browser.go_on();
    both(&browser.step("back"), json!({"1": 0, "2": 0, "3": 0}));
    both(&browser.step("voted again"), json!({"1": 0, "2": 0, "3": 1}));

    let mut light = None;
    for name in ["vote-zh", "vote-en-360", "vote-zh-360", "vote-dark"] {
        let look = browser.step("look");
        assert_eq!(look["name"], name);
        let lang = look["lang"].as_str().expect("a language");
        assert!(lang.starts_with(if name.contains("zh") { "zh" } else { "en" }), "{name}: {lang}");
        let text = look["text"].as_str().expect("a text");
        let chinese = text.chars().any(|letter| ('\u{4e00}'..='\u{9fff}').contains(&letter));
        // The switch of languages may show the other one's name.
        assert!(chinese || lang.starts_with("en"), "{name}: {text}");
        assert!(look["overflow"].as_i64().is_some_and(|pixels| pixels <= 0), "{name}: sticks out: {look}");
        let colours = look["colours"].as_str().expect("colours").to_owned();
        if name == "vote-dark" {
            assert_ne!(Some(colours), light, "dark is another colour");
        } else {
            light = Some(colours);
        }
    }
    assert_eq!(browser.step("without JavaScript")["shown"], 1);
    let end = browser.step("end");
    assert_eq!(end["complaints"], json!([]), "the console is silent");
    assert_eq!(end["outside"], json!([]), "nothing is fetched from elsewhere");
    browser.end();
    for name in ["vote-en", "vote-zh", "vote-en-360", "vote-zh-360", "vote-dark"] {
        let bytes = std::fs::read(pictures.join(format!("{name}.png"))).expect("a picture");
        assert!(bytes.len() > 2000, "{name}.png is empty: {} bytes", bytes.len());
    }
}

/// An empty folder for the pictures, in the build's own folder.
fn pictures() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    let folder = target.join("screenshots");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder for the pictures");
    folder
}

pub(crate) fn chromium() -> &'static str {
    let known = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
    known.into_iter().find(|path| Path::new(path).exists()).expect("chromium is installed: run scripts/test")
}
