//! The sync server as a library: sessions, committer, fan-out and limits.
