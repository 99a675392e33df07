//! Whose XDP program is in the way, and what to do about it. Only looks.

use aya::programs::{loaded_links, loaded_programs};
use foobar_ebpf::abi::program;

use super::error::KernelError;
use super::pins::Pins;
use crate::net::{Interface, XdpPresent};

/// The error for a program that is not ours.
pub(super) fn refuse(pins: &Pins, interface: &Interface, present: XdpPresent) -> KernelError {
    let name = loaded_programs()
        .filter_map(Result::ok)
        .find(|program| program.id() == present.program)
        .and_then(|program| program.name_as_str().map(str::to_owned));
    let (ifindex, interface) = (interface.ifindex, interface.name.clone());
    if name.as_deref() == Some(program::ROOT) {
        return match pins.of_other_version(ifindex) {
            Some(path) => KernelError::OtherVersion { interface, program: present.program, path },
            None => KernelError::OtherAgent { interface, program: present.program },
        };
    }
    let name = match name {
        Some(name) if !name.is_empty() => format!("{name:?} (id {})", present.program),
        _ => format!("with id {}", present.program),
    };
    let link = loaded_links().filter_map(Result::ok).find(|link| link.program_id() == present.program);
    let remedy = match link {
        Some(link) => format!(
            "BPF link {} holds it: end its program or remove its pin, which `bpftool -f link show id {0}` names",
            link.id()
        ),
        None => {
            format!("remove it with `ip link set dev {interface} xdp off`, or the tool that put it there")
        }
    };
    KernelError::ForeignProgram { interface, program: name, remedy }
}
