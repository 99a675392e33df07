//! A host with a peer on its one link, in which agents live and die.

mod apply;
mod outlive;
mod privileges;
mod processes;
mod refuse;
mod reload;
mod upgrade;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use foobar_tests::bpffs::Bpffs;
use foobar_tests::frame::{Frame, Packet, Transport};
use foobar_tests::wire::Wire;
use foobar_tests::{Agent, Host, Link, Metrics, Process, Setting, agent, wait};

pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Everything but TCP to port 80 is refused.
pub(crate) const RULES: &str = r#"
[firewall]
interfaces = ["eth0"]
default = "drop"
[[firewall.rules]]
name = "web"
action = "allow"
protocol = "tcp"
port = 80
"#;

/// A host, its peer, and the folder of its agents.
pub(crate) struct Bench {
    pub(crate) host: Host,
    pub(crate) folder: PathBuf,
    frame: Frame,
    sender: Wire,
    receiver: Wire,
    probes: Cell<u16>,
    _bpffs: Bpffs,
    _peer: Host,
}

/// How a start that failed ended.
pub(crate) struct Failed {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let (peer, host) = (Host::new("peer").unwrap(), Host::new("host").unwrap());
        // No listener reports of the stacks: what is counted is what a test sends.
        for end in [&peer, &host] {
            end.sysctl("net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        }
        Link::between((&peer, "eth0"), (&host, "eth0")).unwrap();
        let folder = host.session().directory("life").unwrap();
        Self {
            frame: Frame::new(peer.mac("eth0").unwrap(), host.mac("eth0").unwrap()),
            sender: Wire::open(&peer, "eth0").unwrap(),
            receiver: Wire::open(&host, "eth0").unwrap(),
            probes: Cell::new(0),
            _bpffs: Bpffs::mount(&folder.join("bpf")).unwrap(),
            host,
            folder,
            _peer: peer,
        }
    }

    /// Starts an agent in the bench's folder; what an earlier one left there is still there.
    pub(crate) fn start(&self, config: &str) -> Agent<'_> {
        Agent::start_in(&agent::binary().unwrap(), &self.host, &self.folder, None, config).unwrap()
    }

    /// As [`Bench::start`], in a setting; its folder is the bench's.
    pub(crate) fn start_set(&self, setting: Setting<'_>, config: &str) -> Agent<'_> {
        let setting = Setting { folder: self.folder.to_str().unwrap(), ..setting };
        Agent::start_set(&agent::binary().unwrap(), &self.host, setting, None, config).unwrap()
    }

    /// Runs an agent that must not come to run, by a command that prefixes it.
    pub(crate) fn fail(&self, prefix: &[&str], folder: &Path, config: &str, options: &[&str]) -> Failed {
        let path = folder.join("failing.toml");
        let (run, pins) = (folder.display(), self.folder.display());
        let host = format!(
            "[host]\nname = \"host\"\nrun_dir = \"{run}/run\"\nstate_dir = \"{run}/state\"\npin_dir = \"{pins}/bpf/{}\"\n",
            folder.file_name().unwrap().to_string_lossy().replace('.', "-")
        );
        fs::write(&path, format!("{config}\n{host}")).unwrap();
        let binary = agent::binary().unwrap();
        let words = [prefix, &[binary.to_str().unwrap(), "run", "--config", path.to_str().unwrap()], options];
        let words = words.concat();
        let mut command = self.host.command(words[0]).unwrap();
        command.args(&words[1..]);
        self.run_to_end(command)
    }

    /// Runs `foobar-agent` with the configuration of this bench's agent, whether or not that lives.
    pub(crate) fn ask(&self, command: &[&str]) -> Output {
        let config = self.folder.join("foobar.toml");
        agent_command(command).arg("--config").arg(config).output().unwrap()
    }

    /// Waits for the end of a command of the host.
    pub(crate) fn run_to_end(&self, command: Command) -> Failed {
        let mut process = Process::spawn("failing agent", command, &self.folder.join("failing.log")).unwrap();
        let status = wait::until("it ends", LIMIT, || process.ended()).unwrap();
        Failed { code: status.code(), output: process.output() }
    }

    /// A folder of its own for an agent beside another.
    pub(crate) fn other_folder(&self) -> PathBuf {
        let folder = self.folder.join("other");
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// A TCP segment from the peer to a port of the host.
    pub(crate) fn syn(&self, port: u16) -> Vec<u8> {
        self.syn_from(40_000, port)
    }

    fn syn_from(&self, source_port: u16, port: u16) -> Vec<u8> {
        let packet = Packet::new(
            "198.51.100.7".parse().unwrap(),
            "192.0.2.1".parse().unwrap(),
            Transport::syn(source_port, port),
        );
        self.frame.packet(&packet)
    }

    pub(crate) fn frame(&self) -> &Frame {
        &self.frame
    }

    pub(crate) fn send(&self, frame: &[u8], times: usize) {
        for _ in 0..times {
            self.sender.send(frame).unwrap();
        }
    }

    /// Whether frames to a port get through to the host, known by one to a port that does: frames keep
    /// their order.
    pub(crate) fn passes(&self, port: u16, open: u16) -> bool {
        // Frames that nothing before has sent: the receiver may hold others still.
        self.probes.set(self.probes.get() + 1);
        let (frame, mark) = (self.syn_from(self.probes.get(), port), self.syn_from(self.probes.get(), open));
        self.send(&frame, 1);
        self.send(&mark, 1);
        let first = self.receiver.receive(LIMIT, |seen| seen == frame || seen == mark).unwrap().unwrap();
        first == frame
    }

    /// As [`Bench::passes`], where it is not known what else gets through: foreign frames always do.
    pub(crate) fn reaches(&self, port: u16) -> bool {
        self.probes.set(self.probes.get() + 1);
        let number = self.probes.get().to_be_bytes();
        let (frame, mark) =
            (self.syn_from(self.probes.get(), port), self.frame.raw(0x0806, &number.repeat(14)));
        self.send(&frame, 1);
        self.send(&mark, 1);
        let first = self.receiver.receive(LIMIT, |seen| seen == frame || seen == mark).unwrap().unwrap();
        first == frame
    }

    /// Whether some XDP program is on the interface.
    pub(crate) fn has_program(&self) -> bool {
        self.host.ip("link show dev eth0").unwrap().contains("xdp")
    }

    /// Files below a folder of pins.
    pub(crate) fn pins(&self, pin_dir: &str) -> Vec<PathBuf> {
        files(&self.folder.join("bpf").join(pin_dir))
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// All that a command said.
pub(crate) fn words(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

/// Packets of a rule.
pub(crate) fn rule(metrics: &Metrics, name: &str) -> u64 {
    metrics.count("foobar_firewall_rule_packets_total", &[("rule", name)])
}

/// A command that is given the same binary.
pub(crate) fn agent_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(agent::binary().unwrap());
    command.args(arguments);
    command
}
