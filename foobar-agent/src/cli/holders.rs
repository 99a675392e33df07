//! Who holds which XDP program, seen from here: also where no agent runs.

use std::io;

use anyhow::Context as _;
use nix::unistd::Uid;
use serde::Serialize;

use super::arguments::Look;
use super::print::{self, Style};
use super::target::Target;
use super::{Output, status};
use crate::control::client::ClientError;
use crate::kernel::{Holder, Owner, holders};
use crate::monitor::snapshot::Snapshot;
use crate::net;

/// All that `status --json` prints.
#[derive(Serialize)]
struct Status<'s> {
    /// Absent: no agent runs.
    #[serde(flatten)]
    snapshot: Option<&'s Snapshot>,
    holders: &'s [Holder],
}

/// The agent's snapshot and who holds what. Without an agent, the latter, and that it is so.
pub(super) fn status(look: &Look, style: Style, emit: impl FnOnce(&str) -> anyhow::Result<()>) -> Output {
    let asked = look.target.ask(async |client| client.snapshot().await);
    let held = find(&look.target);
    match asked {
        Ok(snapshot) => {
            let held = held.unwrap_or_default();
            if look.json {
                return print::json(&Status { snapshot: Some(&snapshot), holders: &held });
            }
            let mut text = status::render(&snapshot, print::now_seconds(), style);
            text.extend(table(&held, true, style).map(|table| format!("\n{table}")));
            Ok(text)
        }
        Err(error) if matches!(error.downcast_ref(), Some(ClientError::NoAgent { .. })) => {
            let held = held.unwrap_or_default();
            if look.json {
                emit(&print::json(&Status { snapshot: None, holders: &held })?)?;
            } else {
                emit(&table(&held, false, style).unwrap_or_default())?;
            }
            Err(error)
        }
        Err(error) => Err(error),
    }
}

/// Looks, where that is allowed and it is known where pins are.
fn find(target: &Target) -> anyhow::Result<Vec<Holder>> {
    // To others neither pins nor programs are shown, and everything would look like somebody else's.
    if !Uid::effective().is_root() {
        return Ok(Vec::new());
    }
    let places = target.places()?.ok_or_else(|| io::Error::other("nobody says where pins are"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let interfaces = runtime.block_on(net::interfaces()).context("cannot list interfaces")?;
    Ok(holders(&places.pin_dir, &interfaces)?)
}

fn table(held: &[Holder], runs: bool, style: Style) -> Option<String> {
    let rows = held.iter().map(|holder| {
        let Holder { interface, program, name, mode, owner } = holder;
        let name = if name.is_empty() { format!("id {program}") } else { format!("{name} (id {program})") };
        vec![interface.clone(), name, mode.as_str().to_owned(), in_words(owner, runs)]
    });
    let table = style.table(&["INTERFACE", "PROGRAM", "MODE", "HELD BY"], rows);
    (!held.is_empty()).then(|| format!("XDP programs\n{table}"))
}

fn in_words(owner: &Owner, runs: bool) -> String {
    match owner {
        Owner::Ours { version, pin } => {
            let who = if runs { "this agent" } else { "no agent: it goes on by itself" };
            format!("{who}, version {version}, {pin}")
        }
        Owner::OtherAgent => "another foobar-agent, with another host.pin_dir".to_owned(),
        Owner::Foreign { link, processes } => {
            let link = link.map_or_else(|| "no BPF link".to_owned(), |link| format!("BPF link {link}"));
            let processes = if processes.is_empty() { "pinned, or its process is gone".to_owned() } else { processes.join(", ") };
            format!("somebody else: {link}, {processes}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::AttachedMode;

    #[test]
    fn everybody_is_told_apart() {
        let holder = |interface: &str, name: &str, owner| Holder {
            interface: interface.to_owned(),
            program: 12,
            name: name.to_owned(),
            mode: AttachedMode::Native,
            owner,
        };
        let pin = "/sys/fs/bpf/foobar/datapath-v3/links/2".to_owned();
        let held = [
            holder("eth0", "foobar_root", Owner::Ours { version: 3, pin }),
            holder("eth1", "foobar_root", Owner::OtherAgent),
            holder("eth2", "xdp_drop", Owner::Foreign { link: Some(4), processes: vec!["loader (77)".to_owned()] }),
            holder("eth3", "", Owner::Foreign { link: None, processes: Vec::new() }),
        ];
        let text = table(&held, false, Style { width: None }).unwrap();
        for words in [
            "no agent: it goes on by itself, version 3, /sys/fs/bpf/foobar/datapath-v3/links/2",
            "another foobar-agent",
            "xdp_drop (id 12)     native  somebody else: BPF link 4, loader (77)",
            "id 12                native  somebody else: no BPF link, pinned",
        ] {
            assert!(text.contains(words), "no {words:?} in:\n{text}");
        }
        assert!(table(&held, true, Style { width: None }).unwrap().contains("this agent, version 3"));
        assert_eq!(table(&[], true, Style { width: None }), None);
    }
}
