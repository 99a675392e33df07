//! Captures: any bytes are read to an end or an error, in order and in bounded memory, and every frame is
//! one that the parser takes.

use foobar_agent::explain::capture::Capture;
use foobar_agent::explain::{Frame, link};
use foobar_ebpf::packet::{self, Scratch};

const BYTES_MAX: usize = 64 * 1024;

/// The content of a capture.
///
/// # Panics
/// If what may never happen does.
pub fn capture(content: &[u8]) {
    if content.len() > BYTES_MAX {
        return;
    }
    let Ok(mut capture) = Capture::open(content) else { return };
    let (mut frame, mut next_offset) = (Frame::default(), 0);
    let mut scratch = Scratch::EMPTY;
    loop {
        let taken = capture.next(|record| {
            assert!(record.offset >= next_offset, "a record at {} follows one behind it", record.offset);
            assert!(record.bytes.len() <= record.length_bytes, "more was captured than there was");
            next_offset = record.offset + record.bytes.len() as u64;
            link::to_ethernet(&record, &mut frame)
        });
        match taken {
            Ok(Some(Ok(()))) => {
                assert!(frame.bytes.len() <= frame.length_bytes, "{frame:?} is longer than it was");
                packet::parse(frame.bytes.as_slice(), &mut scratch);
            }
            Ok(Some(Err(_))) => {}
            Ok(None) | Err(_) => break,
        }
    }
    assert!(capture.bytes_read() <= content.len() as u64, "more was read than there is");
}
