//! Whole stores: a server that decides on what devices upload, and a device that applies what a server delivers.

use reconvene_model::change::{Cell, Op, OpKind, OpsReader, OpsWriter, TxHead, encode_tx};
use reconvene_model::identity::PeerKey;
use reconvene_model::state::{ObjectState, Register, StateEntry, StatesWriter};
use reconvene_model::{Flex, GlobalId, PeerId, PropertyType, Seq, Stamp, TxHash, TxNumber, Uid};
use reconvene_store::{
    ChunkStart, Decision, Delivery, Entity, Incoming, Role, Store, StoreError, ToOne, Verdict,
};

use crate::memory;
use crate::script::Script;

/// Something with a link, a unique code, and texts.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, crate = "reconvene_store")]
struct Shop {
    id: u64,
    name: String,
    stock: i64,
    #[unique]
    code: Option<String>,
    town: ToOne<Town>,
    tags: Vec<String>,
}

/// Something that is always written whole.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, conflict = "object", crate = "reconvene_store")]
struct Town {
    id: u64,
    #[index]
    name: String,
    people: u32,
}

/// Something with the same id everywhere.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, shared_ids, crate = "reconvene_store")]
struct Setting {
    id: u64,
    volume: Option<i32>,
}

/// Something that stays on its device.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Draft {
    id: u64,
    text: String,
}

const NOW_MS: u64 = 1_800_000_000_000;

/// The steps after which a script ends.
const STEPS_MAX: usize = 40;

/// How much a store may take for each byte of a transaction or delivery: records, indexes and the tree that holds them.
const MEMORY_FACTOR: usize = 512;

/// So small that catch-ups are cut into many chunks.
const CHUNK_BYTES: usize = 300;

fn open(role: Role, secret: u8) -> Store {
    Store::builder("memory:")
        .entity::<Shop>()
        .entity::<Town>()
        .entity::<Setting>()
        .entity::<Draft>()
        .role(role)
        .identity_secret([secret; 32])
        .time_source(|| NOW_MS)
        .open()
        .expect("a store in memory opens")
}

/// A property that an op may name.
struct Column {
    uid: Uid,
    ty: PropertyType,
}

/// What ops and states are made of.
struct Words {
    entities: Vec<(Uid, Vec<Column>)>,
    peers: [PeerId; 3],
}

impl Words {
    fn of(store: &Store) -> Words {
        let entities = store.schema().entities().iter().map(|entity| {
            let columns = entity.stored_properties().map(|p| Column { uid: p.uid, ty: p.ty });
            (entity.uid, columns.collect())
        });
        let peers = [20, 21, 1].map(|secret| PeerKey::from_secret([secret; 32]).peer());
        Words { entities: entities.collect(), peers }
    }

    fn entity(&self, script: &mut Script<'_>) -> (Uid, &[Column]) {
        match self.entities.get(script.below(self.entities.len() * 3)) {
            Some((uid, columns)) => (*uid, columns),
            None if script.byte() == 0xff => (Uid(script.number().max(1)), &[]),
            None => {
                let (uid, columns) = &self.entities[script.below(2)];
                (*uid, columns)
            }
        }
    }

    fn gid(&self, script: &mut Script<'_>) -> GlobalId {
        let choice = script.byte();
        let origin = match choice & 7 {
            7 => PeerId(script.number()),
            6 => PeerId::SHARED,
            at => self.peers[usize::from(at) % 3],
        };
        let counter = if choice >> 3 == 31 { script.number().max(1) } else { 1 + u64::from(choice >> 6) };
        GlobalId::new(origin, counter)
    }

    /// The canonical bytes of a value, or nothing.
    fn cell<'a>(&self, ty: PropertyType, script: &mut Script<'a>) -> Option<std::borrow::Cow<'a, [u8]>> {
        if script.below(5) == 0 {
            return None;
        }
        if ty == PropertyType::Relation {
            return Some(self.gid(script).to_bytes().to_vec().into());
        }
        if let Some(width) = ty.scalar_bytes() {
            let mut bytes = script.number().to_le_bytes()[..width].to_vec();
            if ty == PropertyType::Bool {
                bytes[0] &= 1;
            }
            return Some(bytes.into());
        }
        let bytes = script.bytes();
        match ty {
            PropertyType::String => Some(String::from_utf8_lossy(bytes).into_owned().into_bytes().into()),
            PropertyType::StringVector => {
                let text = String::from_utf8_lossy(bytes);
                let mut cell = Vec::new();
                for part in text.split(' ') {
                    cell.extend_from_slice(&(part.len() as u32).to_le_bytes());
                    cell.extend_from_slice(part.as_bytes());
                }
                Some(cell.into())
            }
            _ => Some(bytes.into()),
        }
    }

    fn op<'a>(&self, script: &mut Script<'a>) -> Op<'a> {
        let (entity, columns) = self.entity(script);
        let gid = self.gid(script);
        let generation = match script.byte() {
            0xf0.. => script.number().min(u64::MAX - 1),
            byte => u64::from(byte / 96),
        };
        let kind = [OpKind::Insert, OpKind::Update, OpKind::Insert, OpKind::Remove][script.below(4)];
        let mut op = Op::new(entity, gid, generation, kind);
        if kind == OpKind::Remove {
            return op;
        }
        let chosen = script.byte();
        for (at, column) in columns.iter().enumerate() {
            if chosen & (1 << (at % 8)) != 0 {
                let mut cell = Cell::new(column.uid, column.ty, None);
                cell.bytes = self.cell(column.ty, script);
                op.cells.push(cell);
            }
        }
        if chosen == 0xff {
            // A property of a newer schema, of a type that may be unknown.
            let mut cell = Cell::new(Uid(5_000 + u64::from(script.byte())), PropertyType::Flex, None);
            let bytes = script.bytes().to_vec();
            let flex = Flex::from_iter([("bytes", Flex::Bytes(bytes.clone()))]).encode();
            cell.bytes = Some(flex.unwrap_or(bytes).into());
            op.cells.push(cell);
        }
        op
    }

    fn block(&self, origin: PeerId, script: &mut Script<'_>) -> Vec<u8> {
        let mut writer = OpsWriter::new(origin);
        for _ in 0..=script.below(4) {
            writer.push(&self.op(script));
        }
        let mut block = writer.finish();
        bend(&mut block, script);
        block
    }

    fn states(&self, script: &mut Script<'_>) -> Vec<u8> {
        let mut writer = StatesWriter::new();
        for _ in 0..=script.below(4) {
            let op = self.op(script);
            let registers = op.cells.iter().filter_map(|cell| Register::written(cell, stamp(script)));
            let mut registers: Vec<Register<'_>> = registers.collect();
            registers.retain(|register| !register.stamp.is_never());
            registers.sort_by_key(|register| register.uid);
            let exists = op.kind != OpKind::Remove;
            let state = ObjectState { generation: op.generation, exists, registers };
            writer.push(&StateEntry { entity: op.entity, gid: op.gid, seq: Seq(script.number()), state });
        }
        let mut block = writer.finish();
        bend(&mut block, script);
        block
    }
}

fn hlc(script: &mut Script<'_>) -> u64 {
    match script.byte() {
        0xff => script.number(),
        byte => (NOW_MS << 16) + u64::from(byte),
    }
}

fn stamp(script: &mut Script<'_>) -> Stamp {
    Stamp::new(hlc(script), PeerId(20 + u64::from(script.byte() & 1)))
}

/// Now and then, bytes that no writer made.
fn bend(bytes: &mut [u8], script: &mut Script<'_>) {
    if script.byte() < 0xf0 || bytes.is_empty() {
        return;
    }
    let at = usize::try_from(script.number()).unwrap_or(usize::MAX) % bytes.len();
    bytes[at] ^= script.byte();
}

/// Any bytes as a script for devices that upload to a server; two honest devices, one of which was there all the time,
/// must hold in the end what the server holds.
pub fn ledger(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let server = open(Role::Server, 1);
    let words = Words::of(&server);
    let listener = open(Role::Device, 2);
    let epoch = server.sync().epoch().expect("a server has a history");
    log_in(&listener, epoch);
    let keys = [20, 21].map(|secret| PeerKey::from_secret([secret; 32]));
    for key in &keys {
        server.sync().register(key.peer(), &key.public()).expect("a new peer is registered");
    }
    let mut uploaders = keys.map(|key| (key.peer(), 0, TxHash::NONE));
    for _ in 0..STEPS_MAX {
        if script.is_empty() {
            break;
        }
        let (peer, number, previous) = &mut uploaders[script.below(2)];
        let head = TxHead { origin: *peer, number: *number + 1, previous: *previous, hlc: hlc(&mut script) };
        let mut tx = match script.below(12) {
            0 => script.bytes().to_vec(),
            _ => encode_tx(&head, &words.block(*peer, &mut script)),
        };
        bend(&mut tx, &mut script);
        let confirmed: Vec<(PeerId, TxNumber)> =
            if script.below(8) == 0 { vec![(*peer, script.number())] } else { Vec::new() };
        let decided = memory::bounded("a decision", tx.len(), MEMORY_FACTOR, || {
            server.sync().decide(&[Incoming { peer: *peer, bytes: &tx }], &confirmed)
        });
        let decided = decided.unwrap_or_else(|error| panic!("a server fails over a transaction: {error}"));
        let [decided] = <[_; 1]>::try_from(decided).expect("one transaction, one decision");
        match decided.decision {
            Decision::Verdict { number: decided, .. } if decided == *number + 1 => {
                (*number, *previous) = (decided, TxHash::of(&tx));
            }
            Decision::Verdict { number: decided, .. } | Decision::Known { number: decided } => {
                assert!(decided <= *number);
            }
            Decision::Broken { reason, .. } => assert!(!reason.is_empty() && decided.push.is_none()),
        }
        if let Some(push) = &decided.push {
            assert!(OpsReader::check(push.origin, &push.ops).is_ok(), "what is passed on can be read");
            let delivery =
                Delivery::Push { seq: push.seq, origin: push.origin, hlc: push.hlc, ops: &push.ops };
            listener.sync().apply(&[delivery]).expect("a device takes what a server accepted");
        }
    }
    let late = open(Role::Device, 3);
    log_in(&late, epoch);
    catch_up(&server, &late);
    for store in [&server, &listener, &late] {
        assert_eq!(store.check().expect("a store in memory can be read"), []);
        assert_eq!(content(store), content(&server), "all agree");
    }
}

fn catch_up(server: &Store, device: &Store) {
    let mut start = ChunkStart::default();
    loop {
        let chunk = server.sync().chunk(start, CHUNK_BYTES).expect("a server reads its history");
        if let Some(block) = &chunk.block {
            let states = Delivery::States { block, upto: chunk.upto };
            device.sync().apply(&[states]).expect("a device takes what a server holds");
        }
        if chunk.last {
            let done = Delivery::CatchUpDone { seq: chunk.upto };
            device.sync().apply(&[done]).expect("a device takes the end of a catch-up");
            return;
        }
        start = chunk.next;
    }
}

fn log_in(device: &Store, epoch: u64) {
    let login =
        Delivery::Login { epoch, view: 1, decided: 0, decided_seq: Seq(0), rebased: None, compare: false };
    device.sync().apply(&[login]).expect("a new device takes any history");
}

fn content(store: &Store) -> [u8; 32] {
    store.sync().content_hash().expect("a store in memory can be read")
}

/// Any bytes as a script for a server that delivers to a device, which writes meanwhile.
pub fn delivery(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let device = open(Role::Device, 1);
    let words = Words::of(&device);
    log_in(&device, 1);
    let (mut written, mut seq) = (0_u64, 0_u64);
    for _ in 0..STEPS_MAX {
        if script.is_empty() {
            break;
        }
        if script.below(4) == 0 {
            written += write(&device, &mut script);
            continue;
        }
        seq = match script.byte() {
            0xf8.. => script.number(),
            byte => seq.saturating_add(u64::from(byte / 64)),
        };
        let origin = words.peers[script.below(3)];
        let block = match script.below(3) {
            0 => script.bytes().to_vec(),
            1 => words.states(&mut script),
            _ => words.block(origin, &mut script),
        };
        let number = script.number_in(0, written + 1);
        let seq = Seq(seq);
        let deliveries = [match script.below(8) {
            0 => Delivery::Login {
                epoch: 1,
                view: script.number(),
                decided: number,
                decided_seq: seq,
                rebased: None,
                compare: false,
            },
            1 => Delivery::Own { seq, number },
            2 => Delivery::CatchUpDone { seq },
            3 => Delivery::Verdict { number, verdict: verdict(&mut script, seq) },
            4 | 5 => Delivery::States { block: &block, upto: seq },
            _ => Delivery::Push { seq, origin, hlc: hlc(&mut script), ops: &block },
        }];
        let before = content(&device);
        let applied =
            memory::bounded("a delivery", block.len(), MEMORY_FACTOR, || device.sync().apply(&deliveries));
        if let Err(error) = applied {
            let broken = matches!(error, StoreError::Internal { .. } | StoreError::Damaged { .. });
            assert!(!broken, "a device breaks over {deliveries:?}: {error}");
            assert_eq!(content(&device), before, "what is refused leaves no trace");
        }
    }
    assert_eq!(device.check().expect("a store in memory can be read"), []);
    device.sync().rejected().expect("what came back can be read");
}

/// A verdict as a server could give it, more or less.
fn verdict(script: &mut Script<'_>, seq: Seq) -> Verdict {
    let lost = |script: &mut Script<'_>| {
        let lost = |_| reconvene_store::LostOp { op: script.number() as u32, generation: script.number() };
        (0..2).map(lost).collect()
    };
    match script.below(4) {
        0 => Verdict::Refused { code: 700, op: Some(script.number() as u32), message: script.text() },
        1 => Verdict::Superseded { lost: lost(script) },
        2 => Verdict::Accepted { seq, lost: lost(script) },
        _ => Verdict::Accepted { seq, lost: Vec::new() },
    }
}

/// A write of the application, and how many transactions that were committed by it.
fn write(device: &Store, script: &mut Script<'_>) -> u64 {
    let id = u64::from(script.byte() & 7);
    let result = match script.below(5) {
        0 => shops(device).put(&mut Shop { id: 0, name: script.text(), ..Shop::default() }).map(|_| ()),
        1 => {
            let code = script.flag().then(|| script.text());
            shops(device).put(&mut Shop { id, stock: 1, code, ..Shop::default() }).map(|_| ())
        }
        2 => shops(device).remove(id).map(|_| ()),
        3 => {
            let towns = device.boxed::<Town>().expect("the store has towns");
            towns.put(&mut Town { id, name: script.text(), people: 1 }).map(|_| ())
        }
        _ => {
            let settings = device.boxed::<Setting>().expect("the store has settings");
            settings.put(&mut Setting { id, volume: Some(7) }).map(|_| ())
        }
    };
    match result {
        Ok(()) => 1,
        Err(error) => {
            let broken = matches!(error, StoreError::Internal { .. } | StoreError::Damaged { .. });
            assert!(!broken, "a write fails: {error}");
            0
        }
    }
}

fn shops(device: &Store) -> reconvene_store::EntityBox<Shop> {
    device.boxed().expect("the store has shops")
}
