//! Cells taken from a record's table as they stand there, without a look at each one's type.

use crate::change::block::set_null;
use crate::change::ops_writer::OpCells;
use crate::codec::put_varint;
use crate::record::{RecordError, Table, TableLayout};
use crate::types::PropertyType;

/// Properties whose cells have the bytes that the tables of one layout have.
#[derive(Clone, Debug)]
pub struct TableCells {
    cells: Vec<TableCell>,
    /// The vtable of a table in which none of them is null, if the layout has no other property.
    whole: Vec<u8>,
    /// How long the inline part of such a table is at least.
    inline_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct TableCell {
    slot: u16,
    ty: PropertyType,
    form: Form,
    /// From the start of the table, in the tables of the layout.
    offset: u16,
    /// Where it stands in its run of scalars.
    at: u8,
    /// The bytes of that run, if it is the last of it.
    run_bytes: u8,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    One,
    Two,
    Four,
    Eight,
    /// A length, then bytes.
    Long,
}

/// How many bytes of scalars are put together before they are appended.
const RUN_BYTES_MAX: usize = 64;

/// The widest scalar.
const WORD_BYTES: usize = 8;

impl TableCells {
    /// The properties in these slots; `None` if there are links or vectors of strings among them, whose cells are not what
    /// tables hold, or slots without a property.
    pub fn new(layout: &TableLayout, slots: impl Iterator<Item = u16>) -> Option<TableCells> {
        let mut cells: Vec<TableCell> =
            slots.map(|slot| TableCell::new(layout, slot)).collect::<Option<_>>()?;
        let mut whole = vec![0; 2 * layout.slots()];
        let mut run = 0;
        for at in 0..cells.len() {
            let cell = cells[at];
            whole[2 * usize::from(cell.slot)..][..2].copy_from_slice(&cell.offset.to_le_bytes());
            let Some(bytes) = cell.ty.scalar_bytes() else { continue };
            cells[at].at = run;
            run += u8::try_from(bytes).ok()?;
            let next = cells.get(at + 1).and_then(|next| next.ty.scalar_bytes());
            if next.is_none_or(|next| usize::from(run) + next > RUN_BYTES_MAX) {
                cells[at].run_bytes = std::mem::take(&mut run);
            }
        }
        let end = |cell: &TableCell| usize::from(cell.offset) + cell.ty.scalar_bytes().unwrap_or(4);
        let inline_bytes = cells.iter().map(end).max().unwrap_or(0);
        Some(TableCells { cells, whole, inline_bytes })
    }
}

impl TableCell {
    fn new(layout: &TableLayout, slot: u16) -> Option<TableCell> {
        let ty = layout.slot_type(slot.into())?;
        let form = match (ty, ty.scalar_bytes()) {
            (PropertyType::Relation | PropertyType::StringVector, _) => return None,
            (_, Some(1)) => Form::One,
            (_, Some(2)) => Form::Two,
            (_, Some(4)) => Form::Four,
            (_, Some(_)) => Form::Eight,
            (_, None) => Form::Long,
        };
        Some(TableCell { slot, ty, form, offset: layout.offset(slot.into())?, at: 0, run_bytes: 0 })
    }
}

impl OpCells<'_> {
    /// Appends the next cells from a table: what [`OpCells::push`] would append one by one.
    ///
    /// # Errors
    ///
    /// [`RecordError`] if the table is damaged; the op is then to be dropped.
    ///
    /// # Panics
    ///
    /// If the op has fewer cells left.
    pub fn push_table(&mut self, table: &Table<'_>, all: &TableCells) -> Result<(), RecordError> {
        let cells = &all.cells;
        let types = self.left().iter().map(|&(_, ty)| ty);
        assert!(cells.len() <= types.len(), "an op has as many cells as its shape has properties");
        debug_assert!(
            types.zip(cells).all(|(ty, cell)| ty == cell.ty as u8),
            "cells have the types of the shape"
        );
        let (ops, bitmap, written) = self.out();
        if table.vtable == all.whole && table.inline_bytes() >= all.inline_bytes {
            *written += cells.len();
            return all.push_whole(table, ops);
        }
        for &TableCell { slot, ty, form, .. } in cells {
            let slot = slot as usize;
            let is_null = match form {
                Form::One => put(ops, table.fixed::<1>(slot, ty)?),
                Form::Two => put(ops, table.fixed::<2>(slot, ty)?),
                Form::Four => put(ops, table.fixed::<4>(slot, ty)?),
                Form::Eight => put(ops, table.fixed::<8>(slot, ty)?),
                Form::Long => match table.bytes(slot, ty)? {
                    Some(bytes) => {
                        put_varint(ops, bytes.len() as u64);
                        ops.extend_from_slice(bytes);
                        false
                    }
                    None => true,
                },
            };
            if is_null {
                set_null(ops, bitmap, *written);
            }
            *written += 1;
        }
        Ok(())
    }
}

impl TableCells {
    /// Appends the cells of a table in which nothing is null and everything stands where this layout has it.
    fn push_whole(&self, table: &Table<'_>, ops: &mut Vec<u8>) -> Result<(), RecordError> {
        let bytes = table.inline_and_after();
        // Put together here, a scalar is one load and one store, without a look at how much room there is. Eight bytes are
        // moved whatever its width: what is too much of them is overwritten by the next, or left behind.
        let mut run = [0; RUN_BYTES_MAX + WORD_BYTES];
        for cell in &self.cells {
            if matches!(cell.form, Form::Long) {
                let bytes = table.bytes(cell.slot.into(), cell.ty)?.unwrap_or_default();
                put_varint(ops, bytes.len() as u64);
                ops.extend_from_slice(bytes);
                continue;
            }
            let from = bytes.get(cell.offset.into()..).unwrap_or_default();
            let to = usize::from(cell.at) % RUN_BYTES_MAX;
            match from.first_chunk::<WORD_BYTES>() {
                Some(word) => run[to..to + WORD_BYTES].copy_from_slice(word),
                None => cell.copy_last(from, &mut run[to..])?,
            }
            if cell.run_bytes > 0 {
                ops.extend_from_slice(&run[..usize::from(cell.run_bytes)]);
            }
        }
        Ok(())
    }
}

impl TableCell {
    /// Copies a scalar that is among the last bytes of its table.
    #[cold]
    fn copy_last(&self, from: &[u8], to: &mut [u8]) -> Result<(), RecordError> {
        let width = self.ty.scalar_bytes().unwrap_or(0);
        let (slot, ty) = (self.slot.into(), self.ty);
        let scalar = from.get(..width);
        let scalar = scalar.ok_or(RecordError::Slot { slot, ty, what: "it lies outside the table" })?;
        to[..width].copy_from_slice(scalar);
        Ok(())
    }
}

/// Appends a scalar; whether there is none.
#[inline]
fn put<const N: usize>(out: &mut Vec<u8>, scalar: Option<[u8; N]>) -> bool {
    match scalar {
        Some(scalar) => {
            out.extend_from_slice(&scalar);
            false
        }
        None => true,
    }
}
