//! A pinned link: where it is, what it runs, another program for it, and its end. To remove the pin would end
//! it, too, but only some time later: the kernel lets go of a link in a work queue, and until then the
//! interface is taken.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::error::KernelError;
use super::loader::clamp_u32;
use super::pins;

/// Of `enum bpf_cmd`.
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_LINK_UPDATE: libc::c_long = 29;
const BPF_LINK_GET_FD_BY_ID: libc::c_long = 30;
const BPF_LINK_DETACH: libc::c_long = 34;

/// The part of `union bpf_attr` that `BPF_OBJ_PIN` and `BPF_OBJ_GET` read.
#[repr(C)]
struct PinnedObject {
    path: u64,
    fd: u32,
    flags: u32,
}

/// The part of `union bpf_attr` that `BPF_LINK_DETACH` and `BPF_LINK_GET_FD_BY_ID` read.
#[repr(C)]
struct OneWord {
    word: u32,
}

/// The part of `union bpf_attr` that `BPF_LINK_UPDATE` reads.
#[repr(C)]
struct LinkUpdate {
    link_fd: u32,
    new_program_fd: u32,
    flags: u32,
    old_program_fd: u32,
}

/// The part of `union bpf_attr` that `BPF_OBJ_GET_INFO_BY_FD` reads.
#[repr(C)]
struct InfoRequest {
    fd: u32,
    length: u32,
    info: u64,
}

/// The beginning of `struct bpf_link_info`, for links on interfaces.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LinkInfo {
    kind: u32,
    pub(super) id: u32,
    /// The kernel's number of its program.
    pub(super) program: u32,
    padding: u32,
    /// Of XDP and tcx links: the interface, 0 where it is gone or the link was detached.
    pub(super) ifindex: u32,
    rest: u32,
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

pub(super) fn open(pin: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let attributes = PinnedObject { path: path.as_ptr() as u64, fd: 0, flags: 0 };
    // SAFETY: the path is a C string that outlives the call, which gives a descriptor that is ours.
    unsafe { Ok(OwnedFd::from_raw_fd(call(BPF_OBJ_GET, &raw const attributes)?)) }
}

/// The link of this number.
pub(super) fn by_id(id: u32) -> io::Result<OwnedFd> {
    let attributes = OneWord { word: id };
    // SAFETY: the attributes hold no pointer, and the call gives a descriptor that is ours.
    unsafe { Ok(OwnedFd::from_raw_fd(call(BPF_LINK_GET_FD_BY_ID, &raw const attributes)?)) }
}

/// Has a link outlive its holder.
pub(super) fn pin(link: &OwnedFd, pin: &Path) -> io::Result<()> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let attributes =
        PinnedObject { path: path.as_ptr() as u64, fd: link.as_raw_fd().unsigned_abs(), flags: 0 };
    // SAFETY: the path is a C string that outlives the call.
    unsafe { call(BPF_OBJ_PIN, &raw const attributes).map(drop) }
}

/// Has a link run another program from the next packet on. No packet meets none.
pub(super) fn update(link: &OwnedFd, program: BorrowedFd<'_>) -> io::Result<()> {
    let attributes = LinkUpdate {
        link_fd: link.as_raw_fd().unsigned_abs(),
        new_program_fd: program.as_raw_fd().unsigned_abs(),
        flags: 0,
        old_program_fd: 0,
    };
    // SAFETY: the attributes hold no pointer.
    unsafe { call(BPF_LINK_UPDATE, &raw const attributes).map(drop) }
}

/// What the kernel says of a link.
pub(super) fn info(link: &OwnedFd) -> io::Result<LinkInfo> {
    let mut info = LinkInfo::default();
    let attributes = InfoRequest {
        fd: link.as_raw_fd().unsigned_abs(),
        length: clamp_u32(size_of::<LinkInfo>()),
        info: &raw mut info as u64,
    };
    // SAFETY: the kernel writes as many bytes as `length` says, and any bytes are an info.
    unsafe { call(BPF_OBJ_GET_INFO_BY_FD, &raw const attributes)? };
    Ok(info)
}

fn detach(link: &OwnedFd) -> io::Result<()> {
    let attributes = OneWord { word: link.as_raw_fd().unsigned_abs() };
    // SAFETY: the attributes hold no pointer.
    unsafe { call(BPF_LINK_DETACH, &raw const attributes).map(drop) }
}

/// One `bpf` call, which gives a number.
///
/// # Safety
/// The attributes must be those of the command, and what they point to must outlive the call.
unsafe fn call<T>(command: libc::c_long, attributes: *const T) -> io::Result<i32> {
    // SAFETY: the attributes are of the size that is said; for the rest the caller answers.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    match i32::try_from(result) {
        Ok(number) if number >= 0 => Ok(number),
        _ => Err(io::Error::last_os_error()),
    }
}
