//! The datapath where packets leave an interface: a tcx link (Linux 6.6), pinned like those of XDP; where the
//! kernel has none, a filter of the classic clsact hook. That one cannot be pinned, but lasts until it is
//! removed; a pin of the program stands for it.

use std::io;
use std::mem;
use std::path::Path;

use aya::programs::links::FdLink;
use aya::programs::tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle};
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType};
use nix::net::if_::if_indextoname;

use super::error::KernelError;
use super::link;
use super::pins::{self, Pins};

/// Where our filter is among those of the classic hook; the kernel would choose 49,152 and below.
const PRIORITY: u16 = 0x6662;
const HANDLE: TcHandle = TcHandle::new(0x666f, 0x6f62);

const EGRESS: TcAttachType = TcAttachType::Egress;

/// Attaches the program where packets leave an interface, or goes on with what is attached there. Whether it
/// was not there before.
pub(super) fn attach(
    root: &mut SchedClassifier,
    interface: (&str, u32),
    pins: &Pins,
) -> Result<bool, KernelError> {
    let (name, ifindex) = interface;
    let refused = |source: io::Error| KernelError::AttachEgress { interface: name.to_owned(), source };
    let pin = pins.egress_link(ifindex);
    let id = root.info().map_err(KernelError::bpf("cannot examine the datapath"))?.id();
    if link::holds(&pin, id, ifindex) {
        return Ok(false);
    }
    match make_link(root, name, &pin)? {
        Ok(()) => Ok(true),
        Err(error) if is_without_tcx(&error) => {
            add_filter(root, name).map_err(refused)?;
            let marker = pins.egress_filter(ifindex);
            let is_new = !marker.exists();
            pins::remove_file(&marker)?;
            root.pin(&marker).map_err(KernelError::bpf("cannot pin the datapath"))?;
            Ok(is_new)
        }
        Err(error) => Err(refused(error)),
    }
}

/// Takes the program off an interface. Nothing happens where it is not there.
pub(super) fn release(pins: &Pins, ifindex: u32) -> Result<(), KernelError> {
    link::release(&pins.egress_link(ifindex))?;
    let marker = pins.egress_filter(ifindex);
    let of_others =
        || pins.of_other_versions().map(|others| others.iter().any(|p| p.egress_filter(ifindex).exists()));
    if marker.exists()
        // All versions share one filter.
        && !of_others()?
        // An interface that is gone took its filters along.
        && let Ok(name) = if_indextoname(ifindex)
        && let Ok(name) = name.into_string()
    {
        remove_filter(&name).map_err(|source| KernelError::System {
            what: "cannot remove the filter of the egress hook",
            source,
        })?;
    }
    pins::remove_file(&marker)
}

/// Forgets an interface that is gone.
pub(super) fn forget(pins: &Pins, ifindex: u32) -> Result<(), KernelError> {
    pins::remove_file(&pins.egress_link(ifindex))?;
    pins::remove_file(&pins.egress_filter(ifindex))
}

/// The inner result is what the kernel says to the link.
fn make_link(
    root: &mut SchedClassifier,
    name: &str,
    pin: &Path,
) -> Result<Result<(), io::Error>, KernelError> {
    const WHAT: &str = "cannot attach where packets leave";
    let options = TcAttachOptions::TcxOrder(LinkOrder::default());
    let id = match root.attach_with_options(name, EGRESS, options) {
        Ok(id) => id,
        Err(ProgramError::SyscallError(error)) => return Ok(Err(error.io_error)),
        Err(error) => return Err(KernelError::bpf(WHAT)(error)),
    };
    let link = root.take_link(id).map_err(KernelError::bpf(WHAT))?;
    let link = FdLink::try_from(link).map_err(KernelError::bpf(WHAT))?;
    // A pin of this number is of an interface that is gone, or of a link that somebody detached.
    pins::remove_file(pin)?;
    link.pin(pin).map_err(KernelError::bpf("cannot pin the attachment"))?;
    Ok(Ok(()))
}

/// How a kernel says that it does not know the kind of link: `EINVAL` for an attach type out of its range,
/// or without its configuration.
fn is_without_tcx(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS))
}

/// Adds our filter to the classic hook, or has the one that is there enter this program.
pub(super) fn add_filter(root: &mut SchedClassifier, name: &str) -> io::Result<()> {
    match tc::qdisc_add_clsact(name) {
        Ok(()) | Err(TcError::AlreadyAttached) => {}
        Err(error) if raw(&error) == Some(libc::EEXIST) => {}
        Err(error) => return Err(io_error(error)),
    }
    let options = NlOptions { priority: PRIORITY, handle: HANDLE, classid: None };
    let added = root.attach_with_options(name, EGRESS, TcAttachOptions::Netlink(options));
    let id = match added {
        Ok(id) => id,
        Err(ProgramError::TcError(error)) if raw(&error) == Some(libc::EEXIST) => {
            root.attach_to_link(filter(name)?).map_err(program_error)?
        }
        Err(error) => return Err(program_error(error)),
    };
    // Dropping it would remove the filter.
    mem::forget(root.take_link(id).map_err(program_error)?);
    Ok(())
}

/// Removes our filter. The hook itself stays: others may use it.
pub(super) fn remove_filter(name: &str) -> io::Result<()> {
    match aya::programs::links::Link::detach(filter(name)?) {
        Err(ProgramError::NetlinkError(error))
            if !matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) =>
        {
            Err(io::Error::other(error))
        }
        _ => Ok(()),
    }
}

fn filter(name: &str) -> io::Result<SchedClassifierLink> {
    SchedClassifierLink::attached(name, EGRESS, PRIORITY, HANDLE, None)
}

fn raw(error: &TcError) -> Option<i32> {
    match error {
        TcError::NetlinkError(error) => error.raw_os_error(),
        TcError::IoError(error) => error.raw_os_error(),
        _ => None,
    }
}

fn io_error(error: TcError) -> io::Error {
    raw(&error).map_or_else(|| io::Error::other(error), io::Error::from_raw_os_error)
}

fn program_error(error: ProgramError) -> io::Error {
    match error {
        ProgramError::TcError(error) => io_error(error),
        error => io::Error::other(error),
    }
}
