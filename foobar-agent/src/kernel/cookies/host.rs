//! The host's TCP, as far as cookies depend on it: its settings, below `/proc/sys/net` of this network
//! namespace, and its counters.
//!
//! What cookies need is set while they are armed only. What was there before is written to a file first,
//! so that whoever comes next can restore it, whatever became of who set it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use foobar_ebpf::abi::cookie::{NO_SCALE, Offer};
use rustix::net::{AddressFamily, SocketType, sockopt};
use serde::{Deserialize, Serialize};

use super::super::error::KernelError;
use super::super::pins;
use crate::durable;

const SYNCOOKIES: &str = "net/ipv4/tcp_syncookies";
const TIMESTAMPS: &str = "net/ipv4/tcp_timestamps";

/// What cookies need, see `docs/syn-cookies.md`: the kernel makes them for a listener that is not full, and
/// takes our timestamps for its own.
const NEEDED: &str = "2";

/// The file in `state_dir`.
const FILE: &str = "syn-cookies.json";

/// The settings that cookies need, open for writing: later the kernel process reaches no file of the
/// system's but to read.
#[derive(Debug)]
pub(in crate::kernel) struct Switches([(&'static str, io::Result<File>); 2]);

impl Switches {
    /// Opens both, or notes why they cannot be: `/proc/sys` is read-only in many containers.
    pub(in crate::kernel) fn open() -> Self {
        let open = |name| (name, OpenOptions::new().write(true).open(sysctl(name)));
        Self([SYNCOOKIES, TIMESTAMPS].map(open))
    }

    /// Before there are any.
    pub(in crate::kernel) fn closed() -> Self {
        Self([SYNCOOKIES, TIMESTAMPS].map(|name| (name, Err(io::ErrorKind::NotConnected.into()))))
    }

    fn write(&self, name: &str, value: &str) -> io::Result<()> {
        let switch = self.0.iter().find(|(known, _)| *known == name);
        match switch {
            Some((_, Ok(file))) => file.write_all_at(value.as_bytes(), 0),
            Some((_, Err(error))) => Err(io::Error::new(error.kind(), error.to_string())),
            None => Err(io::Error::other("it is not one that cookies need")),
        }
    }
}

/// A setting that was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Changed {
    name: String,
    before: String,
}

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Of this boot: another one began with settings of its own.
    boot: String,
    changed: Vec<Changed>,
}

/// Settings that are not as they were.
#[derive(Debug)]
pub(in crate::kernel) struct Settings {
    switches: Rc<Switches>,
    path: PathBuf,
    changed: Vec<Changed>,
}

impl Settings {
    /// Takes up what an earlier agent has changed and not restored.
    pub(in crate::kernel) fn open(state_dir: &Path, switches: &Rc<Switches>) -> Result<Self, KernelError> {
        let path = state_dir.join(FILE);
        let changed = match fs::read(&path) {
            Ok(text) => match serde_json::from_slice::<Record>(&text) {
                Ok(record) if record.boot == boot() => record.changed,
                Ok(_) => Vec::new(),
                Err(error) => {
                    tracing::warn!(
                        "{} is damaged ({error}): look at {SYNCOOKIES} and {TIMESTAMPS} yourself",
                        path.display()
                    );
                    Vec::new()
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(KernelError::io("cannot read", &path)(error)),
        };
        let settings = Self { switches: Rc::clone(switches), path, changed };
        if settings.changed.is_empty() {
            pins::remove_file(&settings.path)?;
        }
        Ok(settings)
    }

    /// Whether something is not as it was.
    pub(super) fn are_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Sets what cookies need. What cannot be set is said; the offer is of what works all the same.
    pub(super) fn arm(&mut self) -> Result<Vec<String>, KernelError> {
        let mut wanted = Vec::new();
        for (name, unless) in [(SYNCOOKIES, NEEDED), (TIMESTAMPS, NEEDED)] {
            match read(name) {
                // Without timestamps the host does without what they would hold.
                Ok(value) if value == unless || (name == TIMESTAMPS && value == "0") => {}
                Ok(before) => wanted.push(Changed { name: name.to_owned(), before }),
                Err(error) => return Err(KernelError::io("cannot read", sysctl(name))(error)),
            }
        }
        // Of a setting that is changed already, what it was before that counts.
        wanted.retain(|new| self.changed.iter().all(|old| old.name != new.name));
        let mut next = self.changed.clone();
        next.extend(wanted.iter().cloned());
        if next.is_empty() {
            return Ok(Vec::new());
        }
        if !wanted.is_empty() {
            self.write(&next)?;
            self.changed = next;
        }
        let mut problems = Vec::new();
        for Changed { name, .. } in &self.changed {
            if let Err(error) = self.switches.write(name, NEEDED) {
                problems.push(format!("cannot set {} to {NEEDED}: {error}", sysctl(name).display()));
            }
        }
        Ok(problems)
    }

    /// Gives every setting back what it had, where nobody else has changed it since.
    pub(super) fn restore(&mut self) -> Result<(), KernelError> {
        for Changed { name, before } in &self.changed {
            if read(name).is_ok_and(|value| value == NEEDED) {
                self.switches.write(name, before).map_err(KernelError::io("cannot restore", sysctl(name)))?;
            }
        }
        self.changed.clear();
        pins::remove_file(&self.path)
    }

    fn write(&self, changed: &[Changed]) -> Result<(), KernelError> {
        let record = Record { boot: boot(), changed: changed.to_vec() };
        let text = serde_json::to_vec(&record).map_err(KernelError::bpf("cannot write settings"))?;
        durable::replace(&self.path, &text).map_err(KernelError::io("cannot write", &self.path))
    }
}

/// Restores what an agent that no longer runs has left changed.
pub(in crate::kernel) fn restore_left(state_dir: &Path) -> Result<(), KernelError> {
    Settings::open(state_dir, &Rc::new(Switches::open()))?.restore()
}

/// What the host's TCP offers now; an error where the kernel makes no cookies.
pub(super) fn offer() -> Result<Offer, KernelError> {
    let value = |name: &str| read(name).map_err(KernelError::io("cannot read", sysctl(name)));
    if value(SYNCOOKIES)? == "0" {
        let source = io::Error::other("it is 0, and the kernel makes no cookies then");
        return Err(KernelError::Io { what: "cannot go on with", path: sysctl(SYNCOOKIES), source });
    }
    let is_on = |name: &str| value(name).map(|value| value != "0");
    let receive = value("net/ipv4/tcp_rmem")?;
    let mut receive = receive.split_whitespace().map(|word| word.parse::<u64>().unwrap_or(0));
    let (usual, most) = (receive.nth(1).unwrap_or(0), receive.next().unwrap_or(0));
    // As `tcp_select_initial_window` of Linux has it for a listener that asked for no buffer of its own.
    let space = usual.max(most).max(largest_receive_buffer().unwrap_or(0)).min(u64::from(u16::MAX) << 14);
    let scale = space.checked_ilog2().unwrap_or(0).saturating_sub(15).min(14);
    let is_scaled = is_on("net/ipv4/tcp_window_scaling")?;
    // Half a buffer is for the payload (`tcp_win_from_space`); whole segments of it, so less by one.
    let window = (usual / 2).min(u64::from(u16::MAX)).saturating_sub(1460);
    Ok(Offer {
        window: u16::try_from(window).unwrap_or(u16::MAX),
        window_scale: if is_scaled { u8::try_from(scale).unwrap_or(NO_SCALE) } else { NO_SCALE },
        timestamps: value(TIMESTAMPS)? == NEEDED,
        sack: is_on("net/ipv4/tcp_sack")?,
        ecn: is_on("net/ipv4/tcp_ecn")?,
    })
}

/// `net.core.rmem_max`, which older kernels show in the first network namespace only, though it counts in
/// each: what a socket of any kind gets that asks for all. The kernel doubles what it gives.
fn largest_receive_buffer() -> io::Result<u64> {
    let socket: OwnedFd = rustix::net::socket(AddressFamily::UNIX, SocketType::DGRAM, None)?;
    sockopt::set_socket_recv_buffer_size(&socket, i32::MAX as usize)?;
    Ok(sockopt::socket_recv_buffer_size(&socket)? as u64 / 2)
}

fn sysctl(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name)
}

fn read(name: &str) -> io::Result<String> {
    fs::read_to_string(sysctl(name)).map(|text| text.trim().to_owned())
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// What the stack counts of cookies and listeners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TcpCounts {
    /// Cookies that came back.
    pub(super) returned: u64,
    /// SYNs that a queue of requests, or of connections to be accepted, had no room for.
    pub(super) overflows: u64,
}

pub(super) fn tcp_counts() -> Result<TcpCounts, KernelError> {
    const PATH: &str = "/proc/thread-self/net/netstat";
    let text = fs::read_to_string(PATH).map_err(KernelError::io("cannot read", PATH))?;
    Ok(count(&text))
}

/// Two lines with names and values.
fn count(netstat: &str) -> TcpCounts {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut counts = TcpCounts::default();
    for (name, value) in names.split_whitespace().zip(values.split_whitespace()) {
        let value = value.parse().unwrap_or(0);
        match name {
            "SyncookiesRecv" => counts.returned = value,
            "ListenOverflows" | "TCPReqQFullDoCookies" | "TCPReqQFullDrop" => counts.overflows += value,
            _ => {}
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_found_by_their_names() {
        let text = "TcpExt: SyncookiesSent SyncookiesRecv ListenOverflows ListenDrops TCPReqQFullDoCookies \
                    TCPReqQFullDrop\nTcpExt: 1 2 30 4 500 6000\nIpExt: InNoRoutes SyncookiesRecv\nIpExt: 7 8\n";
        assert_eq!(count(text), TcpCounts { returned: 2, overflows: 6530 });
        assert_eq!(count(""), TcpCounts::default());
    }

    #[test]
    fn what_another_boot_or_a_damaged_file_says_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let (path, closed) = (folder.path().join(FILE), Rc::new(Switches::closed()));
        let changed = Changed { name: SYNCOOKIES.to_owned(), before: "1".to_owned() };
        let record =
            |boot: String| serde_json::to_vec(&Record { boot, changed: vec![changed.clone()] }).unwrap();
        for text in [record("another".to_owned()), b"{ no json".to_vec()] {
            fs::write(&path, text).unwrap();
            assert!(!Settings::open(folder.path(), &closed).unwrap().are_changed());
            assert!(!path.exists());
        }
        fs::write(&path, record(boot())).unwrap();
        assert!(Settings::open(folder.path(), &closed).unwrap().are_changed());
        assert!(path.exists());
    }
}
