//! A server and two devices, and the steps that change them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reconvene_model::{Seq, Value};
use reconvene_store::{
    ChunkStart, Decision, Delivery, Durability, Entity, Incoming, Object, PushedTx, Role, Store,
    StoreBuilder, StoreError,
};

use crate::log::Mark;

pub(crate) const SERVER: usize = 0;
pub(crate) const STORES: usize = 3;

/// The newest version of the schema.
pub(crate) const VERSIONS: u32 = 4;

/// The newest version in which the server and the devices have the same synced entities, so that they can agree.
pub(crate) const ALIKE: u32 = 3;

/// How many objects one transaction takes of the work that a new version brings with it: few, so that there are many moments to
/// cut the power at.
const BATCH_OBJECTS: usize = 9;

/// One version of the schema.
macro_rules! version {
    ($module:ident: $(#[$note:meta])* Note { $($(#[$n:meta])* $note_field:ident: $note_ty:ty),* }
        Task { $($(#[$t:meta])* $task_field:ident: $task_ty:ty),* }) => {
        mod $module {
            #[derive(reconvene_store::Entity, Clone, Debug, Default)]
            $(#[$note])*
            pub(super) struct Note { pub(super) id: u64, $($(#[$n])* pub(super) $note_field: $note_ty),* }
            #[derive(reconvene_store::Entity, Clone, Debug, Default)]
            #[entity(sync, crate = "reconvene_store")]
            pub(super) struct Task { pub(super) id: u64, $($(#[$t])* pub(super) $task_field: $task_ty),* }
        }
    };
}

version!(first: #[entity(crate = "reconvene_store")] Note { text: String, #[index] rank: i64 }
    Task { title: String, #[unique] key: Option<String>, rank: i64 });
version!(second: #[entity(crate = "reconvene_store")] Note { #[index] text: String, #[index] rank: i64, extra: i32 }
    Task { title: String, #[unique] key: Option<String>, #[index] rank: i64 });
// Here the notes, local before, begin to travel.
version!(third: #[entity(sync, crate = "reconvene_store")] Note { #[index] text: String, rank: i64, extra: i32 }
    Task { title: String, #[unique] key: Option<String>, #[index] rank: i64, done: bool });

// Here they stay where they are, for those who do not serve others; a property of the tasks goes, and indexes come.
version!(fourth: #[entity(crate = "reconvene_store")] Note { #[index] text: String, #[index] rank: i64, extra: i32 }
    Task { #[index] title: String, #[unique] key: Option<String>, #[index] rank: i64 });

fn with_entities(builder: StoreBuilder, store: usize, version: u32) -> StoreBuilder {
    fn both<A: Entity, B: Entity>(builder: StoreBuilder) -> StoreBuilder {
        builder.entity::<A>().entity::<B>()
    }
    match version {
        1 => both::<first::Note, first::Task>(builder),
        2 => both::<second::Note, second::Task>(builder),
        3 => both::<third::Note, third::Task>(builder),
        _ if store == SERVER => both::<third::Note, fourth::Task>(builder),
        _ => both::<fourth::Note, fourth::Task>(builder),
    }
}

pub(crate) struct Peers {
    root: PathBuf,
    durability: Durability,
    pub(crate) version: u32,
    stores: [Option<Store>; STORES],
    steps: [usize; STORES],
    /// Where it is said what begins and what has returned.
    marks: Option<File>,
    now_ms: Arc<AtomicU64>,
}

impl Peers {
    pub(crate) fn new(root: &Path, durability: Durability, marks: Option<File>) -> Peers {
        let (stores, now_ms) = (Default::default(), Arc::new(AtomicU64::new(1_800_000_000_000)));
        Peers { root: root.to_owned(), durability, version: 1, stores, steps: [0; STORES], marks, now_ms }
    }

    pub(crate) fn directory(&self, store: usize) -> PathBuf {
        self.root.join(["server", "made/when/missing", "second"][store])
    }

    /// Opens a store with a version of the schema.
    pub(crate) fn open(&mut self, store: usize, version: u32) -> Result<(), StoreError> {
        let now_ms = self.now_ms.clone();
        let builder = Store::builder(self.directory(store))
            .role(if store == SERVER { Role::Server } else { Role::Device })
            .durability(self.durability)
            .batch_objects(BATCH_OBJECTS)
            .identity_secret([store as u8 + 1; 32])
            .time_source(move || now_ms.fetch_add(1, Ordering::Relaxed));
        self.stores[store] = Some(with_entities(builder, store, version).open()?);
        Ok(())
    }

    pub(crate) fn close(&mut self, store: usize) {
        self.stores[store] = None;
    }

    pub(crate) fn store(&self, store: usize) -> &Store {
        self.stores[store].as_ref().unwrap()
    }

    /// Does something that changes a store, and says so before and after.
    pub(crate) fn step<R>(&mut self, store: usize, flushes: bool, step: impl FnOnce(&mut Peers) -> R) -> R {
        self.steps[store] += 1;
        let number = self.steps[store];
        self.mark(&Mark::Begin { store, step: number, version: self.version });
        let result = step(self);
        if self.marks.is_some() {
            let content = content(self.store(store));
            self.mark(&Mark::Done { store, step: number, flushed: flushes, content });
        }
        result
    }

    fn mark(&mut self, mark: &Mark) {
        if let Some(marks) = &mut self.marks {
            marks.write_all(mark.to_text().as_bytes()).unwrap();
        }
    }

    pub(crate) fn reopen(&mut self, store: usize) {
        self.close(store);
        let version = self.version;
        self.step(store, false, |peers| peers.open(store, version).unwrap());
    }

    /// Logs a device in, brings it up to date, uploads what it has, and tells both devices of the decisions.
    pub(crate) fn exchange(&mut self, device: usize) -> Result<(), StoreError> {
        let sync = self.store(device).sync();
        let server = self.store(SERVER).sync();
        let origin = self.step(SERVER, false, |_| server.register(sync.peer(), &sync.key().public()))?;
        if origin.decided > 0 {
            assert_eq!(sync.hash_of(origin.decided)?, Some(origin.hash), "the chains differ");
        }
        let (state, epoch, head) = (sync.login_state()?, server.epoch()?, server.head()?);
        assert!(state.decided <= origin.decided, "the device knows a verdict that the server has lost");
        let mut deliveries: Vec<Delivery<'_>> = server
            .unconfirmed(sync.peer(), state.decided)?
            .into_iter()
            .map(|(number, verdict)| Delivery::Verdict { number, verdict })
            .collect();
        deliveries.push(Delivery::Login {
            epoch,
            view: 1,
            decided: origin.decided,
            decided_seq: head,
            rebased: None,
            compare: false,
        });
        self.step(device, false, |_| sync.apply(&deliveries))?;
        let known = state.cursor.epoch == epoch;
        assert!(!known || state.cursor.seq <= head, "the device knows a change that the server has lost");
        let mut start = ChunkStart::after(if known { state.cursor.seq } else { Seq(0) });
        loop {
            let chunk = server.chunk(start, 600)?;
            let block = chunk.block.as_ref().map(|block| Delivery::States { block, upto: chunk.upto });
            let end = chunk.last.then_some(Delivery::CatchUpDone { seq: chunk.upto });
            let deliveries: Vec<_> = block.into_iter().chain(end).collect();
            self.step(device, false, |_| sync.apply(&deliveries))?;
            if chunk.last {
                break;
            }
            start = chunk.next;
        }
        let txs = sync.outbox(origin.decided, 20, 1 << 20)?;
        if txs.is_empty() {
            return Ok(());
        }
        let incoming: Vec<_> =
            txs.iter().map(|tx| Incoming { peer: sync.peer(), bytes: &tx.bytes }).collect();
        let confirmed = [(sync.peer(), sync.login_state()?.decided)];
        let decided = self.step(SERVER, false, |_| server.decide(&incoming, &confirmed))?;
        let (mut verdicts, mut pushes) = (Vec::new(), Vec::new());
        for decided in decided {
            let Decision::Verdict { number, verdict } = decided.decision else {
                panic!("{:?}", decided.decision)
            };
            verdicts.push(Delivery::Verdict { number, verdict });
            pushes.extend(decided.push);
        }
        self.step(device, false, |_| sync.apply(&verdicts))?;
        for receiver in 1..STORES {
            self.push_to(receiver, epoch, &pushes)?;
        }
        Ok(())
    }

    /// Tells a device of accepted transactions, if it stands right before them.
    fn push_to(&mut self, device: usize, epoch: u64, pushes: &[PushedTx]) -> Result<(), StoreError> {
        let Some(store) = &self.stores[device] else { return Ok(()) };
        let (sync, Some(first)) = (store.sync(), pushes.first()) else { return Ok(()) };
        let cursor = sync.cursor()?;
        if cursor.epoch != epoch || cursor.seq.0 + 1 != first.seq.0 || sync.catching_up()? {
            return Ok(());
        }
        let deliveries: Vec<_> = pushes
            .iter()
            .map(|tx| match tx.origin == sync.peer() {
                true => Delivery::Own { seq: tx.seq, number: tx.number },
                false => Delivery::Push { seq: tx.seq, origin: tx.origin, hlc: tx.hlc, ops: &tx.ops },
            })
            .collect();
        self.step(device, false, |_| sync.apply(&deliveries))?;
        Ok(())
    }

    /// Lets everything arrive, and checks that all agree.
    pub(crate) fn agree(&mut self) -> Result<(), StoreError> {
        for _ in 0..2 {
            while (1..STORES).any(|device| self.store(device).sync().undecided().unwrap() > 0) {
                for device in 1..STORES {
                    self.exchange(device)?;
                }
            }
            for device in 1..STORES {
                self.exchange(device)?;
            }
        }
        let hash = |store: usize| self.store(store).sync().content_hash();
        let (server, first, second) = (hash(0)?, hash(1)?, hash(2)?);
        if !(server == first && server == second) {
            panic!(
                "the stores do not agree after a sync:\n{}\n{}\n{}",
                content(self.store(0)),
                content(self.store(1)),
                content(self.store(2))
            );
        }
        Ok(())
    }
}

/// An object of either entity.
pub(crate) fn object(id: u64, text: &str, rank: i64, entity: &str) -> Object {
    let title = if entity == "Note" { "text" } else { "title" };
    Object::with_id(id).with(title, Value::String(text.to_owned())).with("rank", Value::Int(rank))
}

/// All that a store holds and that a reader can see, but what time and chance decide.
pub(crate) fn content(store: &Store) -> String {
    let mut text = String::new();
    for entity in ["Note", "Task"] {
        for object in store.objects(entity).unwrap().all().unwrap() {
            let values = object.values.iter().map(|(name, value)| match value {
                // Long texts repeat what they begin with, so a sum tells them apart well enough.
                Value::String(text) if text.len() > 60 => format!("{name} {:.20}... {:x}", text, sum(text)),
                value => format!("{name} {value:?}"),
            });
            writeln!(text, "{entity} {}: {}", object.id, values.collect::<Vec<_>>().join(", ")).unwrap();
        }
        let by_rank = store.objects(entity).unwrap().query_text("rank >= 0").unwrap().find_ids().unwrap();
        writeln!(text, "{entity} with a rank {by_rank:?}").unwrap();
    }
    let sync = store.sync();
    if sync.role() == Role::Server {
        writeln!(text, "head {:?}", sync.head().unwrap()).unwrap();
        return text;
    }
    let state = sync.login_state().unwrap();
    writeln!(text, "{:?} last {} decided {}", state.cursor, state.last_number, state.decided).unwrap();
    let outbox = sync.outbox(0, usize::MAX, usize::MAX).unwrap();
    let numbers: Vec<_> = outbox.iter().map(|tx| tx.number).collect();
    writeln!(text, "outbox {numbers:?} rejected {:?}", sync.rejected().unwrap()).unwrap();
    text
}

fn sum(text: &str) -> u64 {
    text.bytes().fold(text.len() as u64, |sum, byte| sum.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte))
}

/// The notes of a store, to be compared with what they should be.
pub(crate) fn notes(store: &Store) -> BTreeMap<u64, (String, i64)> {
    let all = store.objects("Note").unwrap().all().unwrap();
    let of = |object: Object| match (object.get("text").clone(), object.get("rank").clone()) {
        (Value::String(text), Value::Int(rank)) => (object.id, (text, rank)),
        other => panic!("{other:?}"),
    };
    all.into_iter().map(of).collect()
}
