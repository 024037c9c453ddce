//! `direct`: a message is for one user, who may be connected several times. A message by HTTP is for the user whose
//! channel it is sent to.

use super::{By, Deed, Manners, Message, Sender, body, user_name};
use crate::base::limits::Limits;
use crate::engine::{Act, Refusal};

const EXPECTED: &str = "a text and the name of the user whom it is for";

pub(super) fn receive(
    manners: &Manners,
    limits: &Limits,
    who: Sender<'_>,
    message: Message<'_>,
) -> Result<Deed, Refusal> {
    let (to, message) = match (who.by, message) {
        (_, Message::To { user, text }) => (Some(user_name(user)?), Message::Text(text)),
        (By::Publisher, message) => (None, message),
        (By::Listener, _) => return Err(Refusal::Malformed { expected: EXPECTED }),
    };
    let body = body(limits, message, EXPECTED)?;
    // Who writes to themselves gets it.
    let act = Act::Append { body, from: who.user.cloned(), echo: true, only_if_heard: !manners.keep_for_absent };
    Ok(match to {
        Some(user) => Deed::OpOf(user, act),
        None => Deed::Op(act),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Body;

    #[test]
    fn a_message_is_for_one_user() {
        let limits = Limits { text_bytes_max: 6, ..Limits::default() };
        let user = "alice".into();
        let listener = Sender { by: By::Listener, user: Some(&user) };
        let publisher = Sender { by: By::Publisher, user: None };
        let refuses = Manners::default();
        let keeps = Manners { keep_for_absent: true, ..Manners::default() };
        let act =
            |from, only_if_heard| Act::Append { body: Body::Text("你好".into()), from, echo: true, only_if_heard };
        let to = |user| Message::To { user, text: "你好" };
        let from_alice = act(Some(user.clone()), true);
        assert_eq!(receive(&refuses, &limits, listener, to("小花")), Ok(Deed::OpOf("小花".into(), from_alice)));
        assert_eq!(receive(&keeps, &limits, publisher, to("bob")), Ok(Deed::OpOf("bob".into(), act(None, false))));
        assert_eq!(receive(&refuses, &limits, publisher, Message::Text("你好")), Ok(Deed::Op(act(None, true))));
        let malformed = Err(Refusal::Malformed { expected: EXPECTED });
        assert_eq!(receive(&refuses, &limits, listener, Message::Text("你好")), malformed);
        for name in ["", "a\n", &"x".repeat(65)] {
            assert!(
                matches!(receive(&refuses, &limits, listener, to(name)), Err(Refusal::Malformed { .. })),
                "{name:?}"
            );
        }
        let long = Message::To { user: "bob", text: "你好!" };
        assert!(matches!(receive(&refuses, &limits, listener, long), Err(Refusal::TooLong { .. })));
    }
}
