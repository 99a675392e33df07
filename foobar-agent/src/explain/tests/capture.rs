//! Captures of every kind, whole and hostile.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use crate::explain::capture::{Capture, CaptureError};

/// Byte order of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u32(self, value: u32) -> [u8; 4] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }

    fn u16(self, value: u16) -> [u8; 2] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }
}

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;

fn pcap(order: Order, magic: u32, link_type: u32, records: &[(&[u8], u32)]) -> Vec<u8> {
    let mut file = order.u32(magic).to_vec();
    file.extend([order.u16(2), order.u16(4)].concat());
    file.extend([0, 0, 262_144, link_type].map(|word| order.u32(word)).concat());
    for (bytes, length) in records {
        let held = u32::try_from(bytes.len()).unwrap();
        file.extend([1, 2, held, *length].map(|word| order.u32(word)).concat());
        file.extend(*bytes);
    }
    file
}

fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let length = order.u32(u32::try_from(padded + 12).unwrap());
    let padding = vec![0; padded - body.len()];
    [&order.u32(kind), &length, body, &padding, &length].concat()
}

fn section(order: Order) -> Vec<u8> {
    block(
        order,
        0x0a0d_0d0a,
        &[&order.u32(0x1a2b_3c4d)[..], &order.u16(1), &order.u16(0), &[0xff; 8]].concat(),
    )
}

fn interface(order: Order, link_type: u16, snap_length: u32) -> Vec<u8> {
    block(order, 1, &[&order.u16(link_type)[..], &[0, 0], &order.u32(snap_length)].concat())
}

fn enhanced(order: Order, interface: u32, bytes: &[u8], length: u32) -> Vec<u8> {
    let held = u32::try_from(bytes.len()).unwrap();
    block(order, 6, &[&[interface, 0, 0, held, length].map(|word| order.u32(word)).concat(), bytes].concat())
}

fn simple(order: Order, bytes: &[u8], length: u32) -> Vec<u8> {
    block(order, 3, &[&order.u32(length), bytes].concat())
}

/// Offset, link type, bytes, length.
type Read1 = (u64, u32, Vec<u8>, usize);

fn read(source: impl Read) -> (Vec<Read1>, Option<CaptureError>) {
    let mut records = Vec::new();
    let mut capture = match Capture::open(source) {
        Ok(capture) => capture,
        Err(error) => return (records, Some(error)),
    };
    loop {
        match capture
            .next(|record| (record.offset, record.link_type, record.bytes.to_vec(), record.length_bytes))
        {
            Ok(Some(record)) => records.push(record),
            Ok(None) => return (records, None),
            Err(error) => return (records, Some(error)),
        }
    }
}

fn read_whole(source: &[u8]) -> Vec<Read1> {
    let (records, error) = read(source);
    assert!(error.is_none(), "{error:?}");
    records
}

#[test]
fn pcap_in_both_orders_and_resolutions() {
    for order in [Order::Little, Order::Big] {
        for magic in [MICROSECONDS, NANOSECONDS] {
            let file = pcap(order, magic, 1, &[(b"first", 5), (b"second", 1500)]);
            let expected = [(24, 1, b"first".to_vec(), 5), (45, 1, b"second".to_vec(), 1500)];
            assert_eq!(read_whole(&file), expected, "{order:?} {magic:x}");
        }
    }
}

#[test]
fn the_link_type_is_without_what_is_said_of_check_sequences() {
    let file = pcap(Order::Little, MICROSECONDS, 0x4400_0001, &[(b"x", 1)]);
    assert_eq!(read_whole(&file)[0].1, 1);
}

#[test]
fn pcapng_with_several_sections_interfaces_and_kinds_of_blocks() {
    let (little, big) = (Order::Little, Order::Big);
    let file = [
        section(little),
        interface(little, 1, 0),
        interface(little, 101, 0),
        enhanced(little, 1, b"raw", 9),
        block(little, 0x0bad, b"a kind that nobody knows"),
        enhanced(little, 0, b"ethernet", 8),
        section(big),
        interface(big, 113, 3),
        simple(big, b"coo", 90),
        enhanced(big, 0, b"cooked", 6),
    ]
    .concat();
    let read: Vec<_> =
        read_whole(&file).into_iter().map(|(_, link, bytes, length)| (link, bytes, length)).collect();
    let expected = [
        (101, b"raw".to_vec(), 9),
        (1, b"ethernet".to_vec(), 8),
        (113, b"coo".to_vec(), 90),
        (113, b"cooked".to_vec(), 6),
    ];
    assert_eq!(read, expected);
}

#[test]
fn packed_captures_are_unpacked() {
    let file = pcap(Order::Little, MICROSECONDS, 1, &[(&[7; 5000], 5000)]);
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&file).unwrap();
    let packed = packed.finish().unwrap();
    assert_eq!(read_whole(&packed), read_whole(&file));

    let (records, error) = read(&packed[..packed.len() - 9]);
    assert!(matches!(error, Some(CaptureError::Read { .. })), "{records:?} {error:?}");
}

/// A source that gives little at a time, as a pipe does.
struct Drip<'a>(&'a [u8]);

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = buffer.len().min(3);
        self.0.read(&mut buffer[..bytes])
    }
}

#[test]
fn a_pipe_may_give_little_at_a_time() {
    let little = Order::Little;
    let ng = [section(little), interface(little, 1, 0), enhanced(little, 0, &[1; 300], 300)].concat();
    for file in [pcap(little, MICROSECONDS, 1, &[(&[7; 500], 500)]), ng] {
        let (records, error) = read(Drip(&file));
        assert!(error.is_none(), "{error:?}");
        assert_eq!(records, read_whole(&file));
    }
}

#[test]
fn records_larger_than_the_buffer_are_read() {
    let file = pcap(Order::Little, MICROSECONDS, 1, &[(&vec![7; 3 << 20], 3 << 20), (b"next", 4)]);
    let records = read_whole(&file);
    assert_eq!((records[0].2.len(), records[1].2.as_slice()), (3 << 20, &b"next"[..]));
}

#[test]
fn a_length_that_nobody_captures_costs_no_memory() {
    let mut file = pcap(Order::Little, MICROSECONDS, 1, &[(b"good", 4)]);
    let offset = file.len() as u64;
    file.extend([1, 2, u32::MAX, u32::MAX].map(u32::to_le_bytes).concat());
    let (records, error) = read(file.chain(io::repeat(0)));
    assert_eq!(records.len(), 1);
    assert!(matches!(error, Some(CaptureError::Damaged { offset: at, .. }) if at == offset), "{error:?}");
}

#[test]
fn what_is_wrong_is_said_with_its_offset() {
    let little = Order::Little;
    let head = [section(little), interface(little, 1, 0)].concat();
    let at = head.len() as u64;
    let good = enhanced(little, 0, b"good", 4);
    let unknown_interface = [head.clone(), good.clone(), enhanced(little, 7, b"bad", 3)].concat();
    let (records, error) = read(unknown_interface.as_slice());
    assert_eq!(records.len(), 1);
    let text = error.unwrap().to_string();
    assert!(
        text.contains(&format!("byte {}", at + good.len() as u64)) && text.contains("interface 7"),
        "{text}"
    );

    let obsolete = [head, block(little, 2, &[0; 24])].concat();
    let (_, error) = read(obsolete.as_slice());
    assert!(error.unwrap().to_string().contains(&format!("byte {at}: a packet block of the obsolete kind")));

    assert!(matches!(read(&b"#!/bin/sh\necho no capture here\n"[..]).1, Some(CaptureError::NotACapture)));
    assert!(matches!(read(&b""[..]).1, Some(CaptureError::Empty)));
    assert!(read(&section(little)[..9]).1.is_some());
}

#[test]
fn a_capture_cut_anywhere_gives_what_was_before() {
    let little = Order::Little;
    let ng = [
        section(little),
        interface(little, 1, 0),
        enhanced(little, 0, b"first", 5),
        enhanced(little, 0, b"second", 6),
    ];
    for file in [pcap(little, MICROSECONDS, 1, &[(b"first", 5), (b"second", 6)]), ng.concat()] {
        let whole = read_whole(&file);
        // What ends with a record is a whole capture; the file itself ends with the second one.
        let second = usize::try_from(whole[1].0).unwrap();
        for end in 0..file.len() {
            let (records, error) = read(&file[..end]);
            assert_eq!(records, whole[..usize::from(end >= second)], "{end}");
            let ends_between = end >= 24 && error.is_none();
            assert!(error.is_some() || ends_between, "{end}");
            if let Some(CaptureError::CutOff { offset }) = error {
                assert!(offset <= end as u64, "{offset} {end}");
            }
        }
    }
}

proptest! {
    #[test]
    fn no_file_panics_or_never_ends(
        ng in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        noise in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let little = Order::Little;
        let mut file = if ng {
            [section(little), interface(little, 1, 0), enhanced(little, 0, &[5; 60], 60), simple(little, &[6; 30], 30)].concat()
        } else {
            pcap(little, MICROSECONDS, 1, &[(&[5; 60], 60), (&[6; 30], 30)])
        };
        for (index, value) in changes {
            let index = index.index(file.len());
            file[index] = value;
        }
        file.extend(noise);
        let (records, _) = read(file.as_slice());
        for (offset, _, bytes, length) in records {
            prop_assert!(bytes.len() <= length && offset < file.len() as u64);
        }
    }
}
