//! `[[listener]]`.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};

use toml::de::DeValue;

use super::section::{Section, unknown};
use super::value::{self, quote};
use crate::base::limits::{CONFIG_ENTRIES_MAX, LISTENER_NAME_BYTES_MAX};
use crate::route::{Listener, Origins};
use crate::wire::http::Hosts;

pub(super) const KEYS: [&str; 5] = ["name", "address", "origins", "hosts", "optional"];
const NAME_ALLOWED: &str = "1 to 64 bytes without white space or control characters, such as \"main\"";
const ADDRESS_ALLOWED: &str = "an IP address (or localhost) and a port, such as \"127.0.0.1:5000\", \"[::1]:5000\" or, for any free port, \"127.0.0.1:0\"";
const ORIGINS_ALLOWED: &str = "\"any\", \"local\", or a list of origins such as [\"https://example.org\"]";

/// All listeners; where one is wrong, a stand-in keeps its place, and its name where that can be read.
pub(super) fn read(document: &Section<'_>) -> Vec<Listener> {
    let sections = document.tables("listener", &KEYS, CONFIG_ENTRIES_MAX, |index, _| format!("listener[{index}]"));
    if document.get("listener").is_none() {
        document.missing("listener", "at least one [[listener]]");
    }
    let mut names: HashMap<String, usize> = HashMap::new();
    let mut addresses: HashMap<SocketAddr, usize> = HashMap::new();
    let mut listeners = Vec::with_capacity(sections.len());
    for section in sections {
        let line = section.line();
        let listener = one(&section);
        if let Some(other) = names.insert(listener.name.clone(), line).filter(|_| !listener.name.is_empty()) {
            let wrong = format!("{} is also the name of the listener in line {other}", quote(&listener.name));
            section.refuse("name", wrong, "a name of its own");
        }
        if listener.address.port() != 0
            && let Some(other) = addresses.insert(listener.address, line)
        {
            let wrong = format!("{} is also the address of the listener in line {other}", listener.address);
            section.refuse("address", wrong, "an address of its own");
        }
        listeners.push(listener);
    }
    listeners
}

fn one(section: &Section<'_>) -> Listener {
    Listener {
        name: section.require("name", NAME_ALLOWED, name).unwrap_or_default().to_owned(),
        address: section
            .require("address", ADDRESS_ALLOWED, address)
            .unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        origins: section.read("origins", ORIGINS_ALLOWED, origins).map_or(Origins::Local, toml::Spanned::into_inner),
        hosts: match section.word("hosts", &["same", "any"]) {
            Some("any") => Hosts::Any,
            Some(_) | None => Hosts::Same,
        },
        optional: section.boolean("optional"),
    }
}

fn name<'t>(value: &'t DeValue<'t>) -> Result<&'t str, String> {
    let text = value::text(value)?;
    let odd = |c: char| c.is_whitespace() || c.is_control();
    if text.is_empty() || text.len() > LISTENER_NAME_BYTES_MAX || text.contains(odd) {
        return Err(format!("{} is not a name for a listener", quote(text)));
    }
    Ok(text)
}

fn address(value: &DeValue<'_>) -> Result<SocketAddr, String> {
    let text = value::text(value)?;
    let local = text.strip_prefix("localhost:").and_then(|port| port.parse::<u16>().ok());
    match local {
        Some(port) => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => text.parse().map_err(|_| format!("{} is not an address", quote(text))),
    }
}

fn origins(value: &DeValue<'_>) -> Result<Origins, String> {
    match value {
        DeValue::String(text) => match text.as_ref() {
            "any" => Ok(Origins::Any),
            "local" => Ok(Origins::Local),
            other => Err(unknown(other, ["any", "local"])),
        },
        DeValue::Array(list) => {
            list.iter().map(|entry| origin(entry.get_ref())).collect::<Result<_, _>>().map(Origins::List)
        }
        other => Err(format!("{} where a text or a list belongs", value::describe(other))),
    }
}

/// An origin as browsers write it (RFC 6454 section 6.2): scheme, host, perhaps a port, nothing behind; or `null`.
fn origin(value: &DeValue<'_>) -> Result<String, String> {
    let text = value::text(value)?;
    let odd = |c: char| !c.is_ascii_graphic() || "/?#@*".contains(c);
    let fits = text.split_once("://").is_some_and(|(scheme, host)| {
        !scheme.is_empty()
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && !host.is_empty()
            && !host.contains(odd)
    });
    if fits || text == "null" {
        return Ok(text.to_owned());
    }
    Err(format!("{} is not an origin as browsers send it (a scheme and a host, nothing behind them)", quote(text)))
}
