//! The datapath on an interface: a BPF link, pinned, native where the driver can.

use std::fs;
use std::io;
use std::path::Path;

use aya::programs::links::FdLink;
use aya::programs::{ProgramError, Xdp, XdpMode};

use super::error::KernelError;
use super::message::{Attached, AttachedMode};
use crate::config::model::AttachMode;
use crate::net::Interface;

/// Attaches and pins the link. Of `Auto`, native comes first, then generic with the reason.
pub(super) fn attach(
    root: &mut Xdp,
    interface: &Interface,
    mode: AttachMode,
    pin: &Path,
) -> Result<Attached, KernelError> {
    let (ifindex, name) = (interface.ifindex, interface.name.as_str());
    let attached = |mode, native_refused| Attached { mode, native_refused, adopted: false };
    match mode {
        AttachMode::Native => {
            let hint = "; set firewall.mode to \"auto\" to fall back to generic mode";
            link(root, ifindex, XdpMode::Driver, pin).map_err(|error| error.on(name, "native", hint))?;
            Ok(attached(AttachedMode::Native, None))
        }
        AttachMode::Generic => {
            link(root, ifindex, XdpMode::Skb, pin).map_err(|error| error.on(name, "generic", ""))?;
            Ok(attached(AttachedMode::Generic, None))
        }
        AttachMode::Auto => match link(root, ifindex, XdpMode::Driver, pin) {
            Ok(()) => Ok(attached(AttachedMode::Native, None)),
            Err(native) if native.is_for_the_driver_to_say() => {
                let refused = native.to_string();
                link(root, ifindex, XdpMode::Skb, pin).map_err(|error| error.on(name, "generic", ""))?;
                Ok(attached(AttachedMode::Generic, Some(refused)))
            }
            Err(error) => Err(error.on(name, "native", "")),
        },
    }
}

/// Why there is no link.
enum Failure {
    Kernel(io::Error),
    /// Attached by netlink, and taken off again: the loader falls back to it unasked.
    NoLink,
    Other(KernelError),
}

fn link(root: &mut Xdp, ifindex: u32, mode: XdpMode, pin: &Path) -> Result<(), Failure> {
    let id = match root.attach_to_if_index(ifindex, mode) {
        Ok(id) => id,
        Err(ProgramError::SyscallError(error)) => return Err(Failure::Kernel(error.io_error)),
        // The netlink fallback failed as well, so nothing is attached.
        Err(ProgramError::XdpError(_)) => return Err(Failure::Kernel(io::ErrorKind::InvalidInput.into())),
        Err(error) => return Err(Failure::Other(KernelError::bpf("cannot attach")(error))),
    };
    let link =
        root.take_link(id).map_err(|error| Failure::Other(KernelError::bpf("cannot attach")(error)))?;
    // Dropping what is no link takes it off the interface.
    let link = FdLink::try_from(link).map_err(|_| Failure::NoLink)?;
    // A pin of this number is of an interface that is gone.
    let _ = fs::remove_file(pin);
    link.pin(pin).map_err(|error| Failure::Other(KernelError::bpf("cannot pin the attachment")(error)))?;
    Ok(())
}

impl Failure {
    /// Whether another mode may work where this one did not.
    fn is_for_the_driver_to_say(&self) -> bool {
        match self {
            // EOPNOTSUPP: no native XDP; EINVAL, ERANGE: not with this MTU, offload or queue count.
            Self::Kernel(error) => {
                matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ERANGE) | None)
            }
            Self::NoLink => true,
            Self::Other(_) => false,
        }
    }

    fn on(self, name: &str, mode: &'static str, hint: &'static str) -> KernelError {
        let interface = name.to_owned();
        match self {
            Self::Kernel(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST)) => {
                KernelError::ForeignProgram { interface, program: "of another owner".to_owned() }
            }
            Self::Kernel(source) => KernelError::Attach { interface, mode, source, hint },
            Self::NoLink => KernelError::NoLink { interface },
            Self::Other(error) => error,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kernel(error) => error.fmt(f),
            Self::NoLink => f.write_str("the kernel gave no BPF link"),
            Self::Other(error) => error.fmt(f),
        }
    }
}
