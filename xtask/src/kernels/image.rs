//! The first file system of a kernel under test: its modules, a shell with its tools, the agent and the
//! test programs, each with the libraries that this machine runs it with.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::archive;
use crate::packages::{self, BUSYBOX, CURL, Package};
use crate::{process, workspace};

/// Programs that the tests start, and for which the shell's own tools can too little.
const TOOLS: [(Package, &[&str]); 3] = [
    (Package::new("iproute2", "network namespaces and links", &["ip"]), &["ip"]),
    (Package::new("util-linux", "namespaces and privileges", UTIL_LINUX), UTIL_LINUX),
    (CURL, &["curl"]),
];
const UTIL_LINUX: &[&str] = &["nsenter", "setpriv", "unshare"];

/// Modules that tests may need, and their dependencies: folders and files, which are packed in some
/// packages and not in others. The kernel loads what is asked for.
const MODULES: [&str; 5] = [
    "kernel/crypto",
    "kernel/drivers/net/veth.ko",
    "kernel/drivers/net/veth.ko.xz",
    "kernel/lib",
    "kernel/net",
];

/// Where Debian keeps the libraries of x86-64.
const LIBRARY_FOLDERS: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];

/// The folders of the file system.
const FOLDERS: [&str; 11] =
    ["bin", "dev", "etc", "proc", "run", "sbin", "sys", "tests", "tmp", "usr/bin", "usr/sbin"];

const INIT: &str = include_str!("init.sh");
const ACCOUNTS: &str = "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";

/// A program and the name by which it is started.
pub(super) struct Program<'a> {
    pub(super) name: &'a str,
    pub(super) file: &'a Path,
}

/// Makes the archive from a kernel's package.
pub(super) struct Image<'a> {
    /// Where the kernel's package is unpacked.
    pub(super) package: &'a Path,
    pub(super) agent: &'a Path,
    pub(super) tests: &'a [Program<'a>],
    /// What is run: a test program and its arguments on each line.
    pub(super) list: &'a str,
    /// Lines of shell with what the tests find in their environment.
    pub(super) environment: &'a str,
}

impl Image<'_> {
    /// Packs it all; what is unpacked meanwhile lies in a folder, which is emptied before.
    ///
    /// # Errors
    /// Where a file is missing or cannot be written.
    pub(super) fn pack(&self, folder: &Path, archive: &Path) -> Result<()> {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        for name in FOLDERS {
            create(&folder.join(name))?;
        }
        let busybox = packages::ensure(&[BUSYBOX])?.file("busybox").context("there is no busybox")?;
        copy(&busybox, &folder.join("bin/busybox"))?;
        write(&folder.join("init"), INIT, 0o755)?;
        write(&folder.join("etc/passwd"), ACCOUNTS, 0o644)?;
        write(&folder.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n", 0o644)?;
        write(&folder.join("tests/list"), self.list, 0o644)?;
        write(&folder.join("tests/environment"), self.environment, 0o644)?;
        for (package, names) in TOOLS {
            let root = packages::ensure(&[package])?;
            for name in names {
                let tool = root.file(name).with_context(|| format!("there is no program {name}"))?;
                install(&tool, folder, &Path::new("usr/bin").join(name))?;
            }
        }
        install(self.agent, folder, Path::new("usr/bin/foobar-agent"))?;
        for program in self.tests {
            install(program.file, folder, &Path::new("tests").join(program.name))?;
        }
        self.modules(folder, &busybox)?;
        archive::pack(folder, archive)
    }

    fn modules(&self, folder: &Path, busybox: &Path) -> Result<()> {
        let (release, modules) = modules(self.package)?;
        let target = folder.join("lib/modules").join(&release);
        for part in MODULES {
            for module in files(&modules.join(part))? {
                unpack_module(&module, &target.join(module.strip_prefix(&modules)?), busybox)?;
            }
        }
        for name in ["modules.builtin", "modules.order"] {
            copy(&modules.join(name), &target.join(name))?;
        }
        process::run(Command::new(busybox).args(["depmod", "-b"]).arg(folder).arg(&release))
    }
}

/// The kernel of a package.
pub(super) fn kernel(package: &Path) -> Result<PathBuf> {
    let kernel = files(&package.join("boot"))?.into_iter().find(|path| is_named(path, "vmlinuz-"));
    kernel.with_context(|| format!("there is no kernel in {}", package.display()))
}

/// The kernel's release, as it says it itself, and the folder of its modules.
fn modules(package: &Path) -> Result<(String, PathBuf)> {
    let kernel = kernel(package)?;
    let name = kernel.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let release = name.trim_start_matches("vmlinuz-").to_owned();
    // Debian 13 has everything below /usr.
    let folders = ["lib/modules", "usr/lib/modules"].map(|folder| package.join(folder).join(&release));
    let folder = folders.into_iter().find(|folder| folder.is_dir());
    Ok((release, folder.with_context(|| format!("there are no modules in {}", package.display()))?))
}

/// Newer kernels have their modules compressed, and busybox asks for them as they are.
fn unpack_module(module: &Path, target: &Path, busybox: &Path) -> Result<()> {
    let parent = target.parent().context("a module lies in a folder")?;
    create(parent)?;
    if module.extension().is_none_or(|extension| extension != "xz") {
        return copy(module, target);
    }
    let output = Command::new(busybox).args(["unxz", "-c"]).arg(module).output();
    let output = output.with_context(|| format!("cannot run {}", busybox.display()))?;
    ensure!(output.status.success(), "cannot unpack {}", module.display());
    fs::write(target.with_extension(""), output.stdout)
        .with_context(|| format!("cannot write {}", target.display()))
}

/// Copies a program without its debug information, which is most of it, and the libraries it needs to
/// where it looks for them.
fn install(program: &Path, folder: &Path, name: &Path) -> Result<()> {
    let target = folder.join(name);
    process::run(Command::new("strip").args(["--strip-debug", "-o"]).arg(&target).arg(program))?;
    for library in libraries(program)? {
        // What an unpacked package brings lies where the loader looks without being told.
        let place = match library.strip_prefix(workspace::tools()) {
            Ok(_) => Path::new(LIBRARY_FOLDERS[0]).join(library.file_name().unwrap_or_default()),
            Err(_) => library.strip_prefix("/").unwrap_or(&library).to_owned(),
        };
        let target = folder.join(place);
        if !target.exists() {
            create(target.parent().context("a library lies in a folder")?)?;
            copy(&library, &target)?;
        }
    }
    Ok(())
}

/// What the dynamic loader would load, and itself. Paths are those of this machine, and a
/// folder among them may be a link here and is none there.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let mut ldd = Command::new("ldd");
    // A program of an unpacked package has its libraries beside it.
    if let Some(root) = program.ancestors().find(|folder| folder.parent() == Some(&packages::base())) {
        ldd.env("LD_LIBRARY_PATH", env::join_paths(LIBRARY_FOLDERS.map(|folder| root.join(folder)))?);
    }
    let text = process::output(ldd.arg(program))?;
    ensure!(!text.contains("not found"), "{} lacks libraries:\n{text}", program.display());
    Ok(text.lines().filter_map(parse_library).map(PathBuf::from).collect())
}

/// Reads such lines as `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f…)` and
/// `/lib64/ld-linux-x86-64.so.2 (0x00007f…)`.
fn parse_library(line: &str) -> Option<&str> {
    let line = line.trim();
    let path = line.split_once(" => ").map_or(line, |(_, path)| path);
    path.split_whitespace().next().filter(|path| path.starts_with('/'))
}

fn is_named(path: &Path, prefix: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
}

/// All files below a folder, or the file itself.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(if path.exists() { vec![path.to_owned()] } else { Vec::new() });
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))? {
        found.extend(files(&entry?.path())?);
    }
    Ok(found)
}

fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(drop).with_context(|| format!("cannot copy {}", from.display()))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_loader_would_load() {
        let lines = [
            (
                "\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)",
                Some("/lib/x86_64-linux-gnu/libc.so.6"),
            ),
            ("\t/lib64/ld-linux-x86-64.so.2 (0x00007f)", Some("/lib64/ld-linux-x86-64.so.2")),
            ("\tlinux-vdso.so.1 (0x00007ffd)", None),
            ("\tstatically linked", None),
        ];
        for (line, path) in lines {
            assert_eq!(parse_library(line), path, "{line}");
        }
    }
}
