//! Where each property stands in the tables of one schema version.

use crate::schema::EntityDef;
use crate::types::PropertyType;

/// The template of an entity's tables: every table of this schema version has the same inline part.
#[derive(Clone, Debug)]
pub struct TableLayout {
    slots: Vec<Option<Slot>>,
    /// Root offset, vtable without fields, padding, and the zeroed inline part.
    pub(super) template: Vec<u8>,
    pub(super) table: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) ty: PropertyType,
    /// From the start of the table.
    pub(super) offset: u16,
}

/// The root offset, and so the place of the vtable.
pub(super) const ROOT_BYTES: usize = 4;

/// The two lengths at the start of a vtable.
pub(super) const VTABLE_HEAD_BYTES: usize = 4;

/// The reference from a table to its vtable.
pub(super) const TABLE_HEAD_BYTES: usize = 4;

/// Where in the bytes of a table the vtable's entry of a slot stands.
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
        let mut template = vec![0; table + inline];
        template[..4].copy_from_slice(&to_u32(table).to_le_bytes());
        template[4..6].copy_from_slice(&to_u16(vtable_bytes).to_le_bytes());
        template[6..8].copy_from_slice(&to_u16(inline).to_le_bytes());
        template[table..table + 4].copy_from_slice(&to_u32(table - ROOT_BYTES).to_le_bytes());
        TableLayout { slots, template, table }
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
