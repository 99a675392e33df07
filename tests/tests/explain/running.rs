//! Beside a running agent: judged by what it runs, and seen by none of its counters.

use super::{Ended, RULES, objects};
use foobar_tests::{Agent, Host, Link};

struct Site<'a> {
    agent: Agent<'a>,
    host: &'a Host,
}

impl Site<'_> {
    fn explain(&self, arguments: &[&str]) -> Ended {
        self.ask("explain", arguments)
    }

    /// What the file would change now.
    fn plan(&self) -> Ended {
        self.ask("plan", &[self.agent.config().to_str().unwrap()])
    }

    fn ask(&self, name: &str, arguments: &[&str]) -> Ended {
        let run_dir = self.agent.config().parent().unwrap().join("run");
        let mut command = self.host.command(self.agent.binary()).unwrap();
        command.args([name, "--run-dir"]).arg(run_dir).args(arguments);
        command.output().unwrap().into()
    }

    fn expect(&self, words: &str, expected: (&str, Option<&str>, &str)) {
        let ended = self.explain(&["--json", words]);
        assert_eq!((ended.code, ended.out), (Some(0), objects(&[expected])), "{words}: {}", ended.err);
    }

    /// Packets and bytes of every rule and interface.
    fn counts(&self) -> String {
        let rules = self.agent.control(&["rules", "--json"]).unwrap();
        String::from_utf8(rules.stdout).unwrap()
    }
}

#[test]
fn packets_are_judged_by_what_runs_and_counted_nowhere() {
    let (peer, host) = (Host::new("peer").unwrap(), Host::new("host").unwrap());
    for end in [&peer, &host] {
        end.sysctl("net/ipv6/conf/default/disable_ipv6", "1").unwrap();
    }
    Link::between((&peer, "eth0"), (&host, "eth0")).unwrap();
    let site = Site { agent: Agent::start(&host, RULES).unwrap(), host: &host };
    let before = site.counts();

    let web = "tcp from 203.0.113.9:4000 to 192.0.2.1:443";
    site.expect(web, ("allow", Some("web"), "rule"));
    site.expect("udp from 198.51.100.9 to 192.0.2.1:53", ("allow", Some("dns"), "rule"));
    site.expect("udp from 198.51.100.9 to 192.0.2.1:53 on eth1", ("drop", None, "policy"));
    let ended = site.explain(&["--hex", "00"]);
    assert!(ended.out.contains("reason   malformed-ethernet"), "{ended:?}");
    let ended = site.explain(&["--why", web]);
    let config = site.agent.config().display().to_string();
    assert!(ended.out.contains(&format!("rule     web ({config}:11)")), "{ended:?}");
    assert!(ended.out.contains(&format!("not by   ssh  {config}:5  port: 443")), "{ended:?}");

    let same = site.plan();
    assert_eq!(
        (same.code, same.out.as_str()),
        (Some(0), "Nothing changes: neither rules nor interfaces.\n"),
        "{}",
        same.err
    );

    // The file changes: what runs does not, until the agent takes it.
    site.agent.write(&RULES.replace("port = [80, 443]", "port = 80")).unwrap();
    site.expect(web, ("allow", Some("web"), "rule"));
    let ended = site.explain(&["--why", web]);
    assert!(ended.out.contains(&format!("not by   ssh  {config}:5  port: 443")), "{ended:?}");
    let plan = site.plan();
    let expected = format!(
        "~ allow web ({config}:11) matches other packets\n    no longer matches tcp from 198.51.100.7:40000 to \
         192.0.2.1:443 flags syn\n\nVerdicts change. One packet of those that are judged otherwise:\n"
    );
    assert!(plan.code == Some(0) && plan.out.starts_with(&expected), "{plan:?}");
    assert!(plan.out.ends_with(&format!("    allow by web ({config}:11) → drop by policy\n")), "{plan:?}");
    assert_eq!(site.counts(), before);
    site.agent.reload().unwrap();
    site.expect(web, ("drop", None, "policy"));

    assert!(site.agent.control(&["detach"]).unwrap().status.success());
    let ended = site.explain(&[web]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.err.contains("no rules judge here"), "{ended:?}");
}
