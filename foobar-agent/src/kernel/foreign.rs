//! Whose XDP programs are on the interfaces, as far as the kernel tells, and what to do about one that is in
//! the way. Only looks.

use std::fs;
use std::path::Path;

use aya::programs::{loaded_links, loaded_programs};
use foobar_ebpf::abi::program;
use serde::{Deserialize, Serialize};

use super::error::KernelError;
use super::link;
use super::message::AttachedMode;
use super::pins::{self, Pins};
use crate::net::{Interface, XdpPresent};

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

impl Holder {
    /// Who holds the program that is on an interface.
    pub(super) fn of(others: &[Pins], interface: &Interface, present: XdpPresent) -> Self {
        let XdpPresent { program, mode } = present;
        let name = loaded_programs()
            .filter_map(Result::ok)
            .find(|loaded| loaded.id() == program)
            .and_then(|loaded| loaded.name_as_str().map(str::to_owned))
            .unwrap_or_default();
        let owner = match pinned(others, interface.ifindex, program) {
            Some(ours) => ours,
            None if name == program::ROOT => Owner::OtherAgent,
            None => {
                let link = loaded_links().filter_map(Result::ok).find(|link| link.program_id() == program);
                let link = link.map(|link| link.id());
                Owner::Foreign { link, processes: processes(program, link) }
            }
        };
        Self { interface: interface.name.clone(), program, name, mode, owner }
    }
}

/// Who holds the XDP programs of these interfaces; the pins are those below `pin_dir`.
///
/// # Errors
/// Where the pins cannot be looked at.
pub fn holders(pin_dir: &Path, interfaces: &[Interface]) -> Result<Vec<Holder>, KernelError> {
    let pins = pins::without_lock(pin_dir)?;
    let held = interfaces.iter().filter_map(|interface| Some((interface, interface.xdp?)));
    Ok(held.map(|(interface, present)| Holder::of(&pins, interface, present)).collect())
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

/// Processes that have a program or a link open.
fn processes(program: u32, link: Option<u32>) -> Vec<String> {
    let (program, link) = (format!("prog_id:\t{program}"), link.map(|link| format!("link_id:\t{link}")));
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut found = Vec::new();
    for process in entries.flatten().map(|entry| entry.path()) {
        let Some(id) = process.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(descriptors) = fs::read_dir(process.join("fd")) else { continue };
        let has_it = descriptors.flatten().any(|descriptor| {
            let leads_to = fs::read_link(descriptor.path()).unwrap_or_default();
            if !leads_to.to_string_lossy().starts_with("anon_inode:bpf") {
                return false;
            }
            let info = fs::read_to_string(process.join("fdinfo").join(descriptor.file_name()));
            info.is_ok_and(|info| info.lines().any(|line| line == program || Some(line) == link.as_deref()))
        });
        if has_it {
            let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
            found.push(format!("{} ({id})", name.trim_end()));
        }
    }
    found
}

/// The error for a program that is not ours.
pub(super) fn refuse(interface: &Interface, present: XdpPresent) -> KernelError {
    let Holder { interface, program, name, owner, .. } = Holder::of(&[], interface, present);
    let Owner::Foreign { link, processes } = owner else {
        return KernelError::OtherAgent { interface, program };
    };
    let held = if processes.is_empty() { String::new() } else { format!(", of {}", processes.join(", ")) };
    let remedy = match link {
        Some(link) => format!(
            "BPF link {link} holds it: end its program or remove its pin, which `bpftool -f link show id {link}` names"
        ),
        None => {
            format!("remove it with `ip link set dev {interface} xdp off`, or the tool that put it there")
        }
    };
    let program =
        if name.is_empty() { format!("with id {program}") } else { format!("{name:?} (id {program})") };
    KernelError::ForeignProgram { interface, program: format!("{program}{held}"), remedy }
}
