//! `cargo xtask demo`: the whole infrastructure on this machine, in network namespaces, with real
//! peers: a client, a name server, the balancer's host and two server hosts, each of the three with
//! its own agent. Owns `target/demo`; everything else that it makes is gone when it ends.

mod authority;
mod browser;
mod check;
mod network;
mod plan;
mod services;
mod settings;
mod signals;
mod view;

use std::fs::{self, File, TryLockError};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use foobar_tests::bpffs::Bpffs;
use foobar_tests::session::Session;
use foobar_tests::{Agent, Process};

use self::authority::Authority;
use self::browser::Browser;
use self::network::Network;
use self::plan::{Net, SERVERS};
use self::services::Web;
use self::settings::LbSettings;
use self::signals::Signals;
use crate::packages::PackageRoot;
use crate::{build_ebpf, process, workspace};

/// What `cargo xtask demo` takes.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Options {
    /// Check every claim on the wire instead of waiting for a person, and end at the first false one
    #[arg(long)]
    check: bool,
    /// Build and run the agent with optimisations
    #[arg(long)]
    release: bool,
}

/// The rules of a server of the demo, for whoever measures them.
pub(crate) struct ServerRules {
    /// The configuration, without `[host]`.
    pub(crate) config: String,
    /// From the balancer to the server, in each family.
    pub(crate) paths: Vec<(IpAddr, IpAddr)>,
}

/// The rules of the first server.
pub(crate) fn server_rules() -> ServerRules {
    let [server, _] = SERVERS;
    let to = server.sockets(0).map(|socket| socket.ip());
    let paths = Net::Back.addresses(plan::LB).into_iter().zip(to).collect();
    ServerRules { config: settings::server(server), paths }
}

/// Builds what is missing, raises the infrastructure, and shows or checks it.
pub(crate) fn run(options: Options) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("network namespaces and BPF need root: run `sudo cargo xtask demo`");
    }
    let programs = services::fetch()?;
    let agent = build_agent(options.release)?;
    let folder = workspace::target().join("demo");
    services::create(&folder)?;
    let signals = Signals::hold()?;
    if !options.check {
        let _lock = lock(&folder)?;
        return raise(None, &programs, &agent, &folder, &signals);
    }
    let mut table = check::Table::new();
    let outcome = check_all(&mut table, &programs, &agent, &folder, &signals);
    table.finish();
    outcome
}

/// A demo that is killed, one that is checked, and what each of them leaves.
fn check_all(
    table: &mut check::Table,
    programs: &PackageRoot,
    agent: &Path,
    folder: &Path,
    signals: &Signals,
) -> Result<()> {
    say("a first demo, to be killed");
    let killed = check::leftovers::kill_a_demo(agent, folder)?;
    let _lock = lock(folder)?;
    let session = Session::current()?;
    check::leftovers::none(table, "what a killed demo left is removed by the next start", killed, folder)?;
    raise(Some(table), programs, agent, folder, signals)?;
    drop(session);
    check::leftovers::none(table, "the demo leaves nothing behind", std::process::id(), folder)
}

/// Shows, or checks where there is a table. Everything lives in this function's variables and is
/// removed, in reverse order, when it returns.
fn raise(
    mut table: Option<&mut check::Table>,
    programs: &PackageRoot,
    agent: &Path,
    folder: &Path,
    signals: &Signals,
) -> Result<()> {
    // Also removes what a demo left behind that was killed.
    let _session = Session::current()?;
    say("network: client, dns, router, lb, web1, web2");
    let network = Network::raise()?;
    signals.check()?;
    let folders = Folders::create(folder)?;
    let authority = Authority::create(&folders.lb)?;
    say("dnsmasq on dns; Nginx and gunicorn on web1 and web2");
    let dns = services::start_dns(&network.dns, programs, &folders.dns)?;
    let browser = Browser::new(&network.client, programs, &authority, &folders.client)?;
    let [web1, web2] = SERVERS;
    let [host1, host2] = &network.webs;
    let webs = [
        Web::start(web1, host1, programs, &folders.webs[0])?,
        Web::start(web2, host2, programs, &folders.webs[1])?,
    ];
    signals.check()?;

    if let Some(table) = table.as_deref_mut() {
        check::before_agents(table, &network)?;
    }
    say("foobar-agent on lb, web1 and web2");
    let start = |host, folder: &Path, config: &str| {
        let bpffs = Bpffs::mount(&folder.join("bpf"))?;
        Agent::start_in(agent, host, folder, Some(bpffs), config)
    };
    let agents = [
        start(&network.webs[0], &folders.webs[0], &settings::server(web1))?,
        start(&network.webs[1], &folders.webs[1], &settings::server(web2))?,
        start(&network.lb, &folders.lb, &LbSettings::default().text(&authority))?,
    ];
    signals.check()?;
    let [agent1, agent2, lb] = agents;
    let mut demo = Demo { network: &network, authority, browser, dns, webs, lb, servers: [agent1, agent2] };
    demo.wait_until_ready()?;
    match table {
        Some(table) => check::all(table, &mut demo, programs, signals)?,
        None => view::show(&demo, signals)?,
    }
    demo.stop()
}

/// The running infrastructure.
#[derive(Debug)]
struct Demo<'a> {
    network: &'a Network,
    authority: Authority,
    browser: Browser<'a>,
    dns: Process,
    webs: [Web<'a>; 2],
    lb: Agent<'a>,
    /// As in [`SERVERS`].
    servers: [Agent<'a>; 2],
}

impl<'a> Demo<'a> {
    /// The balancer finds both servers up.
    fn wait_until_ready(&self) -> Result<()> {
        let limit = Duration::from_secs(20);
        self.lb.metrics_until("both backends are up", limit, |metrics| {
            metrics.count("foobar_backend_up", &[]) == 2
        })?;
        Ok(())
    }

    /// All three agents, by host.
    fn agents(&self) -> [&Agent<'a>; 3] {
        let [web1, web2] = &self.servers;
        [&self.lb, web1, web2]
    }

    /// Ends the agents in an orderly way; a bad exit status is an error.
    fn stop(self) -> Result<()> {
        let [web1, web2] = self.servers;
        for agent in [self.lb, web1, web2] {
            let name = agent.host().label().to_owned();
            let status = agent.stop()?;
            if !status.success() {
                bail!("the agent of {name} ended badly after SIGTERM: {status}");
            }
        }
        Ok(())
    }
}

/// A folder for each host.
#[derive(Debug)]
struct Folders {
    client: PathBuf,
    dns: PathBuf,
    lb: PathBuf,
    webs: [PathBuf; 2],
}

impl Folders {
    /// Empty ones: what an earlier run said is of no use to this one.
    fn create(base: &Path) -> Result<Self> {
        let folder = |name: &str| {
            let path = base.join(name);
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot empty {}", path.display()));
                }
                _ => services::create(&path)?,
            }
            Ok(path)
        };
        let [web1, web2] = SERVERS;
        Ok(Self {
            client: folder("client")?,
            dns: folder("dns")?,
            lb: folder("lb")?,
            webs: [folder(web1.name)?, folder(web2.name)?],
        })
    }
}

/// Two demos of one checkout would write the same files.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(".lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("another demo of this checkout is running"),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// The agent's binary, built from what is in the checkout unless `FOOBAR_AGENT` names another.
fn build_agent(release: bool) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("FOOBAR_AGENT") {
        return Ok(path.into());
    }
    build_ebpf::run()?;
    say("building foobar-agent");
    let mut cargo = process::cargo();
    cargo.args(["build", "--package", "foobar-agent", "--bin", "foobar-agent"]);
    if release {
        cargo.arg("--release");
    }
    process::run(&mut cargo)?;
    Ok(workspace::target().join(if release { "release" } else { "debug" }).join("foobar-agent"))
}

fn say(text: &str) {
    eprintln!("demo: {text}");
}
