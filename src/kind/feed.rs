//! `feed`: publishers send by HTTP, everyone else listens.

use super::{By, Deed, Message, Sender};
use crate::engine::{Act, Body, Refusal};

const EXPECTED: &str = "a text, or bytes";

pub(super) fn receive(who: Sender<'_>, message: Message<'_>) -> Result<Deed, Refusal> {
    if who.by == By::Listener {
        return Err(Refusal::ReadOnly);
    }
    let body = match message {
        Message::Text(text) => Body::Text(text.into()),
        Message::Binary(bytes) => Body::Binary(bytes.into()),
        Message::To { .. } | Message::Table(_) | Message::Editing(_) => {
            return Err(Refusal::Malformed { expected: EXPECTED });
        }
    };
    Ok(Deed::Op(Act::Append { body, from: who.user.cloned(), echo: true, only_if_heard: false }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_publishers_publish() {
        let who = |by| Sender { by, user: None };
        assert_eq!(receive(who(By::Listener), Message::Text("news")), Err(Refusal::ReadOnly));
        let body = Body::Binary(b"\xff".as_slice().into());
        let append = Act::Append { body, from: None, echo: true, only_if_heard: false };
        assert_eq!(receive(who(By::Publisher), Message::Binary(b"\xff")), Ok(Deed::Op(append)));
    }
}
