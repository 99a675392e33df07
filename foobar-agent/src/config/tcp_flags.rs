//! `tcp_flags` of a rule.

use super::protocols::TCP;
use super::reader::Value;
use super::suggest::quoted;
use crate::firewall::ruleset::TcpFlags;

/// Names of the bits of octet 13 of the TCP header (RFC 9293, section 3.1).
pub(super) const FLAGS: [(&str, u8); 8] = [
    ("fin", 0x01),
    ("syn", 0x02),
    ("rst", 0x04),
    ("psh", 0x08),
    ("ack", 0x10),
    ("urg", 0x20),
    ("ece", 0x40),
    ("cwr", 0x80),
];

/// `set/of`. `protocols` must be TCP alone.
pub(super) fn read(value: Option<Value<'_>>, protocols: Option<&[u8]>) -> Option<TcpFlags> {
    let value = value?;
    if !matches!(protocols, Some([TCP] | [])) {
        value.error("`tcp_flags` needs `protocol` to be exactly tcp", "write: protocol = \"tcp\"");
    }
    let text = value.string()?;
    let Some((set, of)) = text.split_once('/') else {
        let hint = "such as \"syn/syn,ack\": of syn and ack, syn alone is set; \"none/…\" for none";
        value.error(format!("{} lacks the flags to look at", quoted(text)), hint);
        return None;
    };
    let set = if set == "none" { Some(0) } else { flags(value, set) };
    let of = flags(value, of);
    let flags = TcpFlags { set: set?, of: of? };
    if flags.set & !flags.of != 0 {
        let hint = "name every flag before the `/` after it too";
        value.error(format!("{} wants a flag that it does not look at", quoted(text)), hint);
        return None;
    }
    Some(flags)
}

fn flags(value: Value<'_>, text: &str) -> Option<u8> {
    let mut bits = 0;
    for name in text.split(',') {
        let Some((_, bit)) = FLAGS.iter().find(|(known, _)| *known == name) else {
            let known = "fin, syn, rst, psh, ack, urg, ece, cwr, with commas and no space";
            value.error(format!("{} is no TCP flag", quoted(name)), format!("the flags are {known}"));
            return None;
        };
        bits |= bit;
    }
    Some(bits)
}
