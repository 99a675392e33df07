//! The host's settings get back what they had, however the agent ends.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use foobar_tests::bpffs::Bpffs;
use foobar_tests::{Agent, Host, agent, wait};

use super::{LIMIT, OPEN, exchange, hosts, listen, rules, settings, targets, until_armed};

/// A folder that agents of one host use one after the other.
struct Folder {
    path: PathBuf,
    _bpffs: Bpffs,
}

impl Folder {
    fn new(host: &Host) -> Self {
        let path = host.session().directory("cookies").unwrap();
        Self { _bpffs: Bpffs::mount(&path.join("bpf")).unwrap(), path }
    }

    fn start<'h>(&self, host: &'h Host, config: &str) -> Agent<'h> {
        Agent::start_in(&agent::binary().unwrap(), host, &self.path, None, config).unwrap()
    }

    fn record(&self) -> PathBuf {
        self.path.join("state/syn-cookies.json")
    }
}

fn until_restored(host: &Host, folder: &Folder, before: &[String; 2]) {
    let is_restored = || Ok((settings(host) == *before && !folder.record().exists()).then_some(()));
    wait::until("settings are as before", LIMIT, is_restored).unwrap();
}

const ALWAYS: &str = "mode = \"always\"";

#[test]
fn an_end_restores_them() {
    let (_client, host) = hosts();
    host.sysctl("net/ipv4/tcp_syncookies", "0").unwrap();
    let (before, folder) = (settings(&host), Folder::new(&host));
    let agent = folder.start(&host, &rules(ALWAYS));
    until_armed(&agent, true);
    assert_eq!(settings(&host), ["2", "2"]);
    assert!(folder.record().exists());
    assert!(agent.stop().unwrap().success());
    until_restored(&host, &folder, &before);
}

#[test]
fn a_detachment_and_a_configuration_without_cookies_restore_them() {
    let (_client, host) = hosts();
    let (before, folder) = (settings(&host), Folder::new(&host));
    let agent = folder.start(&host, &rules(ALWAYS));
    until_armed(&agent, true);
    agent.write(&rules("mode = \"off\"")).unwrap();
    agent.reload().unwrap();
    until_restored(&host, &folder, &before);
    agent.write(&rules(ALWAYS)).unwrap();
    agent.reload().unwrap();
    until_armed(&agent, true);
    assert!(agent.control(&["detach"]).unwrap().status.success());
    until_restored(&host, &folder, &before);
}

#[test]
fn a_crash_restores_them_or_the_next_start_does() {
    let (client, host) = hosts();
    listen(&host, OPEN);
    let (before, folder) = (settings(&host), Folder::new(&host));
    let mut agent = folder.start(&host, &rules(ALWAYS));
    until_armed(&agent, true);
    // The kernel process is left, and tidies up.
    agent.process().kill().unwrap();
    until_restored(&host, &folder, &before);

    let agent = folder.start(&host, &rules(ALWAYS));
    until_armed(&agent, true);
    kill_both(&agent);
    // What nobody tends still works, and is taken up.
    assert_eq!(settings(&host), ["2", "2"]);
    assert!(fs::read_to_string(folder.record()).unwrap().contains("tcp_timestamps"));
    drop(agent);
    let agent = folder.start(&host, &rules("hold = 1"));
    for to in targets(OPEN) {
        exchange(&client, to, 1000);
    }
    until_restored(&host, &folder, &before);
    until_armed(&agent, false);
}

/// Kills an agent and its kernel process at once, so that neither can tidy up.
fn kill_both(agent: &Agent<'_>) {
    let ids = [vec![agent.id()], agent.children().unwrap()].concat();
    assert!(ids.len() > 1, "{ids:?}");
    let ids = ids.iter().map(u32::to_string);
    assert!(Command::new("kill").arg("-KILL").args(ids).status().unwrap().success());
}
