//! `feed`: publishers send by HTTP, everyone else listens.

use super::{Deed, Message, Sender};
use crate::engine::{Act, Body, Refusal};

pub(super) fn receive(who: Sender, message: Message<'_>) -> Result<Deed, Refusal> {
    match who {
        Sender::Listener => Err(Refusal::ReadOnly),
        Sender::Publisher => Ok(Deed::Op(Act::Append {
            body: match message {
                Message::Text(text) => Body::Text(text.into()),
                Message::Binary(bytes) => Body::Binary(bytes.into()),
            },
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_publishers_publish() {
        assert_eq!(receive(Sender::Listener, Message::Text("news")), Err(Refusal::ReadOnly));
        let body = Body::Binary(b"\xff".as_slice().into());
        assert_eq!(receive(Sender::Publisher, Message::Binary(b"\xff")), Ok(Deed::Op(Act::Append { body })));
    }
}
