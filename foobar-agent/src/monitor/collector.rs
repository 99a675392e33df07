//! Samples of every family, made afresh from a [`Snapshot`] at each scrape. Mirrors no counter:
//! what a scrape shows is what the snapshot says.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use foobar_ebpf::abi::answer::Outcome;
use foobar_ebpf::abi::event;
use foobar_ebpf::verdict::{Reason, Verdict};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Registry, TextEncoder};

use super::family::{Distribution, Samples, as_f64};
use super::metrics::{self, FAMILIES};
use super::snapshot::{InterfaceSnapshot, SampleCounts, Snapshot};
use crate::balancer::{BackendSnapshot, BalancerSnapshot, DurationSnapshot, ListenerSnapshot};

/// `Content-Type` of [`Exposition::render`].
pub const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

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
        samples.count(&metrics::SERVICE_MESSAGES, &[&service.name, &service.protocol], service.messages);
    }
    if let Some(balancer) = &snapshot.balancer {
        self::balancer(&mut samples, balancer);
    }
    samples.into_families()
}

fn agent(samples: &mut Samples, snapshot: &Snapshot) {
    samples.number(&metrics::BUILD_INFO, &[&snapshot.version, std::env::consts::ARCH], 1.0);
    // The file read at the start counts as the first reload, as it does in Prometheus itself.
    let (ok, at_seconds) = snapshot
        .last_reload
        .as_ref()
        .map_or((true, snapshot.started_at_seconds), |reload| (reload.ok, reload.at_seconds));
    samples.number(&metrics::RELOAD_SUCCESSFUL, &[], flag(ok));
    samples.number(&metrics::RELOAD_TIMESTAMP, &[], at_seconds);
    samples.number(&metrics::PROCESS_START, &[], snapshot.started_at_seconds);
    if let Some(process) = &snapshot.process {
        samples.number(&metrics::PROCESS_CPU, &[], process.cpu_seconds);
        samples.number(&metrics::PROCESS_MEMORY, &[], as_f64(process.resident_bytes));
        samples.number(&metrics::PROCESS_DESCRIPTORS, &[], as_f64(process.open_descriptors));
        samples.number(&metrics::PROCESS_THREADS, &[], as_f64(process.threads));
    }
}

fn datapath(samples: &mut Samples, interface: &InterfaceSnapshot) {
    for verdict in Verdict::ALL.iter().map(|verdict| verdict.as_str()) {
        samples.count(&metrics::XDP_PACKETS, &[&interface.name, verdict], interface.packets(verdict));
        samples.count(&metrics::XDP_BYTES, &[&interface.name, verdict], interface.bytes(verdict));
    }
    for mode in MODES {
        let attached = interface.mode.as_deref() == Some(mode);
        samples.number(&metrics::XDP_ATTACHED, &[&interface.name, mode], flag(attached));
    }
}

fn firewall(samples: &mut Samples, snapshot: &Snapshot) {
    samples.number(&metrics::GENERATION, &[], as_f64(snapshot.generation));
    samples.number(&metrics::IMAGE_BYTES, &[], as_f64(snapshot.image_bytes));
    for rule in &snapshot.rules {
        samples.count(&metrics::RULE_PACKETS, &[&rule.name], rule.packets);
        samples.count(&metrics::RULE_BYTES, &[&rule.name], rule.bytes);
        if let Some(rate) = &rule.rate {
            samples.count(&metrics::RULE_OVER, &[&rule.name], rate.over_packets);
        }
    }
    let SampleCounts { emitted, lost, withheld } = snapshot.samples;
    for (outcome, packets) in [
        (event::Outcome::Emitted, emitted),
        (event::Outcome::Lost, lost),
        (event::Outcome::Withheld, withheld),
    ] {
        samples.count(&metrics::SAMPLES, &[outcome.as_str()], packets);
    }
    for reason in Reason::ALL.iter().copied().filter(|reason| can_refuse(*reason)) {
        samples.count(&metrics::DROPS, &[reason.as_str()], refused_packets(snapshot, reason.as_str()));
    }
    for outcome in Outcome::ALL {
        let family = if outcome.is_sent() { &metrics::REJECT_ANSWERS } else { &metrics::REJECT_WITHHELD };
        let count = snapshot.answers.iter().find(|count| count.outcome == outcome.as_str());
        samples.count(family, &[outcome.as_str()], count.map_or(0, |count| count.packets));
    }
}

fn balancer(samples: &mut Samples, balancer: &BalancerSnapshot) {
    for listener in &balancer.listeners {
        self::listener(samples, listener);
    }
    for request in &balancer.requests {
        let code = request.code.to_string();
        samples.count(&metrics::REQUESTS, &[&request.site, &request.backend, &code], request.count);
    }
    for duration in &balancer.durations {
        samples.distribution(&metrics::REQUEST_DURATION, &[&duration.site], &distribution(duration));
    }
    for backend in &balancer.backends {
        self::backend(samples, backend);
    }
    // Two files may hold certificates of one name (RSA and ECDSA): the first to end is what matters.
    let mut not_after = BTreeMap::new();
    for certificate in &balancer.certificates {
        let first = not_after.entry(certificate.name.as_str()).or_insert(certificate.not_after);
        *first = certificate.not_after.min(*first);
    }
    for (name, seconds) in not_after {
        samples.number(&metrics::CERTIFICATE_NOT_AFTER, &[name], timestamp(seconds));
    }
}

fn listener(samples: &mut Samples, listener: &ListenerSnapshot) {
    let address = listener.address.as_str();
    samples.count(&metrics::CONNECTIONS, &[address], listener.connections_accepted);
    for handshake in &listener.handshakes {
        let resumed = if handshake.resumed { "true" } else { "false" };
        samples.count(&metrics::HANDSHAKES, &[address, &handshake.version, resumed], handshake.count);
    }
    for failure in &listener.handshake_failures {
        samples.count(&metrics::HANDSHAKE_FAILURES, &[address, &failure.reason], failure.count);
    }
}

fn backend(samples: &mut Samples, backend: &BackendSnapshot) {
    let labels = [backend.pool.as_str(), backend.backend.as_str()];
    let [pool, name] = labels;
    samples.number(&metrics::BACKEND_UP, &labels, flag(backend.up));
    samples.count(&metrics::BACKEND_REQUESTS, &labels, backend.requests);
    samples.count(&metrics::BACKEND_CONNECTIONS, &labels, backend.connections_opened);
    for (reason, count) in [
        ("connect", backend.connect_failures),
        ("exchange", backend.exchange_failures),
        ("timeout", backend.timeouts),
    ] {
        samples.count(&metrics::BACKEND_FAILURES, &[pool, name, reason], count);
    }
    samples.count(&metrics::BACKEND_RETRIES, &labels, backend.retries);
    samples.count(&metrics::BACKEND_CHECK_FAILURES, &labels, backend.check_failures);
}

fn distribution(duration: &DurationSnapshot) -> Distribution {
    Distribution {
        buckets: duration.buckets.iter().map(|bucket| (bucket.le_seconds, bucket.count)).collect(),
        sum: duration.sum_seconds,
        count: duration.count,
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds since the epoch are exact in a double")]
fn timestamp(seconds: i64) -> f64 {
    seconds as f64
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
