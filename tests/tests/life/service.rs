//! What a service manager is told, and when; and what a host is judged by before its network is there.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use foobar_tests::wire::Wire;
use foobar_tests::{Agent, Setting};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::processes::kernel_process;
use super::{Bench, LIMIT, RULES};

/// A service manager's ear.
struct Manager {
    path: PathBuf,
    heard: Receiver<String>,
}

impl Manager {
    /// Listens; `at_ready` is done when it hears that the agent is ready, and before anything else is heard.
    fn listen(bench: &Bench, at_ready: impl Fn() -> String + Send + 'static) -> Self {
        let path = bench.folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let (hear, heard) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length) = socket.recv(&mut bytes) {
                let said = String::from_utf8_lossy(&bytes[..length]).into_owned();
                let seen = if said.starts_with("READY=1") { at_ready() } else { String::new() };
                if hear.send(format!("{said}{seen}")).is_err() {
                    return;
                }
            }
        });
        Self { path, heard }
    }

    /// Starts an agent that is told where it listens, by name or by a variable more.
    fn start<'a>(&self, bench: &'a Bench, config: &str, more: &[&str]) -> Agent<'a> {
        let socket = format!("NOTIFY_SOCKET={}", self.path.display());
        let prefix = [&["env", &socket], more].concat();
        bench.start_set(Setting { prefix: &prefix, ..Setting::default() }, config)
    }

    fn next(&self) -> String {
        self.heard.recv_timeout(LIMIT).unwrap()
    }

    /// The next that begins so; what comes before it is signs of life and states.
    fn next_of(&self, beginning: &str) -> String {
        loop {
            let said = self.next();
            if said.starts_with(beginning) {
                return said;
            }
            assert!(["WATCHDOG=1", "STATUS="].iter().any(|other| said.starts_with(other)), "{said}");
        }
    }
}

#[test]
fn ready_is_said_when_the_filter_is_in_force_and_reloads_and_the_end_are_said() {
    let bench = Bench::new();
    let name = bench.host.name().to_owned();
    let link = move || {
        let shown = Command::new("ip").args(["-n", &name, "link", "show", "dev", "eth0"]).output().unwrap();
        String::from_utf8_lossy(&shown.stdout).into_owned()
    };
    let manager = Manager::listen(&bench, link);
    let agent = manager.start(&bench, RULES, &[]);
    let ready = manager.next();
    assert!(ready.starts_with("READY=1\nSTATUS=the datapath is on eth0"), "{ready}");
    assert!(ready.contains("xdp"), "the program is there when it is said: {ready}");

    for reload in 0..2 {
        if reload == 0 {
            agent.reload().unwrap();
        } else {
            agent.hang_up().unwrap();
        }
        let reloading = manager.next_of("RELOADING=1");
        assert!(reloading.contains("\nMONOTONIC_USEC="), "{reloading}");
        manager.next_of("READY=1");
    }
    agent.write("[firewall]\n").unwrap();
    assert!(!agent.control(&["reload"]).unwrap().status.success());
    manager.next_of("RELOADING=1");
    manager.next_of("READY=1");
    assert!(agent.stop().unwrap().success());
    manager.next_of("STOPPING=1");
}

#[test]
fn signs_of_life_end_with_the_kernel_process() {
    let bench = Bench::new();
    let manager = Manager::listen(&bench, String::new);
    // Due every 50 ms.
    let agent = manager.start(&bench, RULES, &["WATCHDOG_USEC=100000"]);
    manager.next_of("READY=1");
    for _ in 0..3 {
        manager.next_of("WATCHDOG=1");
    }
    let kernel = Pid::from_raw(kernel_process(&agent).try_into().unwrap());
    kill(kernel, Signal::SIGSTOP).unwrap();
    // One may be on its way; a hundred are not.
    let silence = Duration::from_secs(1);
    let after = std::iter::from_fn(|| manager.heard.recv_timeout(silence).ok()).take(100).count();
    kill(kernel, Signal::SIGCONT).unwrap();
    assert!(after < 100, "the agent says that it lives while its kernel process does not answer");
    manager.next_of("WATCHDOG=1");
    assert!(agent.stop().unwrap().success());
}

/// The order of a boot: the agent is ready, then an interface appears, and then somebody brings it up. A sender
/// that is there from the beginning reaches nothing that the rules refuse.
#[test]
fn the_filter_is_up_before_the_network_is() {
    let bench = Bench::new();
    let manager = Manager::listen(&bench, String::new);
    let agent = manager.start(&bench, &RULES.replace("eth0", "eth1"), &[]);
    let ready = manager.next();
    assert!(ready.contains("the datapath is on no interface"), "{ready}");

    bench.peer.ip(&format!("link add eth1 type veth peer name eth1 netns {}", bench.host.name())).unwrap();
    bench.peer.ip("link set eth1 up").unwrap();
    let (sender, refused) = (Wire::open(&bench.peer, "eth1").unwrap(), bench.syn(81));
    let (stop, stopped) = mpsc::channel::<()>();
    let sending = thread::spawn(move || {
        while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
            // Before the other end is up, the kernel refuses or loses it.
            let _ = sender.send(&refused);
        }
        sender
    });
    let status = manager.next_of("STATUS=");
    assert!(status.contains("the datapath is on eth1"), "{status}");
    let receiver = Wire::open(&bench.host, "eth1").unwrap();
    // That the interface is down is told once to whoever listens there, and only then kept.
    assert!(receiver.receive(LIMIT, |_| true).is_err());
    bench.host.ip("link set eth1 up").unwrap();

    let refused = bench.syn(81);
    agent.metrics_until("a thousand are refused", LIMIT, |now| super::rule(now, "policy") > 1000).unwrap();
    drop(stop);
    let sender = sending.join().unwrap();
    let mark = bench.syn(80);
    sender.send(&mark).unwrap();
    let first = receiver.receive(LIMIT, |seen| seen == refused || seen == mark).unwrap().unwrap();
    assert!(first == mark, "a refused packet got through");
}

/// What systemd makes of the unit, with a program that is there in the place of the agent's path.
#[test]
fn the_unit_is_right_and_narrow() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../foobar-agent/systemd/foobar-agent.service");
    let text = fs::read_to_string(unit).unwrap().replace("/usr/bin/foobar-agent", "/bin/true");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("foobar-agent.service");
    fs::write(&path, text).unwrap();
    let program = std::env::var_os("FOOBAR_SYSTEMD_ANALYZE").unwrap_or_else(|| "systemd-analyze".into());
    let analyze = |arguments: &[&str]| {
        let output = Command::new(&program).args(arguments).arg(&path).output().unwrap_or_else(|error| {
            panic!("cannot run {} (package systemd, or `cargo xtask test`): {error}", program.display())
        });
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let (verified, said) = analyze(&["verify", "--man=no"]);
    assert!(verified && !said.contains("foobar-agent.service:"), "{said}");
    // Of 10.0; in tenths.
    let (narrow, said) = analyze(&["security", "--offline=true", "--no-pager", "--threshold=35"]);
    assert!(narrow, "{said}");
}

/// The capabilities that the unit leaves to the start are enough, without new privileges.
#[test]
fn the_agent_starts_with_what_the_unit_gives() {
    let bench = Bench::new();
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../foobar-agent/systemd/foobar-agent.service");
    let text = fs::read_to_string(unit).unwrap();
    let given = text.lines().filter_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let given: Vec<_> =
        given.flat_map(str::split_whitespace).map(|name| name.replace("CAP_", "+").to_lowercase()).collect();
    let bounding = format!("--bounding-set=-all,{}", given.join(","));
    let prefix = ["setpriv", "--no-new-privs", &bounding];
    // Twice: the second one finds what the first one left.
    for _ in 0..2 {
        let agent = bench.start_set(Setting { prefix: &prefix, ..Setting::default() }, RULES);
        assert!(bench.has_program() && !bench.passes(81, 80));
        assert!(agent.output().contains("privileges: user nobody, capabilities none"), "{}", agent.output());
        agent.reload().unwrap();
        assert!(agent.stop().unwrap().success());
    }
}
