//! A machine that lives in one process of QEMU, without acceleration: it boots a kernel with its first
//! file system and says what happens on a serial console. Needs no privilege.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use foobar_tests::{Process, wait};

use crate::packages::{self, Package};

/// The emulator, with its firmware and libraries.
const QEMU: Package = Package::new("qemu-system-x86", "a machine for other kernels", &["qemu-system-x86_64"]);
const PROGRAM: &str = "qemu-system-x86_64";
/// Where its packages have firmware; on a machine that has QEMU itself, it knows.
const FIRMWARE_FOLDERS: [&str; 2] = ["usr/share/qemu", "usr/share/seabios"];

const MEMORY_MIB: u32 = 2048;
/// More would only be idle: so many test threads take turns.
const CPUS_MAX: usize = 4;

/// A warning of the kernel's ends it like a panic, and either ends the machine.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 quiet panic=-1 panic_on_warn=1";

/// What a machine is made of.
#[derive(Debug)]
pub(super) struct Machine {
    /// For messages: `Linux 6.1`.
    pub(super) label: String,
    pub(super) kernel: PathBuf,
    pub(super) archive: PathBuf,
    /// Where all that it says is written.
    pub(super) console: PathBuf,
}

impl Machine {
    /// Boots it and passes on what it says line by line, until it ends by itself.
    ///
    /// # Errors
    /// Where it does not start, or lives longer than the limit and is ended.
    pub(super) fn run(&self, limit: Duration, mut seen: impl FnMut(&str)) -> Result<()> {
        let mut process = Process::spawn_here(&self.label, self.command()?, &self.console)?;
        let mut lines = Lines::of(&self.console)?;
        let what = format!("{} ends", self.label);
        let ended = wait::until(&what, limit, || {
            lines.read(&mut seen)?;
            process.ended()
        });
        lines.read(&mut seen)?;
        let status = ended?;
        if !status.success() {
            bail!("{} failed ({status})", PROGRAM);
        }
        Ok(())
    }

    fn command(&self) -> Result<Command> {
        let root = packages::ensure(&[QEMU])?;
        let mut command = root.command(PROGRAM);
        for folder in FIRMWARE_FOLDERS {
            if let Some(folder) = root.folder().map(|root| root.join(folder)).filter(|path| path.is_dir()) {
                command.arg("-L").arg(folder);
            }
        }
        // Many machines have a /dev/kvm that does not work, and what is tested is not the processor.
        command.args(["-accel", "tcg,thread=multi", "-smp", &cpus().to_string()]);
        command.args(["-m", &MEMORY_MIB.to_string(), "-nodefaults", "-display", "none"]);
        command.args(["-serial", "stdio", "-no-reboot", "-append", KERNEL_ARGUMENTS]);
        command.stdin(Stdio::null()).arg("-kernel").arg(&self.kernel).arg("-initrd").arg(&self.archive);
        Ok(command)
    }
}

/// How many CPUs the machine has.
pub(super) fn cpus() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(CPUS_MAX)
}

/// What is appended to a file, line by line.
struct Lines {
    file: File,
    /// The beginning of a line whose end is not written yet.
    unfinished: Vec<u8>,
}

impl Lines {
    fn of(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { file, unfinished: Vec::new() })
    }

    /// Passes on the lines that are new.
    fn read(&mut self, seen: &mut impl FnMut(&str)) -> Result<()> {
        self.file.read_to_end(&mut self.unfinished).context("cannot read what a machine says")?;
        while let Some(end) = self.unfinished.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unfinished.drain(..=end).collect();
            // A console ends its lines as a terminal does.
            seen(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_line_is_seen_once_it_is_whole() {
        let path = std::env::temp_dir().join(format!("foobar-console-{}", std::process::id()));
        let mut console = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        let mut lines = Lines::of(&path).unwrap();
        let mut new = |text: &str| {
            console.write_all(text.as_bytes()).unwrap();
            let mut seen = Vec::new();
            lines.read(&mut |line: &str| seen.push(line.to_owned())).unwrap();
            seen
        };
        assert_eq!(new("one\r\ntw"), ["one"]);
        assert_eq!(new("o"), [""; 0]);
        assert_eq!(new("\n\nfour\n"), ["two", "", "four"]);
        std::fs::remove_file(&path).unwrap();
    }
}
