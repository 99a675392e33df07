//! `bpf-linker` at one pinned version, built with the host's stable toolchain below `target/tools`, and
//! the script by which it finds the LLVM of the compiler whose output it links.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::toolchain::Toolchain;
use crate::{process, workspace};

const VERSION: &str = "0.10.4";
/// The major versions of LLVM that [`VERSION`] can speak to.
const LLVM_MAJORS: std::ops::RangeInclusive<u32> = 20..=22;

/// The linker for what `toolchain` compiles; builds it first if it is not there.
///
/// # Errors
/// Where it cannot be built, or where it cannot read what this compiler writes.
pub(crate) fn ensure(toolchain: &Toolchain) -> Result<PathBuf> {
    let major = toolchain.llvm_major;
    if !LLVM_MAJORS.contains(&major) {
        bail!(
            "rustc {} writes LLVM {major}, but bpf-linker {VERSION} reads only {} to {}",
            toolchain.version,
            LLVM_MAJORS.start(),
            LLVM_MAJORS.end()
        );
    }
    let root = workspace::tools().join(format!("bpf-linker-{VERSION}-llvm{major}"));
    let program = root.join("bin/bpf-linker");
    if !program.is_file() {
        eprintln!("building bpf-linker {VERSION}, once (about a minute, kept in target/tools)");
        process::run(
            process::cargo()
                .args(["install", "--quiet", "--locked", "--no-default-features"])
                .arg(format!("--features=rust-llvm-{major}"))
                .arg("--root")
                .arg(&root)
                .arg(format!("bpf-linker@{VERSION}")),
        )
        .context("cannot build bpf-linker")?;
    }
    write_script(&root, &program, &toolchain.llvm)
}

/// bpf-linker opens the first `libLLVM*` of `LD_LIBRARY_PATH`, whichever version it is, and cargo puts
/// the host toolchain's there: so a folder that holds only the right one goes before all.
fn write_script(root: &Path, program: &Path, llvm: &Path) -> Result<PathBuf> {
    let folder = root.join("llvm");
    let link = folder.join("libLLVM.so");
    if fs::read_link(&link).ok().as_deref() != Some(llvm) {
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let _ = fs::remove_file(&link);
        symlink(llvm, &link).with_context(|| format!("cannot link {}", link.display()))?;
    }
    let script = root.join("link");
    let text = format!(
        "#!/bin/sh\nexport LD_LIBRARY_PATH=\"{}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\"\nexec \"{}\" \"$@\"\n",
        folder.display(),
        program.display()
    );
    if fs::read_to_string(&script).ok().as_deref() != Some(text.as_str()) {
        fs::write(&script, text).with_context(|| format!("cannot write {}", script.display()))?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    }
    Ok(script)
}
