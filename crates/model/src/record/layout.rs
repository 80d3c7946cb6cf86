//! Where each property stands in the tables of one schema version.

use std::ops::Range;

use super::{RecordError, Table};
use crate::schema::EntityDef;
use crate::types::PropertyType;

/// The template of an entity's tables: every table of this schema version has the same inline part.
#[derive(Clone, Debug)]
pub struct TableLayout {
    slots: Vec<Option<Slot>>,
    /// Room for what stands before the table in a record, then root offset, vtable without fields, padding, and the zeroed
    /// inline part.
    pub(super) template: Vec<u8>,
    /// Where the table begins, counted from the root offset.
    pub(super) table: usize,
    /// The first eight bytes of all tables of this layout: root offset, and the lengths of vtable and inline part.
    frame: [u8; 8],
    /// How the table refers back to its vtable.
    back: [u8; 4],
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) ty: PropertyType,
    /// From the start of the table.
    pub(super) offset: u16,
}

/// Where a scalar stands in the tables of a layout, found once for many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScalarPlace {
    /// Its entry in the vtable, and its bytes, both counted from the root offset.
    pub(super) entry: u16,
    pub(super) at: u16,
    /// What the entry says of a value that is there.
    pub(super) offset: u16,
    bytes: u8,
    ty: PropertyType,
}

impl ScalarPlace {
    /// The type of the property.
    #[inline]
    pub fn ty(self) -> PropertyType {
        self.ty
    }

    /// How many bytes a value has.
    #[inline]
    pub fn bytes(self) -> usize {
        self.bytes.into()
    }

    /// Where a value that is there stands in the bytes of a table whose frame is that of the layout.
    #[inline]
    pub fn range(self) -> Range<usize> {
        let at = usize::from(self.at);
        at..at + self.bytes()
    }
}

/// Room that a writer leaves before the table, for the rest of the record: a multiple of the widest field, so that what is
/// aligned within the table is aligned within the writer's bytes.
pub(super) const LEAD_BYTES: usize = 64;

/// The root offset, and so the place of the vtable.
pub(super) const ROOT_BYTES: usize = 4;

/// The two lengths at the start of a vtable.
pub(super) const VTABLE_HEAD_BYTES: usize = 4;

/// The reference from a table to its vtable.
pub(super) const TABLE_HEAD_BYTES: usize = 4;

/// Where in the bytes of a table the vtable's entry of a slot stands.
#[inline]
pub(super) fn vtable_entry(slot: usize) -> usize {
    ROOT_BYTES + VTABLE_HEAD_BYTES + 2 * slot
}

/// The bytes that a property takes inline: itself, or the offset to where it is.
pub(super) fn inline_bytes(ty: PropertyType) -> usize {
    ty.scalar_bytes().unwrap_or(4)
}

impl TableLayout {
    /// The layout of an entity's tables.
    ///
    /// Wide fields come first, so that each is aligned to its width, counted from the start of the table's bytes.
    pub fn new(entity: &EntityDef) -> Self {
        let mut slots: Vec<Option<Slot>> = vec![None; entity.slots()];
        let vtable_bytes = VTABLE_HEAD_BYTES + 2 * slots.len();
        let mut table = (ROOT_BYTES + vtable_bytes).next_multiple_of(4);
        let is_wide = entity.stored_properties().any(|property| inline_bytes(property.ty) == 8);
        if is_wide && !(table + TABLE_HEAD_BYTES).is_multiple_of(8) {
            table += 4;
        }
        let mut inline = TABLE_HEAD_BYTES;
        for width in [8, 4, 2, 1] {
            for property in entity.stored_properties().filter(|property| inline_bytes(property.ty) == width) {
                let offset = to_u16(inline);
                slots[property.slot()] = Some(Slot { ty: property.ty, offset });
                inline += width;
            }
        }
        let mut frame = [0; 8];
        frame[..4].copy_from_slice(&to_u32(table).to_le_bytes());
        frame[4..6].copy_from_slice(&to_u16(vtable_bytes).to_le_bytes());
        frame[6..].copy_from_slice(&to_u16(inline).to_le_bytes());
        let back = to_u32(table - ROOT_BYTES).to_le_bytes();
        let mut template = vec![0; LEAD_BYTES + table + inline];
        template[LEAD_BYTES..][..8].copy_from_slice(&frame);
        template[LEAD_BYTES + table..][..4].copy_from_slice(&back);
        TableLayout { slots, template, table, frame, back }
    }

    /// Checks the frame of a table, as [`Table::parse`] does; one that was written with this layout takes a comparison.
    ///
    /// # Errors
    ///
    /// [`RecordError::Table`] if root, vtable or inline part lie outside the bytes.
    #[inline]
    pub fn parse<'a>(&self, bytes: &'a [u8]) -> Result<Table<'a>, RecordError> {
        match self.own(bytes) {
            Some(table) => Ok(table),
            None => Table::parse(bytes),
        }
    }

    /// Whether a table was written with this layout, or with one of the same frame, so that what is not null in it stands where
    /// this layout has it.
    pub fn is_frame_of(&self, table: &Table<'_>) -> bool {
        let entries = table.vtable.as_chunks::<2>().0;
        self.own(table.as_bytes()).is_some()
            && entries.iter().zip(&self.slots).all(|(entry, slot)| {
                let offset = u16::from_le_bytes(*entry);
                offset == 0 || slot.is_some_and(|slot| slot.offset == offset)
            })
    }

    /// The table, if its frame is that of this layout.
    #[inline]
    pub(super) fn own<'a>(&self, bytes: &'a [u8]) -> Option<Table<'a>> {
        let (table, end) = (self.table, self.template.len() - LEAD_BYTES);
        if bytes.len() < end
            || *bytes.first_chunk()? != self.frame
            || *bytes.get(table..)?.first_chunk()? != self.back
        {
            return None;
        }
        let vtable = &bytes[vtable_entry(0)..vtable_entry(self.slots.len())];
        Some(Table { bytes, vtable, start: table, inline: end - table })
    }

    /// The bytes of a scalar of this layout, if the table's frame is that of the layout and it stands there.
    #[inline]
    pub(super) fn own_scalar<'a>(&self, place: ScalarPlace, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let table = self.own(bytes)?;
        let entry = table.as_bytes().get(place.entry.into()..)?.first_chunk()?;
        if u16::from_le_bytes(*entry) != place.offset {
            return None;
        }
        table.as_bytes().get(place.range())
    }

    /// The place of the property in this slot; `None` if there is none, or it is no scalar.
    pub fn scalar_place(&self, slot: usize) -> Option<ScalarPlace> {
        let Slot { ty, offset, .. } = self.slot(slot)?;
        let bytes = u8::try_from(ty.scalar_bytes()?).expect("a scalar has 8 bytes at most");
        let entry = to_u16(vtable_entry(slot));
        Some(ScalarPlace { entry, at: to_u16(self.table + offset as usize), offset, bytes, ty })
    }

    /// The number of slots: the largest property id.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The type of the property in this slot; `None` for the id, for retired properties and beyond the last slot.
    #[inline]
    pub fn slot_type(&self, slot: usize) -> Option<PropertyType> {
        self.slot(slot).map(|slot| slot.ty)
    }

    /// Where the property in this slot stands, from the start of the table.
    pub(crate) fn offset(&self, slot: usize) -> Option<u16> {
        self.slot(slot).map(|slot| slot.offset)
    }

    #[inline]
    pub(super) fn slot(&self, slot: usize) -> Option<Slot> {
        self.slots.get(slot).copied().flatten()
    }
}

fn to_u16(number: usize) -> u16 {
    u16::try_from(number).expect("PROPERTIES_MAX properties of 8 bytes fit a table's 16-bit lengths")
}

fn to_u32(number: usize) -> u32 {
    u32::from(to_u16(number))
}

const _: () = assert!(
    ROOT_BYTES + VTABLE_HEAD_BYTES + TABLE_HEAD_BYTES + 8 + crate::schema::PROPERTIES_MAX * (2 + 8)
        <= u16::MAX as usize,
    "every offset within a table must fit 16 bits"
);
