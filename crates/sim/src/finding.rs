//! What the auditor objects to.

use std::fmt;

/// A law that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The law in a few words, always the same for the same law: shrinking keeps to it.
    pub law: String,
    /// What was seen instead.
    pub what: String,
}

/// A result whose error is a finding.
pub type Outcome<T> = Result<T, Finding>;

impl Finding {
    /// A finding about this law.
    pub fn new(law: impl Into<String>, what: impl Into<String>) -> Finding {
        Finding { law: law.into(), what: what.into() }
    }
}

/// The error of this finding.
pub fn found<T>(law: impl Into<String>, what: impl Into<String>) -> Outcome<T> {
    Err(Finding::new(law, what))
}

/// Finds fault unless a law holds; what was seen is only put into words if it does not.
pub fn check(holds: bool, law: &str, what: impl FnOnce() -> String) -> Outcome<()> {
    if holds { Ok(()) } else { found(law, what()) }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.law, self.what)
    }
}
