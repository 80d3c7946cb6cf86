//! The floor: a minimal program on `heed` that writes and reads the same entries as the store.
//!
//! It knows its one entity while it is compiled, checks nothing that it does not need, and keeps no schema, no history and no
//! promises. A test holds it to the bytes that the store writes.

use std::ops::Range;
use std::path::Path;

use anyhow::Context;
use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, PutFlags, RoTxn, RwTxn, WithoutTls};
use reconvene_model::change::TX_VERSION;
use reconvene_model::codec::put_varint;
use reconvene_model::record::{TableLayout, TableWriter};
use reconvene_model::{EntityDef, PeerId, TxHash};
use reconvene_store::{Entity, FieldMap, FieldWriter, Store};

use crate::data::{SevenFields, Values};

/// A table of the floor.
pub(crate) type FloorTable = Database<'static, Bytes, Bytes>;

/// An environment with nothing around it.
pub(crate) struct Floor {
    env: Env<WithoutTls>,
}

impl Floor {
    pub(crate) fn open(directory: &Path) -> anyhow::Result<Floor> {
        Ok(Floor { env: reconvene_store::__private::bare_environment(directory)? })
    }

    /// Opens a table, and creates it if need be.
    pub(crate) fn table(&self, name: &str) -> anyhow::Result<FloorTable> {
        self.open_table(Some(name))
    }

    fn open_table(&self, name: Option<&str>) -> anyhow::Result<FloorTable> {
        let opened = self.env.create_databases_and_commit(self.env.write_txn()?, |opener, txn| {
            opener.create_database::<Bytes, Bytes>(txn, name).map(CommitOrAbort::<_, ()>::Commit)
        });
        Ok(opened?.unwrap_commit())
    }

    pub(crate) fn read(&self) -> anyhow::Result<RoTxn<'_, WithoutTls>> {
        Ok(self.env.read_txn()?)
    }

    pub(crate) fn write_txn(&self) -> anyhow::Result<RwTxn<'_>> {
        Ok(self.env.write_txn()?)
    }

    /// Every table with its entries, in order of name.
    pub(crate) fn dump(&self) -> anyhow::Result<Vec<TableDump>> {
        let names: Vec<String> = {
            let root = self.open_table(None)?;
            let txn = self.read()?;
            let names = root.iter(&txn)?.map(|entry| Ok(String::from_utf8(entry?.0.to_vec())?));
            names.collect::<anyhow::Result<_>>()?
        };
        let dump = |name: String| {
            let table = self.table(&name)?;
            let txn = self.read()?;
            let entries = table.iter(&txn)?.map(|entry| entry.map(|(key, value)| (key.into(), value.into())));
            Ok(TableDump { entries: entries.collect::<Result<_, _>>()?, name })
        };
        names.into_iter().map(dump).collect()
    }

    /// Creates the tables of a dump.
    pub(crate) fn tables(&self, dump: &[TableDump]) -> anyhow::Result<Vec<FloorTable>> {
        dump.iter().map(|table| self.table(&table.name)).collect()
    }

    /// Writes the entries of a dump in one transaction.
    pub(crate) fn write(&self, tables: &[FloorTable], dump: &[TableDump]) -> anyhow::Result<()> {
        let mut txn = self.env.write_txn()?;
        for (table, TableDump { entries, .. }) in tables.iter().zip(dump) {
            for (key, value) in entries {
                table.put_with_flags(&mut txn, PutFlags::APPEND, key, value)?;
            }
        }
        Ok(txn.commit()?)
    }

    /// Puts these entries into their tables in one transaction of its own.
    pub(crate) fn commit(&self, entries: &[(FloorTable, &[u8], &[u8])]) -> anyhow::Result<()> {
        let mut txn = self.env.write_txn()?;
        for (table, key, value) in entries {
            table.put(&mut txn, key, value)?;
        }
        Ok(txn.commit()?)
    }
}

/// One entry of a table.
type KeyAndValue = (Box<[u8]>, Box<[u8]>);

/// The name of a table and all its entries.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TableDump {
    pub(crate) name: String,
    pub(crate) entries: Vec<KeyAndValue>,
}

/// Where the fields stand in the records of an entity of seven fields.
pub(crate) struct Shape {
    /// A record up to the length of its text, all fields present.
    template: Vec<u8>,
    int: Range<usize>,
    long: Range<usize>,
    double: Range<usize>,
    flag: usize,
    date: Range<usize>,
    /// The beginning of a block of ops that insert such objects.
    ops_head: Vec<u8>,
    last_id_key: Vec<u8>,
    objects: String,
    indexes: Vec<String>,
}

impl Shape {
    /// The shape of records as a store has them.
    pub(crate) fn of<T: SevenFields>(head: &[u8]) -> anyhow::Result<Shape> {
        let store = Store::builder("memory:").entity::<T>().open()?;
        let def = store.schema().entity_by_name(T::NAME).context("the store knows its entity")?;
        let mut template = head.to_vec();
        let empty = Values { text: String::new(), int: 0, long: 0, double: 0.0, flag: false, date: 0 };
        template.extend_from_slice(&encode(def, &T::of(empty))?);
        // The empty text at the end: its length and its terminator.
        template.truncate(template.len() - 4 - 1);
        let table = u32::from_le_bytes(template[head.len()..][..4].try_into()?) as usize;
        let place = |name: &str, width: usize| {
            let slot = def.property(name).context("a field is a property")?.slot();
            let entry = head.len() + 8 + 2 * slot;
            let offset = u16::from_le_bytes(template[entry..entry + 2].try_into()?) as usize;
            anyhow::Ok(head.len() + table + offset..head.len() + table + offset + width)
        };
        let mut ops_head = vec![1];
        ops_head.extend_from_slice(&def.uid.0.to_le_bytes());
        put_varint(&mut ops_head, def.stored_properties().count() as u64);
        for property in def.stored_properties() {
            ops_head.extend_from_slice(&property.uid.0.to_le_bytes());
            ops_head.push(property.ty as u8);
        }
        ops_head.push(0);
        let (int, long, double) = (place("int", 4)?, place("long", 8)?, place("double", 8)?);
        let (flag, date) = (place("flag", 1)?.start, place("date", 8)?);
        Ok(Shape {
            int,
            long,
            double,
            flag,
            date,
            ops_head,
            last_id_key: format!("last-id/{}", def.id.0).into_bytes(),
            objects: format!("e/{}", def.id.0),
            indexes: def
                .properties
                .iter()
                .filter_map(|property| property.index)
                .map(|index| format!("i/{}", index.id.0))
                .collect(),
            template,
        })
    }

    /// Appends the record of these values.
    pub(crate) fn encode(&self, values: &Values, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.template);
        let record = &mut out[start..];
        record[self.int.clone()].copy_from_slice(&values.int.to_le_bytes());
        record[self.long.clone()].copy_from_slice(&values.long.to_le_bytes());
        record[self.double.clone()].copy_from_slice(&values.double.to_le_bytes());
        record[self.flag] = u8::from(values.flag);
        record[self.date.clone()].copy_from_slice(&values.date.to_le_bytes());
        let length = u32::try_from(values.text.len()).expect("text of 20 characters");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(values.text.as_bytes());
        out.push(0);
    }

    /// One number, read where it lies.
    #[inline]
    pub(crate) fn int(&self, record: &[u8]) -> Option<i32> {
        record.get(self.int.clone())?.try_into().ok().map(i32::from_le_bytes)
    }

    /// All values; none if the record is not one of these.
    #[inline]
    pub(crate) fn text<'r>(&self, record: &'r [u8]) -> Option<&'r str> {
        let text = self.template.len();
        let length = u32::from_le_bytes(record.get(text..text + 4)?.try_into().ok()?) as usize;
        std::str::from_utf8(record.get(text + 4..text + 4 + length)?).ok()
    }

    pub(crate) fn decode(&self, record: &[u8]) -> Option<Values> {
        let long = |at: &Range<usize>| record.get(at.clone())?.try_into().ok().map(i64::from_le_bytes);
        Some(Values {
            text: self.text(record)?.to_owned(),
            int: self.int(record)?,
            long: long(&self.long)?,
            double: f64::from_bits(long(&self.double)?.cast_unsigned()),
            flag: *record.get(self.flag)? != 0,
            date: long(&self.date)?,
        })
    }
}

/// An object's table as the store encodes it.
pub(crate) fn encode<T: Entity>(def: &EntityDef, object: &T) -> anyhow::Result<Vec<u8>> {
    let layout = TableLayout::new(def);
    let map = FieldMap::new(&T::description(), def)?;
    let mut writer = TableWriter::new(&layout);
    object.write(&mut FieldWriter::new(&mut writer, &map));
    Ok(writer.as_bytes().to_vec())
}

/// The objects of one entity on the floor.
pub(crate) struct FloorBox {
    pub(crate) floor: Floor,
    pub(crate) objects: FloorTable,
    pub(crate) indexes: Vec<FloorTable>,
    meta: FloorTable,
    outbox: FloorTable,
    pub(crate) shape: Shape,
}

/// What a local record has before its table.
pub(crate) const LOCAL_HEAD: &[u8] = &[0];

/// What the record of an own synced object has before its table: flags, length, no more flags, and the stamp.
pub(crate) fn synced_head(hlc: u64, peer: PeerId) -> Vec<u8> {
    let mut head = vec![1, 17, 0];
    head.extend_from_slice(&hlc.to_le_bytes());
    head.extend_from_slice(&peer.0.to_le_bytes());
    head
}

impl FloorBox {
    pub(crate) fn open<T: SevenFields>(directory: &Path, head: &[u8]) -> anyhow::Result<FloorBox> {
        let floor = Floor::open(directory)?;
        let shape = Shape::of::<T>(head)?;
        let indexes = shape.indexes.iter().map(|name| floor.table(name)).collect::<anyhow::Result<_>>()?;
        Ok(FloorBox {
            objects: floor.table(&shape.objects)?,
            meta: floor.table("meta")?,
            outbox: floor.table("outbox")?,
            indexes,
            shape,
            floor,
        })
    }

    /// Writes these objects, with their index entries in key order, in one durable transaction.
    pub(crate) fn put_many(&self, objects: &[Values]) -> anyhow::Result<()> {
        let mut txn = self.floor.env.write_txn()?;
        let mut record = Vec::new();
        let mut keys = [Vec::new(), Vec::new()];
        for (values, id) in objects.iter().zip(1_u64..) {
            record.clear();
            self.shape.encode(values, &mut record);
            self.objects.put_with_flags(&mut txn, PutFlags::APPEND, &id.to_be_bytes(), &record)?;
            if !self.indexes.is_empty() {
                keys[0].extend_from_slice(&text_key(&values.text, id)?);
                keys[1].extend_from_slice(&int_key(values.int, id));
            }
        }
        for (table, keys) in self.indexes.iter().zip(&mut keys) {
            let width = keys.len() / objects.len().max(1);
            let mut sorted: Vec<&[u8]> = keys.chunks_exact(width.max(1)).collect();
            sorted.sort_unstable();
            for key in sorted {
                table.put(&mut txn, key, &[])?;
            }
        }
        self.meta.put(&mut txn, &self.shape.last_id_key, &(objects.len() as u64).to_be_bytes())?;
        Ok(txn.commit()?)
    }

    /// Writes records of new objects in one durable transaction, and nothing beside them.
    pub(crate) fn put_records(&self, records: &[Vec<u8>]) -> anyhow::Result<()> {
        let mut txn = self.floor.env.write_txn()?;
        for (record, id) in records.iter().zip(1_u64..) {
            self.objects.put_with_flags(&mut txn, PutFlags::APPEND, &id.to_be_bytes(), record)?;
        }
        Ok(txn.commit()?)
    }

    /// Writes these objects and the outbox row that says so, as the first transaction of `peer`.
    pub(crate) fn put_many_synced(&self, objects: &[Values], hlc: u64, peer: PeerId) -> anyhow::Result<()> {
        let mut txn = self.floor.env.write_txn()?;
        let mut record = Vec::new();
        let mut tx = vec![TX_VERSION];
        tx.extend_from_slice(&peer.0.to_le_bytes());
        tx.push(1);
        tx.extend_from_slice(&TxHash::NONE.0);
        tx.extend_from_slice(&hlc.to_le_bytes());
        tx.extend_from_slice(&self.shape.ops_head);
        put_varint(&mut tx, objects.len() as u64);
        for (values, id) in objects.iter().zip(1_u64..) {
            record.clear();
            self.shape.encode(values, &mut record);
            self.objects.put_with_flags(&mut txn, PutFlags::APPEND, &id.to_be_bytes(), &record)?;
            // An insert of the first shape by the origin, one counter after the last, nothing null, and a text of 20 bytes.
            tx.extend_from_slice(&[0, 0, 2, 0, 20]);
            tx.extend_from_slice(values.text.as_bytes());
            tx.extend_from_slice(&values.int.to_le_bytes());
            tx.extend_from_slice(&values.long.to_le_bytes());
            tx.extend_from_slice(&values.double.to_le_bytes());
            tx.push(u8::from(values.flag));
            tx.extend_from_slice(&values.date.to_le_bytes());
        }
        let mut last = 1_u64.to_be_bytes().to_vec();
        last.extend_from_slice(&TxHash::of(&tx).0);
        self.outbox.put(&mut txn, &1_u64.to_be_bytes(), &tx)?;
        self.meta.put(&mut txn, b"sync/clock", &hlc.to_be_bytes())?;
        self.meta.put(&mut txn, b"sync/last", &last)?;
        self.meta.put(&mut txn, &self.shape.last_id_key, &(objects.len() as u64).to_be_bytes())?;
        Ok(txn.commit()?)
    }

    /// Writes one object after `last`.
    pub(crate) fn put_one(&self, values: &Values, last: u64) -> anyhow::Result<()> {
        let mut record = Vec::new();
        self.shape.encode(values, &mut record);
        let id = (last + 1).to_be_bytes();
        self.floor.commit(&[(self.objects, &id, &record), (self.meta, &self.shape.last_id_key, &id)])
    }

    /// The objects with this number, by index.
    pub(crate) fn with_int(&self, int: i32) -> anyhow::Result<Vec<(u64, Values)>> {
        self.with_key(1, &int_key(int, 0)[..5])
    }

    /// The objects with this text, by index.
    pub(crate) fn with_text(&self, text: &str) -> anyhow::Result<Vec<(u64, Values)>> {
        self.with_key(0, &text_key(text, 0)?[..23])
    }

    fn with_key(&self, index: usize, key: &[u8]) -> anyhow::Result<Vec<(u64, Values)>> {
        let txn = self.floor.read()?;
        let mut found = Vec::new();
        for entry in self.indexes[index].prefix_iter(&txn, key)? {
            let id: [u8; 8] = entry?.0[key.len()..].try_into()?;
            let record = self.objects.get(&txn, &id)?.context("an indexed object exists")?;
            let values = self.shape.decode(record).context("a record of seven fields")?;
            found.push((u64::from_be_bytes(id), values));
        }
        Ok(found)
    }
}

pub(crate) fn text_key(text: &str, id: u64) -> anyhow::Result<[u8; 1 + 20 + 2 + 8]> {
    let mut key = [0; 31];
    key[0] = 1;
    let text: [u8; 20] = text.as_bytes().try_into()?;
    key[1..21].copy_from_slice(&text);
    key[23..].copy_from_slice(&id.to_be_bytes());
    Ok(key)
}

pub(crate) fn int_key(int: i32, id: u64) -> [u8; 1 + 4 + 8] {
    let mut key = [1; 13];
    key[1..5].copy_from_slice(&(int.cast_unsigned() ^ 1 << 31).to_be_bytes());
    key[5..].copy_from_slice(&id.to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Indexed, Plain, Synced, objects};

    const COUNT: usize = 300;

    /// The tables in which a store and the floor are to agree.
    fn tables_of(directory: &Path) -> Vec<TableDump> {
        let mut tables = Floor::open(directory).unwrap().dump().unwrap();
        tables.retain(|table| !table.entries.is_empty());
        for table in &mut tables {
            let is_shared = |key: &[u8]| {
                table.name != "meta" || [&b"last-id/1"[..], b"sync/clock", b"sync/last"].contains(&key)
            };
            table.entries.retain(|(key, _)| is_shared(key));
        }
        tables
    }

    fn check<T: SevenFields>() {
        let directory = tempfile::tempdir().unwrap();
        let (ours, theirs) = (directory.path().join("ours"), directory.path().join("floor"));
        let store = Store::builder(&ours).entity::<T>().open().unwrap();
        store.boxed::<T>().unwrap().put_many(&mut objects::<T>(COUNT)).unwrap();
        let is_synced = store.schema().entity_by_name(T::NAME).unwrap().is_synced();
        let peer = store.sync().peer();
        drop(store);
        let written = tables_of(&ours);
        let values: Vec<Values> = (0..COUNT).map(Values::at).collect();
        if is_synced {
            let meta = written.iter().find(|table| table.name == "meta").unwrap();
            let (_, clock) = meta.entries.iter().find(|(key, _)| **key == *b"sync/clock").unwrap();
            let hlc = u64::from_be_bytes((**clock).try_into().unwrap());
            let floor = FloorBox::open::<T>(&theirs, &synced_head(hlc, peer)).unwrap();
            floor.put_many_synced(&values, hlc, peer).unwrap();
        } else {
            FloorBox::open::<T>(&theirs, LOCAL_HEAD).unwrap().put_many(&values).unwrap();
        }
        assert_eq!(tables_of(&theirs), written);
    }

    #[test]
    fn the_floor_writes_what_the_store_writes() {
        check::<Plain>();
        check::<Indexed>();
        check::<Synced>();
    }

    #[test]
    fn the_floor_reads_what_it_wrote() {
        let directory = tempfile::tempdir().unwrap();
        let floor = FloorBox::open::<Indexed>(directory.path(), LOCAL_HEAD).unwrap();
        let values: Vec<Values> = (0..COUNT).map(Values::at).collect();
        floor.put_many(&values).unwrap();
        assert_eq!(floor.with_int(values[7].int).unwrap(), [(8, values[7].clone())]);
        let txn = floor.floor.read().unwrap();
        let record = floor.objects.get(&txn, &9_u64.to_be_bytes()).unwrap().unwrap();
        assert_eq!(floor.shape.decode(record).unwrap(), values[8]);
        assert_eq!(floor.shape.int(record), Some(values[8].int));
    }
}
