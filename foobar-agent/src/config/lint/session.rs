//! The SSH session in which somebody asks, and whether the rules would cut it. They are asked
//! about a segment of it as it would arrive: the datapath here keeps no connections, so that
//! what the rules do not allow ends. Where the agent lets established connections go on, this
//! warns of the next session.

use std::net::SocketAddr;

use foobar_ebpf::policy::Judgement;
use foobar_ebpf::verdict::Verdict;

use super::super::firewall::Places;
use super::super::here::{Here, LocalInterface, SshSession};
use super::super::model::{Firewall, Interfaces};
use super::super::report::Report;
use super::Judge;
use super::frame::{ACK, SYN, Segment};

/// Warns where the rules would not let the session go on, or not let it begin again.
pub(in crate::config) fn check(
    firewall: &Firewall,
    places: &Places,
    judge: &Judge,
    here: &Here,
    report: &Report<'_>,
) {
    let Some(session) = &here.session else { return };
    for interface in arrivals(firewall, here, judge, session) {
        for (flags, would) in [(ACK, "cut"), (SYN, "not let in again")] {
            let segment = Segment { from: session.client, to: session.server, flags };
            let judgement = judge.judge(&segment, &interface);
            if judgement.verdict != Verdict::Allow {
                warn(firewall, places, report, session, would, judgement);
                return;
            }
        }
    }
}

/// Where the session's packets may arrive: where its own address is, or else anywhere. None where
/// the firewall is not.
fn arrivals(firewall: &Firewall, here: &Here, judge: &Judge, session: &SshSession) -> Vec<String> {
    let interfaces = here.interfaces.as_deref().unwrap_or_default();
    let owns = |interface: &&LocalInterface| interface.addresses.contains(&session.server.ip());
    let is_judged = |name: &String| match &firewall.interfaces {
        Interfaces::Auto => true,
        Interfaces::Named(attached) => attached.contains(name),
    };
    let owners: Vec<String> =
        interfaces.iter().filter(owns).map(|interface| interface.name.clone()).collect();
    if !owners.is_empty() {
        return owners.into_iter().filter(is_judged).collect();
    }
    let mut any: Vec<String> = judge.numbers.names().map(str::to_owned).filter(is_judged).collect();
    any.push(String::new());
    any
}

fn warn(
    firewall: &Firewall,
    places: &Places,
    report: &Report<'_>,
    SshSession { client, server }: &SshSession,
    would: &str,
    judgement: Judgement,
) {
    let rules = firewall.ruleset.as_ref().map(|ruleset| ruleset.rules.as_slice()).unwrap_or_default();
    let slot = judgement.rule().map(|slot| slot as usize);
    let rule = slot.and_then(|slot| Some((rules.get(slot)?, places.rules.get(slot)?)));
    let (by, place) = match rule {
        Some((rule, place)) => (format!("the rule `{}`", rule.name), place),
        None => ("the default".to_owned(), &places.default),
    };
    let message = format!(
        "THE SSH SESSION IN WHICH YOU TYPE would be {would}: {client} → {server} gets {} from {by}",
        judgement.verdict.as_str()
    );
    report.warning(place, message, allowing(*client, *server));
}

fn allowing(client: SocketAddr, server: SocketAddr) -> String {
    let (from, port) = (client.ip(), server.port());
    format!("before it, allow with from = \"{from}\", protocol = \"tcp\", port = {port}")
}
