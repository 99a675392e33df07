//! Every metric family that the agent exports, and the collector that makes their samples
//! afresh from a [`Snapshot`] at each scrape. Mirrors no counter: what a scrape shows is what
//! the snapshot says.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use foobar_ebpf::verdict::{Reason, Verdict};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Registry, TextEncoder};

use super::family::{Family, Samples, as_f64};
use super::snapshot::{InterfaceSnapshot, Snapshot};

/// `Content-Type` of [`Exposition::render`].
pub const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

const BUILD_INFO: Family =
    Family::gauge("foobar_build_info", &["version", "architecture"], "Always 1; labels tell what was built");
const XDP_PACKETS: Family = Family::counter(
    "foobar_xdp_packets_total",
    &["interface", "verdict"],
    "Packets that arrived at the datapath, by verdict",
);
const XDP_BYTES: Family = Family::counter(
    "foobar_xdp_bytes_total",
    &["interface", "verdict"],
    "Bytes that arrived at the datapath, link-layer header included, by verdict",
);
const XDP_ATTACHED: Family = Family::gauge(
    "foobar_xdp_attached",
    &["interface", "mode"],
    "Whether the datapath is attached to the interface in this mode",
);
const RULE_PACKETS: Family = Family::counter(
    "foobar_firewall_rule_packets_total",
    &["rule"],
    "Packets that the rule decided; rule=\"policy\" is the default verdict",
);
const RULE_BYTES: Family = Family::counter(
    "foobar_firewall_rule_bytes_total",
    &["rule"],
    "Bytes of the packets that the rule decided; rule=\"policy\" is the default verdict",
);
const DROPS: Family = Family::counter(
    "foobar_firewall_drops_total",
    &["reason"],
    "Packets that did not pass, dropped and rejected ones, by reason, on all interfaces",
);
const GENERATION: Family = Family::gauge(
    "foobar_firewall_generation",
    &[],
    "Number of the ruleset image that judges packets; 0 before the first",
);
const SERVICE_MESSAGES: Family = Family::counter(
    "foobar_service_messages_total",
    &["service", "protocol"],
    "Application messages (requests, queries) that the kernel saw arrive for the service",
);
const RELOAD_SUCCESSFUL: Family = Family::gauge(
    "foobar_config_last_reload_successful",
    &[],
    "Whether the configuration was taken when it was last read",
);
const RELOAD_TIMESTAMP: Family = Family::gauge(
    "foobar_config_last_reload_timestamp_seconds",
    &[],
    "When the configuration was last read, taken or not, in seconds since the epoch",
);
const PROCESS_START: Family = Family::gauge(
    "foobar_process_start_time_seconds",
    &[],
    "When the agent started, in seconds since the epoch",
);
const PROCESS_CPU: Family = Family::counter(
    "foobar_process_cpu_seconds_total",
    &[],
    "User and system time of the agent's process, without its datapath's",
);
const PROCESS_MEMORY: Family =
    Family::gauge("foobar_process_resident_memory_bytes", &[], "Resident memory of the agent's process");
const PROCESS_DESCRIPTORS: Family =
    Family::gauge("foobar_process_open_fds", &[], "Open file descriptors of the agent's process");
const PROCESS_THREADS: Family =
    Family::gauge("foobar_process_threads", &[], "Threads of the agent's process");

/// Every family, for registration and for the tests that hold them to their word.
pub const FAMILIES: &[&Family] = &[
    &BUILD_INFO,
    &XDP_PACKETS,
    &XDP_BYTES,
    &XDP_ATTACHED,
    &RULE_PACKETS,
    &RULE_BYTES,
    &DROPS,
    &GENERATION,
    &SERVICE_MESSAGES,
    &RELOAD_SUCCESSFUL,
    &RELOAD_TIMESTAMP,
    &PROCESS_START,
    &PROCESS_CPU,
    &PROCESS_MEMORY,
    &PROCESS_DESCRIPTORS,
    &PROCESS_THREADS,
];

/// The attach modes, closed: each interface shows each of them with 0 or 1.
const MODES: [&str; 2] = ["native", "generic"];

/// The agent's metrics in a registry.
pub struct Exposition {
    registry: Registry,
    current: Arc<ArcSwapOption<Snapshot>>,
}

impl Exposition {
    /// Registers the agent's families in the registry.
    ///
    /// # Errors
    /// Where the registry already holds one of them.
    pub fn new(registry: Registry) -> prometheus::Result<Self> {
        let descs = FAMILIES.iter().map(|family| family.desc()).collect::<Result<_, _>>()?;
        let current = Arc::new(ArcSwapOption::empty());
        registry.register(Box::new(SnapshotCollector { descs, current: Arc::clone(&current) }))?;
        Ok(Self { registry, current })
    }

    /// The snapshot, and whatever else the registry holds, in the text format 0.0.4.
    ///
    /// # Errors
    /// Where another collector of the registry made what cannot be written.
    pub fn render(&self, snapshot: Snapshot) -> prometheus::Result<String> {
        self.current.store(Some(Arc::new(snapshot)));
        let families = self.registry.gather();
        self.current.store(None);
        TextEncoder::new().encode_to_string(&families)
    }
}

/// Turns the snapshot that is being rendered into samples.
struct SnapshotCollector {
    descs: Vec<Desc>,
    current: Arc<ArcSwapOption<Snapshot>>,
}

impl Collector for SnapshotCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.current.load().as_deref().map(samples).unwrap_or_default()
    }
}

fn samples(snapshot: &Snapshot) -> Vec<MetricFamily> {
    let mut samples = Samples::default();
    agent(&mut samples, snapshot);
    for interface in &snapshot.interfaces {
        datapath(&mut samples, interface);
    }
    firewall(&mut samples, snapshot);
    for service in &snapshot.services {
        samples.count(&SERVICE_MESSAGES, &[&service.name, &service.protocol], service.messages);
    }
    samples.into_families()
}

fn agent(samples: &mut Samples, snapshot: &Snapshot) {
    samples.number(&BUILD_INFO, &[&snapshot.version, std::env::consts::ARCH], 1.0);
    // The file read at the start counts as the first reload, as it does in Prometheus itself.
    let (ok, at_seconds) = snapshot
        .last_reload
        .as_ref()
        .map_or((true, snapshot.started_at_seconds), |reload| (reload.ok, reload.at_seconds));
    samples.number(&RELOAD_SUCCESSFUL, &[], flag(ok));
    samples.number(&RELOAD_TIMESTAMP, &[], at_seconds);
    samples.number(&PROCESS_START, &[], snapshot.started_at_seconds);
    if let Some(process) = &snapshot.process {
        samples.number(&PROCESS_CPU, &[], process.cpu_seconds);
        samples.number(&PROCESS_MEMORY, &[], as_f64(process.resident_bytes));
        samples.number(&PROCESS_DESCRIPTORS, &[], as_f64(process.open_descriptors));
        samples.number(&PROCESS_THREADS, &[], as_f64(process.threads));
    }
}

fn datapath(samples: &mut Samples, interface: &InterfaceSnapshot) {
    for verdict in Verdict::ALL.iter().map(|verdict| verdict.as_str()) {
        samples.count(&XDP_PACKETS, &[&interface.name, verdict], interface.packets(verdict));
        samples.count(&XDP_BYTES, &[&interface.name, verdict], interface.bytes(verdict));
    }
    for mode in MODES {
        let attached = interface.mode.as_deref() == Some(mode);
        samples.number(&XDP_ATTACHED, &[&interface.name, mode], flag(attached));
    }
}

fn firewall(samples: &mut Samples, snapshot: &Snapshot) {
    samples.number(&GENERATION, &[], as_f64(snapshot.generation));
    for rule in &snapshot.rules {
        samples.count(&RULE_PACKETS, &[&rule.name], rule.packets);
        samples.count(&RULE_BYTES, &[&rule.name], rule.bytes);
    }
    for reason in Reason::ALL.iter().copied().filter(|reason| can_refuse(*reason)) {
        samples.count(&DROPS, &[reason.as_str()], refused_packets(snapshot, reason.as_str()));
    }
}

/// Packets that did not pass for this reason, on all interfaces.
pub fn refused_packets(snapshot: &Snapshot, reason: &str) -> u64 {
    let counts = snapshot.interfaces.iter().flat_map(|interface| &interface.counts);
    counts
        .filter(|count| count.reason == reason && count.verdict != Verdict::Allow.as_str())
        .map(|count| count.packets)
        .sum()
}

/// Whether a packet can be refused for this reason; the others only ever let it pass.
pub const fn can_refuse(reason: Reason) -> bool {
    !matches!(reason, Reason::Flow | Reason::Socket | Reason::Essential | Reason::Foreign | Reason::Unarmed)
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}
