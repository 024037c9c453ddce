//! The configuration: TOML in, [`Setup`] out, and a line of explanation for everything that is wrong.

mod channels;
mod dialects;
mod driver;
mod engine_io;
mod error;
mod json;
mod limits;
mod listeners;
mod options;
mod pages;
mod routes;
mod section;
mod tables;
mod value;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use toml::de::DeTable;

pub(crate) use self::channels::{slow_name, slow_of, written};
pub(crate) use self::dialects::dialect_name;
pub use self::driver::DriverChoice;
pub use self::error::{ConfigError, ConfigErrors};
use self::section::{Section, Source};
pub(crate) use self::value::{write_duration, write_size};
use crate::base::limits::{CONFIG_BYTES_MAX, CORES_MAX};
use crate::route::{Dialect, Setup};

/// The configuration that is used if none is named.
pub const DEMO: &str = include_str!("../../../configs/demo.toml");

/// What [`DEMO`] is called in messages.
pub const DEMO_NAME: &str = "demo.toml (embedded)";

const KEYS: [&str; 5] = ["server", "limits", "listener", "channel", "route"];
const SERVER_KEYS: [&str; 2] = ["cores", "driver"];
/// The tables and their keys, for who writes one into another.
const TABLES: [(&str, &[&str]); 6] = [
    ("[server]", &SERVER_KEYS),
    ("[limits]", &limits::KEYS),
    ("[[listener]]", &listeners::KEYS),
    ("[[channel]]", &channels::KEYS),
    ("[[route]]", &routes::KEYS),
    ("[[route.namespaces]]", &engine_io::NAMESPACE_KEYS),
];

/// All that a configuration says.
#[derive(Debug)]
pub struct Config {
    /// What the cores must know.
    pub setup: Setup,
    /// Event loops; 0: as many as the process may use processors.
    pub cores: u16,
    /// What moves the bytes.
    pub driver: DriverChoice,
}

/// Reads the file.
///
/// # Errors
/// All that is wrong with it, or that it cannot be read.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let name = path.display().to_string();
    let cannot = |wrong: String| {
        ConfigErrors::new(vec![ConfigError {
            file: name.clone(),
            line: None,
            key: String::new(),
            wrong,
            allowed: format!("a TOML file in UTF-8 of at most {}", write_size(CONFIG_BYTES_MAX)),
        }])
    };
    match read(path) {
        Ok(text) if text.len() > CONFIG_BYTES_MAX => Err(cannot("the file is too large".into())),
        Ok(text) => parse(&text, &name),
        Err(error) => Err(cannot(format!("cannot read it: {error}"))),
    }
}

/// Reads a text; `name` is what messages call it.
///
/// # Errors
/// All that is wrong with it. Where the text is no TOML, only that.
pub fn parse(text: &str, name: &str) -> Result<Config, ConfigErrors> {
    let (table, syntax_errors) = DeTable::parse_recoverable(text);
    let source = Source::new(name, text);
    if !syntax_errors.is_empty() {
        for error in &syntax_errors {
            source.refuse_syntax(error);
        }
        return Err(ConfigErrors::new(source.into_errors()));
    }
    let config = document(&Section::document(&source, table.get_ref(), &KEYS));
    let errors = source.into_errors();
    if errors.is_empty() { Ok(config) } else { Err(ConfigErrors::new(errors)) }
}

/// At most one byte more than is allowed.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(CONFIG_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// What the document says. Means nothing if an error was taken down.
fn document(document: &Section<'_>) -> Config {
    let server = document.table("server", &SERVER_KEYS);
    let cores = server.number("cores", 0..=CORES_MAX).unwrap_or(0) as u16;
    let driver = driver::read(&server);
    let limits = limits::read(document);
    let listeners = listeners::read(document);
    let channels = channels::read(document, &limits);
    let (classes, kinds_known): (Vec<_>, Vec<_>) =
        (channels.into_iter()).map(|channel| (channel.class, channel.kind_known)).unzip();
    let mut setup = Setup { limits, listeners, classes, dialects: vec![Dialect::Tallycast], routes: Vec::new() };
    routes::read(document, &mut setup, &kinds_known);
    Config { setup, cores, driver }
}
