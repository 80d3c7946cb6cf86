//! Dates with a meaning of their own: when an object ends, and when it began.

use std::sync::Arc;

use reconvene_model::record::{Record, Table, TableWriter};
use reconvene_model::{EntityDef, ObjectId, PropertyDef, PropertyFlags, PropertyType};

use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::keys;
use crate::seam::{Direction, KeyRange, Reader};
use crate::store::Store;
use crate::time::TimeSource;
use crate::txn::WriteTxn;

/// Nanoseconds in a millisecond.
const NANOS_PER_MILLI: i64 = 1_000_000;

/// The property from whose time on an object is hidden.
pub(crate) struct Expiration {
    slot: usize,
    ty: PropertyType,
    time: Arc<dyn TimeSource>,
}

impl std::fmt::Debug for Expiration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Expiration").field("slot", &self.slot).finish_non_exhaustive()
    }
}

/// The stored property of this flag, if the entity has one that is a date.
fn dated(def: &EntityDef, flag: PropertyFlags) -> Option<&PropertyDef> {
    let is_date = |ty| matches!(ty, PropertyType::Date | PropertyType::DateNano);
    def.stored_properties().find(|property| property.flags.has(flag) && is_date(property.ty))
}

/// This moment as a property of this type has it.
fn now(ty: PropertyType, time: &dyn TimeSource) -> i64 {
    let millis = i64::try_from(time.now_ms()).unwrap_or(i64::MAX);
    if ty == PropertyType::DateNano { millis.saturating_mul(NANOS_PER_MILLI) } else { millis }
}

impl Expiration {
    pub(crate) fn of(def: &EntityDef, time: &Arc<dyn TimeSource>) -> Option<Expiration> {
        let property = dated(def, PropertyFlags::EXPIRATION_TIME)?;
        Some(Expiration { slot: property.slot(), ty: property.ty, time: time.clone() })
    }
}

impl EntityRuntime {
    /// Whether the object of this table is hidden, since its time is over.
    #[inline]
    pub(crate) fn hides(&self, table: &Table<'_>) -> Result<bool> {
        match &self.expiration {
            None => Ok(false),
            Some(expiration) => expiration.is_over(table),
        }
    }

    /// As [`EntityRuntime::hides`], of a record.
    #[inline]
    pub(crate) fn hides_record(&self, record: &[u8]) -> Result<bool> {
        if self.expiration.is_none() {
            return Ok(false);
        }
        let record = Record::parse_as(&self.layout, record).map_err(|e| StoreError::damaged("record", e))?;
        self.hides(&record.table)
    }
}

impl Expiration {
    fn is_over(&self, table: &Table<'_>) -> Result<bool> {
        let end = table.int(self.slot, self.ty).map_err(|e| StoreError::damaged("record", e))?;
        // Without a date, or with the date zero, an object has no end.
        Ok(end.is_some_and(|end| end != 0 && end <= now(self.ty, &*self.time)))
    }
}

/// The slot and type of the date that accompanies the id.
pub(crate) fn companion(def: &EntityDef) -> Option<(usize, PropertyType)> {
    dated(def, PropertyFlags::ID_COMPANION).map(|property| (property.slot(), property.ty))
}

/// Sets the date that accompanies the id, where a new object has none.
pub(crate) fn set_companion(
    entity: &EntityRuntime,
    table: &mut TableWriter<'_>,
    time: &dyn TimeSource,
) -> Result<()> {
    let Some((slot, ty)) = entity.companion else { return Ok(()) };
    if table.table().int(slot, ty).map_err(StoreError::bad_record)?.unwrap_or(0) == 0 {
        table.set_int(slot, now(ty, time));
    }
    Ok(())
}

/// Leaves the date that accompanies the id as it is stored, where an object is put without one.
pub(crate) fn keep_companion(entity: &EntityRuntime, old: &[u8], table: &mut TableWriter<'_>) -> Result<()> {
    let Some((slot, ty)) = entity.companion else { return Ok(()) };
    if table.table().int(slot, ty).map_err(StoreError::bad_record)?.unwrap_or(0) != 0 {
        return Ok(());
    }
    let damaged = |error| StoreError::damaged("record", error);
    let old = Record::parse_as(&entity.layout, old).map_err(damaged)?.table;
    if let Some(date) = old.int(slot, ty).map_err(damaged)? {
        table.set_int(slot, date);
    }
    Ok(())
}

impl Store {
    /// Removes the objects of local-only entities whose `#[expires]` date is over; how many there were.
    ///
    /// They are hidden as soon as their time comes; this gives their room back. Synced entities are left out: a device whose clock
    /// is wrong must not remove what others still see, so that the server removes theirs.
    ///
    /// ```
    /// # use reconvene_store::{Date, Entity, Store};
    /// #[derive(Entity, Debug, Default)]
    /// # #[entity(crate = "reconvene_store")]
    /// struct Token {
    ///     id: u64,
    ///     #[expires]
    ///     valid_until: Date,
    /// }
    ///
    /// let store = Store::builder("memory:").entity::<Token>().open()?;
    /// let tokens = store.boxed::<Token>()?;
    /// tokens.put(&mut Token { valid_until: Date(1), ..Token::default() })?;
    /// tokens.put(&mut Token::default())?; // no date, no end
    /// assert_eq!(tokens.count()?, 1);
    /// assert_eq!(store.remove_expired()?, 1);
    /// # Ok::<(), reconvene_store::StoreError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Store::write`].
    pub fn remove_expired(&self) -> Result<u64> {
        self.write(|tx| {
            let entities: Vec<_> = tx.inner().catalog.entities().cloned().collect();
            let mut removed = 0;
            for entity in entities.iter().filter(|entity| !entity.def.is_synced()) {
                for id in tx.expired(entity)? {
                    removed += u64::from(tx.remove_object(entity, id)?);
                }
            }
            Ok(removed)
        })
    }
}

impl WriteTxn<'_> {
    /// The objects that are hidden, since their time is over.
    fn expired(&self, entity: &EntityRuntime) -> Result<Vec<ObjectId>> {
        let mut ids = Vec::new();
        if entity.expiration.is_some() {
            for row in self.engine_tx().range(entity.objects, KeyRange::all(), Direction::Forward)? {
                let (key, record) = row?;
                if entity.hides_record(record)? {
                    ids.push(keys::object_id(key)?);
                }
            }
        }
        Ok(ids)
    }
}
