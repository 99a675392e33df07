//! Tells the compiler where the datapath lies that the agent embeds. Never builds it: that takes a
//! compiler for BPF, which `cargo xtask build-ebpf` finds or fetches.
//!
//! `FOOBAR_BPF_OBJECT` is exported to the crate as the absolute path of the object; if a variable of that
//! name is set for the build, it names another object.

use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{env, fs, io};

const VARIABLE: &str = "FOOBAR_BPF_OBJECT";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let object = match env::var_os(VARIABLE) {
        Some(path) => PathBuf::from(path).canonicalize()?,
        None => workspace_object(&workspace())?,
    };
    println!("cargo::rerun-if-changed={}", object.display());
    println!("cargo::rustc-env={VARIABLE}={}", object.display());
    if fs::metadata(&object)?.len() == 0 {
        println!(
            "cargo::warning=the agent is built without its datapath: run `cargo xtask build-ebpf` first"
        );
    }
    Ok(())
}

fn workspace() -> PathBuf {
    let member = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    member.parent().map(Path::to_owned).unwrap_or_default()
}

/// What `cargo xtask build-ebpf` writes. If it is not there, an empty file takes its place: cargo would
/// build the crate anew each time for the sake of a file that is missing.
fn workspace_object(workspace: &Path) -> io::Result<PathBuf> {
    let folder = workspace.join("target/bpf");
    let object = folder.join("foobar.bpf.o");
    fs::create_dir_all(&folder)?;
    match fs::File::create_new(&object) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => warn_if_stale(workspace, &folder)?,
        result => drop(result?),
    }
    Ok(object)
}

/// Warns where the datapath was compiled before its source was last changed. The time is that of the
/// compiler's own output, because the object keeps its time when it comes out the same.
fn warn_if_stale(workspace: &Path, folder: &Path) -> io::Result<()> {
    let compiled = folder.join("bpfel-unknown-none/release/foobar-ebpf");
    let Ok(compiled_at) = fs::metadata(&compiled).and_then(|data| data.modified()) else { return Ok(()) };
    let sources = workspace.join("foobar-ebpf/src");
    println!("cargo::rerun-if-changed={}", compiled.display());
    println!("cargo::rerun-if-changed={}", sources.display());
    if newest(&sources)? > compiled_at {
        println!(
            "cargo::warning=the embedded datapath is older than its source: run `cargo xtask build-ebpf`"
        );
    }
    Ok(())
}

/// When a file below `folder` was last changed.
fn newest(folder: &Path) -> io::Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let changed = if path.is_dir() { self::newest(&path)? } else { fs::metadata(&path)?.modified()? };
        newest = newest.max(changed);
    }
    Ok(newest)
}
