//! The users: what they do in one transaction, and whether the transaction says just that.

use std::collections::{BTreeMap, BTreeSet};

use reconvene_model::change::OpKind;
use reconvene_model::value::value_of_cell;
use reconvene_model::{GlobalId, PeerId, PropertyType, Value};
use reconvene_store::{Object, Store, StoreError, WriteTxn};

use super::{World, tell};
use crate::audit::device::DeviceAudit;
use crate::audit::truth::{Key, OpRecord, TxRecord};
use crate::coverage::Deed;
use crate::finding::{Finding, Outcome, check, found};
use crate::scenario::{DevicePoint, Write};
use crate::schema::{BIRTH, HeldNote, Kind, STAGE};

/// How many ids settings and reports have.
const SHARED: u64 = 6;

/// How many stages a sale has, beside none.
const STAGES: u8 = 6;

/// How many codes the notes share.
const CODES: u8 = 5;

/// What a user meant one object to become, in one transaction.
#[derive(Debug)]
struct Meant {
    kind: Kind,
    id: u64,
    /// Whether the object was there before and was removed.
    removed: bool,
    becomes: Becomes,
    values: BTreeMap<&'static str, Value>,
}

#[derive(Debug, PartialEq)]
enum Becomes {
    Nothing,
    New,
    Changed(BTreeSet<&'static str>),
}

/// One transaction while the user is at it.
struct Desk<'a> {
    audit: &'a DeviceAudit,
    next_value: i64,
    meant: Vec<Meant>,
    deeds: Vec<Deed>,
}

impl World {
    pub(super) fn user_writes(&mut self, index: usize, writes: &[Write], abort: bool) -> Outcome<()> {
        self.user_transaction(index, abort, |desk, tx| {
            writes.iter().try_for_each(|write| desk.write(tx, write))
        })
    }

    pub(super) fn user_holds(&mut self, index: usize, pick: u8) -> Outcome<()> {
        let device = &mut self.devices[index];
        let Some(store) = &device.store else { return Ok(()) };
        let Some(id) = nth(&device.audit, Kind::Note, pick) else { return Ok(()) };
        device.held = HeldNote::read(store, device.audit.version, id).map_err(unexpected)?;
        Ok(())
    }

    pub(super) fn user_puts_held(&mut self, index: usize) -> Outcome<()> {
        let device = &mut self.devices[index];
        let Some(mut held) = device.held.take() else { return Ok(()) };
        if !device.audit.seen.contains_key(&(Kind::Note, held.id())) {
            return Ok(());
        }
        self.user_transaction(index, false, |desk, tx| {
            let value = desk.value();
            let id = held.put_b(tx, value)?;
            desk.changes(Kind::Note, id, &[("b", Value::Int(value))]);
            desk.deeds.push(Deed::PutStale);
            Ok(())
        })
    }

    /// Runs a transaction and holds what it became against what the user meant.
    fn user_transaction(
        &mut self,
        index: usize,
        abort: bool,
        act: impl FnOnce(&mut Desk<'_>, &mut WriteTxn<'_>) -> Result<(), StoreError>,
    ) -> Outcome<()> {
        let device = &mut self.devices[index];
        let Some(store) = device.store.clone() else { return Ok(()) };
        let crash = match device.crash_at {
            Some((point @ (DevicePoint::BeforeCommit | DevicePoint::AfterCommit), down)) => {
                Some((point, down))
            }
            _ => None,
        };
        let dies = matches!(crash, Some((DevicePoint::BeforeCommit, _)));
        let mut desk =
            Desk { audit: &device.audit, next_value: self.last_value, meant: Vec::new(), deeds: Vec::new() };
        let commits = device.audit.txs.len() as i64 + 1;
        let result = store.write(|tx| {
            act(&mut desk, tx)?;
            // What does not travel is part of the transaction as well.
            let draft = tx.objects("Draft")?;
            let mut row = Object::with_id(u64::from(draft.contains(1)?)).with("commits", Value::Int(commits));
            draft.put(&mut row)?;
            if abort || dies { Err(StoreError::application("changed its mind")) } else { Ok(()) }
        });
        let Desk { next_value, meant, deeds, .. } = desk;
        self.last_value = next_value;
        match result {
            Ok(()) => self.check_committed(index, &store, meant, deeds)?,
            Err(StoreError::Application(_)) => self.coverage.fault("user: changes his mind"),
            Err(StoreError::UniqueViolation { entity, other, .. }) => {
                self.coverage.fault("user: takes a code that is taken");
                // Within the transaction, a code may have been taken before it was given up again.
                let is_there = Kind::named(&entity).is_some_and(|kind| {
                    self.devices[index].audit.seen.contains_key(&(kind, other))
                        || meant.iter().any(|meant| (meant.kind, meant.id) == (kind, other))
                });
                check(is_there, "writes are refused with reason", || {
                    format!("device {index}: {entity} {other} is said to have the value, but it is not there")
                })?;
            }
            Err(StoreError::PrecedenceTooLow { stored, given, .. }) => {
                self.coverage.fault("user: puts below the precedence");
                check(given.is_none_or(|given| given < stored), "writes are refused with reason", || {
                    format!("device {index}: {given:?} is said to be below {stored}")
                })?;
            }
            Err(error) => return found("writes work", format!("device {index}: {error}")),
        }
        let last = store.sync().login_state().map_err(unexpected)?.last_number;
        check(last == self.devices[index].audit.txs.len() as u64, "all or nothing", || {
            format!("device {index}: {last} transactions are committed, which is not what the user did")
        })?;
        drop(store);
        if let Some((point, down)) = crash {
            self.coverage.fault(point.name());
            // Observers are told right after the commit, so the application may know of it.
            self.crash_device(index, None, down);
            return Ok(());
        }
        self.audit_device(index)?;
        self.outbox_grew(index)
    }

    /// Holds a committed transaction against what the user meant by it.
    fn check_committed(
        &mut self,
        index: usize,
        store: &Store,
        meant: Vec<Meant>,
        deeds: Vec<Deed>,
    ) -> Outcome<()> {
        let meant: Vec<Meant> =
            meant.into_iter().filter(|meant| meant.removed || meant.becomes != Becomes::Nothing).collect();
        let before = self.devices[index].audit.txs.len() as u64;
        let login = store.sync().login_state().map_err(unexpected)?;
        // A write may take the place of the newest one.
        let newest = self.devices[index].audit.txs.last().cloned();
        let left_out = newest.filter(|newest| login.last_number == before && login.last_hash != newest.hash);
        let after = before - u64::from(left_out.is_some());
        let rows = store.sync().outbox(after, 2, usize::MAX).map_err(unexpected)?;
        if meant.is_empty() {
            return check(rows.is_empty(), "transactions say what was done", || {
                format!("device {index}: nothing was done, and {} transactions say so", rows.len())
            });
        }
        let [row] = &rows[..] else {
            return found(
                "transactions say what was done",
                format!("device {index}: {} for one", rows.len()),
            );
        };
        let tx = TxRecord::read(&row.bytes)?;
        tell!(self, "device {index} commits {} {}: {:?}", tx.peer, tx.number, tx.ops);
        let wall = store.now_ms();
        let floor_ms = self.devices[index].audit.txs.last().map_or(0, |last| last.hlc >> 16);
        check(tx.hlc >> 16 >= wall.max(floor_ms), "clocks follow the time", || {
            format!("device {index}: at {wall} a transaction is dated {}", tx.hlc >> 16)
        })?;
        self.match_ops(index, &tx, &meant)?;
        self.check_newer(index, &tx)?;
        for meant in &meant {
            let Some(Value::Int(birth)) = meant.values.get(BIRTH) else { continue };
            if meant.becomes == Becomes::New
                && let Some(op) =
                    tx.ops.iter().find(|op| op.kind == OpKind::Insert && self.is_it(index, op.key, meant))
            {
                self.births.insert(*birth, op.key);
            }
        }
        let seen = self.devices[index].audit.floor;
        if left_out.is_some() {
            self.coverage.fault("user: writes once more what was not sent");
            self.coverage.left_out(tx.peer, tx.number);
        }
        self.coverage.committed(&tx, seen, &deeds);
        let audit = &mut self.devices[index].audit;
        let noted = match left_out {
            Some(_) => audit.took_place(tx, false),
            None => audit.committed(tx),
        };
        noted.map_err(|finding| Finding::new(finding.law, format!("device {index}: {}", finding.what)))
    }

    /// What a user overwrites he has seen, so his write must be the newer one.
    fn check_newer(&self, index: usize, tx: &TxRecord) -> Outcome<()> {
        let audit = &self.devices[index].audit;
        let truth = self.former.get(&audit.epoch).map_or(&self.truth, |former| former);
        for op in &tx.ops {
            let at = truth.version_at(op.key, audit.floor);
            let Some((_, seen)) = at.checked_sub(1).map(|at| &truth.versions(op.key)[at]) else {
                continue;
            };
            if seen.exists && audit.makes_again(tx, op, seen.generation) {
                // A compare has taken the object away since, and did not tell its generation; whether it may be shown so is another law.
                continue;
            }
            for (uid, _) in &op.cells {
                let then = seen.when(*uid);
                let mut now = tx.when(op, None);
                if let Some(then) = then
                    && op.generation > seen.generation
                {
                    // Whoever makes it anew is not bound to the precedence of the former one.
                    now.0 = then.0;
                }
                check(then.is_none_or(|then| then < now), "what was seen is older", || {
                    format!("device {index}: {op:?} at {now:?} overwrites what was written at {then:?}")
                })?;
            }
        }
        Ok(())
    }

    /// Whether an op's object is the one that the user meant.
    fn is_it(&self, index: usize, key: Key, meant: &Meant) -> bool {
        let audit = &self.devices[index].audit;
        let known =
            audit.seen.get(&(meant.kind, meant.id)).or_else(|| audit.gone.get(&(meant.kind, meant.id)));
        let due = match known.and_then(|&birth| audit.born(&self.births, birth)) {
            // What was refused under a former name never came to be here, and its id now stands for another object.
            Some(known) if audit.left(known.gid.origin) && !self.stands_for(index, meant.id, known) => {
                GlobalId::new(audit.peer, meant.id)
            }
            Some(known) => known.gid,
            None if meant.kind.has_shared_ids() => GlobalId::new(PeerId::SHARED, meant.id),
            None => GlobalId::new(audit.peer, meant.id),
        };
        key.kind == meant.kind && key.gid == due
    }

    /// Whether an id of a device ever stood for this object, which has a former name of the device, in what everyone knows.
    ///
    /// What the device's own lost future made under that name comes like any foreign object, under another id.
    fn stands_for(&self, index: usize, id: u64, key: Key) -> bool {
        let audit = &self.devices[index].audit;
        if audit.places.get(&key) == Some(&id) {
            return true;
        }
        let mut places = audit.seen.iter().chain(&audit.gone);
        let is_elsewhere = places.any(|(&(kind, other), &birth)| {
            (kind, other != id) == (key.kind, true) && audit.born(&self.births, birth) == Some(key)
        });
        !is_elsewhere && audit.has_heard(&self.truth, key)
    }

    fn match_ops(&self, index: usize, tx: &TxRecord, meant: &[Meant]) -> Outcome<()> {
        let version = self.devices[index].audit.version;
        let mut left: Vec<&OpRecord> = tx.ops.iter().collect();
        for meant in meant {
            let mut due: Vec<OpKind> = Vec::new();
            if meant.removed {
                due.push(OpKind::Remove);
            }
            match &meant.becomes {
                Becomes::Nothing => {}
                Becomes::New => due.push(OpKind::Insert),
                Becomes::Changed(_) => due.push(OpKind::Update),
            }
            // Objects come in any order; what is removed and made again comes in this one.
            let mut from = 0;
            for kind in due {
                let fits = |op: &&OpRecord| {
                    op.kind == kind
                        && self.is_it(index, op.key, meant)
                        && self.says(index, op, meant, version)
                };
                let at = left[from..].iter().position(fits);
                check(at.is_some(), "transactions say what was done", || {
                    format!("device {index}: {meant:?} became {:?}", tx.ops)
                })?;
                from += at.unwrap_or_default();
                left.remove(from);
            }
        }
        check(left.is_empty(), "transactions say what was done", || {
            format!("device {index}: {meant:?} became more than that: {left:?}")
        })
    }

    /// Whether an op writes what the user meant and nothing else.
    fn says(&self, index: usize, op: &OpRecord, meant: &Meant, version: u8) -> bool {
        if op.kind == OpKind::Remove {
            return op.cells.is_empty();
        }
        let all = || meant.kind.properties().iter().filter(|p| p.since <= version).map(|p| p.name);
        let names: BTreeSet<&str> = match &meant.becomes {
            Becomes::Changed(names) if !meant.kind.writes_whole() => names.iter().copied().collect(),
            _ => all().collect(),
        };
        op.cells.len() == names.len()
            && names.iter().all(|name| {
                let property = meant.kind.properties().iter().find(|p| p.name == *name);
                let Some(property) = property else { return false };
                let uid = self.uids.of(meant.kind, property.name);
                let Some((_, cell)) = op.cells.iter().find(|(known, _)| *known == uid) else { return false };
                let Some(value) = meant.values.get(name) else {
                    // What a whole put carries over is what was there, which the state of the object shows.
                    return meant.kind.writes_whole() || cell.is_none();
                };
                match (cell, value) {
                    (None, Value::Null) => true,
                    (Some(bytes), Value::Relation(id)) if property.ty == PropertyType::Relation => {
                        let gid = <[u8; 16]>::try_from(&bytes[..]).map(GlobalId::from_bytes);
                        gid.is_ok_and(|gid| self.leads_to(index, *id, gid))
                    }
                    (Some(bytes), value) => {
                        value_of_cell(property.ty, bytes).is_ok_and(|found| found == *value)
                    }
                    (None, _) => false,
                }
            })
    }

    /// Links are made to folders that the user sees, or that the same transaction makes.
    fn leads_to(&self, index: usize, id: u64, gid: GlobalId) -> bool {
        let audit = &self.devices[index].audit;
        match audit.seen.get(&(Kind::Folder, id)).and_then(|&birth| audit.born(&self.births, birth)) {
            Some(key) => key.gid == gid,
            None => gid == GlobalId::new(audit.peer, id),
        }
    }
}

impl Desk<'_> {
    fn value(&mut self) -> i64 {
        self.next_value += 1;
        self.next_value
    }

    /// The objects of an entity that the user sees at this moment.
    fn ids(&self, kind: Kind) -> Vec<u64> {
        let mut ids: BTreeSet<u64> =
            self.audit.seen.range((kind, 0)..=(kind, u64::MAX)).map(|(&(_, id), _)| id).collect();
        for meant in self.meant.iter().filter(|meant| meant.kind == kind) {
            match meant.becomes {
                Becomes::Nothing => ids.remove(&meant.id),
                _ => ids.insert(meant.id),
            };
        }
        ids.into_iter().collect()
    }

    fn pick(&self, kind: Kind, pick: u8) -> Option<u64> {
        let ids = self.ids(kind);
        (!ids.is_empty()).then(|| ids[usize::from(pick) % ids.len()])
    }

    fn meant(&mut self, kind: Kind, id: u64) -> &mut Meant {
        let at = self.meant.iter().position(|meant| (meant.kind, meant.id) == (kind, id));
        let at = at.unwrap_or_else(|| {
            let becomes = Becomes::Nothing;
            self.meant.push(Meant { kind, id, removed: false, becomes, values: BTreeMap::new() });
            self.meant.len() - 1
        });
        &mut self.meant[at]
    }

    fn inserts(&mut self, kind: Kind, id: u64, values: &BTreeMap<&'static str, Value>) {
        let meant = self.meant(kind, id);
        meant.becomes = Becomes::New;
        meant.values = values.clone();
    }

    fn changes(&mut self, kind: Kind, id: u64, values: &[(&'static str, Value)]) {
        let meant = self.meant(kind, id);
        for (name, value) in values {
            meant.values.insert(name, value.clone());
            match &mut meant.becomes {
                Becomes::New => {}
                Becomes::Changed(names) => {
                    names.insert(name);
                }
                nothing @ Becomes::Nothing => *nothing = Becomes::Changed(BTreeSet::from([*name])),
            }
        }
    }

    fn write(&mut self, tx: &mut WriteTxn<'_>, write: &Write) -> Result<(), StoreError> {
        match *write {
            Write::Insert { kind, pick, code } => {
                let id = if kind.has_shared_ids() { u64::from(pick) % SHARED + 1 } else { 0 };
                if id != 0 && self.ids(kind).contains(&id) {
                    return Ok(());
                }
                self.insert(tx, kind, id, pick, code)?;
                self.deeds.push(Deed::Insert);
            }
            Write::Again { kind, pick } => {
                let gone: Vec<u64> = self
                    .audit
                    .gone
                    .range((kind, 0)..=(kind, u64::MAX))
                    .map(|(&(_, id), _)| id)
                    .filter(|id| !self.meant.iter().any(|meant| (meant.kind, meant.id) == (kind, *id)))
                    .collect();
                if gone.is_empty() || !kind.may_choose_ids() {
                    return Ok(());
                }
                self.insert(tx, kind, gone[usize::from(pick) % gone.len()], pick, None)?;
                self.deeds.push(Deed::Again);
            }
            Write::Set { kind, pick, fields } => {
                let Some(id) = self.pick(kind, pick) else { return Ok(()) };
                let names: Vec<&'static str> = kind.numbers(self.audit.version).collect();
                let chosen = names.iter().enumerate().filter(|(at, _)| fields & (1 << at) != 0);
                let mut chosen: Vec<&'static str> = chosen.map(|(_, name)| *name).collect();
                if chosen.is_empty() {
                    chosen.push(names[0]);
                }
                let values: Vec<(&'static str, Value)> =
                    chosen.into_iter().map(|name| (name, Value::Int(self.value()))).collect();
                self.put(tx, kind, id, &values)?;
                self.deeds.push(if kind.writes_whole() { Deed::SetWhole } else { Deed::Set });
            }
            Write::Code { pick, code } => {
                let Some(id) = self.pick(Kind::Note, pick) else { return Ok(()) };
                self.put(tx, Kind::Note, id, &[("code", code_value(code))])?;
                self.deeds.push(Deed::Code);
            }
            Write::Stage { pick, stage } => {
                let Some(id) = self.pick(Kind::Sale, pick) else { return Ok(()) };
                self.put(tx, Kind::Sale, id, &[(STAGE, stage_value(stage))])?;
                self.deeds.push(Deed::Stage);
            }
            Write::Link { pick, folder } => {
                let Some(id) = self.pick(Kind::Note, pick) else { return Ok(()) };
                let folder = folder.and_then(|folder| self.pick(Kind::Folder, folder));
                let value = folder.map_or(Value::Null, Value::Relation);
                self.put(tx, Kind::Note, id, &[("folder", value)])?;
                self.deeds.push(Deed::Link);
            }
            Write::Remove { kind, pick } => {
                let Some(id) = self.pick(kind, pick) else { return Ok(()) };
                if !tx.objects(kind.name())?.remove(id)? {
                    return Err(StoreError::application(
                        "an object that is seen was not there to be removed",
                    ));
                }
                let was_there = self.audit.seen.contains_key(&(kind, id));
                let meant = self.meant(kind, id);
                meant.removed |= was_there && meant.becomes != Becomes::New;
                meant.becomes = Becomes::Nothing;
                self.deeds.push(Deed::Remove);
            }
        }
        Ok(())
    }

    fn insert(
        &mut self,
        tx: &mut WriteTxn<'_>,
        kind: Kind,
        id: u64,
        pick: u8,
        code: Option<u8>,
    ) -> Result<(), StoreError> {
        let mut values: BTreeMap<&'static str, Value> = BTreeMap::new();
        values.insert(BIRTH, Value::Int(self.value()));
        for name in kind.numbers(self.audit.version).collect::<Vec<_>>() {
            values.insert(name, Value::Int(self.value()));
        }
        if kind == Kind::Note {
            values.insert("code", code_value(code));
            let folder = if pick.is_multiple_of(2) { None } else { self.pick(Kind::Folder, pick / 2) };
            values.insert("folder", folder.map_or(Value::Null, Value::Relation));
        }
        if kind == Kind::Sale {
            values.insert(STAGE, stage_value((!pick.is_multiple_of(4)).then_some(pick / 4)));
        }
        let mut object = Object::with_id(id);
        for (name, value) in &values {
            object.values.insert((*name).to_owned(), value.clone());
        }
        let id = tx.objects(kind.name())?.put(&mut object)?;
        self.inserts(kind, id, &values);
        Ok(())
    }

    fn put(
        &mut self,
        tx: &mut WriteTxn<'_>,
        kind: Kind,
        id: u64,
        values: &[(&'static str, Value)],
    ) -> Result<(), StoreError> {
        let mut object = Object::with_id(id);
        for (name, value) in values {
            object.values.insert((*name).to_owned(), value.clone());
        }
        tx.objects(kind.name())?.put(&mut object)?;
        self.changes(kind, id, values);
        Ok(())
    }
}

fn code_value(code: Option<u8>) -> Value {
    code.map_or(Value::Null, |code| Value::String(format!("code {}", code % CODES)))
}

/// Stages lie on both sides of 0, where most are.
fn stage_value(stage: Option<u8>) -> Value {
    stage.map_or(Value::Null, |stage| Value::Int(i64::from(stage % STAGES) - 2))
}

fn nth(audit: &DeviceAudit, kind: Kind, pick: u8) -> Option<u64> {
    let ids: Vec<u64> = audit.seen.range((kind, 0)..=(kind, u64::MAX)).map(|(&(_, id), _)| id).collect();
    (!ids.is_empty()).then(|| ids[usize::from(pick) % ids.len()])
}

fn unexpected(error: StoreError) -> Finding {
    Finding::new("writes work", error.to_string())
}
