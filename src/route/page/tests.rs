use super::*;
use crate::engine::{Epoch, Position, TallyOption};

const LINKS: [Link<'static>; 7] = [
    Link { page: PageId::Index, path: "/", channel: None },
    Link { page: PageId::Vote, path: "/vote-page", channel: Some("poll/lunch") },
    Link { page: PageId::Vote, path: "/index", channel: Some("poll/lunch") },
    Link { page: PageId::Chat, path: "/chat", channel: Some("dm/") },
    Link { page: PageId::Group, path: "/group", channel: Some("room/lobby") },
    Link { page: PageId::Table, path: "/table", channel: Some("table/people") },
    Link { page: PageId::TableSocketIo, path: "/table-socket.io", channel: Some("table/people") },
];

fn page(page: PageId, language: Language, channel: Option<&str>, links: &[Link<'_>]) -> String {
    if page != PageId::Vote {
        return render_fixed(page, language, &Place { channel, links });
    }
    let at = Position { epoch: Epoch(0xe1f), revision: 8 };
    let options = [TallyOption { id: "yes".into(), labels: Vec::new() }];
    render(page, language, &View { channel: channel.unwrap_or("vote"), at, options: &options, counts: &[1], links })
}

/// Every page of [`LINKS`] in every language.
fn all() -> Vec<(Link<'static>, Language, String)> {
    let languages = [Language::English, Language::Chinese];
    let rendered = |link: Link<'static>| {
        languages.map(|language| (link, language, page(link.page, language, link.channel, &LINKS)))
    };
    LINKS.into_iter().flat_map(rendered).collect()
}

#[test]
fn every_page_has_its_texts_in_its_language() {
    for (link, language, text) in all() {
        let name = link.page.name();
        assert!(text.contains(&format!("<html lang=\"{}\" data-page=\"{name}\"", language.tag())), "{name}");
        let texts = texts(link.page, language);
        for key in ["title", "heading", "intro"] {
            assert!(text.contains(&format!(">{}", texts[key])), "{name}: {key}");
        }
        assert!(!text.contains("{{") && !text.contains("{%"), "{name}: a piece of the template is left");
    }
}

#[test]
fn every_text_that_a_script_or_template_asks_for_is_there() {
    // How texts are asked for: `texts.key` in both; by a key as a text in scripts.
    let asked = |part: &str| -> Vec<String> {
        let named = |mark: &'static str| {
            let word = |rest: &str| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            part.split(mark).skip(1).map(word).collect::<Vec<String>>()
        };
        let mut keys = named("texts.");
        keys.extend(named("fill(\""));
        keys.retain(|key| !key.is_empty());
        keys
    };
    for page in PageId::ALL {
        let (template, _, scripts) = parts(page);
        let layout = include_str!("../../../web/layout.html");
        let mut keys = asked(template);
        keys.extend(asked(layout));
        keys.extend(scripts.iter().flat_map(|script| asked(script)));
        assert!(keys.len() > 5, "{}: {keys:?}", page.name());
        // What the script that all pages share asks for and only some need.
        let shared = asked(COMMON_SCRIPT);
        let known = texts(page, Language::English);
        for key in keys {
            let others = shared.contains(&key)
                && PageId::ALL.iter().any(|page| texts(*page, Language::English).contains_key(&*key));
            assert!(known.contains_key(&*key) || others, "{}: {key}", page.name());
        }
    }
}

#[test]
fn texts_are_whole_in_every_language() {
    for page in PageId::ALL {
        for (key, texts) in texts::tables(page).iter().flat_map(|table| table.iter()) {
            assert!(texts.iter().all(|text| !text.is_empty()), "{key}");
            assert_eq!(texts[0].matches("{}").count(), texts[1].matches("{}").count(), "{key}");
        }
        for language in [Language::English, Language::Chinese] {
            let json: Texts = serde_json::from_str(texts_json(page, language)).expect("JSON");
            assert_eq!(json, *texts(page, language));
        }
    }
}

#[test]
fn nothing_is_fetched_and_nothing_ends_the_inlined_parts() {
    for (link, _, text) in all() {
        let name = link.page.name();
        let official = link.page == PageId::TableSocketIo;
        assert_eq!(text.matches(" src=").count(), usize::from(official), "{name}");
        assert_eq!(text.contains("<script src=\"/socket.io/socket.io.js\"></script>"), official, "{name}");
        for part in
            ["<link rel=\"stylesheet\"", "@import", "href=\"http", "eval(", " onclick=", "innerHTML", "outerHTML"]
        {
            assert!(!text.contains(part), "{name}: {part}");
        }
        for (tag, end, count) in [("<script", "</script", 1), ("<style>", "</style", 1)] {
            let count = count + usize::from(official && tag == "<script");
            assert_eq!((text.matches(tag).count(), text.matches(end).count()), (count, count), "{name}");
        }
        assert!(text.contains("href=\"data:image"), "{name}");
    }
}

#[test]
fn pages_lead_to_each_other() {
    for (link, _, text) in all() {
        let name = link.page.name();
        assert!(text.contains("<p class=\"brand\"><a href=\"&#x2f;\""), "{name}: the way home");
        let places = text.split("<a href=\"").skip(1).filter_map(|rest| rest.split('"').next());
        let places: Vec<String> = places.map(|place| place.replace("&#x2f;", "/")).collect();
        assert_eq!(places[1..], ["/vote-page", "/chat", "/group", "/table", "/table-socket.io"], "{name}");
        assert_eq!(text.matches("aria-current=\"page\"").count(), 1, "{name} knows where it is");
    }
    // No other page: no bar. No index: no way home.
    let alone = page(PageId::Group, Language::English, Some("room/a"), &[]);
    assert!(!alone.contains("<nav") && !alone.contains("<a "));
}

#[test]
fn two_pages_of_a_kind_are_told_apart_by_their_channels() {
    let links = [
        Link { page: PageId::Group, path: "/a", channel: Some("room/a") },
        Link { page: PageId::Group, path: "/b c", channel: Some("room/b") },
    ];
    let text = page(PageId::Group, Language::English, Some("room/b"), &links);
    assert!(text.contains("<a href=\"&#x2f;a\">Group room&#x2f;a</a>"));
    assert!(text.contains("<a href=\"&#x2f;b%20c\" aria-current=\"page\">Group room&#x2f;b</a>"));
}

#[test]
fn a_page_says_how_to_do_it_in_a_terminal() {
    let rows = [
        (PageId::Vote, Some("poll/a"), "curl -d choice=yes ", "/c/poll/a<"),
        (PageId::Chat, Some("dm/"), "curl -d from=alice -d text=Hello ", "/c/dm/bob<"),
        (PageId::Group, Some("room/小"), "curl -d from=curl -d text=Hello ", "/c/room/%E5%B0%8F<"),
        (PageId::Table, Some("table/a"), "curl --json &#x27;{&quot;set&quot;:[", "/c/table/a<"),
    ];
    for (id, channel, before, path) in rows {
        let text = page(id, Language::English, channel, &LINKS);
        let (_, foot) = text.split_once("<footer>").expect("a foot");
        let (foot, _) = foot.split_once("</footer>").expect("its end");
        assert!(foot.contains(before) && foot.replace("&#x2f;", "/").contains(path), "{foot}");
    }
}

#[test]
fn names_cannot_leave_their_place() {
    let evil = r#"</script><script>"'&{{ 7 * 7 }}"#;
    let links = [
        Link { page: PageId::Index, path: evil, channel: None },
        Link { page: PageId::Group, path: evil, channel: Some(evil) },
    ];
    for id in [PageId::Index, PageId::Chat, PageId::Group, PageId::Table] {
        let text = page(id, Language::English, Some(evil), &links);
        assert_eq!((text.matches("<script").count(), text.matches("</script").count()), (1, 1), "{}", id.name());
        assert!(!text.contains("'&{{") && !text.contains(">49<"), "{}", id.name());
        assert!(
            text.contains("data-channel=\"&lt;&#x2f;script&gt;&lt;script&gt;&quot;&#x27;&amp;{{ 7 * 7 }}\""),
            "{}",
            id.name()
        );
    }
}

#[test]
fn the_vote_page_without_a_vote_is_the_index() {
    let place = Place { channel: None, links: &LINKS };
    assert_eq!(
        render_fixed(PageId::Vote, Language::English, &place),
        render_fixed(PageId::Index, Language::English, &place)
    );
}

#[test]
fn names_of_pages_are_all_different() {
    for (at, page) in PageId::ALL.iter().enumerate() {
        assert!(PageId::ALL[..at].iter().all(|other| other != page && other.name() != page.name()));
    }
}

#[test]
fn a_language_is_found_by_its_tag() {
    for tag in ["zh", "ZH", "zh-CN", "zh-Hant-TW", "zh_CN"] {
        assert_eq!(Language::from_tag(tag), Language::Chinese, "{tag}");
    }
    for tag in ["en", "en-GB", "", "*", "zha", "fr"] {
        assert_eq!(Language::from_tag(tag), Language::English, "{tag}");
    }
    for tag in Language::OFFERED {
        assert_eq!(Language::from_tag(tag).tag(), tag);
    }
}
