//! The `foobar-agent` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    foobar_agent::cli::main(foobar_agent::run::run)
}
