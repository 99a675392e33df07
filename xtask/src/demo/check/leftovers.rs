//! What a demo leaves on the machine: nothing, also where it was killed and started again.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use foobar_tests::{Process, wait};

use super::Table;
use crate::demo::view;

/// The kernel takes links away some time after their namespace.
const LIMIT: Duration = Duration::from_secs(10);
/// From nothing to the view.
const START_LIMIT: Duration = Duration::from_mins(1);

/// Runs a whole demo and kills it when all of it stands. Returns its process id.
pub(in crate::demo) fn kill_a_demo(agent: &Path, folder: &Path) -> Result<u32> {
    let mut command = Command::new(std::env::current_exe().context("cannot tell which program this is")?);
    command.arg("demo").env("FOOBAR_AGENT", agent).stdin(Stdio::null());
    let mut demo = Process::spawn_here("a demo", command, &folder.join("killed.log"))?;
    wait::until("a demo shows its view", START_LIMIT, || {
        demo.expect_running()?;
        Ok(demo.output().contains(view::LAST_HINT).then_some(()))
    })?;
    let process = demo.id();
    demo.kill()?;
    Ok(process)
}

/// One row: nothing of the process with this id, which has ended its demo, is left.
pub(in crate::demo) fn none(table: &mut Table, claim: &str, process: u32, folder: &Path) -> Result<()> {
    table.row(claim, || {
        let gone =
            wait::until("nothing is left", LIMIT, || Ok(find(process, folder)?.is_empty().then_some(())));
        match gone {
            Ok(()) => Ok("no namespace, link, process, pin or mount".to_owned()),
            Err(_) => bail!("left behind:\n  {}", find(process, folder)?.join("\n  ")),
        }
    })
}

fn find(process: u32, folder: &Path) -> Result<Vec<String>> {
    let prefix = format!("foobar{process}-");
    let folder = folder.display().to_string();
    let mut left = Vec::new();
    for names in ["/run/netns", "/etc/netns"] {
        let entries = fs::read_dir(names).into_iter().flatten().flatten().map(|entry| entry.path());
        left.extend(entries.map(|path| path.display().to_string()).filter(|path| path.contains(&prefix)));
    }
    let journal = format!("/run/foobar-tests/{process}");
    left.extend(Path::new(&journal).exists().then_some(journal));
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read the mounts")?;
    left.extend(
        mounts.lines().filter(|line| line.contains(&folder) || line.contains(&prefix)).map(str::to_owned),
    );
    let links = Command::new("ip").args(["-brief", "link"]).output().context("cannot run ip")?;
    let links = String::from_utf8_lossy(&links.stdout).into_owned();
    let ours = |line: &&str| ["front", "back"].iter().any(|name| line.starts_with(name));
    left.extend(links.lines().filter(ours).map(str::to_owned));
    left.extend(processes(&folder, process));
    Ok(left)
}

/// Those that write or were told to work in the demo's folder.
fn processes(folder: &str, except: u32) -> Vec<String> {
    let own = [except, std::process::id()].map(|id| id.to_string());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(|first: char| first.is_ascii_digit()) || own.contains(&name) {
            continue;
        }
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        let output = fs::read_link(entry.path().join("fd/1")).unwrap_or_default();
        if output.starts_with(folder) || words.contains(&format!("{folder}/")) {
            found.push(format!("process {name}: {words}"));
        }
    }
    found
}
