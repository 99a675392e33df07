//! The text of the configuration file and positions in it. Every position costs the same to
//! find, however long a line is: a generated file may be one line.

use std::cell::{OnceCell, RefCell};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::diagnostics::{Diagnostic, Excerpt, Severity};
use super::host_names::HostNames;

/// Bytes of the source.
pub(super) type Span = Range<usize>;

/// Characters are counted ahead at multiples of this many bytes.
const BLOCK_BYTES: usize = 4096;

/// A configuration file in memory.
pub(super) struct Source {
    path: PathBuf,
    folder: PathBuf,
    text: String,
    line_starts: Vec<u32>,
    /// Characters before each block.
    block_chars: OnceCell<Vec<u32>>,
    host_names: HostNames,
    /// Files that the text names.
    files: RefCell<Vec<PathBuf>>,
}

impl Source {
    /// `folder` is what relative paths in the text are relative to.
    pub(super) fn new(path: PathBuf, folder: PathBuf, text: String, host_names: HostNames) -> Self {
        let line_feeds = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n');
        let line_starts =
            std::iter::once(0).chain(line_feeds.map(|(at, _)| saturating_u32(at + 1))).collect();
        let (block_chars, files) = (OnceCell::new(), RefCell::default());
        Self { path, folder, text, line_starts, block_chars, host_names, files }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// A path that the file names, absolute.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// A file that the text names, absolute.
    pub(super) fn file(&self, path: &str) -> PathBuf {
        let path = self.resolve(path);
        self.files.borrow_mut().push(path.clone());
        path
    }

    /// All that it names.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.files.borrow().clone()
    }

    /// Names of services and protocols that this host knows besides the usual ones.
    pub(super) fn host_names(&self) -> &HostNames {
        &self.host_names
    }

    /// The line of a byte, from 1.
    pub(super) fn line_of(&self, offset: usize) -> u32 {
        saturating_u32(self.line_starts.partition_point(|&start| start as usize <= offset))
    }

    pub(super) fn diagnostic(
        &self,
        severity: Severity,
        span: &Span,
        message: String,
        hint: Option<String>,
    ) -> Diagnostic {
        let line = self.line_of(span.start);
        let start = self.line_start(line);
        let text = self.text.get(start..self.line_end(line)).unwrap_or_default();
        let text = text.strip_suffix('\r').unwrap_or(text);
        let within = |offset: usize| self.chars_before(offset.clamp(start, start + text.len()));
        let (first, until) = (within(span.start), within(span.end));
        Diagnostic {
            severity,
            file: self.path.clone(),
            line,
            column: first - self.chars_before(start) + 1,
            message,
            hint,
            excerpt: Excerpt::new(text, until.saturating_sub(first)),
        }
    }

    /// A diagnostic of the file as a whole.
    pub(super) fn of_the_whole(&self, severity: Severity, message: String, hint: &str) -> Diagnostic {
        whole(&self.path, severity, message, hint)
    }

    fn line_start(&self, line: u32) -> usize {
        self.line_starts.get((line as usize).saturating_sub(1)).map_or(0, |&start| start as usize)
    }

    /// Where the line's own text ends, before its line feed.
    fn line_end(&self, line: u32) -> usize {
        self.line_starts.get(line as usize).map_or(self.text.len(), |&next| next as usize - 1)
    }

    fn chars_before(&self, offset: usize) -> u32 {
        let blocks = self.block_chars.get_or_init(|| {
            let mut before = 0;
            let mut begin = |block: &[u8]| {
                let here = before;
                before += count_chars(block);
                here
            };
            // The last block may be empty: an offset at the very end lies in it.
            let mut blocks: Vec<u32> = self.text.as_bytes().chunks(BLOCK_BYTES).map(&mut begin).collect();
            blocks.push(begin(&[]));
            blocks
        });
        let block = offset / BLOCK_BYTES;
        let rest = self.text.as_bytes().get(block * BLOCK_BYTES..offset).unwrap_or_default();
        blocks.get(block).copied().unwrap_or_default() + count_chars(rest)
    }
}

/// Characters that begin in these bytes of UTF-8.
fn count_chars(bytes: &[u8]) -> u32 {
    saturating_u32(bytes.iter().filter(|&&byte| byte & 0xc0 != 0x80).count())
}

/// A diagnostic of a file as a whole.
pub(super) fn whole(path: &Path, severity: Severity, message: String, hint: impl Into<String>) -> Diagnostic {
    Diagnostic {
        severity,
        file: path.to_owned(),
        line: 0,
        column: 0,
        message,
        hint: Some(hint.into()),
        excerpt: None,
    }
}

/// A count for people; beyond 4 thousand million they do not count along.
pub(super) fn saturating_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
