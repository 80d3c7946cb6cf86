//! Transactions and states as they come from peers.

use reconvene_model::change::{
    Cell, GENERATION_MAX, Op, OpKind, OpsReader, OpsWriter, TxHead, check_cell, decode_tx, encode_tx,
};
use reconvene_model::merge::{Merged, merge_op, merge_states};
use reconvene_model::schema::PROPERTIES_MAX;
use reconvene_model::state::{ObjectState, StateEntry, StatesReader, StatesWriter};
use reconvene_model::value::value_of_cell;
use reconvene_model::{PeerId, PropertyType, Stamp, Uid};

use crate::memory;

/// How much reading op by op may take for each byte of the block: the tables, and the cells of one op.
const MEMORY_FACTOR: usize = 32;

/// How many objects of a block are merged with each other.
const MERGED_MAX: usize = 4;

/// Any bytes as one transaction.
pub fn tx(bytes: &[u8]) {
    let Ok((head, block)) = decode_tx(bytes) else { return };
    assert!(head.origin != PeerId::SHARED && head.number != 0);
    assert_eq!(decode_tx(&encode_tx(&head, block)), Ok((head, block)));
    let checked =
        memory::bounded("a transaction", bytes.len(), MEMORY_FACTOR, || OpsReader::check(head.origin, block));
    match checked {
        Ok(len) => check_ops(&head, block, len),
        Err(_) => {
            let walked = OpsReader::new(head.origin, block).and_then(|mut ops| {
                let mut op = Op::default();
                while ops.read_into(&mut op)? {}
                Ok(())
            });
            assert_eq!(walked.err(), checked.err(), "checking and reading meet the same error");
        }
    }
}

fn check_ops(head: &TxHead, block: &[u8], len: usize) {
    let mut writer = OpsWriter::new(head.origin);
    let mut ops = OpsReader::new(head.origin, block).expect("the block was checked");
    let mut op = Op::default();
    let mut read = 0;
    let mut state = ObjectState::default();
    while ops.read_into(&mut op).expect("the block was checked") {
        check_op(&op);
        writer.push(&op);
        if read < MERGED_MAX {
            check_merge(&mut state, &op, head.stamp());
        }
        read += 1;
    }
    assert_eq!(read, len, "a block holds as many ops as it announces");

    let expected = writer.bytes_len();
    assert!(writer.check_limits().is_ok(), "what was read fits a block");
    let again = writer.finish();
    assert_eq!(again.len(), expected);
    let mut one = OpsReader::new(head.origin, block).expect("the block was checked");
    let mut other = OpsReader::new(head.origin, &again).expect("a written block can be read");
    let (mut left, mut right) = (Op::default(), Op::default());
    while one.read_into(&mut left).expect("the block was checked") {
        assert_eq!(other.read_into(&mut right), Ok(true));
        assert_eq!(left, right, "an op that was read is written and read as the same");
    }
    assert_eq!(other.read_into(&mut right), Ok(false));
}

fn check_op(op: &Op<'_>) {
    assert!(op.entity != Uid(0) && op.gid.counter != 0 && op.generation <= GENERATION_MAX);
    assert!(op.cells.len() <= PROPERTIES_MAX);
    assert!(op.kind != OpKind::Remove || op.cells.is_empty());
    op.cells.iter().for_each(|cell| check_value(cell.ty, cell.bytes.as_deref()));
    if op.cells.len() <= 64 {
        let twice = |at: usize, cell: &Cell<'_>| op.cells[..at].iter().any(|other| other.uid == cell.uid);
        assert!(op.cells.iter().enumerate().all(|(at, cell)| cell.uid != Uid(0) && !twice(at, cell)));
    }
}

fn check_value(ty: u8, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else { return };
    assert_eq!(check_cell(ty, bytes), Ok(()));
    match PropertyType::from_number(ty) {
        Some(PropertyType::Relation) | None => {}
        Some(ty) => assert!(value_of_cell(ty, bytes).is_ok(), "a checked cell of {ty} has a value"),
    }
}

/// An op that comes again changes nothing, and an object is merged the same whether ops come one by one or as states.
fn check_merge<'a>(state: &mut ObjectState<'a>, op: &Op<'a>, stamp: Stamp) {
    if stamp.is_never() {
        return;
    }
    let before = state.clone();
    let mut alone = ObjectState::default();
    merge_op(&mut alone, op, stamp);
    let merged = merge_op(state, op, stamp);
    assert_eq!(merged == Merged::Changed, before != *state);
    assert!(state.registers.windows(2).all(|pair| pair[0].uid < pair[1].uid));
    let after = state.clone();
    assert_ne!(merge_op(state, op, stamp), Merged::Changed, "the same op again");
    assert_eq!(after, *state);
    if op.kind != OpKind::Remove && op.generation == before.generation {
        assert_eq!(merge_states(before, alone), after, "an op is a small state");
    }
}

/// Any bytes as one block of states.
pub fn states(bytes: &[u8]) {
    let checked =
        memory::bounded("a block of states", bytes.len(), MEMORY_FACTOR, || StatesReader::check(bytes));
    let Ok(len) = checked else { return };
    let mut writer = StatesWriter::new();
    let mut entries = StatesReader::new(bytes).expect("the block was checked");
    let mut entry = StateEntry::default();
    let mut read = 0;
    let mut first: Vec<ObjectState<'_>> = Vec::new();
    while entries.read_into(&mut entry).expect("the block was checked") {
        check_state(&entry);
        writer.push(&entry);
        if read < MERGED_MAX {
            first.push(entry.state.clone());
        }
        read += 1;
    }
    assert_eq!(read, len, "a block holds as many objects as it announces");
    check_laws(&first);

    let expected = writer.bytes_len();
    assert!(writer.check_limits().is_ok(), "what was read fits a block");
    let again = writer.finish();
    assert_eq!(again.len(), expected);
    let mut one = StatesReader::new(bytes).expect("the block was checked");
    let mut other = StatesReader::new(&again).expect("a written block can be read");
    let (mut left, mut right) = (StateEntry::default(), StateEntry::default());
    while one.read_into(&mut left).expect("the block was checked") {
        assert_eq!(other.read_into(&mut right), Ok(true));
        assert_eq!(left, right, "an object that was read is written and read as the same");
    }
    assert_eq!(other.read_into(&mut right), Ok(false));
}

fn check_state(entry: &StateEntry<'_>) {
    let state = &entry.state;
    assert!(entry.entity != Uid(0) && entry.gid.counter != 0);
    assert!(!state.exists || state.generation <= GENERATION_MAX);
    assert!(state.registers.len() <= PROPERTIES_MAX);
    assert!(state.registers.windows(2).all(|pair| pair[0].uid < pair[1].uid));
    for register in &state.registers {
        assert!(register.uid != Uid(0) && !register.stamp.is_never());
        check_value(register.ty, register.cell.as_deref());
    }
}

/// Whatever objects they are of, states merge in any order to the same.
fn check_laws(states: &[ObjectState<'_>]) {
    for one in states {
        assert_eq!(&merge_states(one.clone(), one.clone()), one);
        for other in states {
            let merged = merge_states(one.clone(), other.clone());
            assert_eq!(merged, merge_states(other.clone(), one.clone()));
            for third in states {
                assert_eq!(
                    merge_states(merged.clone(), third.clone()),
                    merge_states(one.clone(), merge_states(other.clone(), third.clone()))
                );
            }
        }
    }
}
