//! Warnings about rules that are well-formed and yet hardly meant.

use super::*;

#[test]
fn a_default_that_cuts_what_nobody_thinks_of() {
    let with = |default: &str, essentials: &str, rules: &str| {
        let allow = "[[firewall.rules]]\nname = 'a'\naction = 'allow'\n";
        format!("[firewall]\ndefault = '{default}'\nessentials = {essentials}\n{allow}{rules}\n")
    };
    let (nd, mtu) =
        ("2:11 warning: drop by default cuts neighbour", "2:11 warning: drop by default cuts path-MTU");
    let too_big =
        "[[firewall.rules]]\nname = 'b'\nprotocol = 'icmpv6'\nicmp_type = 'packet-too-big'\naction = ";
    check(&[
        (&with("drop", "false", "protocol = 'tcp'"), &[nd, mtu]),
        (&with("drop", "'icmp-errors'", "protocol = 'tcp'"), &[nd]),
        (&with("drop", "['nd', 'dhcp']", "protocol = 'tcp'"), &[mtu]),
        (&with("reject", "'nd'", "protocol = 'tcp'"), &["2:11 warning: reject by default cuts path-MTU"]),
        (&with("drop", "false", "protocol = ['icmp', 'icmpv6']"), &[]),
        (&with("drop", "false", ""), &[]),
        (&with("drop", "false", "protocol = 'icmpv6'\nicmp_type = ['135', '136', '133', '134', 2]"), &[mtu]),
        (&with("drop", "'nd'", "protocol = 'icmp'\nicmp_type = '3/4'"), &[mtu]),
        (&with("drop", "'nd'", &format!("protocol = 'icmp'\nicmp_type = '3/4'\n{too_big}'allow'")), &[]),
        (&with("drop", "'nd'", &format!("protocol = 'icmp'\nicmp_type = '3/3'\n{too_big}'allow'")), &[mtu]),
        (&with("drop", "'nd'", &format!("protocol = 'icmp'\n{too_big}'drop'")), &[mtu]),
        (&with("allow", "false", "protocol = 'tcp'"), &[]),
        ("[firewall]\ndefault = 'drop'\n", &["2:11 warning: drop by default, and no rule allows anything"]),
        ("[firewall]\ndefault = 'allow'\nessentials = false\n", &[]),
    ]);
}

#[test]
fn rules_that_can_never_match() {
    let rule = |keys: &str| {
        format!(
            "[firewall]\ndefault = 'allow'\ninterfaces = ['eth0']\n[firewall.sets]\nnone = []\n\
             [[firewall.rules]]\nname = 'r'\naction = 'drop'\n{keys}\n[[firewall.rules]]\n\
             name = 'use'\naction = 'drop'\nto = '!@none'\ninterface = ['eth0', 'eth1']\n"
        )
    };
    let never = |why: &str| format!("6:1 warning: the rule `r` can never match: {why}");
    let empty = "5:1 warning: the set `none` is empty";
    check(&[
        (&rule("from = '@none'"), &[empty, &never("no address is left in `from`")]),
        (&rule("to = ['10.0.0.0/8', '!0.0.0.0/0']"), &[empty, &never("no address is left in `to`")]),
        (
            &rule("from = '10.0.0.0/8'\nto = '2001:db8::1'"),
            &[empty, &never("`from` and `to` have no family")],
        ),
        (&rule("from = '::/0'\nprotocol = 1\nicmp_type = 8"), &[empty, &never("its `icmp_type` belongs")]),
        (&rule("interface = ['eth1', 'lo']"), &[empty, &never("its interface `eth1`, `lo` is not one")]),
        (&rule("from = '::/0'\nprotocol = 'icmp'"), &[empty]),
        (&rule("from = ['10.0.0.0/8', '::/0']\nto = '2001:db8::1'"), &[empty]),
    ]);
}

/// Whether a rule with `later` is shadowed by one with `earlier`.
fn shadowed(earlier: &str, later: &str) -> bool {
    let text = format!(
        "[firewall]\ndefault = 'reject'\n[[firewall.rules]]\nname = 'a'\naction = 'drop'\n{earlier}\n\
         [[firewall.rules]]\nname = 'b'\naction = 'allow'\n{later}\n"
    );
    findings(&check_text(&text))
        .iter()
        .any(|found| found.contains("the rule `b` is shadowed by `a` (line 3)"))
}

#[test]
fn shadowed_rules() {
    let tcp = |keys: &str| format!("protocol = 'tcp'\n{keys}");
    assert!(shadowed("", "from = '10.0.0.0/8'"));
    assert!(shadowed("from = '10.0.0.0/8'", "from = ['10.1.0.0/16', '10.2.3.4']"));
    assert!(shadowed("from = '!192.0.2.1'", "from = '10.1.0.0/16'"));
    assert!(shadowed("protocol = ['tcp', 'udp']", "protocol = 'udp'\nport = 53"));
    assert!(shadowed(&tcp("port = ['1-100', 200]"), &tcp("port = [22, '80-81', 200]")));
    assert!(shadowed(&tcp("tcp_flags = 'syn/syn'"), &tcp("tcp_flags = 'syn/syn,ack'")));
    assert!(shadowed("protocol = 1\nicmp_type = 3", "protocol = 1\nicmp_type = ['3/4', '3/1']"));
    assert!(shadowed("interface = ['eth0', 'eth1']", "interface = 'eth1'"));
}

#[test]
fn rules_that_are_not_shadowed() {
    let tcp = |keys: &str| format!("protocol = 'tcp'\n{keys}");
    assert!(!shadowed("from = '10.0.0.0/8'", ""));
    assert!(!shadowed("from = '10.0.0.0/8'", "from = ['10.1.0.0/16', '11.0.0.0/8']"));
    assert!(!shadowed("from = '10.0.0.0/8'", "to = '10.0.0.0/8'"));
    assert!(!shadowed(&tcp("port = 22"), &tcp("port = '22-23'")));
    assert!(!shadowed(&tcp("tcp_flags = 'syn/syn,ack'"), &tcp("tcp_flags = 'syn/syn'")));
    assert!(!shadowed("protocol = 1\nicmp_type = '3/4'", "protocol = 1\nicmp_type = 3"));
    // A later fragment of TCP has no port, and matches only the second rule.
    assert!(!shadowed(&tcp("port = '0-65535'"), &tcp("")));
}
