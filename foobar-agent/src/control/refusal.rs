//! Why the agent did not do what it was asked: one text for people and, where the configuration
//! is at fault, its diagnostics one by one.

use serde::{Deserialize, Serialize};

use crate::config::Diagnostics;

/// A refusal. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{error}")]
pub struct Refusal {
    /// The reason, ready to be read; several lines where there are several errors.
    pub error: String,
    /// The configuration's errors, and the warnings beside them; empty where it is not at fault.
    #[serde(default, skip_serializing_if = "Diagnostics::is_empty")]
    pub diagnostics: Diagnostics,
}

impl From<Diagnostics> for Refusal {
    fn from(diagnostics: Diagnostics) -> Self {
        Self { error: diagnostics.to_string(), diagnostics }
    }
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Diagnostics>() {
            Ok(diagnostics) => diagnostics.into(),
            Err(error) => describe(&error).into(),
        }
    }
}

impl From<String> for Refusal {
    fn from(error: String) -> Self {
        Self { error, diagnostics: Diagnostics::default() }
    }
}

/// An error and its causes on one line, each said once: the text of many errors already holds
/// that of their source.
pub fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn each_cause_is_said_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot open the file: {0}")]
        struct Outer(#[source] std::io::Error);

        let error = Err::<(), _>(Outer(std::io::Error::other("disk on fire"))).context("reload failed");
        assert_eq!(describe(&error.unwrap_err()), "reload failed: cannot open the file: disk on fire");
    }
}
