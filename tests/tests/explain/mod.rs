//! The command, its input and what it leaves.

mod captures;
mod packets;
mod plan;
mod running;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use foobar_tests::agent;
use foobar_tests::frame::{Frame, Mac, Packet, Transport};
use tempfile::TempDir;

/// Rules of each kind that the tests tell apart.
pub(crate) const RULES: &str = r#"
[firewall]
interfaces = ["eth0"]
default = "drop"
[[firewall.rules]]
name = "ssh"
action = "allow"
from = "203.0.113.0/24"
protocol = "tcp"
port = 22
[[firewall.rules]]
name = "web"
action = "allow"
protocol = "tcp"
port = [80, 443]
[[firewall.rules]]
name = "dns"
action = "allow"
protocol = "udp"
port = 53
interface = "eth0"
"#;

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// A folder with a configuration.
pub(crate) struct Bench {
    folder: TempDir,
}

impl Bench {
    pub(crate) fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("web1.toml"), config).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command in the bench's folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(agent::binary().unwrap());
        command.current_dir(self.folder.path()).arg("explain").args(arguments);
        command
    }

    /// `foobar-agent plan` in the bench's folder.
    pub(crate) fn plan(&self, arguments: &[&str]) -> Ended {
        let mut command = Command::new(agent::binary().unwrap());
        command.current_dir(self.folder.path()).arg("plan").args(arguments).output().unwrap().into()
    }

    /// By the bench's configuration.
    pub(crate) fn explain(&self, arguments: &[&str]) -> Ended {
        self.command(&[&["--config", "web1.toml"], arguments].concat()).output().unwrap().into()
    }

    /// As [`Bench::explain`], with something on standard input.
    pub(crate) fn explain_input(&self, arguments: &[&str], input: &[u8]) -> Ended {
        let mut command = self.command(&[&["--config", "web1.toml"], arguments].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap().into()
    }

    /// Writes a capture and has it judged, as JSON.
    pub(crate) fn capture(&self, capture: &[u8]) -> Ended {
        fs::write(self.path("packets.pcap"), capture).unwrap();
        self.explain(&["--pcap", "packets.pcap", "--json"])
    }
}

/// A capture of the repository.
pub(crate) fn stored(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/explain/captures").join(name)
}

/// A pcap file, in the byte order of this machine: packets, each with its length on the wire.
pub(crate) fn pcap(link_type: u32, packets: &[(&[u8], usize)]) -> Vec<u8> {
    let word = |value: usize| u32::try_from(value).unwrap().to_ne_bytes();
    let mut file = [&0xa1b2_c3d4_u32.to_ne_bytes()[..], &2u16.to_ne_bytes(), &4u16.to_ne_bytes()].concat();
    file.extend([0, 0, 262_144, link_type].map(u32::to_ne_bytes).concat());
    for (bytes, length) in packets {
        file.extend([[0; 4], [0; 4], word(bytes.len()), word(*length)].concat());
        file.extend(*bytes);
    }
    file
}

/// A frame from a host outside to the one of the rules.
pub(crate) fn frame(packet: &Packet) -> Vec<u8> {
    Frame::new(Mac([2, 0, 0, 0, 0, 9]), Mac([2, 0, 0, 0, 0, 1])).packet(packet)
}

pub(crate) fn packet(transport: Transport) -> Packet {
    Packet::new("198.51.100.9".parse().unwrap(), "192.0.2.1".parse().unwrap(), transport)
}

/// The lines of `--json`, from verdict, rule and reason.
pub(crate) fn objects(expected: &[(&str, Option<&str>, &str)]) -> String {
    let line = |(index, (verdict, rule, reason)): (usize, &(&str, Option<&str>, &str))| {
        let rule = rule.map_or_else(|| "null".to_owned(), |rule| format!("\"{rule}\""));
        format!("{{\"index\":{index},\"verdict\":\"{verdict}\",\"rule\":{rule},\"reason\":\"{reason}\"}}\n")
    };
    expected.iter().enumerate().map(line).collect()
}
