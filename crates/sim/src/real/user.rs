//! What the user of a device does in one transaction.
//!
//! Objects are picked from what the device shows at that moment. Every number that is written is new, so that the auditor knows
//! who wrote it.

use std::collections::BTreeMap;

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
}

impl User {
    pub(super) fn new(index: usize, version: u8, seed: u64) -> User {
        User { index, version, chance: Chance::new(seed), gone: Vec::new() }
    }

    /// Does something in one transaction, which is to be that of this number.
    pub(super) fn acts(&mut self, store: &Store, number: u64) -> Result<(), StoreError> {
        let first = ((self.index as i64 + 1) << 48) | (number.cast_signed() * VALUES_PER_TX);
        let mut hand = Hand { user: self, next_value: first, gone: Vec::new() };
        let done = store.write(|tx| {
            hand.act(tx)?;
            // What does not travel is part of the transaction as well.
            let draft = tx.objects("Draft")?;
            let row = Object::with_id(u64::from(draft.contains(1)?));
            draft.put(&mut row.with("commits", Value::Int(number.cast_signed())))?;
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
        let before = self.next_value;
        let writes = self.user.chance.weighted(&[(6, 1), (2, 2), (1, 4), (1, 7)]);
        for _ in 0..writes {
            self.write(tx)?;
        }
        // A transaction that does nothing is none; there is always a folder to be made.
        if self.next_value == before { self.insert(tx, Kind::Folder, 0) } else { Ok(()) }
    }

    fn write(&mut self, tx: &mut WriteTxn<'_>) -> Result<(), StoreError> {
        let kind = Kind::ALL[self.user.chance.index(Kind::ALL.len())];
        let ids = ids(tx, kind)?;
        if ids.len() > OBJECTS_MAX {
            for id in ids.iter().skip(OBJECTS_MAX / 2) {
                tx.objects(kind.name())?.remove(*id)?;
            }
            self.next_value += 1;
            return Ok(());
        }
        let Some(&id) = ids.get(self.user.chance.index(ids.len())) else {
            return self.insert_somewhere(tx, kind, &ids);
        };
        match self.user.chance.below(12) {
            0..=2 => self.insert_somewhere(tx, kind, &ids),
            3 => self.again(tx),
            4 => {
                tx.objects(kind.name())?.remove(id)?;
                self.next_value += 1;
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
        self.next_value += 1;
        tx.objects(kind.name())?.put(&mut Object::with_id(id).with(name, value)).map(drop)
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
        tx.objects(kind.name())?.put(&mut object).map(drop)
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
