//! From the words of an expression to what they mean. Every error knows its place.

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use foobar_ebpf::verdict::{Reason, Verdict};

use super::{End, Expression};
use crate::config::lookup;
use crate::firewall::address::Prefix;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// How deep parentheses and negations may stand in each other.
const DEPTH_MAX: usize = 64;

/// What is no expression, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    text: String,
    /// In bytes.
    place: Range<usize>,
    what: String,
}

impl std::error::Error for FilterError {}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, place, what } = self;
        let before = text.get(..place.start).unwrap_or_default().chars().count();
        let marked = text.get(place.clone()).unwrap_or_default().chars().count().max(1);
        write!(f, "the filter is wrong: {what}\n  {text}\n  {:before$}{}", "", "^".repeat(marked))
    }
}

/// A word with its place.
#[derive(Clone, Debug)]
struct Word<'t> {
    text: &'t str,
    place: Range<usize>,
}

struct Words<'t> {
    text: &'t str,
    words: std::iter::Peekable<std::vec::IntoIter<Word<'t>>>,
    depth: usize,
}

type Parsed<T> = Result<T, FilterError>;

pub(super) fn expression(text: &str) -> Parsed<Expression> {
    let mut words = Words { text, words: split(text).into_iter().peekable(), depth: 0 };
    if words.words.peek().is_none() {
        return Err(words.error_at_end("there is nothing"));
    }
    let expression = words.expression()?;
    match words.words.next() {
        None => Ok(expression),
        Some(word) if word.text == ")" => Err(words.error(&word, "nothing is open that this could close")),
        Some(word) => Err(words.error(&word, "`and` or `or` must stand before this")),
    }
}

/// Parentheses and `!` stand for themselves, also without space around them.
fn split(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut from = None;
    let word = |place: Range<usize>| Word { text: &text[place.clone()], place };
    for (at, c) in text.char_indices() {
        let is_sign = matches!(c, '(' | ')' | '!');
        if c.is_whitespace() || is_sign {
            words.extend(from.take().map(|from| word(from..at)));
            if is_sign {
                words.push(word(at..at + c.len_utf8()));
            }
        } else {
            from.get_or_insert(at);
        }
    }
    words.extend(from.map(|from| word(from..text.len())));
    words
}

impl<'t> Words<'t> {
    fn error(&self, word: &Word<'_>, what: impl Into<String>) -> FilterError {
        FilterError { text: self.text.to_owned(), place: word.place.clone(), what: what.into() }
    }

    fn error_at_end(&self, what: impl Into<String>) -> FilterError {
        let end = self.text.len();
        FilterError { text: self.text.to_owned(), place: end..end, what: what.into() }
    }

    fn next_is(&mut self, texts: &[&str]) -> bool {
        self.words.next_if(|word| texts.contains(&word.text)).is_some()
    }

    /// The word that must follow.
    fn value(&mut self, what: &str) -> Parsed<Word<'t>> {
        match self.words.next() {
            Some(word) if !matches!(word.text, "(" | ")" | "!") => Ok(word),
            Some(word) => Err(self.error(&word, format!("{what} must stand here"))),
            None => Err(self.error_at_end(format!("{what} must follow"))),
        }
    }

    fn expression(&mut self) -> Parsed<Expression> {
        let mut left = self.factor()?;
        loop {
            if self.next_is(&["and", "&&"]) {
                left = Expression::And(Box::new(left), Box::new(self.factor()?));
            } else if self.next_is(&["or", "||"]) {
                left = Expression::Or(Box::new(left), Box::new(self.factor()?));
            } else {
                return Ok(left);
            }
        }
    }

    fn factor(&mut self) -> Parsed<Expression> {
        let Some(word) = self.words.next() else { return Err(self.error_at_end("something must follow")) };
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error(&word, "this stands too deep"));
        }
        let factor = match word.text {
            "not" | "!" => Expression::Not(Box::new(self.factor()?)),
            "(" => {
                let inner = self.expression()?;
                match self.words.next() {
                    Some(close) if close.text == ")" => inner,
                    Some(other) => {
                        return Err(self.error(&other, "`and`, `or` or `)` must stand before this"));
                    }
                    None => return Err(self.error(&word, "this is never closed")),
                }
            }
            _ => self.primitive(word)?,
        };
        self.depth -= 1;
        Ok(factor)
    }

    fn primitive(&mut self, word: Word<'t>) -> Parsed<Expression> {
        let about = match word.text {
            "ip" => Expression::Family(true),
            "ip6" => Expression::Family(false),
            "tcp" => Expression::Protocol(TCP),
            "udp" => Expression::Protocol(UDP),
            "icmp" => Expression::Protocol(lookup::ICMP),
            "icmp6" => Expression::Protocol(lookup::ICMPV6),
            "sctp" => Expression::Protocol(132),
            "proto" => {
                let value = self.value("a protocol")?;
                let protocol = lookup::protocol(value.text);
                Expression::Protocol(protocol.ok_or_else(|| self.error(&value, "this is no protocol"))?)
            }
            "greater" => Expression::Greater(self.number("a length in bytes")?),
            "less" => Expression::Less(self.number("a length in bytes")?),
            "verdict" => {
                let words: Vec<&str> = Verdict::ALL.iter().map(|verdict| verdict.as_str()).collect();
                Expression::Verdict(self.one_of("a verdict", &words)?)
            }
            "reason" => {
                let mut words: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
                words.push("malformed");
                Expression::Reason(self.one_of("a reason", &words)?)
            }
            "rule" => Expression::Rule(self.value("the name of a rule")?.text.to_owned()),
            "interface" => Expression::Interface(self.value("the name of an interface")?.text.to_owned()),
            ")" => return Err(self.error(&word, "something must stand before this")),
            _ => return self.place(word),
        };
        // As in `tcp dst port 80`.
        let goes_on = matches!(about, Expression::Family(_) | Expression::Protocol(_))
            && word.text != "proto"
            && self.words.peek().is_some_and(|next| PLACES.contains(&next.text));
        if let Some(next) = self.words.next_if(|_| goes_on) {
            return Ok(Expression::And(Box::new(about), Box::new(self.place(next)?)));
        }
        Ok(about)
    }

    /// An address or a port, of one end or of either.
    fn place(&mut self, word: Word<'t>) -> Parsed<Expression> {
        let (end, word) = match word.text {
            "src" => (End::Source, self.value("`host`, `net`, `port`, or an address")?),
            "dst" => (End::Destination, self.value("`host`, `net`, `port`, or an address")?),
            _ => (End::Either, word),
        };
        match word.text {
            "host" => {
                let value = self.value("an address")?;
                let address = value.text.parse().map_err(|_| self.error(&value, "this is no address"))?;
                Ok(Expression::Net(end, Prefix::host(address)))
            }
            "net" => {
                let value = self.value("a prefix")?;
                self.net(end, &value, "this is no prefix, such as 192.0.2.0/24 or 2001:db8::/32")
            }
            "port" => {
                let value = self.value("a port")?;
                let port = self.port(&value, value.text)?;
                Ok(Expression::Ports(end, port, port))
            }
            "portrange" => {
                let value = self.value("a range of ports")?;
                let Some((first, last)) = value.text.split_once('-') else {
                    return Err(self.error(&value, "a range is two ports, such as 8000-8080"));
                };
                let (first, last) = (self.port(&value, first)?, self.port(&value, last)?);
                if first > last {
                    return Err(self.error(&value, "the first port is above the last"));
                }
                Ok(Expression::Ports(end, first, last))
            }
            _ => self.net(
                end,
                &word,
                "this is no word of a filter: it may be host, net, port, portrange, src, dst, ip, ip6, tcp, udp, icmp, \
                 icmp6, sctp, proto, greater, less, verdict, rule, reason, interface, not, or an address",
            ),
        }
    }

    fn net(&self, end: End, value: &Word<'_>, otherwise: &str) -> Parsed<Expression> {
        let (address, length) = match value.text.split_once('/') {
            Some((address, length)) => (address.parse(), Some(length)),
            None => (value.text.parse(), None),
        };
        let address: IpAddr = address.map_err(|_| self.error(value, otherwise))?;
        let prefix = match length {
            None => Some(Prefix::host(address)),
            Some(length) => length.parse().ok().and_then(|length| Prefix::new(address, length)),
        };
        prefix
            .map(|prefix| Expression::Net(end, prefix))
            .ok_or_else(|| self.error(value, "the prefix length does not fit the address"))
    }

    fn port(&self, value: &Word<'_>, text: &str) -> Parsed<u16> {
        let named = || [TCP, UDP].into_iter().find_map(|protocol| lookup::service(protocol, text));
        text.parse().ok().or_else(named).ok_or_else(|| self.error(value, "this is no port, from 0 to 65535"))
    }

    fn number(&mut self, what: &str) -> Parsed<u32> {
        let value = self.value(what)?;
        value.text.parse().map_err(|_| self.error(&value, "this is no number"))
    }

    fn one_of(&mut self, what: &str, words: &[&str]) -> Parsed<String> {
        let value = self.value(what)?;
        if words.contains(&value.text) {
            return Ok(value.text.to_owned());
        }
        Err(self.error(&value, format!("this is not {what}; there are {}", words.join(", "))))
    }
}

/// What can follow a protocol.
const PLACES: [&str; 6] = ["src", "dst", "host", "net", "port", "portrange"];
