//! What was measured as parts with a method and a table each: printed to the terminal, and written into
//! `docs/benchmarks.md`, where it takes the place of the section of the run before.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};

use super::table::Table;
use super::{Report, change, demo, filter, matrix, wire};
use crate::workspace;

const PAGE: &str = "docs/benchmarks.md";
const BEGIN: &str = "<!-- firewall: written by `cargo xtask bench firewall --write` -->";
const END: &str = "<!-- end of firewall -->";
const HEAD: &str = "# Benchmarks\n\nFigures that a command of this repository measured and wrote. Each section \
                    says how, on what and when; the command beside it repeats it.\n";

/// A table and how it came to be.
pub(super) struct Part {
    pub(super) title: &'static str,
    pub(super) method: String,
    pub(super) table: Table,
}

pub(super) fn parts(report: &Report) -> Vec<Part> {
    let test_run = "Nanoseconds a packet by BPF_PROG_TEST_RUN, counters on: ours and an empty XDP program in \
                    turn, several rounds; above empty is median above median.";
    let mut parts = vec![
        Part {
            title: "Packets by the demo's rules",
            method: format!("{test_run} One packet repeated; filled: the image, and a service's counter."),
            table: demo::table(&report.demo),
        },
        Part {
            title: "Packets by rulesets of every shape and size",
            method: format!(
                "{test_run} Last rule, policy, typical (the median of fifteen packets): one packet repeated. \
                 Different: as many packets in turn, nine in ten of which meet a rule by chance; a program puts \
                 each in place and enters ours, or the empty one, by a tail call. Filled: the image with its \
                 rules, and their counters; no service, no fragment, no essential is asked for by the packets. \
                 Before it is measured, every packet's rule is compared with the walk on the host, and that with \
                 a linear scan."
            ),
            table: matrix::packet_table(&report.rulesets),
        },
        Part {
            title: "Rulesets: time and size",
            method:
                "Read and check: the whole file with its sets, as at a reload, warnings included. Load and \
                     switch: maps and program into the kernel, verified, and the one write. Verified: \
                     instructions that the verifier followed."
                    .to_owned(),
            table: matrix::making_table(&report.rulesets),
        },
    ];
    parts.push(Part {
        title: "xdp-filter",
        method: match &report.xdp_filter.missing {
            Some(reason) => format!("Not measured to the end: {reason}"),
            None => format!(
                "{test_run} {} of Debian: its program alone, without the dispatcher, that drops so many sources. \
                 The packets are those of the shape `sources`: its rules know no port of an address.",
                report.xdp_filter.version
            ),
        },
        table: filter::table(&report.xdp_filter),
    });
    parts.push(Part {
        title: "Packets a second over veth",
        method: "Packets dropped in a second, by the firewall's own count, median of the rounds, which are \
                 interleaved. One core makes each packet (a program that the kernel runs on live frames), moves it \
                 over the link and judges it. The rules are `mixed`, the packets those that these drop, different \
                 ones in turn. nftables: one rule after the other as in our file; and grouped into verdict maps of \
                 hosts, of networks with a port, and of ports, which loses the order among these."
            .to_owned(),
        table: wire::table(&report.wire),
    });
    parts.push(Part {
        title: "One changed rule",
        method:
            "From the signal to reload (SIGHUP) to the first packet that passes because of the change: file \
                 read, rules compiled, program verified, generation switched. A packet is sent every 200 µs."
                .to_owned(),
        table: change::table(&report.change),
    });
    parts
}

/// Writes the section, and the page around it if there is none.
pub(super) fn write(report: &Report) -> Result<()> {
    let path = workspace::root().join(PAGE);
    let page = fs::read_to_string(&path).unwrap_or_else(|_| HEAD.to_owned());
    let text = replaced(&page, &section(report));
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn section(report: &Report) -> String {
    let mut text = format!(
        "## Firewall\n\n`cargo xtask bench firewall --write` on {}.\n\n![What a packet costs by the number of \
         rules](firewall-cost.svg)\n",
        report.machine
    );
    for Part { title, method, table } in parts(report) {
        let _ = write!(text, "\n### {title}\n\n{method}\n\n{table}");
    }
    text
}

/// The page with this section in the place of the one before, or at its end.
fn replaced(page: &str, section: &str) -> String {
    let section = format!("{BEGIN}\n{section}{END}");
    if let Some((before, rest)) = page.split_once(BEGIN)
        && let Some((_, after)) = rest.split_once(END)
    {
        return format!("{before}{section}{after}");
    }
    format!("{}\n\n{section}\n", page.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_takes_the_place_of_the_one_before_and_of_nothing_else() {
        let first = replaced("# Benchmarks\n\nText.\n", "one\n");
        assert_eq!(first, format!("# Benchmarks\n\nText.\n\n{BEGIN}\none\n{END}\n"));
        let other = format!("{first}\n## Other\n");
        assert_eq!(replaced(&other, "two\n"), other.replace("one", "two"));
    }
}
