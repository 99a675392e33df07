//! Whose XDP program is in the way, and what to do about it. Only looks.
//!
//! Programs are named by their numbers to whoever has `CAP_SYS_ADMIN` only. So all are looked at while the
//! kernel process still has it; one that came later is named by its number.

use std::collections::BTreeMap;

use aya::programs::{loaded_links, loaded_programs};
use foobar_ebpf::abi::program;

use super::error::KernelError;
use super::pins::Pins;
use crate::net::{Interface, XdpPresent};

/// The programs that were there before the agent.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    /// Names by number.
    names: BTreeMap<u32, String>,
    /// Links by the number of their program.
    links: BTreeMap<u32, u32>,
}

impl Survey {
    /// Looks. Where that is not allowed, nothing is known.
    pub(super) fn take() -> Self {
        let programs = loaded_programs().filter_map(Result::ok);
        let links = loaded_links().filter_map(Result::ok);
        Self {
            names: programs.filter_map(|seen| Some((seen.id(), seen.name_as_str()?.to_owned()))).collect(),
            links: links.map(|link| (link.program_id(), link.id())).collect(),
        }
    }

    /// The error for a program that is not ours.
    pub(super) fn refuse(&self, pins: &Pins, interface: &Interface, present: XdpPresent) -> KernelError {
        let XdpPresent { program: number, .. } = present;
        let name = self.names.get(&number).map(String::as_str);
        let (ifindex, interface) = (interface.ifindex, interface.name.clone());
        if name == Some(program::ROOT) {
            return match pins.of_other_version(ifindex) {
                Some(path) => KernelError::OtherVersion { interface, program: number, path },
                None => KernelError::OtherAgent { interface, program: number },
            };
        }
        let program = match name {
            Some(name) if !name.is_empty() => format!("{name:?} (id {number})"),
            _ => format!("with id {number} (`bpftool prog show id {number}` names it)"),
        };
        let remedy = match (self.links.get(&number), name) {
            (Some(link), _) => format!(
                "BPF link {link} holds it: end its program or remove its pin, which `bpftool -f link show id {link}` \
                 names"
            ),
            (None, Some(_)) => {
                format!("remove it with `ip link set dev {interface} xdp off`, or the tool that put it there")
            }
            (None, None) => format!(
                "remove it with the tool that put it there, or by `ip link set dev {interface} xdp off`; if that \
                 fails, `bpftool -f link show` names the link that holds it"
            ),
        };
        KernelError::ForeignProgram { interface, program, remedy }
    }
}
