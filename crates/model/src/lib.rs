//! The words of Reconvene: schema, values, record codec, changes, stamps, clock and the merge rules.
