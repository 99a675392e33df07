//! Rates as the configuration means them, and as the datapath wants them.

use std::fmt;

use foobar_ebpf::abi::limit::{Meter, SCALE_BITS, TICKS_PER_NS, counts};
use serde::{Deserialize, Serialize};

/// So many of something in a period. The configuration has checked that a meter can hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rate {
    /// How many; not 0.
    pub count: u64,
    /// Of what.
    pub unit: Unit,
    /// In which time.
    pub period: Period,
    /// Each source has its own; absent, all that the rule matches share one.
    pub per_source: Option<SourcePrefix>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Each packet.
    Packets,
    /// Each TCP segment that opens a connection: SYN without ACK.
    Connections,
    /// Bytes from the Ethernet header on.
    Bytes,
}

/// The time of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
}

/// How much of an address makes a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SourcePrefix {
    /// Prefix length in IPv4, 1 to 32.
    pub ipv4: u8,
    /// Prefix length in IPv6, 1 to 128.
    pub ipv6: u8,
}

impl SourcePrefix {
    /// An IPv4 address is a host; in IPv6 a host has a /64 to choose its addresses from (RFC 4291 §2.5.1).
    pub const DEFAULT: Self = Self { ipv4: 32, ipv6: 64 };
}

impl Unit {
    /// Every unit.
    pub const ALL: [Self; 3] = [Self::Packets, Self::Connections, Self::Bytes];

    /// The word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Packets => "packets",
            Self::Connections => "connections",
            Self::Bytes => "bytes",
        }
    }

    /// The most that a second can have, beyond which a limit would say nothing.
    const fn most_a_second(self) -> u64 {
        match self {
            Self::Packets | Self::Connections => 1_000_000_000,
            Self::Bytes => 1_000_000_000_000,
        }
    }
}

impl Period {
    /// Every period.
    pub const ALL: [Self; 3] = [Self::Second, Self::Minute, Self::Hour];

    /// The word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
        }
    }

    const fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
        }
    }

    const fn ticks(self) -> u64 {
        self.seconds() * 1_000_000_000 * TICKS_PER_NS
    }
}

impl Rate {
    /// The greatest count of this unit in this period.
    pub const fn most(unit: Unit, period: Period) -> u64 {
        unit.most_a_second() * period.seconds()
    }

    /// As the datapath wants it.
    pub fn meter(&self) -> Meter {
        let period = self.period.ticks();
        let (scale, shift, burst_ticks) = match self.unit {
            // To the nearest tick; so many at once are exactly the count.
            Unit::Packets | Unit::Connections => {
                let each = ((period + self.count / 2) / self.count).max(1);
                (each, 0, each * self.count)
            }
            Unit::Bytes => {
                let (scale, shift) = scaled(period, self.count);
                (scale, shift, period)
            }
        };
        let SourcePrefix { ipv4, ipv6 } = self.per_source.unwrap_or(SourcePrefix::DEFAULT);
        let unit = match self.unit {
            Unit::Packets => counts::PACKETS,
            Unit::Connections => counts::CONNECTIONS,
            Unit::Bytes => counts::BYTES,
        };
        let per_source = if self.per_source.is_some() { counts::PER_SOURCE } else { 0 };
        Meter {
            scale,
            burst_ticks,
            shift,
            counts: unit | per_source,
            prefix_ipv4: 96 + u32::from(ipv4),
            prefix_ipv6: u32::from(ipv6),
        }
    }
}

/// A quotient with as many bits behind the point as leave room for what it is multiplied by, rounded
/// down: so many units never cost more than the period.
fn scaled(period: u64, count: u64) -> (u64, u32) {
    let mut shift = 0;
    let at = |shift: u32| (u128::from(period) << shift) / u128::from(count);
    while shift < u64::BITS - 2 && at(shift + 1) < 1 << SCALE_BITS {
        shift += 1;
    }
    (u64::try_from(at(shift)).unwrap_or(u64::MAX), shift)
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, suffix) = match self.count {
            count if count % 1_000_000 == 0 => (count / 1_000_000, "M"),
            count if count % 1000 == 0 => (count / 1000, "K"),
            count => (count, ""),
        };
        write!(f, "{count}{suffix} {}/{}", self.unit.as_str(), self.period.as_str())?;
        match self.per_source {
            Some(SourcePrefix::DEFAULT) => f.write_str(" per source"),
            Some(SourcePrefix { ipv4, ipv6 }) => write!(f, " per source /{ipv4} /{ipv6}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    use foobar_ebpf::abi::limit::AMOUNT_MAX;
    use foobar_ebpf::limit::take;

    fn rate(count: u64, unit: Unit, period: Period) -> Rate {
        Rate { count, unit, period, per_source: None }
    }

    #[test]
    fn so_many_at_once_and_then_one_after_the_other() {
        let meter = rate(10, Unit::Packets, Period::Minute).meter();
        let cell = AtomicU64::new(0);
        let at = |seconds: u64| seconds * 1_000_000_000 * TICKS_PER_NS;
        let passed = |now: u64| (0..100).filter(|_| take(&cell, &meter, 1, now)).count();
        assert_eq!(passed(at(1000)), 10);
        assert_eq!(passed(at(1006) - 1), 0);
        assert_eq!(passed(at(1006)), 1);
        // In any minute that begins with a full burst: twice as many at most.
        assert_eq!((1007..1060).map(|second| passed(at(second))).sum::<usize>(), 8);
        assert_eq!(passed(at(2000)), 10);
    }

    #[test]
    fn no_charge_overflows_or_is_nothing() {
        for (count, period) in [
            (1, Period::Hour),
            (1, Period::Second),
            (1500, Period::Minute),
            (100_000_000_000, Period::Second),
            (Rate::most(Unit::Bytes, Period::Second), Period::Second),
            (Rate::most(Unit::Bytes, Period::Hour), Period::Hour),
        ] {
            let meter = rate(count, Unit::Bytes, period).meter();
            assert!(meter.scale < 1 << SCALE_BITS && meter.shift < 64, "{meter:?}");
            for bytes in [1, 60, 1514, 65_535, AMOUNT_MAX, u64::MAX] {
                let cost = meter.cost_ticks(bytes);
                let exact = u128::from(bytes.min(AMOUNT_MAX)) * u128::from(period.ticks());
                let error = (u128::from(cost) * u128::from(count)).abs_diff(exact);
                // Half a tick of rounding, or one where it would be nothing, and what the scale leaves out.
                let allowed = u128::from(count) + exact / (1 << (SCALE_BITS - 2));
                assert!(cost > 0 && error <= allowed, "{count}, {bytes}: {cost}, off by {error}");
            }
            let whole = count.min(AMOUNT_MAX);
            assert!(count > AMOUNT_MAX || meter.cost_ticks(whole) <= meter.burst_ticks);
        }
    }

    #[test]
    fn a_rate_reads_as_it_is_written() {
        let mut example = rate(10, Unit::Packets, Period::Minute);
        assert_eq!(example.to_string(), "10 packets/minute");
        example.per_source = Some(SourcePrefix::DEFAULT);
        assert_eq!(example.to_string(), "10 packets/minute per source");
        example = Rate { per_source: Some(SourcePrefix { ipv4: 24, ipv6: 48 }), count: 5_000_000, ..example };
        assert_eq!(example.to_string(), "5M packets/minute per source /24 /48");
    }
}
