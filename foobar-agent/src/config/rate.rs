//! `rate`, `rate_per`, `rate_prefix` and `log` of a rule.

use super::protocols::TCP;
use super::reader::{Table, Value};
use super::suggest::{one_of, quoted};
use crate::firewall::rate::{Period, Rate, SourcePrefix, Unit};

/// Bytes of the largest frame that an Ethernet with an MTU of 1,500 carries.
const FRAME_BYTES: u64 = 1514;

const EXAMPLE: &str = "such as \"10/minute\", \"500 connections/second\" or \"5M bytes/second\"";

/// The rate of a rule. `protocols` must be TCP alone where connections are counted.
pub(super) fn read(table: &mut Table<'_>, protocols: Option<&[u8]>) -> Option<Rate> {
    let rate = table.optional("rate");
    let per = table.optional("rate_per");
    let prefix = table.optional("rate_prefix");
    let Some(value) = rate else {
        for value in [per, prefix].into_iter().flatten() {
            value.error("there is no `rate` that this could be of", "add: rate = \"10/minute\"");
        }
        return None;
    };
    let is_per_source = match per {
        None => true,
        Some(per) => per.word(&[("source", true), ("rule", false)])?,
    };
    let prefix = match prefix {
        Some(prefix) if !is_per_source => {
            prefix.error("`rate_prefix` is of sources, and the rate is the rule's", "remove it");
            return None;
        }
        Some(prefix) => source_prefix(prefix)?,
        None => SourcePrefix::DEFAULT,
    };
    let read = parse(value)?;
    if read.unit == Unit::Connections && !matches!(protocols, Some([TCP] | [])) {
        value.error("connections need `protocol` to be exactly tcp", "write: protocol = \"tcp\"");
        return None;
    }
    if read.unit == Unit::Bytes && read.count < FRAME_BYTES {
        let message = format!("no packet of more than {} bytes is ever within this rate", read.count);
        value.warning(message, "a packet needs all its bytes at once: write the rate over a longer time");
    }
    Some(Rate { per_source: is_per_source.then_some(prefix), ..read })
}

/// The rate of a rule's samples, which are packets.
pub(super) fn read_log(value: Option<Value<'_>>) -> Option<Rate> {
    let value = value?;
    let rate = parse(value)?;
    if rate.unit != Unit::Packets {
        value.error("`log` counts packets", "such as \"5/second\"");
        return None;
    }
    Some(rate)
}

/// `N[K|M] [packets|connections|bytes]/(second|minute|hour)`
fn parse(value: Value<'_>) -> Option<Rate> {
    let text = value.string()?;
    let Some((what, period)) = text.split_once('/') else {
        value.error(format!("{} has no time", quoted(text)), EXAMPLE);
        return None;
    };
    let period = word(value, period, Period::ALL, Period::as_str, "time")?;
    let (number, unit) = match what.split_once(' ') {
        Some((number, unit)) => (number, word(value, unit, Unit::ALL, Unit::as_str, "unit")?),
        None => (what, Unit::Packets),
    };
    let Some(count) = count(number) else {
        let hint = format!("a whole number, with K for thousands or M for millions, {EXAMPLE}");
        value.error(format!("{} is no number", quoted(number)), hint);
        return None;
    };
    let most = Rate::most(unit, period);
    if count == 0 {
        value.error("a rate of 0 lets the rule match nothing", "remove the rule, or write 1 at least");
        return None;
    }
    if count > most {
        let message = format!("{} is more than any host has to do with", quoted(text));
        let (most, unit, period) = (most / 1_000_000, unit.as_str(), period.as_str());
        value.error(message, format!("at most {most}M {unit}/{period}; without `rate` there is no limit"));
        return None;
    }
    Some(Rate { count, unit, period, per_source: None })
}

fn word<T: Copy, const N: usize>(
    value: Value<'_>,
    text: &str,
    all: [T; N],
    name: fn(T) -> &'static str,
    kind: &str,
) -> Option<T> {
    let found = all.into_iter().find(|&known| name(known) == text);
    if found.is_none() {
        let names = all.map(name);
        let hint = value.report().did_you_mean(text, names.into_iter());
        value.error(
            format!("{} is no {kind} of a rate", quoted(text)),
            hint.unwrap_or_else(|| format!("it is one of {}", one_of(&names))),
        );
    }
    found
}

/// Digits, and perhaps K or M. What overflows is beyond every limit.
fn count(text: &str) -> Option<u64> {
    let (digits, times) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 1000),
        b'M' => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse::<u64>().map_or(u64::MAX, |number| number.saturating_mul(times)))
}

/// `[32, 64]`: of IPv4 and of IPv6.
fn source_prefix(value: Value<'_>) -> Option<SourcePrefix> {
    let lengths = value.list()?;
    let [ipv4, ipv6] = lengths[..] else {
        value.error("`rate_prefix` takes two lengths, of IPv4 and of IPv6", "write: rate_prefix = [32, 64]");
        return None;
    };
    let length = |value: Value<'_>, most| value.integer(1, most).and_then(|length| u8::try_from(length).ok());
    let (ipv4, ipv6) = (length(ipv4, 32), length(ipv6, 128));
    Some(SourcePrefix { ipv4: ipv4?, ipv6: ipv6? })
}
