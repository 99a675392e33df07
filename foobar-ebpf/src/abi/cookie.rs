//! SYN cookies: what the agent tells the datapath of the host's TCP, and what became of each SYN.

use crate::verdict::abi_enum;

abi_enum! {
    /// What became of a SYN that the rules allowed: index in [`super::map::COOKIES`].
    Outcome {
        /// Passed to the stack: cookies are not armed.
        Idle = 0 => "idle",
        /// Answered with a cookie.
        Sent = 1 => "sent",
        /// Passed: nobody on this host listens there, or the packet is for another host.
        NoListener = 2 => "no-listener",
        /// Passed: the kernel makes no cookie for this listener, because it is full of connections that
        /// wait to be accepted, or because cookies are off.
        Refused = 3 => "refused",
        /// Passed: the port is not the datapath's to answer, see [`super::map::COOKIE_PORTS`].
        Port = 4 => "port",
        /// Passed: what a cookie cannot hold (a fragment, TCP-MD5, TCP-AO), or an address, Ethernet's or
        /// IP's, that gets no answers.
        Unfit = 5 => "unfit",
        /// Lost: the driver leaves no room for the answer.
        Frame = 6 => "frame",
    }
}

/// What the host's TCP offers to a client that is answered with a cookie: [`super::control::SYN_COOKIES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The window, without scaling. The connection begins with its own.
    pub window: u16,
    /// The scale that the stack will use for its windows; [`NO_SCALE`]: it uses none.
    pub window_scale: u8,
    /// Whether the stack takes our timestamps for its own, so that they can hold what a cookie cannot.
    pub timestamps: bool,
    /// Whether it does selective acknowledgements.
    pub sack: bool,
    /// Whether it does explicit congestion notification when asked.
    pub ecn: bool,
}

/// [`Offer::window_scale`] where windows are not scaled; 14 is the largest scale (RFC 7323 §2.3).
pub const NO_SCALE: u8 = 15;

/// The word while cookies are not armed.
pub const IDLE: u64 = 0;

const ARMED: u64 = 1;
const TIMESTAMPS: u64 = 1 << 1;
const SACK: u64 = 1 << 2;
const ECN: u64 = 1 << 3;
const SCALE_SHIFT: u32 = 4;
const WINDOW_SHIFT: u32 = 16;

impl Offer {
    /// As the word that arms cookies.
    pub const fn to_word(self) -> u64 {
        let Self { window, window_scale, timestamps, sack, ecn } = self;
        let mut word = ARMED | ((window_scale & 15) as u64) << SCALE_SHIFT | (window as u64) << WINDOW_SHIFT;
        if timestamps {
            word |= TIMESTAMPS;
        }
        if sack {
            word |= SACK;
        }
        if ecn {
            word |= ECN;
        }
        word
    }

    /// From the word; `None` where cookies are not armed.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "parts of the word")]
    pub const fn from_word(word: u64) -> Option<Self> {
        if word & ARMED == 0 {
            return None;
        }
        Some(Self {
            window: (word >> WINDOW_SHIFT) as u16,
            window_scale: (word >> SCALE_SHIFT) as u8 & 15,
            timestamps: word & TIMESTAMPS != 0,
            sack: word & SACK != 0,
            ecn: word & ECN != 0,
        })
    }
}

/// Words of [`super::map::COOKIE_PORTS`]: a bit for each port.
pub const PORT_WORDS: u32 = 1024;

/// Where a port's bit is: the word, and the bit in it.
#[inline(always)]
pub const fn port_bit(port: u16) -> (u32, u64) {
    (port as u32 >> 6, 1 << (port & 63))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_comes_back_from_its_word() {
        assert_eq!(Offer::from_word(IDLE), None);
        for window in [0, 1, 64_087, u16::MAX] {
            for window_scale in 0..=NO_SCALE {
                for bits in 0..8 {
                    let [timestamps, sack, ecn] = [1, 2, 4].map(|bit| bits & bit != 0);
                    let offer = Offer { window, window_scale, timestamps, sack, ecn };
                    assert_eq!(Offer::from_word(offer.to_word()), Some(offer));
                }
            }
        }
    }

    #[test]
    fn each_port_has_a_bit_of_its_own() {
        let mut words = vec![0u64; PORT_WORDS as usize];
        for port in 0..=u16::MAX {
            let (word, bit) = port_bit(port);
            assert_eq!(words[word as usize] & bit, 0, "{port}");
            words[word as usize] |= bit;
        }
        assert!(words.iter().all(|word| *word == u64::MAX));
    }
}
