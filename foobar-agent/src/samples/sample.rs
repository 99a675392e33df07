//! One sampled packet, as it crosses the control socket.

use foobar_ebpf::packet::{self, Parsed, Scratch, Status};
use foobar_ebpf::verdict::Verdict;
use serde::{Deserialize, Serialize};

use crate::explain::Frame;
use crate::explain::describe::Description;

/// A packet, as much of it as was captured, and what was decided about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// When, in nanoseconds since the Unix epoch.
    pub at_ns: u64,
    /// Where it arrived.
    pub interface: String,
    /// A word of `foobar_ebpf::verdict::Verdict`.
    pub verdict: String,
    /// A word of `foobar_ebpf::verdict::Reason`.
    pub reason: String,
    /// The rule that decided, `policy` among them; `None`: none did.
    pub rule: Option<String>,
    /// The generation that judged.
    pub generation: u64,
    /// The rule's `log` asked for it; otherwise whoever watches.
    pub logged: bool,
    /// Its length, in bytes from the Ethernet header on.
    pub length_bytes: u32,
    /// Its beginning, in hex digits.
    #[serde(with = "digits")]
    pub frame: Vec<u8>,
}

/// What a watcher is sent, one a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    /// A sample.
    Sample(Sample),
    /// So many were not sent, because the watcher reads too slowly.
    Missed(u64),
}

/// What somebody watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// What rules log anyway.
    Logged,
    /// That, and samples of packets that do not pass.
    Refused,
    /// That, and samples of every packet.
    All,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 3] = [Self::Logged, Self::Refused, Self::All];

    /// The word on the control socket.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logged => "logged",
            Self::Refused => "refused",
            Self::All => "all",
        }
    }

    /// Whether a sample is within it: what another watcher has asked for need not be.
    pub(super) fn holds(self, sample: &Sample) -> bool {
        sample.logged
            || match self {
                Self::Logged => false,
                Self::Refused => sample.verdict != Verdict::Allow.as_str(),
                Self::All => true,
            }
    }
}

impl Sample {
    /// Its fields, as far as what was captured tells them.
    pub fn parsed(&self) -> Parsed {
        let frame = self.frame();
        let mut scratch = Scratch::EMPTY;
        *packet::parse(&frame.reader(), &mut scratch)
    }

    fn frame(&self) -> Frame {
        let bytes = self.frame.clone();
        Frame { length_bytes: (self.length_bytes as usize).max(bytes.len()), bytes }
    }

    /// The packet in words.
    pub fn describe(&self) -> String {
        Description { frame: &self.frame(), parsed: &self.parsed() }.to_string()
    }

    /// Whether it is a packet of IP, whole enough to have fields.
    pub fn is_packet(parsed: &Parsed) -> bool {
        parsed.status == Status::Packet
    }
}

/// Bytes as hex digits.
mod digits {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
        let text: String = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let half = |digit: u8| char::from(digit).to_digit(16).and_then(|half| u8::try_from(half).ok());
        let byte = |pair: &[u8]| match *pair {
            [high, low] => Some(half(high)? << 4 | half(low)?),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
        bytes.ok_or_else(|| D::Error::custom("no hex digits"))
    }
}
