//! `vote`: a message is an option's id.

use compact_str::CompactString;

use super::{Deed, Message};
use crate::base::limits::OPTION_BYTES_MAX;
use crate::engine::{Act, Refusal};

const EXPECTED: &str = "an option's id as text, at most 64 bytes";

pub(super) fn receive(message: Message<'_>) -> Result<Deed, Refusal> {
    let Message::Text(choice) = message else {
        return Err(Refusal::Malformed { expected: EXPECTED });
    };
    let choice = choice.trim_ascii();
    if choice.is_empty() || choice.len() > OPTION_BYTES_MAX {
        return Err(Refusal::Malformed { expected: EXPECTED });
    }
    Ok(Deed::Op(Act::Cast { choice: CompactString::new(choice) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_a_short_text() {
        let cast = |choice: &str| Ok(Deed::Op(Act::Cast { choice: choice.into() }));
        assert_eq!(receive(Message::Text("1")), cast("1"));
        assert_eq!(receive(Message::Text(" 小明\n")), cast("小明"));
        let no = Err(Refusal::Malformed { expected: EXPECTED });
        assert_eq!(receive(Message::Text("")), no);
        assert_eq!(receive(Message::Text("  ")), no);
        assert_eq!(receive(Message::Text(&"x".repeat(65))), no);
        assert_eq!(receive(Message::Binary(b"1")), no);
    }
}
