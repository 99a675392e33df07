//! The command line of `foobar-agent explain`, with the help that teaches it.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgGroup, Args};

use crate::explain::words::GRAMMAR;

/// Rules that `--why` names unless told otherwise.
const WHY_RULES: &str = "10";

fn help() -> String {
    format!(
        "\
A packet in words:

{GRAMMAR}

  Names are those of a rule. A TCP packet is a SYN unless `flags` says otherwise. A source port
  that is not named is 49152, the TTL 64.

Examples:
  foobar-agent explain tcp from 203.0.113.9:4000 to 192.0.2.1:443
  foobar-agent explain --config new.toml --why udp from [2001:db8::9]:53 to [2001:db8::1]:4000
  foobar-agent explain --config new.toml --pcap monday.pcapng --interface eth0
  foobar-agent explain --config new.toml --pcap monday.pcap --json | grep '\"drop\"'
  tcpdump -c 100 -w - | foobar-agent explain --pcap - --summary

Packets are judged in test runs of the kernel, by the program that judges on an interface:
nothing is attached, sent or counted. That needs root, and with --config no agent. Tables of
the running host are not looked at: every run begins with empty ones.

Exit codes:
  0  every packet was judged, whatever the verdicts
  1  the configuration is wrong, or the capture cannot be read to its end
  2  the command line or the packet is wrong
  3  the host cannot run the program: no permission, an old kernel"
    )
}

/// `foobar-agent explain`
#[derive(Debug, Args)]
#[command(
    after_help = help(),
    group = ArgGroup::new("packets").required(true).args(["words", "pcap", "hex"]),
)]
pub(in crate::cli) struct ExplainOptions {
    /// A packet in words, see below
    #[arg(value_name = "WORDS")]
    pub(super) words: Vec<String>,
    /// A capture, pcap or pcapng, also packed with gzip; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(super) pcap: Option<PathBuf>,
    /// A packet as hex digits from its Ethernet header on, also as dumps print them; `-` is standard input
    #[arg(long, value_name = "DIGITS", allow_hyphen_values = true)]
    pub(super) hex: Option<String>,
    /// Judge by the rules of this file, which no agent need run [default: the rules that an agent runs]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Judge by the rules of the agent whose control socket is in this folder
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub(super) run_dir: Option<PathBuf>,
    /// The interface on which the packets arrive; it need not exist [default: that of the configuration,
    /// where it names exactly one]
    #[arg(long, value_name = "NAME")]
    pub(super) interface: Option<String>,
    /// Name the first field that did not match, for each of the first N rules that the packet passed by
    #[arg(long, value_name = "N|all", num_args = 0..=1, require_equals = true, default_missing_value = WHY_RULES)]
    pub(super) why: Option<Why>,
    /// Print one JSON object a packet, one a line
    #[arg(long)]
    pub(super) json: bool,
    /// Print totals by verdict, reason and rule instead of packets
    #[arg(long, conflicts_with_all = ["json", "why"])]
    pub(super) summary: bool,
}

/// Of how many rules to say why they did not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Of so many, in the order of the file.
    First(NonZeroUsize),
    /// Of all.
    All,
}

impl FromStr for Why {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            number => {
                number.parse().map(Self::First).map_err(|_| "write a number of rules, or all".to_owned())
            }
        }
    }
}

impl Why {
    /// How many rules at most.
    pub(super) fn limit(self) -> usize {
        match self {
            Self::First(rules) => rules.get(),
            Self::All => usize::MAX,
        }
    }
}
