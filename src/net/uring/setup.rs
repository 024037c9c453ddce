//! Whether this kernel has what is needed, and how the ring is set up.

use std::fmt::Write;
use std::io;

use io_uring::{IoUring, Probe, opcode};
use rustix::io::Errno;

/// Entries of the queue of what is asked; if it is full it is handed over in between.
const SUBMISSIONS: u32 = 512;
/// Entries of the queue of what is told; the kernel keeps what finds no room.
const COMPLETIONS: u32 = 4096;

/// When the kernel does the rest of an operation that had to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TaskRun {
    /// When the loop enters the ring (Linux 6.1).
    Deferred,
    /// At any system call of the loop's.
    Cooperative,
}

/// The best first.
pub(super) const TASK_RUNS: [TaskRun; 2] = [TaskRun::Deferred, TaskRun::Cooperative];

/// A ring that is not enabled yet, set up in the first of these ways that the kernel knows.
///
/// # Errors
/// `Unsupported`, in words, if something is missing.
pub(super) fn build(task_runs: &[TaskRun]) -> io::Result<IoUring> {
    let mut result = Err(Errno::INVAL.into());
    for task_run in task_runs {
        let mut builder = IoUring::builder();
        builder.setup_r_disabled().setup_cqsize(COMPLETIONS).setup_submit_all().setup_taskrun_flag();
        match task_run {
            TaskRun::Deferred => builder.setup_single_issuer().setup_defer_taskrun(),
            TaskRun::Cooperative => builder.setup_coop_taskrun(),
        };
        result = builder.build(SUBMISSIONS);
        // A flag that the kernel does not know is an invalid argument.
        if !matches!(&result, Err(error) if is(error, Errno::INVAL)) {
            break;
        }
    }
    let uring = result.map_err(refused)?;
    check(&uring)?;
    Ok(uring)
}

/// What a kernel has says no version number: distributions carry parts back.
fn check(uring: &IoUring) -> io::Result<()> {
    let parameters = uring.params();
    let features = [
        (parameters.is_feature_ext_arg(), "timeouts (EXT_ARG)"),
        (parameters.is_feature_nodrop(), "a queue that loses nothing (NODROP)"),
        (parameters.is_feature_fast_poll(), "waiting without threads (FAST_POLL)"),
        (parameters.is_feature_skip_cqe_on_success(), "silent successes (CQE_SKIP)"),
    ];
    let mut probe = Probe::new();
    uring.submitter().register_probe(&mut probe).map_err(|error| lacks("the probe", Some(&error)))?;
    let operations = [
        (opcode::PollAdd::CODE, "poll"),
        (opcode::AsyncCancel::CODE, "cancel"),
        (opcode::AcceptMulti::CODE, "accept"),
        (opcode::Send::CODE, "send"),
        (opcode::RecvMulti::CODE, "recv"),
        // Came with the same version as what cannot be asked for: receiving many times (6.0).
        (opcode::SendZc::CODE, "multishot recv (Linux 6.0)"),
    ];
    let operations = operations.iter().map(|(code, name)| (probe.is_supported(*code), *name));
    match features.into_iter().chain(operations).find(|(there, _)| !there) {
        Some((_, name)) => Err(lacks(name, None)),
        None => Ok(()),
    }
}

/// This kernel is too old.
pub(super) fn lacks(what: &str, error: Option<&io::Error>) -> io::Error {
    let mut text = format!("this kernel lacks io_uring's {what}");
    if let Some(error) = error {
        // Writing into a text does not fail.
        let _ = write!(text, ": {error}");
    }
    io::Error::new(io::ErrorKind::Unsupported, text)
}

fn refused(error: io::Error) -> io::Error {
    let why = if is(&error, Errno::NOSYS) {
        "this kernel has no io_uring"
    } else if is(&error, Errno::PERM) || is(&error, Errno::ACCESS) {
        "io_uring is forbidden here (kernel.io_uring_disabled, or a container's rules)"
    } else if is(&error, Errno::INVAL) {
        "this kernel lacks what io_uring's ring is set up with (Linux 6.0)"
    } else {
        return error;
    };
    io::Error::new(io::ErrorKind::Unsupported, why)
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said() {
        let rows = [
            (Errno::NOSYS, Some("this kernel has no io_uring")),
            (Errno::PERM, Some("forbidden here")),
            (Errno::ACCESS, Some("forbidden here")),
            (Errno::INVAL, Some("Linux 6.0")),
            (Errno::MFILE, None),
        ];
        for (errno, expected) in rows {
            let error = refused(errno.into());
            assert_eq!(error.kind() == io::ErrorKind::Unsupported, expected.is_some(), "{errno:?}");
            assert!(expected.is_none_or(|expected| error.to_string().contains(expected)), "{error}");
        }
        let error = lacks("x", Some(&Errno::INVAL.into()));
        assert!(error.to_string().starts_with("this kernel lacks io_uring's x: "), "{error}");
        assert_eq!(lacks("x", None).kind(), io::ErrorKind::Unsupported);
        // No way of running known to the kernel.
        assert!(build(&[]).is_err_and(|error| error.kind() == io::ErrorKind::Unsupported));
    }
}
