//! `foobar-agent check`: everything that is wrong with a file, without an agent.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use super::arguments::CheckOptions;
use super::{Output, here, print};
use crate::config::{self, Diagnostics, Loaded};

/// What `check --json` prints.
#[derive(Serialize)]
struct Report<'a> {
    file: &'a Path,
    ok: bool,
    diagnostics: &'a Diagnostics,
}

/// `emit` writes to standard output also where the check fails.
pub(super) fn check(options: &CheckOptions, emit: impl FnOnce(&str) -> anyhow::Result<()>) -> Output {
    let file = options.file.as_path();
    match config::check(file, &here::look()) {
        Ok(Loaded { warnings, .. }) if options.json => {
            print::json(&Report { file, ok: true, diagnostics: &warnings })
        }
        Ok(loaded) => {
            let mut text = String::new();
            for warning in &loaded.warnings {
                writeln!(text, "{warning}")?;
            }
            writeln!(text, "{}: ok: {}", file.display(), summary(&loaded))?;
            Ok(text)
        }
        Err(errors) => {
            if options.json {
                emit(&print::json(&Report { file, ok: false, diagnostics: &errors })?)?;
            }
            Err(errors.into())
        }
    }
}

fn summary(Loaded { config, image_bytes, .. }: &Loaded) -> String {
    let rules = match &config.firewall.ruleset {
        Some(ruleset) => {
            let image = image_bytes
                .map_or_else(String::new, |bytes| format!(" ({} in the kernel)", print::bytes(bytes)));
            print::counted(ruleset.rules.len(), "rule") + ", default " + ruleset.default.as_str() + &image
        }
        None => "no firewall".to_owned(),
    };
    let balancer = match &config.balancer {
        Some(balancer) => {
            let backends = balancer.pools.iter().map(|pool| pool.backends.len()).sum();
            format!(
                "{} on {}",
                print::counted(balancer.sites.len(), "site"),
                print::counted(backends, "backend")
            )
        }
        None => "no balancer".to_owned(),
    };
    format!("{rules}; {balancer}; {}", print::counted(config.monitor.services.len(), "service"))
}
