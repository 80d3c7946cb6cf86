//! What the user of a device does in one transaction.
//!
//! Objects are picked from what the device shows at that moment. Every number that is written is new, so that the auditor knows
//! who wrote it.

use std::collections::{BTreeMap, BTreeSet};

use reconvene_model::Value;
use reconvene_store::{Object, Store, StoreError, WriteTxn};

use crate::chance::Chance;
use crate::schema::{BIRTH, Kind};

/// How many ids the entities have whose ids all devices share.
const SHARED_IDS: u64 = 6;

/// How many codes the notes share.
const CODES: u64 = 5;

/// How many objects of an entity there may be before a user tidies up.
const OBJECTS_MAX: usize = 60;

/// How many objects a large transaction makes at most: more than a chunk of a catch-up holds.
const LARGE_MAX: u64 = 600;

/// Numbers below this are told apart within a transaction.
const VALUES_PER_TX: i64 = 1 << 12;

/// The user of one device.
pub(super) struct User {
    pub(super) index: usize,
    pub(super) version: u8,
    pub(super) chance: Chance,
    /// What he removed himself and may make again, where ids may be chosen.
    gone: Vec<(Kind, u64)>,
}

/// One transaction while the user is at it.
struct Hand<'u> {
    user: &'u mut User,
    next_value: i64,
    gone: Vec<(Kind, u64)>,
    /// What it has made so far.
    made: BTreeSet<(Kind, u64)>,
    /// Whether it has changed or removed something that was there before.
    changed: bool,
}

impl User {
    pub(super) fn new(index: usize, version: u8, seed: u64) -> User {
        User { index, version, chance: Chance::new(seed), gone: Vec::new() }
    }

    /// Does something in one transaction that travels.
    pub(super) fn acts(&mut self, store: &Store) -> Result<(), StoreError> {
        let first = (self.index as i64 + 1) << 48;
        let mut hand =
            Hand { user: self, next_value: first, gone: Vec::new(), made: BTreeSet::new(), changed: false };
        let done = store.write(|tx| {
            let draft = tx.objects("Draft")?.get(1)?;
            let commits = match draft.as_ref().map(|draft| draft.get("commits")) {
                Some(Value::Int(commits)) => commits + 1,
                _ => 1,
            };
            hand.next_value = first | (commits * VALUES_PER_TX);
            hand.act(tx)?;
            // What does not travel is part of the transaction as well.
            let mut row = Object::with_id(u64::from(draft.is_some())).with("commits", Value::Int(commits));
            tx.objects("Draft")?.put(&mut row)?;
            Ok(())
        });
        if done.is_ok() {
            let gone = hand.gone;
            self.gone.extend(gone);
        }
        done
    }
}

impl Hand<'_> {
    fn value(&mut self) -> Value {
        self.next_value += 1;
        Value::Int(self.next_value)
    }

    fn act(&mut self, tx: &mut WriteTxn<'_>) -> Result<(), StoreError> {
        if self.user.chance.below(60) == 0 {
            for _ in 0..1 + self.user.chance.below(LARGE_MAX) {
                self.insert(tx, Kind::Folder, 0)?;
            }
            return Ok(());
        }
        let writes = self.user.chance.weighted(&[(6, 1), (2, 2), (1, 4), (1, 7)]);
        for _ in 0..writes {
            self.write(tx)?;
        }
        // A transaction that does nothing is none; there is always a folder to be made.
        if self.changed || !self.made.is_empty() { Ok(()) } else { self.insert(tx, Kind::Folder, 0) }
    }

    fn write(&mut self, tx: &mut WriteTxn<'_>) -> Result<(), StoreError> {
        let kind = Kind::ALL[self.user.chance.index(Kind::ALL.len())];
        let ids = ids(tx, kind)?;
        if ids.len() > OBJECTS_MAX {
            return ids.iter().skip(OBJECTS_MAX / 2).try_for_each(|&id| self.remove(tx, kind, id));
        }
        let Some(&id) = ids.get(self.user.chance.index(ids.len())) else {
            return self.insert_somewhere(tx, kind, &ids);
        };
        match self.user.chance.below(12) {
            0..=2 => self.insert_somewhere(tx, kind, &ids),
            3 => self.again(tx),
            4 => {
                self.remove(tx, kind, id)?;
                if kind.may_choose_ids() {
                    self.gone.push((kind, id));
                }
                Ok(())
            }
            5 if kind == Kind::Note => self.change(tx, kind, id, "code"),
            6 if kind == Kind::Note => self.change(tx, kind, id, "folder"),
            _ => {
                let names: Vec<&'static str> = kind.numbers(self.user.version).collect();
                let name = names[self.user.chance.index(names.len())];
                self.change(tx, kind, id, name)
            }
        }
    }

    /// Removes something; who made it in the same transaction has done nothing.
    fn remove(&mut self, tx: &mut WriteTxn<'_>, kind: Kind, id: u64) -> Result<(), StoreError> {
        tx.objects(kind.name())?.remove(id)?;
        self.changed |= !self.made.remove(&(kind, id));
        Ok(())
    }

    fn change(
        &mut self,
        tx: &mut WriteTxn<'_>,
        kind: Kind,
        id: u64,
        name: &'static str,
    ) -> Result<(), StoreError> {
        let value = match name {
            "code" => self.code(),
            "folder" => self.folder(tx)?,
            _ => self.value(),
        };
        let objects = tx.objects(kind.name())?;
        let is_other = objects.get(id)?.is_none_or(|object| *object.get(name) != value);
        self.changed |= is_other && !self.made.contains(&(kind, id));
        objects.put(&mut Object::with_id(id).with(name, value)).map(drop)
    }

    fn insert_somewhere(&mut self, tx: &mut WriteTxn<'_>, kind: Kind, ids: &[u64]) -> Result<(), StoreError> {
        if !kind.has_shared_ids() {
            return self.insert(tx, kind, 0);
        }
        let id = 1 + self.user.chance.below(SHARED_IDS);
        if ids.contains(&id) { Ok(()) } else { self.insert(tx, kind, id) }
    }

    /// Makes something again that this user had removed, under its id.
    fn again(&mut self, tx: &mut WriteTxn<'_>) -> Result<(), StoreError> {
        let at = self.user.chance.index(self.user.gone.len());
        let Some(&(kind, id)) = self.user.gone.get(at) else { return Ok(()) };
        if tx.objects(kind.name())?.contains(id)? {
            return Ok(());
        }
        self.insert(tx, kind, id)
    }

    fn insert(&mut self, tx: &mut WriteTxn<'_>, kind: Kind, id: u64) -> Result<(), StoreError> {
        let mut values: BTreeMap<String, Value> = BTreeMap::new();
        values.insert(BIRTH.to_owned(), self.value());
        for name in kind.numbers(self.user.version).collect::<Vec<_>>() {
            values.insert(name.to_owned(), self.value());
        }
        if kind == Kind::Note {
            values.insert("code".to_owned(), self.code());
            values.insert("folder".to_owned(), self.folder(tx)?);
        }
        let mut object = Object::with_id(id);
        object.values = values.into_iter().collect();
        let id = tx.objects(kind.name())?.put(&mut object)?;
        self.made.insert((kind, id));
        Ok(())
    }

    fn code(&mut self) -> Value {
        match self.user.chance.below(3) {
            0 => Value::String(format!("code {}", self.user.chance.below(CODES))),
            _ => Value::Null,
        }
    }

    fn folder(&mut self, tx: &mut WriteTxn<'_>) -> Result<Value, StoreError> {
        let folders = ids(tx, Kind::Folder)?;
        let folder = folders.get(self.user.chance.index(folders.len() + 1));
        Ok(folder.map_or(Value::Null, |&id| Value::Relation(id)))
    }
}

/// The objects of an entity that the user sees.
fn ids(tx: &mut WriteTxn<'_>, kind: Kind) -> Result<Vec<u64>, StoreError> {
    tx.objects(kind.name())?.query_text("true")?.find_ids()
}
