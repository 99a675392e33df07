//! The calls that no safe wrapper offers: what happens in a child between fork and exec, and the
//! address of a packet socket. The only unsafe code of this crate.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{self, Command};

use nix::sched::{CloneFlags, setns};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::unistd::getppid;

/// The child enters the network namespace, dies with the thread that spawned it, and starts with no
/// signal blocked, in a process group of its own (a terminal's Ctrl-C is for us to handle).
pub(crate) fn confine(command: &mut Command, namespace: Option<OwnedFd>) {
    let parent = process::id();
    let prepare = move || {
        if let Some(namespace) = &namespace {
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
        }
        set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have died before the line above took effect.
        if getppid().as_raw().unsigned_abs() != parent {
            return Err(io::ErrorKind::Interrupted.into());
        }
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
        Ok(())
    };
    // SAFETY: the closure allocates nothing, takes no lock and makes only async-signal-safe system
    // calls, as the time between fork and exec in a threaded process demands.
    unsafe { command.pre_exec(prepare) };
    command.process_group(0);
}

/// Binds a packet socket to one interface, for every protocol.
pub(crate) fn bind_packet_socket(socket: &impl AsRawFd, interface_index: u32) -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid `sockaddr_ll`, which holds integers and an array only.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET.cast_unsigned().try_into().map_err(io::Error::other)?;
    address.sll_protocol = u16::try_from(libc::ETH_P_ALL).map_err(io::Error::other)?.to_be();
    address.sll_ifindex = interface_index.try_into().map_err(io::Error::other)?;
    let length = size_of_val(&address).try_into().map_err(io::Error::other)?;
    // SAFETY: the pointer and the length describe `address`, which outlives the call.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if bound == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
