//! Mistakes made on purpose: the simulator must find every one of them.

#![cfg(feature = "planted-faults")]

use reconvene_model::planted::{Planted, plant};
use reconvene_sim::{runner, workload};

/// Each mistake with a seed that found it when this was written.
const FOUND_BY: [(Planted, u64); 48] = [
    (Planted::VerdictBeforeCommit, 1),
    (Planted::OutboxDroppedAtLogin, 1),
    (Planted::GenerationIgnored, 1),
    (Planted::TieByArrival, 2),
    (Planted::HalfTransaction, 1),
    (Planted::CursorMovedByVerdict, 1),
    (Planted::PushWithinCatchUp, 1),
    (Planted::RefusedWriteKept, 1),
    (Planted::RefusedWriteLost, 1),
    (Planted::DuplicateAccepted, 6),
    (Planted::RefusalsUntold, 2),
    (Planted::LostOpsPushed, 4),
    (Planted::LostOpsUntold, 1),
    (Planted::UniqueUnjudged, 1),
    (Planted::MissingObjectEdited, 2),
    (Planted::ChunkOverstated, 42),
    (Planted::ChangeUnlisted, 1),
    (Planted::ClockDeaf, 1),
    (Planted::ClockForgotten, 1),
    (Planted::ConfirmedOverwritten, 1),
    (Planted::RemovalUnobserved, 1),
    (Planted::PendingForgotten, 1),
    (Planted::CopyUnnoticed, 1),
    (Planted::FormerIdsKept, 3),
    (Planted::StalePutWhole, 1),
    (Planted::ObjectPutSparse, 1),
    (Planted::RemoveKeepsRegisters, 1),
    (Planted::UnknownDropped, 5),
    (Planted::CatchUpUnmarked, 1),
    (Planted::ChainUnchecked, 1),
    (Planted::SettledWithinCatchUp, 1),
    (Planted::TombstoneUntold, 5),
    (Planted::VerdictsForgotten, 3),
    (Planted::CompareKeepsCursor, 7),
    (Planted::CompareWorthTooMuch, 10),
    (Planted::ExtrasStay, 5),
    (Planted::FetchedMerged, 10),
    (Planted::LostOpsUnburied, 7),
    (Planted::LostDecisionsKept, 20),
    (Planted::DigestUncompared, 9),
    (Planted::FrozenRestamped, 2),
    (Planted::RankIgnored, 1),
    (Planted::PendingBelowPlaces, 1),
    (Planted::HorizonStays, 5),
    (Planted::SentCoalesced, 1),
    (Planted::PartCoalesced, 1),
    (Planted::CoalescedOverOthers, 2),
    (Planted::UniqueCoalesced, 17),
];

/// How many further seeds are tried, should the first one look elsewhere by now.
const MORE: u64 = 100;

#[test]
fn every_mistake_is_found() {
    let mut missed = Vec::new();
    for (mistake, seed) in FOUND_BY {
        plant(Some(mistake));
        let mut seeds = std::iter::once(seed).chain(1..=MORE);
        let found = seeds.any(|seed| runner::run(&workload::scenario(seed), false).finding.is_some());
        plant(None);
        if !found {
            missed.push(mistake);
        }
    }
    assert!(missed.is_empty(), "nobody noticed {missed:?}");
}

#[test]
fn every_mistake_is_in_the_list() {
    for mistake in Planted::ALL {
        assert!(FOUND_BY.iter().any(|(listed, _)| *listed == mistake), "{mistake:?}");
    }
}
