//! A launcher for each program of an unpacked tree: a shell script that points the program at the
//! libraries beside it and then becomes that program. The paths in it are relative to itself, so the
//! tree may be moved.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folder of the launchers in the tree; no package has a file there.
pub(super) const FOLDER: &str = "launchers";

/// Where packages put programs.
pub(super) const PROGRAM_FOLDERS: [&str; 4] = ["usr/sbin", "usr/bin", "sbin", "bin"];
const LIBRARY_FOLDERS: [&str; 2] = ["usr/lib", "lib"];
const PYTHON_FOLDER: &str = "usr/lib/python3/dist-packages";

/// Writes one launcher for every program in `tree`.
pub(super) fn write_all(tree: &Path) -> Result<()> {
    let launchers = tree.join(FOLDER);
    fs::create_dir(&launchers).with_context(|| format!("cannot create {}", launchers.display()))?;
    let environment = environment(tree)?;
    for folder in PROGRAM_FOLDERS {
        for program in entries(&tree.join(folder))? {
            let Some(name) = program.file_name() else { continue };
            let launcher = launchers.join(name);
            if !is_executable(&program) || launcher.exists() {
                continue;
            }
            let text =
                format!("#!/bin/sh\n{environment}exec {} \"$@\"\n", invocation(tree, folder, &program)?);
            let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(&launcher);
            file.and_then(|mut file| file.write_all(text.as_bytes()))
                .with_context(|| format!("cannot write {}", launcher.display()))?;
        }
    }
    Ok(())
}

pub(super) fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// The lines that set up the environment.
fn environment(tree: &Path) -> Result<String> {
    let mut libraries = Vec::new();
    for folder in LIBRARY_FOLDERS {
        // Debian keeps the libraries of an architecture in a folder such as `x86_64-linux-gnu`.
        for path in entries(&tree.join(folder))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && name.contains("-linux-") {
                libraries.push(format!("$root/{folder}/{name}"));
            }
        }
        if tree.join(folder).is_dir() {
            libraries.push(format!("$root/{folder}"));
        }
    }
    let mut text = String::from("root=\"${0%/*}/..\"\n");
    if !libraries.is_empty() {
        let list = libraries.join(":");
        let _ = writeln!(text, "export LD_LIBRARY_PATH=\"{list}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\"");
    }
    if tree.join(PYTHON_FOLDER).is_dir() {
        let _ = writeln!(text, "export PYTHONPATH=\"$root/{PYTHON_FOLDER}${{PYTHONPATH:+:$PYTHONPATH}}\"");
    }
    Ok(text)
}

/// How to start `program`: a script whose interpreter is in the tree as well needs that one.
fn invocation(tree: &Path, folder: &str, program: &Path) -> Result<String> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let itself = format!("\"$root/{folder}/{name}\"");
    let Some(line) = interpreter_line(program)? else { return Ok(itself) };
    let mut words = line.split_whitespace();
    let Some(interpreter) = words.next().and_then(|path| path.strip_prefix('/')) else { return Ok(itself) };
    if !is_executable(&tree.join(interpreter)) {
        return Ok(itself);
    }
    let arguments: Vec<&str> = words.collect();
    Ok(format!("\"$root/{interpreter}\" {} {itself}", arguments.join(" ")))
}

/// The first line of a script, without `#!`.
fn interpreter_line(program: &Path) -> Result<Option<String>> {
    // Linux itself reads no more of this line than 256 bytes.
    let mut start = Vec::new();
    File::open(program)
        .and_then(|file| file.take(256).read_to_end(&mut start))
        .with_context(|| format!("cannot read {}", program.display()))?;
    let Some(rest) = start.strip_prefix(b"#!") else { return Ok(None) };
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(Some(String::from_utf8_lossy(line).trim().to_owned()))
}

/// The paths in a folder, sorted; none if there is no such folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let paths = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut paths: Vec<PathBuf> = paths.with_context(|| format!("cannot list {}", folder.display()))?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn write(path: &Path, mode: u32, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_launcher_runs_its_program_with_the_tree_around_it() {
        let tree = std::env::temp_dir().join(format!("foobar-launcher-{}", std::process::id()));
        write(&tree.join("usr/lib/x86_64-linux-gnu/libx.so"), 0o644, "");
        write(&tree.join("usr/sbin/show"), 0o755, "#!/bin/sh\necho \"$LD_LIBRARY_PATH|$1\"\n");
        write(&tree.join("usr/bin/python3"), 0o755, "#!/bin/sh\necho \"python $*\"\n");
        write(&tree.join("usr/bin/script"), 0o755, "#!/usr/bin/python3 -s\n");
        write(&tree.join("usr/bin/data"), 0o644, "");
        write_all(&tree).unwrap();

        let run = |name: &str| {
            let mut command = Command::new(tree.join(FOLDER).join(name));
            let output = command.env_remove("LD_LIBRARY_PATH").arg("a b").output().unwrap();
            String::from_utf8(output.stdout)
                .unwrap()
                .replace(&format!("{}/{FOLDER}/..", tree.display()), "ROOT")
        };
        assert_eq!(run("show"), "ROOT/usr/lib/x86_64-linux-gnu:ROOT/usr/lib|a b\n");
        assert_eq!(run("script"), "python -s ROOT/usr/bin/script a b\n");
        assert!(!tree.join(FOLDER).join("data").exists());
        fs::remove_dir_all(&tree).unwrap();
    }
}
