//! Where things lie: the workspace, its `target` folder and what xtask keeps in it. Owns no file.

use std::path::{Path, PathBuf};

/// The folder of the workspace's `Cargo.toml`. xtask always runs from a checkout, so the place
/// where it was compiled is the place to work on.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."))
}

/// The workspace's own `target`, also where `CARGO_TARGET_DIR` points elsewhere: the build script
/// of `foobar-agent` looks for the datapath below it.
pub(crate) fn target() -> PathBuf {
    root().join("target")
}

/// Compilers, linkers and Debian packages that xtask fetched; nothing outside is ever written.
pub(crate) fn tools() -> PathBuf {
    target().join("tools")
}
