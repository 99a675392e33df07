//! The command line of `ban`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::cli::target::Target;
use crate::duration;

/// `foobar-agent ban …`
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum BanCommand {
    /// Drop every packet of addresses and prefixes, also of connections that they have
    Add(AddOptions),
    /// Let addresses and prefixes in again, as far as the rules do
    Remove(RemoveOptions),
    /// List who is banned: why, since when, how much longer, and what it kept out
    List(ListOptions),
}

/// `foobar-agent ban add`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foobar-agent ban add 198.51.100.7 --for 1h --reason 'probing /wp-admin'
  foobar-agent ban add 203.0.113.0/24 2001:db8:bad::/48
  foobar-agent ban add --file blocklist.txt --for 1d

A ban is in force when the command returns. It survives a restart of the agent and a reboot, and it
ends on time without the agent. Banned already: the ban gets the new duration and reason.

Refused: what lies in firewall.never_ban; without --force also addresses of this host, loopback and
multicast, and the address that your SSH session comes from. A wider prefix spares what is in
firewall.never_ban. Where some are refused, the others are banned, and the command ends with 3.")]
pub(in crate::cli) struct AddOptions {
    /// Addresses and prefixes
    #[arg(value_name = "ADDRESS|PREFIX", required_unless_present = "file")]
    pub(super) subjects: Vec<String>,
    /// How long: 30s, 10m, 1h30m, 7d … or forever
    #[arg(long = "for", value_name = "DURATION", default_value = "forever", value_parser = term)]
    pub(super) term: Span,
    /// What others should know of it, in a line
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(super) reason: String,
    /// Ban those of a file besides: one a line, # begins a comment; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// Also what looks like a mistake
    #[arg(long)]
    pub(super) force: bool,
    #[command(flatten)]
    pub(super) target: Target,
}

/// `foobar-agent ban remove`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foobar-agent ban remove 198.51.100.7
  foobar-agent ban remove --file blocklist.txt

Names bans as they are listed: a wider prefix that holds the address stays.")]
pub(in crate::cli) struct RemoveOptions {
    /// Addresses and prefixes
    #[arg(value_name = "ADDRESS|PREFIX", required_unless_present = "file")]
    pub(super) subjects: Vec<String>,
    /// Those of a file besides: one a line, # begins a comment; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) target: Target,
}

/// `foobar-agent ban list`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foobar-agent ban list                    all, prefixes first
  foobar-agent ban list 198.51.100.7       is it banned, and by what?
  foobar-agent ban list --reason port-scan --json

PACKETS are those that the ban dropped. A prefix has those of sources for which it is the longest one.")]
pub(in crate::cli) struct ListOptions {
    /// Only what holds this address or prefix, or lies in it
    #[arg(value_name = "ADDRESS|PREFIX")]
    pub(super) subject: Option<String>,
    /// Only bans for this: manual, port-scan, brute-force or balancer
    #[arg(long, value_name = "REASON", value_parser = reason)]
    pub(super) reason: Option<String>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) target: Target,
}

/// How long; `None`: for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) Option<Duration>);

fn term(text: &str) -> Result<Span, String> {
    if text == "forever" {
        return Ok(Span(None));
    }
    match duration::parse(text) {
        Ok(Duration::ZERO) => Err("a ban that ends at once is none".to_owned()),
        Ok(duration) => Ok(Span(Some(duration))),
        Err(error) => Err(format!("{error}, or `forever`")),
    }
}

fn reason(text: &str) -> Result<String, String> {
    let words = foobar_ebpf::abi::ban::BanReason::ALL.iter().map(|reason| reason.as_str());
    let known: Vec<&str> = words.collect();
    if known.contains(&text) { Ok(text.to_owned()) } else { Err(format!("one of {}", known.join(", "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_has_a_unit_or_no_end() {
        assert_eq!(term("forever"), Ok(Span(None)));
        assert_eq!(term("90s"), Ok(Span(Some(Duration::from_secs(90)))));
        for wrong in ["", "10", "0s", "ever"] {
            assert!(term(wrong).is_err(), "{wrong}");
        }
    }
}
