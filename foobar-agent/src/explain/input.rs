//! Where a capture's bytes come from: a file or standard input, packed or not, with a count of what
//! has been read, for the progress, and with the error that a parser above would swallow.

use std::cell::{Cell, RefCell};
use std::io::{self, Cursor, Read};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;

/// First bytes of a gzip member (RFC 1952, section 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Counts bytes and keeps the error that ended the reading.
#[derive(Debug, Default)]
pub(super) struct Tally {
    bytes: Cell<u64>,
    error: RefCell<Option<io::Error>>,
}

impl Tally {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    pub(super) fn take_error(&self) -> Option<io::Error> {
        self.error.borrow_mut().take()
    }
}

/// What is read, with its tally.
pub(super) struct Tallied<R> {
    inner: R,
    tally: Rc<Tally>,
}

impl<R> Tallied<R> {
    pub(super) fn new(inner: R) -> (Self, Rc<Tally>) {
        let tally = Rc::new(Tally::default());
        (Self { inner, tally: Rc::clone(&tally) }, tally)
    }
}

impl<R: Read> Read for Tallied<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = loop {
            match self.inner.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(bytes) => {
                self.tally.bytes.set(self.tally.bytes.get() + bytes as u64);
                Ok(bytes)
            }
            Err(error) => {
                let kind = error.kind();
                self.tally.error.replace(Some(error));
                Err(kind.into())
            }
        }
    }
}

/// What was read already, before all the rest.
pub(super) fn rewound<'a>(head: Vec<u8>, rest: impl Read + 'a) -> Box<dyn Read + 'a> {
    Box::new(Cursor::new(head).chain(rest))
}

/// As many bytes as asked for, fewer only at the end.
pub(super) fn read_up_to(source: &mut impl Read, bytes: usize) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(bytes);
    source.take(bytes as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// The source itself, or what is packed in it.
pub(super) fn unpacked<'a>(mut source: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let head = read_up_to(&mut source, GZIP.len())?;
    let is_packed = head == GZIP;
    let source = rewound(head, source);
    Ok(if is_packed { Box::new(MultiGzDecoder::new(source)) } else { source })
}
