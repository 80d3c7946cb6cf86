//! Every small history of one shared object, in every order of delivery: the generation law has no counterexample there.

use reconvene_model::change::OpKind;
use reconvene_model::state::ObjectState;

use crate::histories::{PEERS, Stamped, expected_state, merge_all, op, permutations};

/// The most ops of a history; each further one makes the search some twenty times longer.
const OPS: usize = 5;

/// An op, and which earlier ones its author had seen, as bits.
struct Event {
    write: Stamped,
    peer: usize,
    seen: u32,
}

impl Event {
    fn is(&self, kind: OpKind) -> bool {
        self.write.0.kind == kind
    }
}

/// Each op is made by any of three peers who has seen any causally closed set of the earlier ops, and does anything that
/// its state allows. Clock readings follow the order of the enumeration, so that every order of concurrent writes occurs.
#[test]
fn f04_every_small_history_agrees_in_every_order() {
    let mut orders: Vec<Vec<Vec<usize>>> = (0..=OPS).map(permutations).collect();
    orders[0].clear();
    let mut histories = 0_u64;
    extend(&mut Vec::new(), &orders, &mut histories);
    assert!(histories > 20_000, "the search covers its space: {histories} histories");
}

fn extend(events: &mut Vec<Event>, orders: &[Vec<Vec<usize>>], histories: &mut u64) {
    if !events.is_empty() {
        check(events, &orders[events.len()]);
        *histories += 1;
    }
    if events.len() == OPS {
        return;
    }
    let at = events.len();
    // Which peer begins makes no difference.
    let peers = if at == 0 { 1 } else { PEERS.len() };
    for (peer, &id) in PEERS.iter().enumerate().take(peers) {
        for seen in 0..1_u32 << at {
            if !may_have_seen(events, peer, seen) {
                continue;
            }
            let state = merge_all(seen_writes(events, seen));
            let kinds: &[OpKind] =
                if state.exists { &[OpKind::Update, OpKind::Remove] } else { &[OpKind::Insert] };
            for &kind in kinds {
                let cells = [(1, Some(at as i32)), (2 + peer as u64, None)];
                let cells = if kind == OpKind::Remove { &[][..] } else { &cells[..] };
                let write = op(kind, state.generation, at as u64 + 1, id, cells);
                events.push(Event { write, peer, seen });
                extend(events, orders, histories);
                events.pop();
            }
        }
    }
}

/// A peer has seen what it wrote, and with a write all that its author had seen.
fn may_have_seen(events: &[Event], peer: usize, seen: u32) -> bool {
    events.iter().enumerate().all(|(at, event)| {
        let has = seen & (1 << at) != 0;
        (has || event.peer != peer) && (!has || event.seen & !seen == 0)
    })
}

fn seen_writes(events: &[Event], seen: u32) -> impl Iterator<Item = &Stamped> {
    events.iter().enumerate().filter(move |(at, _)| seen & (1 << at) != 0).map(|(_, event)| &event.write)
}

fn check(events: &[Event], orders: &[Vec<usize>]) {
    let end = merge_all(events.iter().map(|event| &event.write));
    let writes: Vec<Stamped> = events.iter().map(|event| event.write.clone()).collect();
    assert_eq!(end, expected_state(&writes), "{writes:?}");
    for order in orders {
        assert_eq!(
            merge_all(order.iter().map(|&at| &events[at].write)),
            end,
            "{writes:?} in order {order:?}"
        );
    }
    check_survival(events, &end, &writes);
}

/// What people expect of removes, told without generations.
fn check_survival(events: &[Event], end: &ObjectState<'_>, writes: &[Stamped]) {
    let bits = |kind: OpKind| {
        events.iter().enumerate().filter(|(_, event)| event.is(kind)).fold(0, |bits, (at, _)| bits | 1 << at)
    };
    let (inserts, removes): (u32, u32) = (bits(OpKind::Insert), bits(OpKind::Remove));
    for event in events {
        if event.is(OpKind::Insert) && removes & !event.seen == 0 {
            assert!(end.exists, "an insert that saw every remove lives: {writes:?}");
        }
        if event.is(OpKind::Remove) && inserts & !event.seen == 0 {
            assert!(!end.exists, "a remove that saw every insert holds: {writes:?}");
        }
        let is_recreation = event.is(OpKind::Insert) && event.seen & removes != 0;
        let others_are_first_removes = events
            .iter()
            .enumerate()
            .filter(|(at, other)| other.is(OpKind::Remove) && event.seen & (1 << at) == 0)
            .all(|(_, other)| other.seen & removes == 0);
        if is_recreation && others_are_first_removes {
            assert!(end.exists, "a remove of the old object spares the new one: {writes:?}");
        }
    }
}
