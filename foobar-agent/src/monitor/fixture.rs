//! A snapshot in which everything has happened, for the tests of whatever shows snapshots.

use crate::balancer::{
    BackendSnapshot, BalancerSnapshot, CertificateSnapshot, DurationBucket, DurationSnapshot, HandshakeCount,
    HandshakeFailureCount, ListenerSnapshot, RequestCount,
};
use crate::monitor::process::ProcessSnapshot;
use crate::monitor::snapshot::{
    AnswerCount, InterfaceSnapshot, OutcomeCount, RateSnapshot, ReloadSnapshot, RuleSnapshot, SampleCounts,
    ServiceSnapshot, Snapshot, Standing,
};
use crate::privileges::{Kept, Privileges};

/// When the scenario is looked at, in seconds since the epoch.
pub(crate) const NOW_SECONDS: f64 = 1_790_000_000.0;

/// A balancer host three days after its start, with one interface missing, one backend down, a
/// certificate about to expire and a refused reload.
pub(crate) fn scenario() -> Snapshot {
    Snapshot {
        standing: Standing {
            configuration: Some("/etc/foobar/foobar.toml".to_owned()),
            ..Standing::default()
        },
        host: "lb".to_owned(),
        version: "0.1.0".to_owned(),
        started_at_seconds: NOW_SECONDS - 273_600.5,
        generation: 7,
        image_bytes: 4096,
        interfaces: vec![
            InterfaceSnapshot {
                name: "eth0".to_owned(),
                mode: Some("native".to_owned()),
                counts: vec![
                    outcome("allow", "rule", 1_234_567, 987_654_321),
                    outcome("allow", "essential", 42, 3_612),
                    outcome("drop", "policy", 1_003, 60_180),
                    outcome("reject", "rule", 5, 300),
                    outcome("drop", "malformed-tcp", 2, 108),
                ],
            },
            InterfaceSnapshot {
                name: "eth1".to_owned(),
                mode: Some("generic".to_owned()),
                counts: vec![outcome("drop", "policy", 7, 420)],
            },
            InterfaceSnapshot { name: "eth2".to_owned(), mode: None, counts: Vec::new() },
        ],
        rules: vec![
            rule("web", "allow", 1_234_500, 987_650_000),
            RuleSnapshot { rate: Some(rate()), ..rule("ssh", "allow", 67, 4_321) },
            rule("telnet", "reject", 5, 300),
            rule(RuleSnapshot::POLICY, "drop", 1_010, 60_600),
        ],
        answers: vec![answer("tcp-rst", 3), answer("limit", 2)],
        samples: SampleCounts { emitted: 120, lost: 4, withheld: 9 },
        services: vec![ServiceSnapshot {
            name: "nginx".to_owned(),
            port: 80,
            protocol: "http".to_owned(),
            messages: 61_002,
        }],
        privileges: Some(privileges()),
        balancer: Some(balancer()),
        last_reload: Some(ReloadSnapshot {
            at_seconds: NOW_SECONDS - 310.0,
            ok: false,
            message: "/etc/foobar/foobar.toml:12:1: error: unknown key `defualt`\n  hint: write `default`"
                .to_owned(),
        }),
        process: Some(ProcessSnapshot {
            cpu_seconds: 12.34,
            resident_bytes: 18_874_368,
            open_descriptors: 41,
            threads: 3,
        }),
    }
}

fn balancer() -> BalancerSnapshot {
    BalancerSnapshot {
        listeners: vec![
            ListenerSnapshot {
                address: "0.0.0.0:80".to_owned(),
                connections_accepted: 11,
                ..ListenerSnapshot::default()
            },
            ListenerSnapshot {
                address: "0.0.0.0:443".to_owned(),
                tls: true,
                connections_accepted: 1_500,
                handshakes: vec![
                    HandshakeCount { version: "TLSv1.2".to_owned(), resumed: false, count: 100 },
                    HandshakeCount { version: "TLSv1.3".to_owned(), resumed: true, count: 1_300 },
                ],
                handshake_failures: vec![HandshakeFailureCount { reason: "not-tls".to_owned(), count: 9 }],
            },
        ],
        requests: vec![
            request("www.foobar.com", "web1", 200, 30_500),
            request("www.foobar.com", "web2", 200, 30_499),
            request("www.foobar.com", "none", 503, 3),
        ],
        durations: vec![DurationSnapshot {
            site: "www.foobar.com".to_owned(),
            buckets: vec![
                DurationBucket { le_seconds: 0.001, count: 50_000 },
                DurationBucket { le_seconds: 0.01, count: 60_900 },
                DurationBucket { le_seconds: 1.0, count: 61_000 },
            ],
            sum_seconds: 73.25,
            count: 61_002,
        }],
        backends: vec![backend("web1", "10.0.1.11:80", true), backend("web2", "[fd00:1::12]:80", false)],
        certificates: vec![
            certificate("www.foobar.com", 1_790_000_000 + 9 * 86_400),
            certificate("www.foobar.com", 1_790_000_000 + 80 * 86_400),
        ],
    }
}

fn privileges() -> Privileges {
    let kept = |user: &str, capabilities: &[&str]| Kept {
        user: user.to_owned(),
        capabilities: capabilities.iter().map(|name| format!("CAP_{name}")).collect(),
        landlock: Some(6),
        seccomp: true,
    };
    let kernel = kept("root", &["DAC_READ_SEARCH", "NET_BIND_SERVICE", "NET_ADMIN", "PERFMON", "BPF"]);
    Privileges { agent: kept("foobar", &[]), kernel }
}

fn outcome(verdict: &str, reason: &str, packets: u64, bytes: u64) -> OutcomeCount {
    OutcomeCount { verdict: verdict.to_owned(), reason: reason.to_owned(), packets, bytes }
}

fn rate() -> RateSnapshot {
    RateSnapshot { rate: "10 connections/minute per source".to_owned(), over_packets: 11, over_bytes: 660 }
}

fn rule(name: &str, action: &str, packets: u64, bytes: u64) -> RuleSnapshot {
    RuleSnapshot { name: name.to_owned(), action: action.to_owned(), packets, bytes, rate: None }
}

fn answer(outcome: &str, packets: u64) -> AnswerCount {
    AnswerCount { outcome: outcome.to_owned(), packets }
}

fn request(site: &str, backend: &str, code: u16, count: u64) -> RequestCount {
    RequestCount { site: site.to_owned(), backend: backend.to_owned(), code, count }
}

fn backend(name: &str, address: &str, up: bool) -> BackendSnapshot {
    BackendSnapshot {
        pool: "web".to_owned(),
        backend: name.to_owned(),
        address: address.to_owned(),
        up,
        requests: 30_501,
        connections_opened: 12,
        connect_failures: 4,
        exchange_failures: 2,
        timeouts: 1,
        retries: 6,
        check_failures: 13,
        ..BackendSnapshot::default()
    }
}

fn certificate(name: &str, not_after: i64) -> CertificateSnapshot {
    CertificateSnapshot { name: name.to_owned(), not_after }
}
