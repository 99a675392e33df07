//! With which configuration the agent starts: its own file, unless something is on trial, or the file says
//! what was refused.

use anyhow::{Context, Result};

use super::kept::{Kept, Origin, Refused};
use super::picture::now_seconds;
use crate::config::Loaded;
use crate::kernel::{Found, Handle, Trial};

/// What became of a trial that nobody decided.
pub(super) const NOT_CONFIRMED: &str = "not confirmed in time";

/// What the agent starts with.
pub(super) struct Choice {
    pub(super) origin: Origin,
    pub(super) loaded: Loaded,
    /// It judges already, until it is confirmed.
    pub(super) trial: Option<Trial>,
}

/// Chooses, and finishes what an agent that died in the middle of a trial has left.
pub(super) async fn choose(
    own: Origin,
    loaded: Loaded,
    kept: &mut Kept,
    found: &Found,
    kernel: &Handle,
) -> Result<Choice> {
    if let Some(generation) = found.returned {
        tracing::warn!(
            "nobody confirmed in time: the datapath has gone back to generation {generation} by itself"
        );
    }
    match (kept.content.trial.clone(), found.standing.trial) {
        (Some(origin), Some(trial)) => match origin.load() {
            Ok(loaded) => {
                tracing::warn!(
                    "{} is on trial: it goes on judging, and {} is not taken, until somebody decides with \
                     `foobar-agent confirm` or `rollback`, or its time is over",
                    origin.name(),
                    own.name()
                );
                return Ok(Choice { origin, loaded, trial: Some(trial) });
            }
            Err(error) => {
                tracing::error!("what is on trial cannot be read any more, and is given up: {error}");
                kernel.roll_back().await?;
                kept.refuse_trial("given up, because it could not be read any more,", now_seconds());
            }
        },
        (Some(_), None) => kept.refuse_trial(NOT_CONFIRMED, now_seconds()),
        // The confirmation was on its way.
        (None, Some(trial)) if kept.content.in_force.is_some() => {
            tracing::info!("generation {} was confirmed when the last agent ended", trial.generation);
            kernel.confirm().await?;
        }
        (None, Some(trial)) => {
            tracing::warn!(
                "generation {} is on trial, and nothing is written down about it: it is given up",
                trial.generation
            );
            kernel.roll_back().await?;
        }
        (None, None) => {}
    }
    if let Some(refused) = kept.objection(&own)
        && let Some(last) = &kept.content.in_force
    {
        say_refused(&own, refused, last);
        let loaded = last.load().with_context(|| {
            format!("{} is refused, and what was in force before cannot be read", own.name())
        })?;
        return Ok(Choice { origin: last.clone(), loaded, trial: None });
    }
    Ok(Choice { origin: own, loaded, trial: None })
}

fn say_refused(own: &Origin, Refused { why, .. }: &Refused, last: &Origin) {
    tracing::error!(
        "{} says what was {why}: it is not taken, and the configuration before it, of {}, is in force. Change the \
         file and reload, or put it in force with `foobar-agent apply`",
        own.name(),
        last.name()
    );
}
