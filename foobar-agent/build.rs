//! Tells the compiler where the datapath lies that the agent embeds. Never builds it: that takes a
//! compiler for BPF, which `cargo xtask build-ebpf` finds or fetches.
//!
//! `FOOBAR_BPF_OBJECT` is exported to the crate as the absolute path of the object; if a variable of that
//! name is set for the build, it names another object.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

const VARIABLE: &str = "FOOBAR_BPF_OBJECT";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let object = match env::var_os(VARIABLE) {
        Some(path) => PathBuf::from(path).canonicalize()?,
        None => workspace_object()?,
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

/// What `cargo xtask build-ebpf` writes. If it is not there, an empty file takes its place: cargo would
/// build the crate anew each time for the sake of a file that is missing.
fn workspace_object() -> io::Result<PathBuf> {
    let member = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    let workspace = Path::new(&member).parent().unwrap_or_else(|| Path::new("."));
    let folder = workspace.join("target/bpf");
    let object = folder.join("foobar.bpf.o");
    fs::create_dir_all(&folder)?;
    match fs::File::create_new(&object) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(object),
    }
}
