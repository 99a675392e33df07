//! Packages of another release of Debian than the machine's: from the same mirror, with package lists
//! of their own, unpacked like all others.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{apt, base, unpacked};

/// The newest package of those whose name has a given beginning and end, such as a kernel's, which
/// names its version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newest {
    /// Debian's name of the release: `bookworm`, `trixie`.
    pub(crate) release: &'static str,
    /// How the package's name begins.
    pub(crate) prefix: &'static str,
    /// How it ends.
    pub(crate) suffix: &'static str,
    /// What it is needed for, as the user reads it while it is fetched.
    pub(crate) purpose: &'static str,
}

/// The folder into which the package is unpacked, alone; fetched where it is not there yet.
///
/// # Errors
/// Where there is no apt, no mirror, or no such package.
pub(crate) fn ensure_newest(wanted: &Newest) -> Result<PathBuf> {
    let Newest { release, prefix, suffix, purpose } = wanted;
    let directory = base().join(format!("{prefix}x{suffix}-{release}"));
    if !directory.is_dir() && !apt::is_present() {
        bail!("{prefix}*{suffix} ({purpose}) is fetched by apt, which this system lacks");
    }
    unpacked(&directory, |downloads, tree| {
        let lists = apt::Lists::of_release(&base(), release)?;
        let names = lists.names(prefix)?;
        let newest = newest(&names, suffix).with_context(|| {
            format!("Debian's {release} has no package {prefix}*{suffix} ({purpose}), as apt knows it")
        })?;
        eprintln!("  fetching {newest} ({purpose})");
        apt::unpack(&lists.download(newest, downloads)?, tree)
    })?;
    Ok(directory)
}

fn newest<'a>(names: &'a [String], suffix: &str) -> Option<&'a str> {
    // `…-cloud-amd64-dbg` and `…-cloud-amd64-unsigned` end otherwise.
    let fitting = names.iter().filter_map(|name| Some((numbers(name.strip_suffix(suffix)?), name.as_str())));
    fitting.max().map(|(_, name)| name)
}

/// The numbers in a name, in their order: what makes one newer than another.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// The sources of one release, as apt's `sources.list` has them.
pub(super) fn source(mirror: &str, release: &str, keyring: Option<&Path>) -> String {
    let signed = keyring.map(|path| format!("[signed-by={}] ", path.display())).unwrap_or_default();
    format!("deb {signed}{mirror} {release} main\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_that_of_the_highest_numbers() {
        let names = [
            "linux-image-6.12.9+deb13-cloud-amd64",
            "linux-image-6.12.107+deb13-cloud-amd64",
            "linux-image-6.12.107+deb13.1-cloud-amd64",
            "linux-image-6.12.117+deb13-cloud-amd64-dbg",
        ]
        .map(str::to_owned);
        assert_eq!(newest(&names, "-cloud-amd64"), Some("linux-image-6.12.107+deb13.1-cloud-amd64"));
        assert_eq!(newest(&names, "-arm64"), None);
    }
}
