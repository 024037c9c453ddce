//! Messages by HTTP POST.

use super::Shard;
use super::connection::{Answering, Pending, Reply};
use super::requests::Taken;
use super::responses::{refusal_body, status};
use crate::base::keys::ConnKey;
use crate::conn::http::Request;
use crate::engine::{Asker, Refusal};
use crate::kind::{By, Deed, Kind, Sender, USER_NAME};
use crate::route::Target;
use crate::route::dialect::{Posted, read_post};

impl Shard {
    pub(super) fn post(
        &mut self,
        key: ConnKey,
        request: &Request<'_>,
        out: &mut Vec<u8>,
        how: Answering,
        target: &Target,
    ) -> Taken {
        let kind = self.setup.class(target.class).kind;
        if kind == Kind::Echo {
            return self.echo(request, out, &how);
        }
        let content_type = request.head.header_str("content-type").unwrap_or_default();
        let media = content_type.split(';').next().unwrap_or_default().trim();
        match read_post(kind, media, request.body) {
            Some(content) => self.publish(key, out, how, target, Reply::Json, content),
            None => {
                let expected = match kind {
                    Kind::Table => "application/json",
                    _ => "application/x-www-form-urlencoded, application/json or text/plain",
                };
                self.refuse(out, &how, 415, "unsupported_media_type", expected, &[])
            }
        }
    }

    pub(super) fn publish(
        &mut self,
        key: ConnKey,
        out: &mut Vec<u8>,
        how: Answering,
        target: &Target,
        reply: Reply,
        posted: Result<Posted<'_>, Refusal>,
    ) -> Taken {
        let deed = posted.and_then(|Posted { content, from }| {
            self.receive(target, Sender { by: By::Publisher, user: from.as_ref() }, content.message())
        });
        match deed {
            Ok(Deed::OpOf(user, act)) => match self.channel_of(target, &user) {
                Some(target) => {
                    let number = self.next_number();
                    self.ask(&target, Asker::Connection(key), number, act);
                    Taken::Pending(Pending::Op { number, how, reply })
                }
                None => self.refuse_now(out, &how, &Refusal::Malformed { expected: USER_NAME }),
            },
            Ok(Deed::Op(act)) => {
                let number = self.next_number();
                self.ask(target, Asker::Connection(key), number, act);
                Taken::Pending(Pending::Op { number, how, reply })
            }
            Ok(Deed::Reply) => self.write_now(out, &how, 204, &[], b""),
            Err(refusal) => {
                let (content_type, body) = refusal_body(&reply, &refusal);
                self.write_now(out, &how, status(&refusal), &[("Content-Type", content_type)], &body)
            }
        }
    }
}
