//! `[firewall]`: where the datapath attaches, and the ruleset.

use foobar_ebpf::verdict::Verdict;

use super::lint;
use super::model::{AttachMode, Firewall, Interfaces};
use super::names::read_interface;
use super::reader::{Table, Value};
use super::rules::{self, read_verdict};
use super::sets::Sets;
use super::suggest::{did_you_mean, one_of, quoted};
use crate::firewall::ruleset::{Essentials, Ruleset};

/// Names that `essentials` takes.
const ESSENTIALS: [&str; 4] = ["nd", "mld", "icmp-errors", "dhcp"];

/// Without `[firewall]` the host judges nothing, and counts where a default route is.
pub(super) fn read(root: &mut Table<'_>) -> Firewall {
    let mut judges_nothing = Firewall { interfaces: Interfaces::Auto, mode: AttachMode::Auto, ruleset: None };
    let Some(mut table) = root.table("firewall", "[firewall]") else { return judges_nothing };
    if let Some(interfaces) = table.optional("interfaces").map(interfaces) {
        judges_nothing.interfaces = interfaces;
    }
    if let Some(mode) = table.optional("mode").and_then(mode) {
        judges_nothing.mode = mode;
    }
    let default_value = table.required("default", "default = \"drop\", \"allow\" or \"reject\"");
    let default = default_value.and_then(read_verdict);
    let essentials = table.optional("essentials").map_or(Essentials::ALL, essentials);
    let sets = table.table("sets", "[firewall.sets]").map(Sets::read).unwrap_or_default();
    let rules = rules::read(&mut table, &sets);
    let report = table.report();
    table.finish();

    let (Some(default_value), Some(default)) = (default_value, default) else { return judges_nothing };
    // With an error, rules and sets are not what the user means, and these would mislead.
    if !report.has_errors() {
        sets.check_use(report);
        lint::check_rules(&rules, &judges_nothing.interfaces, report);
        if default != Verdict::Allow {
            lint::check_default_drop(default_value, essentials, &rules);
        }
    }
    let rules = rules.into_iter().map(|(rule, _)| rule).collect();
    Firewall { ruleset: Some(Ruleset { default, essentials, rules }), ..judges_nothing }
}

fn interfaces(value: Value<'_>) -> Interfaces {
    if value.as_str() == Some("auto") {
        return Interfaces::Auto;
    }
    let mut names = Vec::new();
    for value in value.one_or_list() {
        let Some(name) = read_interface(value) else { continue };
        if name == "auto" {
            value.error("`auto` stands alone", "write: interfaces = \"auto\"");
        } else if names.contains(&name) {
            value.error(format!("{} is named twice", quoted(&name)), "remove one of the two");
        } else {
            names.push(name);
        }
    }
    Interfaces::Named(names)
}

fn mode(value: Value<'_>) -> Option<AttachMode> {
    value.word(&[
        ("auto", AttachMode::Auto),
        ("native", AttachMode::Native),
        ("generic", AttachMode::Generic),
    ])
}

/// A boolean for all or none, or the names of some.
fn essentials(value: Value<'_>) -> Essentials {
    if value.is_boolean() {
        return if value.boolean() == Some(true) { Essentials::ALL } else { Essentials::NONE };
    }
    let mut essentials = Essentials::NONE;
    for value in value.one_or_list() {
        match value.string() {
            Some("nd") => essentials.neighbour_discovery = true,
            Some("mld") => essentials.multicast_listener = true,
            Some("icmp-errors") => essentials.icmp_errors = true,
            Some("dhcp") => essentials.dhcp = true,
            Some(unknown) => {
                let hint = did_you_mean(unknown, ESSENTIALS.into_iter());
                let hint = hint.unwrap_or_else(|| format!("true, false, or of {}", one_of(&ESSENTIALS)));
                value.error(format!("{} is no essential", quoted(unknown)), hint);
            }
            None => {}
        }
    }
    essentials
}
