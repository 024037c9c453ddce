//! The binary: the command line of [`tallycast::app`], on jemalloc.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    tallycast::app::run()
}
