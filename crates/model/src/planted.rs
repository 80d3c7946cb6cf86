//! Mistakes that are made on purpose, so that the simulator can be seen to find them.
//!
//! Without the feature `planted-faults`, which nothing that ships turns on, [`planted`] is always false and costs nothing.

/// A mistake that can be made on purpose; each is named after what goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Planted {
    /// A server gives verdicts before they are durable.
    VerdictBeforeCommit,
    /// At a login everything in the outbox counts as decided.
    OutboxDroppedAtLogin,
    /// Edits of a generation that was removed count.
    GenerationIgnored,
    /// Of writes with equal clock readings the one that arrives last wins.
    TieByArrival,
    /// Of a pushed transaction only the first op is applied.
    HalfTransaction,
    /// A verdict moves the cursor.
    CursorMovedByVerdict,
    /// Pushes follow before the catch-up is done.
    PushWithinCatchUp,
    /// A refused write stays visible.
    RefusedWriteKept,
    /// A refused write does not come back.
    RefusedWriteLost,
    /// A duplicate of a refused transaction is answered as if it had been accepted.
    DuplicateAccepted,
    /// A login does not tell of refusals that the device missed.
    RefusalsUntold,
    /// Ops that were lost are pushed all the same.
    LostOpsPushed,
    /// Verdicts do not name ops that were lost.
    LostOpsUntold,
    /// Unique values are not judged.
    UniqueUnjudged,
    /// Edits of objects that the server does not have are taken.
    MissingObjectEdited,
    /// A chunk that ends within a position claims to have brought all of it.
    ChunkOverstated,
    /// A changed object does not stand at its new place in the history.
    ChangeUnlisted,
    /// A device's clock takes no note of stamps that arrive.
    ClockDeaf,
    /// A device's clock is not stored.
    ClockForgotten,
    /// What was confirmed of an object is not kept when it is edited.
    ConfirmedOverwritten,
    /// Observers are not told of removals.
    RemovalUnobserved,
    /// After a restart nobody knows which objects have undecided writes.
    PendingForgotten,
    /// A device does not compare the hash that the server names with its own.
    CopyUnnoticed,
    /// Objects that were inserted after a fork keep their global ids under the new name.
    FormerIdsKept,
    /// Putting back what was read earlier writes everything.
    StalePutWhole,
    /// Under the policy `object` a put writes only what changed.
    ObjectPutSparse,
    /// A remove leaves the registers.
    RemoveKeepsRegisters,
    /// Properties that a schema does not know are dropped.
    UnknownDropped,
    /// A catch-up is not marked as one.
    CatchUpUnmarked,
    /// The hash of the previous transaction is not checked.
    ChainUnchecked,
    /// Own transactions are settled within a catch-up.
    SettledWithinCatchUp,
    /// A superseded transaction leaves no tombstone.
    TombstoneUntold,
    /// Verdicts are forgotten before they are confirmed.
    VerdictsForgotten,
    /// The cursor stays where it was when a compare begins.
    CompareKeepsCursor,
    /// A compare is worth more than the moment of the set that was compared with.
    CompareWorthTooMuch,
    /// Objects that the server lacks stay.
    ExtrasStay,
    /// What a compare fetched is merged into what was confirmed.
    FetchedMerged,
    /// Ops that a transaction lost, although the rest of it lives, leave no tombstone.
    LostOpsUnburied,
    /// Transactions that a restored server has lost count as accepted.
    LostDecisionsKept,
    /// A server finds every digest to be that of what it has.
    DigestUncompared,
    /// What was sent and is not decided is dated anew with the rest.
    FrozenRestamped,
    /// What a policy puts above time is left out when ops are merged.
    RankIgnored,
    /// Under `arrival`, undecided writes have no place above those that are decided.
    PendingBelowPlaces,
    /// Removals are forgotten, but devices that have not heard of them are let go on.
    HorizonStays,
    /// A write takes the place of one that was sent.
    SentCoalesced,
    /// A transaction takes the place of one that wrote other objects as well.
    PartCoalesced,
    /// A transaction takes the place of one after which others follow.
    CoalescedOverOthers,
    /// A write of a unique value, which may be refused, takes the place of one that may not.
    UniqueCoalesced,
    /// What is added to a counter counts as often as it arrives.
    DeltaTwice,
    /// What a refused transaction added to counters stays confirmed.
    RefusedDeltaKept,
    /// Of changes of one element of a set with equal clock readings the one that arrives last wins.
    SetTieByArrival,
    /// Putting a bare struct sets counters to what the struct has.
    CounterPutOverwrites,
}

impl Planted {
    /// All of them.
    pub const ALL: [Planted; 48] = [
        Planted::VerdictBeforeCommit,
        Planted::OutboxDroppedAtLogin,
        Planted::GenerationIgnored,
        Planted::TieByArrival,
        Planted::HalfTransaction,
        Planted::CursorMovedByVerdict,
        Planted::PushWithinCatchUp,
        Planted::RefusedWriteKept,
        Planted::RefusedWriteLost,
        Planted::DuplicateAccepted,
        Planted::RefusalsUntold,
        Planted::LostOpsPushed,
        Planted::LostOpsUntold,
        Planted::UniqueUnjudged,
        Planted::MissingObjectEdited,
        Planted::ChunkOverstated,
        Planted::ChangeUnlisted,
        Planted::ClockDeaf,
        Planted::ClockForgotten,
        Planted::ConfirmedOverwritten,
        Planted::RemovalUnobserved,
        Planted::PendingForgotten,
        Planted::CopyUnnoticed,
        Planted::FormerIdsKept,
        Planted::StalePutWhole,
        Planted::ObjectPutSparse,
        Planted::RemoveKeepsRegisters,
        Planted::UnknownDropped,
        Planted::CatchUpUnmarked,
        Planted::ChainUnchecked,
        Planted::SettledWithinCatchUp,
        Planted::TombstoneUntold,
        Planted::VerdictsForgotten,
        Planted::CompareKeepsCursor,
        Planted::CompareWorthTooMuch,
        Planted::ExtrasStay,
        Planted::FetchedMerged,
        Planted::LostOpsUnburied,
        Planted::LostDecisionsKept,
        Planted::DigestUncompared,
        Planted::FrozenRestamped,
        Planted::RankIgnored,
        Planted::PendingBelowPlaces,
        Planted::HorizonStays,
        Planted::SentCoalesced,
        Planted::PartCoalesced,
        Planted::CoalescedOverOthers,
        Planted::UniqueCoalesced,
    ];
}

#[cfg(feature = "planted-faults")]
mod on {
    use std::cell::Cell;
    use std::sync::OnceLock;

    use super::Planted;

    static EVERYWHERE: OnceLock<Planted> = OnceLock::new();

    thread_local! {
        static MADE: Cell<Option<Planted>> = const { Cell::new(None) };
    }

    /// Lets this thread make a mistake, or none.
    pub fn plant(mistake: Option<Planted>) {
        MADE.set(mistake);
    }

    /// Lets all threads of this process make a mistake from here on; the first one that is named counts.
    pub fn plant_everywhere(mistake: Planted) {
        EVERYWHERE.get_or_init(|| mistake);
    }

    /// Whether this thread makes the mistake.
    pub fn planted(mistake: Planted) -> bool {
        MADE.get() == Some(mistake) || EVERYWHERE.get() == Some(&mistake)
    }
}

#[cfg(feature = "planted-faults")]
pub use on::{plant, plant_everywhere, planted};

/// Whether this thread makes the mistake: without the feature none does.
#[cfg(not(feature = "planted-faults"))]
#[inline(always)]
pub const fn planted(_: Planted) -> bool {
    false
}
