//! A packet as hex digits: bare, with spaces or colons between, or as dumps print them, with an offset
//! at the start of each line and the characters at its end.

use std::io::{self, Read};

use thiserror::Error;

/// No frame is longer; more digits are some other file.
const BYTES_MAX: usize = 1 << 20;
/// Characters of a dump by byte: no form has more than six, line for line.
const TEXT_BYTES_MAX: usize = 8 * BYTES_MAX;

/// Why digits are no packet.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum HexError {
    /// Nothing there.
    #[error("no hex digits: a packet begins with its hardware addresses, such as 0200 0000 0001 …")]
    Empty,
    /// Something else between them.
    #[error(
        "`{word}` is no hex digits (line {line})\n  hint: a dump as `tcpdump -xx`, `xxd` or Wireshark writes it is fine"
    )]
    NotHex {
        /// What stands there.
        word: String,
        /// From 1.
        line: usize,
    },
    /// Half an octet.
    #[error("`{word}` is an odd number of digits (line {line}): each byte is written with two")]
    Odd {
        /// What stands there.
        word: String,
        /// From 1.
        line: usize,
    },
    /// Too long for a packet.
    #[error("more than {} MiB: this is no packet", BYTES_MAX >> 20)]
    TooLong,
}

/// Why a file is no packet.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is something else.
    #[error(transparent)]
    Hex(#[from] HexError),
}

/// Reads the bytes of one packet from a file or pipe, which may be endless.
///
/// # Errors
/// When it cannot be read or is not hex digits.
pub fn read(input: impl Read) -> Result<Vec<u8>, ReadError> {
    let mut text = Vec::new();
    input.take(TEXT_BYTES_MAX as u64 + 1).read_to_end(&mut text)?;
    if text.len() > TEXT_BYTES_MAX {
        return Err(HexError::TooLong.into());
    }
    Ok(parse(&String::from_utf8_lossy(&text))?)
}

/// Reads the bytes of one packet.
///
/// # Errors
/// When it is not hex digits.
pub fn parse(text: &str) -> Result<Vec<u8>, HexError> {
    let mut bytes = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        match dumped(line) {
            Some(columns) => append_columns(columns, line_number, &mut bytes)?,
            None => {
                for word in line.split(|c: char| c.is_whitespace() || matches!(c, ':' | ',' | '-' | '.')) {
                    append(word, line_number, &mut bytes)?;
                }
            }
        }
        if bytes.len() > BYTES_MAX {
            return Err(HexError::TooLong);
        }
    }
    if bytes.is_empty() { Err(HexError::Empty) } else { Ok(bytes) }
}

/// What stands behind the offset of a line of a dump; `None` where the line has none. An offset is
/// longer than a byte, and ends in a colon or in two spaces.
fn dumped(line: &str) -> Option<&str> {
    let line = line.trim();
    let is_offset = |text: &str| {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        (4..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let behind = |(start, rest)| (is_offset(start)).then_some(rest);
    line.split_once(": ").and_then(behind).or_else(|| line.split_once("  ").and_then(behind))
}

/// The digits of a line of a dump, up to 16 bytes. A wider gap comes before the characters, and in the
/// middle of a line of single bytes.
fn append_columns(columns: &str, line: usize, bytes: &mut Vec<u8>) -> Result<(), HexError> {
    const LINE_BYTES: usize = 16;
    let before = bytes.len();
    let mut single = true;
    for group in columns.trim().split("  ").map(str::trim) {
        let in_line = bytes.len() - before;
        let goes_on = in_line == 0 || (single && in_line == LINE_BYTES / 2 && !group.starts_with('|'));
        if !goes_on {
            break;
        }
        for word in group.split_whitespace().take_while(|word| !word.starts_with('|')) {
            single &= word.len() == 2;
            append(word, line, bytes)?;
        }
    }
    Ok(())
}

fn append(word: &str, line: usize, bytes: &mut Vec<u8>) -> Result<(), HexError> {
    let word = word.strip_prefix("0x").unwrap_or(word);
    let shown = || word.chars().map(|c| if c.is_control() { '?' } else { c }).take(20).collect();
    if !word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(HexError::NotHex { word: shown(), line });
    }
    if !word.len().is_multiple_of(2) {
        return Err(HexError::Odd { word: shown(), line });
    }
    for pair in word.as_bytes().chunks_exact(2) {
        bytes.push(pair.iter().fold(0, |value, digit| value << 4 | hex_value(*digit)));
    }
    Ok(())
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 20] = [
        0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x02, 0x08, 0x06, 0xab, 0xcd, 0xde,
        0xad, 0xbe, 0xef,
    ];

    #[test]
    fn digits_may_stand_in_any_groups() {
        for text in [
            "0200000000010200000000020806abcddeadbeef",
            "02 00 00 00 00 01  02 00 00 00 00 02  08 06 ab cd de ad be ef",
            "02:00:00:00:00:01 02-00-00-00-00-02 0806 0xABCD 0xDEADBEEF",
            "  0200 0000 0001 0200 0000 0002\n0806 abcd\n\ndead beef\n",
        ] {
            assert_eq!(parse(text).as_deref(), Ok(&BYTES[..]), "{text}");
        }
    }

    #[test]
    fn an_endless_input_is_read_to_where_no_packet_reaches() {
        for octet in [b'0', b'\n', 0xff] {
            assert!(matches!(read(io::repeat(octet)), Err(ReadError::Hex(HexError::TooLong))));
        }
        assert_eq!(read(&b"0200 0806"[..]).unwrap(), [2, 0, 8, 6]);
    }

    #[test]
    fn dumps_are_read_without_their_offsets_and_characters() {
        for text in [
            "\t0x0000:  0200 0000 0001 0200 0000 0002 0806 abcd\n\t0x0010:  dead beef\n",
            "\t0x0000:  0200 0000 0001 0200 0000 0002 0806 abcd  ................\n\t0x0010:  dead beef       ab cd",
            "00000000: 0200 0000 0001 0200 0000 0002 0806 abcd  ................\n00000010: dead beef    ....",
            "00000000  02 00 00 00 00 01 02 00  00 00 00 02 08 06 ab cd  |................|\n00000010  de ad be ef    |....|",
            "0000   02 00 00 00 00 01 02 00 00 00 00 02 08 06 ab cd   ................\n0010   de ad be ef   ab..",
        ] {
            assert_eq!(parse(text).as_deref(), Ok(&BYTES[..]), "{text}");
        }
    }

    #[test]
    fn what_is_no_packet_is_refused_with_its_line() {
        assert_eq!(parse(" \n"), Err(HexError::Empty));
        assert_eq!(parse("00\n0g"), Err(HexError::NotHex { word: "0g".to_owned(), line: 2 }));
        assert_eq!(parse("00 0"), Err(HexError::Odd { word: "0".to_owned(), line: 1 }));
        assert_eq!(parse(&"00".repeat(BYTES_MAX + 1)), Err(HexError::TooLong));
    }
}
