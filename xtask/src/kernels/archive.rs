//! The archive from which Linux unpacks its first file system (cpio, format `newc`: see
//! Documentation/driver-api/early-userspace/buffer-format.rst of Linux). Everything in it belongs to
//! root, whoever packed it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, Result};

/// Bits of `st_mode` that say what a file is.
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMBOLIC_LINK: u32 = 0o120_000;

/// Names and contents begin at multiples of so many bytes.
const ALIGNMENT_BYTES: usize = 4;

/// Packs all that lies below a folder.
///
/// # Errors
/// Where a file cannot be read or the archive not be written.
pub(super) fn pack(folder: &Path, archive: &Path) -> Result<()> {
    let file = File::create(archive).with_context(|| format!("cannot create {}", archive.display()))?;
    let mut writer = Writer { out: BufWriter::new(file), number: 0 };
    let written = walk(&mut writer, folder, folder).and_then(|()| writer.finish());
    written.with_context(|| format!("cannot pack {}", folder.display()))
}

/// Parents before what lies in them: Linux makes no folder that is not named.
fn walk(writer: &mut Writer<impl Write>, root: &Path, folder: &Path) -> io::Result<()> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        let name = path.strip_prefix(root).unwrap_or(&path).as_os_str().as_bytes();
        let data = fs::symlink_metadata(&path)?;
        let mode = data.permissions().mode() & 0o7777;
        if data.is_dir() {
            writer.entry(name, DIRECTORY | mode, &[])?;
            walk(writer, root, &path)?;
        } else if data.is_symlink() {
            writer.entry(name, SYMBOLIC_LINK | mode, fs::read_link(&path)?.as_os_str().as_bytes())?;
        } else {
            writer.entry(name, REGULAR | mode, &fs::read(&path)?)?;
        }
    }
    Ok(())
}

struct Writer<W: Write> {
    out: W,
    /// Of the entry: with the same number twice, the second would be a hard link to the first.
    number: usize,
}

impl<W: Write> Writer<W> {
    fn entry(&mut self, name: &[u8], mode: u32, content: &[u8]) -> io::Result<()> {
        self.number += 1;
        // The name ends with a zero, which is counted.
        let name_bytes = name.len() + 1;
        write!(self.out, "070701{:08X}{mode:08X}", self.number)?;
        // Owner and group, links, time.
        write!(self.out, "{:08X}{:08X}{:08X}{:08X}", 0, 0, 1, 0)?;
        write!(self.out, "{:08X}", content.len())?;
        // Device on which it lies, and that it is: two numbers each.
        write!(self.out, "{:08X}{:08X}{:08X}{:08X}", 0, 0, 0, 0)?;
        // No checksum in this format.
        write!(self.out, "{name_bytes:08X}{:08X}", 0)?;
        self.out.write_all(name)?;
        self.out.write_all(&[0])?;
        self.fill(HEADER_BYTES + name_bytes)?;
        self.out.write_all(content)?;
        self.fill(content.len())
    }

    fn finish(mut self) -> io::Result<()> {
        self.entry(b"TRAILER!!!", 0, &[])?;
        self.out.flush()
    }

    /// Zeros up to the next multiple.
    fn fill(&mut self, bytes: usize) -> io::Result<()> {
        let missing = bytes.next_multiple_of(ALIGNMENT_BYTES) - bytes;
        self.out.write_all(&[0; ALIGNMENT_BYTES][..missing])
    }
}

/// Six digits that name the format, and 13 numbers of eight.
const HEADER_BYTES: usize = 6 + 13 * 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_laid_out_as_linux_reads_it() {
        let mut bytes = Vec::new();
        let mut writer = Writer { out: &mut bytes, number: 0 };
        writer.entry(b"init", REGULAR | 0o755, b"hello").unwrap();
        writer.finish().unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert_eq!(&text[..54], "07070100000001000081ED00000000000000000000000100000000");
        assert_eq!(
            &text[54..HEADER_BYTES],
            "0000000500000000000000000000000000000000\
                                             0000000500000000"
        );
        // 110 + 5 bytes of header and name, then one of padding; 5 of content, then three.
        assert_eq!(&text[HEADER_BYTES..124], "init\0\0hello\0\0\0");
        assert_eq!(&text[124..130], "070701");
        assert!(text.contains("TRAILER!!!") && bytes.len().is_multiple_of(ALIGNMENT_BYTES));
    }
}
