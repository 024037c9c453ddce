//! Positions, and whether answers follow each other without a hole.

use std::str::FromStr;

use serde::Deserialize;

/// `EPOCH-REVISION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The epoch, in hexadecimal digits.
    pub(crate) epoch: String,
    pub(crate) revision: u64,
}

impl FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (epoch, revision) = text.rsplit_once('-').ok_or(())?;
        let is_epoch = !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_hexdigit());
        let revision = revision.parse().map_err(|_| ())?;
        if is_epoch { Ok(Self { epoch: epoch.to_owned(), revision }) } else { Err(()) }
    }
}

/// The answer to a poll.
#[derive(Debug, Deserialize)]
pub(super) struct Answer<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    /// Where to go on.
    pub(super) at: &'a str,
    #[serde(default, borrow)]
    publications: Vec<Publication<'a>>,
}

#[derive(Debug, Deserialize)]
struct Publication<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    at: &'a str,
}

/// What an answer brought.
#[derive(Debug, PartialEq)]
pub(super) struct News {
    pub(super) position: Position,
    /// The revisions that came one by one; of a snapshot, its own.
    pub(super) revisions: Vec<u64>,
    pub(super) is_snapshot: bool,
}

/// What an answer brings to whom knows `known`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn follow(known: Option<&Position>, body: &[u8]) -> Result<News, &'static str> {
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|_| "an answer that is not understood")?;
    let position: Position = answer.at.parse().map_err(|()| "an answer without a position")?;
    if known.is_some_and(|known| known.epoch != position.epoch) {
        return Err("another epoch: the server has lost its history");
    }
    if known.is_some_and(|known| position.revision < known.revision) {
        return Err("a position that goes back");
    }
    if answer.kind == "snapshot" {
        let revisions = vec![position.revision];
        return Ok(News { position, revisions, is_snapshot: true });
    }
    let mut last = known.ok_or("publications behind no position")?.revision;
    let mut revisions = Vec::with_capacity(answer.publications.len());
    for publication in &answer.publications {
        let at: Position = publication.at.parse().map_err(|()| "a publication without a position")?;
        // A tally stands for all votes up to its own; of all else there is one for each revision.
        let is_next = if publication.kind == "tally" { at.revision > last } else { at.revision == last + 1 };
        if at.epoch != position.epoch || !is_next {
            return Err("a publication that does not follow the one before");
        }
        last = at.revision;
        revisions.push(last);
    }
    if last != position.revision {
        return Err("a position that is not that of the last publication");
    }
    Ok(News { position, revisions, is_snapshot: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions() {
        for (text, wanted) in [
            ("efc9-13", Some(("efc9", 13))),
            ("0-0", Some(("0", 0))),
            ("-1", None),
            ("xyz-1", None),
            ("efc9-", None),
            ("efc9", None),
            ("e-1-2", None),
        ] {
            let found = text.parse::<Position>().ok();
            assert_eq!(found.as_ref().map(|found| (found.epoch.as_str(), found.revision)), wanted, "{text}");
        }
    }

    /// What is known, the body, and the revisions or what is wrong.
    type Row = (Option<&'static str>, String, Result<Vec<u64>, &'static str>);

    #[test]
    fn holes_are_found() {
        let publications = |kind: &str, at: &str, revisions: &[u64]| {
            let each = revisions.iter().map(|at| format!(r#"{{"type":"{kind}","at":"e-{at}","text":"x"}}"#));
            let list = each.collect::<Vec<_>>().join(",");
            format!(r#"{{"type":"publications","channel":"c","at":"{at}","publications":[{list}]}}"#)
        };
        let snapshot = |at: &str| format!(r#"{{"type":"snapshot","at":"{at}","state":{{"messages":[]}}}}"#);
        let rows: Vec<Row> = vec![
            (None, snapshot("e-4"), Ok(vec![4])),
            (Some("e-3"), snapshot("e-4"), Ok(vec![4])),
            (Some("e-5"), snapshot("e-4"), Err("a position that goes back")),
            (Some("d-3"), snapshot("e-4"), Err("another epoch: the server has lost its history")),
            (Some("e-3"), publications("message", "e-5", &[4, 5]), Ok(vec![4, 5])),
            (Some("e-3"), publications("message", "e-3", &[]), Ok(vec![])),
            (
                Some("e-3"),
                publications("message", "e-5", &[5]),
                Err("a publication that does not follow the one before"),
            ),
            (Some("e-3"), publications("tally", "e-5", &[5]), Ok(vec![5])),
            (
                Some("e-3"),
                publications("message", "e-4", &[4, 4]),
                Err("a publication that does not follow the one before"),
            ),
            (
                Some("e-3"),
                publications("message", "e-6", &[4, 5]),
                Err("a position that is not that of the last publication"),
            ),
            (
                Some("e-3"),
                publications("message", "e-4", &[]),
                Err("a position that is not that of the last publication"),
            ),
            (None, publications("message", "e-4", &[4]), Err("publications behind no position")),
            (None, "{}".to_owned(), Err("an answer that is not understood")),
        ];
        for (known, body, wanted) in rows {
            let known = known.map(|known| known.parse::<Position>().unwrap());
            let found = follow(known.as_ref(), body.as_bytes()).map(|news| news.revisions);
            assert_eq!(found, wanted, "{known:?} {body}");
        }
    }
}
