//! The `foobar-agent` command: parses, asks, prints, and ends with the exit code that scripts
//! rely on. Knows the running agent only through its control socket.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

pub use self::arguments::RunOptions;
use self::arguments::{Arguments, Command};
pub use self::failure::Failure;
use self::print::Style;

mod act;
mod apply;
mod arguments;
mod check;
mod explain;
mod failure;
mod here;
mod lists;
mod plan;
mod print;
mod status;
mod target;
mod verify;
mod watch;

/// What a command that went well leaves: the text for standard output.
type Output = anyhow::Result<String>;

/// The whole command. `run` is the agent itself, for `foobar-agent run`.
pub fn main(run: impl FnOnce(&RunOptions) -> anyhow::Result<()>) -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // To standard output for --help and --version, with 0; else to standard error, with 2.
            let code = if error.use_stderr() { failure::USAGE } else { 0 };
            return if error.print().is_ok() { code.into() } else { failure::ENVIRONMENT.into() };
        }
    };
    let done = match &arguments.command {
        Command::Run(options) => run(options).map(|()| String::new()),
        Command::KernelProcess => crate::kernel::serve().map(|()| String::new()),
        command => answer(command, Style::of_terminal()),
    };
    match done.and_then(|text| write_out(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error).into(),
    }
}

fn answer(command: &Command, style: Style) -> Output {
    match command {
        Command::Run(_) | Command::KernelProcess => Ok(String::new()),
        Command::Check(options) => check::check(options, write_out),
        Command::Explain(options) => explain::explain(options, style),
        Command::Verify(options) => verify::verify(options, style),
        Command::Plan(options) => plan::plan(options, write_out),
        Command::Watch(options) => watch::watch(options),
        Command::Reload(target) => act::reload(target),
        Command::Apply(options) => apply::apply(options, write_out),
        Command::Confirm(target) => apply::confirm(target),
        Command::Rollback(target) => apply::roll_back(target),
        Command::Detach(target) => act::detach(target),
        Command::DatapathLog(options) => act::datapath_log(options),
        Command::Status(look) => look.show(|snapshot| status::render(snapshot, print::now_seconds(), style)),
        Command::Rules(look) => look.list(|snapshot| &snapshot.rules, |rules| lists::rules(rules, style)),
        Command::Backends(look) => look.list(
            |snapshot| snapshot.balancer.as_ref().map_or(&[][..], |balancer| &balancer.backends),
            |backends| lists::backends(backends, style),
        ),
    }
}

/// Whoever reads may go away early (`| head`): that is no failure.
fn write_out(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
