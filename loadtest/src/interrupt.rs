//! SIGINT and SIGTERM end a run in order: what was measured so far is reported. A second one ends the process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Listens for the signals from now on. Where that is not allowed they end the process, as they do by themselves.
pub(crate) fn listen() {
    let flag = INTERRUPTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag clear.
        let _ = flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(flag));
        let _ = flag::register(signal, Arc::clone(flag));
    }
}

/// Has a signal come?
pub(crate) fn is_interrupted() -> bool {
    INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}
