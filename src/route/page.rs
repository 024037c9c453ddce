//! The pages: HTML with a channel's present state rendered into it. A page is one response: its style, script and icon
//! are inside, nothing is fetched from elsewhere, and it is of use without its script too.

use std::sync::LazyLock;

use minijinja::Environment;
use minijinja::value::{Serde, Value};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use crate::engine::{Position, TallyOption};

/// Which page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageId {
    /// The vote page.
    Vote,
    /// An index of what runs.
    Index,
    /// One-to-one chat.
    Chat,
    /// A group.
    Group,
    /// A shared table.
    Table,
    /// The same through the official Socket.IO client.
    TableSocketIo,
}

impl PageId {
    /// All pages.
    pub const ALL: [PageId; 6] =
        [PageId::Vote, PageId::Index, PageId::Chat, PageId::Group, PageId::Table, PageId::TableSocketIo];

    /// The name in a configuration.
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

/// What a page of no fixed state is given.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The name of its channel; for the chat the beginning of the users' channels.
    pub channel: Option<&'a str>,
    /// The pages of the same listener, itself included.
    pub links: &'a [Link<'a>],
}

/// A page of the same listener.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    /// Which.
    pub page: PageId,
    /// Where.
    pub path: &'a str,
    /// Its channel.
    pub channel: Option<&'a str>,
}

/// A page that does not show its channel's present state by itself.
pub fn render_fixed(page: PageId, language: Language, place: &Place<'_>) -> String {
    let _ = (page, language, place);
    String::new()
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

/// What a page shows: a channel's state at a position.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The channel's name.
    pub channel: &'a str,
    /// The position of the counts; the page listens from there on.
    pub at: Position,
    /// What can be voted for, in the order in which it is shown.
    pub options: &'a [TallyOption],
    /// A count for each option; one that is missing is 0.
    pub counts: &'a [u64],
}

/// The page as HTML, UTF-8. Everything in `view` is escaped.
pub fn render(page: PageId, language: Language, view: &View<'_>) -> String {
    match page {
        PageId::Vote => render_vote(language, view),
        PageId::Index | PageId::Chat | PageId::Group | PageId::Table | PageId::TableSocketIo => String::new(),
    }
}

fn render_vote(language: Language, view: &View<'_>) -> String {
    let of = |index: usize| view.counts.get(index).copied().unwrap_or(0);
    let counts: Vec<u64> = (0..view.options.len()).map(of).collect();
    let total = counts.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
    let shares = percentages(&counts);
    let standings = standings(&counts);
    let options = view
        .options
        .iter()
        .enumerate()
        .map(|(index, option)| Row {
            id: &option.id,
            label: label(option, language),
            count: counts[index],
            share: shares[index],
            width: width(counts[index], total),
            standing: standings[index],
        })
        .collect();
    let ballot = Ballot {
        language: language.tag(),
        channel: view.channel,
        path: channel_path(view.channel),
        at: view.at.to_string(),
        total,
        strokes: strokes_drawn(total),
        marks: MARKS[language.index()],
        options,
    };
    PAGES
        .get_template("vote.html")
        .and_then(|template| template.render(Serde(&ballot)))
        .expect("the template is fixed and every value that it names is given")
}

/// What the template of the vote page is given.
#[derive(Serialize)]
struct Ballot<'a> {
    language: &'static str,
    channel: &'a str,
    path: String,
    at: String,
    total: u64,
    strokes: u64,
    marks: [&'static str; 5],
    options: Vec<Row<'a>>,
}

/// One option in it.
#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    label: &'a str,
    count: u64,
    /// Percent of all votes, whole.
    share: u64,
    /// Percent of all votes, as the length of the bar.
    width: String,
    /// `leads`, `tied` or nothing.
    standing: &'static str,
}

/// Made once, never changed: all cores render from it.
static PAGES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let icon = include_str!("../../web/icon.svg").trim_ascii();
    let icon_url = format!("data:image/svg+xml,{}", utf8_percent_encode(icon, NON_ALPHANUMERIC));
    let mut pages = Environment::new();
    for (name, part) in [
        ("style", include_str!("../../web/style.css")),
        ("script", include_str!("../../web/vote.js")),
        ("icon", icon),
        ("icon_url", &icon_url),
    ] {
        pages.add_global(name, Value::from_safe_string(part.into()));
    }
    for language in [Language::English, Language::Chinese] {
        let texts = texts(language);
        // The script reads them from an attribute: escaped there by the template, so that no text can end it.
        let json = serde_json::Value::Object(texts.clone()).to_string();
        pages.add_global(format!("texts_{}", language.tag()), Value::from(Serde(texts)));
        pages.add_global(format!("texts_json_{}", language.tag()), json);
    }
    pages
        .add_template("vote.html", include_str!("../../web/vote.html"))
        .expect("the template is fixed, and every test of this file reads it");
    pages
});

/// Five strokes that people count by, in a box of 32 x 24: the five-bar gate, and the five strokes of 正.
const MARKS: [[&str; 5]; 2] = [
    ["M6 3.6 5.3 20.6", "M12.4 3 12 21.2", "M18.7 3.5 18.5 20.7", "M25 2.9 24.7 21", "M2 18.4C10 14.4 20 9.6 29.6 5.2"],
    [
        "M6.4 4.2C13 4.4 20 4.1 25.8 3.7",
        "M16.2 4.2C16.4 9 16.2 15 16 20.4",
        "M16.4 11.8C19 11.8 21.6 11.6 24 11.3",
        "M9.6 11.2C9.8 14 9.7 17 9.5 20.4",
        "M4.4 20.8C12 20.5 20 20.4 27.8 20.6",
    ],
];

/// How many strokes of the last five stand: after 5, all five, until 6 begins anew.
fn strokes_drawn(total: u64) -> u64 {
    if total == 0 { 0 } else { (total - 1) % 5 + 1 }
}

/// The option's label in this language, or its first one, or its id.
fn label(option: &TallyOption, language: Language) -> &str {
    let wanted = |(tag, _): &&(_, String)| tag == language.tag();
    option.labels.iter().find(wanted).or(option.labels.first()).map_or(option.id.as_str(), |(_, text)| text.as_str())
}

/// The channel's URL on this server: everything but letters, digits, `-._~` and `/` is percent-encoded.
fn channel_path(channel: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
    format!("/c/{}", utf8_percent_encode(channel, KEPT))
}

fn width(count: u64, total: u64) -> String {
    let percent = if total == 0 { 0.0 } else { count as f64 / total as f64 * 100.0 };
    format!("{percent:.2}%")
}

/// Whole percentages by largest remainder, but equal counts get equal ones: never above 100 together, and at 100 unless
/// a tie forbids it (1, 1, 1 is 33, 33, 33). More votes are never a smaller percentage. vote.js counts in the same way.
fn percentages(counts: &[u64]) -> Vec<u64> {
    let total: u128 = counts.iter().map(|count| u128::from(*count)).sum();
    if total == 0 {
        return vec![0; counts.len()];
    }
    let parts = |index: usize| u128::from(counts[index]) * 100;
    let mut shares: Vec<u64> = (0..counts.len()).map(|index| (parts(index) / total) as u64).collect();
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse((parts(*index) % total, counts[*index])));
    let mut missing = 100 - shares.iter().sum::<u64>();
    for tie in order.chunk_by(|a, b| counts[*a] == counts[*b]) {
        if tie.len() as u64 > missing {
            break;
        }
        missing -= tie.len() as u64;
        tie.iter().for_each(|index| shares[*index] += 1);
    }
    shares
}

fn standings(counts: &[u64]) -> Vec<&'static str> {
    let most = counts.iter().copied().max().unwrap_or(0);
    let leaders = counts.iter().filter(|count| **count == most).count();
    let standing = |count: &u64| match (*count == most && most > 0, leaders) {
        (false, _) => "",
        (true, 1) => "leads",
        (true, _) => "tied",
    };
    counts.iter().map(standing).collect()
}

/// What the page says, in one language.
fn texts(language: Language) -> serde_json::Map<String, serde_json::Value> {
    let text = |(key, texts): &(&str, [&str; 2])| ((*key).into(), texts[language.index()].into());
    TEXTS.iter().map(text).collect()
}

/// By key, in the order of [`Language::OFFERED`]. `{}` is put in by the script; `code_*` are the refusals of the protocol.
const TEXTS: &[(&str, [&str; 2])] = &[
    ("title", ["Cast your vote", "投票"]),
    ("heading", ["Cast your vote.", "请投一票"]),
    (
        "intro",
        [
            "Tap a candidate. Everyone who is watching sees the mark at once.",
            "点选候选项，所有在看的人立刻就能看到这一笔。",
        ],
    ),
    ("candidates", ["Candidates", "候选项"]),
    ("vote_for", ["Vote for", "投给"]),
    ("vote", ["vote", "票"]),
    ("votes", ["votes", "票"]),
    ("listener", ["watching now", "人正在看"]),
    ("listeners", ["watching now", "人正在看"]),
    ("leads", ["Leading", "领先"]),
    ("tied", ["Tied", "并列"]),
    ("yours", ["Yours", "你投的"]),
    ("connecting", ["Connecting", "正在连接"]),
    ("live", ["Live", "已连接"]),
    ("waiting", ["Reconnecting", "正在重连"]),
    ("offline", ["Offline", "网络已断开"]),
    ("in_seconds", ["in {} s", "{} 秒后重试"]),
    ("now", ["Now", "马上重试"]),
    ("counted", ["Your vote for {} is counted.", "已计入：你投给了{}。"]),
    ("refused", ["Not counted: {}", "未计入：{}"]),
    (
        "unsent",
        ["Not sent: there is no connection. Vote again when it is back.", "未发送：连接已断开。恢复后请再投一次。"],
    ),
    (
        "unknown",
        [
            "The connection broke: your vote for {} may or may not be counted.",
            "连接中断：你投给{}的这一票是否计入，尚不清楚。",
        ],
    ),
    ("crowded", ["Not sent: your earlier votes are still on their way.", "未发送：之前的投票还在途中。"]),
    ("announce_lead", ["{} leads.", "{}领先。"]),
    ("announce_tie", ["There is a tie for the lead.", "目前并列领先。"]),
    ("code_unknown_option", ["there is no such candidate.", "没有这个候选项。"]),
    ("code_malformed", ["the server could not read it.", "服务器无法识别。"]),
    ("code_read_only", ["voting is not allowed from here.", "此处不允许投票。"]),
    ("code_wrong_type", ["this channel takes no votes.", "该频道不接受投票。"]),
    ("code_full", ["the server is full.", "服务器已满。"]),
    ("code_busy", ["the server is busy. Try again in a moment.", "服务器繁忙，请稍后再试。"]),
    ("code_failed", ["the vote failed and begins anew.", "投票出现故障，已重新开始。"]),
    ("code_not_found", ["this vote does not exist any more.", "该投票已不存在。"]),
    (
        "without_script",
        [
            "Without JavaScript this page reloads itself every two seconds; the answer to a vote appears here:",
            "未启用 JavaScript：页面每两秒自动刷新，投票结果显示在下面：",
        ],
    ),
    ("answer", ["Answer to your vote", "投票结果"]),
    ("elsewhere", ["From a terminal", "在终端里投票"]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Epoch;

    fn option(id: &str, labels: &[(&str, &str)]) -> TallyOption {
        TallyOption {
            id: id.into(),
            labels: labels.iter().map(|(tag, text)| ((*tag).into(), (*text).into())).collect(),
        }
    }

    fn page(language: Language, channel: &str, options: &[TallyOption], counts: &[u64]) -> String {
        let at = Position { epoch: Epoch(0xe1f), revision: 8 };
        let view = View { channel, at, options, counts };
        render(PageId::Vote, language, &view)
    }

    fn lunch() -> Vec<TallyOption> {
        vec![
            option("1", &[("en", "Noodles"), ("zh", "面条")]),
            option("2", &[("en", "Rice"), ("zh", "米饭")]),
            option("3", &[("en", "Bread")]),
        ]
    }

    /// What a program reads from the page: id, label, count, percentage, standing, width of the bar.
    fn rows(page: &str) -> Vec<[&str; 6]> {
        fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
            let (_, rest) = text.split_once(before).expect(before);
            rest.split_once(after).expect(after).0
        }
        let row = |item| {
            [
                between(item, "", "\""),
                between(item, "class=\"label\" dir=\"auto\">", "<"),
                between(item, "class=\"count\">", "<"),
                between(item, "class=\"share\">", "%<"),
                between(item, "data-standing=\"", "\""),
                between(item, "class=\"fill\" width=\"", "\""),
            ]
        };
        let list = between(page, "<ol", "</ol>");
        list.split("<li data-option=\"").skip(1).map(row).collect()
    }

    #[test]
    fn both_languages_show_the_state() {
        let english = page(Language::English, "poll/lunch", &lunch(), &[5, 3, 0]);
        let chinese = page(Language::Chinese, "poll/lunch", &lunch(), &[5, 3, 0]);
        assert_eq!(
            rows(&english),
            [
                ["1", "Noodles", "5", "63", "leads", "62.50%"],
                ["2", "Rice", "3", "37", "", "37.50%"],
                ["3", "Bread", "0", "0", "", "0.00%"],
            ]
        );
        assert_eq!(rows(&chinese).iter().map(|row| row[1]).collect::<Vec<_>>(), ["面条", "米饭", "Bread"]);
        for (text, wanted) in [
            (&english, ["<html lang=\"en\"", "Cast your vote.", ">Leading<", ">votes<"]),
            (&chinese, ["<html lang=\"zh\"", "请投一票", ">领先<", ">票<"]),
        ] {
            for part in wanted {
                assert!(text.contains(part), "{part}");
            }
            assert!(text.contains("data-position=\"e1f-8\"") && text.contains("data-strokes=\"3\""));
            assert!(text.contains("<form method=\"post\" action=\"/ticket\" target=\"answer\""));
            assert!(text.contains("<button name=\"nid\" value=\"2\">"));
            assert!(text.contains("<noscript><meta http-equiv=\"refresh\" content=\"2\"></noscript>"));
            assert!(!text.contains("{{") && !text.contains("{%"));
        }
    }

    #[test]
    fn nothing_is_fetched_and_nothing_ends_the_inlined_parts() {
        let text = page(Language::English, "vote", &lunch(), &[]);
        for part in [" src=", "<link rel=\"stylesheet\"", "@import", "href=\"http", "eval(", " onclick="] {
            assert!(!text.contains(part), "{part}");
        }
        for (tag, end, count) in [("<script>", "</script", 1), ("<style>", "</style", 1)] {
            assert_eq!((text.matches(tag).count(), text.matches(end).count()), (count, count));
        }
        assert!(text.contains("href=\"data:image"));
    }

    #[test]
    fn names_and_labels_cannot_leave_their_place() {
        let evil = r#"</script><script>"'&{{ 7 * 7 }}"#;
        let options = [option(evil, &[("en", evil)]), option("2", &[])];
        let text = page(Language::English, evil, &options, &[1]);
        assert_eq!(text.matches("<script").count(), 1);
        assert_eq!(text.matches("</script").count(), 1);
        assert!(!text.contains("'&{{") && !text.contains(">49<"));
        let escaped = "&lt;&#x2f;script&gt;&lt;script&gt;&quot;&#x27;&amp;{{ 7 * 7 }}";
        assert_eq!(rows(&text)[0][..3], [escaped, escaped, "1"]);
        assert_eq!(rows(&text)[1][..3], ["2", "2", "0"]);
        assert!(text.contains(&format!("data-channel=\"{escaped}\"")));
        let path = "&#x2f;c&#x2f;%3C&#x2f;script%3E%3Cscript%3E%22%27%26%7B%7B%207%20%2A%207%20%7D%7D";
        assert!(text.contains(&format!("data-path=\"{path}\"")));
    }

    #[test]
    fn no_votes_are_shown_as_nothing() {
        let text = page(Language::English, "vote", &lunch(), &[0, 0, 0]);
        for row in rows(&text) {
            assert_eq!(row[2..], ["0", "0", "", "0.00%"]);
        }
        assert!(text.contains("data-strokes=\"0\"") && text.contains("<strong id=\"total\">0</strong>"));
        assert!(rows(&page(Language::Chinese, "vote", &[], &[])).is_empty());
    }

    #[test]
    fn one_vote_is_singular() {
        let text = page(Language::English, "vote", &lunch(), &[1]);
        assert!(text.contains("<span class=\"count\">1</span> <span class=\"unit\">vote</span>"));
        assert!(text.contains("<span class=\"count\">0</span> <span class=\"unit\">votes</span>"));
    }

    #[test]
    fn percentages_add_up_and_are_fair() {
        let most = u64::MAX;
        let rows: &[(&[u64], &[u64])] = &[
            (&[], &[]),
            (&[0, 0], &[0, 0]),
            (&[1], &[100]),
            (&[1, 1], &[50, 50]),
            (&[1, 1, 1], &[33, 33, 33]),
            (&[2, 1], &[67, 33]),
            (&[5, 3], &[63, 37]),
            (&[1, 1, 4], &[16, 16, 67]),
            (&[199, 1], &[100, 0]),
            (&[most, most], &[50, 50]),
            (&[most, 0, most - 1], &[50, 0, 50]),
        ];
        for (counts, shares) in rows {
            assert_eq!(percentages(counts), *shares, "{counts:?}");
        }
        for a in 0..14_u64 {
            for b in 0..14 {
                for c in 0..14 {
                    let (counts, shares) = ([a, b, c], percentages(&[a, b, c]));
                    let total = a + b + c;
                    assert!(shares.iter().sum::<u64>() <= 100, "{counts:?} {shares:?}");
                    for (i, j) in [(0, 1), (1, 2), (0, 2)] {
                        assert_eq!(
                            counts[i].cmp(&counts[j]),
                            counts[i].cmp(&counts[j]).then(shares[i].cmp(&shares[j]))
                        );
                    }
                    for (count, share) in counts.iter().zip(&shares) {
                        assert!((share * total).abs_diff(count * 100) < total.max(1), "{counts:?} {shares:?}");
                    }
                    let distinct = a != b && b != c && a != c;
                    assert!(!distinct || shares.iter().sum::<u64>() == 100, "{counts:?} {shares:?}");
                }
            }
        }
    }

    #[test]
    fn strokes_stand_until_the_next_five_begin() {
        let drawn: Vec<u64> = (0..=11).map(strokes_drawn).collect();
        assert_eq!(drawn, [0, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1]);
    }

    #[test]
    fn leaders_lead_alone_or_are_tied() {
        assert_eq!(standings(&[0, 0]), ["", ""]);
        assert_eq!(standings(&[2, 1, 0]), ["leads", "", ""]);
        assert_eq!(standings(&[2, 1, 2]), ["tied", "", "tied"]);
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
        for (key, texts) in TEXTS {
            assert!(texts.iter().all(|text| !text.is_empty()), "{key}");
            assert_eq!(texts[0].matches("{}").count(), texts[1].matches("{}").count(), "{key}");
        }
    }
}
