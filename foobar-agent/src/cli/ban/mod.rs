//! `foobar-agent ban`: who is kept out, by hand. Asks the running agent; does nothing itself.

mod arguments;
mod change;
mod file;
mod list;

pub(super) use self::arguments::BanCommand;
use super::Output;
use super::print::Style;

pub(super) fn ban(command: &BanCommand, style: Style) -> Output {
    match command {
        BanCommand::Add(options) => change::add(options),
        BanCommand::Remove(options) => change::remove(options),
        BanCommand::List(options) => list::list(options, style),
    }
}
