//! `[firewall]`: where the datapath attaches, and the ruleset.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::lint;
use super::lists::Lists;
use super::model::{AttachMode, Firewall, Interfaces};
use super::names::read_interface;
use super::reader::{Table, Value};
use super::rules::{self, read_verdict};
use super::sets::Sets;
use super::source::Span;
use super::suggest::{one_of, quoted};
use crate::firewall::ruleset::{Essentials, Ruleset};

/// Names that `essentials` takes.
const ESSENTIALS: [&str; 4] = ["nd", "mld", "icmp-errors", "dhcp"];

/// Where the parts of a firewall stand in the file, for what is said of them later.
#[derive(Default)]
pub(super) struct Places {
    /// `[firewall]`
    pub(super) section: Span,
    /// The value of `default`.
    pub(super) default: Span,
    /// The value of `interfaces`.
    pub(super) interfaces: Span,
    /// Each rule's table, in order.
    pub(super) rules: Vec<Span>,
}

/// Without `[firewall]` the host judges nothing, and counts where a default route is.
pub(super) fn read(root: &mut Table<'_>, places: &mut Places) -> Firewall {
    let mut judges_nothing = Firewall {
        interfaces: Interfaces::Auto,
        mode: AttachMode::Auto,
        ruleset: None,
        never_ban: Arc::default(),
    };
    let Some(mut table) = root.table("firewall", "[firewall]") else { return judges_nothing };
    places.section = table.span().clone();
    if let Some(value) = table.optional("interfaces") {
        places.interfaces = value.span();
        judges_nothing.interfaces = interfaces(value);
    }
    if let Some(mode) = table.optional("mode").and_then(mode) {
        judges_nothing.mode = mode;
    }
    let default_value = table.required("default", "default = \"drop\", \"allow\" or \"reject\"");
    let default = default_value.and_then(read_verdict);
    let essentials = table.optional("essentials").map_or(Essentials::ALL, essentials);
    let sets = table.table("sets", "[firewall.sets]").map(Sets::read).unwrap_or_default();
    if let Some(value) = table.optional("never_ban") {
        judges_nothing.never_ban = Lists::new(&sets).read_positive(value);
    }
    let rules;
    (rules, places.rules) = rules::read(&mut table, &sets);
    let report = table.report();
    table.finish();

    let (Some(default_value), Some(default)) = (default_value, default) else { return judges_nothing };
    places.default = default_value.span();
    let ruleset = Ruleset { default, essentials, rules };
    // With an error, rules and sets are not what the user means, and these would mislead.
    if !report.has_errors() {
        sets.check_use(report);
        lint::impossible::check(&ruleset, places, &judges_nothing.interfaces, report);
        lint::essentials::check(&ruleset, places, report);
    }
    Firewall { ruleset: Some(ruleset), ..judges_nothing }
}

fn interfaces(value: Value<'_>) -> Interfaces {
    if value.as_str() == Some("auto") {
        return Interfaces::Auto;
    }
    let (mut names, mut seen) = (Vec::new(), BTreeSet::new());
    for value in value.one_or_list() {
        let Some(name) = read_interface(value) else { continue };
        if name == "auto" {
            value.error("`auto` stands alone", "write: interfaces = \"auto\"");
        } else if seen.insert(name.clone()) {
            names.push(name);
        } else {
            value.error(format!("{} is named twice", quoted(&name)), "remove one of the two");
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
                let hint = value.report().did_you_mean(unknown, ESSENTIALS.into_iter());
                let hint = hint.unwrap_or_else(|| format!("true, false, or of {}", one_of(&ESSENTIALS)));
                value.error(format!("{} is no essential", quoted(unknown)), hint);
            }
            None => {}
        }
    }
    essentials
}
