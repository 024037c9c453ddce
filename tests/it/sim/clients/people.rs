//! Who is there, and who edits what, as one stream was told.

use std::collections::BTreeSet;

use serde_json::Value;
use tallycast::engine::Origin;

use super::stream::word;
use crate::sim::model::present::Marks;
use crate::sim::scene::Scene;
use crate::sim::setup::{NAMES, has_notices};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct People {
    /// `None`: not told yet.
    users: Option<BTreeSet<String>>,
    marks: Marks,
}

impl People {
    /// Whether it was told who is there, where one is told.
    pub(crate) fn is_told(&self, channel: &str) -> bool {
        self.users.is_some() == has_notices(channel)
    }

    /// Judges `members`, `joined`, `left` or `editing`.
    pub(crate) fn take(
        &mut self,
        channel: &str,
        message: &Value,
        me: Option<Origin>,
        formerly: Option<Origin>,
        scene: &mut Scene,
    ) {
        if word(message, "type") == "editing" {
            // What a connection edited that has given its session away ends behind that.
            if Some(word(message, "who")) == formerly.map(|who| who.to_string()).as_deref() {
                return scene.coverage.hit("people: own mark from before");
            }
            return self.mark(message, me, scene);
        }
        assert!(has_notices(channel), "{channel} tells nobody who comes and goes: {message}");
        if word(message, "type") == "members" {
            assert!(self.users.is_none(), "members twice: {message}");
            let users = message["users"].as_array().expect("a list");
            let users: Vec<&str> = users.iter().map(|user| user.as_str().expect("a name")).collect();
            assert!(users.is_sorted() && users.iter().all(|user| NAMES.contains(user)), "{message}");
            self.users = Some(users.into_iter().map(str::to_owned).collect());
            return scene.coverage.hit("people: members");
        }
        let users = self.users.as_mut().expect("members come first");
        let user = word(message, "user");
        if word(message, "type") == "joined" {
            assert!(users.insert(user.to_owned()), "{channel}: {user} was there: {message}");
            scene.coverage.hit("people: joined");
        } else {
            assert!(users.remove(user), "{channel}: {user} was not there: {message}");
            scene.coverage.hit("people: left");
        }
    }

    fn mark(&mut self, message: &Value, me: Option<Origin>, scene: &mut Scene) {
        let who = word(message, "who").to_owned();
        assert_ne!(Some(&who), me.map(|me| me.to_string()).as_ref(), "it is told of its own mark: {message}");
        if message.get("row").is_none() {
            assert!(message.get("column").is_none(), "{message}");
            assert!(self.marks.remove(&who).is_some(), "it edited nothing that we know of: {message}");
            return scene.coverage.hit("people: edits no more");
        }
        let (row, column) = (word(message, "row").to_owned(), word(message, "column").to_owned());
        let user = message.get("user").map(|user| user.as_str().expect("a name").to_owned());
        let mark = (row, column, user);
        let before = self.marks.insert(who, mark.clone());
        assert_ne!(before, Some(mark), "told again: {message}");
        scene.coverage.hit("people: edits");
    }

    /// At rest: it knows who is there, and all marks but its own.
    pub(crate) fn check_rest(&self, who: &str, channel: &str, me: Option<Origin>, scene: &mut Scene) {
        let crowd = scene.model.crowd(channel);
        if has_notices(channel) {
            let users = self.users.as_ref().unwrap_or_else(|| panic!("{who}: was not told who is there"));
            assert!(users.iter().eq(crowd.names.keys()), "{who}: {channel}: {users:?}, {:?} are there", crowd.names);
        }
        let mut marks = crowd.marks.clone();
        let own = me.and_then(|me| marks.remove(&me.to_string()));
        assert_eq!(self.marks, marks, "{who}: {channel}: who edits what, beside {own:?}");
        if !marks.is_empty() {
            scene.coverage.hit("rest: marks known");
        }
    }
}
