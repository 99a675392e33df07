//! `foobar-agent plan` between two files; against what an agent runs, see `running`.

use std::fs;

use super::{Bench, RULES, frame, packet, pcap};
use foobar_tests::frame::Transport;

fn bench(new: &str) -> Bench {
    let bench = Bench::new(RULES);
    fs::write(bench.path("new.toml"), new).unwrap();
    bench
}

const AGAINST: [&str; 3] = ["new.toml", "--against", "web1.toml"];

#[test]
fn the_same_in_other_words_changes_nothing() {
    let other_words = RULES
        .replace("from = \"203.0.113.0/24\"", "from = [\"203.0.113.128/25\", \"203.0.113.0/25\"]")
        .replace("port = [80, 443]", "port = [443, \"http\"]")
        .replace("protocol = \"udp\"", "protocol = 17");
    let ended = bench(&other_words).plan(&AGAINST);
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (Some(0), "Nothing changes: neither rules nor interfaces.\n"),
        "{}",
        ended.err
    );
}

#[test]
fn what_differs_is_said_rule_by_rule_and_for_packets_of_a_capture() {
    let new = RULES
        .replace("name = \"web\"", "name = \"www\"")
        .replace("\"allow\"\nprotocol = \"udp\"", "\"reject\"\nprotocol = \"udp\"")
        .replace("port = 22", "port = [22, 2222]");
    let bench = bench(&new);
    let expected = "\
~ allow ssh (new.toml:5) matches other packets
    now matches tcp from 203.0.113.0:40000 to 192.0.2.1:2222 flags syn
~ reject dns (new.toml:16) was allow
= allow www (new.toml:11) was web and does the same

Verdicts change. One packet of those that are judged otherwise:
";
    let ended = bench.plan(&AGAINST);
    assert!(ended.code == Some(0) && ended.out.starts_with(expected), "{ended:?}");

    let frames = [80, 53].map(|port| frame(&packet(Transport::syn(4000, port))));
    let dns = frame(&packet(Transport::udp(4000, 53, b"question")));
    let records = [(&frames[0][..], 54), (&frames[1][..], 54), (&dns[..], dns.len())];
    fs::write(bench.path("a.pcap"), pcap(1, &records)).unwrap();
    let ended = bench.plan(&[&AGAINST[..], &["--pcap", "a.pcap"]].concat());
    let packets = "
Of 3 packets in the capture, 1 would get another verdict.
  2: udp from 198.51.100.9:4000 to 192.0.2.1:53
    allow by dns (web1.toml:16) → reject by dns (new.toml:16)
";
    assert!(ended.code == Some(0) && ended.out.ends_with(packets), "{ended:?}");

    let ended = bench.plan(&[&AGAINST[..], &["--json", "--pcap", "a.pcap"]].concat());
    let report: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(report["verdicts"], "differ");
    assert_eq!(report["rules"]["renamed"][0]["new"]["rule"], "www");
    assert_eq!(report["packets"]["judged"], 3);
    assert_eq!(report["packets"]["changed"][0]["index"], 2);
    assert_eq!(report["packets"]["changed"][0]["new"]["verdict"], "reject");
}

#[test]
fn of_many_packets_the_first_are_shown_and_all_are_counted() {
    let bench = bench(&RULES.replace("\"allow\"\nprotocol = \"udp\"", "\"reject\"\nprotocol = \"udp\""));
    let dns = frame(&packet(Transport::udp(4000, 53, b"question")));
    fs::write(bench.path("a.pcap"), pcap(1, &[(&dns[..], dns.len()); 23])).unwrap();
    let ended = bench.plan(&[&AGAINST[..], &["--pcap", "a.pcap"]].concat());
    let rest = "  … 3 more; in all:
         23  allow by dns (web1.toml:16) → reject by dns (new.toml:16)
";
    assert!(ended.code == Some(0) && ended.out.ends_with(rest), "{ended:?}");
    assert_eq!(ended.out.matches(": udp from").count(), 20, "{ended:?}");

    let ended = bench.plan(&[&AGAINST[..], &["--json", "--pcap", "a.pcap"]].concat());
    let report: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    let packets = &report["packets"];
    assert_eq!((&packets["changed_count"], &packets["totals"][0]["packets"]), (&23.into(), &23.into()));
    assert_eq!(packets["changed"].as_array().unwrap().len(), 20);
}

#[test]
fn a_plan_without_a_capture_needs_no_privilege() {
    let bench = bench(&RULES.replace("default = \"drop\"", "default = \"allow\""));
    let binary = foobar_tests::agent::binary().unwrap();
    let mut command = std::process::Command::new("setpriv");
    command.arg("--bounding-set=-bpf,-perfmon,-sys_admin,-net_admin").arg(binary).arg("plan");
    command.args([bench.path("new.toml"), "--against".into(), bench.path("web1.toml")]);
    let ended: super::Ended = command.output().unwrap().into();
    assert!(ended.code == Some(0) && ended.out.contains("~ default: drop → allow"), "{ended:?}");
}

#[test]
fn whose_fault_it_is_decides_the_exit_code() {
    let bench = bench("[firewall]\n");
    assert_eq!(bench.plan(&AGAINST).code, Some(1));
    assert_eq!(bench.plan(&["web1.toml", "--run-dir", "."]).code, Some(3));
    assert_eq!(bench.plan(&["web1.toml", "--run-dir", ".", "--against", "web1.toml"]).code, Some(2));
    fs::write(bench.path("bad.pcap"), b"no capture at all").unwrap();
    let ended = bench.plan(&["web1.toml", "--against", "web1.toml", "--pcap", "bad.pcap"]);
    assert!(ended.code == Some(1) && ended.out.starts_with("Nothing changes: "), "{ended:?}");
}
