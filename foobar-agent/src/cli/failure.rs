//! What can go wrong in a command, as an exit code and as text on standard error.

use crate::config::Diagnostics;
use crate::control::client::ClientError;
use crate::control::describe;

/// The configuration is wrong, here or at the agent that was asked to take it.
pub(super) const CONFIGURATION: u8 = 1;
/// The command line is wrong.
pub(super) const USAGE: u8 = 2;
/// The host is not as it must be: no agent, no permission, a port in use, an old kernel.
pub(super) const ENVIRONMENT: u8 = 3;

/// An error that says whose fault it is. One without this counts as the environment's, unless it
/// holds [`Diagnostics`].
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Exit code 1.
    #[error(transparent)]
    Configuration(anyhow::Error),
    /// Exit code 2.
    #[error(transparent)]
    Usage(anyhow::Error),
    /// Exit code 3.
    #[error(transparent)]
    Environment(anyhow::Error),
}

/// The exit code of a command that failed.
pub(super) fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref() {
        Some(Failure::Configuration(_)) => return CONFIGURATION,
        Some(Failure::Usage(_)) => return USAGE,
        Some(Failure::Environment(_)) => return ENVIRONMENT,
        None => {}
    }
    let of_configuration = error.chain().any(|cause| {
        let refused = matches!(
            cause.downcast_ref(),
            Some(ClientError::Refused(refusal)) if !refusal.diagnostics.is_empty()
        );
        refused || cause.is::<Diagnostics>()
    });
    if of_configuration { CONFIGURATION } else { ENVIRONMENT }
}

/// Writes the error to standard error. Returns the exit code.
pub(super) fn report(error: &anyhow::Error) -> u8 {
    let text = describe(error);
    // Diagnostics begin with their place, as compilers' do, so that editors find it.
    if exit_code(error) == CONFIGURATION {
        eprintln!("{text}");
    } else {
        eprintln!("error: {text}");
    }
    exit_code(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Refusal;

    #[test]
    fn whose_fault_it_is_decides_the_exit_code() {
        let configuration = Failure::Configuration(anyhow::anyhow!("bad"));
        assert_eq!(exit_code(&anyhow::Error::new(configuration).context("at start")), CONFIGURATION);
        let environment = Failure::Environment(Diagnostics::default().into());
        assert_eq!(exit_code(&environment.into()), ENVIRONMENT);
        assert_eq!(exit_code(&Diagnostics::default().into()), CONFIGURATION);
        assert_eq!(exit_code(&anyhow::anyhow!("the port is in use")), ENVIRONMENT);
    }

    #[test]
    fn a_refused_reload_is_the_configurations_fault_only_with_diagnostics() {
        let port_in_use = ClientError::Refused(Refusal::from("port in use".to_owned()));
        assert_eq!(exit_code(&port_in_use.into()), ENVIRONMENT);
        let errors = crate::config::load(std::path::Path::new("/nonexistent")).unwrap_err();
        let broken_file = ClientError::Refused(Refusal::from(errors));
        assert_eq!(exit_code(&broken_file.into()), CONFIGURATION);
    }
}
