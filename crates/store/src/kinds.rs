//! Counters and sets as they are written: changes of what a table shows, whatever else has changed it since it was read.

use reconvene_model::Stamp;
use reconvene_model::kinds::{Kind, SET_BYTES_MAX, counter_delta};
use reconvene_model::record::{KindState, Table, TableWriter};

use crate::catalog::{EntityRuntime, KindSlot};
use crate::error::{Result, StoreError};
use crate::objects::copy_slot;

/// A change of the counter or set in a slot, as ops have it.
pub(crate) type KindChange = (u16, Vec<u8>);

/// The changes that lead from what one table shows to what another one does, in these slots.
pub(crate) fn between(
    entity: &EntityRuntime,
    before: &Table<'_>,
    after: &Table<'_>,
    slots: &[u16],
) -> Result<Vec<KindChange>> {
    let mut changes = Vec::new();
    for &KindSlot { slot, ty, kind } in entity.kinds.iter().filter(|kind| slots.contains(&kind.slot)) {
        let before = before.stored(slot as usize, ty).map_err(|e| StoreError::damaged("record", e))?;
        let after = after.stored(slot as usize, ty).map_err(StoreError::bad_record)?;
        changes.extend(kind.change_between(before.as_deref(), after.as_deref()).map(|change| (slot, change)));
    }
    Ok(changes)
}

/// The table of `current` with these plain slots taken from `changed`, and these changes made.
pub(crate) fn with_changes(
    entity: &EntityRuntime,
    current: &Table<'_>,
    changed: &Table<'_>,
    plain: &[u16],
    changes: &[KindChange],
) -> Result<Vec<u8>> {
    let mut writer = TableWriter::new(&entity.layout);
    for &slot in &entity.stored_slots {
        let source = if plain.contains(&slot) { changed } else { current };
        copy_slot(entity, source, slot, &mut writer)?;
    }
    for (slot, change) in changes {
        let Some(&KindSlot { slot, ty, kind }) = entity.kind_at(*slot) else { continue };
        let shown = current.stored(slot as usize, ty).map_err(|e| StoreError::damaged("record", e))?;
        show(&mut writer, slot, kind.show_changed(ty, shown.as_deref(), change));
    }
    let mut bytes = Vec::new();
    writer.finish(&mut bytes);
    Ok(bytes)
}

fn show(table: &mut TableWriter<'_>, slot: u16, shown: Option<Vec<u8>>) {
    match shown {
        Some(shown) => table.set_stored(slot as usize, &shown),
        None => table.set_null(slot as usize),
    }
}

/// Lets the table of a new object show what its counters and sets hold: elements in ascending order, each once.
pub(crate) fn normalize(entity: &EntityRuntime, table: &mut TableWriter<'_>) -> Result<()> {
    for &KindSlot { slot, ty, kind } in &entity.kinds {
        let stored = stored(table, slot, ty)?;
        let change = kind.change_to(stored.as_deref());
        let shown = change.and_then(|change| kind.show_changed(ty, None, &change));
        if shown != stored {
            show(table, slot, shown);
        }
    }
    Ok(())
}

fn stored(table: &TableWriter<'_>, slot: u16, ty: reconvene_model::PropertyType) -> Result<Option<Vec<u8>>> {
    let stored = table.table();
    let stored = stored.stored(slot as usize, ty).map_err(StoreError::bad_record)?;
    Ok(stored.map(|stored| stored.into_owned()))
}

/// Makes the states of a new object's counters and sets from its table, which then shows them; `states` holds what is known of them
/// already. Returns what is added to counters.
pub(crate) fn insert(
    entity: &EntityRuntime,
    states: &mut Vec<KindState>,
    table: &mut TableWriter<'_>,
    stamp: Stamp,
) -> Result<Vec<(u16, i64)>> {
    let mut changes = Vec::new();
    for &KindSlot { slot, ty, kind } in &entity.kinds {
        let change = kind.change_to(stored(table, slot, ty)?.as_deref());
        changes.extend(change.map(|change| (slot, change)));
    }
    let added = change(entity, states, &changes, stamp)?;
    for &KindSlot { slot, ty, kind } in &entity.kinds {
        let state = states.iter().find(|state| state.slot == slot);
        let shown = kind.shown(ty, state.map(|state| &state.state[..]));
        if shown != stored(table, slot, ty)? {
            show(table, slot, shown);
        }
    }
    Ok(added)
}

/// Makes changes to the states of an object's counters and sets; what is added to counters.
pub(crate) fn change(
    entity: &EntityRuntime,
    states: &mut Vec<KindState>,
    changes: &[KindChange],
    stamp: Stamp,
) -> Result<Vec<(u16, i64)>> {
    let mut added = Vec::new();
    for (slot, change) in changes {
        let Some(&KindSlot { slot, kind, .. }) = entity.kind_at(*slot) else { continue };
        let at = states.binary_search_by_key(&slot, |state| state.slot);
        let known = at.ok().map(|at| &states[at].state[..]);
        if kind == Kind::Counter {
            added.push((slot, counter_delta(change).map_err(|e| StoreError::damaged("change", e))?));
        }
        let Some(state) = kind.amend(known, change, stamp) else { continue };
        if kind != Kind::Counter && state.len() > SET_BYTES_MAX {
            return Err(set_too_large(entity, slot, state.len()));
        }
        match at {
            Ok(at) => states[at].state = state,
            Err(at) => states.insert(at, KindState { slot, kind, state }),
        }
    }
    Ok(added)
}

fn set_too_large(entity: &EntityRuntime, slot: u16, bytes: usize) -> StoreError {
    let property = entity.def.stored_properties().find(|property| property.slot() == slot as usize);
    StoreError::SetTooLarge {
        entity: entity.def.name.clone(),
        property: property.map(|property| property.name.clone()).unwrap_or_default(),
        bytes,
        max: SET_BYTES_MAX,
    }
}
