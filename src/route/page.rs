//! The pages: HTML with a channel's present state rendered into it.

/// Which page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageId {
    /// The vote page.
    Vote,
}
