//! What a device must hold and show, given the history, how far it has come in it, and what it wrote itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use reconvene_model::change::OpKind;
use reconvene_model::evolve::name_uid;
use reconvene_model::value::value_of_cell;
use reconvene_model::{GlobalId, PeerId, PropertyType, Value};
use reconvene_store::{Changes, LOST_BY_SERVER, LOST_OBJECTS_FROM, LoginState, Object, Store};

use super::lines::{Former, versions_since};
use super::truth::{Cell, Decided, Fate, Key, OpRecord, State, Truth, TxRecord};
use crate::finding::{Outcome, check, found};
use crate::schema::{BIRTH, Kind, Property};

/// What every object was born as: by this number, the only one that an application and everybody else agree upon, the
/// auditor knows which object it is looking at.
pub(crate) type Births = HashMap<i64, Key>;

/// The uid of a property.
pub(crate) fn uid_of(kind: Kind, property: &str) -> u64 {
    name_uid(&format!("{}.{property}", kind.name())).0
}

/// What an op lets an object be born as, if it is an insert.
pub(crate) fn birth_of(op: &OpRecord) -> Option<i64> {
    if op.kind != OpKind::Insert {
        return None;
    }
    let uid = uid_of(op.key.kind, BIRTH);
    let (_, cell) = op.cells.iter().find(|(known, _)| *known == uid)?;
    Some(i64::from_le_bytes(cell.as_deref()?.try_into().ok()?))
}

/// The uids of all properties, looked up often.
pub(crate) struct Uids(BTreeMap<(Kind, &'static str), u64>);

impl Uids {
    pub(crate) fn new() -> Uids {
        let all = Kind::ALL.into_iter().flat_map(|kind| kind.properties().iter().map(move |p| (kind, p)));
        Uids(all.map(|(kind, p)| ((kind, p.name), uid_of(kind, p.name))).collect())
    }

    pub(crate) fn of(&self, kind: Kind, property: &'static str) -> u64 {
        self.0[&(kind, property)]
    }
}

/// What the auditor knows of one device.
#[derive(Clone)]
pub(crate) struct DeviceAudit {
    pub(crate) peer: PeerId,
    /// The version of its application.
    pub(crate) version: u8,
    /// What it committed, by number less one.
    pub(crate) txs: Vec<Rc<TxRecord>>,
    /// Which of its transactions wrote an object, ascending.
    pub(super) writers: HashMap<Key, Vec<u64>>,
    /// Up to where it is known to have had everything.
    pub(crate) floor: u64,
    /// Up to where a catch-up came to its end, even if another one has begun since.
    pub(crate) caught_up: u64,
    /// Up to where a catch-up may have come to its end while nobody looked.
    pub(crate) unseen: u64,
    /// Up to where it was pushed everything since the last look.
    pub(crate) pushed: u64,
    /// Generations that verdicts told.
    pub(super) buried: HashMap<Key, u64>,
    /// Up to where its verdicts are known to be durable.
    pub(crate) decided: u64,
    /// The highest number that it gave to the network.
    pub(super) sent: u64,
    /// What its observers told: the objects that exist, each with the number it was born as.
    pub(crate) seen: BTreeMap<(Kind, u64), i64>,
    pub(crate) places: HashMap<Key, u64>,
    /// Objects whose removal its observers told.
    pub(crate) gone: BTreeMap<(Kind, u64), i64>,
    /// The transactions of which it was told that they came back.
    pub(super) told: BTreeSet<(u64, bool)>,
    /// The last conflict of which it was told.
    pub(super) last_conflict: u64,
    /// The objects that it made itself, as its transactions name them.
    pub(super) own_births: HashMap<i64, Key>,
    /// Its former names.
    pub(super) former: BTreeSet<PeerId>,
    /// How many transactions it issued under them.
    pub(super) issued: u64,
    /// What it had in common with the server when it left a name, with its places: confirmed, although it may lie beyond its cursor.
    pub(super) absorbed: HashMap<Key, Vec<(u64, Rc<TxRecord>)>>,
    /// What of it came back, by the number among all that it ever issued.
    pub(super) came_back: Vec<(u64, Decided)>,
    /// The epoch of the history in which it is; 0 before its first login.
    pub(crate) epoch: u64,
    /// The epoch of the history with which a server last began to compare what it has.
    pub(crate) compares_in: u64,
    /// The histories in which it was, while it compares with another one.
    pub(super) lines: Vec<Former>,
    pub(super) is_comparing: bool,
    pub(super) is_catching_up: bool,
    /// Up to where it may not know how often what is removed was removed, because a compare does not tell.
    pub(super) forgot: u64,
    /// Whether it was in a history that was lost.
    pub(super) has_lost: bool,
    /// Accepted transactions of its own that were lost before they had come back to it.
    pub(super) lost: BTreeSet<u64>,
}

/// What of its own a device shows on top of confirmed state.
#[derive(Clone, Copy)]
struct OnTop<'a> {
    /// The generations that verdicts told.
    buried: &'a HashMap<Key, u64>,
    /// Without what was accepted up to this position, of which nothing is known any more.
    forgot: u64,
    /// The lowest number in the outbox.
    waiting: u64,
    /// With what it had in common with the server when it left a name.
    with_absorbed: bool,
}

/// How far a store has come, by its own account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stand {
    pub(crate) login: LoginState,
    pub(crate) catching_up: bool,
}

impl Stand {
    pub(crate) fn of(store: &Store) -> Outcome<Stand> {
        let sync = store.sync();
        let failed = |error| crate::finding::Finding::new("store readable", format!("{error}"));
        Ok(Stand {
            login: sync.login_state().map_err(failed)?,
            catching_up: sync.catching_up().map_err(failed)?,
        })
    }
}

impl DeviceAudit {
    pub(crate) fn new(peer: PeerId, version: u8) -> DeviceAudit {
        DeviceAudit {
            peer,
            version,
            txs: Vec::new(),
            writers: HashMap::new(),
            floor: 0,
            caught_up: 0,
            unseen: 0,
            pushed: 0,
            buried: HashMap::new(),
            decided: 0,
            sent: 0,
            seen: BTreeMap::new(),
            places: HashMap::new(),
            gone: BTreeMap::new(),
            told: BTreeSet::new(),
            last_conflict: 0,
            own_births: HashMap::new(),
            former: BTreeSet::new(),
            issued: 0,
            absorbed: HashMap::new(),
            came_back: Vec::new(),
            epoch: 0,
            compares_in: 0,
            lines: Vec::new(),
            is_comparing: false,
            is_catching_up: false,
            forgot: 0,
            has_lost: false,
            lost: BTreeSet::new(),
        }
    }

    /// Whether this was its name and is not any more.
    pub(crate) fn left(&self, peer: PeerId) -> bool {
        self.former.contains(&peer)
    }

    /// Which object was born as this, as far as this device can know.
    pub(crate) fn born(&self, births: &Births, birth: i64) -> Option<Key> {
        self.own_births.get(&birth).or_else(|| births.get(&birth)).copied()
    }

    /// Notes a committed transaction: it must continue the chain.
    pub(crate) fn committed(&mut self, tx: TxRecord) -> Outcome<()> {
        let tx = TxRecord { floor: self.floor, ..tx };
        let number = self.txs.len() as u64 + 1;
        check(tx.number == number, "numbers without gaps", || {
            format!("transaction {} was committed where {number} was due", tx.number)
        })?;
        let last = self.txs.last();
        let previous = last.map_or(reconvene_model::TxHash::NONE, |tx| tx.hash);
        check(tx.previous == previous, "hash chain", || {
            format!("transaction {number} does not follow the one before it")
        })?;
        check(last.is_none_or(|last| last.hlc < tx.hlc), "clock never goes back", || {
            format!("transaction {number} is dated {}, not after the one before it", tx.hlc)
        })?;
        for op in &tx.ops {
            let writers = self.writers.entry(op.key).or_default();
            if writers.last() != Some(&number) {
                writers.push(number);
            }
            if let Some(birth) = birth_of(op) {
                self.own_births.insert(birth, op.key);
            }
        }
        self.txs.push(Rc::new(tx));
        Ok(())
    }

    /// Follows what the store says of itself: it may only go forward, and not beyond what was decided.
    pub(crate) fn advanced(&mut self, truth: &Truth, stand: &Stand) -> Outcome<()> {
        let login = &stand.login;
        check(login.last_number == self.txs.len() as u64, "committed writes stay", || {
            format!("the last transaction is {}, but {} were committed", login.last_number, self.txs.len())
        })?;
        check(login.decided >= self.decided, "verdicts stay", || {
            format!("verdicts are held up to {}, but were up to {}", login.decided, self.decided)
        })?;
        let decided = truth.decided(self.peer);
        check(login.decided <= decided.len() as u64, "verdicts come from the server", || {
            format!(
                "verdicts are held up to {}, but the server decided up to {}",
                login.decided,
                decided.len()
            )
        })?;
        check(login.cursor.seq.0 <= truth.head, "cursor within the history", || {
            format!("the cursor is at {}, the history ends at {}", login.cursor.seq, truth.head)
        })?;
        for decided in &decided[self.decided as usize..login.decided as usize] {
            if let Fate::Superseded { lost } | Fate::Accepted { lost, .. } = &decided.fate {
                for &(op, generation) in lost {
                    let key = decided.tx.ops[op as usize].key;
                    let buried = self.buried.entry(key).or_default();
                    *buried = generation.max(*buried);
                }
            }
        }
        self.decided = login.decided;
        self.end_of_compare(stand);
        self.floor = self.floor.max(self.caught_up);
        let pushed = std::mem::take(&mut self.pushed);
        if pushed <= login.cursor.seq.0 {
            self.floor = self.floor.max(pushed);
        }
        if !stand.catching_up {
            self.floor = self.floor.max(login.cursor.seq.0);
        }
        Ok(())
    }

    /// Notes that the application was told of transactions that came back.
    pub(crate) fn told_rejected(&mut self, store: &Store, numbers: &[u64]) -> Outcome<()> {
        if numbers.is_empty() {
            return Ok(());
        }
        let failed = |error| crate::finding::Finding::new("store readable", format!("{error}"));
        let rejected = store.sync().rejected().map_err(failed)?;
        for &number in numbers {
            // What came back in part may come back whole when the server loses it.
            let is_lost = rejected.iter().any(|row| row.number == number && row.code == LOST_BY_SERVER);
            check(self.told.insert((number, is_lost)), "rejections told once", || {
                format!("the application was told twice that transaction {number} came back")
            })?;
        }
        Ok(())
    }

    /// After a restart the application may be told again what it was told before.
    pub(crate) fn forget_told(&mut self) {
        self.told.clear();
        self.last_conflict = 0;
    }

    /// What an object may look like at this moment: one state if the device is up to date, any since then while it catches up,
    /// and while it compares with another history what it was in the former one as well.
    ///
    /// `waiting` is the lowest number in the outbox: under `arrival`, what still waits there is above all that is confirmed.
    pub(crate) fn possible(&self, truth: &Truth, key: Key, stand: &Stand, waiting: u64) -> Vec<State> {
        let mut possible = Vec::new();
        // What became confirmed beyond the cursor may be shown or not until a catch-up brings it: under `arrival`, because its place
        // is not known, and after a compare with what there was at the cursor.
        let has_compared = stand.catching_up && self.compares_in == self.epoch;
        let is_unplaced = (key.kind == Kind::Report || has_compared) && self.absorbed.contains_key(&key);
        let mut with_own = |state: State, buried: &HashMap<Key, u64>, forgot: u64| {
            let on_top = OnTop { buried, forgot, waiting, with_absorbed: true };
            if is_unplaced {
                let without = OnTop { with_absorbed: false, ..on_top };
                possible.push(self.with_own(truth, key, state.clone(), without));
            }
            possible.push(self.with_own(truth, key, state, on_top));
        };
        for former in &self.lines {
            for (state, _) in versions_since(&former.truth, key, former.floor, former.is_catching_up) {
                with_own(state, &former.buried, 0);
            }
        }
        for (state, from) in versions_since(truth, key, self.floor, stand.catching_up) {
            if !state.exists && (from <= self.forgot || stand.login.comparing) {
                let forgot = if stand.login.comparing { u64::MAX } else { self.forgot };
                with_own(State::default(), &HashMap::new(), forgot);
                with_own(State::default(), &self.buried, forgot);
                with_own(State::default(), &self.buried, 0);
            }
            with_own(state, &self.buried, 0);
        }
        possible
    }

    /// A confirmed state with what verdicts told of it and the device's own writes on top.
    fn with_own(&self, truth: &Truth, key: Key, mut state: State, on_top: OnTop<'_>) -> State {
        let OnTop { buried, forgot, waiting, with_absorbed } = on_top;
        if let Some(&generation) = buried.get(&key)
            && generation > state.generation
        {
            state = State::removed(generation);
        }
        for (seq, tx) in self.absorbed.get(&key).into_iter().flatten() {
            if !with_absorbed || *seq <= forgot {
                continue;
            }
            for op in tx.ops.iter().filter(|op| op.key == key) {
                state.merge(op, tx.when(op, None));
            }
        }
        let decided = truth.decided(self.peer);
        for &number in self.writers.get(&key).into_iter().flatten() {
            let at = (number - 1) as usize;
            let is_back = number <= self.decided
                && matches!(
                    decided[at].fate,
                    Fate::Refused { .. } | Fate::Superseded { .. } | Fate::Lost { .. }
                );
            let is_forgotten = number <= self.decided
                && matches!(decided[at].fate, Fate::Accepted { seq, .. } if seq <= forgot);
            // Once confirmed, a write has the place that the history gave it, and is part of what is confirmed.
            let has_place = key.kind == Kind::Report && number < waiting;
            if is_back || is_forgotten || has_place {
                continue;
            }
            let tx = &self.txs[at];
            for op in tx.ops.iter().filter(|op| op.key == key) {
                state.merge(op, tx.when(op, None));
            }
        }
        state
    }

    /// Takes what observers told since the last time; the objects concerned.
    pub(crate) fn observed(
        &mut self,
        store: &Store,
        births: &Births,
        changes: &[Changes],
    ) -> Outcome<BTreeSet<Key>> {
        let mut keys = BTreeSet::new();
        for changes in changes.iter().flat_map(|changes| &changes.entities) {
            let Some(kind) = Kind::named(&changes.entity) else { continue };
            for &id in &changes.removed {
                let Some(birth) = self.seen.remove(&(kind, id)) else {
                    return found(
                        "observers tell the truth",
                        format!("{kind:?} {id} was told removed, but was not there"),
                    );
                };
                // An object that came and went between two looks was never met.
                let Some(key) = self.born(births, birth) else { continue };
                self.places.remove(&key);
                self.gone.insert((kind, id), birth);
                keys.insert(key);
            }
            let told = changes.inserted.iter().map(|id| (id, true));
            for (&id, is_new) in told.chain(changes.updated.iter().map(|id| (id, false))) {
                check(self.seen.contains_key(&(kind, id)) != is_new, "observers tell the truth", || {
                    format!(
                        "{kind:?} {id} was told {}",
                        if is_new { "new, but was there" } else { "changed, but was not there" }
                    )
                })?;
                let Some(object) = read(store, kind, id)? else {
                    // A later commit, whose changes come next, may have removed it.
                    let birth = self.gone.get(&(kind, id)).copied().unwrap_or(0);
                    self.seen.entry((kind, id)).or_insert(birth);
                    continue;
                };
                keys.insert(self.meet(births, kind, id, &object)?);
            }
        }
        Ok(keys)
    }

    /// Notes which object is found under an id.
    fn meet(&mut self, births: &Births, kind: Kind, id: u64, object: &Object) -> Outcome<Key> {
        let Value::Int(birth) = *object.get(BIRTH) else {
            return found("no object that nobody wrote", format!("{kind:?} {id} was never born: {object:?}"));
        };
        let Some(key) = self.born(births, birth).filter(|key| key.kind == kind) else {
            return found("no object that nobody wrote", format!("nobody wrote {kind:?} {id}: {object:?}"));
        };
        if let Some(former) = self.seen.insert((kind, id), birth).filter(|&former| former != 0) {
            check(self.born(births, former) == Some(key), "ids keep their meaning", || {
                format!("{kind:?} {id} was born as {former} and is {}", key.gid)
            })?;
        }
        if let Some(other) = self.places.insert(key, id) {
            check(other == id, "one id per object", || {
                format!("{kind:?} {} is here twice, as {other} and {id}", key.gid)
            })?;
        }
        self.gone.remove(&(kind, id));
        Ok(key)
    }

    /// Compares an object with what it may look like.
    pub(crate) fn check_object(
        &self,
        store: &Store,
        truth: &Truth,
        births: &Births,
        uids: &Uids,
        key: Key,
        stand: &Stand,
    ) -> Outcome<()> {
        let waiting = match key.kind {
            Kind::Report if self.writers.contains_key(&key) => first_waiting(store)?,
            _ => u64::MAX,
        };
        let possible = self.possible(truth, key, stand, waiting);
        let shown = match self.places.get(&key) {
            Some(&id) => read(store, key.kind, id)?,
            None => None,
        };
        let fits = possible.iter().any(|state| match &shown {
            None => !state.exists,
            Some(object) => state.exists && self.looks_like(births, uids, key, object, state),
        });
        check(fits, "visible state is confirmed state with the outbox on top", || {
            let gid = key.gid;
            let stand = (stand.catching_up, self.floor, stand.login.cursor.seq.0, self.decided);
            format!(
                "{:?} {gid} is {shown:?}, which is none of {possible:?} (catching up, floor, cursor, decided: {stand:?}; folders: {:?})",
                key.kind,
                self.places.iter().filter(|(key, _)| key.kind == Kind::Folder).collect::<Vec<_>>()
            )
        })
    }

    fn looks_like(&self, births: &Births, uids: &Uids, key: Key, object: &Object, state: &State) -> bool {
        let known = key.kind.properties().iter().filter(|property| property.since <= self.version);
        let mut known = known.map(|property| (property, state.get(uids.of(key.kind, property.name))));
        known.all(|(property, cell)| self.shows(births, property, object.get(property.name), cell))
    }

    fn shows(&self, births: &Births, property: &Property, shown: &Value, cell: Option<&Cell>) -> bool {
        let Some(Some(bytes)) = cell else { return *shown == Value::Null };
        if property.ty == PropertyType::Relation {
            let (Value::Relation(id), Ok(gid)) = (shown, <[u8; 16]>::try_from(&bytes[..])) else {
                return false;
            };
            let gid = GlobalId::from_bytes(gid);
            return match self.seen.get(&(Kind::Folder, *id)) {
                Some(&birth) => self.born(births, birth).is_some_and(|key| key.gid == gid),
                // The link waits for its target; where the target is here, it must lead to it.
                None => *id != 0 && !self.places.contains_key(&Key { kind: Kind::Folder, gid }),
            };
        }
        value_of_cell(property.ty, bytes).is_ok_and(|value| value == *shown)
    }

    /// Looks at everything: all objects, the outbox and what came back.
    pub(crate) fn check_all(
        &self,
        store: &Store,
        truth: &Truth,
        births: &Births,
        uids: &Uids,
        stand: &Stand,
    ) -> Outcome<()> {
        for kind in Kind::ALL {
            let failed = |error| crate::finding::Finding::new("store readable", format!("{error}"));
            let all = store.objects(kind.name()).and_then(|objects| objects.all()).map_err(failed)?;
            let shown: Vec<(u64, i64)> = all
                .iter()
                .map(|object| match object.get(BIRTH) {
                    Value::Int(birth) => (object.id, *birth),
                    _ => (object.id, 0),
                })
                .collect();
            let seen: Vec<(u64, i64)> =
                self.seen.range((kind, 0)..=(kind, u64::MAX)).map(|(&(_, id), &birth)| (id, birth)).collect();
            check(shown == seen, "observers told everything", || {
                format!("{kind:?}: the store has {shown:?}, its observers know {seen:?}")
            })?;
        }
        let keys = truth.keys().chain(self.writers.keys().copied()).chain(self.places.keys().copied());
        for key in keys.collect::<BTreeSet<_>>() {
            self.check_object(store, truth, births, uids, key, stand)?;
        }
        self.check_outbox(store, truth)?;
        self.check_rejected(store, truth)
    }

    /// What is undecided, or accepted beyond where the device has come, must be in the outbox as it was written.
    fn check_outbox(&self, store: &Store, truth: &Truth) -> Outcome<()> {
        let failed = |error| crate::finding::Finding::new("store readable", format!("{error}"));
        let outbox = store.sync().outbox(0, usize::MAX, usize::MAX).map_err(failed)?;
        let rows: HashMap<u64, &[u8]> = outbox.iter().map(|tx| (tx.number, &tx.bytes[..])).collect();
        let decided = truth.decided(self.peer);
        // What had come back in a former history has left the outbox.
        let floor = self.floor.max(self.unseen);
        let floor = self.lines.iter().map(|former| former.floor).fold(floor, u64::max);
        for tx in &self.txs {
            let must = tx.number > self.decided
                || matches!(decided[tx.number as usize - 1].fate, Fate::Accepted { seq, .. } if seq > floor);
            match rows.get(&tx.number) {
                Some(bytes) => {
                    check(reconvene_model::TxHash::of(bytes) == tx.hash, "the outbox is frozen", || {
                        format!("transaction {} is not what was committed", tx.number)
                    })?
                }
                None => check(!must, "unsent writes stay", || {
                    format!("transaction {} has left the outbox too early", tx.number)
                })?,
            }
            let is_back = tx.number <= self.decided
                && !matches!(decided[tx.number as usize - 1].fate, Fate::Accepted { .. });
            check(!(is_back && rows.contains_key(&tx.number)), "refused writes leave", || {
                format!("transaction {} was refused and is still in the outbox", tx.number)
            })?;
        }
        Ok(())
    }

    /// What was not taken, and nothing else, has come back as data.
    fn check_rejected(&self, store: &Store, truth: &Truth) -> Outcome<()> {
        let failed = |error| crate::finding::Finding::new("store readable", format!("{error}"));
        let back = store.sync().rejected().map_err(failed)?;
        let numbers: Vec<u64> = back.iter().map(|rejected| rejected.number).collect();
        let decided = &truth.decided(self.peer)[..self.decided as usize];
        let now = decided.iter().map(|decided| (self.issued + decided.tx.number, decided));
        let before = self.came_back.iter().map(|(number, decided)| (*number, decided));
        let all: BTreeMap<u64, &Decided> = before.chain(now).collect();
        let is_due = |number: &u64, decided: &Decided| match &decided.fate {
            Fate::Lost { before } => before.gives_back() || self.lost.contains(number),
            fate => fate.gives_back(),
        };
        let may = |number: &u64| match all.get(number) {
            Some(decided) => is_due(number, decided) || matches!(decided.fate, Fate::Lost { .. }),
            None => *number >= LOST_OBJECTS_FROM && self.has_lost,
        };
        let due: Vec<u64> = all
            .iter()
            .filter(|(number, decided)| is_due(number, decided))
            .map(|(number, _)| *number)
            .collect();
        let is_complete = due.iter().all(|number| numbers.contains(number));
        check(is_complete && numbers.iter().all(may), "what was not taken comes back", || {
            format!("{numbers:?} came back, but it should be {due:?}")
        })?;
        for rejected in back {
            let Some(decided) = all.get(&rejected.number) else { continue };
            let said = |fate: &Fate| match fate {
                Fate::Refused { code, .. } => (code.number(), decided.tx.ops.len()),
                Fate::Accepted { lost, .. } | Fate::Superseded { lost } => (0, lost.len()),
                Fate::Lost { .. } => (LOST_BY_SERVER, decided.tx.ops.len()),
            };
            let (code, ops) = said(&decided.fate);
            let is_former = matches!(&decided.fate, Fate::Lost { before } if said(before) == (rejected.code, rejected.ops.len()));
            check(
                is_former || (rejected.code, rejected.ops.len()) == (code, ops),
                "what comes back says why",
                || {
                    format!(
                        "transaction {} came back as {rejected:?}, not with code {code} and {ops} ops",
                        rejected.number
                    )
                },
            )?;
        }
        Ok(())
    }
}

/// The lowest number in the outbox.
fn first_waiting(store: &Store) -> Outcome<u64> {
    let failed = |error| crate::finding::Finding::new("store readable", format!("{error}"));
    let first = store.sync().outbox(0, 1, usize::MAX).map_err(failed)?;
    Ok(first.first().map_or(u64::MAX, |row| row.number))
}

/// An object as an application reads it.
pub(crate) fn read(store: &Store, kind: Kind, id: u64) -> Outcome<Option<Object>> {
    let failed = |error| crate::finding::Finding::new("store readable", format!("{error}"));
    store.objects(kind.name()).and_then(|objects| objects.get(id)).map_err(failed)
}

impl DeviceAudit {
    /// After a restart an application reads everything anew: what it finds must be what was there.
    pub(crate) fn read_anew(&mut self, store: &Store, births: &Births) -> Outcome<()> {
        let before = std::mem::take(&mut self.seen);
        self.places.clear();
        for kind in Kind::ALL {
            let failed = |error| crate::finding::Finding::new("store readable", format!("{error}"));
            for object in store.objects(kind.name()).and_then(|objects| objects.all()).map_err(failed)? {
                self.meet(births, kind, object.id, &object)?;
            }
        }
        for (place, birth) in before {
            if !self.seen.contains_key(&place) && self.born(births, birth).is_some() {
                self.gone.insert(place, birth);
            }
        }
        Ok(())
    }
}
