//! `serve = "page"`.

use super::routes::{CHANNEL_ALLOWED, PATTERN_ALLOWED, Reader};
use super::section::Section;
use super::value::quote;
use crate::base::keys::ListenerId;
use crate::kind::Kind;
use crate::route::{Dialect, Does, PageId, PathPattern, Route, Serve, Setup, Speaks, Target};

/// The kind of channel that a page is for; none: it is for no channel.
fn kind_of(page: PageId) -> Option<Kind> {
    match page {
        PageId::Index => None,
        PageId::Vote => Some(Kind::Vote),
        PageId::Chat => Some(Kind::Direct),
        PageId::Group => Some(Kind::Group),
        PageId::Table | PageId::TableSocketIo => Some(Kind::Table),
    }
}

impl Reader<'_> {
    pub(super) fn page(&mut self, section: &Section<'_>) -> Option<Serve> {
        let names = PageId::ALL.map(PageId::name);
        let name = section.word("page", &names);
        let session = section.boolean("session");
        let page = PageId::ALL.into_iter().find(|page| Some(page.name()) == name)?;
        if section.get("session").is_some() && page != PageId::Vote {
            let wrong = format!("nobody polls for the page {:?}", page.name());
            section.refuse("session", wrong, "`session` for page \"vote\"");
        }
        let target = match kind_of(page) {
            Some(kind) => Some(self.page_target(section, page, kind)?),
            None => {
                if section.get("channel").is_some() {
                    let wrong = format!("the page {:?} is for no channel", page.name());
                    section.refuse("channel", wrong, "no `channel`");
                }
                None
            }
        };
        Some(Serve::Page { target, page, session })
    }

    fn page_target(&self, section: &Section<'_>, page: PageId, kind: Kind) -> Option<Target> {
        if section.get("channel").is_none() {
            let chat = page == PageId::Chat;
            section.missing("channel", if chat { PATTERN_ALLOWED } else { CHANNEL_ALLOWED });
        }
        if page == PageId::Chat {
            let (prefix, class) = self.pattern(section)?;
            self.check_kind(section, (&format!("{prefix}*"), class), &[kind]);
            return Some(Target { channel: prefix.into(), class });
        }
        let target = self.target(section)?;
        self.check_kind(section, (&target.channel, target.class), &[kind]);
        Some(target)
    }
}

/// Where the page that shows a table by Socket.IO finds it; its script says so.
const ENDPOINT: &str = "/socket.io/";
const NAMESPACE: &str = "/table";
const EVENT: &str = "change";

/// The page that shows a table by Socket.IO finds it where it looks.
pub(super) fn check_socket_io(section: &Section<'_>, setup: &Setup, routes: &[&Route], page: &Route) {
    let Serve::Page { target: Some(target), page: PageId::TableSocketIo, .. } = &page.serve else {
        return;
    };
    if routes.iter().any(|route| carries(setup, route, page.listener, target)) {
        return;
    }
    let listener = &setup.listeners[usize::from(page.listener.0)].name;
    let wrong = format!("nothing on listener {} is what its script asks for", quote(listener));
    let allowed = format!(
        "on the same listener serve = \"socket.io\" at {ENDPOINT:?} with a namespace {NAMESPACE:?} of channel = {}, dialect = \
         \"tallycast\", event = {EVENT:?}, whose event {EVENT:?} does \"send\"",
        quote(&target.channel)
    );
    section.refuse("page", wrong, allowed);
}

/// Whether the route is what the page's script asks for.
fn carries(setup: &Setup, route: &Route, listener: ListenerId, target: &Target) -> bool {
    let Serve::EngineIo(endpoint) = &route.serve else { return false };
    let Speaks::SocketIo { namespaces, .. } = &endpoint.speaks else { return false };
    let here = matches!(&route.path, PathPattern::Prefix(path) if path == ENDPOINT) && route.listener == listener;
    here && namespaces.iter().any(|namespace| {
        let own = matches!(
            setup.dialect(namespace.dialect),
            Dialect::Event { event, of, .. } if event == EVENT && **of == Dialect::Tallycast
        );
        let sends = namespace.events.iter().any(|rule| rule.event == EVENT && rule.does == Does::Send);
        namespace.name == NAMESPACE && namespace.target.as_ref() == Some(target) && own && sends
    })
}
