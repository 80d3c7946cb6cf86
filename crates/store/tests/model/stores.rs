//! Real stores, to which a history happens, and the comparison with the model after each turn.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook, take_hook};
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicU8, Ordering};

use proptest::prelude::*;
use reconvene_store::__private::Image;
use reconvene_store::{
    Durability, Object, ObjectBox, OpeningProgress, ReadAccess, Store, StoreBuilder, StoreError, WriteTxn,
};

use crate::history::{Change, End, History, Opening, Turn, Write, cell, pick, property};
use crate::reference::{Asked, Cell, Entity, Kept, Kind, Reference, Refused};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Disk,
    Memory,
}

/// What a panic of ours says.
const ON_PURPOSE: &str = "on purpose";

/// Plays a history to a store and to the model.
pub(crate) fn play(place: Place, history: &History) -> Result<(), TestCaseError> {
    let directory = tempfile::tempdir().unwrap();
    let reference = Reference::new();
    let mut played = Played { place, directory, store: None, image: None, handed_out: [0; 2], reference };
    played.open(Opening::Plain).unwrap();
    for (turn, questions) in &history.turns {
        played.turn(turn)?;
        played.compare()?;
        for question in questions {
            let asked = question.asked(&played.reference);
            let objects = played.store().objects(&played.reference.entities[asked.entity].name).unwrap();
            check(&asked, &played.reference, &objects)?;
        }
    }
    prop_assert_eq!(played.store().check().unwrap(), []);
    Ok(())
}

struct Played {
    place: Place,
    directory: tempfile::TempDir,
    store: Option<Store>,
    /// What a store in memory had when it was closed.
    image: Option<Image>,
    /// The largest ids that were handed out since the store was opened, in transactions that came to nothing as well.
    handed_out: [u64; 2],
    reference: Reference,
}

impl Played {
    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn builder(&self) -> StoreBuilder {
        let builder = match self.place {
            Place::Disk => Store::builder(self.directory.path()).durability(Durability::Relaxed),
            Place::Memory => Store::builder(Path::new("memory:")),
        };
        // Few objects, in many transactions.
        let builder = builder.batch_objects(7);
        let builder = match &self.image {
            Some(image) => builder.image(image),
            None => builder,
        };
        self.reference.descriptions().into_iter().fold(builder, StoreBuilder::description)
    }

    /// Opens the store with the schema of the model.
    fn open(&mut self, opening: Opening) -> Result<(), StoreError> {
        if let Some(store) = self.store.take() {
            self.image = Image::of(&store);
        }
        if let Opening::CutOff(pieces) = opening {
            let left = AtomicU8::new(pieces);
            let cut = self.builder().on_progress(move |_: &OpeningProgress| {
                assert!(left.fetch_sub(1, Ordering::Relaxed) > 0, "{ON_PURPOSE}");
            });
            // It may have nothing to do, or be refused.
            let _ = on_purpose(|| cut.open());
        }
        let builder = self.builder();
        let builder =
            if opening == Opening::InBackground { builder.build_indexes_in_background() } else { builder };
        self.store = Some(builder.open()?);
        self.handed_out = [0; 2];
        Ok(())
    }

    fn turn(&mut self, turn: &Turn) -> Result<(), TestCaseError> {
        match turn {
            Turn::Write(writes, end) => self.write(writes, *end),
            Turn::PutMany(entity, many) => self.put_many(*entity, many),
            Turn::Remove(question) => {
                let asked = question.asked(&self.reference);
                let gone = asked.expected(&self.reference);
                let entity = &mut self.reference.entities[question.entity()];
                gone.iter().for_each(|id| drop(entity.objects.remove(id)));
                let objects = self.store.as_ref().unwrap().objects(&entity.name).unwrap();
                prop_assert_eq!(query(&asked, &objects).remove().unwrap(), gone.len() as u64);
                Ok(())
            }
            Turn::Reopen => {
                self.open(Opening::Plain).unwrap();
                Ok(())
            }
            Turn::Evolve(changes, opening) => self.evolve(changes, *opening),
        }
    }

    fn write(&mut self, writes: &[Write], end: End) -> Result<(), TestCaseError> {
        let mut next = self.begun();
        let store = self.store().clone();
        let mut checked = Ok(());
        let written = on_purpose(|| {
            store.write(|tx| {
                for write in writes {
                    checked = write_one(tx, &mut next, write);
                    if checked.is_err() {
                        return Ok(());
                    }
                }
                match end {
                    End::Commit => Ok(()),
                    End::Error => Err(StoreError::application(ON_PURPOSE)),
                    End::Panic => panic!("{ON_PURPOSE}"),
                }
            })
        });
        checked?;
        prop_assert_eq!(matches!(&written, Some(Ok(()))), end == End::Commit, "{:?}", written);
        self.ended(next, end == End::Commit);
        Ok(())
    }

    fn put_many(&mut self, at: usize, many: &[Vec<u8>]) -> Result<(), TestCaseError> {
        let mut next = self.begun();
        let mut refused = None;
        let mut objects = Vec::new();
        for numbers in many {
            let values = all_values(&next.entities[at], numbers);
            objects.push(object(&next.entities[at], 0, &values));
            if refused.is_none() {
                refused = next.put(at, 0, &values).err();
            }
        }
        let put = self.store().objects(&self.reference.entities[at].name).unwrap().put_many(&mut objects);
        prop_assert_eq!(put.as_ref().err().map(kind_of), refused.map(Some), "{:?}", put);
        self.ended(next, put.is_ok());
        Ok(())
    }

    /// The model as a transaction finds it: ids that were handed out in vain are not handed out again.
    fn begun(&self) -> Reference {
        let mut next = self.reference.clone();
        for (entity, handed_out) in next.entities.iter_mut().zip(self.handed_out) {
            entity.last_id = entity.last_id.max(handed_out);
        }
        next
    }

    fn ended(&mut self, mut next: Reference, is_committed: bool) {
        let former = self.reference.entities.iter().map(|entity| entity.last_id);
        for ((handed_out, former), after) in self.handed_out.iter_mut().zip(former).zip(&mut next.entities) {
            if after.last_id > former.max(*handed_out) {
                *handed_out = after.last_id;
            } else {
                // Only who hands out an id stores the largest one.
                after.last_id = former;
            }
        }
        if is_committed {
            self.reference = next;
        }
    }

    fn evolve(&mut self, changes: &[Change], opening: Opening) -> Result<(), TestCaseError> {
        let before = self.reference.clone();
        for change in changes {
            self.reference.change(change);
        }
        let refusal = self.reference.entities.iter().zip(&before.entities).find_map(|(entity, former)| {
            // In the order of the properties that the store knew.
            former.properties.iter().find_map(|property| {
                let next = entity.properties.iter().find(|next| next.uid == property.uid)?;
                let becomes_unique = property.kept != Kept::Unique && next.kept == Kept::Unique;
                let (ids, further) = becomes_unique.then(|| former.shared(property.uid)).flatten()?;
                Some((next.kind, ids, further))
            })
        });
        match (self.open(opening), refusal) {
            (Ok(()), None) => Ok(()),
            (Err(StoreError::NotUnique { ids, further, .. }), Some((kind, expected, more))) => {
                // Long text does not stand in its order.
                if kind != Kind::Text {
                    prop_assert_eq!(&ids, &expected);
                }
                prop_assert!(ids.len() > 1 && further == more);
                self.reference = before;
                self.open(Opening::Plain).unwrap();
                Ok(())
            }
            (opened, refusal) => Err(TestCaseError::fail(format!("{opened:?} instead of {refusal:?}"))),
        }
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        for entity in &self.reference.entities {
            let all = self.store().objects(&entity.name).unwrap().all().unwrap();
            let expected: Vec<Object> = entity
                .objects
                .iter()
                .map(|(id, values)| {
                    let cells: Vec<_> = entity
                        .properties
                        .iter()
                        .map(|p| (p.uid, values.get(&p.uid).cloned().unwrap_or(Cell::Null)))
                        .collect();
                    object(entity, *id, &cells)
                })
                .collect();
            prop_assert_eq!(all, expected);
        }
        Ok(())
    }
}

impl Reference {
    fn change(&mut self, change: &Change) {
        match *change {
            Change::Add(entity, kind, kept) => self.add(entity, kind, kept),
            Change::Drop(entity, number) => {
                let entity = &mut self.entities[entity];
                let Some(uid) = property(entity, number).map(|property| property.uid) else { return };
                entity.properties.retain(|property| property.uid != uid);
                entity.objects.values_mut().for_each(|values| drop(values.remove(&uid)));
            }
            Change::Rename(entity, number) => {
                let name = format!("n{}", self.next_uid);
                self.next_uid += 1;
                let entity = &mut self.entities[entity];
                let Some(uid) = property(entity, number).map(|property| property.uid) else { return };
                entity.properties.iter_mut().filter(|p| p.uid == uid).for_each(|p| p.name.clone_from(&name));
            }
            Change::Keep(entity, number, kept) => {
                let entity = &mut self.entities[entity];
                let Some(uid) = property(entity, number).map(|property| property.uid) else { return };
                entity.properties.iter_mut().filter(|p| p.uid == uid).for_each(|p| p.kept = kept);
            }
            Change::RenameEntity(entity) => {
                self.entities[entity].name = format!("E{}", self.next_uid);
                self.next_uid += 1;
            }
            // Both at once, as they link to each other.
            Change::Sync(synced) => self.entities.iter_mut().for_each(|entity| entity.synced = synced),
        }
    }
}

/// A value for each property, as far as there are numbers.
fn all_values(entity: &Entity, numbers: &[u8]) -> Vec<(u64, Cell)> {
    entity.properties.iter().zip(numbers).map(|(p, &number)| (p.uid, cell(p.kind, number))).collect()
}

/// Values for some properties; of two for one the last counts.
fn some_values(entity: &Entity, some: &[(u8, u8)]) -> Vec<(u64, Cell)> {
    let mut values: Vec<(u64, Cell)> = Vec::new();
    for &(of, number) in some {
        let Some(property) = property(entity, of) else { continue };
        values.retain(|(uid, _)| *uid != property.uid);
        values.push((property.uid, cell(property.kind, number)));
    }
    values
}

fn object(entity: &Entity, id: u64, values: &[(u64, Cell)]) -> Object {
    values.iter().fold(Object::with_id(id), |object, (uid, cell)| {
        let property = entity.properties.iter().find(|property| property.uid == *uid).unwrap();
        object.with(&property.name, cell.value())
    })
}

/// Why the store refused a put.
fn kind_of(error: &StoreError) -> Option<Refused> {
    match error {
        StoreError::LinkToUnassigned { .. } => Some(Refused::Link),
        StoreError::UniqueViolation { .. } => Some(Refused::Unique),
        StoreError::NotFound { .. } => Some(Refused::Missing),
        _ => None,
    }
}

fn write_one(tx: &mut WriteTxn<'_>, next: &mut Reference, write: &Write) -> Result<(), TestCaseError> {
    let (at, id, values) = match write {
        Write::Insert(at, numbers) => (*at, 0, all_values(&next.entities[*at], numbers)),
        Write::Update(at, number, some) => {
            let entity = &next.entities[*at];
            let Some(id) = pick(entity, *number) else { return Ok(()) };
            (*at, id, some_values(entity, some))
        }
        Write::Overwrite(at, id, some) => (*at, *id, some_values(&next.entities[*at], some)),
        Write::Remove(at, number) => {
            let entity = &mut next.entities[*at];
            let Some(id) = pick(entity, *number) else { return Ok(()) };
            entity.objects.remove(&id);
            prop_assert!(tx.objects(&entity.name).unwrap().remove(id).unwrap());
            return Ok(());
        }
    };
    let mut object = object(&next.entities[at], id, &values);
    let put = tx.objects(&next.entities[at].name).unwrap().put(&mut object);
    match (next.put(at, id, &values), put) {
        (Ok(expected), Ok(id)) => prop_assert_eq!(id, expected),
        (Err(refused), Err(error)) => prop_assert_eq!(kind_of(&error), Some(refused), "{}", error),
        (expected, put) => prop_assert!(false, "{:?} instead of {:?} for {:?}", put, expected, write),
    }
    Ok(())
}

fn query<'b, A: ReadAccess>(asked: &Asked, objects: &'b ObjectBox<A>) -> reconvene_store::ObjectQuery<'b, A> {
    let mut query = objects.query(asked.tree.expr()).unwrap().offset(asked.offset);
    for (property, descending) in &asked.order {
        let name = property.as_ref().map_or("id", |property| &property.name);
        query = if *descending { query.order_by_desc(name) } else { query.order_by(name) }.unwrap();
    }
    match asked.limit {
        Some(limit) => query.limit(limit),
        None => query,
    }
}

fn check<A: ReadAccess>(
    asked: &Asked,
    reference: &Reference,
    objects: &ObjectBox<A>,
) -> Result<(), TestCaseError> {
    let expected = asked.expected(reference);
    let query = query(asked, objects);
    let plan = query.explain().unwrap();
    prop_assert_eq!(query.find_ids().unwrap(), expected.clone(), "{}", plan);
    prop_assert_eq!(query.count().unwrap(), expected.len() as u64, "{}", plan);
    let found: Vec<u64> = query.find().unwrap().iter().map(|object| object.id).collect();
    prop_assert_eq!(&found, &expected, "{}", plan);
    prop_assert_eq!(query.first().unwrap().map(|object| object.id), expected.first().copied(), "{}", plan);
    Ok(())
}

/// Runs what may panic on purpose; `None` if it did.
fn on_purpose<R>(run: impl FnOnce() -> R) -> Option<R> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let hook = take_hook();
        set_hook(Box::new(move |info| {
            if info.payload_as_str() != Some(ON_PURPOSE) {
                hook(info);
            }
        }));
    });
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => Some(result),
        Err(panic) if panic.downcast_ref::<&str>().is_some_and(|said| *said == ON_PURPOSE) => None,
        Err(panic) if panic.downcast_ref::<String>().is_some_and(|said| said == ON_PURPOSE) => None,
        Err(panic) => resume_unwind(panic),
    }
}
