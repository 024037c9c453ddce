//! `echo`: every message goes back as it came, to its sender alone. It never reaches the engine.

use super::Deed;

pub(super) fn receive() -> Deed {
    Deed::Reply
}
