//! The `foobar-agent` command.

use std::process::ExitCode;

/// Memory that a large reload gives back is taken up again by the next one without asking the kernel,
/// on whichever thread that runs; requests of the balancer gain by it, too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    foobar_agent::cli::main(foobar_agent::run::run)
}
