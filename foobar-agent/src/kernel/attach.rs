//! The datapath on an interface: a BPF link, pinned, native where the driver can.

use std::io;
use std::path::Path;

use aya::programs::links::FdLink;
use aya::programs::{ProgramError, Xdp, XdpMode};

use super::error::KernelError;
use super::link;
use super::message::{Attached, AttachedMode};
use super::pins;
use crate::config::model::AttachMode;
use crate::net::Interface;

/// Takes what is attached off and attaches in another mode; where that fails, the old mode again.
pub(super) fn attach_anew(
    root: &mut Xdp,
    interface: &Interface,
    modes: (AttachedMode, AttachMode),
    pin: &Path,
) -> Result<Attached, KernelError> {
    let (before, mode) = modes;
    link::release(pin)?;
    match attach(root, interface, mode, pin) {
        Ok(attached) => Ok(Attached { before: Some(before), ..attached }),
        Err(error) => {
            if let Err(worse) = attach(root, interface, before.asked_for(), pin) {
                tracing::error!("{}: nothing is judged there now: {worse}", interface.name);
            }
            Err(error)
        }
    }
}

/// Attaches and pins the link. Of `Auto`, native comes first, then generic with the reason.
pub(super) fn attach(
    root: &mut Xdp,
    interface: &Interface,
    mode: AttachMode,
    pin: &Path,
) -> Result<Attached, KernelError> {
    let (ifindex, name) = (interface.ifindex, interface.name.as_str());
    let program = root.info().map_err(KernelError::bpf("cannot examine the datapath"))?.id();
    let attached = |mode, native_refused| Attached { program, mode, native_refused, before: None };
    match mode {
        AttachMode::Native => {
            make_link(root, ifindex, XdpMode::Driver, pin).map_err(|error| error.on(name, "native"))?;
            Ok(attached(AttachedMode::Native, None))
        }
        AttachMode::Generic => {
            make_link(root, ifindex, XdpMode::Skb, pin).map_err(|error| error.on(name, "generic"))?;
            Ok(attached(AttachedMode::Generic, None))
        }
        AttachMode::Auto => match make_link(root, ifindex, XdpMode::Driver, pin) {
            Ok(()) => Ok(attached(AttachedMode::Native, None)),
            Err(native) if native.is_for_the_driver_to_say() => {
                let refused = native.to_string();
                make_link(root, ifindex, XdpMode::Skb, pin).map_err(|error| error.on(name, "generic"))?;
                Ok(attached(AttachedMode::Generic, Some(refused)))
            }
            Err(error) => Err(error.on(name, "native")),
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

fn make_link(root: &mut Xdp, ifindex: u32, mode: XdpMode, pin: &Path) -> Result<(), Failure> {
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
    // A pin of this number is of an interface that is gone, or of a link that somebody detached.
    pins::remove_file(pin).map_err(Failure::Other)?;
    link.pin(pin).map_err(|error| Failure::Other(KernelError::bpf("cannot pin the attachment")(error)))?;
    Ok(())
}

impl Failure {
    /// Whether another mode may work where this one did not. Drivers answer with many numbers;
    /// only these say that generic mode would fail as well: no permission, no interface, and
    /// a program that has come in the meantime.
    fn is_for_the_driver_to_say(&self) -> bool {
        match self {
            Self::Kernel(error) => {
                !matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENODEV | libc::EEXIST))
            }
            Self::NoLink => true,
            Self::Other(_) => false,
        }
    }

    fn on(self, name: &str, mode: &'static str) -> KernelError {
        let interface = name.to_owned();
        match self {
            Self::Kernel(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST)) => {
                KernelError::ForeignProgram {
                    interface,
                    program: "of another owner".to_owned(),
                    remedy: format!("`ip -d link show dev {name}` shows it; remove it"),
                }
            }
            Self::Kernel(source) => {
                KernelError::Attach { interface, mode, remedy: remedy(&source, mode), source }
            }
            Self::NoLink => KernelError::NoLink { interface },
            Self::Other(error) => error,
        }
    }
}

fn remedy(error: &io::Error, mode: &str) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM) => "run as root, or with CAP_NET_ADMIN and CAP_BPF in the host's user namespace",
        Some(libc::ENODEV) => "the interface has gone; the datapath attaches when it is back",
        _ if mode == "native" => "set firewall.mode to \"auto\", which falls back to generic mode",
        _ => "generic mode works on most interfaces: the kernel's log may say why not on this one",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generic_mode_is_tried_unless_it_cannot_work_either() {
        for (errno, tried) in [
            (libc::EOPNOTSUPP, true),
            (libc::EINVAL, true),
            (libc::ENOMEM, true),
            (libc::EBUSY, true),
            (libc::EPERM, false),
            (libc::ENODEV, false),
            (libc::EEXIST, false),
        ] {
            let failure = Failure::Kernel(io::Error::from_raw_os_error(errno));
            assert_eq!(failure.is_for_the_driver_to_say(), tried, "{failure}");
        }
    }
}
