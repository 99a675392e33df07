//! The tables of bans, which the agent writes while packets are judged.

use core::arch::asm;

use aya_ebpf::maps::lpm_trie::Key;
use foobar_ebpf::abi::ban::Ban;
use foobar_ebpf::abi::control;
use foobar_ebpf::ban::{self, BanTable, Lookup, Octets};
use foobar_ebpf::packet::Address;
use foobar_ebpf::state::Clock;

use super::maps;
use super::state::KernelState;

/// Bits of an address.
const ADDRESS_BITS: u32 = 128;

impl BanTable for KernelState {
    #[inline(always)]
    fn is_banned(&self, source: &Address, counts: bool) -> bool {
        let kinds = maps::control(control::BANS);
        kinds != 0 && search(source, kinds, counts)
    }
}

/// Apart from the path of a packet where nobody is banned.
#[inline(never)]
fn search(source: &Address, kinds: u64, counts: bool) -> bool {
    let Some(ban) = ban::find(source, kinds, &KernelState) else { return false };
    if counts {
        count(ban);
    }
    true
}

/// Counts a dropped packet, on whatever CPU. An entry that is removed in this moment may have become
/// another's: its count is then one too high.
#[inline(always)]
fn count(ban: &Ban) {
    let ban = core::ptr::from_ref(ban).cast_mut();
    // SAFETY: the map gave a valid, aligned pointer. The compiler sees no other writer, and reads neither
    // field. Its target has atomic additions and its library does not: hence the instruction itself.
    unsafe {
        asm!("lock *(u64 *)({counter} + 0) += {one}", counter = in(reg) &raw mut (*ban).packets, one = in(reg) 1u64);
        (&raw mut (*ban).last_hit_ns).write_volatile(KernelState.now_ns());
    }
}

impl Lookup for KernelState {
    #[inline(always)]
    fn address(&self, octets: &Octets) -> Option<&Ban> {
        // SAFETY: integers, of which any bits are a value; see `count` for what may become of it.
        unsafe { maps::BAN_ADDRESSES.get(octets) }
    }

    #[inline(always)]
    fn prefix(&self, octets: &Octets) -> Option<&Ban> {
        maps::BAN_PREFIXES.get(Key::new(ADDRESS_BITS, *octets))
    }
}
