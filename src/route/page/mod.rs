//! The pages: HTML, one response each: style, script and icon are inside, nothing is fetched from elsewhere (but the
//! official Socket.IO client, from this server, by the page that shows it). The vote page and the index are of use without
//! their scripts too; the others say that they need them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use minijinja::Environment;
use minijinja::value::{Serde, Value};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

mod index;
mod texts;
mod vote;

pub use vote::{View, render};

use texts::{Texts, texts, texts_json};

/// Which page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageId {
    /// The vote page.
    Vote,
    /// What runs here: a card for each other page.
    Index,
    /// One-to-one chat.
    Chat,
    /// Group chat.
    Group,
    /// A table that several people edit.
    Table,
    /// The same table through the official Socket.IO client: its bundle at `/socket.io/socket.io.js`, namespace `/table`.
    TableSocketIo,
}

impl PageId {
    /// All of them.
    pub const ALL: [PageId; 6] =
        [PageId::Vote, PageId::Index, PageId::Chat, PageId::Group, PageId::Table, PageId::TableSocketIo];

    /// Its name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            PageId::Vote => "vote",
            PageId::Index => "index",
            PageId::Chat => "chat",
            PageId::Group => "group",
            PageId::Table => "table",
            PageId::TableSocketIo => "table-socket.io",
        }
    }
}

/// In which language a page is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Language {
    /// `en`
    English,
    /// `zh`
    Chinese,
}

impl Language {
    /// The tags of all languages; the first is for those who want none of them.
    pub const OFFERED: [&str; 2] = ["en", "zh"];

    /// The language of a tag (RFC 5646): its primary subtag counts, so `zh-Hant-TW` is Chinese; an unknown one is English.
    pub fn from_tag(tag: &str) -> Language {
        let primary = tag.split(['-', '_']).next().unwrap_or_default();
        if primary.eq_ignore_ascii_case("zh") { Language::Chinese } else { Language::English }
    }

    /// Its tag, one of [`OFFERED`](Self::OFFERED).
    pub fn tag(self) -> &'static str {
        Self::OFFERED[self.index()]
    }

    fn index(self) -> usize {
        match self {
            Language::English => 0,
            Language::Chinese => 1,
        }
    }
}

/// A page that is served beside this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link<'a> {
    /// Which.
    pub page: PageId,
    /// Where, percent-decoded, as in the table of routes.
    pub path: &'a str,
    /// For which channel; of a chat page the prefix of all its channels (`dm/`).
    pub channel: Option<&'a str>,
}

/// Where a page stands.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The name of the page's channel; of a chat page the prefix of all its channels (`dm/`).
    pub channel: Option<&'a str>,
    /// All pages of the same listener, this one too, in the order of the configuration.
    pub links: &'a [Link<'a>],
}

/// A page that shows no present state, as HTML, UTF-8. Everything in `place` is escaped. The vote page is none of these:
/// the index is in its place.
pub fn render_fixed(page: PageId, language: Language, place: &Place<'_>) -> String {
    match page {
        PageId::Vote | PageId::Index => {
            framed(PageId::Index, language, place, Shown::default(), &index::cards(language, place))
        }
        PageId::Chat | PageId::Group | PageId::Table | PageId::TableSocketIo => {
            let shown = Shown { at: None, command: Command::of(page, place.channel) };
            framed(page, language, place, shown, &())
        }
    }
}

/// What differs from page to page in the frame.
#[derive(Default)]
struct Shown {
    /// The position of the state in the page.
    at: Option<String>,
    /// At its foot.
    command: Option<Command>,
}

/// Head and foot around what `inner` makes of the page's own template.
fn framed(page: PageId, language: Language, place: &Place<'_>, shown: Shown, inner: &impl Serialize) -> String {
    let body = Body { texts: texts(page, language), channel: place.channel, inner };
    let frame = Frame {
        texts: body.texts,
        texts_json: texts_json(page, language),
        page: page.name(),
        language: language.tag(),
        channel: place.channel,
        path: place.channel.map(channel_path),
        at: shown.at,
        home: place.links.iter().find(|link| link.page == PageId::Index).map(|link| href(link.path)),
        tabs: tabs(page, language, place),
        command: shown.command,
        body: rendered(page.name(), &body),
    };
    rendered("layout", &frame)
}

fn rendered(template: &str, values: &impl Serialize) -> String {
    PAGES
        .get_template(&format!("{template}.html"))
        .and_then(|template| template.render(Serde(values)))
        .expect("the template is fixed and every value that it names is given")
}

/// What the template of a page is given.
#[derive(Serialize)]
struct Body<'a, Inner> {
    texts: &'a Texts,
    channel: Option<&'a str>,
    #[serde(flatten)]
    inner: Inner,
}

/// What the template around it is given.
#[derive(Serialize)]
struct Frame<'a> {
    texts: &'a Texts,
    texts_json: &'a str,
    page: &'static str,
    language: &'static str,
    channel: Option<&'a str>,
    path: Option<String>,
    at: Option<String>,
    home: Option<String>,
    tabs: Vec<Tab>,
    command: Option<Command>,
    body: String,
}

/// A link to a page.
#[derive(Serialize)]
struct Tab {
    label: String,
    href: String,
    current: bool,
}

/// All pages but the index. Two of the same kind are told apart by their channels.
fn tabs(page: PageId, language: Language, place: &Place<'_>) -> Vec<Tab> {
    let seen = seen(place.links);
    let tab = |link: &Link<'_>| {
        let name = texts(link.page, language)["tab"];
        let alone = seen.iter().filter(|other| other.page == link.page).count() == 1;
        Tab {
            label: if alone { name.into() } else { format!("{name} {}", link.channel.unwrap_or(link.path)) },
            href: href(link.path),
            current: (link.page, link.channel) == (page, place.channel),
        }
    };
    seen.iter().map(|link| tab(link)).collect()
}

/// The links that people see: not the index, and each page of each channel once.
fn seen<'a, 'l>(links: &'l [Link<'a>]) -> Vec<&'l Link<'a>> {
    let same = |a: &Link<'_>, b: &Link<'_>| (a.page, a.channel) == (b.page, b.channel);
    let first = |(at, link): &(usize, &Link<'_>)| !links[..*at].iter().any(|before| same(before, link));
    links.iter().enumerate().filter(first).map(|(_, link)| link).filter(|link| link.page != PageId::Index).collect()
}

/// What one types in a terminal to send something: the server's address comes between `before` and `path`.
#[derive(Serialize)]
struct Command {
    before: String,
    path: String,
}

impl Command {
    fn of(page: PageId, channel: Option<&str>) -> Option<Command> {
        let channel = channel?;
        let before = match page {
            PageId::Index => return None,
            PageId::Vote => "curl -d choice=1",
            PageId::Chat => "curl -d from=alice -d text=Hello",
            PageId::Group => "curl -d from=curl -d text=Hello",
            PageId::Table | PageId::TableSocketIo => {
                "curl --json '{\"set\":[{\"row\":\"1\",\"column\":\"age\",\"value\":\"19\"}]}'"
            }
        };
        let path = match page {
            PageId::Chat => channel_path(&format!("{channel}bob")),
            PageId::Vote | PageId::Index | PageId::Group | PageId::Table | PageId::TableSocketIo => {
                channel_path(channel)
            }
        };
        Some(Command { before: before.into(), path })
    }
}

/// A channel's URL on this server.
fn channel_path(channel: &str) -> String {
    href(&format!("/c/{channel}"))
}

/// A path as a URL has it: everything but letters, digits, `-._~` and `/` is percent-encoded.
fn href(path: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
    utf8_percent_encode(path, KEPT).to_string()
}

const COMMON_SCRIPT: &str = include_str!("../../../web/common.js");
const TALK_STYLE: &str = include_str!("../../../web/talk.css");
const TALK_SCRIPT: &str = include_str!("../../../web/talk.js");
const TABLE_HTML: &str = include_str!("../../../web/table.html");
const TABLE_STYLE: &str = include_str!("../../../web/table.css");
const TABLE_SCRIPT: &str = include_str!("../../../web/table.js");

/// What a page is made of, besides what all share: template, style, scripts in their order.
fn parts(page: PageId) -> (&'static str, &'static str, &'static [&'static str]) {
    match page {
        PageId::Vote => (
            include_str!("../../../web/vote.html"),
            include_str!("../../../web/vote.css"),
            &[COMMON_SCRIPT, include_str!("../../../web/vote.js")],
        ),
        PageId::Index => (
            include_str!("../../../web/index.html"),
            include_str!("../../../web/index.css"),
            &[include_str!("../../../web/index.js")],
        ),
        PageId::Chat => (
            include_str!("../../../web/chat.html"),
            TALK_STYLE,
            &[COMMON_SCRIPT, TALK_SCRIPT, include_str!("../../../web/chat.js")],
        ),
        PageId::Group => (
            include_str!("../../../web/group.html"),
            TALK_STYLE,
            &[COMMON_SCRIPT, TALK_SCRIPT, include_str!("../../../web/group.js")],
        ),
        PageId::Table => (TABLE_HTML, TABLE_STYLE, &[COMMON_SCRIPT, TABLE_SCRIPT]),
        PageId::TableSocketIo => {
            (TABLE_HTML, TABLE_STYLE, &[COMMON_SCRIPT, include_str!("../../../web/table-socket.io.js"), TABLE_SCRIPT])
        }
    }
}

/// Made once, never changed: all cores render from it.
static PAGES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let icon = include_str!("../../../web/icon.svg").trim_ascii();
    let icon_url = format!("data:image/svg+xml,{}", utf8_percent_encode(icon, NON_ALPHANUMERIC));
    let mut pages = Environment::new();
    let fixed = |part: &str| Value::from_safe_string(part.into());
    pages.add_global("icon", fixed(icon));
    pages.add_global("icon_url", fixed(&icon_url));
    pages.add_global("style", fixed(include_str!("../../../web/style.css")));
    let mut add = |name: String, template: &'static str| {
        pages.add_template_owned(name, template).expect("the template is fixed, and every test of this file reads it");
    };
    add("layout.html".into(), include_str!("../../../web/layout.html"));
    for page in PageId::ALL {
        add(format!("{}.html", page.name()), parts(page).0);
    }
    let by_page = |part: fn(PageId) -> String| -> Value {
        let parts = PageId::ALL.map(|page| (page.name(), Value::from_safe_string(part(page))));
        Value::from(BTreeMap::from(parts))
    };
    pages.add_global("styles", by_page(|page| parts(page).1.into()));
    pages.add_global("scripts", by_page(|page| parts(page).2.join("\n")));
    pages
});

#[cfg(test)]
mod tests;
