//! Samples as a capture that tcpdump and Wireshark read (draft-ietf-opsawg-pcapng): what was decided is each
//! packet's comment.

use std::collections::HashMap;
use std::io::{self, Write};

use super::Sample;

/// Block types.
mod block {
    pub(super) const SECTION: u32 = 0x0a0d_0d0a;
    pub(super) const INTERFACE: u32 = 1;
    pub(super) const PACKET: u32 = 6;
}

/// Options.
mod option {
    pub(super) const END: u16 = 0;
    pub(super) const COMMENT: u16 = 1;
    pub(super) const INTERFACE_NAME: u16 = 2;
    pub(super) const USER_APPLICATION: u16 = 4;
    pub(super) const TIME_RESOLUTION: u16 = 9;
}

const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const LINK_ETHERNET: u16 = 1;
/// Ten to the power of minus so many seconds.
const NANOSECONDS: u8 = 9;

/// A capture in the making.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    /// Numbers by name.
    interfaces: HashMap<String, u32>,
}

impl<W: Write> Writer<W> {
    /// Begins a capture.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(mut out: W) -> io::Result<Self> {
        let mut body = Vec::new();
        body.extend(BYTE_ORDER_MAGIC.to_le_bytes());
        body.extend([1, 0, 0, 0]);
        // How long the section is, is not known.
        body.extend(u64::MAX.to_le_bytes());
        let by = concat!("foobar-agent ", env!("CARGO_PKG_VERSION"));
        push_option(&mut body, option::USER_APPLICATION, by.as_bytes());
        push_option(&mut body, option::END, &[]);
        write_block(&mut out, block::SECTION, &body)?;
        Ok(Self { out, interfaces: HashMap::new() })
    }

    /// Adds a packet.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&mut self, sample: &Sample) -> io::Result<()> {
        let interface = self.interface(&sample.interface)?;
        let captured = u32::try_from(sample.frame.len()).unwrap_or(u32::MAX);
        let [high, low] = [sample.at_ns >> 32, sample.at_ns & 0xffff_ffff];
        let mut body = Vec::new();
        body.extend(interface.to_le_bytes());
        body.extend(&high.to_le_bytes()[..4]);
        body.extend(&low.to_le_bytes()[..4]);
        body.extend(captured.to_le_bytes());
        body.extend(sample.length_bytes.max(captured).to_le_bytes());
        push_padded(&mut body, &sample.frame);
        let Sample { verdict, reason, rule, .. } = sample;
        let rule = rule.as_deref().unwrap_or("-");
        let comment = format!("verdict={verdict} rule={rule} reason={reason}");
        push_option(&mut body, option::COMMENT, comment.as_bytes());
        push_option(&mut body, option::END, &[]);
        write_block(&mut self.out, block::PACKET, &body)
    }

    /// Makes what was added so far whole for whoever reads it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn interface(&mut self, name: &str) -> io::Result<u32> {
        if let Some(&number) = self.interfaces.get(name) {
            return Ok(number);
        }
        let mut body = Vec::new();
        body.extend(LINK_ETHERNET.to_le_bytes());
        // Reserved; then as much of a packet as there is.
        body.extend([0; 6]);
        push_option(&mut body, option::INTERFACE_NAME, name.as_bytes());
        push_option(&mut body, option::TIME_RESOLUTION, &[NANOSECONDS]);
        push_option(&mut body, option::END, &[]);
        write_block(&mut self.out, block::INTERFACE, &body)?;
        let number = u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
        self.interfaces.insert(name.to_owned(), number);
        Ok(number)
    }
}

fn write_block(out: &mut impl Write, kind: u32, body: &[u8]) -> io::Result<()> {
    // Type, length, and the length again.
    let length = u32::try_from(body.len() + 12).map_err(io::Error::other)?;
    out.write_all(&kind.to_le_bytes())?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(body)?;
    out.write_all(&length.to_le_bytes())
}

fn push_option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    body.extend(code.to_le_bytes());
    body.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
    push_padded(body, value);
}

/// To a multiple of 4.
fn push_padded(body: &mut Vec<u8>, bytes: &[u8]) {
    body.extend(bytes);
    body.resize(body.len().next_multiple_of(4), 0);
}
