//! What holds for every frame: the parser never panics, a cut frame is never another packet, and both
//! readers see the same.

use foobar_ebpf::packet::reader::{AddressReader, PacketReader};
use foobar_ebpf::packet::{Packet, Parsed, Scratch, Status, TransportKind, parse};
use foobar_ebpf::service::begins_http_request;
use proptest::prelude::*;

fn parsed<R: PacketReader + ?Sized>(reader: &R) -> Parsed {
    let mut scratch = Scratch::EMPTY;
    *parse(reader, &mut scratch)
}

/// As the kernel reads: between two addresses. `visible` of the bytes can be reached, as where a frame
/// lies in several buffers.
fn parsed_between_addresses(frame: &[u8], visible: usize) -> Parsed {
    let start = frame.as_ptr() as usize;
    // SAFETY: the frame outlives the reader, and `visible` bytes of it are at most all.
    parsed(&unsafe { AddressReader::new(start, start + visible.min(frame.len()), frame.len()) })
}

/// Next headers that lead on, and those that end.
fn next_header() -> impl Strategy<Value = u8> {
    prop_oneof![
        8 => prop::sample::select(vec![0u8, 1, 6, 17, 33, 43, 44, 50, 51, 58, 59, 60, 132, 135, 136, 139, 140]),
        1 => any::<u8>(),
    ]
}

/// Bytes that look like a chain of headers: each begins with a next header and a small length.
fn chain() -> impl Strategy<Value = Vec<u8>> {
    let header =
        (next_header(), prop_oneof![3 => Just(0u8), 1 => 0u8..4, 1 => any::<u8>()], any::<[u8; 6]>())
            .prop_map(|(next, length, rest)| [&[next, length][..], &rest].concat());
    (prop::collection::vec(header, 0..10), prop::collection::vec(any::<u8>(), 0..80))
        .prop_map(|(headers, payload)| [headers.concat(), payload].concat())
}

fn ipv4() -> impl Strategy<Value = Vec<u8>> {
    let fields = (0x44u8..=0x4f, next_header(), any::<[u8; 8]>(), -3i32..3);
    let fragment =
        prop_oneof![4 => Just(0x4000u16), 1 => any::<u16>(), 1 => Just(0x2000u16), 1 => Just(1u16)];
    (fields, fragment, chain()).prop_map(|((version_ihl, protocol, addresses, off), fragment, chain)| {
        let length = u16::try_from((20 + i32::try_from(chain.len()).unwrap_or(0) + off).max(0)).unwrap_or(0);
        let mut bytes = vec![version_ihl, 0];
        bytes.extend(length.to_be_bytes());
        bytes.extend([0, 1]);
        bytes.extend(fragment.to_be_bytes());
        bytes.extend([64, protocol, 0, 0]);
        bytes.extend(addresses);
        bytes.extend(chain);
        bytes
    })
}

fn ipv6() -> impl Strategy<Value = Vec<u8>> {
    (next_header(), any::<u8>(), any::<[u8; 32]>(), -3i32..3, chain()).prop_map(
        |(next, hop_limit, addresses, off, chain)| {
            let length = u16::try_from((i32::try_from(chain.len()).unwrap_or(0) + off).max(0)).unwrap_or(0);
            let mut bytes = vec![0x60, 0, 0, 0];
            bytes.extend(length.to_be_bytes());
            bytes.extend([next, hop_limit]);
            bytes.extend(addresses);
            bytes.extend(chain);
            bytes
        },
    )
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    let tags = prop::collection::vec(prop::sample::select(vec![0x8100u16, 0x88a8, 0x9100]), 0..4);
    let packet = prop_oneof![
        4 => ipv4().prop_map(|packet| (0x0800u16, packet)),
        4 => ipv6().prop_map(|packet| (0x86dd, packet)),
        1 => (any::<u16>(), prop::collection::vec(any::<u8>(), 0..120)),
    ];
    (any::<[u8; 12]>(), tags, packet, prop::collection::vec(any::<u8>(), 0..8)).prop_map(
        |(stations, tags, (ethertype, packet), padding)| {
            let mut bytes = stations.to_vec();
            for tag in tags {
                bytes.extend(tag.to_be_bytes());
                bytes.extend([0, 7]);
            }
            bytes.extend(ethertype.to_be_bytes());
            bytes.extend(packet);
            bytes.extend(padding);
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn any_bytes_are_parsed_and_both_readers_agree(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(parsed(&bytes[..]), parsed_between_addresses(&bytes, bytes.len()));
    }

    #[test]
    fn any_frame_is_parsed_and_both_readers_agree(frame in frame()) {
        let whole = parsed(&frame[..]);
        prop_assert_eq!(whole, parsed_between_addresses(&frame, frame.len()));
        if whole.status == Status::Packet {
            // Whatever it is, recognising messages in it reads no further than it reaches.
            begins_http_request(&frame[..], &whole.packet.transport);
            if whole.packet.transport.kind == TransportKind::Tcp {
                let transport = whole.packet.transport;
                let end = usize::from(transport.payload_offset) + usize::from(transport.payload_bytes);
                prop_assert!(end <= frame.len());
            }
            prop_assert!(!whole.packet.later_fragment || whole.packet.transport.kind == TransportKind::Opaque);
        } else {
            prop_assert_eq!(whole.packet, Packet::NONE);
        }
    }

    /// What is left of a cut frame is malformed, or what the whole one was.
    #[test]
    fn a_cut_frame_is_never_another_packet(frame in frame()) {
        let whole = parsed(&frame[..]);
        for bytes in 0..frame.len() {
            let short = parsed(&frame[..bytes]);
            prop_assert!(
                matches!(short.status, Status::Malformed(_)) || short == whole,
                "{} bytes: {:?}, whole: {:?}", bytes, short, whole
            );
        }
    }

    /// So it is with a frame whose end lies in a buffer that cannot be read.
    #[test]
    fn what_cannot_be_read_is_never_another_packet(frame in frame()) {
        let whole = parsed(&frame[..]);
        for visible in 0..frame.len() {
            let mut seen = parsed_between_addresses(&frame, visible);
            // A quote that cannot be read is none: the error is judged by the rules then.
            if !seen.packet.transport.quotes_destination {
                seen.packet.transport.quotes_destination = whole.packet.transport.quotes_destination;
            }
            prop_assert!(
                matches!(seen.status, Status::Malformed(_)) || seen == whole,
                "{} visible: {:?}, whole: {:?}", visible, seen, whole
            );
        }
    }
}
