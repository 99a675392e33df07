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
        for (flags, what) in [(ACK, "would be cut"), (SYN, "could not begin again")] {
            let segment = Segment { from: session.client, to: session.server, flags };
            let judgement = judge.judge(&segment, &interface);
            if judgement.verdict != Verdict::Allow {
                warn(firewall, places, report, session, what, judgement);
                return;
            }
        }
    }
}

/// Where the session's packets may arrive, of the interfaces that the firewall judges.
fn arrivals(firewall: &Firewall, here: &Here, judge: &Judge, session: &SshSession) -> Vec<String> {
    let is_judged = |name: &String| match &firewall.interfaces {
        Interfaces::Auto => true,
        Interfaces::Named(attached) => attached.contains(name),
    };
    // One that no rule names is as good as any other that no rule names.
    let any = || {
        let named = judge.numbers.names().map(str::to_owned).filter(is_judged);
        named.chain([String::new()]).collect()
    };
    let Some(interfaces) = &here.interfaces else { return any() };
    let owns = |interface: &&LocalInterface| interface.addresses.contains(&session.server.ip());
    let owners: Vec<&LocalInterface> = interfaces.iter().filter(owns).collect();
    // A host's own address may be the loopback's, and its packets arrive elsewhere.
    if owners.iter().any(|owner| owner.loopback) && !session.server.ip().is_loopback() {
        return any();
    }
    // With no owner, the session is another network namespace's.
    owners.into_iter().map(|owner| owner.name.clone()).filter(is_judged).collect()
}

fn warn(
    firewall: &Firewall,
    places: &Places,
    report: &Report<'_>,
    SshSession { client, server }: &SshSession,
    what: &str,
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
        "THE SSH SESSION IN WHICH YOU TYPE {what}: {client} → {server} gets {} from {by}",
        judgement.verdict.as_str()
    );
    report.warning(place, message, allowing(*client, *server));
}

fn allowing(client: SocketAddr, server: SocketAddr) -> String {
    let (from, port) = (client.ip(), server.port());
    format!("before it, allow with from = \"{from}\", protocol = \"tcp\", port = {port}")
}
