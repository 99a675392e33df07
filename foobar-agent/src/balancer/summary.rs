//! From the counters of all cores to one snapshot.

use super::counters::{CodeCounts, Histogram, ListenerCounts, PerCore};
use super::listener::Listener;
use super::snapshot::{
    BackendSnapshot, BalancerSnapshot, CertificateSnapshot, ListenerSnapshot, RequestCount,
};
use super::state::{Backend, SiteCounts, State};

/// Stands for a site or backend where there is none.
const NONE: &str = "none";

/// Sums what the cores counted under this configuration and those that it took over from.
pub(super) fn summarise(state: &State) -> BalancerSnapshot {
    let mut snapshot = BalancerSnapshot {
        listeners: state.listeners.iter().map(|listener| summarise_listener(listener)).collect(),
        ..BalancerSnapshot::default()
    };
    for site in &state.sites {
        summarise_site(&site.name, &site.counts, &mut snapshot);
    }
    summarise_site(NONE, &state.nowhere, &mut snapshot);
    for pool in &state.pools {
        let backends = pool.backends.iter().map(|backend| summarise_backend(&pool.name, backend));
        snapshot.backends.extend(backends);
    }
    let certificates = state.certificates.certificates.iter();
    snapshot.certificates = certificates
        .map(|certificate| CertificateSnapshot {
            name: certificate.name.clone(),
            not_after: certificate.not_after,
        })
        .collect();
    snapshot
}

fn summarise_listener(listener: &Listener) -> ListenerSnapshot {
    let counts = &listener.counts;
    ListenerSnapshot {
        address: listener.bound.to_string(),
        tls: listener.tls,
        connections_accepted: counts.sum(|core| core.accepted.get()),
        handshakes: if listener.tls { ListenerCounts::handshake_sums(counts) } else { Vec::new() },
        handshake_failures: if listener.tls { ListenerCounts::failure_sums(counts) } else { Vec::new() },
    }
}

fn summarise_site(site: &str, counts: &SiteCounts, snapshot: &mut BalancerSnapshot) {
    let mut add = |backend: &str, codes: &PerCore<CodeCounts>| {
        snapshot.requests.extend(CodeCounts::sums(codes).map(|(code, count)| RequestCount {
            site: site.to_owned(),
            backend: backend.to_owned(),
            code,
            count,
        }));
    };
    for (backend, codes) in &counts.backends {
        add(backend, codes);
    }
    add(NONE, &counts.own);
    snapshot.durations.push(Histogram::sum(&counts.durations, site));
}

fn summarise_backend(pool: &str, backend: &Backend) -> BackendSnapshot {
    let counts = &backend.counts;
    BackendSnapshot {
        pool: pool.to_owned(),
        backend: backend.name.clone(),
        address: backend.address.to_string(),
        up: backend.is_up(),
        backup: backend.backup,
        requests: counts.sum(|core| core.requests.get()),
        connections_opened: counts.sum(|core| core.connections_opened.get()),
        connect_failures: counts.sum(|core| core.connect_failures.get()),
        exchange_failures: counts.sum(|core| core.exchange_failures.get()),
        timeouts: counts.sum(|core| core.timeouts.get()),
        retries: counts.sum(|core| core.retries.get()),
        check_failures: backend.check_failures.get(),
    }
}
