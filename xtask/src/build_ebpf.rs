//! `cargo xtask build-ebpf`: compiles the XDP programs to `target/bpf/foobar.bpf.o`, which the build
//! script of `foobar-agent` embeds, and tells their sizes. Owns `target/bpf`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use nix::unistd::Uid;
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SectionKind, SymbolKind};

use crate::toolchain::{self, TARGET, Toolchain};
use crate::{linker, process, workspace};

/// A BPF instruction is 8 octets (RFC 9669, section 3); a 64-bit immediate takes two of them.
const INSTRUCTION_BYTES: u64 = 8;

/// The datapath, by cargo's name.
pub(crate) const DATAPATH: &str = "foobar-ebpf";
/// Traffic for measurements, by cargo's name.
pub(crate) const TRAFFIC: &str = "traffic";

/// Compiles the datapath, if it changed, and returns the path of the object.
///
/// # Errors
/// Where no toolchain is to be had or the datapath does not compile.
pub(crate) fn run() -> Result<PathBuf> {
    let toolchain = toolchain::find()?;
    process::run(&mut cargo(&toolchain, "build", DATAPATH)?).context("the datapath does not compile")?;
    let folder = workspace::target().join("bpf");
    let built = folder.join(TARGET).join("release").join(DATAPATH);
    let object = folder.join("foobar.bpf.o");
    let bytes = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    // An unchanged file keeps its time, so that the agent is not built anew for nothing.
    if fs::read(&object).ok().as_ref() != Some(&bytes) {
        let fresh = folder.join("foobar.bpf.o.new");
        fs::write(&fresh, &bytes).with_context(|| format!("cannot write {}", fresh.display()))?;
        fs::rename(&fresh, &object).with_context(|| format!("cannot rename to {}", object.display()))?;
    }
    report(&object, &bytes)?;
    Ok(object)
}

/// Builds the agent around the object and, as root, has it say what the programs cost this kernel's
/// verifier.
///
/// # Errors
/// Where the agent does not compile, or the verifier refuses a program.
pub(crate) fn verify() -> Result<()> {
    process::run(process::cargo().args(["build", "--quiet", "--package", "foobar-agent"]))?;
    if !Uid::effective().is_root() {
        eprintln!("what the verifier makes of it: sudo target/debug/foobar-agent verify");
        return Ok(());
    }
    let agent = workspace::target().join("debug/foobar-agent");
    eprint!("{}", process::output(Command::new(agent).arg("verify"))?);
    Ok(())
}

/// Compiles the programs that make traffic for measurements and returns the path of their object.
///
/// # Errors
/// As for [`run`].
pub(crate) fn traffic() -> Result<PathBuf> {
    let toolchain = toolchain::find()?;
    process::run(&mut cargo(&toolchain, "build", TRAFFIC)?).context("the traffic does not compile")?;
    Ok(workspace::target().join("bpf").join(TARGET).join("release").join(TRAFFIC))
}

/// `cargo` with a verb (`build`, `clippy`) for a program of `foobar-ebpf` and the BPF machine.
///
/// # Errors
/// Where the linker is not there and cannot be built.
pub(crate) fn cargo(toolchain: &Toolchain, verb: &str, program: &str) -> Result<Command> {
    let linker = linker::ensure(toolchain)?;
    let mut linker_flag = OsString::from("-Clinker=");
    linker_flag.push(linker);
    let flags = [
        // BTF is made from the debug information; the kernel's verifier and aya read it.
        OsString::from("-Cdebuginfo=2"),
        OsString::from("-Clink-arg=--btf"),
        // 32-bit instructions (Linux 5.1), and packet fields in one load where the verifier allows it:
        // the compiler's default machine has neither and reads packets octet by octet.
        OsString::from("-Ctarget-cpu=v3"),
        OsString::from("-Ctarget-feature=+allows-misaligned-mem-access"),
        // aya-ebpf wants to know whose registers the kernel's structures hold.
        OsString::from(format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH)),
        linker_flag,
    ];
    let mut command = process::cargo();
    command
        .args([verb, "--quiet", "--package", "foobar-ebpf", "--bin", program, "--release"])
        .args(["--target", TARGET])
        .arg("--target-dir")
        .arg(workspace::target().join("bpf"))
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f".as_ref()))
        .env("RUSTC", &toolchain.rustc)
        // The BPF target and its core library are complete in this stable compiler, but not yet
        // promised to stay as they are: it wants to be asked as a nightly one would.
        .env("RUSTC_BOOTSTRAP", "1");
    if toolchain.builds_core {
        command.args(["-Z", "build-std=core"]);
    }
    Ok(command)
}

/// Tells the size of the object and of each program in it, beside what a command prints as its result.
fn report(path: &Path, bytes: &[u8]) -> Result<()> {
    let shown = path.strip_prefix(workspace::root()).unwrap_or(path).display();
    eprintln!("{shown}: {} bytes", bytes.len());
    for (name, instructions) in instruction_counts(bytes)? {
        eprintln!("  {instructions:>6} instructions  {name}");
    }
    Ok(())
}

/// How many instructions each function of an object has, by `section/function`.
fn instruction_counts(bytes: &[u8]) -> Result<BTreeMap<String, u64>> {
    let file = object::File::parse(bytes).context("the datapath is no ELF object")?;
    let mut counts = BTreeMap::new();
    for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0) {
        let Some(index) = symbol.section_index() else { continue };
        let section = file.section_by_index(index)?;
        if section.kind() == SectionKind::Text {
            let name = format!("{}/{}", section.name()?, symbol.name()?);
            counts.insert(name, symbol.size() / INSTRUCTION_BYTES);
        }
    }
    Ok(counts)
}
