//! How the program ends: every exit code, in one place.

use std::process::ExitCode;

use reconvene::StoreError;

use crate::error::ConfigError;
use crate::messages;

/// How the program ends; scripts may rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// The command did what it was asked to.
    Success = 0,
    /// Something went wrong on the way, or a second signal did not let the server finish.
    Failure = 1,
    /// Nothing was begun: the command line, the environment or the configuration file must be changed first.
    Usage = 2,
}

/// A mistake in what was asked for: nothing was begun, and the command must be changed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Mistake(pub(crate) String);

/// The exit codes of everything but the server, as help texts explain them.
pub(crate) const COMMAND_HELP: &str = "Exit codes:
  0  done as asked; nothing that was looked at is damaged or different
  1  it failed on the way, or what was looked at is damaged or different
  2  nothing was begun: change the command line or environment first";

/// The exit codes as the help texts of the program and of the server explain them.
pub(crate) const HELP: &str = "Exit codes:
  0  done as asked; for a server: told to end, and everything was written
  1  it failed on the way, or a second signal did not let the server finish
  2  nothing was begun: change the command line, environment or file first";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Tells people why the program ends, and says which exit code that is.
pub(crate) fn report(error: &anyhow::Error) -> Exit {
    messages::error(&format!("{error:#}"));
    if error.chain().any(is_mistake) { Exit::Usage } else { Exit::Failure }
}

fn is_mistake(cause: &(dyn std::error::Error + 'static)) -> bool {
    let of_store = cause.downcast_ref::<StoreError>().is_some_and(|error| {
        matches!(
            error,
            StoreError::UnknownEntity { .. }
                | StoreError::UnknownProperty { .. }
                | StoreError::NotOrdered { .. }
                | StoreError::Condition(_)
                | StoreError::ConditionText(_)
        )
    });
    of_store || cause.is::<ConfigError>() || cause.is::<Mistake>()
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn mistakes_of_the_operator_are_told_from_failures() {
        assert_eq!(report(&anyhow::anyhow!("the disk is full")), Exit::Failure);
        assert_eq!(report(&anyhow::Error::from(ConfigError::AuthenticationMissing)), Exit::Usage);
        let wrapped = Err::<(), _>(ConfigError::AuthenticationMissing).context("while starting").unwrap_err();
        assert_eq!(report(&wrapped), Exit::Usage);
    }

    #[test]
    fn help_names_every_code() {
        for exit in [Exit::Success, Exit::Failure, Exit::Usage] {
            for help in [HELP, COMMAND_HELP] {
                assert!(help.contains(&format!("\n  {}  ", exit as u8)), "{exit:?}");
            }
        }
    }
}
