//! The command line. Declares what there is, with the help that teaches it; does nothing.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::apply::ApplyOptions;
use super::explain::ExplainOptions;
use super::plan::PlanOptions;
use super::target::Target;
use super::watch::WatchOptions;
use crate::kernel::{self, LogLevel};

/// Where the configuration is unless told otherwise.
pub(super) const DEFAULT_CONFIG: &str = "/etc/foobar/foobar.toml";

const EXAMPLES: &str = "\
Examples:
  foobar-agent check /etc/foobar/foobar.toml   is this file right?
  foobar-agent run                             run here, until Ctrl-C
  foobar-agent status                          what does the agent see?
  foobar-agent reload                          take the changed file
  foobar-agent apply --confirm 60s             take it, and go back unless I confirm
  foobar-agent rules                           which rule decides how much?

Exit codes:
  0  done
  1  the configuration is wrong; nothing changed
  2  the command line is wrong
  3  the host is not as it must be: no agent, no permission, a port in use";

/// One agent for a host: XDP firewall, TLS load balancer and monitoring client.
#[derive(Debug, Parser)]
#[command(name = "foobar-agent", version, after_help = EXAMPLES, max_term_width = 100)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the agent in the foreground, until SIGINT or SIGTERM
    Run(RunOptions),
    /// Say everything that is wrong with a configuration, by file, line and column
    Check(CheckOptions),
    /// Say what the rules make of a packet or of a capture, and which rule decides
    Explain(ExplainOptions),
    /// Say what a configuration would change: rules, and the verdicts of packets
    Plan(PlanOptions),
    /// Have this kernel's verifier take the datapath, and say what it costs; attaches nothing
    Verify(VerifyOptions),
    /// Have the agent take its configuration anew: all of it or, with an error, nothing
    Reload(Target),
    /// Put a configuration in force, for good or until a deadline by which somebody must confirm it
    Apply(ApplyOptions),
    /// Keep what `apply --confirm` has put in force
    Confirm(Target),
    /// Go back to the configuration before the one in force, or end its trial
    Rollback(Target),
    /// Show interfaces, rules, drops, services, backends and what needs attention
    Status(Look),
    /// List the rules in order of judgement, with the packets that each decided
    Rules(Look),
    /// Show packets as the datapath judges them, in the manner of tcpdump; or write them as a capture
    Watch(WatchOptions),
    /// List the backends of the load balancer, with their state
    Backends(Look),
    /// Remove the datapath from every interface: the agent, if one runs, goes on without it
    Detach(Target),
    /// Set how much the datapath writes to the agent's log
    DatapathLog(DatapathLogOptions),
    /// The part of `run` that keeps privileges; started by it
    #[command(name = kernel::COMMAND, hide = true)]
    KernelProcess,
}

/// `foobar-agent run`
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
#[command(after_help = "\
Without --config, and without a file at /etc/foobar/foobar.toml, the agent attaches to the
interfaces with a default route, judges nothing, counts everything, and serves its metrics
at http://127.0.0.1:9977/metrics.

Signals: SIGHUP takes the file anew, SIGINT and SIGTERM end the agent.")]
pub struct RunOptions {
    /// The configuration file [default: /etc/foobar/foobar.toml, where there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// End with an error where a configured interface is missing, instead of waiting for it
    #[arg(long)]
    pub strict: bool,
    /// Take the place of other XDP programs on configured interfaces, which otherwise are refused
    #[arg(long)]
    pub replace: bool,
}

/// `foobar-agent check`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foobar-agent check foobar.toml && foobar-agent reload
  foobar-agent check foobar.toml --json | jq '.diagnostics[].line'

Errors end with exit code 1. Warnings alone end with 0: rules that do nothing, interfaces that
this host does not have, management ports open to the world, and rules that would cut the SSH
session in which you type (found by SSH_CONNECTION, here or, below sudo, in a parent process).

Names of ports and protocols: the built-in ones first, the same on every host; then those of
this host's /etc/services and /etc/protocols.")]
pub(super) struct CheckOptions {
    /// The configuration file
    #[arg(value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(super) file: PathBuf,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(super) json: bool,
}

/// `foobar-agent verify`
#[derive(Debug, Args)]
#[command(after_help = "\
Needs root. Ends with 3 where the kernel refuses a program, and shows the verifier's last lines.")]
pub(super) struct VerifyOptions {
    /// Print JSON instead of a table
    #[arg(long)]
    pub(super) json: bool,
}

/// A command that looks at the running agent.
#[derive(Debug, Args)]
pub(super) struct Look {
    #[command(flatten)]
    pub(super) target: Target,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(super) json: bool,
}

/// `foobar-agent datapath-log`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foobar-agent datapath-log debug      a line for each packet in the agent's log
  foobar-agent datapath-log off        the default: the datapath says nothing")]
pub(super) struct DatapathLogOptions {
    /// The least important message that is still written
    pub(super) level: LogLevel,
    #[command(flatten)]
    pub(super) target: Target,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Arguments::try_parse_from(line.split(' ')).map(|arguments| arguments.command)
    }

    #[test]
    fn the_declaration_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn run_takes_its_options() {
        let Command::Run(options) = parse("foobar-agent run --config /tmp/f.toml --strict").unwrap() else {
            panic!("not run");
        };
        let expected = RunOptions { config: Some("/tmp/f.toml".into()), strict: true, replace: false };
        assert_eq!(options, expected);
        let Command::Run(options) = parse("foobar-agent run").unwrap() else { panic!("not run") };
        assert_eq!(options, RunOptions::default());
    }

    #[test]
    fn every_level_of_the_datapath_log_has_its_word() {
        for (word, level) in [
            ("off", LogLevel::Off),
            ("error", LogLevel::Error),
            ("warn", LogLevel::Warn),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
            ("trace", LogLevel::Trace),
        ] {
            let Command::DatapathLog(options) = parse(&format!("foobar-agent datapath-log {word}")).unwrap()
            else {
                panic!("not datapath-log");
            };
            assert_eq!(options.level, level);
        }
    }

    #[test]
    fn what_looks_at_an_agent_can_name_it() {
        for command in
            ["status", "rules", "backends", "reload", "confirm", "rollback", "detach", "datapath-log off"]
        {
            assert!(parse(&format!("foobar-agent {command} --run-dir /run/a")).is_ok(), "{command}");
            assert!(parse(&format!("foobar-agent {command} --config /etc/a.toml")).is_ok(), "{command}");
            let both = parse(&format!("foobar-agent {command} --config /etc/a.toml --run-dir /run/a"));
            assert_eq!(both.unwrap_err().kind(), ErrorKind::ArgumentConflict, "{command}");
        }
    }

    #[test]
    fn packets_come_from_one_place() {
        for line in [
            "tcp from a to b",
            "--pcap a.pcap --interface eth0",
            "--hex 00",
            "--pcap - --why --json",
            "--why=all tcp",
        ] {
            assert!(parse(&format!("foobar-agent explain {line}")).is_ok(), "{line}");
        }
        for line in [
            "--json",
            "--pcap a.pcap tcp",
            "--hex 00 --pcap a.pcap",
            "--why=0 tcp",
            "--run-dir . --config a.toml tcp",
        ] {
            assert!(parse(&format!("foobar-agent explain {line}")).is_err(), "{line}");
        }
    }

    #[test]
    fn wrong_lines_are_usage_errors() {
        for line in ["datapath-log loud", "datapath-log", "frobnicate", "status extra", "run --replace=no"] {
            let error = parse(&format!("foobar-agent {line}")).unwrap_err();
            assert!(error.use_stderr(), "{line}");
            assert_eq!(error.exit_code(), i32::from(super::super::failure::USAGE), "{line}");
        }
        let help = parse("foobar-agent --help").unwrap_err();
        assert!(!help.use_stderr());
    }
}
