//! The validated configuration: every name resolved, every path absolute, nothing left
//! to check but what only the running host can tell (interfaces, free ports, files that
//! change). The rest of the agent reads these types and never the file.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use crate::firewall::address::AddressSet;
use crate::firewall::ruleset::Ruleset;

/// Everything that one configuration file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The host itself.
    pub host: Host,
    /// What the datapath attaches to and judges.
    pub firewall: Firewall,
    /// The load balancer; absent, this host balances nothing.
    pub balancer: Option<Balancer>,
    /// The monitoring client.
    pub monitor: Monitor,
}

/// `[host]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Name of this host; by default the kernel's host name.
    pub name: String,
    /// Who the agent becomes after its start: `host.user`.
    pub user: Option<String>,
    /// Holds the control socket.
    pub run_dir: PathBuf,
    /// What must last over a restart.
    pub state_dir: PathBuf,
    /// A folder on a bpffs for what must outlive the agent.
    pub pin_dir: PathBuf,
}

/// `[firewall]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firewall {
    /// Where the datapath attaches.
    pub interfaces: Interfaces,
    /// How it attaches.
    pub mode: AttachMode,
    /// What is judged; absent (no `[firewall]` in the file), packets are counted and passed.
    pub ruleset: Option<Ruleset>,
    /// Addresses that can never be banned.
    pub never_ban: Arc<AddressSet>,
}

/// `firewall.interfaces`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interfaces {
    /// Those with a default route.
    Auto,
    /// Those named.
    Named(Vec<String>),
}

/// `firewall.mode`
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttachMode {
    /// Native where the driver has it, generic where not.
    Auto,
    /// In the driver, before a socket buffer exists.
    Native,
    /// In the stack, on any interface, slower.
    Generic,
}

/// `[balancer]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balancer {
    /// Clear-text listeners; they redirect to https.
    pub http: Vec<SocketAddr>,
    /// TLS listeners.
    pub https: Vec<SocketAddr>,
    /// Worker cores; absent, all.
    pub workers: Option<NonZeroUsize>,
    /// Certificates with their keys, in file order.
    pub certificates: Vec<CertificateFiles>,
    /// Sites by host name.
    pub sites: Vec<Site>,
    /// Pools; every site's pool is among them.
    pub pools: Vec<Pool>,
}

/// `[[balancer.certificates]]`: PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The leaf's private key.
    pub key: PathBuf,
}

/// `[[balancer.sites]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Host names, lower case, without port; the first one names the site in metrics.
    pub hosts: Vec<String>,
    /// Index of its pool in [`Balancer::pools`].
    pub pool: usize,
}

/// `[[balancer.pools]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The metric label.
    pub name: String,
    /// How a backend is picked.
    pub algorithm: Algorithm,
    /// TLS to the backends; absent, they are spoken to in clear text.
    pub tls: Option<PoolTls>,
    /// At least one backend, in file order.
    pub backends: Vec<Backend>,
}

/// `[balancer.pools.tls]`: the hop to the backends is TLS, and each backend is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolTls {
    /// PEM file of the authorities that may speak for the backends; absent, the system's.
    pub ca: Option<PathBuf>,
    /// Name that the backends' certificates must bear, sent as SNI; absent, each must bear the
    /// backend's IP address.
    pub server_name: Option<String>,
    /// What this host shows to backends that ask who it is.
    pub client: Option<CertificateFiles>,
}

/// `algorithm`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// One after the other.
    RoundRobin,
}

/// `[[balancer.pools.backends]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The metric label, unique in its pool.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Overrides [`PoolTls::server_name`].
    pub server_name: Option<String>,
    /// Takes traffic only while every other one is down (active-passive).
    pub backup: bool,
}

/// `[monitor]` and `[[monitor.service]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitor {
    /// Where `/metrics` and `/healthz` are served.
    pub listen: Vec<SocketAddr>,
    /// What the kernel counts by protocol.
    pub services: Vec<Service>,
}

/// `[[monitor.service]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The metric label.
    pub name: String,
    /// The destination port.
    pub port: u16,
    /// What is spoken there.
    pub protocol: ServiceProtocol,
}

/// `monitor.service.protocol`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceProtocol {
    /// HTTP/1.x in clear text: requests are counted.
    Http,
}
