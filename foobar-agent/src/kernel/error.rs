//! What can go wrong between the agent and the kernel, each with what to do about it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// An error of the datapath. The text says what failed, on what, and the remedy.
#[derive(Debug, Error)]
pub enum KernelError {
    /// The agent was built without the eBPF object.
    #[error(
        "this foobar-agent was built without its datapath; run `cargo xtask build-ebpf`, then build again"
    )]
    NoObject,
    /// The kernel is too old.
    #[error(
        "Linux {found} is too old: the datapath needs {needed} or newer (XDP fragments); upgrade the kernel"
    )]
    KernelTooOld {
        /// Release of the running kernel.
        found: String,
        /// Oldest release that works.
        needed: &'static str,
    },
    /// A capability is missing.
    #[error(
        "missing {missing}: loading and attaching the datapath needs it; run as root, or give the service \
         AmbientCapabilities=CAP_BPF CAP_NET_ADMIN CAP_PERFMON"
    )]
    MissingCapability {
        /// Names of the capabilities.
        missing: String,
    },
    /// The kernel has no type information.
    #[error(
        "the kernel has no BTF (/sys/kernel/btf/vmlinux is missing): boot a kernel built with \
         CONFIG_DEBUG_INFO_BTF=y, as Debian's are"
    )]
    MissingBtf,
    /// `pin_dir` cannot hold pins.
    #[error(
        "{path} is not on a BPF file system, so the firewall could not outlive the agent; mount one with \
         `mkdir -p {path} && mount -t bpf bpf {path}`, or set host.pin_dir to a folder below /sys/fs/bpf"
    )]
    NotBpffs {
        /// The folder.
        path: PathBuf,
    },
    /// The BPF file system is not there, and could not be mounted.
    #[error(
        "cannot mount a BPF file system at {path}: {source}; mounting needs CAP_SYS_ADMIN: run \
         `mount -t bpf bpf {path}` as root before the agent starts"
    )]
    Mount {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another agent holds the pins.
    #[error(
        "another agent runs with the pins in {path}; stop it, or give this agent its own host.run_dir, \
         host.state_dir and host.pin_dir"
    )]
    PinsHeld {
        /// `pin_dir`.
        path: PathBuf,
    },
    /// A file operation failed.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was tried, as in "cannot create".
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else's XDP program is there.
    #[error(
        "{interface} already has the XDP program {program}, which is not ours; {remedy}; or leave {interface} \
         out of firewall.interfaces"
    )]
    ForeignProgram {
        /// The interface.
        interface: String,
        /// Name and number of the program, as far as known.
        program: String,
        /// How to be rid of it.
        remedy: String,
    },
    /// A datapath of ours is there whose pins are not in `pin_dir`.
    #[error(
        "{interface} already has the datapath of another foobar-agent, with another host.pin_dir (program id \
         {program}); stop that agent and run `foobar-agent detach --config …` with its configuration, or leave \
         {interface} out of firewall.interfaces"
    )]
    OtherAgent {
        /// The interface.
        interface: String,
        /// The kernel's number of its program.
        program: u32,
    },
    /// The interface does not take an XDP program in the mode asked for.
    #[error("cannot attach to {interface} in {mode} mode: {source}; {remedy}")]
    Attach {
        /// The interface.
        interface: String,
        /// `native` or `generic`.
        mode: &'static str,
        /// The kernel's word.
        source: io::Error,
        /// What may help.
        remedy: &'static str,
    },
    /// The kernel attached without a link, which could not be pinned.
    #[error(
        "{interface} took the datapath without a BPF link, which cannot outlive the agent, so it was taken off \
         again; set firewall.mode to \"generic\", or leave {interface} out of firewall.interfaces"
    )]
    NoLink {
        /// The interface.
        interface: String,
    },
    /// The verifier refused a program.
    #[error("the kernel refused the datapath's program {program}: {source}\n{log}")]
    Refused {
        /// Its name.
        program: &'static str,
        /// The kernel's word.
        source: io::Error,
        /// The verifier's last words.
        log: String,
    },
    /// Something in the object is not as the agent expects it.
    #[error("the datapath has no {0}: object and agent are of different builds; build both again")]
    Missing(&'static str),
    /// A generation that an agent spoke of has no image.
    #[error("the generation that judges cannot be found at {path}: {source}")]
    GenerationGone {
        /// Its image.
        path: PathBuf,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// More rules than a report of a test run can name.
    #[error("a test run can name {most} rules, and there are more")]
    TooManySlots {
        /// How many it can name, the policy included.
        most: u32,
    },
    /// The table of bans has no room.
    #[error(
        "there is no room for another ban: at most {addresses} addresses and {prefixes} prefixes; remove some \
         (`foobar-agent ban remove`), or ban prefixes in the place of addresses",
        addresses = foobar_ebpf::abi::ban::ADDRESSES_MAX,
        prefixes = foobar_ebpf::abi::ban::PREFIXES_MAX
    )]
    BansFull,
    /// Anything else that the kernel said about loading, maps or pins.
    #[error("{what}: {source}")]
    Bpf {
        /// What was tried.
        what: &'static str,
        /// The loader's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A system call failed.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Something is on trial, and must be decided first.
    #[error(
        "generation {generation} is on trial: keep it with `foobar-agent confirm` or end it with `foobar-agent \
         rollback` first"
    )]
    OnTrial {
        /// Its number.
        generation: u64,
    },
    /// There is no generation to go back to.
    #[error("no generation before the one that judges is loaded: there is nothing to go back to")]
    NothingBefore,
    /// The kernel process cannot give up what it does not need.
    #[error("the kernel process: {0}")]
    Privileges(#[from] crate::privileges::PrivilegeError),
    /// What the kernel process says of a failure, whole.
    #[error("{0}")]
    Told(String),
    /// The agent may not have the map.
    #[error("the agent has no use for the map {0}, so it is not given away")]
    MapWithheld(String),
    /// The kernel process cannot be started.
    #[error(
        "cannot start the kernel process (/proc/self/exe kernel-process): {0}; the agent needs /proc, and \
         a limit on processes that leaves room for two"
    )]
    Start(io::Error),
    /// Somebody started the kernel process by hand.
    #[error("this command is a part of `foobar-agent run`, which starts it: {0}")]
    NoAgent(io::Error),
    /// The kernel process was asked before it had opened the datapath.
    #[error("the datapath is not open yet; try again when the agent has started")]
    NotOpen,
    /// The kernel process is gone.
    #[error("the kernel process has ended; its last words are in the agent's log; restart the agent")]
    WorkerGone,
}

impl KernelError {
    pub(super) fn bpf<E>(what: &'static str) -> impl FnOnce(E) -> Self
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        move |source| Self::Bpf { what, source: Box::new(source) }
    }

    pub(super) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
