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
    let mut file = File::create(&next)?;
    file.write_all(content)?;
    // The name must never lead to a file whose bytes are not there yet.
    file.sync_all()?;
    fs::rename(next, path)
}
