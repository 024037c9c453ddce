//! The index: a card for each page, and what to type in a terminal.

use serde::Serialize;

use super::texts::texts;
use super::{Command, Language, PageId, Place, channel_path, href, seen};

/// What the index's template is given.
#[derive(Serialize)]
pub(super) struct Cards<'a> {
    cards: Vec<Card<'a>>,
    /// Of the channel that the terminal's examples are about.
    example: Option<String>,
}

/// One page in it.
#[derive(Serialize)]
struct Card<'a> {
    page: &'static str,
    title: &'static str,
    about: &'static str,
    href: String,
    channel: Option<&'a str>,
    command: Option<Command>,
}

/// A card for each page.
pub(super) fn cards<'a>(language: Language, place: &Place<'a>) -> Cards<'a> {
    let seen = seen(place.links);
    let example = seen.iter().filter(|link| link.page != PageId::Chat).find_map(|link| link.channel);
    let cards = seen.iter().map(|link| {
        let texts = texts(link.page, language);
        Card {
            page: link.page.name(),
            title: texts["title"],
            about: texts["about"],
            href: href(link.path),
            channel: link.channel,
            command: Command::of(link.page, link.channel),
        }
    });
    Cards { cards: cards.collect(), example: example.map(channel_path) }
}
