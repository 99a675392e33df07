//! On what was measured: figures mean little without it.

use std::fmt;
use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::Result;
use serde::Serialize;

use crate::process;

/// A machine and what runs on it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    processor: String,
    cores: usize,
    kernel: String,
    foobar: String,
    date: String,
    /// Runnable processes over the last minute, before anything was measured.
    load: String,
}

impl Machine {
    pub(super) fn look() -> Result<Self> {
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            processors
                .lines()
                .find_map(|line| line.strip_prefix(name)?.split_once(": ").map(|(_, value)| value.to_owned()))
        };
        let word = |program: &str, arguments: &[&str]| -> Result<String> {
            Ok(process::output(Command::new(program).args(arguments))?.trim().to_owned())
        };
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Ok(Self {
            processor: field("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: available_parallelism()?.get(),
            kernel: word("uname", &["-sr"])?,
            foobar: env!("CARGO_PKG_VERSION").to_owned(),
            date: word("date", &["--utc", "+%Y-%m-%d"])?,
            load: load.split_whitespace().next().unwrap_or("?").to_owned(),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, cores, kernel, foobar, date, load } = self;
        write!(f, "{processor}, {cores} cores, {kernel}, foobar {foobar}, {date}, load before it {load}")
    }
}
