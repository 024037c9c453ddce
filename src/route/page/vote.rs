//! The vote page: the present state is rendered into it.

use serde::Serialize;

use super::{Command, Language, Link, PageId, Place, Shown, channel_path, framed, render_fixed};
use crate::engine::{Position, TallyOption};

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
    /// All pages of the same listener, this one too, in the order of the configuration.
    pub links: &'a [Link<'a>],
}

/// The page as HTML, UTF-8. Everything in `view` is escaped. Pages that show no present state are as
/// [`render_fixed`] makes them.
pub fn render(page: PageId, language: Language, view: &View<'_>) -> String {
    let place = Place { channel: Some(view.channel), links: view.links };
    match page {
        PageId::Vote => {
            let first = view.options.first().map_or("1", |option| option.id.as_str());
            let command = Command { before: format!("curl -d choice={first}"), path: channel_path(view.channel) };
            let shown = Shown { at: Some(view.at.to_string()), command: Some(command) };
            framed(page, language, &place, shown, &ballot(language, view))
        }
        PageId::Index | PageId::Chat | PageId::Group | PageId::Table | PageId::TableSocketIo => {
            render_fixed(page, language, &place)
        }
    }
}

fn ballot<'a>(language: Language, view: &View<'a>) -> Ballot<'a> {
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
    Ballot { total, strokes: strokes_drawn(total), marks: MARKS[language.index()], options }
}

/// What the template of the vote page is given.
#[derive(Serialize)]
struct Ballot<'a> {
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
        let view = View { channel, at, options, counts, links: &[] };
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
}
