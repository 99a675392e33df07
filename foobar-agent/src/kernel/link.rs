//! A pinned link taken off its interface. Removing the pin would do so, too, but only some time
//! later: the kernel lets go of a link in a work queue, and until then the interface is taken.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::error::KernelError;
use super::pins;

/// `BPF_OBJ_GET`, `BPF_OBJ_GET_INFO_BY_FD` and `BPF_LINK_DETACH` of `enum bpf_cmd`.
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_LINK_DETACH: libc::c_long = 34;

/// The part of `union bpf_attr` that `BPF_OBJ_GET` reads.
#[repr(C)]
struct PinnedObject {
    path: u64,
    fd: u32,
    flags: u32,
}

/// The part of `union bpf_attr` that `BPF_LINK_DETACH` reads.
#[repr(C)]
struct DetachedLink {
    fd: u32,
}

/// The part of `union bpf_attr` that `BPF_OBJ_GET_INFO_BY_FD` reads.
#[repr(C)]
struct InfoWanted {
    fd: u32,
    bytes: u32,
    info: u64,
}

/// The beginning of `struct bpf_link_info` of a link on an interface.
#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    program: u32,
    padding: u32,
    ifindex: u32,
    attach_type: u32,
}

/// Whether a pinned link holds this program on this interface.
pub(super) fn holds(pin: &Path, program: u32, ifindex: u32) -> bool {
    open(pin)
        .and_then(|link| info(&link))
        .is_ok_and(|info| (info.program, info.ifindex) == (program, ifindex))
}

fn info(link: &OwnedFd) -> io::Result<LinkInfo> {
    let mut info = LinkInfo::default();
    let bytes = u32::try_from(size_of::<LinkInfo>()).map_err(io::Error::other)?;
    let attributes = InfoWanted { fd: link.as_raw_fd().unsigned_abs(), bytes, info: &raw mut info as u64 };
    // SAFETY: the attributes are of the size that is said, and the kernel writes no more than the bytes
    // that they grant it, which are integers.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &raw const attributes, size_of::<InfoWanted>())
    };
    if result == 0 { Ok(info) } else { Err(io::Error::last_os_error()) }
}

/// Takes the link off its interface, which is free when this returns, and removes its pin.
/// Nothing happens where there is none.
pub(super) fn release(pin: &Path) -> Result<(), KernelError> {
    match open(pin).and_then(|link| detach(&link)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(KernelError::io("cannot detach the link pinned at", pin)(error));
        }
        _ => {}
    }
    pins::remove_file(pin)
}

fn open(pin: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let attributes = PinnedObject { path: path.as_ptr() as u64, fd: 0, flags: 0 };
    // SAFETY: the attributes are of the size that is said, and the path is a C string that outlives the call.
    let fd = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_OBJ_GET, &raw const attributes, size_of::<PinnedObject>())
    };
    match i32::try_from(fd) {
        // SAFETY: the kernel has just given this descriptor to us alone.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

fn detach(link: &OwnedFd) -> io::Result<()> {
    let attributes = DetachedLink { fd: link.as_raw_fd().unsigned_abs() };
    // SAFETY: the attributes are of the size that is said and hold no pointer.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_LINK_DETACH, &raw const attributes, size_of::<DetachedLink>())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
