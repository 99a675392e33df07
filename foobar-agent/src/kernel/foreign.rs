//! Whose XDP programs are on the interfaces, as far as the kernel tells, and what to do about one that is in
//! the way. Only looks.
//!
//! The kernel tells of programs and links by their numbers to whoever has `CAP_SYS_ADMIN`. So all are looked at
//! while the kernel process still has it; one that came later is known by its number alone.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use aya::programs::{loaded_links, loaded_programs};
use aya_obj::generated::bpf_prog_type;
use foobar_ebpf::abi::program;
use serde::{Deserialize, Serialize};

use super::error::KernelError;
use super::link;
use super::message::AttachedMode;
use super::pins::{self, Pins};
use crate::net::{Interface, XdpPresent};

/// What the names of our own programs begin with.
const OUR_NAMES: &str = "foobar_";

/// An XDP program on an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The interface.
    pub interface: String,
    /// The kernel's number of the program.
    pub program: u32,
    /// Its name; empty where the kernel does not tell.
    pub name: String,
    /// How it is attached.
    pub mode: AttachedMode,
    /// Whose it is.
    pub owner: Owner,
}

/// Whose an XDP program is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// The datapath of this agent, or of one before it.
    Ours {
        /// Version of its ABI.
        version: u32,
        /// Where its link is pinned.
        pin: String,
    },
    /// The datapath of another agent, with another `pin_dir`.
    OtherAgent,
    /// Somebody else's.
    Foreign {
        /// Number of the BPF link that holds it; without one, netlink attached it.
        link: Option<u32>,
        /// Processes that have it or its link open, as "name (pid)".
        processes: Vec<String>,
    },
}

/// The programs and links that are there, as far as the kernel tells.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    /// Names by number.
    names: BTreeMap<u32, String>,
    /// Links by the number of their program.
    links: BTreeMap<u32, u32>,
    /// Who has what open: "name (pid)" by number of a program, and of a link.
    users: BTreeMap<Object, Vec<String>>,
    /// The links themselves, by their number, where they will be wanted.
    opened: BTreeMap<u32, Arc<OwnedFd>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Object {
    Program(u32),
    Link(u32),
}

impl Survey {
    /// Looks; where that is not allowed, nothing is known. With `open`, links stay open, to be used when that
    /// is no longer allowed.
    pub(super) fn take(open: bool) -> Self {
        let programs: Vec<_> = loaded_programs().filter_map(Result::ok).collect();
        let links: BTreeMap<u32, u32> =
            loaded_links().filter_map(Result::ok).map(|link| (link.program_id(), link.id())).collect();
        // Looking through the descriptors of every process takes its time on a large host.
        let has_others = programs.iter().any(|loaded| {
            loaded.program_type() == bpf_prog_type::BPF_PROG_TYPE_XDP
                && !loaded.name_as_str().is_some_and(|name| name.starts_with(OUR_NAMES))
        });
        let opened =
            links.values().filter(|_| open).filter_map(|id| Some((*id, Arc::new(link::by_id(*id).ok()?))));
        Self {
            opened: opened.collect(),
            users: if has_others { users() } else { BTreeMap::new() },
            names: programs
                .iter()
                .filter_map(|seen| Some((seen.id(), seen.name_as_str()?.to_owned())))
                .collect(),
            links,
        }
    }

    /// Who holds the program that is on an interface.
    pub(super) fn holder(&self, pins: &[Pins], interface: &Interface, present: XdpPresent) -> Holder {
        let XdpPresent { program, mode } = present;
        let name = self.names.get(&program).cloned().unwrap_or_default();
        let owner = match pinned(pins, interface.ifindex, program) {
            Some(ours) => ours,
            None if name == program::ROOT => Owner::OtherAgent,
            None => {
                let link = self.links.get(&program).copied();
                let users = [Some(Object::Program(program)), link.map(Object::Link)];
                let users = users.iter().flatten().filter_map(|object| self.users.get(object)).flatten();
                let mut processes: Vec<String> = users.cloned().collect();
                processes.sort();
                processes.dedup();
                Owner::Foreign { link, processes }
            }
        };
        Holder { interface: interface.name.clone(), program, name, mode, owner }
    }

    /// A link, where it was kept open.
    pub(super) fn link(&self, id: u32) -> Option<&OwnedFd> {
        self.opened.get(&id).map(Arc::as_ref)
    }

    /// The error for a program that is not ours.
    pub(super) fn refuse(&self, interface: &Interface, present: XdpPresent) -> KernelError {
        let Holder { interface, program, name, owner, .. } = self.holder(&[], interface, present);
        let Owner::Foreign { link, processes } = owner else {
            return KernelError::OtherAgent { interface, program };
        };
        let remedy = match link {
            Some(link) => format!(
                "BPF link {link} holds it: end its program or remove its pin, which `bpftool -f link show id {link}` \
                 names; `foobar-agent run --replace` takes its place"
            ),
            None if name.is_empty() => format!(
                "remove it with the tool that put it there, or by `ip link set dev {interface} xdp off`; if that \
                 fails, `bpftool -f link show` names the link that holds it"
            ),
            None => format!(
                "remove it with `ip link set dev {interface} xdp off`, or the tool that put it there; \
                 `foobar-agent run --replace` takes its place"
            ),
        };
        let program = match name.as_str() {
            "" => format!("with id {program} (`bpftool prog show id {program}` names it)"),
            name => format!("{name:?} (id {program}){}", of(&processes)),
        };
        KernelError::ForeignProgram { interface, program, remedy }
    }
}

/// " of name (pid), …"
pub(super) fn of(processes: &[String]) -> String {
    if processes.is_empty() { String::new() } else { format!(" of {}", processes.join(", ")) }
}

/// Who holds the XDP programs of these interfaces; the pins are those below `pin_dir`.
///
/// # Errors
/// Where the pins cannot be looked at.
pub fn holders(pin_dir: &Path, interfaces: &[Interface]) -> Result<Vec<Holder>, KernelError> {
    let pins = pins::without_lock(pin_dir)?;
    let survey = Survey::take(false);
    let held = interfaces.iter().filter_map(|interface| Some((interface, interface.xdp?)));
    Ok(held.map(|(interface, present)| survey.holder(&pins, interface, present)).collect())
}

fn pinned(pins: &[Pins], ifindex: u32, program: u32) -> Option<Owner> {
    pins.iter().find_map(|pins| {
        let pin = pins.link(ifindex);
        let info = link::open(&pin).and_then(|link| link::info(&link)).ok()?;
        let pin = pin.display().to_string();
        (info.ifindex == ifindex && info.program == program)
            .then_some(Owner::Ours { version: pins.version()?, pin })
    })
}

/// Which processes have which programs and links open.
fn users() -> BTreeMap<Object, Vec<String>> {
    let mut found = BTreeMap::new();
    let Ok(entries) = fs::read_dir("/proc") else { return found };
    for process in entries.flatten().map(|entry| entry.path()) {
        let Some(id) = process.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()) else {
            continue;
        };
        let objects = open_objects(&process);
        if objects.is_empty() {
            continue;
        }
        let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
        for object in objects {
            let users: &mut Vec<String> = found.entry(object).or_default();
            users.push(format!("{} ({id})", name.trim_end()));
        }
    }
    found
}

/// What a process has open.
fn open_objects(process: &Path) -> Vec<Object> {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else { return Vec::new() };
    let objects = descriptors.flatten().filter_map(|descriptor| {
        let leads_to = fs::read_link(descriptor.path()).ok()?;
        leads_to.to_str()?.strip_prefix("anon_inode:bpf")?;
        let info = fs::read_to_string(process.join("fdinfo").join(descriptor.file_name())).ok()?;
        let number = |key: &str| info.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
        match (number("link_id:"), number("prog_id:")) {
            (Some(link), _) => Some(Object::Link(link)),
            (None, program) => program.map(Object::Program),
        }
    });
    objects.collect()
}
