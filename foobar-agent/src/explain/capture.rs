//! Captures: pcap in both byte orders, with micro- or nanoseconds, and pcapng, either of them also
//! packed with gzip. Reads record by record in constant memory, however long or hostile the file is;
//! what a record means to the link layer is the part of `link`.

use std::io::{self, Read};
use std::rc::Rc;

use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{Block, LegacyPcapReader, Linktype, PcapBlockOwned, PcapError, PcapHeader, PcapNGReader};
use thiserror::Error;

use super::input::{self, Tallied, Tally};

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 1 << 20;
/// No record or block is longer: libpcap takes packets of 256 KiB, and a file that claims more would
/// only have us take memory for it.
const RECORD_BYTES_MAX: usize = 16 << 20;

/// pcapng's number of the block that is called obsolete since 2004.
const OBSOLETE_PACKET_BLOCK: u32 = 2;

/// Why a capture cannot be read, or not to its end.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// Neither of the two formats.
    #[error("this is no capture: neither pcap nor pcapng begins like this")]
    NotACapture,
    /// Nothing at all.
    #[error("the capture is empty, without even the header of a file")]
    Empty,
    /// The file ends within a record.
    #[error("at byte {offset}: the capture ends within a record: it was cut off or is still being written")]
    CutOff {
        /// Where the record begins, after unpacking.
        offset: u64,
    },
    /// What stands there is no record.
    #[error("at byte {offset}: {what}: the capture is damaged from here on")]
    Damaged {
        /// Where the record begins, after unpacking.
        offset: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The file cannot be read.
    #[error("at byte {offset}: {source}")]
    Read {
        /// After unpacking.
        offset: u64,
        /// Why not.
        source: io::Error,
    },
}

/// One captured packet, as it lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where the record begins in the capture, after unpacking.
    pub offset: u64,
    /// What the bytes begin with: a number of the registry of link types.
    pub link_type: u32,
    /// What was captured.
    pub bytes: &'a [u8],
    /// How long the packet was; never less than what was captured.
    pub length_bytes: usize,
}

/// A capture that is being read.
pub struct Capture<'r> {
    reader: Box<dyn PcapReaderIterator + 'r>,
    interfaces: Interfaces,
    read: Rc<Tally>,
    unpacked: Rc<Tally>,
}

/// What the records refer to.
#[derive(Debug, Default)]
struct Interfaces {
    /// pcap has one; pcapng one for each interface description of the section.
    link_types: Vec<u32>,
    /// The most that was captured of a packet, by interface; 0: no limit.
    snap_lengths: Vec<u32>,
}

impl<'r> Capture<'r> {
    /// Opens a capture; reads no further than its first header.
    ///
    /// # Errors
    /// When it is none.
    pub fn open(source: impl Read + 'r) -> Result<Self, CaptureError> {
        let at_start = |source| CaptureError::Read { offset: 0, source };
        let (source, read) = Tallied::new(source);
        let (mut source, unpacked) = Tallied::new(input::unpacked(source).map_err(at_start)?);
        let head = head(&mut source).map_err(|_| {
            at_start(unpacked.take_error().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()))
        })?;
        let is_section = head.starts_with(&section::BLOCK_TYPE);
        let source = input::rewound(head, source);
        let opened = if is_section {
            PcapNGReader::new(BUFFER_BYTES, source)
                .map(|reader| Box::new(reader) as Box<dyn PcapReaderIterator>)
        } else {
            LegacyPcapReader::new(BUFFER_BYTES, source).map(|reader| Box::new(reader) as Box<_>)
        };
        let reader = opened.map_err(|error| match error {
            PcapError::HeaderNotRecognized => CaptureError::NotACapture,
            PcapError::Incomplete(_) if unpacked.bytes() == 0 => CaptureError::Empty,
            PcapError::Incomplete(_) => CaptureError::CutOff { offset: 0 },
            error => CaptureError::Damaged { offset: 0, what: words(&error) },
        })?;
        Ok(Self { reader, interfaces: Interfaces::default(), read, unpacked })
    }

    /// Bytes of the source that have been read, packed as they are.
    pub fn bytes_read(&self) -> u64 {
        self.read.bytes()
    }

    /// Hands the next record to `take`; `None` at the end.
    ///
    /// # Errors
    /// When the capture cannot be read on. What came before stands.
    pub fn next<T>(&mut self, mut take: impl FnMut(Record<'_>) -> T) -> Result<Option<T>, CaptureError> {
        loop {
            let offset = self.reader.consumed() as u64;
            let block = match self.reader.next() {
                Ok((bytes, block)) => Some((bytes, self.interfaces.visit(offset, &block, &mut take)?)),
                Err(PcapError::Incomplete(_) | PcapError::BufferTooSmall) => None,
                Err(PcapError::Eof) => return Ok(None),
                Err(PcapError::UnexpectedEof) => return Err(CaptureError::CutOff { offset }),
                Err(error) => return Err(CaptureError::Damaged { offset, what: words(&error) }),
            };
            let Some((bytes, taken)) = block else {
                self.read_on(offset)?;
                continue;
            };
            self.reader.consume(bytes);
            if taken.is_some() {
                return Ok(taken);
            }
        }
    }

    /// Reads more of the record that begins at `offset`.
    fn read_on(&mut self, offset: u64) -> Result<(), CaptureError> {
        let held = self.reader.data().len();
        let refilled = self.reader.refill().is_ok();
        if let Some(source) = self.unpacked.take_error() {
            return Err(CaptureError::Read { offset: self.unpacked.bytes(), source });
        }
        if refilled && (self.reader.data().len() > held || self.reader.reader_exhausted()) {
            return Ok(());
        }
        // The buffer is full, and the record still has no end.
        if held >= RECORD_BYTES_MAX || !self.reader.grow((held * 2).clamp(BUFFER_BYTES * 2, RECORD_BYTES_MAX))
        {
            let what = format!("a record of more than {} MiB", RECORD_BYTES_MAX >> 20);
            return Err(CaptureError::Damaged { offset, what });
        }
        Ok(())
    }
}

impl Interfaces {
    /// Notes what later records refer to; hands on what is a packet.
    fn visit<T>(
        &mut self,
        offset: u64,
        block: &PcapBlockOwned<'_>,
        take: &mut impl FnMut(Record<'_>) -> T,
    ) -> Result<Option<T>, CaptureError> {
        let damaged = |what: String| CaptureError::Damaged { offset, what };
        let (interface, bytes, length_bytes) = match block {
            PcapBlockOwned::LegacyHeader(header) => {
                self.link_types = vec![link_type(header)];
                return Ok(None);
            }
            PcapBlockOwned::Legacy(record) => (0, record.data, record.origlen as usize),
            PcapBlockOwned::NG(Block::SectionHeader(_)) => {
                *self = Self::default();
                return Ok(None);
            }
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                self.link_types.push(number(interface.linktype) & 0xffff);
                self.snap_lengths.push(interface.snaplen);
                return Ok(None);
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                let bytes = packet.data.get(..packet.caplen as usize);
                let bytes = bytes.ok_or_else(|| damaged("a packet longer than its block".to_owned()))?;
                (packet.if_id as usize, bytes, packet.origlen as usize)
            }
            PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                let length_bytes = packet.origlen as usize;
                let limit = match self.snap_lengths.first() {
                    None | Some(0) => length_bytes,
                    Some(&limit) => length_bytes.min(limit as usize),
                };
                (0, packet.data.get(..limit).unwrap_or(packet.data), length_bytes)
            }
            PcapBlockOwned::NG(Block::Unknown(block)) if block.block_type == OBSOLETE_PACKET_BLOCK => {
                return Err(damaged("a packet block of the obsolete kind, which is not read".to_owned()));
            }
            PcapBlockOwned::NG(_) => return Ok(None),
        };
        let link_type = self.link_types.get(interface);
        let link_type = link_type.ok_or_else(|| {
            damaged(format!("a packet of interface {interface}, which the capture does not describe"))
        })?;
        let length_bytes = length_bytes.max(bytes.len());
        Ok(Some(take(Record { offset, link_type: *link_type, bytes, length_bytes })))
    }
}

/// The link type of a pcap file: the low 16 bits, the others tell of a frame check sequence.
fn link_type(header: &PcapHeader) -> u32 {
    number(header.network) & 0xffff
}

fn number(Linktype(number): Linktype) -> u32 {
    number.cast_unsigned()
}

/// The first header of a capture, whole: the readers want it so.
fn head(source: &mut impl Read) -> io::Result<Vec<u8>> {
    /// pcap's file header; pcapng's section header up to its shortest end.
    const HEAD_BYTES: usize = 24;
    let mut head = input::read_up_to(source, HEAD_BYTES)?;
    if let Some(bytes) = section::bytes(&head).filter(|bytes| *bytes <= BUFFER_BYTES) {
        let rest = input::read_up_to(source, bytes.saturating_sub(head.len()))?;
        head.extend(rest);
    }
    Ok(head)
}

/// The section header block of pcapng, as far as it tells where it ends.
mod section {
    /// The same in both byte orders.
    pub(super) const BLOCK_TYPE: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
    const LITTLE_ENDIAN: [u8; 4] = [0x4d, 0x3c, 0x2b, 0x1a];
    const BIG_ENDIAN: [u8; 4] = [0x1a, 0x2b, 0x3c, 0x4d];

    /// Bytes of the block that `head` begins.
    pub(super) fn bytes(head: &[u8]) -> Option<usize> {
        let (block_type, rest) = head.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let order = rest.first_chunk::<4>()?;
        let bytes = match *order {
            LITTLE_ENDIAN => u32::from_le_bytes(*length),
            BIG_ENDIAN => u32::from_be_bytes(*length),
            _ => return None,
        };
        (*block_type == BLOCK_TYPE).then_some(bytes as usize)
    }
}

/// What a parser says, without the bytes at which it says it.
fn words<I>(error: &PcapError<I>) -> String {
    match error {
        PcapError::HeaderNotRecognized => "no header of a capture".to_owned(),
        PcapError::ReadError => "it cannot be read".to_owned(),
        PcapError::NomError(..) | PcapError::OwnedNomError(..) => "no record stands here".to_owned(),
        _ => "a record that ends too early".to_owned(),
    }
}
