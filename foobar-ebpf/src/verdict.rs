//! What can be decided about a packet, and why: the words of `explain`, of the
//! counters and of the metric labels. Owns the discriminants that cross the ABI;
//! knows neither packets nor rules.

/// Declares an enum that crosses the ABI as `u32` and has one word for people.
macro_rules! abi_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $value:literal => $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum $name {
            $($(#[$vmeta])* $variant = $value,)+
        }

        impl $name {
            /// Every value, in the order of the discriminants.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// How many values there are; discriminants are dense from 0.
            #[expect(clippy::cast_possible_truncation, reason = "a handful of values")]
            pub const COUNT: u32 = Self::ALL.len() as u32;

            /// The word that people read: in `explain`, in metric labels, in the log.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl From<$name> for u32 {
            fn from(value: $name) -> Self {
                value as Self
            }
        }

        impl TryFrom<u32> for $name {
            type Error = u32;

            /// # Errors
            /// Returns the value itself when it is no discriminant of this enum.
            fn try_from(value: u32) -> Result<Self, u32> {
                match value {
                    $($value => Ok(Self::$variant),)+
                    other => Err(other),
                }
            }
        }
    };
}

pub(crate) use abi_enum;

abi_enum! {
    /// Our decision about a packet.
    #[must_use]
    Verdict {
        /// The packet goes on to the host's stack.
        Allow = 0 => "allow",
        /// The packet ends here, silently.
        Drop = 1 => "drop",
        /// The packet ends here, and its sender may be told.
        Reject = 2 => "reject",
    }
}

abi_enum! {
    /// Why a packet got its verdict. A malformed packet names what is wrong with it
    /// ([`Reason::is_malformed`]); for people all of those are `malformed`.
    Reason {
        /// A rule matched.
        Rule = 0 => "rule",
        /// No rule matched: the default verdict.
        Policy = 1 => "policy",
        /// The source is banned.
        Ban = 2 => "ban",
        /// The answer to a flow that this host started.
        Flow = 3 => "flow",
        /// The packet of a live socket of this host.
        Socket = 4 => "socket",
        /// Neighbour discovery, ICMP errors, DHCP: what a host cannot live without.
        Essential = 5 => "essential",
        /// A later fragment, decided by its first one.
        Fragment = 6 => "fragment",
        /// Not IP: ARP, LLDP and the like. Passed and counted, never judged.
        Foreign = 7 => "foreign",
        /// No generation is loaded yet: the datapath counts and passes.
        Unarmed = 8 => "unarmed",
        /// Shorter than an Ethernet header and its VLAN tags.
        MalformedEthernet = 9 => "malformed-ethernet",
        /// A third VLAN tag.
        MalformedVlan = 10 => "malformed-vlan",
        /// IPv4 header short, of another version, or IHL below 5.
        MalformedIpv4Header = 11 => "malformed-ipv4-header",
        /// IPv6 header short or of another version.
        MalformedIpv6Header = 12 => "malformed-ipv6-header",
        /// The frame ends before the length that the IP header gives, or that length
        /// is below the header's own.
        MalformedIpLength = 13 => "malformed-ip-length",
        /// An extension header is cut off, or there are more than eight.
        MalformedExtensionHeader = 14 => "malformed-extension-header",
        /// A fragment beyond 65,535 octets, a first fragment without its whole L4
        /// header, or a TCP fragment at offset 1.
        MalformedFragment = 15 => "malformed-fragment",
        /// TCP header short or with a bad data offset.
        MalformedTcp = 16 => "malformed-tcp",
        /// UDP or UDP-Lite header short, or a UDP length below 8 or beyond the packet.
        MalformedUdp = 17 => "malformed-udp",
        /// ICMP or ICMPv6 header shorter than 8.
        MalformedIcmp = 18 => "malformed-icmp",
        /// SCTP header shorter than 12.
        MalformedSctp = 19 => "malformed-sctp",
        /// An IPv4-mapped IPv6 address on the wire: it would borrow IPv4 rules.
        MalformedMappedAddress = 20 => "malformed-mapped-address",
        /// DCCP header shorter than 12.
        MalformedDccp = 21 => "malformed-dccp",
    }
}

impl Verdict {
    /// From a word of an image or a map; what is no verdict does not open the host.
    #[inline(always)]
    pub const fn from_word(word: u32) -> Self {
        match word {
            word if word == Self::Allow as u32 => Self::Allow,
            word if word == Self::Reject as u32 => Self::Reject,
            _ => Self::Drop,
        }
    }
}

impl Reason {
    /// Whether the packet was not parsed to its end.
    pub const fn is_malformed(self) -> bool {
        self as u32 >= Self::MalformedEthernet as u32
    }

    /// The word of `explain --json`, where every malformed packet is `malformed`.
    pub const fn family(self) -> &'static str {
        if self.is_malformed() { "malformed" } else { self.as_str() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discriminants_are_dense_and_round_trip() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
            assert_eq!(Reason::try_from(*reason as u32), Ok(*reason));
            assert_eq!(reason.is_malformed(), reason.as_str().starts_with("malformed"));
        }
        assert!(Reason::try_from(Reason::COUNT).is_err());
        for (index, verdict) in Verdict::ALL.iter().enumerate() {
            assert_eq!(Verdict::try_from(u32::try_from(index).unwrap()), Ok(*verdict));
        }
    }
}
