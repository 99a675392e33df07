//! Commands that change the running agent.

use std::fmt::Write;

use anyhow::bail;

use super::Output;
use super::arguments::DatapathLogOptions;
use super::target::Target;
use crate::control::client::ClientError;
use crate::kernel::{self, Places};
use crate::net;

pub(super) fn reload(target: &Target) -> Output {
    let report = target.ask(async |client| client.reload().await)?;
    let mut text = String::new();
    for warning in &report.warnings {
        writeln!(text, "{warning}")?;
    }
    writeln!(text, "reloaded: generation {} judges packets", report.generation)?;
    Ok(text)
}

/// Asks the agent; where none runs, removes what it left.
pub(super) fn detach(target: &Target) -> Output {
    let interfaces = match target.ask(async |client| client.detach().await) {
        Ok(report) => report.interfaces,
        Err(error) if matches!(error.downcast_ref(), Some(ClientError::NoAgent { .. })) => {
            let places = target.places()?.ok_or(error)?;
            return remove_left(&places);
        }
        Err(error) => return Err(error),
    };
    Ok(match interfaces.as_slice() {
        [] => "the datapath was attached nowhere\n".to_owned(),
        interfaces => format!("detached from {}: nothing is judged there now\n", interfaces.join(", ")),
    })
}

fn remove_left(places: &Places) -> Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let present = runtime.block_on(net::interfaces())?;
    let Some(freed) = kernel::remove_left(places)? else {
        bail!(
            "no agent runs, and none has left a datapath in {}\n  hint: name the agent's configuration with --config",
            places.pin_dir.display()
        );
    };
    let name = |ifindex: &u32| present.iter().find(|interface| interface.ifindex == *ifindex);
    let names: Vec<&str> = freed.iter().filter_map(name).map(|interface| interface.name.as_str()).collect();
    Ok(match names.as_slice() {
        [] => format!("no agent runs; what one had left in {} is removed\n", places.pin_dir.display()),
        names => format!("no agent runs; detached from {}: nothing is judged there now\n", names.join(", ")),
    })
}

pub(super) fn datapath_log(options: &DatapathLogOptions) -> Output {
    let level = options.level;
    options.target.ask(async |client| client.set_datapath_log(level).await)?;
    Ok(String::new())
}
