//! Commands that change the running agent.

use std::fmt::Write;

use super::Output;
use super::arguments::DatapathLogOptions;
use super::target::Target;

pub(super) fn reload(target: &Target) -> Output {
    let report = target.ask(async |client| client.reload().await)?;
    let mut text = String::new();
    for warning in &report.warnings {
        writeln!(text, "{warning}")?;
    }
    writeln!(text, "reloaded: generation {} judges packets", report.generation)?;
    Ok(text)
}

pub(super) fn detach(target: &Target) -> Output {
    let report = target.ask(async |client| client.detach().await)?;
    Ok(match report.interfaces.as_slice() {
        [] => "the datapath was attached nowhere\n".to_owned(),
        interfaces => format!("detached from {}: nothing is judged there now\n", interfaces.join(", ")),
    })
}

pub(super) fn datapath_log(options: &DatapathLogOptions) -> Output {
    let level = options.level;
    options.target.ask(async |client| client.set_datapath_log(level).await)?;
    Ok(String::new())
}
