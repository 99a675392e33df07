//! Somebody else's XDP program, and ours in its place: only where the operator said `--replace`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use aya::programs::Xdp;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage, LinkXdp};

use super::attach;
use super::error::KernelError;
use super::foreign::{Owner, Survey, of};
use super::link;
use super::message::{Attached, AttachedMode};
use super::pins;
use crate::config::model::AttachMode;
use crate::net::{Interface, XdpPresent};

/// `XDP_FLAGS_SKB_MODE` and `XDP_FLAGS_DRV_MODE` of `linux/if_link.h`.
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// Puts our program in the place of another one: through that one's link from one packet to the next, or,
/// where it has none, after it was taken off.
pub(super) fn take(
    root: &mut Xdp,
    survey: &Survey,
    interface: &Interface,
    present: XdpPresent,
    mode: AttachMode,
    pin: &Path,
) -> Result<Attached, KernelError> {
    let holder = survey.holder(&[], interface, present);
    let (name, program) = (&interface.name, format!("{:?} (id {})", holder.name, holder.program));
    match holder.owner {
        Owner::Foreign { link: Some(id), processes } => {
            tracing::warn!(
                "{name}: replacing the XDP program {program}{}, by its link {id}: no packet meets neither",
                of(&processes)
            );
            let link = survey.link(id).ok_or_else(|| survey.refuse(interface, present))?;
            through_link(root, link, pin).map_err(|error| error.unless_other(survey, interface, present))?;
            let program = root.info().map_err(KernelError::bpf("cannot examine the datapath"))?.id();
            let before = present.mode;
            if before.satisfies(mode) {
                return Ok(Attached { program, mode: before, native_refused: None, before: None });
            }
            let attached = attach::attach_anew(root, interface, (before, mode), pin)?;
            Ok(Attached { before: None, ..attached })
        }
        Owner::Foreign { link: None, processes } => {
            tracing::warn!(
                "{name}: replacing the XDP program {program}{}, which has no link: it is taken off first, and for \
                 a moment nothing judges",
                of(&processes)
            );
            take_off(interface.ifindex, present.mode)?;
            attach::attach(root, interface, mode, pin)
        }
        _ => Err(survey.refuse(interface, present)),
    }
}

/// Why a link does not take our program.
enum Failure {
    Kernel(std::io::Error),
    Other(KernelError),
}

impl Failure {
    fn unless_other(self, survey: &Survey, interface: &Interface, present: XdpPresent) -> KernelError {
        match self {
            Self::Kernel(error) => {
                tracing::error!("{}: the link does not take our program: {error}", interface.name);
                survey.refuse(interface, present)
            }
            Self::Other(error) => error,
        }
    }
}

fn through_link(root: &Xdp, link: &OwnedFd, pin: &Path) -> Result<(), Failure> {
    let program = root.fd().map_err(|e| Failure::Other(KernelError::bpf("cannot use the datapath")(e)))?;
    // Before it runs our program: a link that ends with its holder would leave the interface bare.
    pins::remove_file(pin).map_err(Failure::Other)?;
    link::pin(link, pin).map_err(Failure::Kernel)?;
    link::update(link, program.as_fd()).map_err(|error| {
        // The pin is a name only; whoever holds the link goes on holding it.
        let _ = pins::remove_file(pin);
        Failure::Kernel(error)
    })
}

/// Takes off a program that netlink attached.
fn take_off(ifindex: u32, mode: AttachedMode) -> Result<(), KernelError> {
    const WHAT: &str = "cannot take the program off";
    let flags = match mode {
        AttachedMode::Native => XDP_FLAGS_DRV_MODE,
        AttachedMode::Generic => XDP_FLAGS_SKB_MODE,
    };
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    message.attributes.push(LinkAttribute::Xdp(vec![LinkXdp::Fd(-1), LinkXdp::Flags(flags)]));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| KernelError::System { what: WHAT, source })?;
    runtime.block_on(async {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(|source| KernelError::System { what: WHAT, source })?;
        let connection = tokio::spawn(connection);
        let done = handle.link().set(message).execute().await.map_err(KernelError::bpf(WHAT));
        connection.abort();
        done
    })
}
