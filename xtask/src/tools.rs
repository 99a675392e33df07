//! Programs of the Rust community that are built once, at a pinned version, below `target/tools`.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{process, workspace};

/// A program of cargo's; built if it is not there.
///
/// # Errors
/// Where it cannot be built.
pub(crate) fn ensure(name: &str, version: &str) -> Result<PathBuf> {
    let root = workspace::tools().join(format!("{name}-{version}"));
    let program = root.join("bin").join(name);
    if !program.is_file() {
        eprintln!("building {name} {version}, once (a few minutes, kept in target/tools)");
        let mut command = process::cargo();
        command.args(["install", "--quiet", "--locked", "--root"]).arg(&root);
        process::run(command.arg(format!("{name}@{version}")))
            .with_context(|| format!("cannot build {name}"))?;
    }
    Ok(program)
}

/// A value for PATH by which cargo finds the program as a subcommand.
///
/// # Errors
/// Where the program lies in no folder.
pub(crate) fn path_with(program: &Path) -> Result<OsString> {
    let folder = program.parent().context("a program lies in no folder")?;
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(env::split_paths(&path));
    Ok(env::join_paths(folders)?)
}
