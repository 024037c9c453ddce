//! `group`: a message is a text or bytes, for everyone; not for its sender, unless `echo_sender`.

use super::{Deed, Manners, Message, Sender, body};
use crate::base::limits::Limits;
use crate::engine::{Act, Refusal};

const EXPECTED: &str = "a text";

pub(super) fn receive(
    manners: &Manners,
    limits: &Limits,
    who: Sender<'_>,
    message: Message<'_>,
) -> Result<Deed, Refusal> {
    let body = body(limits, message, EXPECTED)?;
    Ok(Deed::Op(Act::Append { body, from: who.user.cloned(), echo: manners.echo_sender, only_if_heard: false }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Body;
    use crate::kind::By;

    #[test]
    fn a_text_goes_to_the_others() {
        let limits = Limits { text_bytes_max: 6, ..Limits::default() };
        let user = "小明".into();
        let who = Sender { by: By::Listener, user: Some(&user) };
        let append =
            |body, echo| Ok(Deed::Op(Act::Append { body, from: Some(user.clone()), echo, only_if_heard: false }));
        let to_others = Manners::default();
        let to_all = Manners { echo_sender: true, ..Manners::default() };
        assert_eq!(receive(&to_others, &limits, who, Message::Text("你好")), append(Body::Text("你好".into()), false));
        assert_eq!(receive(&to_all, &limits, who, Message::Text("")), append(Body::Text("".into()), true));
        let bytes = Body::Binary(b"\xff".as_slice().into());
        assert_eq!(receive(&to_all, &limits, who, Message::Binary(b"\xff")), append(bytes, true));
        let too_long = Err(Refusal::TooLong { bound: "at most limits.text_bytes_max bytes" });
        assert_eq!(receive(&to_all, &limits, who, Message::Text("你好!")), too_long);
        let no = Err(Refusal::Malformed { expected: EXPECTED });
        assert_eq!(receive(&to_all, &limits, who, Message::Editing(None)), no);
    }
}
