//! Programs from Debian packages, unpacked below `target/` and run from there: nothing is installed
//! and no service is started on this machine. Owns `target/tools/packages`.
//!
//! ```text
//! ensure([nginx, …]) ─► apt (which packages are missing here) ─► download ─► unpack ─► launchers
//! ```
//!
//! A set of packages is one folder that appears whole or not at all (a rename), so an interrupted
//! run leaves nothing to repair, and a later run needs neither network nor time.

mod apt;
mod launcher;
mod release;

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace;

pub(crate) use release::{Newest, ensure_newest};

/// Where administration programs lie, which the PATH of an ordinary user does not name.
const SYSTEM_PATHS: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// A shell, a web server and all small tools in one program without libraries.
pub(crate) const BUSYBOX: Package =
    Package::alone("busybox-static", "a shell and small tools in one program", &["busybox"]);

/// A web client.
pub(crate) const CURL: Package = Package::new("curl", "a web client", &["curl"]);

/// A Debian package that something here needs, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Package {
    /// Debian's name.
    pub(crate) name: &'static str,
    /// What it is needed for, as the user reads it while it is fetched.
    pub(crate) purpose: &'static str,
    /// The programs of it that are used; what a system without apt must have on its PATH.
    pub(crate) programs: &'static [&'static str],
    /// Whether to fetch what the package depends on as well.
    dependencies: bool,
}

impl Package {
    /// A package with all that it depends on.
    pub(crate) const fn new(
        name: &'static str,
        purpose: &'static str,
        programs: &'static [&'static str],
    ) -> Self {
        Self { name, purpose, programs, dependencies: true }
    }

    /// A package without what it depends on, for one program of many that stands on its own.
    pub(crate) const fn alone(
        name: &'static str,
        purpose: &'static str,
        programs: &'static [&'static str],
    ) -> Self {
        Self { name, purpose, programs, dependencies: false }
    }

    /// Whether this machine has all programs of the package already.
    fn is_on_path(&self) -> bool {
        !self.programs.is_empty() && self.programs.iter().all(|program| on_path(program).is_some())
    }
}

/// A set of packages that is ready to run.
#[derive(Clone, Debug)]
pub(crate) struct PackageRoot {
    /// `None` where the machine itself has every program.
    directory: Option<PathBuf>,
}

impl PackageRoot {
    /// The absolute path by which `program` can be started with its libraries, or `None` if neither
    /// the packages nor the machine have it. For packages it is a launcher that sets the environment
    /// and becomes the program (the same process), so that it also works behind `ip netns exec`.
    pub(crate) fn find(&self, program: &str) -> Option<PathBuf> {
        let launcher =
            self.directory.as_ref().map(|directory| directory.join(launcher::FOLDER).join(program));
        launcher.filter(|path| path.is_file()).or_else(|| on_path(program))
    }

    /// The file of `program` itself, not its launcher.
    pub(crate) fn file(&self, program: &str) -> Option<PathBuf> {
        let folders = launcher::PROGRAM_FOLDERS.iter();
        let files = self.directory.iter().flat_map(|tree| folders.clone().map(|folder| tree.join(folder)));
        files
            .map(|folder| folder.join(program))
            .find(|file| launcher::is_executable(file))
            .or_else(|| on_path(program))
    }

    /// Where the packages are unpacked; `None` where the machine itself has every program.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// A command that starts `program`, from the packages or else from the machine.
    pub(crate) fn command(&self, program: &str) -> Command {
        Command::new(self.find(program).unwrap_or_else(|| PathBuf::from(program)))
    }

    /// A value for PATH with which a child finds every program of the packages.
    pub(crate) fn path_variable(&self) -> OsString {
        let launchers = self.directory.iter().map(|directory| directory.join(launcher::FOLDER));
        let own = env::var_os("PATH").unwrap_or_default();
        let folders = launchers.chain(env::split_paths(&own)).chain(SYSTEM_PATHS.map(PathBuf::from));
        env::join_paths(folders).unwrap_or(own)
    }
}

/// Makes all programs of `packages` available. A first call downloads what this machine lacks and
/// says so; later calls with the same packages are instant and need no network.
///
/// # Errors
/// Where a package can be neither found on this machine nor fetched; the text lists what is needed.
pub(crate) fn ensure(packages: &[Package]) -> Result<PackageRoot> {
    let directory = base().join(folder_name(packages));
    if !directory.is_dir() && !apt::is_present() {
        return from_machine(packages);
    }
    match unpacked(&directory, |downloads, tree| fill(packages, downloads, tree)) {
        Ok(()) => Ok(PackageRoot { directory: Some(directory) }),
        // Without network, a machine that has all of it can still go on.
        Err(error) => from_machine(packages).map_err(|needed| error.context(needed)),
    }
}

/// Sees to it that there is a folder of unpacked packages, whole: what `fill` puts into its second
/// folder (the first one is for downloads) becomes that folder.
fn unpacked(directory: &Path, fill: impl FnOnce(&Path, &Path) -> Result<()>) -> Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let base = base();
    fs::create_dir_all(&base).with_context(|| format!("cannot create {}", base.display()))?;
    let lock_path = base.join(".lock");
    let lock = File::create(&lock_path).with_context(|| format!("cannot create {}", lock_path.display()))?;
    lock.lock().with_context(|| format!("cannot lock {}", lock_path.display()))?;
    if directory.is_dir() {
        return Ok(());
    }
    // The lock is held: whatever lies here was left by a run that was interrupted.
    let unfinished = base.join(".unfinished");
    remove_if_there(&unfinished)?;
    let (downloads, tree) = (unfinished.join("downloads"), unfinished.join("root"));
    for folder in [&downloads, &tree] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    fill(&downloads, &tree)?;
    fs::rename(&tree, directory)
        .with_context(|| format!("cannot rename {} to {}", tree.display(), directory.display()))?;
    remove_if_there(&unfinished)
}

/// Whether [`ensure`] would return at once, from below `target/`.
pub(crate) fn is_unpacked(packages: &[Package]) -> bool {
    base().join(folder_name(packages)).is_dir()
}

/// The first of `sets` whose packages apt knows, so that [`ensure`] may be asked for it. Where the
/// machine's package lists name none of them, their sources are asked.
pub(crate) fn first_available<'a>(sets: &'a [&'a [Package]]) -> Option<&'a [Package]> {
    if !apt::is_present() {
        return None;
    }
    let known = |lists: &apt::Lists| {
        sets.iter().copied().find(|set| set.iter().all(|package| lists.knows(package.name)))
    };
    known(&apt::Lists::system()).or_else(|| known(&apt::Lists::fetch(&base()).ok()?))
}

/// Where all of them are unpacked, each set in a folder of its own.
pub(crate) fn base() -> PathBuf {
    workspace::tools().join("packages")
}

/// Downloads and unpacks, and writes the launchers.
fn fill(packages: &[Package], downloads: &Path, tree: &Path) -> Result<()> {
    for archive in &apt::download(packages, &base(), downloads)? {
        apt::unpack(archive, tree)?;
    }
    launcher::write_all(tree)
}

/// The programs of the machine itself, if it has all.
fn from_machine(packages: &[Package]) -> Result<PackageRoot> {
    let missing: Vec<&Package> = packages.iter().filter(|package| !package.is_on_path()).collect();
    if missing.is_empty() {
        return Ok(PackageRoot { directory: None });
    }
    let list: Vec<String> = missing
        .iter()
        .map(|package| format!("  {} ({}): {}", package.name, package.purpose, package.programs.join(", ")))
        .collect();
    bail!(
        "these Debian packages cannot be fetched here, and their programs are not on the PATH:\n{}\n\
         Install them by the means of this system and try again",
        list.join("\n")
    )
}

/// One folder for each distinct set; the order in which a caller names them does not matter.
fn folder_name(packages: &[Package]) -> String {
    let mut keys: Vec<(&str, bool)> =
        packages.iter().map(|package| (package.name, package.dependencies)).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut hasher = DefaultHasher::new();
    keys.hash(&mut hasher);
    format!("{}-{:016x}", keys.first().map_or("none", |key| key.0), hasher.finish())
}

/// Where the machine itself has `program`.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let own = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&own)
        .chain(SYSTEM_PATHS.map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|path| launcher::is_executable(path))
}

fn remove_if_there(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NGINX: Package = Package::new("nginx", "a web server", &["nginx"]);

    #[test]
    fn a_set_is_one_folder_in_any_order() {
        assert_eq!(folder_name(&[NGINX, CURL]), folder_name(&[CURL, NGINX, CURL]));
        assert_ne!(folder_name(&[NGINX]), folder_name(&[NGINX, CURL]));
        let alone = Package::alone("nginx", "a web server", &["nginx"]);
        assert_ne!(folder_name(&[NGINX]), folder_name(&[alone]));
    }

    #[test]
    fn a_machine_without_the_program_is_told_what_is_needed() {
        let package = Package::new("no-such", "a test", &["no-such-program"]);
        let shell = Package::new("dash", "a shell", &["sh"]);
        assert!(from_machine(&[shell]).unwrap().directory.is_none());
        let text = from_machine(&[shell, package]).unwrap_err().to_string();
        assert!(text.contains("no-such (a test): no-such-program"), "{text}");
        assert!(!text.contains("dash"), "{text}");
    }
}
