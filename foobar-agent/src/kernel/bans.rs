//! The tables of bans, by descriptors that any thread may hold: a ban is one system call on the caller's
//! thread, which needs no capability. Knows no reason, no clock and no rule about who may be banned.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use foobar_ebpf::abi::ban::Ban;
use foobar_ebpf::abi::control;

use super::error::KernelError;
use super::sys;
use crate::firewall::address::Prefix;

/// Length of a single address.
const ADDRESS_BITS: u8 = 128;

/// Key of the trie: `struct bpf_lpm_trie_key` with 16 octets.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct TrieKey {
    length: u32,
    octets: [u8; 16],
}
const _: () = assert!(size_of::<TrieKey>() == 20);

/// The two tables, and the word that says which of them hold anything.
#[derive(Debug)]
pub struct BanMaps {
    addresses: OwnedFd,
    prefixes: OwnedFd,
    control: OwnedFd,
}

impl BanMaps {
    pub(super) fn new(addresses: OwnedFd, prefixes: OwnedFd, control: OwnedFd) -> Self {
        Self { addresses, prefixes, control }
    }

    /// The entry of an address or prefix that is known to have one: for another prefix, the trie gives that of
    /// a wider one.
    ///
    /// # Errors
    /// When the kernel refuses; likewise below.
    pub fn get(&self, prefix: Prefix) -> Result<Option<Ban>, KernelError> {
        let mut ban = Ban::default();
        let found = self.element(sys::BPF_MAP_LOOKUP_ELEM, prefix, Some(&mut ban));
        present(found).map(|there| there.then_some(ban)).map_err(failed("cannot read a ban"))
    }

    /// Enters an address or prefix, in the place of what it had.
    ///
    /// # Errors
    /// [`KernelError::BansFull`] where there is no room.
    pub fn put(&self, prefix: Prefix, mut ban: Ban) -> Result<(), KernelError> {
        self.element(sys::BPF_MAP_UPDATE_ELEM, prefix, Some(&mut ban)).map_err(no_room)
    }

    /// Takes an address or prefix out; false where it was not there.
    ///
    /// # Errors
    /// As above.
    pub fn remove(&self, prefix: Prefix) -> Result<bool, KernelError> {
        let removed = self.element(sys::BPF_MAP_DELETE_ELEM, prefix, None);
        present(removed).map_err(failed("cannot remove a ban"))
    }

    /// Exempts a prefix, which may be of one address, from wider bans; `flags` of `abi::ban::flag`.
    ///
    /// # Errors
    /// As for [`BanMaps::put`].
    pub fn exempt(&self, prefix: Prefix, flags: u32) -> Result<(), KernelError> {
        let mut entry = Ban { flags, ..Ban::default() };
        self.in_trie(sys::BPF_MAP_UPDATE_ELEM, prefix, Some(&mut entry)).map_err(no_room)
    }

    /// Ends an exemption.
    ///
    /// # Errors
    /// As above.
    pub fn end_exemption(&self, prefix: Prefix) -> Result<(), KernelError> {
        let removed = self.in_trie(sys::BPF_MAP_DELETE_ELEM, prefix, None);
        present(removed).map(drop).map_err(failed("cannot end an exemption"))
    }

    fn element(&self, command: libc::c_long, prefix: Prefix, value: Option<&mut Ban>) -> io::Result<()> {
        if prefix.mapped_length() == ADDRESS_BITS {
            // SAFETY: keys are 16 octets and values `Ban`, as the object declares the map.
            unsafe { sys::element(command, self.addresses.as_fd(), &octets(prefix), pointer(value)) }
        } else {
            self.in_trie(command, prefix, value)
        }
    }

    fn in_trie(&self, command: libc::c_long, prefix: Prefix, value: Option<&mut Ban>) -> io::Result<()> {
        // SAFETY: as for addresses, with keys of `TrieKey`.
        unsafe { sys::element(command, self.prefixes.as_fd(), &trie_key(prefix), pointer(value)) }
    }

    /// Tells packets which tables to ask: a sum of `abi::ban::kind` bits.
    ///
    /// # Errors
    /// As above.
    pub fn set_kinds(&self, kinds: u64) -> Result<(), KernelError> {
        self.set_word(control::BANS, kinds)
    }

    fn set_word(&self, word: u32, mut value: u64) -> Result<(), KernelError> {
        // SAFETY: an array of `u64`, as the object declares the map.
        let set =
            unsafe { sys::element(sys::BPF_MAP_UPDATE_ELEM, self.control.as_fd(), &word, &raw mut value) };
        set.map_err(failed("cannot write a word of control"))
    }

    /// Every entry, exempt ones included, in no particular order.
    ///
    /// # Errors
    /// As above.
    pub fn each(&self, mut with: impl FnMut(Prefix, Ban)) -> Result<(), KernelError> {
        const WHAT: &str = "cannot read the bans";
        let (mut last, mut next) = (None, [0; 16]);
        // SAFETY: keys of 16 octets, as the object declares the map.
        while present(unsafe { sys::next_key(self.addresses.as_fd(), last.as_ref(), &mut next) })
            .map_err(failed(WHAT))?
        {
            let prefix = Prefix::from_mapped(u128::from_be_bytes(next), ADDRESS_BITS);
            if let Some(ban) = self.get(prefix)? {
                with(prefix, ban);
            }
            last = Some(next);
        }
        let (mut last, mut next) = (None, TrieKey::default());
        // SAFETY: keys of `TrieKey`, as the object declares the map.
        while present(unsafe { sys::next_key(self.prefixes.as_fd(), last.as_ref(), &mut next) })
            .map_err(failed(WHAT))?
        {
            let length = u8::try_from(next.length).unwrap_or(ADDRESS_BITS);
            let prefix = Prefix::from_mapped(u128::from_be_bytes(next.octets), length);
            let mut ban = Ban::default();
            if present(self.in_trie(sys::BPF_MAP_LOOKUP_ELEM, prefix, Some(&mut ban)))
                .map_err(failed(WHAT))?
            {
                with(prefix, ban);
            }
            last = Some(next);
        }
        Ok(())
    }
}

fn octets(prefix: Prefix) -> [u8; 16] {
    prefix.bits().to_be_bytes()
}

fn trie_key(prefix: Prefix) -> TrieKey {
    TrieKey { length: prefix.mapped_length().into(), octets: octets(prefix) }
}

/// A deletion has no value, and the kernel refuses one that says so.
fn pointer(value: Option<&mut Ban>) -> *mut Ban {
    value.map_or(std::ptr::null_mut(), std::ptr::from_mut)
}

fn no_room(source: io::Error) -> KernelError {
    match source.raw_os_error() {
        // A hash says the one, a trie the other.
        Some(libc::E2BIG | libc::ENOSPC) => KernelError::BansFull,
        _ => failed("cannot enter a ban")(source),
    }
}

/// False for a key that is not there.
fn present(done: io::Result<()>) -> io::Result<bool> {
    match done {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> KernelError {
    move |source| KernelError::System { what, source }
}
