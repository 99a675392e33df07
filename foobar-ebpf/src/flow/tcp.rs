//! How a TCP connection goes on, by the flags of its packets in both directions: RFC 9293 §3.3.2 as
//! somebody between the ends sees it, in the states of `nf_conntrack`.

use super::word::FlowState;

/// Flags in octet 13 of a TCP header.
const FIN: u8 = 1;
const SYN: u8 = 1 << 1;
const RST: u8 = 1 << 2;
const ACK: u8 = 1 << 4;

/// Whether a segment asks for a connection.
#[inline(always)]
pub(super) const fn is_open(flags: u8) -> bool {
    flags & (SYN | ACK | RST) == SYN
}

/// The state after a segment.
#[inline(always)]
pub(super) const fn next(state: u32, flags: u8, leaves: bool) -> u32 {
    const SYN_SENT: u32 = FlowState::SynSent as u32;
    const SYN_RECEIVED: u32 = FlowState::SynReceived as u32;
    const ESTABLISHED: u32 = FlowState::Established as u32;
    const FIN_WAIT: u32 = FlowState::FinWait as u32;
    const CLOSE_WAIT: u32 = FlowState::CloseWait as u32;
    const LAST_ACK: u32 = FlowState::LastAck as u32;
    const TIME_WAIT: u32 = FlowState::TimeWait as u32;
    const CLOSED: u32 = FlowState::Closed as u32;
    if flags & RST != 0 {
        return CLOSED;
    }
    if flags & SYN != 0 {
        return match state {
            // The ports are used again.
            TIME_WAIT | CLOSED if leaves && is_open(flags) => SYN_SENT,
            // Either end may say it: both do where both opened (RFC 9293, figure 7).
            SYN_SENT if flags & ACK != 0 => SYN_RECEIVED,
            _ => state,
        };
    }
    if flags & FIN != 0 {
        return match state {
            SYN_RECEIVED | ESTABLISHED => FIN_WAIT,
            FIN_WAIT | CLOSE_WAIT => LAST_ACK,
            _ => state,
        };
    }
    match state {
        // From `CLOSED`: this end goes on, so the reset was not one that it believed, but somebody's guess.
        SYN_RECEIVED | CLOSED if leaves => ESTABLISHED,
        FIN_WAIT => CLOSE_WAIT,
        LAST_ACK => TIME_WAIT,
        _ => state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IN: bool = false;
    const OUT: bool = true;

    #[track_caller]
    fn goes(steps: &[(bool, u8, FlowState)]) {
        let mut state = FlowState::SynSent as u32;
        for (index, (leaves, flags, expected)) in steps.iter().enumerate() {
            state = next(state, *flags, *leaves);
            assert_eq!(FlowState::try_from(state), Ok(*expected), "step {index}");
        }
    }

    #[test]
    fn a_connection_from_its_beginning_to_its_end() {
        goes(&[
            (OUT, SYN, FlowState::SynSent),
            (IN, SYN | ACK, FlowState::SynReceived),
            (IN, SYN | ACK, FlowState::SynReceived),
            (OUT, ACK, FlowState::Established),
            (IN, ACK, FlowState::Established),
            (OUT, FIN | ACK, FlowState::FinWait),
            (IN, ACK, FlowState::CloseWait),
            (IN, ACK, FlowState::CloseWait),
            (IN, FIN | ACK, FlowState::LastAck),
            (OUT, ACK, FlowState::TimeWait),
            (IN, FIN | ACK, FlowState::TimeWait),
            (OUT, SYN, FlowState::SynSent),
        ]);
    }

    #[test]
    fn refused_connections_end_and_may_begin_again() {
        goes(&[(IN, RST | ACK, FlowState::Closed), (OUT, SYN, FlowState::SynSent)]);
        goes(&[(OUT, RST, FlowState::Closed), (IN, ACK, FlowState::Closed)]);
    }

    #[test]
    fn a_forged_reset_ends_nothing_that_this_end_goes_on_with() {
        goes(&[
            (IN, SYN | ACK, FlowState::SynReceived),
            (OUT, ACK, FlowState::Established),
            (IN, RST, FlowState::Closed),
            (IN, ACK, FlowState::Closed),
            (OUT, ACK, FlowState::Established),
        ]);
    }

    #[test]
    fn both_ends_may_open_at_once() {
        goes(&[
            (IN, SYN, FlowState::SynSent),
            (OUT, SYN | ACK, FlowState::SynReceived),
            (IN, SYN | ACK, FlowState::SynReceived),
            (OUT, ACK, FlowState::Established),
        ]);
    }

    #[test]
    fn only_a_bare_syn_opens() {
        assert!(is_open(SYN) && is_open(SYN | 0xc0));
        for flags in [SYN | ACK, SYN | RST, ACK, RST, 0, FIN] {
            assert!(!is_open(flags), "{flags:#x}");
        }
    }
}
