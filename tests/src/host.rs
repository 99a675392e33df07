//! A host: a network namespace under a name, and commands and sockets inside it. Only the network is
//! its own; files, mounts and processes are the machine's (so pins below a mounted bpffs work, which
//! they would not under `ip netns exec`, whose /sys is private).

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

use crate::frame::Mac;
use crate::session::{Leftover, NETNS_DIR, Session};
use crate::sys;

/// A network namespace; dropped, its name goes, and with it its links and what still runs inside.
#[derive(Debug)]
pub struct Host {
    label: String,
    name: String,
    namespace: File,
    session: Arc<Session>,
}

impl Host {
    /// Makes a namespace with its loopback up. The label becomes part of its unique name.
    pub fn new(label: &str) -> Result<Self> {
        let session = Session::current()?;
        let name = session.name(label);
        session.record(&Leftover::Namespace(name.clone()))?;
        let path = Path::new(NETNS_DIR).join(&name);
        fs::create_dir_all(NETNS_DIR).with_context(|| format!("cannot create {NETNS_DIR}"))?;
        File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        give_name_to_new_namespace(&path)
            .with_context(|| format!("cannot make the network namespace {name} (root is needed)"))?;
        let namespace = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let host = Self { label: label.to_owned(), name, namespace, session };
        // Addresses are usable at once, and nothing but what a test sends is on the wire.
        host.sysctl("net/ipv6/conf/all/accept_dad", "0")?;
        host.sysctl("net/ipv6/conf/default/accept_dad", "0")?;
        host.sysctl("net/ipv6/conf/default/router_solicitations", "0")?;
        host.ip("link set lo up")?;
        Ok(host)
    }

    /// What the test calls it.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What `ip netns` calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The session that this host belongs to.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// The namespace's file, for `ip link add … netns`.
    pub fn path(&self) -> PathBuf {
        Path::new(NETNS_DIR).join(&self.name)
    }

    /// A command that will run inside, die with the thread that spawned it, and have no standard input.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
        let mut command = Command::new(program);
        self.confine(&mut command)?;
        Ok(command)
    }

    /// Does to a command made elsewhere what [`Host::command`] does to its own.
    pub fn confine(&self, command: &mut Command) -> Result<()> {
        let namespace = self.namespace.try_clone().context("cannot duplicate a descriptor")?;
        command.stdin(Stdio::null());
        sys::confine(command, Some(OwnedFd::from(namespace)));
        Ok(())
    }

    /// Runs a command to its end and returns its standard output; a failure carries all it said.
    pub fn run(&self, command: &[&str]) -> Result<String> {
        let [program, arguments @ ..] = command else { bail!("an empty command") };
        let output = self.command(program)?.args(arguments).output();
        let output = output.with_context(|| format!("{}: cannot run {program}", self.name))?;
        succeeded(&format!("{}: {}", self.name, command.join(" ")), &output)
    }

    /// Runs `ip` with the words of one line on this namespace.
    pub fn ip(&self, line: &str) -> Result<String> {
        let output = Command::new("ip").args(["-n", &self.name]).args(line.split_whitespace()).output();
        let output = output.context("cannot run ip (package iproute2)")?;
        succeeded(&format!("ip -n {} {line}", self.name), &output)
    }

    /// Gives an interface an address with its prefix length, usable at once.
    pub fn address(&self, interface: &str, address: &str) -> Result<()> {
        let nodad = if address.contains(':') { "nodad" } else { "" };
        self.ip(&format!("address add {address} dev {interface} {nodad}")).map(drop)
    }

    /// Writes a kernel setting below `/proc/sys` as this namespace sees it.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys").join(key);
        self.enter(move || {
            fs::write(&path, value).with_context(|| format!("cannot write {}", path.display()))
        })?
    }

    /// The hardware address of an interface.
    pub fn mac(&self, interface: &str) -> Result<Mac> {
        let links = self.ip(&format!("-j link show dev {interface}"))?;
        let links: serde_json::Value = serde_json::from_str(&links).context("ip -j did not answer JSON")?;
        let address = links.pointer("/0/address").and_then(serde_json::Value::as_str);
        address.with_context(|| format!("{interface} has no hardware address"))?.parse()
    }

    /// Runs a function on a thread that is inside. A socket made there stays there.
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.namespace, CloneFlags::CLONE_NEWNET)
                    .with_context(|| format!("cannot enter {}", self.name))?;
                Ok(inside())
            });
            thread.join().map_err(|_panic| anyhow!("a thread inside {} panicked", self.name))?
        })
    }

    /// A TCP connection from here.
    pub fn connect(&self, to: SocketAddr, limit: Duration) -> Result<TcpStream> {
        let stream = self.enter(|| TcpStream::connect_timeout(&to, limit))?;
        stream.with_context(|| format!("{}: cannot connect to {to}", self.name))
    }

    /// Addresses, routes and neighbours, for a failure's report.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for line in ["-br link", "-br address", "route", "-6 route", "neigh"] {
            let answer = self.ip(line).unwrap_or_else(|error| format!("{error:#}"));
            let _ = writeln!(text, "# ip -n {} {line}\n{}", self.name, answer.trim_end());
        }
        text
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Err(error) = Leftover::Namespace(self.name.clone()).remove() {
            eprintln!("{error:#}");
        }
    }
}

/// A thread moves to a new namespace, gives it its name by a bind mount, and ends. This is what
/// `ip netns add` does, without that one's lasting mount on the folder of the names.
fn give_name_to_new_namespace(path: &Path) -> Result<()> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            mount(Some("/proc/thread-self/ns/net"), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
            Ok(())
        });
        thread.join().map_err(|_panic| anyhow!("the thread panicked"))?
    })
}

/// Standard output of a command that must have succeeded.
pub fn succeeded(what: &str, output: &Output) -> Result<String> {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    bail!("`{what}` failed ({})\nstdout: {}\nstderr: {}", output.status, stdout.trim_end(), stderr.trim_end())
}
