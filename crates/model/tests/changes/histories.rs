//! What the other tests are fed with: ops and states by hand, at random, and from peers that meet now and then.

use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use reconvene_model::change::{Cell, GENERATION_MAX, Op, OpKind};
use reconvene_model::clock::Clock;
use reconvene_model::kinds::{COUNTER, Kind, LINK_SET, STRING_SET, counter_change, set_change};
use reconvene_model::merge::{compare_writes, merge_op, merge_states};
use reconvene_model::state::{ObjectState, Register, StateEntry};
use reconvene_model::{Generation, GlobalId, PeerId, PropertyType, Seq, Stamp, Uid};

pub(crate) const A: PeerId = PeerId(0x0a0a_0a0a_0a0a_0a0a);
pub(crate) const B: PeerId = PeerId(0x0b0b_0b0b_0b0b_0b0b);
pub(crate) const C: PeerId = PeerId(0x0c0c_0c0c_0c0c_0c0c);
pub(crate) const PEERS: [PeerId; 3] = [A, B, C];

pub(crate) const TASK: Uid = Uid(100);

/// An op and the stamp of its transaction.
pub(crate) type Stamped = (Op<'static>, Stamp);

/// An op on the shared object 1 of [`TASK`], writing Int properties by number.
pub(crate) fn op(
    kind: OpKind,
    generation: Generation,
    hlc: u64,
    peer: PeerId,
    cells: &[(u64, Option<i32>)],
) -> Stamped {
    let mut op = Op::new(TASK, GlobalId::new(PeerId::SHARED, 1), generation, kind);
    op.cells = cells.iter().map(|&(uid, value)| int(uid, value)).collect();
    (op, Stamp::new(hlc, peer))
}

pub(crate) fn int(uid: u64, value: Option<i32>) -> Cell<'static> {
    Cell {
        uid: Uid(uid),
        ty: PropertyType::Int as u8,
        bytes: value.map(|v| Cow::Owned(v.to_le_bytes().to_vec())),
    }
}

pub(crate) fn merge_all<'o>(ops: impl IntoIterator<Item = &'o Stamped>) -> ObjectState<'static> {
    let mut state = ObjectState::default();
    for (op, stamp) in ops {
        merge_op(&mut state, op, *stamp);
    }
    state
}

/// The Int value of a property, if its register was written and is not null.
pub(crate) fn value(state: &ObjectState<'_>, uid: u64) -> Option<i32> {
    let cell = state.register(Uid(uid))?.cell.as_deref()?;
    Some(i32::from_le_bytes(cell.try_into().expect("an Int cell has four bytes")))
}

/// Merges the ops in every order and returns the one state that all orders must agree on.
pub(crate) fn merge_in_every_order(ops: &[Stamped]) -> ObjectState<'static> {
    let expected = merge_all(ops);
    for order in permutations(ops.len()) {
        assert_eq!(merge_all(order.iter().map(|&at| &ops[at])), expected, "in order {order:?}");
    }
    expected
}

pub(crate) fn permutations(len: usize) -> Vec<Vec<usize>> {
    let Some(last) = len.checked_sub(1) else { return vec![Vec::new()] };
    let mut all = Vec::new();
    for shorter in permutations(last) {
        for at in 0..=last {
            let mut longer = shorter.clone();
            longer.insert(at, last);
            all.push(longer);
        }
    }
    all
}

/// One thing that happens in a random history.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A peer writes to an object what its state there allows: an insert or re-creation, an update or a remove.
    Write { peer: usize, object: usize, remove: bool, cells: Vec<Cell<'static>>, wall_ms: u64 },
    /// A peer receives all that another one holds.
    Meet { peer: usize, from: usize },
}

/// Plays the steps with three peers and returns the ops that each object saw.
///
/// Two objects are shared by all peers, one was made by the first peer; wall clocks are as wrong as the steps say.
pub(crate) fn play(steps: &[Step]) -> Vec<Vec<Stamped>> {
    const OBJECTS: [GlobalId; 3] = [
        GlobalId { origin: PeerId::SHARED, counter: 1 },
        GlobalId { origin: PeerId::SHARED, counter: 2 },
        GlobalId { origin: A, counter: 3 },
    ];
    let mut log: Vec<Vec<Stamped>> = vec![Vec::new(); OBJECTS.len()];
    let mut clocks = [0, 1, 2].map(|_| Clock::new(0));
    let mut states = vec![vec![ObjectState::default(); OBJECTS.len()]; PEERS.len()];
    for step in steps {
        match step {
            Step::Write { peer, object, remove, cells, wall_ms } => {
                let (peer, object) = (*peer, *object);
                let state = &mut states[peer][object];
                let kind = match (state.exists, *remove) {
                    (false, _) => OpKind::Insert,
                    (true, false) => OpKind::Update,
                    (true, true) => OpKind::Remove,
                };
                let mut op = Op::new(TASK, OBJECTS[object], state.generation, kind);
                if kind != OpKind::Remove {
                    op.cells.clone_from(cells);
                }
                let stamp = Stamp::new(clocks[peer].tick(*wall_ms), PEERS[peer]);
                merge_op(state, &op, stamp);
                log[object].push((op, stamp));
            }
            Step::Meet { peer, from } => {
                let (peer, from) = (*peer, *from);
                let hlc = clocks[from].last();
                clocks[peer].observe(hlc);
                let theirs = states[from].clone();
                for (mine, theirs) in states[peer].iter_mut().zip(theirs) {
                    *mine = merge_states(std::mem::take(mine), theirs);
                }
            }
        }
    }
    log
}

pub(crate) fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    let write = (0..3usize, 0..3usize, any::<bool>(), any_cells(), 0..50u64).prop_map(
        |(peer, object, remove, cells, wall_ms)| Step::Write { peer, object, remove, cells, wall_ms },
    );
    let meet = (0..3usize, 0..3usize).prop_map(|(peer, from)| Step::Meet { peer, from });
    vec(prop_oneof![2 => write, 1 => meet], 1..40)
}

/// Ops of strangers who keep no rule but the form: any kind at any generation and stamp, equal stamps with other values.
pub(crate) fn any_wild_ops() -> impl Strategy<Value = Vec<Stamped>> {
    let kind = prop_oneof![Just(OpKind::Insert), Just(OpKind::Update), Just(OpKind::Remove)];
    let generation = prop_oneof![8 => 0..4u64, 1 => Just(GENERATION_MAX)];
    let op = (kind, generation, 1..5u64, 0..3usize, any_cells(), any_rank()).prop_map(
        |(kind, generation, hlc, peer, cells, rank)| {
            let mut op = Op::new(TASK, GlobalId::new(PeerId::SHARED, 1), generation, kind);
            if kind != OpKind::Remove {
                op.cells = cells;
            }
            (op, Stamp::new(hlc, PEERS[peer]).ranked(rank))
        },
    );
    vec(op, 0..12)
}

/// Mostly none, as under most policies.
fn any_rank() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![4 => Just(0), 2 => 1..3u64, 1 => Just((1 << 63) | 5), 1 => Just(u64::MAX)]
}

/// States that no history needs to have led to.
pub(crate) fn any_wild_state() -> impl Strategy<Value = ObjectState<'static>> {
    (0..3u64, any::<bool>(), vec((any_cells(), 1..4u64, 0..3usize, any_rank()), 0..3)).prop_map(
        |(generation, exists, writes)| {
            let mut registers: BTreeMap<Uid, Register<'static>> = BTreeMap::new();
            for (cells, hlc, peer, rank) in writes {
                for cell in &cells {
                    let stamp = Stamp::new(hlc, PEERS[peer]).ranked(rank);
                    registers.extend(Register::written(cell, stamp).map(|register| (cell.uid, register)));
                }
            }
            ObjectState { generation, exists, registers: registers.into_values().collect() }
        },
    )
}

/// Cells of a few properties, in any order, some of a type that no release knows.
fn any_cells() -> impl Strategy<Value = Vec<Cell<'static>>> {
    let known = (1..5u64, proptest::option::of(0..3i32)).prop_map(|(uid, value)| int(uid, value));
    let unknown = (5..7u64, proptest::option::of(vec(0..3u8, 0..3)), 200..202u8)
        .prop_map(|(uid, bytes, ty)| Cell { uid: Uid(uid), ty, bytes: bytes.map(Cow::Owned) });
    vec(prop_oneof![4 => known, 1 => unknown, 2 => any_set_cell()], 0..5).prop_map(|mut cells| {
        let mut seen = Vec::new();
        cells.retain(|cell| {
            !seen.contains(&cell.uid) && {
                seen.push(cell.uid);
                true
            }
        });
        cells
    })
}

/// A change of one of two sets, or of none.
fn any_set_cell() -> impl Strategy<Value = Cell<'static>> {
    let elements = vec((0..3u8, any::<bool>()), 0..3);
    (7..9u64, elements).prop_map(|(uid, elements)| {
        let keys: Vec<([u8; 1], bool)> =
            elements.into_iter().map(|(key, present)| ([b'a' + key], present)).collect();
        let change = set_change(keys.iter().map(|(key, present)| (&key[..], *present)));
        Cell { uid: Uid(uid), ty: STRING_SET, bytes: change.map(Cow::Owned) }
    })
}

/// A cell of any type, with bytes that are canonical for it.
pub(crate) fn any_cell() -> impl Strategy<Value = Cell<'static>> {
    let ty = prop_oneof![
        8 => proptest::sample::select(PropertyType::ALL).prop_map(|ty| ty as u8),
        1 => prop_oneof![Just(14u8), Just(0), Just(255)],
        2 => COUNTER..=LINK_SET,
    ];
    (1..u64::MAX, ty).prop_flat_map(|(uid, ty)| {
        let bytes = proptest::option::of(any_bytes(ty));
        bytes.prop_map(move |bytes| Cell { uid: Uid(uid), ty, bytes: bytes.map(Cow::Owned) })
    })
}

fn any_bytes(ty: u8) -> BoxedStrategy<Vec<u8>> {
    use PropertyType::*;
    let set = |key: BoxedStrategy<Vec<u8>>| {
        vec((key, any::<bool>()), 1..5)
            .prop_map(|keys| set_change(keys.iter().map(|(key, present)| (&key[..], *present))).unwrap())
            .boxed()
    };
    match Kind::of_type(ty) {
        Some(Kind::Counter) => return any::<i64>().prop_map(counter_change).boxed(),
        Some(Kind::Strings) => return set(".{0,5}".prop_map(std::string::String::into_bytes).boxed()),
        Some(Kind::Integers) => return set(vec(any::<u8>(), 8).boxed()),
        Some(Kind::Links) => return set(vec(any::<u8>(), 16).boxed()),
        None => {}
    }
    match PropertyType::from_number(ty) {
        Some(Bool) => (0..2u8).prop_map(|bit| vec![bit]).boxed(),
        Some(BoolVector) => vec(0..2u8, 0..9).boxed(),
        Some(String) => ".{0,20}".prop_map(std::string::String::into_bytes).boxed(),
        Some(StringVector) => vec(".{0,5}", 0..4)
            .prop_map(|strings| {
                strings
                    .iter()
                    .flat_map(|s| [&(s.len() as u32).to_le_bytes()[..], s.as_bytes()].concat())
                    .collect()
            })
            .boxed(),
        Some(Relation) => any_gid().prop_map(|gid| gid.to_bytes().to_vec()).boxed(),
        Some(ty) => match (ty.scalar_bytes(), ty.element_bytes()) {
            (Some(width), _) => vec(any::<u8>(), width).boxed(),
            (None, Some(width)) => vec(vec(any::<u8>(), width), 0..5).prop_map(|e| e.concat()).boxed(),
            (None, None) => (vec(any::<u8>(), 0..40), any::<bool>())
                .prop_map(|(bytes, named)| match named {
                    true => {
                        reconvene_model::Flex::from_iter([("bytes", reconvene_model::Flex::Bytes(bytes))])
                    }
                    false => bytes.into(),
                })
                .prop_map(|flex| flex.encode().expect("it is not deep"))
                .boxed(),
        },
        None => vec(any::<u8>(), 0..40).boxed(),
    }
}

pub(crate) fn any_gid() -> impl Strategy<Value = GlobalId> {
    let origin = prop_oneof![
        3 => proptest::sample::select(&PEERS),
        1 => Just(PeerId::SHARED),
        1 => any::<u64>().prop_map(PeerId),
    ];
    let counter = prop_oneof![3 => 1..1000u64, 1 => 1..=u64::MAX];
    (origin, counter).prop_map(|(origin, counter)| GlobalId { origin, counter })
}

/// Well-formed ops of every kind, type and origin.
pub(crate) fn any_ops() -> impl Strategy<Value = Vec<Op<'static>>> {
    let kind = prop_oneof![Just(OpKind::Insert), Just(OpKind::Update), Just(OpKind::Remove)];
    let generation = prop_oneof![4 => Just(0), 1 => 1..=GENERATION_MAX];
    let op = (1..4u64, any_gid(), generation, kind, any_unlike_cells()).prop_map(
        |(entity, gid, generation, kind, cells)| {
            let mut op = Op::new(Uid(entity), gid, generation, kind);
            if kind != OpKind::Remove {
                op.cells = cells;
            }
            op
        },
    );
    vec(op, 0..12)
}

/// Well-formed entries of every type and origin, with Seqs in any order.
pub(crate) fn any_entries() -> impl Strategy<Value = Vec<StateEntry<'static>>> {
    let stamp = (1..4u64, 0..3usize, any_rank());
    let stamp = stamp.prop_map(|(hlc, peer, rank)| Stamp::new(hlc, PEERS[peer]).ranked(rank));
    let registers = any_unlike_cells().prop_flat_map(move |cells| {
        let stamps = vec(stamp.clone(), cells.len());
        stamps.prop_map(move |stamps| {
            let mut registers: Vec<_> =
                cells.iter().zip(stamps).filter_map(|(cell, s)| Register::written(cell, s)).collect();
            registers.sort_by_key(|register| register.uid);
            registers
        })
    });
    let generation = prop_oneof![4 => Just(0), 1 => 1..=GENERATION_MAX];
    let entry = (1..4u64, any_gid(), any::<u64>(), generation, any::<bool>(), registers).prop_map(
        |(entity, gid, seq, generation, exists, registers)| StateEntry {
            entity: Uid(entity),
            gid,
            seq: Seq(seq),
            state: ObjectState { generation, exists, registers },
        },
    );
    vec(entry, 0..12)
}

fn any_unlike_cells() -> impl Strategy<Value = Vec<Cell<'static>>> {
    vec(any_cell(), 0..12).prop_map(|mut cells| {
        cells.sort_by_key(|cell| cell.uid);
        cells.dedup_by_key(|cell| cell.uid);
        // Writers may name properties in an order of their own, such as that of slots.
        cells.reverse();
        cells
    })
}

/// What the laws say the ops lead to, told from all of them at once instead of one after the other.
pub(crate) fn expected_state(ops: &[Stamped]) -> ObjectState<'static> {
    let reached = |(op, _): &Stamped| op.generation + u64::from(op.kind == OpKind::Remove);
    let generation = ops.iter().map(reached).max().unwrap_or(0);
    let mut registers: BTreeMap<Uid, Register<'static>> = BTreeMap::new();
    let mut exists = false;
    for (op, stamp) in ops.iter().filter(|(op, _)| op.kind != OpKind::Remove && op.generation == generation) {
        exists |= op.kind == OpKind::Insert;
        for cell in &op.cells {
            let Some(write) = Register::written(cell, *stamp) else { continue };
            match (registers.get_mut(&cell.uid), Kind::of_type(cell.ty)) {
                (Some(known), Some(kind)) => {
                    let states = [known.cell.take(), write.cell].map(Option::unwrap);
                    let [known_state, state] = states;
                    *known = Register::of_kind(cell.uid, kind, kind.join(known_state, state));
                }
                (Some(known), None) if compare_writes(known.write(), write.write()).is_ge() => {}
                _ => _ = registers.insert(cell.uid, write),
            }
        }
    }
    ObjectState { generation, exists, registers: registers.into_values().collect() }
}
