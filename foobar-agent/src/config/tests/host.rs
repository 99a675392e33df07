//! What `check` says of the host on which it runs, and of ports that are open to the world.

use super::*;

fn firewall(head: &str, rules: &[(&str, &str)]) -> String {
    let rule = |(index, (action, keys)): (usize, &(&str, &str))| {
        format!("[[firewall.rules]]\nname = 'r{index}'\naction = '{action}'\n{keys}\n")
    };
    let rules: Vec<String> = rules.iter().enumerate().map(rule).collect();
    format!("[firewall]\n{head}\n{}", rules.concat())
}

/// A host with eth0 (192.0.2.1 and `2001:db8::1`) and lo, and a session from 203.0.113.9 to `server`.
fn host(server: &str) -> Here {
    let interface = |name: &str, addresses: &[&str]| LocalInterface {
        name: name.to_owned(),
        loopback: name == "lo",
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
    };
    let client = if server.starts_with('[') { "[2001:db8:1::9]:51234" } else { "203.0.113.9:51234" };
    Here {
        interfaces: Some(vec![
            interface("eth0", &["192.0.2.1", "2001:db8::1"]),
            interface("lo", &["127.0.0.1", "192.0.2.200"]),
        ]),
        session: Some(SshSession { client: client.parse().unwrap(), server: server.parse().unwrap() }),
    }
}

fn said(text: &str, here: &Here, of: &str) -> Vec<String> {
    let result = check_text_on(text, here);
    assert!(result.is_ok(), "{text}\n{result:?}");
    findings(&result).into_iter().filter(|found| found.contains(of)).collect()
}

const SESSION: &str = "THE SSH SESSION";

#[test]
fn a_session_that_would_be_cut_is_said_where_it_is_decided() {
    let here = host("192.0.2.1:22");
    let by = |text: &str| {
        let said = said(text, &here, SESSION);
        assert!(said.len() < 2, "{said:?}");
        said.into_iter().next().unwrap_or_default()
    };
    let ssh = ("allow", "protocol = 'tcp'\nport = 22");
    let drop = "default = 'drop'";
    let cut = "THE SSH SESSION IN WHICH YOU TYPE would be cut: 203.0.113.9:51234 → 192.0.2.1:22 gets";
    assert_eq!(by(&firewall(drop, &[ssh])), "");
    assert_eq!(by(&firewall("default = 'allow'", &[])), "");
    assert_eq!(
        by(&firewall(drop, &[("allow", "protocol = 'tcp'\nport = 2222")])),
        format!("2:11 warning: {cut} drop from the default")
    );
    assert_eq!(
        by(&firewall("default = 'allow'", &[("allow", ""), ("reject", "")])),
        "",
        "an earlier rule lets it pass"
    );
    assert_eq!(
        by(&firewall("default = 'allow'", &[("reject", "from = '203.0.113.0/24'"), ssh])),
        format!("3:1 warning: {cut} reject from the rule `r0`")
    );
    let established = ("allow", "protocol = 'tcp'\nport = 22\ntcp_flags = 'ack/ack'");
    let again = by(&firewall(drop, &[established]));
    assert!(again.contains("could not begin again") && again.contains("drop from the default"), "{again}");
}

#[test]
fn a_session_is_judged_where_it_arrives() {
    let rule = |interface: &str| {
        firewall("default = 'drop'", &[("allow", &format!("interface = '{interface}'\nprotocol = 'tcp'"))])
    };
    let says = |text: &str, here: &Here| !said(text, here, SESSION).is_empty();
    assert!(!says(&rule("eth0"), &host("192.0.2.1:22")));
    assert!(says(&rule("lo"), &host("192.0.2.1:22")));
    assert!(!says(&rule("eth0"), &host("[2001:db8::1]:22")));
    // The firewall is elsewhere.
    let elsewhere = firewall("default = 'drop'\ninterfaces = ['lo']", &[("allow", "protocol = 'udp'")]);
    assert!(!says(&elsewhere, &host("192.0.2.1:22")));
    // An address that no interface has is another network namespace's.
    assert!(!says(&rule("lo"), &host("198.51.100.1:22")));
    // The loopback's own, whose packets arrive anywhere.
    assert!(says(&rule("lo"), &host("192.0.2.200:22")));
    let anywhere = firewall("default = 'drop'", &[("allow", "protocol = 'tcp'")]);
    assert!(says(&rule("eth0"), &host("192.0.2.200:22")) && !says(&anywhere, &host("192.0.2.200:22")));
    assert!(!says(&rule("lo"), &host("127.0.0.1:22")) && says(&rule("eth0"), &host("127.0.0.1:22")));
    let unseen = Here { interfaces: None, ..host("192.0.2.1:22") };
    assert!(says(&rule("eth0"), &unseen) && !says(&anywhere, &unseen));
    // Nobody types.
    assert!(!says(&firewall("default = 'drop'", &[("allow", "protocol = 'udp'")]), &Here::default()));
}

#[test]
fn absent_interfaces_are_said_once_each_and_are_no_error() {
    let here = host("192.0.2.1:22");
    let rules = [
        ("drop", "protocol = 'udp'\ninterface = ['eth0', 'eth7']"),
        ("drop", "protocol = 'tcp'\nport = 1\ninterface = 'eth7'"),
        ("drop", "protocol = 'tcp'\nport = 2\ninterface = 'wg0'"),
    ];
    let text = firewall("default = 'allow'\ninterfaces = ['eth0', 'eth8', 'eth7', 'wg0']", &rules);
    assert_eq!(
        said(&text, &here, "this host has no interface"),
        [
            "3:14 warning: this host has no interface `eth8`",
            "3:14 warning: this host has no interface `eth7`",
            "3:14 warning: this host has no interface `wg0`"
        ]
    );
    assert_eq!(
        said(&firewall("default = 'allow'", &rules), &here, "this host has no interface"),
        [
            "3:1 warning: this host has no interface `eth7`, which is that of the rule `r0`, and of another one",
            "14:1 warning: this host has no interface `wg0`, which is that of the rule `r2`"
        ]
    );
    assert!(said(&text, &Here::default(), "this host has no interface").is_empty());
}

#[test]
fn management_ports_open_to_the_world() {
    let open = |rules: &[(&str, &str)]| -> Vec<String> {
        said(
            &firewall("default = 'drop'\ninterfaces = ['eth0', 'eth1']", rules),
            &Here::default(),
            "to the world",
        )
    };
    let ssh = |keys: &str| format!("protocol = 'tcp'\nport = 22\n{keys}");
    let opens_ssh = ["4:1 warning: the rule `r0` opens port 22 (SSH) to the world"];
    for world in [
        "",
        "from = '0.0.0.0/0'",
        "from = '::/0'",
        "from = ['0.0.0.0/1', '128.0.0.0/1']",
        "from = '!192.0.2.0/24'",
        "to = '192.0.2.1'",
        "to = '2001:db8::1'",
        "from_port = '1024-65535'",
        "tcp_flags = 'syn/syn,ack'",
        "interface = ['eth0', 'eth1']",
    ] {
        assert_eq!(open(&[("allow", &ssh(world))]), opens_ssh, "{world}");
    }
    for closed in [
        "from = '192.0.2.0/24'",
        "from = ['10.0.0.0/8', '2001:db8::/32']",
        "from = '!0.0.0.0/0'\nto = '192.0.2.1'",
        "tcp_flags = 'ack/ack'",
        "interface = 'eth1'",
    ] {
        assert_eq!(open(&[("allow", &ssh(closed))]), Vec::<String>::new(), "{closed}");
    }
    assert!(open(&[("drop", &ssh(""))]).is_empty());
    assert!(open(&[("allow", "protocol = 'udp'")]).is_empty());
    assert!(open(&[("allow", "protocol = 'tcp'\nport = [80, 443]")]).is_empty());
    // What an earlier rule keeps away is not open.
    assert!(open(&[("drop", &ssh("from = '!192.0.2.0/24'")), ("allow", &ssh(""))]).is_empty());
    // Each port is opened by one rule.
    let after = open(&[("allow", &ssh("")), ("allow", "protocol = 'tcp'\nport = ['ssh', 'telnet']")]);
    assert_eq!(after[1..], ["10:1 warning: the rule `r1` opens port 23 (Telnet) to the world"]);
    // One warning a rule, that does not name everything.
    let all = open(&[("allow", "protocol = 'tcp'\nport = '0-65535'")]);
    assert_eq!(
        all,
        [
            "4:1 warning: the rule `r0` opens port 22 (SSH), 23 (Telnet), 111 (RPC), 135 (Windows RPC) and more to the world"
        ]
    );
}

#[test]
fn redundant_rules_are_said() {
    let text = firewall(
        "default = 'drop'",
        &[("drop", "from = '192.0.2.0/24'"), ("allow", "protocol = 'udp'"), ("drop", "protocol = 'tcp'")],
    );
    assert_eq!(
        said(&text, &Here::default(), "redundant"),
        ["11:1 warning: the rule `r2` is redundant: without it, each packet is judged alike"]
    );
}
