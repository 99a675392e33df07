//! The judgement of one frame: by the real program where the kernel runs it, else by the same walk on
//! the host; and of a frame whose end was not captured, as far as it is known.

use foobar_ebpf::packet::{self, Parsed, Scratch};
use foobar_ebpf::verdict::{Reason, Verdict};

use super::Frame;
use crate::firewall::generation::Generation;
use crate::firewall::walk::Walk;
use crate::kernel::KernelError;
use crate::kernel::explain::{Decision, Explainer};

/// The longest frame whose end matters: two tags and the longest IPv6 packet that is no jumbogram. What
/// lies behind is padding of the link, which nothing reads.
const FRAME_BYTES_MAX: usize = 14 + 2 * 4 + 40 + 65_535;

/// Why a packet gets its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The program's reason.
    Judged(Reason),
    /// What was captured does not tell: a header lies behind it.
    Truncated,
}

impl Cause {
    /// The word of the JSON output: every malformed packet is `malformed`.
    pub fn family(self) -> &'static str {
        match self {
            Self::Judged(reason) => reason.family(),
            Self::Truncated => "truncated-capture",
        }
    }

    /// The word for people, which says what is malformed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Judged(reason) => reason.as_str(),
            Self::Truncated => self.family(),
        }
    }
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Judged {
    /// The verdict; of a frame that was cut within its headers, that of what was captured.
    pub verdict: Verdict,
    /// Why.
    pub cause: Cause,
    /// Slot of the deciding rule, the policy's included.
    pub slot: Option<u32>,
}

/// One generation that judges frames on one interface. Program and walk keep a table of fragments each:
/// of a first fragment longer than the kernel runs, shorter later ones find nothing, and the other way
/// round. No link carries fragments of such a length.
pub struct Judge {
    program: Explainer,
    walk: Walk,
    interface: u32,
    scratch: Scratch,
    padded: Vec<u8>,
}

impl Judge {
    /// A program and the generation that it is of; frames arrive on this logical interface.
    ///
    /// # Errors
    /// When the kernel does not take the interface.
    pub fn new(mut program: Explainer, generation: &Generation, interface: u32) -> Result<Self, KernelError> {
        program.arrive_on(interface)?;
        let walk = Walk::new(generation);
        Ok(Self { program, walk, interface, scratch: Scratch::EMPTY, padded: Vec::new() })
    }

    /// Judges a frame, and gives its fields.
    ///
    /// # Errors
    /// When the kernel fails.
    pub fn judge(&mut self, frame: &Frame) -> Result<(Judged, Parsed), KernelError> {
        let reader = frame.reader();
        let parsed = *packet::parse(&reader, &mut self.scratch);
        if reader.missed() {
            let Decision { verdict, .. } = self.decide(&frame.bytes)?;
            return Ok((Judged { verdict, cause: Cause::Truncated, slot: None }, parsed));
        }
        let decision = if frame.is_cut() {
            // What is missing is read by nobody, as the parser has shown: it may be anything.
            let mut padded = std::mem::take(&mut self.padded);
            padded.clear();
            padded.extend_from_slice(&frame.bytes);
            padded.resize(frame.length_bytes.min(FRAME_BYTES_MAX).max(frame.bytes.len()), 0);
            let decision = self.decide(&padded);
            self.padded = padded;
            decision?
        } else {
            self.decide(&frame.bytes)?
        };
        let Decision { verdict, reason, slot } = decision;
        Ok((Judged { verdict, cause: Cause::Judged(reason), slot }, parsed))
    }

    fn decide(&mut self, frame: &[u8]) -> Result<Decision, KernelError> {
        if let Some(decision) = self.program.judge(frame)? {
            return Ok(decision);
        }
        let judgement = self.walk.judge(frame, self.interface);
        Ok(Decision { verdict: judgement.verdict, reason: judgement.reason, slot: judgement.rule() })
    }
}
