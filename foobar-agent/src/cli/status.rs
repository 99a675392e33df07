//! `foobar-agent status`: what somebody asks at 3 a.m., on one screen. First what needs
//! attention, then one section for each part of the agent that is in use.

use std::cmp::Reverse;

use foobar_ebpf::verdict::{Reason, Verdict};

use super::lists;
use super::print::{Style, counted, span};
use crate::balancer::BalancerSnapshot;
use crate::monitor::collector::{can_refuse, refused_packets};
use crate::monitor::snapshot::{
    InterfaceSnapshot, RefusedSnapshot, ReloadSnapshot, RuleSnapshot, Snapshot, TrialSnapshot,
};
use crate::privileges::{Kept, Privileges};

/// Rules shown; `foobar-agent rules` shows all.
const TOP_RULES: usize = 8;
/// A certificate that ends sooner needs attention: renewals are tried 30 days before.
const CERTIFICATE_NOTICE_DAYS: f64 = 14.0;
const SECONDS_A_DAY: f64 = 86_400.0;

/// The whole page.
pub(super) fn render(snapshot: &Snapshot, now_seconds: f64, style: Style) -> String {
    let mut sections = vec![head(snapshot, now_seconds)];
    sections.extend(attention(snapshot, now_seconds));
    sections.extend(interfaces(&snapshot.interfaces, style));
    sections.extend(refused(snapshot, style));
    sections.extend(answers(snapshot, style));
    sections.extend(rules(&snapshot.rules, style));
    sections.extend(services(snapshot, style));
    if let Some(balancer) = &snapshot.balancer {
        sections.extend(listeners(balancer, style));
        if !balancer.backends.is_empty() {
            sections.push(titled("Backends", &lists::backends(&balancer.backends, style)));
        }
        sections.extend(certificates(balancer, now_seconds, style));
    }
    sections.extend(privileges(snapshot, style));
    sections.join("\n")
}

fn head(snapshot: &Snapshot, now_seconds: f64) -> String {
    let uptime = span(now_seconds - snapshot.started_at_seconds);
    let Snapshot { host, version, generation, .. } = snapshot;
    let reload = match &snapshot.last_reload {
        Some(ReloadSnapshot { at_seconds, ok: true, message }) => {
            format!("last reload {} ago: {message}", span(now_seconds - at_seconds))
        }
        Some(ReloadSnapshot { at_seconds, ok: false, .. }) => {
            format!("last reload {} ago: REFUSED, nothing changed", span(now_seconds - at_seconds))
        }
        None => "not reloaded since the start".to_owned(),
    };
    format!("{host}: foobar {version}, up {uptime}, generation {generation}\n{reload}\n")
}

/// What is not as it should be, one line each.
fn attention(snapshot: &Snapshot, now_seconds: f64) -> Option<String> {
    let mut lines = Vec::new();
    if let Some(TrialSnapshot { ends_at_seconds, before }) = &snapshot.standing.trial {
        lines.push(format!(
            "on trial: in {} generation {before} judges again, unless somebody says `foobar-agent confirm`",
            span(ends_at_seconds - now_seconds)
        ));
    }
    if let Some(RefusedSnapshot { configuration, why, at_seconds }) = &snapshot.standing.refused {
        let ago = span(now_seconds - at_seconds);
        lines.push(format!(
            "{configuration} was {why} {ago} ago: the same text is taken only by `foobar-agent apply`"
        ));
    }
    for interface in snapshot.interfaces.iter().filter(|interface| interface.mode.is_none()) {
        lines.push(format!("{} is not attached: its packets are not judged", interface.name));
    }
    if let Some(ReloadSnapshot { ok: false, message, .. }) = &snapshot.last_reload {
        lines.push(format!("the last reload was refused:\n    {}", message.replace('\n', "\n    ")));
    }
    if let Some(balancer) = &snapshot.balancer {
        for backend in balancer.backends.iter().filter(|backend| !backend.up) {
            lines.push(format!("backend {}/{} is down", backend.pool, backend.backend));
        }
        for certificate in &balancer.certificates {
            let left = seconds_left(certificate.not_after, now_seconds);
            if left <= 0.0 {
                lines.push(format!("the certificate of {} EXPIRED {} ago", certificate.name, span(-left)));
            } else if left < CERTIFICATE_NOTICE_DAYS * SECONDS_A_DAY {
                lines.push(format!("the certificate of {} expires in {}", certificate.name, span(left)));
            }
        }
    }
    (!lines.is_empty()).then(|| format!("Attention\n  ! {}\n", lines.join("\n  ! ")))
}

fn interfaces(interfaces: &[InterfaceSnapshot], style: Style) -> Option<String> {
    let rows = interfaces.iter().map(|interface| {
        let mode = interface.mode.as_deref().unwrap_or("NOT ATTACHED");
        let packets = |verdict: Verdict| style.count(interface.packets(verdict.as_str()));
        vec![
            interface.name.clone(),
            mode.to_owned(),
            packets(Verdict::Allow),
            packets(Verdict::Drop),
            packets(Verdict::Reject),
        ]
    });
    let table = style.table(&["INTERFACE", "XDP", ">ALLOWED", ">DROPPED", ">REJECTED"], rows);
    (!interfaces.is_empty()).then(|| titled("Packets by interface", &table))
}

fn refused(snapshot: &Snapshot, style: Style) -> Option<String> {
    let mut reasons: Vec<_> = Reason::ALL
        .iter()
        .filter(|reason| can_refuse(**reason))
        .map(|reason| (reason.as_str(), refused_packets(snapshot, reason.as_str())))
        .filter(|(_, packets)| *packets > 0)
        .collect();
    reasons.sort_by_key(|(_, packets)| Reverse(*packets));
    let rows = reasons.iter().map(|(reason, packets)| vec![(*reason).to_owned(), style.count(*packets)]);
    let table = style.table(&["REASON", ">PACKETS"], rows);
    (!reasons.is_empty()).then(|| titled("Dropped and rejected, by reason", &table))
}

/// Rejected packets whose senders were told, and why others were not.
fn answers(snapshot: &Snapshot, style: Style) -> Option<String> {
    let told = snapshot.answers.iter().filter(|answer| answer.packets > 0);
    let rows: Vec<_> = told.map(|answer| vec![answer.outcome.clone(), style.count(answer.packets)]).collect();
    let table = style.table(&["ANSWER, OR WHY NONE", ">PACKETS"], rows.iter().cloned());
    (!rows.is_empty()).then(|| titled("Answers to rejected packets", &table))
}

/// What each process of the agent has kept.
fn privileges(snapshot: &Snapshot, style: Style) -> Option<String> {
    let Privileges { agent, kernel } = snapshot.privileges.as_ref()?;
    let row = |process: &str, kept: &Kept| {
        let capabilities = kept.capabilities.join(" ");
        vec![
            process.to_owned(),
            kept.user.clone(),
            if capabilities.is_empty() { "-".to_owned() } else { capabilities.replace("CAP_", "") },
            kept.landlock.map_or_else(|| "OFF".to_owned(), |abi| format!("ABI {abi}")),
            if kept.seccomp { "on" } else { "OFF" }.to_owned(),
        ]
    };
    let rows = [row("agent", agent), row("kernel process", kernel)];
    let table = style.table(&["PROCESS", "USER", "CAPABILITIES", "LANDLOCK", "SECCOMP"], rows);
    Some(titled("Privileges", &table))
}

fn rules(rules: &[RuleSnapshot], style: Style) -> Option<String> {
    let mut top: Vec<&RuleSnapshot> = rules.iter().collect();
    top.sort_by_key(|rule| Reverse(rule.packets));
    top.truncate(TOP_RULES);
    let title = if top.len() < rules.len() {
        format!("Top {} of {} by packets (all: foobar-agent rules)", top.len(), counted(rules.len(), "rule"))
    } else {
        "Rules by packets".to_owned()
    };
    (!rules.is_empty()).then(|| titled(&title, &lists::hits(top, style)))
}

fn services(snapshot: &Snapshot, style: Style) -> Option<String> {
    let rows = snapshot.services.iter().map(|service| {
        vec![
            service.name.clone(),
            service.port.to_string(),
            service.protocol.clone(),
            style.count(service.messages),
        ]
    });
    let table = style.table(&["SERVICE", ">PORT", "PROTOCOL", ">MESSAGES"], rows);
    (!snapshot.services.is_empty()).then(|| titled("Services, as the kernel sees them", &table))
}

fn listeners(balancer: &BalancerSnapshot, style: Style) -> Option<String> {
    let rows = balancer.listeners.iter().map(|listener| {
        let (handshakes, failures) = if listener.tls {
            let finished = listener.handshakes.iter().map(|handshake| handshake.count).sum();
            let failed = listener.handshake_failures.iter().map(|failure| failure.count).sum();
            (style.count(finished), style.count(failed))
        } else {
            ("-".to_owned(), "-".to_owned())
        };
        vec![
            listener.address.clone(),
            if listener.tls { "https" } else { "http" }.to_owned(),
            style.count(listener.connections_accepted),
            handshakes,
            failures,
        ]
    });
    let table = style.table(&["LISTENER", "SCHEME", ">CONNECTIONS", ">HANDSHAKES", ">FAILED"], rows);
    (!balancer.listeners.is_empty()).then(|| titled("Listeners", &table))
}

fn certificates(balancer: &BalancerSnapshot, now_seconds: f64, style: Style) -> Option<String> {
    let rows = balancer.certificates.iter().map(|certificate| {
        let left = seconds_left(certificate.not_after, now_seconds);
        let expiry = if left > 0.0 { format!("in {}", span(left)) } else { "EXPIRED".to_owned() };
        vec![certificate.name.clone(), expiry]
    });
    let table = style.table(&["CERTIFICATE", "EXPIRES"], rows);
    (!balancer.certificates.is_empty()).then(|| titled("Certificates", &table))
}

#[expect(clippy::cast_precision_loss, reason = "seconds since the epoch are exact in a double")]
fn seconds_left(not_after: i64, now_seconds: f64) -> f64 {
    not_after as f64 - now_seconds
}

fn titled(title: &str, body: &str) -> String {
    format!("{title}\n{body}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::fixture::{NOW_SECONDS, scenario};

    #[test]
    fn the_whole_scenario_fits_a_terminal_of_80_columns() {
        let text = render(&scenario(), NOW_SECONDS, Style { width: Some(80) });
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text == include_str!("status.txt"), "where the change is meant, status.txt becomes:\n{text}");
    }

    #[test]
    fn an_agent_without_trouble_asks_for_no_attention() {
        let mut snapshot = scenario();
        snapshot.interfaces.retain(|interface| interface.mode.is_some());
        snapshot.last_reload = None;
        if let Some(balancer) = &mut snapshot.balancer {
            balancer.backends.retain(|backend| backend.up);
            balancer.certificates.retain(|certificate| certificate.not_after > 1_795_000_000);
        }
        let text = render(&snapshot, NOW_SECONDS, Style { width: None });
        assert!(!text.contains("Attention") && !text.contains('!'), "{text}");
    }

    #[test]
    fn a_host_that_only_counts_shows_only_that() {
        let bare = Snapshot {
            interfaces: scenario().interfaces,
            balancer: None,
            rules: Vec::new(),
            services: Vec::new(),
            ..scenario()
        };
        let text = render(&bare, NOW_SECONDS, Style { width: None });
        for absent in ["Rules", "Services", "Listeners", "Backends", "Certificates"] {
            assert!(!text.contains(absent), "{text}");
        }
        assert!(text.contains("eth0       native        1234609     1005         5"), "{text}");
    }
}
