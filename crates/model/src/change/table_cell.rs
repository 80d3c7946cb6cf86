//! Cells taken from a record's table as they stand there, without a look at each one's type.

use crate::change::block::set_null;
use crate::change::ops_writer::OpCells;
use crate::codec::put_varint;
use crate::record::{RecordError, Table};
use crate::types::PropertyType;

/// A property whose cell has the bytes that a record's table has.
#[derive(Clone, Copy, Debug)]
pub struct TableCell {
    slot: u16,
    ty: PropertyType,
    form: Form,
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

impl TableCell {
    /// The property in this slot; `None` for links and vectors of strings, whose cells are not what tables hold.
    pub fn new(slot: u16, ty: PropertyType) -> Option<TableCell> {
        let form = match (ty, ty.scalar_bytes()) {
            (PropertyType::Relation | PropertyType::StringVector, _) => return None,
            (_, Some(1)) => Form::One,
            (_, Some(2)) => Form::Two,
            (_, Some(4)) => Form::Four,
            (_, Some(_)) => Form::Eight,
            (_, None) => Form::Long,
        };
        Some(TableCell { slot, ty, form })
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
    pub fn push_table(&mut self, table: &Table<'_>, cells: &[TableCell]) -> Result<(), RecordError> {
        let types = self.left().iter().map(|&(_, ty)| ty);
        assert!(cells.len() <= types.len(), "an op has as many cells as its shape has properties");
        debug_assert!(
            types.zip(cells).all(|(ty, cell)| ty == cell.ty as u8),
            "cells have the types of the shape"
        );
        let (ops, bitmap, written) = self.out();
        for &TableCell { slot, ty, form } in cells {
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
