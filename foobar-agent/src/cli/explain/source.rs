//! The frames of a capture, one after the other, from a file or from standard input.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::anyhow;

use super::progress::Progress;
use crate::cli::Failure;
use crate::explain::capture::Capture;
use crate::explain::{Frame, link};

/// In the place of a file: standard input.
pub(in crate::cli) const STDIN: &str = "-";

/// Hands every frame that can be read to `take`, also where a later one cannot be. `prints_packets`: what
/// is written to standard output shows how far it is.
pub(in crate::cli) fn for_each_frame(
    file: &Path,
    prints_packets: bool,
    mut take: impl FnMut(&Frame) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let wrong = |error: anyhow::Error| Failure::Configuration(anyhow!("{}: error: {error}", file.display()));
    let (source, total_bytes): (Box<dyn Read>, _) = if file == Path::new(STDIN) {
        (Box::new(io::stdin()), None)
    } else {
        let opened = File::open(file).map_err(|error| wrong(anyhow!("cannot open the capture: {error}")))?;
        let total_bytes = opened.metadata().ok().map(|metadata| metadata.len());
        (Box::new(opened), total_bytes)
    };
    let mut progress = Progress::new(total_bytes, prints_packets);
    let mut capture = Capture::open(source).map_err(|error| wrong(error.into()))?;
    let mut frame = Frame::default();
    for packets in 1.. {
        match capture.next(|record| link::to_ethernet(&record, &mut frame)) {
            Ok(None) => break,
            Ok(Some(Ok(()))) => take(&frame)?,
            Ok(Some(Err(error))) => return Err(wrong(error.into()).into()),
            Err(error) => return Err(wrong(error.into()).into()),
        }
        progress.tick(packets, capture.bytes_read());
    }
    Ok(())
}
