//! How many files the process may have open, and so how many connections.

use rustix::process::{Resource, getrlimit};

use crate::base::limits::{CONNECTIONS_UNKNOWN_MAX, RESERVED_FILES, RESERVED_FILES_OF_CORE};

/// Files that this process may have open (RLIMIT_NOFILE, the soft limit). `None`: any number.
pub fn open_files_max() -> Option<usize> {
    getrlimit(Resource::Nofile).current.map(|files| usize::try_from(files).unwrap_or(usize::MAX))
}

/// Connections for which that many files are enough, besides what `cores` event loops with `listeners` each and the rest
/// of the process need. Where there are next to none, half of them: then it may come to it that accepting must pause.
pub fn connections_for(open_files_max: Option<usize>, cores: usize, listeners: usize) -> usize {
    let Some(files) = open_files_max else { return CONNECTIONS_UNKNOWN_MAX };
    let reserve = RESERVED_FILES + cores * (RESERVED_FILES_OF_CORE + listeners);
    files.saturating_sub(reserve).max(files / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_left() {
        let (cores, listeners) = (2, 5);
        let reserve = 64 + 2 * (68 + 5);
        let rows = [
            (None, 100_000),
            (Some(20_000), 20_000 - reserve),
            (Some(1024), 1024 - reserve),
            (Some(64), 32),
            (Some(1), 1),
            (Some(0), 1),
        ];
        for (files, connections) in rows {
            assert_eq!(connections_for(files, cores, listeners), connections, "{files:?}");
        }
        assert!(open_files_max().is_none_or(|files| files > 0));
    }
}
