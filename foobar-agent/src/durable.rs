//! Files that must last: written whole or not at all. Knows nothing of what they hold.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What everybody may read.
const PUBLIC: u32 = 0o644;
/// What is as secret as what it was made of.
const PRIVATE: u32 = 0o600;

/// Replaces a file's content; a crash at any moment leaves the old one or the new one.
///
/// # Errors
/// When the folder cannot be written; the old content stays then.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    write(path, content, PUBLIC)
}

/// As [`replace`], for nobody else to read.
///
/// # Errors
/// As there.
pub(crate) fn replace_private(path: &Path, content: &[u8]) -> io::Result<()> {
    write(path, content, PRIVATE)
}

fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let next = path.with_extension("next");
    // What a crash has left, or a link that somebody has put there: never written through.
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&next)?;
    file.write_all(content)?;
    // The name must never lead to a file whose bytes are not there yet.
    file.sync_all()?;
    fs::rename(next, path)
}
