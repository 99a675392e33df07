//! Reading bytes of a packet at an offset, the same way from a slice (host), from an XDP
//! frame and from a socket buffer (kernel). Knows no protocol.

use core::sync::atomic::{Ordering, compiler_fence};

/// A packet as bytes that can be read at any offset.
///
/// Whoever implements it for the kernel must make each read verifiable by itself: the
/// verifier accepts a load only next to the comparison with the packet's end.
pub trait PacketReader {
    /// The `N` bytes from `offset` on, or `None` where the packet has not that many.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// Makes the caller read back from memory what it has written there.
    ///
    /// The verifier follows every path through the parser with all that it learnt on it, and
    /// would follow what comes after once for each of them. Of what it reads from a map it
    /// knows nothing, so all paths become one. Costs nothing on the host.
    #[inline(always)]
    fn forget(&self) {}

    /// Length of the packet in bytes from the Ethernet header on, also of parts that
    /// [`read`](Self::read) cannot reach (XDP fragments).
    fn length_bytes(&self) -> usize;
}

/// A packet in a slice.
impl PacketReader for [u8] {
    #[inline]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }

    #[inline]
    fn length_bytes(&self) -> usize {
        self.len()
    }
}

/// No header starts behind it: two tags, an IPv6 header and eight extension headers of 2,048
/// bytes at most end well before. The verifier wants a bound on what is added to an address, and a
/// plain comparison to learn it from: beside a power of two, LLVM tests a sign bit instead, and the
/// verifier goes on with 65,535, to which nothing may be added any more.
const OFFSET_MAX: usize = 0x7ff0;

/// A packet between two addresses, as an XDP program gets it: `data` and `data_end`.
///
/// Slices do not do there: they carry a length, and the verifier wants the end pointer.
pub struct AddressReader {
    start: usize,
    end: usize,
    length_bytes: usize,
}

impl AddressReader {
    /// A reader of the bytes from `start` up to `end`, of a packet of `length_bytes` in all.
    ///
    /// # Safety
    /// The bytes from `start` up to `end` must stay readable as long as the reader lives.
    #[inline(always)]
    pub const unsafe fn new(start: usize, end: usize, length_bytes: usize) -> Self {
        Self { start, end, length_bytes }
    }
}

impl PacketReader for AddressReader {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let first = self.start + offset;
        if offset > OFFSET_MAX || first + N > self.end {
            return None;
        }
        // SAFETY: `first..first + N` lies before `end`, and `offset` is not negative, so it lies
        // in what `new` was promised to be readable. A packet gives no alignment.
        Some(unsafe { (first as *const [u8; N]).read_unaligned() })
    }

    #[inline(always)]
    fn forget(&self) {
        // Memory behind a pointer that came from outside must be written before and read after.
        compiler_fence(Ordering::SeqCst);
    }

    #[inline(always)]
    fn length_bytes(&self) -> usize {
        self.length_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_readers_agree_at_every_offset() {
        let bytes: [u8; 9] = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        let start = bytes.as_ptr() as usize;
        // SAFETY: `bytes` outlives the reader.
        let addresses = unsafe { AddressReader::new(start, start + bytes.len(), bytes.len()) };
        for offset in 0..12 {
            assert_eq!(bytes[..].read::<4>(offset), addresses.read::<4>(offset), "offset {offset}");
        }
        assert_eq!(addresses.read::<4>(5), Some([6, 7, 8, 9]));
        assert_eq!(addresses.read::<4>(6), None);
        assert_eq!(addresses.length_bytes(), 9);
    }
}
