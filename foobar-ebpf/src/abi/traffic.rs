//! What measurements exchange with the programs of `bin/traffic.rs`: names, and heads of frames.
//! No part of the datapath, and of no version.

/// Where a head lies in a frame: behind the destination station, so that frames still arrive.
pub const HEAD_OFFSET: usize = 6;

/// Words of a [`Head`].
const HEAD_WORDS: usize = 9;

/// Octets 6 to 77 of a frame: source station, ethertype, and IP and transport header in either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Head(pub [u64; HEAD_WORDS]);

/// Shortest frame that a head fits in, in octets.
pub const FRAME_BYTES_MIN: usize = HEAD_OFFSET + size_of::<Head>();

impl Head {
    /// The head of a frame; what the frame lacks is zeroes behind its packet.
    pub fn of(frame: &[u8]) -> Self {
        let mut words = [0; HEAD_WORDS];
        let octets = frame.get(HEAD_OFFSET..).unwrap_or_default();
        for (word, chunk) in words.iter_mut().zip(octets.chunks(size_of::<u64>())) {
            let mut bytes = [0; size_of::<u64>()];
            bytes[..chunk.len()].copy_from_slice(chunk);
            *word = u64::from_ne_bytes(bytes);
        }
        Self(words)
    }
}

/// Names of the programs.
pub mod program {
    /// XDP: the next head, then the program in [`super::map::TARGET`].
    pub const VARY: &str = "traffic_vary";
    /// XDP: as `VARY`, for programs that do not take frames of several buffers.
    pub const VARY_PLAIN: &str = "traffic_vary_plain";
    /// XDP: does nothing, for frames of one buffer.
    pub const PASS_PLAIN: &str = "traffic_pass_plain";
    /// XDP: the next head, then out of the interface `OUT_IFINDEX`.
    pub const SEND: &str = "traffic_send";
}

/// Names of the maps.
pub mod map {
    /// Array of [`super::Head`].
    pub const HEADS: &str = "HEADS";
    /// Program array of one: what `VARY` enters.
    pub const TARGET: &str = "TARGET";
    /// Program array of one: what `VARY_PLAIN` enters.
    pub const TARGET_PLAIN: &str = "TARGET_PLAIN";
}

/// Names of the constants.
pub mod constant {
    /// `u32`: entries of the table less one.
    pub const HEADS_MASK: &str = "HEADS_MASK";
    /// `u32`: the interface that frames go out of.
    pub const OUT_IFINDEX: &str = "OUT_IFINDEX";
}
