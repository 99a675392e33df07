//! Finds a Rust compiler that builds for the kernel's BPF machine, without asking for a nightly one:
//! Debian ships a stable `rustc` with a core library for `bpfel-unknown-none`. What is there already
//! comes first, then Debian's packages, fetched below `target/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::packages::{self, Package};
use crate::process;

/// The BPF machine, little-endian like the hosts that we build for.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// Debian's names for a compiler and its core library for BPF: that which Debian keeps current in
/// stable releases (for web browsers), and the plain one of newer releases.
const DEBIAN: [[Package; 3]; 2] = [
    [
        Package::new("rustc-web", "Rust compiler for the datapath", &[]),
        Package::new("libstd-rust-web-dev-bpf", "Rust's core library for BPF", &[]),
        Package::new("rust-web-clippy", "Rust's linter for the datapath", &[]),
    ],
    [
        Package::new("rustc", "Rust compiler for the datapath", &[]),
        Package::new("libstd-rust-dev-bpf", "Rust's core library for BPF", &[]),
        Package::new("rust-clippy", "Rust's linter for the datapath", &[]),
    ],
];

/// A compiler that can build for [`TARGET`].
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    pub(crate) rustc: PathBuf,
    /// As the compiler itself gives it: `1.96.0`.
    pub(crate) version: String,
    /// The shared library of LLVM that the compiler itself uses: the linker must read what that wrote.
    pub(crate) llvm: PathBuf,
    pub(crate) llvm_major: u32,
    /// Whether the core library is there only as source.
    pub(crate) builds_core: bool,
}

impl Toolchain {
    /// The compiler's own clippy, where it has one.
    pub(crate) fn clippy_driver(&self) -> Option<PathBuf> {
        Some(self.rustc.with_file_name("clippy-driver")).filter(|path| path.is_file())
    }
}

/// The compiler to use; fetches one if this machine has none.
///
/// # Errors
/// Where none is found and none can be fetched: the text says what to do.
pub(crate) fn find() -> Result<Toolchain> {
    let fetched =
        DEBIAN.iter().filter(|set| packages::is_unpacked(*set)).filter_map(|set| from_packages(set).ok());
    if let Some(toolchain) = fetched.chain(installed()).next() {
        return Ok(toolchain);
    }
    let sets = DEBIAN.each_ref().map(<[Package; 3]>::as_slice);
    let Some(set) = packages::first_available(&sets) else {
        bail!(
            "no Rust compiler for BPF here: apt knows none, and none is installed. One of these helps:\n  \
             Debian 12 or later: the package sources of its security updates, which have rustc-web and \
             libstd-rust-web-dev-bpf\n  \
             elsewhere: rustup toolchain install nightly --component rust-src"
        );
    };
    eprintln!("fetching a Rust compiler for BPF, once (about 120 MB, kept in target/tools)");
    from_packages(set)
}

/// Debian's compiler, unpacked below `target/`.
fn from_packages(set: &[Package]) -> Result<Toolchain> {
    let root = packages::ensure(set)?;
    let rustc = root.find("rustc").context("the packages hold no rustc")?;
    examine(&rustc)?.with_context(|| format!("{} has no core library for {TARGET}", rustc.display()))
}

/// Compilers that this machine has: Debian's, whichever the PATH names, rustup's nightly one.
fn installed() -> impl Iterator<Item = Toolchain> {
    let nightly = Command::new("rustup").args(["which", "--toolchain", "nightly", "rustc"]).output();
    let nightly = nightly.ok().filter(|output| output.status.success());
    let nightly = nightly.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let paths = [Some(PathBuf::from("/usr/bin/rustc")), packages::on_path("rustc"), nightly];
    paths.into_iter().flatten().filter_map(|rustc| examine(&rustc).ok().flatten())
}

/// What a compiler can do; `None` if it cannot build for BPF.
fn examine(rustc: &Path) -> Result<Option<Toolchain>> {
    let sysroot = process::output(Command::new(rustc).args(["--print", "sysroot"]))?;
    let sysroot = Path::new(sysroot.trim());
    let verbose = process::output(Command::new(rustc).arg("-vV"))?;
    let field = |name: &str| verbose.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let version = field("release:").context("rustc tells no release")?;
    let has_core = has_core_library(&sysroot.join("lib/rustlib").join(TARGET).join("lib"));
    let has_source = sysroot.join("lib/rustlib/src/rust/library/core").is_dir();
    // Only a nightly release may be asked to build its own core library.
    if !(has_core || has_source && version.contains("nightly")) {
        return Ok(None);
    }
    let llvm_major = field("LLVM version:").and_then(|version| version.split('.').next()?.parse().ok());
    let llvm_major = llvm_major.context("rustc tells no LLVM version")?;
    let llvm = llvm_library(sysroot, llvm_major)?;
    Ok(Some(Toolchain {
        rustc: rustc.to_owned(),
        version: version.to_owned(),
        llvm,
        llvm_major,
        builds_core: !has_core,
    }))
}

fn has_core_library(folder: &Path) -> bool {
    names(folder)
        .iter()
        .any(|name| name.starts_with("libcore-") && Path::new(name).extension().is_some_and(|e| e == "rlib"))
}

/// The shared library of LLVM in or beside a sysroot. A system may have several: the major version
/// must be the compiler's.
fn llvm_library(sysroot: &Path, major: u32) -> Result<PathBuf> {
    let lib = sysroot.join("lib");
    let architectures =
        names(&lib).into_iter().filter(|name| name.contains("-linux-")).map(|name| lib.join(name));
    let folders: Vec<PathBuf> =
        architectures.chain([lib.clone(), PathBuf::from(format!("/usr/lib/llvm-{major}/lib"))]).collect();
    let wanted = major.to_string();
    let found = folders.iter().find_map(|folder| {
        let is_wanted = |name: &String| {
            name.starts_with("libLLVM")
                && name.contains(".so")
                && name.split(['.', '-']).any(|part| part == wanted)
        };
        names(folder).into_iter().find(is_wanted).map(|name| folder.join(name))
    });
    found.with_context(|| format!("no shared library of LLVM {major} at {}", sysroot.display()))
}

/// The file names in a folder, sorted; none if it cannot be read.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
