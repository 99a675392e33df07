//! Files that must last: written whole or not at all. Knows nothing of what they hold.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Replaces a file's content; a crash at any moment leaves the old one or the new one.
///
/// # Errors
/// When the folder cannot be written; the old content stays then.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let next = path.with_extension("next");
    // What a crash has left, or a link that somebody has put there: never written through.
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::create_new(&next)?;
    file.write_all(content)?;
    // The name must never lead to a file whose bytes are not there yet.
    file.sync_all()?;
    fs::rename(next, path)
}
