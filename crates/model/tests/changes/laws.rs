//! Merging is commutative, associative and idempotent, for ops, for states, and between the two.

use proptest::collection::vec;
use proptest::prelude::*;
use reconvene_model::merge::{Merged, is_absorbed, merge_op, merge_states};
use reconvene_model::ranking::Ranking;
use reconvene_model::state::ObjectState;
use reconvene_model::{PropertyType, Seq, Uid};

use crate::histories::{Stamped, any_steps, any_wild_ops, any_wild_state, expected_state, merge_all, play};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn peers_that_saw_the_same_ops_agree(steps in any_steps(), deliveries in vec(any::<prop::sample::Index>(), 0..60)) {
        for ops in play(&steps) {
            check_any_order(&ops, &deliveries)?;
        }
    }

    #[test]
    fn so_do_they_under_policies_that_rank(
        steps in any_steps(),
        deliveries in vec(any::<prop::sample::Index>(), 0..60),
        pieces in vec(0..4usize, 40),
        arrivals in vec(1..200u64, 40),
    ) {
        let precedence = Ranking::Precedence { uid: Uid(1), ty: PropertyType::Int, unsigned: false };
        for ops in play(&steps) {
            for ranking in [precedence, Ranking::Arrival] {
                let ranked: Vec<Stamped> = ops
                    .iter()
                    .zip(arrivals.iter().cycle())
                    .map(|((op, stamp), &seq)| (op.clone(), ranking.stamp(*stamp, &op.cells, Some(Seq(seq)))))
                    .collect();
                check_any_order(&ranked, &deliveries)?;
                check_pieces(&ranked, &pieces)?;
            }
        }
    }

    #[test]
    fn strangers_ops_agree_too(ops in any_wild_ops(), deliveries in vec(any::<prop::sample::Index>(), 0..30)) {
        check_any_order(&ops, &deliveries)?;
    }

    #[test]
    fn states_of_pieces_merge_to_the_state_of_the_whole(
        steps in any_steps(),
        pieces in vec(0..4usize, 40),
    ) {
        for ops in play(&steps) {
            check_pieces(&ops, &pieces)?;
        }
    }

    #[test]
    fn pieces_of_strangers_ops_do_too(ops in any_wild_ops(), pieces in vec(0..4usize, 12)) {
        check_pieces(&ops, &pieces)?;
    }

    #[test]
    fn merging_states_is_commutative_associative_and_idempotent(
        a in any_wild_state(),
        b in any_wild_state(),
        c in any_wild_state(),
    ) {
        let ab = merge_states(a.clone(), b.clone());
        prop_assert_eq!(&merge_states(b.clone(), a.clone()), &ab);
        prop_assert_eq!(merge_states(ab.clone(), c.clone()), merge_states(a.clone(), merge_states(b.clone(), c)));
        prop_assert_eq!(&merge_states(ab.clone(), a.clone()), &ab);
        prop_assert_eq!(&merge_states(ab.clone(), ab.clone()), &ab);
        prop_assert_eq!(merge_states(a.clone(), ObjectState::default()), a);
        prop_assert!(ab.registers.windows(2).all(|pair| pair[0].uid < pair[1].uid));
    }

    #[test]
    fn what_is_absorbed_leaves_no_trace_and_nothing_else_does(ops in any_wild_ops()) {
        for (at, (op, stamp)) in ops.iter().enumerate() {
            for (over, later) in &ops {
                let alone = merge_all(&[(over.clone(), *later)]);
                let both = merge_all(&[(op.clone(), *stamp), (over.clone(), *later)]);
                prop_assert_eq!(is_absorbed((op, *stamp), (over, *later)), both == alone);
            }
            // Whatever else is merged, and in whatever order.
            let others = || ops.iter().enumerate().filter(|&(other, _)| other != at).map(|(_, other)| other);
            if others().any(|(over, later)| is_absorbed((op, *stamp), (over, *later))) {
                prop_assert_eq!(merge_all(others()), merge_all(&ops));
            }
        }
    }

    #[test]
    fn merge_op_tells_what_it_did(mut state in any_wild_state(), ops in any_wild_ops()) {
        for (op, stamp) in ops {
            let before = state.clone();
            let merged = merge_op(&mut state, &op, stamp);
            prop_assert_eq!(merged == Merged::Changed, state != before);
            if merged == Merged::Superseded {
                prop_assert!(op.generation < state.generation);
            }
            let again = state.clone();
            prop_assert_ne!(merge_op(&mut state, &op, stamp), Merged::Changed, "a duplicate changes nothing");
            prop_assert_eq!(&state, &again);
        }
    }
}

/// In the order of history, backwards, and in an order with duplicates: always what the laws say.
fn check_any_order(ops: &[Stamped], deliveries: &[prop::sample::Index]) -> Result<(), TestCaseError> {
    let expected = expected_state(ops);
    prop_assert_eq!(&merge_all(ops), &expected);
    prop_assert_eq!(&merge_all(ops.iter().rev()), &expected);
    if ops.is_empty() {
        return Ok(());
    }
    let with_duplicates = deliveries.iter().map(|index| index.get(ops)).chain(ops.iter().rev());
    prop_assert_eq!(&merge_all(with_duplicates), &expected);
    Ok(())
}

fn check_pieces(ops: &[Stamped], pieces: &[usize]) -> Result<(), TestCaseError> {
    let mut states = vec![ObjectState::default(); 4];
    for ((op, stamp), &piece) in ops.iter().zip(pieces.iter().cycle()) {
        merge_op(&mut states[piece], op, *stamp);
    }
    let merged = states.into_iter().reduce(|left, right| merge_states(right, left));
    prop_assert_eq!(merged, Some(expected_state(ops)));
    Ok(())
}
