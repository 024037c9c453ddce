//! Chromium opens each page in two windows of two people: what one does, the other sees. The script says what is due, and
//! fails where it is not seen. The pictures go to target/screenshots-of-pages.

use std::path::Path;

use crate::clients::{Program, installed};
use crate::live::server::{Config, MAIN, free_port};

#[test]
fn two_people_on_every_page() {
    let Some(_) = installed("TALLYCAST_NODE_MODULES") else {
        return;
    };
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    let pictures = target.join("screenshots-of-pages");
    let _ = std::fs::remove_dir_all(&pictures);
    std::fs::create_dir_all(&pictures).expect("a folder for the pictures");

    let server = Config::demo().cores(2).port(MAIN, free_port()).start();
    let address = server.main().to_string();
    let picture_folder = pictures.to_str().expect("a path in UTF-8");
    let arguments = [crate::browser::chromium(), address.as_str(), picture_folder];
    let mut browser = Program::start(Path::new("node"), "browser_pages.mjs", &arguments);
    for step in ["index", "group", "chat", "table", "table-socket.io", "table-both", "slow"] {
        browser.step(step);
    }
    let names = ["index", "vote", "group-onlooker", "group", "chat-naming", "chat", "table", "table-socket.io"];
    let kinds = ["en", "zh", "dark", "en-360", "zh-360", "zh-360-dark"];
    for look in kinds.iter().flat_map(|kind| names.map(|name| format!("{name}-{kind}"))) {
        assert_eq!(browser.step("look")["name"], look.as_str());
        let bytes = std::fs::read(pictures.join(format!("{look}.png"))).expect("a picture");
        assert!(bytes.len() > 2000, "{look}.png is empty: {} bytes", bytes.len());
    }
    browser.step("end");
    browser.end();
}
