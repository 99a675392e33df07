//! A file with every key loads to the model that it means.

use std::path::PathBuf;
use std::sync::Arc;

use foobar_ebpf::verdict::Verdict;

use super::super::model::*;
use super::*;
use crate::firewall::address::{AddressSet, Prefix};
use crate::firewall::rate::{Period, Rate, SourcePrefix, Unit};
use crate::firewall::ruleset::{Essentials, IcmpMatch, Rule, Ruleset, TcpFlags};

pub(super) const FULL: &str = include_str!("full.toml");

fn set(prefixes: &[&str]) -> AddressSet {
    let prefix = |text: &&str| {
        let (address, length) = text.split_once('/').unwrap();
        Prefix::new(address.parse().unwrap(), length.parse().unwrap()).unwrap()
    };
    prefixes.iter().map(prefix).collect()
}

fn rule(name: &str, line: u32, action: Verdict) -> Rule {
    Rule {
        name: name.to_owned(),
        line,
        action,
        from: None,
        to: None,
        protocols: None,
        ports: None,
        from_ports: None,
        icmp_types: None,
        tcp_flags: None,
        interfaces: None,
        rate: None,
        log: None,
    }
}

fn rules() -> Vec<Rule> {
    let office = set(&["203.0.113.0/24", "2001:db8:1::/48"]);
    let ssh_from = set(&["203.0.113.0/25", "2001:db8:1::/48", "198.51.100.0/25", "198.51.100.200/32"]);
    let icmp = |protocol, kind, code| IcmpMatch { protocol, kind, code };
    vec![
        Rule {
            from: Some(set(&["192.0.2.64/26", "2001:db8:bad::/48"]).into()),
            ..rule("blocked", 19, Verdict::Drop)
        },
        Rule {
            from: Some(ssh_from.into()),
            to: Some(set(&["192.0.2.0/24"]).into()),
            protocols: Some(vec![6]),
            ports: Some(vec![22..=22, 8000..=8080]),
            from_ports: Some(vec![1024..=65535]),
            tcp_flags: Some(TcpFlags { set: 0x02, of: 0x12 }),
            interfaces: Some(vec!["eth0".to_owned()]),
            rate: Some(Rate {
                count: 10,
                unit: Unit::Connections,
                period: Period::Minute,
                per_source: Some(SourcePrefix { ipv4: 24, ipv6: 48 }),
            }),
            log: None,
            ..rule("ssh", 24, Verdict::Allow)
        },
        Rule {
            protocols: Some(vec![1, 58]),
            icmp_types: Some(vec![icmp(1, 8, None), icmp(58, 128, None)]),
            ..rule("ping", 39, Verdict::Allow)
        },
        Rule {
            from: Some(AddressSet::all().difference(&office).into()),
            protocols: Some(vec![1]),
            icmp_types: Some(vec![icmp(1, 3, Some(4)), icmp(1, 11, None), icmp(1, 0, None)]),
            ..rule("too-big", 45, Verdict::Allow)
        },
    ]
}

fn balancer(folder: &Path) -> Balancer {
    let backend = |name: &str, address: &str, backup: bool| Backend {
        name: name.to_owned(),
        address: address.parse().unwrap(),
        server_name: backup.then(|| format!("{name}.internal")),
        backup,
    };
    Balancer {
        http: vec!["0.0.0.0:80".parse().unwrap(), "[::]:80".parse().unwrap()],
        https: vec!["0.0.0.0:443".parse().unwrap(), "[::]:443".parse().unwrap()],
        workers: 2.try_into().ok(),
        certificates: vec![CertificateFiles {
            cert: folder.join("fullchain.pem"),
            key: PathBuf::from("/etc/ssl/key.pem"),
        }],
        sites: vec![Site { hosts: vec!["www.foobar.com".to_owned(), "foobar.com".to_owned()], pool: 0 }],
        pools: vec![Pool {
            name: "web".to_owned(),
            algorithm: Algorithm::RoundRobin,
            tls: Some(PoolTls {
                ca: Some(folder.join("backends.pem")),
                server_name: Some("web.internal".to_owned()),
                client: Some(CertificateFiles {
                    cert: folder.join("client.pem"),
                    key: folder.join("client-key.pem"),
                }),
            }),
            backends: vec![
                backend("web1", "192.0.2.11:80", false),
                backend("web2", "[2001:db8::12]:80", true),
            ],
        }],
    }
}

#[test]
fn every_key_reaches_the_model() {
    let folder = Folder::new("full");
    let file = folder.write("foobar.toml", FULL);
    folder.write("blocklist.txt", "# comment\n192.0.2.64/26 # inline\r\n\n  2001:db8:bad::/48\n192.0.2.70");
    let loaded = load(&file).unwrap();
    let expected = Config {
        host: Host {
            name: "web1".to_owned(),
            user: Some("www-data".to_owned()),
            run_dir: PathBuf::from("/run/foobar-web1"),
            state_dir: folder.path().join("state"),
            pin_dir: PathBuf::from("/sys/fs/bpf/web1"),
        },
        firewall: Firewall {
            interfaces: Interfaces::Named(vec!["eth0".to_owned(), "eth1".to_owned()]),
            mode: AttachMode::Generic,
            ruleset: Some(Ruleset {
                default: Verdict::Drop,
                essentials: Essentials { neighbour_discovery: true, icmp_errors: true, ..Essentials::NONE },
                rules: rules(),
            }),
            never_ban: Arc::new([Prefix::host("198.51.100.7".parse().unwrap())].into_iter().collect()),
        },
        balancer: Some(balancer(folder.path())),
        monitor: Monitor {
            listen: vec!["127.0.0.1:9977".parse().unwrap()],
            services: vec![Service { name: "nginx".to_owned(), port: 80, protocol: ServiceProtocol::Http }],
        },
    };
    assert_eq!(loaded.config, expected);
    let warnings = findings(&Ok(loaded));
    assert_eq!(warnings.len(), 5, "{warnings:?}");
    assert!(warnings.iter().all(|warning| warning.contains("there is no file")), "{warnings:?}");
}

#[test]
fn the_embedded_default_judges_nothing() {
    let loaded = embedded_default();
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let firewall = Firewall {
        interfaces: Interfaces::Auto,
        mode: AttachMode::Auto,
        ruleset: None,
        never_ban: Arc::default(),
    };
    assert_eq!(loaded.config.firewall, firewall);
    assert_eq!(loaded.config.balancer, None);
    assert_eq!(loaded.config.monitor.listen, ["127.0.0.1:9977".parse().unwrap()]);
    assert!(!loaded.config.host.name.is_empty());
}

#[test]
fn an_empty_file_is_the_embedded_default() {
    assert_eq!(read_text("").unwrap(), embedded_default());
}
