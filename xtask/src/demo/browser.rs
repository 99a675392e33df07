//! The client's curl: a name resolved by the demo's name server, a certificate verified against the
//! demo's authority.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};
use foobar_tests::{Host, Process};
use serde::Deserialize;

use super::authority::Authority;
use super::plan::SITE;
use crate::packages::PackageRoot;

/// What curl says of a transfer; one line of JSON each, after the body.
const REPORT: &str = "\nreport %{json}\n";

/// Starts curl on the client's host.
#[derive(Clone, Debug)]
pub(crate) struct Browser<'a> {
    client: &'a Host,
    /// The words before curl's own arguments.
    words: Vec<OsString>,
    folder: PathBuf,
}

/// A finished transfer.
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) body: String,
    pub(crate) report: Report,
}

/// The fields of curl's `%{json}` that are looked at.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Report {
    pub(crate) exitcode: u32,
    pub(crate) errormsg: Option<String>,
    #[serde(rename = "http_code")]
    pub(crate) status: u16,
    pub(crate) http_version: String,
    pub(crate) num_connects: u32,
    pub(crate) redirect_url: Option<String>,
    pub(crate) remote_ip: String,
    #[serde(rename = "ssl_verify_result")]
    pub(crate) verify_result: i64,
}

/// The demo application's answer.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct AppAnswer {
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) headers: std::collections::BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    pub(crate) fn new(
        client: &'a Host,
        programs: &PackageRoot,
        authority: &Authority,
        folder: &Path,
    ) -> Result<Self> {
        let curl = programs.find("curl").context("no curl")?;
        let mut words: Vec<OsString> = ["ip", "netns", "exec", client.name()].map(OsString::from).to_vec();
        words.extend([curl.into(), "--cacert".into(), authority.root.clone().into()]);
        Ok(Self { client, words, folder: folder.to_owned() })
    }

    /// The command as a person would type it, for hints.
    pub(crate) fn typed(&self, arguments: &str) -> String {
        let words: Vec<_> = self.words.iter().map(|word| word.to_string_lossy()).collect();
        format!("{} {arguments}", words.join(" "))
    }

    /// A URL of the site.
    pub(crate) fn https(path: &str) -> String {
        format!("https://{SITE}{path}")
    }

    /// Fetches what the arguments name, all of which must be answered, however.
    pub(crate) fn fetch(&self, arguments: &[&str]) -> Result<Vec<Transfer>> {
        let output = self.output(arguments)?;
        let transfers = parse(&String::from_utf8_lossy(&output.stdout))?;
        if transfers.is_empty() || !output.status.success() {
            let said = transfers.iter().rev().find_map(|transfer| transfer.report.errormsg.as_deref());
            bail!("`{}` failed: {}", self.typed(&arguments.join(" ")), said.unwrap_or("it said nothing"));
        }
        Ok(transfers)
    }

    /// As [`Browser::fetch`], of one URL.
    pub(crate) fn fetch_one(&self, arguments: &[&str]) -> Result<Transfer> {
        self.fetch(arguments)?.pop().context("no transfer")
    }

    /// Runs curl, whatever comes of it.
    pub(crate) fn output(&self, arguments: &[&str]) -> Result<Output> {
        self.command(arguments)?.output().context("cannot run curl")
    }

    /// Starts curl in the background.
    pub(crate) fn start(&self, label: &str, arguments: &[&str]) -> Result<Load> {
        let log = self.folder.join(format!("{label}.log"));
        let process = Process::spawn(label, self.command(arguments)?, &log)?;
        Ok(Load { process, log })
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut words = self.words.iter();
        let mut command = Command::new(words.next().context("no program")?);
        // `--no-buffer`, so that what a load has done so far can be read while it runs.
        command.args(words).args(["--silent", "--no-buffer", "--write-out", REPORT]).args(arguments);
        self.client.confine(&mut command)?;
        Ok(command)
    }
}

/// A curl that fetches one URL after the other.
#[derive(Debug)]
pub(crate) struct Load {
    process: Process,
    log: PathBuf,
}

impl Load {
    /// What it has done so far; a transfer under way is not in it.
    pub(crate) fn so_far(&self) -> Result<Vec<Transfer>> {
        parse(&fs::read_to_string(&self.log).with_context(|| format!("cannot read {}", self.log.display()))?)
    }

    /// Whether anything has arrived.
    pub(crate) fn has_begun(&self) -> bool {
        fs::metadata(&self.log).is_ok_and(|log| log.len() > 0)
    }

    /// Fails if it has ended.
    pub(crate) fn expect_running(&mut self) -> Result<()> {
        self.process.expect_running().context("the load ended too early")
    }

    /// Ends it and returns what it had done.
    pub(crate) fn stop(mut self) -> Result<Vec<Transfer>> {
        self.expect_running()?;
        self.process.kill()?;
        self.so_far()
    }

    /// Waits until it has fetched all.
    pub(crate) fn finish(mut self) -> Result<Vec<Transfer>> {
        self.process.wait()?;
        self.so_far()
    }
}

impl Transfer {
    /// The application's answer, which must be whole.
    pub(crate) fn app(&self) -> Result<AppAnswer> {
        serde_json::from_str(&self.body)
            .with_context(|| format!("not an answer of the application: {self:?}"))
    }
}

/// Bodies, each followed by its report.
fn parse(output: &str) -> Result<Vec<Transfer>> {
    let mut transfers = Vec::new();
    let mut rest = output;
    while let Some((body, after)) = rest.split_once("\nreport ") {
        let Some((report, after)) = after.split_once('\n') else { break };
        let report =
            serde_json::from_str(report).with_context(|| format!("not a report of curl: {report}"))?;
        transfers.push(Transfer { body: body.to_owned(), report });
        rest = after;
    }
    Ok(transfers)
}
