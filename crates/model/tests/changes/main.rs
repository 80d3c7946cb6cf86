//! Changes, states and the merge laws, from the outside: laws, findings, searches, codecs and golden files.

mod codec;
mod findings;
mod golden;
mod histories;
mod laws;
mod refusals;
mod search;
