//! What a local transaction did to each object, as far as its ops need to know.

use std::collections::BTreeMap;
use std::sync::Arc;

use reconvene_model::change::{OpsWriter, ShapeIndex};
use reconvene_model::record::{SyncHeader, TableWriter};
use reconvene_model::{EntityId, Generation, ObjectId, PeerId, Stamp};

use crate::catalog::EntityRuntime;
use crate::sync::id_runs::{ByObject, IdRuns};

/// The objects that a transaction touched, with what became of each.
#[derive(Default)]
pub(crate) struct Touches {
    /// The one stamp of the transaction, once it wrote something.
    pub(super) stamp: Option<Stamp>,
    /// New objects under ids that the store handed out, put once and not touched again.
    pub(super) inserts: IdRuns<()>,
    /// All other objects, in order of first touch.
    pub(super) list: Vec<Touch>,
    by_object: ByObject<usize>,
    /// The ops as they were written; void once an object was touched again, when the final records are read instead.
    pub(super) ops: Option<Box<OpsWriter>>,
    /// How the records of its new objects begin, if nothing ranks them: nothing in it differs from one to the next.
    pub(super) insert_head: Option<RecordHead>,
    /// The entity of the last of them, and what its ops write.
    pub(super) insert_shape: Option<(EntityId, ShapeIndex)>,
    pub(super) again: bool,
    /// What was added to counters.
    pub(super) added: Added,
}

/// What a transaction adds to counters, by object and slot: their states only tell what was added in all.
#[derive(Default)]
pub(super) struct Added(BTreeMap<(EntityId, ObjectId, u16), i64>);

impl Added {
    pub(super) fn note(&mut self, entity: EntityId, id: ObjectId, added: &[(u16, i64)]) {
        for &(slot, by) in added {
            let sum = self.0.entry((entity, id, slot)).or_default();
            *sum = sum.wrapping_add(by);
        }
    }

    pub(super) fn get(&self, entity: EntityId, id: ObjectId, slot: u16) -> Option<i64> {
        self.0.get(&(entity, id, slot)).copied()
    }

    /// Forgets what was added to an object that is removed.
    pub(super) fn forget(&mut self, entity: EntityId, id: ObjectId) {
        let of_object = self.0.range((entity, id, 0)..=(entity, id, u16::MAX));
        let slots: Vec<_> = of_object.map(|(key, _)| *key).collect();
        for key in slots {
            self.0.remove(&key);
        }
    }
}

/// What stands before the table in a record, in no memory of its own.
#[derive(Clone, Copy)]
pub(super) struct RecordHead {
    bytes: [u8; TableWriter::HEAD_BYTES_MAX],
    len: usize,
}

impl RecordHead {
    /// Of the header of a new object, which is short.
    pub(super) fn new(header: &SyncHeader) -> RecordHead {
        let mut head = Vec::new();
        header.write_record(&[], &mut head);
        let mut bytes = [0; TableWriter::HEAD_BYTES_MAX];
        bytes[..head.len()].copy_from_slice(&head);
        RecordHead { bytes, len: head.len() }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// One touched object.
pub(super) struct Touch {
    pub(super) entity: Arc<EntityRuntime>,
    pub(super) id: ObjectId,
    /// The generation that was removed, if the object existed before and was removed.
    pub(super) removed: Option<Generation>,
    pub(super) written: Option<TouchWritten>,
}

/// What was written to a touched object.
pub(super) enum TouchWritten {
    Insert,
    Slots(Vec<u16>),
}

impl Touches {
    /// Whether the transaction touched the object.
    pub(super) fn contains(&self, entity: EntityId, id: ObjectId) -> bool {
        self.inserts.get(entity, id).is_some() || self.by_object.contains_key(&(entity, id))
    }

    /// The object's touch, if there was one; it is about to be touched again, so the ops that were written are void.
    pub(super) fn touch_again(&mut self, entity: &Arc<EntityRuntime>, id: ObjectId) -> Option<&mut Touch> {
        let of = entity.def.id;
        if self.inserts.remove(of, id).is_some() {
            let written = Some(TouchWritten::Insert);
            self.first_touch(Touch { entity: entity.clone(), id, removed: None, written });
        }
        let at = *self.by_object.get(&(of, id))?;
        self.again = true;
        Some(&mut self.list[at])
    }

    /// Notes the first touch of an object.
    pub(super) fn first_touch(&mut self, touch: Touch) {
        self.by_object.insert((touch.entity.def.id, touch.id), self.list.len());
        self.list.push(touch);
    }

    /// Whether it only changed objects that were there, and at most so many.
    pub(super) fn may_take_place(&self, objects_max: usize) -> bool {
        let changes =
            |touch: &Touch| touch.removed.is_none() && matches!(touch.written, Some(TouchWritten::Slots(_)));
        self.inserts.is_empty() && self.list.len() <= objects_max && self.list.iter().all(changes)
    }

    /// The ops so far, to add to them.
    pub(super) fn ops(&mut self, origin: PeerId) -> &mut OpsWriter {
        self.ops.get_or_insert_with(|| Box::new(OpsWriter::new(origin)))
    }

    /// The ops so far, to add to them while the transaction is read; given back by assigning to [`Touches::ops`].
    pub(super) fn take_ops(&mut self, origin: PeerId) -> Box<OpsWriter> {
        self.ops.take().unwrap_or_else(|| Box::new(OpsWriter::new(origin)))
    }
}
