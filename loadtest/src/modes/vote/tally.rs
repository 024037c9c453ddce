//! What a message says about a vote, in any of the dialects that are known.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// A message, as far as it is about the counts.
#[derive(Debug, PartialEq)]
pub(crate) enum Told {
    /// All counts, by the option's place.
    Counts(Vec<u64>),
    /// One vote: the option's place, and its count with it.
    Step(usize, u64),
    /// A vote was accepted.
    Accepted,
    /// A vote was refused, and why.
    Refused(String),
    /// Something else.
    Other,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step<'a> {
    #[serde(alias = "cid", alias = "uid", alias = "id", borrow)]
    option: &'a str,
    count: u64,
}

/// Reads a message: a step `{"cid": "1", "count": 3}`; counts `{"1": 3, "2": 0}`, alone or as the `counts` of an
/// object, or the `options` of a snapshot's `state`; `ok` and `refused`, or `error`. An option that is not named has 0.
pub(crate) fn told(message: &[u8], options: &[String]) -> Told {
    let place = |id: &str| options.iter().position(|option| option == id);
    if let Ok(step) = serde_json::from_slice::<Step<'_>>(message) {
        return place(step.option).map_or(Told::Other, |place| Told::Step(place, step.count));
    }
    let Ok(Value::Object(object)) = serde_json::from_slice::<Value>(message) else { return Told::Other };
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    match text("type") {
        Some("ok") => return Told::Accepted,
        Some("refused") => return Told::Refused(text("code").unwrap_or("refused").to_owned()),
        _ => {}
    }
    if let Some(error) = text("error") {
        return Told::Refused(error.to_owned());
    }
    if let Some(Value::Array(listed)) = object.get("state").and_then(|state| state.get("options")) {
        let count = |option: &Value| Some((option.get("id")?.as_str()?.to_owned(), option.get("count")?.as_u64()?));
        let listed: BTreeMap<String, u64> = listed.iter().filter_map(count).collect();
        return counts(options, |option| listed.get(option).copied()).unwrap_or(Told::Other);
    }
    let named = object.get("counts").and_then(Value::as_object).unwrap_or(&object);
    counts(options, |option| named.get(option).and_then(Value::as_u64)).unwrap_or(Told::Other)
}

/// The counts, if any of the options is named.
fn counts(options: &[String], count: impl Fn(&str) -> Option<u64>) -> Option<Told> {
    let found: Vec<Option<u64>> = options.iter().map(|option| count(option)).collect();
    found.iter().any(Option::is_some).then(|| Told::Counts(found.into_iter().map(Option::unwrap_or_default).collect()))
}

/// What one listener knows of the counts, and what was wrong with how it was told.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// The counts as last told; in steps, what the steps come to.
    pub(crate) counts: Vec<Option<u64>>,
    /// Steps that came, each once.
    pub(crate) steps: u64,
    /// All counts were told at some time: then not every vote is to be told by a step.
    pub(crate) has_tally: bool,
    /// In steps: those that were skipped.
    pub(crate) lost: u64,
    /// In steps: those that came again.
    pub(crate) doubled: u64,
    /// Counts that went back.
    pub(crate) backward: u64,
}

impl Standing {
    /// Nothing is known yet.
    pub(crate) fn new(options: usize) -> Self {
        Self { counts: vec![None; options], steps: 0, has_tally: false, lost: 0, doubled: 0, backward: 0 }
    }

    /// All counts were told.
    pub(crate) fn counts(&mut self, told: &[u64]) {
        self.has_tally = true;
        for (known, told) in self.counts.iter_mut().zip(told) {
            self.backward += u64::from(known.is_some_and(|known| *told < known));
            *known = Some(*told);
        }
    }

    /// One vote was told. The first step of an option says where it began, unless that was known.
    pub(crate) fn step(&mut self, option: usize, count: u64) {
        match self.counts[option] {
            Some(known) if count <= known => {
                self.doubled += 1;
                return;
            }
            Some(known) => self.lost += count - known - 1,
            None => {}
        }
        self.steps += 1;
        self.counts[option] = Some(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialect_is_understood() {
        let options = ["1".to_owned(), "2".to_owned()];
        for (message, wanted) in [
            (r#"{"cid": "1", "count": 3}"#, Told::Step(0, 3)),
            (r#"{"uid":"2","count":9}"#, Told::Step(1, 9)),
            (r#"{"cid":"7","count":9}"#, Told::Other),
            (r#"{"1":5,"2":6}"#, Told::Counts(vec![5, 6])),
            (r#"{"2":6}"#, Told::Counts(vec![0, 6])),
            (r#"{"type":"tally","at":"e-3","counts":{"1":1,"2":2},"total":3}"#, Told::Counts(vec![1, 2])),
            (
                r#"{"type":"snapshot","at":"e-0","state":{"options":[{"id":"1","label":{"en":"x"},"count":4},{"id":"2","count":0}],"total":4}}"#,
                Told::Counts(vec![4, 0]),
            ),
            (r#"{"type":"ok","id":7,"at":"e-1"}"#, Told::Accepted),
            (r#"{"type":"refused","code":"unknown_option"}"#, Told::Refused("unknown_option".to_owned())),
            (r#"{"error":"unknown_option","expected":"1"}"#, Told::Refused("unknown_option".to_owned())),
            (r#"{"type":"listeners","count":2}"#, Told::Other),
            (r#"{"type":"resumed","at":"e-1"}"#, Told::Other),
            ("[1,2]", Told::Other),
            ("hello", Told::Other),
        ] {
            assert_eq!(told(message.as_bytes(), &options), wanted, "{message}");
        }
    }

    /// Steps; the counts that they come to, how many were lost, how many doubled.
    type Row = (&'static [(usize, u64)], &'static [Option<u64>], u64, u64);

    #[test]
    fn a_standing_counts_what_is_wrong() {
        let rows: &[Row] = &[
            (&[(0, 1), (0, 2), (1, 1)], &[Some(2), Some(1)], 0, 0),
            (&[(0, 5), (0, 6)], &[Some(6), None], 0, 0),
            (&[(0, 1), (0, 4)], &[Some(4), None], 2, 0),
            (&[(0, 1), (0, 1), (0, 2)], &[Some(2), None], 0, 1),
        ];
        for (steps, counts, lost, doubled) in rows {
            let mut standing = Standing::new(2);
            steps.iter().for_each(|(option, count)| standing.step(*option, *count));
            assert_eq!(
                (standing.counts.as_slice(), standing.lost, standing.doubled),
                (*counts, *lost, *doubled),
                "{steps:?}"
            );
        }
        let mut standing = Standing::new(2);
        standing.counts(&[3, 4]);
        standing.counts(&[5, 2]);
        standing.step(0, 7);
        assert!(standing.has_tally && standing.steps == 1);
        assert_eq!((standing.backward, standing.lost, standing.counts), (1, 1, vec![Some(7), Some(2)]));
    }
}
