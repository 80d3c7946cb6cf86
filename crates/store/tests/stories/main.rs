//! Stories: what several people do to the same things while they are apart, and what must come of it.
//!
//! Each is played in every order in which its people can upload and reconnect: all orders of their transactions, each device
//! receiving at every point in between, over a steady connection, over a new one for each step, and over one on which the
//! answers to uploads are lost. What must come of it follows from `docs/guide/conflicts.md` and the laws; it may depend on the
//! order of the uploads (`when ann before bob`), never on who received what when. Lines further down happen later.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

/// Declares stories: each is a test.
macro_rules! stories {
    ($($(#[doc = $doc:literal])* $name:ident $text:literal)+) => {$(
        $(#[doc = $doc])*
        #[test]
        fn $name() {
            $crate::play::play($text);
        }
    )+};
}

mod again;
mod app;
mod clocks;
mod edits;
mod findings;
mod kinds;
mod links;
mod overwrites;
mod play;
mod ranks;
mod removes;
mod script;
mod transactions;
mod unique;
mod versions;
mod world;
