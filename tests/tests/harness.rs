//! The harness itself, as root: what a test builds is there, works, and is gone afterwards, also when
//! its owner was killed.
#![expect(clippy::unwrap_used, reason = "a test file; its helpers are not recognised as tests")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use foobar_tests::frame::{Frame, Packet, Transport};
use foobar_tests::session::{self, Session};
use foobar_tests::wire::Wire;
use foobar_tests::{Bridge, Host, Link, Process, bpffs::Bpffs, wait};

const LIMIT: Duration = Duration::from_secs(10);

/// Set in the child that is to be killed.
const VICTIM: &str = "FOOBAR_TESTS_VICTIM";

#[test]
fn hosts_on_a_bridge_reach_each_other_in_both_families() {
    let switch = Host::new("switch").unwrap();
    let bridge = Bridge::new(&switch, "lan").unwrap();
    let hosts = [Host::new("a").unwrap(), Host::new("b").unwrap()];
    for (host, n) in hosts.iter().zip(1..) {
        bridge.plug(host, "eth0").unwrap();
        host.address("eth0", &format!("192.0.2.{n}/24")).unwrap();
        host.address("eth0", &format!("2001:db8::{n}/64")).unwrap();
    }
    for address in ["192.0.2.2:80", "[2001:db8::2]:80"] {
        let address: SocketAddr = address.parse().unwrap();
        let listener = hosts[1].enter(|| TcpListener::bind(address)).unwrap().unwrap();
        let mut client = hosts[0].connect(address, LIMIT).unwrap();
        client.write_all(b"hello").unwrap();
        drop(client);
        let mut text = String::new();
        listener.accept().unwrap().0.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    }
}

#[test]
fn a_frame_arrives_as_it_was_built() {
    let (near, far) = (Host::new("near").unwrap(), Host::new("far").unwrap());
    Link::between((&near, "eth0"), (&far, "eth0")).unwrap();
    let (sender, receiver) = (Wire::open(&near, "eth0").unwrap(), Wire::open(&far, "eth0").unwrap());
    let packet = Packet::new(
        "192.0.2.1".parse().unwrap(),
        "192.0.2.2".parse().unwrap(),
        Transport::udp(1, 2, b"once"),
    );
    let frame = Frame::new(near.mac("eth0").unwrap(), far.mac("eth0").unwrap()).packet(&packet);
    sender.send(&frame).unwrap();
    assert_eq!(receiver.receive(LIMIT, |arrived| arrived == frame).unwrap().unwrap(), frame);
}

#[test]
fn a_removed_link_is_gone_at_both_ends() {
    let (near, far) = (Host::new("near").unwrap(), Host::new("far").unwrap());
    let link = Link::between((&near, "eth0"), (&far, "eth0")).unwrap();
    link.remove().unwrap();
    assert!(far.mac("eth0").is_err());
}

#[test]
fn dropped_things_are_gone() {
    let host = Host::new("short").unwrap();
    let folder = host.session().directory("files").unwrap();
    let bpffs = Bpffs::mount(&folder.join("bpf")).unwrap();
    let process = Process::spawn_family("sleep", &host, &sleeping_family(), &folder.join("log")).unwrap();
    wait::until("the child sleeps", LIMIT, || Ok(process.output().contains("ready").then_some(()))).unwrap();
    let (name, mount) = (host.path(), bpffs.path().display().to_string());
    assert!(fs::read_to_string("/proc/self/mounts").unwrap().contains(&mount));
    assert_eq!(sleepers(&folder), 1);
    drop(process);
    wait::until("the family is gone", LIMIT, || Ok((sleepers(&folder) == 0).then_some(()))).unwrap();
    drop(bpffs);
    assert!(!fs::read_to_string("/proc/self/mounts").unwrap().contains(&mount));
    drop(host);
    assert!(!name.exists());
}

/// This test runs itself once more as a child, which is killed in the midst of things.
#[test]
fn what_a_killed_run_left_is_removed_by_the_next() {
    if std::env::var_os(VICTIM).is_some() {
        return be_killed();
    }
    let own = std::env::current_exe().unwrap();
    let mut victim = Command::new(own);
    victim.args(["--exact", "what_a_killed_run_left_is_removed_by_the_next", "--nocapture"]);
    let mut victim = victim.env(VICTIM, "1").stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines().map(Result::unwrap);
    let made = lines.skip_while(|line| !line.contains("made ")).take(2).collect::<Vec<_>>();
    let [name, folder] = made.as_slice() else { panic!("the victim said {made:?}") };
    let name = name.split_once("made ").unwrap().1;
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait::until("its processes die", LIMIT, || Ok((sleepers(Path::new(folder)) == 0).then_some(()))).unwrap();
    assert!(Path::new(name).exists() && Path::new(folder).exists(), "a killed process cannot clean up");

    session::sweep().unwrap();
    assert!(!Path::new(name).exists() && !Path::new(folder).exists());
    assert!(!fs::read_to_string("/proc/self/mounts").unwrap().contains(folder));
}

fn be_killed() {
    let host = Host::new("victim").unwrap();
    let folder = Session::current().unwrap().directory("victim").unwrap();
    let _bpffs = Bpffs::mount(&folder.join("bpf")).unwrap();
    let process = Process::spawn_family("sleep", &host, &sleeping_family(), &folder.join("log")).unwrap();
    wait::until("the child sleeps", LIMIT, || Ok(process.output().contains("ready").then_some(()))).unwrap();
    println!("made {}\n{}", host.path().display(), folder.display());
    thread::sleep(LIMIT);
    panic!("nobody killed this process");
}

/// A shell with a child; the log it writes to marks both as ours.
fn sleeping_family() -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 600 & echo ready; wait"]);
    command
}

/// How many `sleep` processes write into this folder.
fn sleepers(folder: &Path) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let sleeps = processes.filter(|process| {
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        let output = fs::read_link(process.path().join("fd/1")).unwrap_or_default();
        name.trim() == "sleep" && output.starts_with(folder)
    });
    sleeps.count()
}
