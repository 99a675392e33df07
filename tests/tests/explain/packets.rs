//! One packet, in words or as hex digits.

use super::{Bench, Ended, RULES, frame, objects, packet};
use foobar_tests::frame::Transport;

fn assert_ended(ended: &Ended, code: i32, out: &str) {
    assert_eq!((ended.code, ended.out.as_str()), (Some(code), out), "{}", ended.err);
}

#[test]
fn a_packet_in_words_is_explained_to_people() {
    let bench = Bench::new(RULES);
    let ended = bench.explain(&["--why", "tcp", "from", "203.0.113.9:4000", "to", "192.0.2.1:443"]);
    let expected = "\
packet   tcp from 203.0.113.9:4000 to 192.0.2.1:443 flags syn
arrives  on eth0
verdict  allow
reason   rule: the first rule that matches
rule     web (web1.toml:11)
not by   ssh  web1.toml:5  port: 443
";
    assert_ended(&ended, 0, expected);
}

#[test]
fn the_object_of_a_packet_is_the_documented_one_to_the_letter() {
    let bench = Bench::new(RULES);
    let cases = [
        (
            "tcp from 203.0.113.9 to 192.0.2.1:22",
            "{\"index\":0,\"verdict\":\"allow\",\"rule\":\"ssh\",\"reason\":\"rule\"}\n",
        ),
        (
            "tcp from 198.51.100.9 to 192.0.2.1:22",
            "{\"index\":0,\"verdict\":\"drop\",\"rule\":null,\"reason\":\"policy\"}\n",
        ),
        (
            "icmpv6 neighbor-solicitation from fe80::9 to fe80::1",
            "{\"index\":0,\"verdict\":\"allow\",\"rule\":null,\"reason\":\"essential\"}\n",
        ),
    ];
    for (words, expected) in cases {
        assert_ended(&bench.explain(&["--json", words]), 0, expected);
    }
    let why = bench.explain(&["--json", "--why=1", "udp from 198.51.100.9 to 192.0.2.1:54"]);
    let expected = "{\"index\":0,\"verdict\":\"drop\",\"rule\":null,\"reason\":\"policy\",\"why\":[{\"rule\":\"ssh\",\
                    \"field\":\"from\",\"packet\":\"198.51.100.9\"}],\"why_omitted\":2}\n";
    assert_ended(&why, 0, expected);
}

#[test]
fn the_arrival_interface_is_the_only_one_that_is_named_unless_another_is_said() {
    let bench = Bench::new(RULES);
    let dns = "udp from 198.51.100.9 to 192.0.2.1:53";
    let allowed = objects(&[("allow", Some("dns"), "rule")]);
    assert_ended(&bench.explain(&["--json", dns]), 0, &allowed);
    assert_ended(&bench.explain(&["--json", "--interface", "eth0", dns]), 0, &allowed);
    // It exists nowhere.
    let elsewhere = bench.explain(&["--json", &format!("{dns} on wan7")]);
    assert_ended(&elsewhere, 0, &objects(&[("drop", None, "policy")]));
    assert!(elsewhere.err.contains("wan7 is not among firewall.interfaces: eth0"), "{}", elsewhere.err);
    let both = bench.explain(&["--interface", "eth0", &format!("{dns} on wan7")]);
    assert_eq!(both.code, Some(2), "{}", both.err);
}

#[test]
fn digits_are_judged_as_they_are_given() {
    let bench = Bench::new(RULES);
    let bytes = frame(&packet(Transport::syn(4000, 443)));
    let digits = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    assert_ended(
        &bench.explain(&["--json", "--hex", &digits]),
        0,
        &objects(&[("allow", Some("web"), "rule")]),
    );
    let ended = bench.explain_input(&["--json", "--hex", "-"], digits.as_bytes());
    assert_ended(&ended, 0, &objects(&[("allow", Some("web"), "rule")]));
    // The kernel's test run refuses what has no whole Ethernet header.
    assert_ended(&bench.explain(&["--json", "--hex", "0200"]), 0, &objects(&[("drop", None, "malformed")]));
    let arp = format!("{}0806{}", "00".repeat(12), "00".repeat(28));
    assert_ended(&bench.explain(&["--json", "--hex", &arp]), 0, &objects(&[("allow", None, "foreign")]));
}

#[test]
fn a_host_without_rules_lets_pass_what_is_malformed_too() {
    let bench = Bench::new("[host]\nname = \"web1\"\n");
    assert_ended(&bench.explain(&["--json", "--hex", "00"]), 0, &objects(&[("allow", None, "malformed")]));
    let ended = bench.explain(&["--json", "tcp from 203.0.113.9 to 192.0.2.1:22"]);
    assert_ended(&ended, 0, &objects(&[("allow", None, "policy")]));
}

#[test]
fn whose_fault_it_is_decides_the_exit_code() {
    let bench = Bench::new(RULES);
    let words = "tcp from 203.0.113.9 to 192.0.2.1:22";
    let usage: [&[&str]; 5] = [
        &[],
        &["tpc from 203.0.113.9 to 192.0.2.1:22"],
        &["--hex", "0g"],
        &["--hex", "00", words],
        &["--summary", "--json", words],
    ];
    for arguments in usage {
        let ended = bench.explain(arguments);
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{arguments:?}: {}", ended.err);
    }
    let broken = Bench::new("[firewall]\n");
    let ended = broken.explain(&[words]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{}", ended.err);
    assert!(ended.err.contains("web1.toml:1:1: error: "), "{}", ended.err);
    let absent = bench.explain(&["--pcap", "absent.pcap"]);
    assert_eq!(absent.code, Some(1), "{}", absent.err);
    assert!(absent.err.contains("absent.pcap: error: cannot open the capture"), "{}", absent.err);
    let none: Ended = bench.command(&["--run-dir", ".", words]).output().unwrap().into();
    assert_eq!(none.code, Some(3), "{}", none.err);
    assert!(none.err.contains("no agent runs here"), "{}", none.err);
}

#[test]
fn without_privilege_it_says_so() {
    let bench = Bench::new(RULES);
    let binary = foobar_tests::agent::binary().unwrap();
    let mut command = std::process::Command::new("setpriv");
    command.arg("--bounding-set=-bpf,-perfmon,-sys_admin,-net_admin").arg(binary);
    command.args(["explain", "--config"]).arg(bench.path("web1.toml"));
    command.arg("tcp from 203.0.113.9 to 192.0.2.1:22");
    let ended: Ended = command.output().unwrap().into();
    assert_eq!((ended.code, ended.out.as_str()), (Some(3), ""), "{}", ended.err);
    assert!(ended.err.contains("missing CAP_BPF") && ended.err.contains("run as root"), "{}", ended.err);
}
