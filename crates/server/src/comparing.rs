//! What a server compares with: one sorted set of all its objects, shared by the sessions that compare, and what each of them asks.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use reconvene_model::Seq;
use reconvene_model::compare::{CompareRange, Salt, SortedItems};
use reconvene_model::planted::{Planted, planted};
use reconvene_protocol::CompareBegun;
use reconvene_protocol::compare::answer;
use reconvene_store::{StoreError, SyncHandle};

/// How long sessions begin with a set before another one is built.
pub const SET_SHARED_MAX: Duration = Duration::from_secs(600);

/// How long a session may go on with a set: users who learn its salt could make objects that it does not tell apart.
pub const SET_USED_MAX: Duration = Duration::from_secs(3600);

/// How far the history may go on before another set is built: all of it is caught up with after the compare.
pub const SET_SEQS_MAX: u64 = 100_000;

/// How many sets are held at a time; with so many, sessions begin with the newest, however far the history has gone on.
pub const SETS_MAX: usize = 4;

/// All objects of a server at one moment, as fingerprints; never changed.
pub struct SharedSet {
    items: SortedItems,
    salt: Salt,
    seq: Seq,
    made: Duration,
}

impl SharedSet {
    /// Reads all headers of records in one snapshot. The salt must come from a cryptographic generator and be used once; `now`
    /// counts from any start that stays the same for the server.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn build(sync: &SyncHandle, salt: Salt, now: Duration) -> Result<SharedSet, StoreError> {
        let (items, seq) = sync.compare_items(&salt)?;
        Ok(SharedSet { items, salt, seq, made: now })
    }

    /// How many objects it has.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.made)
    }
}

/// The sets of a server. All views have the same objects, so that one serves them all; older ones last as long as the sessions that
/// began with them.
#[derive(Default)]
pub struct Sets {
    newest: Option<Arc<SharedSet>>,
    all: Vec<Weak<SharedSet>>,
}

impl Sets {
    /// The set with which a session may begin that finds the history at `head`; `None` if one is to be built and [kept](Self::keep).
    ///
    /// The set is not older than `from`: a device that has seen this history up to there would lose what came after the set, until
    /// the catch-up brings it again.
    pub fn find(&mut self, head: Seq, from: Seq, now: Duration) -> Option<Arc<SharedSet>> {
        self.all.retain(|set| set.strong_count() > 0);
        let set = self.newest.as_ref()?;
        let is_near = head.0.saturating_sub(set.seq.0) <= SET_SEQS_MAX || self.all.len() >= SETS_MAX;
        if is_near && set.seq >= from && set.age(now) < SET_SHARED_MAX {
            if planted(Planted::CompareWorthTooMuch) {
                let SharedSet { items, salt, made, .. } = &**set;
                return Some(Arc::new(SharedSet {
                    items: items.clone(),
                    salt: *salt,
                    seq: head,
                    made: *made,
                }));
            }
            return Some(set.clone());
        }
        None
    }

    /// Keeps a set that was built, for the sessions that come next.
    pub fn keep(&mut self, set: Arc<SharedSet>) {
        self.all.push(Arc::downgrade(&set));
        self.newest = Some(set);
    }
}

/// What one session compares.
#[derive(Default)]
pub(crate) struct Comparing {
    set: Option<Arc<SharedSet>>,
    /// Whether the client was told the beginning.
    begun: bool,
    asked: Option<Vec<CompareRange>>,
    /// What is left to be sent of what the client wants.
    wished: Vec<CompareRange>,
}

impl Comparing {
    pub(crate) fn ask(&mut self, ranges: Vec<CompareRange>) {
        self.asked = Some(ranges);
    }

    pub(crate) fn needs_set(&self) -> bool {
        self.set.is_none()
    }

    pub(crate) fn take_set(&mut self, set: Arc<SharedSet>) {
        self.set = Some(set);
    }

    pub(crate) fn is_too_old(&self, now: Duration) -> bool {
        self.set.as_ref().is_some_and(|set| set.age(now) >= SET_USED_MAX)
    }

    /// The answer to what was asked, once there is a set.
    pub(crate) fn answer(&mut self, message_bytes_max: usize) -> Option<(Option<CompareBegun>, Bytes)> {
        let set = self.set.as_ref()?;
        let asked = self.asked.take()?;
        let Ok(answers) = answer(&set.items, &asked, message_bytes_max);
        let begun = (!std::mem::replace(&mut self.begun, true))
            .then_some(CompareBegun { seq: set.seq, salt: set.salt });
        Some((begun, answers.into()))
    }

    pub(crate) fn wish(&mut self, ranges: Vec<CompareRange>) {
        self.wished = ranges;
    }

    pub(crate) fn wished(&self) -> Option<Vec<CompareRange>> {
        (!self.wished.is_empty()).then(|| self.wished.clone())
    }

    pub(crate) fn fetched(&mut self, rest: Vec<CompareRange>) {
        self.wished = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(seq: u64, made: u64) -> Arc<SharedSet> {
        let (items, made) = (SortedItems::default(), Duration::from_secs(made));
        Arc::new(SharedSet { items, salt: [0; 32], seq: Seq(seq), made })
    }

    fn found(sets: &mut Sets, head: u64, now: u64) -> Option<u64> {
        sets.find(Seq(head), Seq(0), Duration::from_secs(now)).map(|set| set.seq.0)
    }

    #[test]
    fn who_has_seen_more_than_a_set_gets_another_one() {
        let mut sets = Sets::default();
        sets.keep(set(5, 0));
        assert!(sets.find(Seq(9), Seq(5), Duration::ZERO).is_some());
        assert!(sets.find(Seq(9), Seq(6), Duration::ZERO).is_none());
    }

    #[test]
    fn a_set_is_shared_until_it_is_old_or_far_behind() {
        let mut sets = Sets::default();
        assert_eq!(found(&mut sets, 5, 0), None);
        sets.keep(set(5, 0));
        assert_eq!(found(&mut sets, 5 + SET_SEQS_MAX, 599), Some(5));
        assert_eq!(found(&mut sets, 5, 600), None);
        sets.keep(set(5, 600));
        assert_eq!(found(&mut sets, 6 + SET_SEQS_MAX, 601), None);
    }

    #[test]
    fn so_many_sets_are_held_and_no_more_while_sessions_go_on_with_them() {
        let mut sets = Sets::default();
        let held: Vec<_> = (0..SETS_MAX as u64).map(|at| set(at, 0)).collect();
        held.iter().for_each(|set| sets.keep(set.clone()));
        assert_eq!(found(&mut sets, SET_SEQS_MAX * 2, 1), Some(3));
        drop(held);
        assert_eq!(found(&mut sets, SET_SEQS_MAX * 2, 1), None);
    }

    #[test]
    fn a_session_goes_on_with_its_set_for_an_hour() {
        let mut comparing = Comparing::default();
        comparing.take_set(set(1, 10));
        assert!(!comparing.is_too_old(Duration::from_secs(3609)));
        assert!(comparing.is_too_old(Duration::from_secs(3610)));
    }
}
