//! The system calls that neither aya nor a safe crate offers.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use aya::maps::MapFd;
use foobar_ebpf::abi::image::Unit;

use super::error::KernelError;

/// Values of `enum bpf_cmd`.
pub(super) const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
pub(super) const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
pub(super) const BPF_MAP_DELETE_ELEM: libc::c_long = 3;
const BPF_MAP_GET_NEXT_KEY: libc::c_long = 4;
const BPF_PROG_TEST_RUN: libc::c_long = 10;

/// A test run refuses shorter frames.
const ETHERNET_HEADER_BYTES: usize = 14;
/// Any kernel takes a frame up to here: 16 pages in fragments, whatever the first one holds.
const TEST_RUN_BYTES_SURE: usize = 65_536;

/// The part of `union bpf_attr` that `BPF_MAP_*_ELEM` reads.
#[repr(C)]
struct MapElement {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// One `BPF_MAP_*_ELEM` call for the element of a key.
///
/// # Safety
/// `K` must have the map's key size. `value` must point to as many bytes as the map's value size says, which
/// the kernel may read for an update and write for a lookup; a deletion has none.
pub(super) unsafe fn element<K, V>(
    command: libc::c_long,
    map: BorrowedFd<'_>,
    key: &K,
    value: *mut V,
) -> io::Result<()> {
    // SAFETY: the caller answers for key and value, and both outlive the call.
    unsafe { call(command, map, std::ptr::from_ref(key), value) }
}

/// The key behind another, or the first one. Any bytes must be a `K`.
///
/// # Safety
/// `K` must have the map's key size.
pub(super) unsafe fn next_key<K>(map: BorrowedFd<'_>, key: Option<&K>, next: &mut K) -> io::Result<()> {
    let key = key.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the caller answers for the size of both keys, and both outlive the call.
    unsafe { call(BPF_MAP_GET_NEXT_KEY, map, key, std::ptr::from_mut(next)) }
}

/// # Safety
/// `key` and `value` must be what the command reads and writes for this map.
unsafe fn call<K, V>(
    command: libc::c_long,
    map: BorrowedFd<'_>,
    key: *const K,
    value: *mut V,
) -> io::Result<()> {
    let attributes = MapElement {
        map_fd: u32::try_from(map.as_raw_fd()).unwrap_or(u32::MAX),
        padding: 0,
        key: key as u64,
        value: value as u64,
        flags: 0,
    };
    // SAFETY: the caller answers for the pointers.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw const attributes, size_of::<MapElement>()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Writes the only value of an array map of one entry. aya's typed maps know value sizes
/// at compile time only; an image has the size that its rules need.
///
/// `value` must have exactly the map's value size: the kernel reads that many bytes.
pub(super) fn write_only_value(
    map: BorrowedFd<'_>,
    value: &[u8],
    value_size: usize,
) -> Result<(), KernelError> {
    let written = check_size(value.len(), value_size).and_then(|()| {
        // SAFETY: a key of an array, and as many readable bytes as the kernel reads; an update writes none.
        unsafe { element(BPF_MAP_UPDATE_ELEM, map, &0u32, value.as_ptr().cast_mut()) }
    });
    written.map_err(|source| KernelError::System { what: "cannot write the image", source })
}

/// Reads the only value of an array map of one entry into units of an image, which must have exactly
/// the map's value size: the kernel writes that many bytes.
pub(super) fn read_only_value(
    map: BorrowedFd<'_>,
    units: &mut [Unit],
    value_size: usize,
) -> Result<(), KernelError> {
    let read = check_size(size_of_val(units), value_size).and_then(|()| {
        // SAFETY: a key of an array, and as many bytes as the kernel writes; any bytes are a unit.
        unsafe { element(BPF_MAP_LOOKUP_ELEM, map, &0u32, units.as_mut_ptr()) }
    });
    read.map_err(|source| KernelError::System { what: "cannot read the image", source })
}

fn check_size(bytes: usize, value_size: usize) -> io::Result<()> {
    if bytes == value_size {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "image and map differ in size"))
}

/// The value at an index of a map of 32-bit values, or `None` where there is none. aya cannot
/// read a program array; the kernel gives the number of the program in the slot.
pub(super) fn lookup_u32(map: &MapFd, index: u32) -> Result<Option<u32>, KernelError> {
    let mut value = 0u32;
    // SAFETY: 4 bytes, as the map has for a key and for a value.
    match unsafe { element(BPF_MAP_LOOKUP_ELEM, map.as_fd(), &index, &raw mut value) } {
        Ok(()) => Ok(Some(value)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(source) => Err(KernelError::System { what: "cannot read which generation judges", source }),
    }
}

/// Has a slot of a program array lead to a program.
pub(super) fn set_program(map: &MapFd, index: u32, program: BorrowedFd<'_>) -> Result<(), KernelError> {
    let mut value = program.as_raw_fd();
    // SAFETY: 4 bytes, as the map has for a value; an update writes none.
    unsafe { element(BPF_MAP_UPDATE_ELEM, map.as_fd(), &index, &raw mut value) }
        .map_err(|source| KernelError::System { what: "cannot switch the generation", source })
}

/// Has a slot of a program array lead nowhere.
pub(super) fn clear_program(map: &MapFd, index: u32) -> Result<(), KernelError> {
    // SAFETY: a deletion reads and writes no value.
    match unsafe { element(BPF_MAP_DELETE_ELEM, map.as_fd(), &index, std::ptr::null_mut::<u32>()) } {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => {
            Err(KernelError::System { what: "cannot take a generation out", source: error })
        }
        _ => Ok(()),
    }
}

/// Nanoseconds of the boot clock, which goes on in suspend: the datapath's clock.
pub fn boot_now_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one `timespec`, and this one is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    // Neither is negative on this clock.
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// The part of `union bpf_attr` that `BPF_PROG_TEST_RUN` reads and writes.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    padding: u32,
}

/// Runs a program on a frame once; gives what it returned, or `None` where the kernel does not run
/// frames of this length. aya's own would
/// copy the frame's memory back as well; a capture has a million of them.
pub(super) fn test_run(program: BorrowedFd<'_>, frame: &[u8]) -> Result<Option<u32>, KernelError> {
    // EINVAL has many causes: which of them would be the length is known before.
    if frame.len() < ETHERNET_HEADER_BYTES {
        return Ok(None);
    }
    let mut attributes = TestRun {
        prog_fd: u32::try_from(program.as_raw_fd()).unwrap_or(u32::MAX),
        data_size_in: u32::try_from(frame.len()).unwrap_or(u32::MAX),
        data_in: frame.as_ptr() as u64,
        repeat: 1,
        ..TestRun::default()
    };
    loop {
        // SAFETY: `data_in` points to as many readable bytes as `data_size_in` says, or to fewer than
        // the kernel takes at all. Nothing is written but `attributes`.
        let result = unsafe {
            libc::syscall(libc::SYS_bpf, BPF_PROG_TEST_RUN, &raw mut attributes, size_of::<TestRun>())
        };
        if result == 0 {
            return Ok(Some(attributes.retval));
        }
        let source = io::Error::last_os_error();
        match source.raw_os_error() {
            Some(libc::EINTR | libc::EAGAIN) => {}
            Some(libc::ENOMEM) if frame.len() > TEST_RUN_BYTES_SURE => return Ok(None),
            _ => return Err(KernelError::System { what: "the kernel does not run the frame", source }),
        }
    }
}

/// Fills bytes with what nobody can guess.
pub(super) fn fill_randomly(bytes: &mut [u8]) -> Result<(), KernelError> {
    // SAFETY: as many writable bytes as the call is told.
    let written = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    // Up to 256 bytes come whole (getrandom(2)).
    if usize::try_from(written) == Ok(bytes.len()) {
        return Ok(());
    }
    Err(KernelError::System {
        what: "the kernel gives no random numbers",
        source: io::Error::last_os_error(),
    })
}

/// Returns when every packet that was being judged at the call has left the datapath.
///
/// `MEMBARRIER_CMD_GLOBAL` waits for an RCU grace period (Linux 4.3); XDP programs run inside
/// RCU read sections. A kernel with `nohz_full` has no such call; a tenth of a second is then
/// more than any program runs.
pub(super) fn wait_for_running_programs() {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: no pointers are passed.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result != 0 {
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Whether the folder lies on a BPF file system.
pub(super) fn is_bpffs(folder: &Path) -> io::Result<bool> {
    let path = CString::new(folder.as_os_str().as_bytes())?;
    let mut statistics = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the path is a C string, and the buffer is of the type that the call fills.
    if unsafe { libc::statfs(path.as_ptr(), statistics.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it filled the buffer.
    let statistics = unsafe { statistics.assume_init() };
    Ok(statistics.f_type == libc::BPF_FS_MAGIC)
}

/// Mounts a BPF file system.
pub(super) fn mount_bpffs(folder: &Path) -> io::Result<()> {
    let target = CString::new(folder.as_os_str().as_bytes())?;
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    // SAFETY: all pointers are C strings that outlive the call; the data may be null.
    let result =
        unsafe { libc::mount(c"bpf".as_ptr(), target.as_ptr(), c"bpf".as_ptr(), flags, std::ptr::null()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
