//! What was written is read back, whatever it is; what was damaged is refused or read as something well-formed.

use std::borrow::Cow;

use proptest::collection::vec;
use proptest::prelude::*;
use reconvene_model::change::{
    Op, OpKind, OpsReader, OpsWriter, TX_HEAD_BYTES_MAX, TxHead, check_cell, decode_tx, encode_tx,
};
use reconvene_model::codec::DecodeError;
use reconvene_model::state::{Register, StateEntry, StatesReader, StatesWriter};
use reconvene_model::{GlobalId, PeerId, PropertyType, Seq, Stamp, TxHash, Uid};

use crate::histories::{A, B, C, TASK, any_entries, any_ops};

pub(crate) fn ops_block(origin: PeerId, ops: &[Op<'_>]) -> Vec<u8> {
    let mut writer = OpsWriter::new(origin);
    for op in ops {
        writer.push(op);
    }
    assert_eq!(writer.len(), ops.len());
    writer.check_limits().expect("tests write less than the limits");
    let announced = writer.bytes_len();
    let block = writer.finish();
    assert_eq!(block.len(), announced);
    block
}

pub(crate) fn states_block(entries: &[StateEntry<'_>]) -> Vec<u8> {
    let mut writer = StatesWriter::new();
    for entry in entries {
        writer.push(entry);
    }
    assert_eq!(writer.len(), entries.len());
    writer.check_limits().expect("tests write less than the limits");
    let announced = writer.bytes_len();
    let block = writer.finish();
    assert_eq!(block.len(), announced);
    block
}

pub(crate) fn read_ops(origin: PeerId, block: &[u8]) -> Result<Vec<Op<'_>>, DecodeError> {
    OpsReader::new(origin, block)?.collect()
}

pub(crate) fn read_states(block: &[u8]) -> Result<Vec<StateEntry<'_>>, DecodeError> {
    StatesReader::new(block)?.collect()
}

proptest! {
    #[test]
    fn ops_come_back(ops in any_ops()) {
        let block = ops_block(A, &ops);
        prop_assert_eq!(OpsReader::check(A, &block), Ok(ops.len()));
        prop_assert_eq!(&read_ops(A, &block)?, &ops);
        let mut parts = OpsWriter::new(A);
        for op in &ops {
            let shape: Vec<_> = op.cells.iter().map(|cell| (cell.uid, cell.ty)).collect();
            let cells = op.cells.iter().map(|cell| cell.bytes.as_deref());
            parts.push_cells(op.entity, op.gid, op.generation, op.kind, &shape, cells);
        }
        prop_assert_eq!(parts.finish(), block, "parts make the same bytes as a whole op");
    }

    #[test]
    fn states_come_back(entries in any_entries()) {
        let block = states_block(&entries);
        prop_assert_eq!(StatesReader::check(&block), Ok(entries.len()));
        prop_assert_eq!(&read_states(&block)?, &entries);
    }

    #[test]
    fn transactions_come_back(origin in 1..=u64::MAX, number in 1..=u64::MAX, previous: [u8; 16], hlc: u64, ops: Vec<u8>) {
        let head = TxHead { origin: PeerId(origin), number, previous: TxHash(previous), hlc };
        let tx = encode_tx(&head, &ops);
        prop_assert!(tx.len() - ops.len() <= TX_HEAD_BYTES_MAX);
        prop_assert_eq!(decode_tx(&tx)?, (head, &ops[..]));
        prop_assert_eq!(head.stamp(), Stamp::new(hlc, PeerId(origin)));
        for cut in 0..tx.len() - ops.len() {
            prop_assert!(decode_tx(&tx[..cut]).is_err());
        }
    }

    #[test]
    fn cut_blocks_are_refused(ops in any_ops(), entries in any_entries()) {
        let block = ops_block(A, &ops);
        for cut in 0..block.len() {
            prop_assert!(OpsReader::check(A, &block[..cut]).is_err(), "ops cut at {cut}");
        }
        let block = states_block(&entries);
        for cut in 0..block.len() {
            prop_assert!(StatesReader::check(&block[..cut]).is_err(), "states cut at {cut}");
        }
    }

    #[test]
    fn flipped_bits_never_panic(ops in any_ops(), entries in any_entries(), flips in vec(any::<prop::sample::Index>(), 1..4)) {
        let mut block = ops_block(A, &ops);
        flip(&mut block, &flips);
        check_ops_reading(&block)?;
        let mut block = states_block(&entries);
        flip(&mut block, &flips);
        check_states_reading(&block)?;
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(prop_oneof![4 => 0..4u8, 1 => any::<u8>()], 0..200)) {
        check_ops_reading(&bytes)?;
        check_states_reading(&bytes)?;
        if let Ok((_, block)) = decode_tx(&bytes) {
            check_ops_reading(block)?;
        }
    }
}

fn flip(bytes: &mut [u8], flips: &[prop::sample::Index]) {
    for index in flips {
        let bit = index.index(8 * bytes.len());
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

/// What a reader accepts is well-formed: it can be written again, and reads the same then.
fn check_ops_reading(block: &[u8]) -> Result<(), TestCaseError> {
    let Ok(ops) = read_ops(A, block) else {
        prop_assert!(OpsReader::check(A, block).is_err());
        return Ok(());
    };
    for cell in ops.iter().flat_map(|op| &op.cells) {
        prop_assert_eq!(cell.bytes.as_deref().map_or(Ok(()), |bytes| check_cell(cell.ty, bytes)), Ok(()));
    }
    let again = ops_block(A, &ops);
    prop_assert_eq!(read_ops(A, &again)?, ops);
    Ok(())
}

fn check_states_reading(block: &[u8]) -> Result<(), TestCaseError> {
    let Ok(entries) = read_states(block) else {
        prop_assert!(StatesReader::check(block).is_err());
        return Ok(());
    };
    let again = states_block(&entries);
    prop_assert_eq!(read_states(&again)?, entries);
    Ok(())
}

fn written(uid: u64, ty: PropertyType, stamp: Stamp, bytes: &[u8]) -> Register<'_> {
    Register { uid: Uid(uid), ty: ty as u8, stamp, cell: Some(Cow::Borrowed(bytes)) }
}

/// A thousand objects of one shape cost the shape once, and a few bytes each.
#[test]
fn neighbours_share_their_shape() {
    let mut writer = OpsWriter::new(A);
    let shape = [(Uid(1), PropertyType::Int as u8), (Uid(2), PropertyType::Bool as u8)];
    for counter in 1..=1000 {
        let cells: [Option<&[u8]>; 2] = [Some(&[1, 2, 3, 4]), None];
        writer.push_cells(TASK, GlobalId::new(A, counter), 0, OpKind::Insert, &shape, cells.into_iter());
    }
    let tables = 1 + (8 + 1 + 2 * 9) + 1 + 2;
    let op = 1 + 1 + 1 + 1 + 4;
    assert_eq!(writer.bytes_len(), tables + 1000 * op);
}

/// Shapes that alternate stand in the table once each.
#[test]
fn alternating_shapes_and_peers_stand_once() {
    let mut writer = OpsWriter::new(A);
    for counter in 1..=100_u64 {
        let ty = if counter % 2 == 0 { PropertyType::Int } else { PropertyType::Float };
        let origin = if counter % 2 == 0 { B } else { C };
        let cells = std::iter::once(Some(&[0, 0, 0, 0][..]));
        writer.push_cells(
            TASK,
            GlobalId::new(origin, counter),
            0,
            OpKind::Insert,
            &[(Uid(1), ty as u8)],
            cells,
        );
    }
    let tables = 1 + 2 * (8 + 1 + 9) + 1 + 2 * 8 + 1;
    assert_eq!(writer.bytes_len(), tables + 100 * (1 + 1 + 1 + 1 + 1 + 4));
}

/// Reading borrows from the block, and reading into the same op again takes no new memory for links either.
#[test]
fn reading_allocates_nothing_per_cell() {
    let link = GlobalId::new(B, 5).to_bytes();
    let mut writer = OpsWriter::new(A);
    for counter in 1..=3 {
        let shape = [(Uid(1), PropertyType::String as u8), (Uid(2), PropertyType::Relation as u8)];
        let cells: [Option<&[u8]>; 2] = [Some(b"text"), Some(&link)];
        writer.push_cells(TASK, GlobalId::new(A, counter), 0, OpKind::Insert, &shape, cells.into_iter());
    }
    let block = writer.finish();
    let mut reader = OpsReader::new(A, &block).unwrap();
    let mut op = Op::default();
    let mut rooms = Vec::new();
    while reader.read_into(&mut op).unwrap() {
        assert!(matches!(op.cells[0].bytes, Some(Cow::Borrowed(b"text"))));
        let bytes = op.cells[1].bytes.as_deref().unwrap();
        assert_eq!(bytes, link);
        rooms.push((bytes.as_ptr(), op.cells.as_ptr().cast::<u8>()));
    }
    assert!(rooms.len() == 3 && rooms.iter().all(|room| *room == rooms[0]));
}

/// An op that is filled again keeps nothing of the one before.
#[test]
fn reused_memory_leaves_no_trace() {
    let mut first = Op::new(TASK, GlobalId::new(B, 1), 3, OpKind::Insert);
    first.cells.push(reconvene_model::change::Cell::new(Uid(1), PropertyType::String, Some(b"old")));
    let second = Op::new(TASK, GlobalId::new(A, 2), 0, OpKind::Remove);
    let mut third = first.clone();
    third.cells[0].bytes = None;
    let ops = [first, second, third];
    let block = ops_block(A, &ops);
    let mut reader = OpsReader::new(A, &block).unwrap();
    let mut op = Op::default();
    for expected in &ops {
        assert!(reader.read_into(&mut op).unwrap());
        assert_eq!(&op, expected);
    }
    assert!(!reader.read_into(&mut op).unwrap());
    assert_eq!(op, ops[2], "the end leaves the op as it was");
}

/// Registers that nobody wrote are not worth a byte.
#[test]
fn registers_never_written_are_left_out() {
    let stamp = Stamp::new(4, B);
    let mut entry =
        StateEntry { entity: TASK, gid: GlobalId::new(A, 1), seq: Seq(1), ..StateEntry::default() };
    entry.state.registers = vec![
        Register { uid: Uid(1), ty: 5, stamp: Stamp::NEVER, cell: None },
        written(2, PropertyType::Bool, stamp, &[1]),
    ];
    let block = states_block(&[entry.clone()]);
    entry.state.registers.remove(0);
    assert_eq!(read_states(&block).unwrap(), [entry]);
}

/// The stamp that most registers share stands once.
#[test]
fn the_base_stamp_is_that_of_the_majority() {
    let (old, new) = (Stamp::new(4, B), Stamp::new(9, C));
    let state = |stamps: [Stamp; 5]| {
        let mut entry =
            StateEntry { entity: TASK, gid: GlobalId::new(A, 1), seq: Seq(1), ..StateEntry::default() };
        entry.state.registers =
            (1..).zip(stamps).map(|(uid, stamp)| written(uid, PropertyType::Bool, stamp, &[1])).collect();
        states_block(&[entry]).len()
    };
    let alike = state([old; 5]);
    let one_peer = 8;
    let one_override = 1 + 1 + 8 + 1;
    let another_override = 1 + 8 + 1;
    assert_eq!(state([new, old, old, old, old]), alike + one_peer + one_override);
    assert_eq!(state([new, old, new, old, old]), alike + one_peer + one_override + another_override);
    assert_eq!(state([new, old, new, old, new]), alike + one_peer + one_override + another_override);
}
