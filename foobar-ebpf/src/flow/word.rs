//! The word of a place in the table: by which flow it is taken, as far as 24 bits tell, in which state
//! that is, and when it was last seen. Everything that happens to a place happens by exchanging it.

use super::tuple::Tuple;
use crate::verdict::abi_enum;

abi_enum! {
    /// How far a flow is. Those of TCP are `nf_conntrack`'s.
    FlowState {
        /// No flow.
        Free = 0 => "free",
        /// No flow yet: somebody is writing one.
        Claimed = 1 => "claimed",
        /// TCP: a SYN went out.
        SynSent = 2 => "syn-sent",
        /// TCP: it was answered.
        SynReceived = 3 => "syn-received",
        /// TCP: both ends have acknowledged the other's SYN.
        Established = 4 => "established",
        /// TCP: one end has sent FIN.
        FinWait = 5 => "fin-wait",
        /// TCP: that FIN is acknowledged.
        CloseWait = 6 => "close-wait",
        /// TCP: the other end has sent FIN as well.
        LastAck = 7 => "last-ack",
        /// TCP: both are acknowledged.
        TimeWait = 8 => "time-wait",
        /// TCP: reset.
        Closed = 9 => "closed",
        /// UDP: no answer yet.
        UdpSent = 10 => "unanswered",
        /// UDP: answered.
        UdpAnswered = 11 => "answered",
        /// Echo: no reply yet.
        EchoSent = 12 => "unanswered",
        /// Echo: replied to.
        EchoAnswered = 13 => "answered",
    }
}

/// Idle seconds of TCP's `Established`: five days.
const ESTABLISHED_SECONDS: u32 = 432_000;

/// Idle times by state in units of 10 s, four bits each, 15 for [`ESTABLISHED_SECONDS`]: the defaults
/// of `nf_conntrack`. In one number, because a table would be another map for the kernel to look into.
const IDLE: u64 = {
    let units: [u64; 14] = [0, 0, 12, 6, 15, 12, 6, 3, 12, 1, 3, 12, 3, 3];
    let mut packed = 0;
    let mut state = 0;
    while state < units.len() {
        packed |= units[state] << (4 * state);
        state += 1;
    }
    packed
};

/// A place's word.
///
/// | bits | |
/// |---|---|
/// | 63–40 | tag |
/// | 39 | killed |
/// | 36–32 | state |
/// | 31–0 | when a packet was last seen, in seconds of the coarse monotonic clock |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word(pub u64);

impl Word {
    const STATE_SHIFT: u32 = 32;
    const STATE: u64 = 0x1f << Self::STATE_SHIFT;
    const KILLED: u64 = 1 << 39;
    const TAG_SHIFT: u32 = 64 - Tuple::TAG_BITS;

    /// No flow.
    pub const FREE: Self = Self(0);

    /// A flow with this tag, alive.
    #[inline(always)]
    pub const fn new(tag: u32, state: FlowState, seen: u32) -> Self {
        Self((tag as u64) << Self::TAG_SHIFT | (state as u64) << Self::STATE_SHIFT | seen as u64)
    }

    /// Its tag.
    #[inline(always)]
    pub const fn tag(self) -> u32 {
        (self.0 >> Self::TAG_SHIFT) as u32
    }

    /// The number of its state, see [`FlowState`].
    #[inline(always)]
    pub const fn state(self) -> u32 {
        ((self.0 & Self::STATE) >> Self::STATE_SHIFT) as u32
    }

    /// When a packet of it was last seen.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    pub const fn seen(self) -> u32 {
        self.0 as u32
    }

    /// Whether a flow is here; one that is still being written is none.
    #[inline(always)]
    pub const fn is_flow(self) -> bool {
        self.state() > FlowState::Claimed as u32
    }

    /// Whether somebody is writing a flow here.
    #[inline(always)]
    pub const fn is_claimed(self) -> bool {
        self.state() == FlowState::Claimed as u32
    }

    /// The same flow, seen again in a state.
    #[inline(always)]
    #[must_use]
    pub const fn at(self, state: u32, seen: u32) -> Self {
        const KEPT: u64 = !(Word::STATE | u32::MAX as u64);
        Self(self.0 & KEPT | (state as u64) << Self::STATE_SHIFT | seen as u64)
    }

    /// Whether the flow was ended by an operator: its packets pass neither way.
    #[inline(always)]
    pub const fn is_killed(self) -> bool {
        self.0 & Self::KILLED != 0
    }

    /// The same flow, killed.
    #[must_use]
    pub const fn killed(self) -> Self {
        Self(self.0 | Self::KILLED)
    }

    /// How many seconds without a packet end the flow.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "four bits")]
    pub const fn idle_seconds(self) -> u32 {
        let units = (IDLE >> (4 * (self.state() & 0xf))) as u32 & 0xf;
        if units == 15 { ESTABLISHED_SECONDS } else { units * 10 }
    }

    /// Whether the flow is over by now. Clocks of two CPUs may differ: what was seen later than now was
    /// seen now.
    #[inline(always)]
    pub const fn is_over(self, now: u32) -> bool {
        now.saturating_sub(self.seen()) > self.idle_seconds()
    }

    /// Whether the other end has not proven yet that it is there: such flows make room first. An
    /// answered SYN is not enough, since a forwarded one may have a forged source.
    #[inline(always)]
    pub const fn is_unproven(self) -> bool {
        const UNPROVEN: u32 = 1 << FlowState::SynSent as u32
            | 1 << FlowState::SynReceived as u32
            | 1 << FlowState::UdpSent as u32
            | 1 << FlowState::EchoSent as u32;
        UNPROVEN >> self.state() & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_times_are_those_of_conntrack() {
        for (state, seconds) in [
            (FlowState::SynSent, 120),
            (FlowState::SynReceived, 60),
            (FlowState::Established, 432_000),
            (FlowState::FinWait, 120),
            (FlowState::CloseWait, 60),
            (FlowState::LastAck, 30),
            (FlowState::TimeWait, 120),
            (FlowState::Closed, 10),
            (FlowState::UdpSent, 30),
            (FlowState::UdpAnswered, 120),
            (FlowState::EchoSent, 30),
            (FlowState::EchoAnswered, 30),
        ] {
            let word = Word::new(0xab_cdef, state, 1_000);
            assert_eq!(word.idle_seconds(), seconds, "{state:?}");
            assert_eq!(word.killed().idle_seconds(), seconds, "{state:?}");
            assert_eq!((word.tag(), word.killed().tag()), (0xab_cdef, 0xab_cdef));
            assert!(!word.is_over(1_000 + seconds) && word.is_over(1_001 + seconds) && !word.is_over(990));
            assert_eq!(word.killed().at(state as u32, 5), Word::new(0xab_cdef, state, 5).killed());
        }
    }
}
