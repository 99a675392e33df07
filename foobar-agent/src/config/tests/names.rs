//! Names of protocols and services: built in first, then this host's.

use super::*;
use crate::firewall::ruleset::Rule;

fn rule_text(keys: &str) -> String {
    format!("[firewall]\ndefault = 'allow'\n[[firewall.rules]]\nname = 'r'\naction = 'allow'\n{keys}\n")
}

fn rule_in(folder: &Path, keys: &str) -> Result<Rule, Vec<String>> {
    match read_text_in(folder, &rule_text(keys)) {
        Ok(loaded) => Ok(loaded.config.firewall.ruleset.unwrap().rules.remove(0)),
        Err(errors) => Err(errors
            .iter()
            .map(|e| format!("{}; {}", e.message, e.hint.as_deref().unwrap_or("")))
            .collect()),
    }
}

fn rule(keys: &str) -> Result<Rule, Vec<String>> {
    rule_in(Path::new("/nonexistent"), keys)
}

fn ports(keys: &str) -> Vec<(u16, u16)> {
    rule(keys).unwrap().ports.unwrap().iter().map(|range| (*range.start(), *range.end())).collect()
}

/// The one error, with its hint.
fn error(keys: &str) -> String {
    let errors = rule(keys).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.into_iter().next().unwrap()
}

#[test]
fn protocols_by_name_and_alias() {
    let numbers = |name: &str| rule(&format!("protocol = {name}")).unwrap().protocols.unwrap();
    let names = "['icmp', 'ICMP', 'icmpv6', 'ipv6-icmp', 'IPv6-ICMP', 'tcp', 'TCP', 'udp', 'sctp', 'esp', \
                 'IPSEC-ESP', 'gre', 'GRE', 'udplite', 'UDPLite', 'ospf', 'OSPFIGP', 'ipencap']";
    assert_eq!(numbers(names), [1, 58, 6, 17, 132, 50, 47, 136, 89, 4]);
    assert_eq!(numbers("'hopopt'"), [0]);
    assert_eq!(numbers("'isis'"), [124]);
}

#[test]
fn what_is_no_protocol_is_explained() {
    assert!(error("protocol = 'Tcp'").contains("did you mean `tcp`?"));
    assert!(error("protocol = 'icmp6'").contains("did you mean `icmpv6`?"));
    for any in ["ip", "IP", "any", "all"] {
        assert!(error(&format!("protocol = '{any}'")).contains("absent, it is any protocol"), "{any}");
    }
    assert!(error("protocol = 'ipv4'").contains("from = \"0.0.0.0/0\""));
    // The first letter is Cyrillic.
    assert!(error("protocol = '\u{442}cp'").contains("did you mean `tcp`? ('\u{442}' is U+0442)"));
}

#[test]
fn numbers_that_hardly_mean_what_somebody_wanted_are_said() {
    let warned = |protocol: &str| findings(&read_text(&rule_text(&format!("protocol = {protocol}"))));
    for ah in ["'ah'", "51", "'IPSEC-AH'"] {
        assert!(warned(ah)[0].starts_with("6:12 warning: an authentication header is skipped"), "{ah}");
    }
    assert!(warned("'ipip'")[0].starts_with("6:12 warning: `ipip` is protocol 94"));
    assert!(warned("'ipv6'")[0].starts_with("6:12 warning: `ipv6` is protocol 41"));
    for fine in ["94", "41", "'ipencap'", "'gre'"] {
        assert!(warned(fine).is_empty(), "{fine}");
    }
}

#[test]
fn ports_by_name_alone_and_in_lists() {
    assert_eq!(ports("protocol = 'tcp'\nport = 'https'"), [(443, 443)]);
    assert_eq!(
        ports("protocol = 'tcp'\nport = ['www', 'https', 8080, '9000-9001', 'http-alt']"),
        [(80, 80), (443, 443), (8080, 8080), (9000, 9001)]
    );
    assert_eq!(ports("protocol = ['tcp', 'udp']\nport = 'domain'"), [(53, 53)]);
    assert_eq!(ports("protocol = 'udplite'\nport = 'domain'"), [(53, 53)]);
    assert_eq!(ports("protocol = 'sctp'\nport = 'sip'"), [(5060, 5060)]);
    let from = rule("protocol = 'udp'\nfrom_port = 'ntp'").unwrap().from_ports.unwrap();
    assert_eq!(from, [123..=123]);
}

#[test]
fn a_name_must_exist_for_each_protocol() {
    let syslog = error("protocol = ['tcp', 'udp']\nport = 'shell'");
    assert!(syslog.contains("`shell` is no service of udp; write the number, 514"), "{syslog}");
    let vxlan = error("protocol = 'tcp'\nport = 'vxlan'");
    assert!(vxlan.contains("`vxlan` is no service of `tcp`; it is 4789 of udp"), "{vxlan}");
}

#[test]
fn unknown_names_are_guessed() {
    assert!(error("protocol = 'tcp'\nport = 'htps'").contains("did you mean `https`?"));
    assert!(error("protocol = 'tcp'\nport = 'HTTPS'").contains("did you mean `https`?"));
    assert!(error("protocol = 'udp'\nport = 'dns'").contains("did you mean `domain`?"));
    assert!(error("protocol = 'tcp'\nport = 'rdp'").contains("did you mean `ms-wbt-server`?"));
    assert!(error("protocol = 'tcp'\nport = 'ssh-telnet'").contains("ranges are of numbers"));
    assert!(error("protocol = 'tcp'\nport = 'ssh-25'").contains("ranges are of numbers"));
    // One mistake is one error: without a protocol that has ports a name is not blamed.
    assert!(error("protocol = 'tpc'\nport = 'ssh'").contains("did you mean `tcp`?"));
    assert!(error("port = 'ssh'").contains("needs `protocol`"));
}

#[test]
fn this_hosts_files_add_names_and_change_none() {
    let folder = Folder::new("host-names");
    folder.write(
        "services",
        "# comment\nssh\t2022/tcp\nbackup 7777/tcp bkp backups # comment\nbackup 7778/udp\n\
                              broken\nhuge 70000/tcp\nbackup 9999/tcp\n",
    );
    folder.write("protocols", "ours\t200\tOURS O\ntcp 99 TCP\n");
    let ports = |keys: &str| rule_in(folder.path(), keys).map(|rule| rule.ports.unwrap());
    assert_eq!(ports("protocol = 'tcp'\nport = 'ssh'"), Ok(vec![22..=22]));
    assert_eq!(ports("protocol = 'tcp'\nport = ['bkp', 'backups']"), Ok(vec![7777..=7777]));
    assert_eq!(ports("protocol = 'udplite'\nport = 'backup'"), Ok(vec![7778..=7778]));
    let both = ports("protocol = ['tcp', 'udp']\nport = 'backup'").unwrap_err();
    assert!(both[0].contains("`backup` is port 7777 of tcp and 7778 of udp"), "{both:?}");
    assert!(ports("protocol = 'tcp'\nport = 'huge'").is_err());
    let protocols =
        |name: &str| rule_in(folder.path(), &format!("protocol = '{name}'")).map(|r| r.protocols.unwrap());
    assert_eq!(
        (protocols("tcp"), protocols("O"), protocols("OURS")),
        (Ok(vec![6]), Ok(vec![200]), Ok(vec![200]))
    );
}
