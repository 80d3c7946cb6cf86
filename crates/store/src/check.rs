//! Reading everything that a store holds, to name what is damaged.

use std::fmt;
use std::sync::Arc;

use reconvene_model::change::{OpsReader, decode_tx};
use reconvene_model::record::{Record, SyncHeader, Table, TableLayout};
use reconvene_model::{GlobalId, ObjectId, Seq, TxHash, TxNumber};

use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::index::{self, IndexRuntime};
use crate::keys;
use crate::seam::{Direction, KeyRange, Reader, TableId};
use crate::store::Store;
use crate::sync::global_ids::Lookup;
use crate::sync::{Role, conflicts, meta, origins, rejected};
use crate::txn::ReadTxn;

mod counted;
mod file;
mod relations;

use self::counted::{Counted, rows};

pub use self::file::FileReport;

/// The most findings of one [`Store::check`]; with that many it ends early, as a store so damaged is to be restored.
pub const FINDINGS_MAX: usize = 1_000;

/// Something in a store that contradicts the rest of it; made by [`Store::check`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Where it lies: an object by entity and id, or a row of a table.
    pub place: String,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

impl Store {
    /// Reads everything in one moment of the store and names what is damaged; at most [`FINDINGS_MAX`] findings.
    ///
    /// Every record is read down to its last property, every index is compared with the objects, and the tables of sync
    /// with each other. It takes as long as reading all data, and holds its read transaction that long. Nothing is changed.
    ///
    /// # Errors
    ///
    /// If nothing can be read at all. Damage is what it returns, not an error.
    pub fn check(&self) -> Result<Vec<Finding>> {
        self.check_watched(&|_, _| {})
    }

    /// As [`Store::check`], and tells now and then how many rows were read, and of how many.
    ///
    /// # Errors
    ///
    /// As [`Store::check`].
    pub fn check_watched(&self, watch: &dyn Fn(u64, u64)) -> Result<Vec<Finding>> {
        self.read(|tx| {
            let mut check = Check { tx, findings: Vec::new(), counted: Counted::watched(watch, rows(tx)) };
            check.everything();
            Ok(check.findings)
        })
    }
}

struct Check<'t, 's> {
    tx: &'t ReadTxn<'s>,
    findings: Vec<Finding>,
    counted: Counted<'t>,
}

/// What is wrong with one row.
type RowResult = std::result::Result<(), String>;

impl<'t, 's> Check<'t, 's> {
    fn everything(&mut self) {
        let inner = self.tx.inner();
        for entity in inner.catalog.entities() {
            self.objects(entity);
            for index in &entity.indexes {
                // One that is being built lacks objects, as it is to.
                if self.is_whole(index) {
                    self.index(entity, index);
                }
            }
            if let Some(absent) = entity.absent {
                self.absent(entity, absent);
            }
            if let Some(global_ids) = entity.global_ids {
                self.global_ids(entity, global_ids);
            }
        }
        self.relations();
        self.outbox();
        self.confirmed();
        self.rejected();
        self.conflicts();
        if inner.sync.role == Role::Server {
            self.changes();
            self.origins();
            self.decisions();
        }
    }

    /// Visits the rows of a table; what `check` says of a row, and a table that cannot be read on, are findings.
    fn rows(
        &mut self,
        table: TableId,
        name: &str,
        place: impl Fn(&[u8]) -> String,
        mut check: impl FnMut(&'t [u8], &'t [u8]) -> RowResult,
    ) {
        let tx = self.tx.engine_tx();
        let rows = match tx.range(table, KeyRange::all(), Direction::Forward) {
            Ok(rows) => rows,
            Err(error) => return self.find(name.to_owned(), error.to_string()),
        };
        for row in rows {
            self.counted.one_more();
            match row {
                Ok((key, value)) => {
                    if let Err(what) = check(key, value) {
                        self.find(place(key), what);
                    }
                }
                Err(error) => return self.find(name.to_owned(), error.to_string()),
            }
            if self.findings.len() >= FINDINGS_MAX {
                return;
            }
        }
    }

    /// Another one that looks into the same moment while this one visits rows.
    fn beside(&self) -> Check<'t, 's> {
        Check { tx: self.tx, findings: Vec::new(), counted: Counted::default() }
    }

    fn find(&mut self, place: String, what: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { place, what });
        }
    }

    fn get(&self, table: TableId, key: &[u8]) -> std::result::Result<Option<&'t [u8]>, String> {
        self.tx.engine_tx().get(table, key).map_err(|error| error.to_string())
    }

    fn count(&self, table: TableId) -> u64 {
        // A table that cannot be counted was found damaged when its rows were visited.
        self.tx.engine_tx().count(table).unwrap_or(0)
    }

    fn objects(&mut self, entity: &Arc<EntityRuntime>) {
        let this = self.beside();
        let last_id = self.get(self.tx.inner().meta, keys::last_id_key(entity.def.id).as_bytes());
        let last_id = last_id.ok().flatten().and_then(|bytes| keys::object_id(bytes).ok()).unwrap_or(0);
        let indexes: Vec<_> = entity.indexes.iter().filter(|index| self.is_whole(index)).collect();
        let mut entry = Vec::new();
        self.rows(
            entity.objects,
            &entity.def.name,
            |key| object(entity, key),
            |key, record| {
                let id = keys::object_id(key).map_err(what)?;
                let (table, header) = whole_record(&entity.layout, record)?;
                if header.as_ref().is_some_and(|header| !header.exists) {
                    return Err("its record says that it does not exist".to_owned());
                }
                if id == 0 || id > last_id {
                    return Err(format!("its id was never handed out; the largest one is {last_id}"));
                }
                for &index in &indexes {
                    entry.clear();
                    index.value_key(&table, &mut entry).map_err(what)?;
                    if entry.is_empty() {
                        continue;
                    }
                    index::push_id(&mut entry, id);
                    if this.get(index.table, &entry)?.is_none() {
                        return Err(format!("the index of {} lacks it", index.property().name));
                    }
                }
                this.names_itself(entity, id, header)
            },
        );
    }

    fn is_whole(&self, index: &IndexRuntime) -> bool {
        // A table that cannot be read is found damaged when its rows are visited.
        index.wholeness.holds(&self.tx.engine_tx().view()).unwrap_or(true)
    }

    /// Whether the global id of a foreign object leads back to it.
    fn names_itself(&self, entity: &EntityRuntime, id: ObjectId, header: Option<SyncHeader>) -> RowResult {
        let Some(gid) = header.and_then(|header| header.gid) else { return Ok(()) };
        let Some(table) = entity.global_ids else { return Ok(()) };
        match self.get(table, &gid.to_bytes())? {
            Some(bytes) if bytes == keys::object_key(id) => Ok(()),
            Some(_) => Err("its global id leads to another object".to_owned()),
            None => Err("its global id leads to no object".to_owned()),
        }
    }

    /// Every object has its entry, as [`Check::objects`] saw; so equal numbers say that there are no others, unless the index leaves
    /// objects out.
    fn index(&mut self, entity: &Arc<EntityRuntime>, index: &IndexRuntime) {
        if !index.is_partial() && self.count(index.table) == self.count(entity.objects) {
            return;
        }
        let this = self.beside();
        let name = format!("index of {}.{}", entity.def.name, index.property().name);
        let mut expected = Vec::new();
        self.rows(
            index.table,
            &name,
            |_| name.clone(),
            |key, _| {
                let id = index::id_of_key(key).map_err(what)?;
                let Some(record) = this.get(entity.objects, &keys::object_key(id))? else {
                    return Err(format!("an entry names {} {id}, which does not exist", entity.def.name));
                };
                // A damaged record is a finding of the object.
                let Ok(record) = Record::parse(record) else { return Ok(()) };
                expected.clear();
                if index.value_key(&record.table, &mut expected).is_err() {
                    return Ok(());
                }
                if !expected.is_empty() {
                    index::push_id(&mut expected, id);
                }
                if expected == key {
                    Ok(())
                } else {
                    Err(format!("an entry has {} {id} at a value that it does not have", entity.def.name))
                }
            },
        );
    }

    fn absent(&mut self, entity: &Arc<EntityRuntime>, absent: TableId) {
        let this = self.beside();
        let name = format!("remembered absent objects of {}", entity.def.name);
        self.rows(
            absent,
            &name,
            |key| object(entity, key),
            |key, record| {
                let id = keys::object_id(key).map_err(what)?;
                let (_, header) = whole_record(&entity.layout, record)?;
                if header.as_ref().is_none_or(|header| header.exists) {
                    return Err("it is remembered as absent, and its record says that it exists".to_owned());
                }
                if this.get(entity.objects, key)?.is_some() {
                    return Err("it exists and is remembered as absent as well".to_owned());
                }
                this.names_itself(entity, id, header)
            },
        );
    }

    fn global_ids(&mut self, entity: &Arc<EntityRuntime>, global_ids: TableId) {
        let this = self.beside();
        let name = format!("global ids of {}", entity.def.name);
        self.rows(
            global_ids,
            &name,
            |_| name.clone(),
            |key, id| {
                let gid: [u8; 16] = key.try_into().map_err(|_| "a key is not 16 bytes long".to_owned())?;
                let object_id = keys::object_id(id).map_err(what)?;
                let record = this.stored(entity, id)?.ok_or_else(|| {
                    format!("an entry leads to {} {object_id}, of which nothing is known", entity.def.name)
                })?;
                // A damaged record is a finding of the object.
                match whole_record(&entity.layout, record) {
                    Ok((_, Some(SyncHeader { gid: Some(found), .. })))
                        if found == GlobalId::from_bytes(gid) =>
                    {
                        Ok(())
                    }
                    Ok(_) => Err(format!(
                        "an entry leads to {} {object_id}, which has another global id",
                        entity.def.name
                    )),
                    Err(_) => Ok(()),
                }
            },
        );
    }

    /// What is stored of an object, whether it exists or not.
    fn stored(&self, entity: &EntityRuntime, key: &[u8]) -> std::result::Result<Option<&'t [u8]>, String> {
        match (self.get(entity.objects, key)?, entity.absent) {
            (None, Some(absent)) => self.get(absent, key),
            (found, _) => Ok(found),
        }
    }

    fn outbox(&mut self) {
        let inner = self.tx.inner();
        let (last_number, last_hash) = match meta::last_tx(self.tx) {
            Ok(last) => last,
            Err(error) => return self.find("outbox".to_owned(), what(error)),
        };
        let peer = match self.tx.naming() {
            Ok(naming) => naming.peer(),
            Err(error) => return self.find("outbox".to_owned(), what(error)),
        };
        let mut before: Option<(TxNumber, TxHash)> = None;
        self.rows(
            inner.sync.tables.outbox,
            "outbox",
            |key| row("outbox, transaction", key),
            |key, bytes| {
                let number = keys::number(key).map_err(what)?;
                let (head, block) = decode_tx(bytes).map_err(text)?;
                OpsReader::check(head.origin, block).map_err(text)?;
                if (head.origin, head.number) != (peer, number) {
                    return Err(format!("it is transaction {} of {}", head.number, head.origin));
                }
                if number > last_number {
                    return Err(format!("the newest transaction is said to be {last_number}"));
                }
                let hash = TxHash::of(bytes);
                let follows =
                    before.is_none_or(|(before, hash)| before + 1 != number || head.previous == hash);
                before = Some((number, hash));
                if !follows {
                    return Err("it does not follow the one before it".to_owned());
                }
                if number == last_number && hash != last_hash {
                    return Err("its hash is not the one that was noted when it was written".to_owned());
                }
                Ok(())
            },
        );
    }

    fn confirmed(&mut self) {
        let inner = self.tx.inner();
        self.rows(
            inner.sync.tables.confirmed,
            "confirmed states",
            |key| row("confirmed state", key),
            |key, record| {
                let Some((entity, id)) = key.split_first_chunk::<4>().filter(|(_, id)| id.len() == 8) else {
                    return Err("its key is not 12 bytes long".to_owned());
                };
                let entity = reconvene_model::EntityId(u32::from_be_bytes(*entity));
                let Some(entity) = inner.catalog.by_id(entity) else {
                    return Err(format!("there is no entity of number {entity}"));
                };
                whole_record(&entity.layout, record)
                    .map(drop)
                    .map_err(|what| format!("{}: {what}", object(entity, id)))
            },
        );
    }

    fn rejected(&mut self) {
        let tx = self.tx;
        self.rows(
            tx.inner().sync.tables.rejected,
            "rejected transactions",
            |key| row("rejected transaction", key),
            |key, bytes| rejected::read(tx, keys::number(key).map_err(what)?, bytes).map(drop).map_err(what),
        );
    }

    fn conflicts(&mut self) {
        let tx = self.tx;
        self.rows(
            tx.inner().sync.tables.conflicts,
            "conflicts",
            |key| row("conflict", key),
            |key, bytes| conflicts::read(tx, keys::number(key).map_err(what)?, bytes).map(drop).map_err(what),
        );
    }

    fn changes(&mut self) {
        let this = self.beside();
        let inner = self.tx.inner();
        let head = match meta::head(self.tx) {
            Ok(head) => head,
            Err(error) => return self.find("history".to_owned(), what(error)),
        };
        self.rows(
            inner.sync.tables.changes,
            "history",
            |key| match keys::change(key) {
                Ok((seq, ..)) => format!("history, position {seq}"),
                Err(_) => "history".to_owned(),
            },
            |key, _| {
                let (seq, entity, id) = keys::change(key).map_err(what)?;
                let Some(entity) = inner.catalog.by_id(entity) else {
                    return Err(format!("there is no entity of number {entity}"));
                };
                let name = &entity.def.name;
                if seq > head || seq == Seq(0) {
                    return Err(format!("{name} {id} changed there, and the newest position is {head}"));
                }
                let Some(record) = this.stored(entity, &keys::object_key(id))? else {
                    return Err(format!("{name} {id} changed there, and nothing is known of it"));
                };
                match whole_record(&entity.layout, record) {
                    Ok((_, Some(header))) if header.seq != Some(seq) => {
                        Err(format!("{name} {id} changed there, and its record names another position"))
                    }
                    _ => Ok(()),
                }
            },
        );
    }

    fn origins(&mut self) {
        let tx = self.tx;
        self.rows(
            tx.inner().sync.tables.origins,
            "peers",
            |key| row("peer", key),
            |key, _| {
                let peer = reconvene_model::PeerId(keys::number(key).map_err(what)?);
                let origin = origins::get(tx.engine_tx(), &tx.inner().sync.tables, peer).map_err(what)?;
                match origin {
                    Some(origin) if origin.confirmed > origin.decided => {
                        Err("it has confirmed more than was decided".to_owned())
                    }
                    _ => Ok(()),
                }
            },
        );
    }

    fn decisions(&mut self) {
        let tx = self.tx;
        self.rows(
            tx.inner().sync.tables.decisions,
            "verdicts",
            |key| match keys::peer_number(key) {
                Ok((peer, number)) => format!("verdict on {peer} {number}"),
                Err(_) => "verdicts".to_owned(),
            },
            |key, bytes| {
                let (peer, number) = keys::peer_number(key).map_err(what)?;
                origins::read_verdict(bytes).map_err(what)?;
                let origin = origins::get(tx.engine_tx(), &tx.inner().sync.tables, peer).map_err(what)?;
                match origin {
                    Some(origin) if number <= origin.decided => Ok(()),
                    _ => Err("nothing is known of that transaction having been decided on".to_owned()),
                }
            },
        );
    }
}

/// Reads a record to its end.
fn whole_record<'r>(
    layout: &TableLayout,
    record: &'r [u8],
) -> std::result::Result<(Table<'r>, Option<SyncHeader>), String> {
    let record = Record::parse(record).map_err(text)?;
    record.table.check(layout).map_err(text)?;
    let header = record.header.map(|header| header.parse().map_err(text)).transpose()?;
    Ok((record.table, header))
}

fn object(entity: &EntityRuntime, key: &[u8]) -> String {
    row(&entity.def.name, key)
}

fn row(name: &str, key: &[u8]) -> String {
    match keys::number(key) {
        Ok(number) => format!("{name} {number}"),
        Err(_) => name.to_owned(),
    }
}

/// What is wrong, without the advice that an application would get.
fn what(error: StoreError) -> String {
    match error {
        StoreError::Damaged { what, .. } => what,
        other => other.to_string(),
    }
}

fn text(error: impl fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests;
