//! A ban cuts at once what runs, in both families.

use std::io::ErrorKind;

use foobar_tests::Process;

use super::{CLIENT, HOST, LIMIT, RULES, Site, ask, banned, connect, dropped, list, target};

/// Downloads of curl and nc run, one of the two is banned, and the other goes on.
#[test]
fn a_running_download_is_cut_and_others_go_on() {
    let site = Site::new();
    let agent = site.start(RULES);
    let nc = std::env::var_os("FOOBAR_NC").unwrap_or_else(|| "nc".into());
    let (ends, other_ends) = (site.serve(80), site.serve(81));
    for family in [0, 1] {
        let mut curl = site.client.command("curl").unwrap();
        curl.args(["--silent", "--limit-rate", "1M", "--output", "/dev/null"]);
        curl.arg(format!("http://{}/", target(family, 80)));
        let log = site.folder.join("download.log");
        let _curl = Process::spawn("curl", curl, &log).unwrap();
        let mut command = site.client.command(&nc).unwrap();
        command.args([HOST[family], "81"]);
        let _nc = Process::spawn("nc", command, &site.folder.join("nc.log")).unwrap();
        let transfers = |packets| {
            move |now: &foobar_tests::Metrics| {
                now.count("foobar_firewall_rule_packets_total", &[("rule", "web")]) > packets
            }
        };
        let so_far = agent.metrics().unwrap().count("foobar_firewall_rule_packets_total", &[("rule", "web")]);
        agent.metrics_until("both download", LIMIT, transfers(so_far + 50)).unwrap();
        assert!(ends.try_recv().is_err() && other_ends.try_recv().is_err());

        let said = ask(&agent, &["ban", "add", CLIENT[family], "--reason", "too much"]);
        assert_eq!(said, "banned 1 source\n");
        // No rule sees another packet of it, from the moment the command has returned.
        let rule = |metrics: &foobar_tests::Metrics| {
            metrics.count("foobar_firewall_rule_packets_total", &[("rule", "web")])
        };
        let at_ban = rule(&agent.metrics().unwrap());
        assert_eq!(ends.recv_timeout(LIMIT).unwrap(), ErrorKind::TimedOut);
        assert_eq!(other_ends.recv_timeout(LIMIT).unwrap(), ErrorKind::TimedOut);
        let after = agent.metrics().unwrap();
        assert_eq!(rule(&after), at_ban, "{after}");
        assert!(dropped(&after) > 0 && connect(&site, target(family, 80)).is_none() && !site.reaches(family));
        assert!(site.reaches(1 - family), "the other address is another source");

        let ban = &list(&agent)[0];
        assert_eq!((ban["subject"].as_str(), ban["reason"].as_str()), (Some(CLIENT[family]), Some("manual")));
        assert_eq!(ban["text"], "too much");
        assert!(ban["packets"].as_u64().unwrap() > 0 && ban["left_seconds"].is_null(), "{ban}");
        assert_eq!(ask(&agent, &["ban", "remove", CLIENT[family]]), "lifted 1 ban\n");
        drop(connect(&site, target(family, 80)).unwrap());
        ends.recv_timeout(LIMIT).unwrap();
        assert_eq!(banned(&agent), [] as [&str; 0]);
    }
}

/// The narrower ban ends, or is lifted: the wider one holds. What may never be banned is spared by both.
#[test]
fn a_prefix_bans_all_but_the_exempt_and_a_lifted_one_hides_no_other() {
    let site = Site::new();
    site.client.address("eth0", "192.0.2.99/24").unwrap();
    let agent = site.start(RULES);
    ask(&agent, &["ban", "add", "192.0.2.0/24", "192.0.2.0/28", "192.0.2.1"]);
    assert_eq!(banned(&agent), ["192.0.2.0/24", "192.0.2.0/28", "192.0.2.1"]);
    let from = |address: &str| site.reaches_from(address);
    assert!(!from("192.0.2.1") && from("192.0.2.99"));
    for lifted in ["192.0.2.1", "192.0.2.0/28"] {
        ask(&agent, &["ban", "remove", lifted]);
        assert!(!from("192.0.2.1") && from("192.0.2.99"));
    }
    ask(&agent, &["ban", "add", "192.0.2.0/28", "--for", "100ms"]);
    agent.metrics_until("it has ended", LIMIT, |_| banned(&agent) == ["192.0.2.0/24"]).unwrap();
    assert!(!from("192.0.2.1") && from("192.0.2.99"));
    ask(&agent, &["ban", "remove", "192.0.2.0/24"]);
    assert!(from("192.0.2.1") && from("192.0.2.99") && site.reaches(1));
}
