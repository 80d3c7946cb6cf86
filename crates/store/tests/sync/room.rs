//! A room of devices that hear of each other when they are told to, and of conflicts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reconvene_store::{
    ChunkStart, Conflict, Decision, Delivery, Entity, EntityBox, Incoming, PushedTx, Role, Store, ToOne,
    Verdict,
};

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, crate = "reconvene_store")]
pub(crate) struct Contact {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) phone: String,
    pub(crate) boss: ToOne<Contact>,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, conflict = "object", crate = "reconvene_store")]
pub(crate) struct Address {
    pub(crate) id: u64,
    pub(crate) street: String,
    pub(crate) city: String,
    #[sync_clock]
    pub(crate) written: i64,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, crate = "reconvene_store")]
pub(crate) struct Sale {
    pub(crate) id: u64,
    #[sync_precedence]
    pub(crate) stage: u8,
    pub(crate) note: String,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, shared_ids, conflict = "arrival", crate = "reconvene_store")]
pub(crate) struct Checkpoint {
    pub(crate) id: u64,
    pub(crate) passed: u32,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, shared_ids, crate = "reconvene_store")]
pub(crate) struct Seat {
    pub(crate) id: u64,
    pub(crate) guest: String,
    pub(crate) meal: String,
}

/// A server and two devices that are all live; a device receives when it is told to.
pub(crate) struct Room {
    pub(crate) server: Store,
    pub(crate) devices: Vec<Store>,
    pub(crate) history: Vec<PushedTx>,
    pub(crate) now_ms: Arc<AtomicU64>,
}

impl Room {
    pub(crate) fn new() -> Room {
        Room::of(2)
    }

    pub(crate) fn of(devices: u8) -> Room {
        let now_ms = Arc::new(AtomicU64::new(1_800_000_000_000));
        let open = |role, secret: u8| {
            let now_ms = now_ms.clone();
            Store::builder("memory:")
                .role(role)
                .identity_secret([secret; 32])
                .time_source(move || now_ms.load(Ordering::Relaxed))
                .entity::<Contact>()
                .entity::<Address>()
                .entity::<Sale>()
                .entity::<Checkpoint>()
                .entity::<Seat>()
                .open()
                .unwrap()
        };
        let room = Room {
            server: open(Role::Server, 1),
            devices: (0..devices).map(|at| open(Role::Device, at + 2)).collect(),
            history: Vec::new(),
            now_ms: now_ms.clone(),
        };
        (0..room.devices.len()).for_each(|device| room.log_in(device));
        room
    }

    pub(crate) fn tick(&self) {
        self.now_ms.fetch_add(1_000, Ordering::Relaxed);
    }

    /// Logs in and takes what was missed, but for what is uploaded later.
    pub(crate) fn log_in(&self, device: usize) {
        let (sync, server) = (self.devices[device].sync(), self.server.sync());
        let origin = server.register(sync.peer(), &sync.key().public()).unwrap();
        let login = Delivery::Login {
            epoch: server.epoch().unwrap(),
            view: 1,
            decided: origin.decided,
            decided_seq: server.head().unwrap(),
            rebased: None,
            compare: false,
        };
        sync.apply(&[login]).unwrap();
        let chunk = server.chunk(ChunkStart::after(sync.cursor().unwrap().seq), 1 << 20).unwrap();
        assert!(chunk.last);
        let states = chunk.block.as_ref().map(|block| Delivery::States { block, upto: chunk.upto });
        let deliveries: Vec<_> =
            states.into_iter().chain([Delivery::CatchUpDone { seq: chunk.upto }]).collect();
        sync.apply(&deliveries).unwrap();
    }

    /// Lets the server decide on what a device wrote; the device hears it.
    pub(crate) fn upload(&mut self, device: usize) {
        for (number, verdict) in self.decide(device) {
            self.devices[device].sync().apply(&[Delivery::Verdict { number, verdict }]).unwrap();
        }
    }

    pub(crate) fn decide(&mut self, device: usize) -> Vec<(u64, Verdict)> {
        let (sync, server) = (self.devices[device].sync(), self.server.sync());
        let decided = server.register(sync.peer(), &sync.key().public()).unwrap().decided;
        let mut verdicts = Vec::new();
        for tx in sync.outbox(decided, usize::MAX, usize::MAX).unwrap() {
            let incoming = Incoming { peer: sync.peer(), bytes: &tx.bytes };
            let decided = server.decide(&[incoming], &[]).unwrap().remove(0);
            self.history.extend(decided.push);
            match decided.decision {
                Decision::Verdict { number, verdict } => verdicts.push((number, verdict)),
                other => panic!("{other:?}"),
            }
        }
        verdicts
    }

    /// Pushes to a device what it has not had.
    pub(crate) fn receive(&self, device: usize) {
        let sync = self.devices[device].sync();
        let from = usize::try_from(sync.cursor().unwrap().seq.0).unwrap();
        for tx in &self.history[from..] {
            let delivery = match tx.origin == sync.peer() {
                true => Delivery::Own { seq: tx.seq, number: tx.number },
                false => Delivery::Push { seq: tx.seq, origin: tx.origin, hlc: tx.hlc, ops: &tx.ops },
            };
            sync.apply(&[delivery]).unwrap();
        }
    }

    /// Everybody sends, then everybody has everything.
    pub(crate) fn settle(&mut self) {
        (0..self.devices.len()).for_each(|device| self.receive(device));
        (0..self.devices.len()).for_each(|device| self.upload(device));
        (0..self.devices.len()).for_each(|device| self.receive(device));
        for device in &self.devices {
            assert_eq!(device.sync().undecided().unwrap(), 0);
            assert_eq!(device.sync().content_hash().unwrap(), self.server.sync().content_hash().unwrap());
            assert_eq!(device.check().unwrap(), []);
        }
    }

    pub(crate) fn of_entity<T: Entity>(&self, device: usize) -> EntityBox<T> {
        self.devices[device].boxed().unwrap()
    }

    /// The id of the only object of an entity.
    pub(crate) fn id<T: Entity + Clone>(&self, device: usize) -> u64 {
        let all = self.of_entity::<T>(device).all().unwrap();
        assert_eq!(all.len(), 1);
        all[0].id()
    }

    /// The only object of an entity.
    pub(crate) fn only<T: Entity + Clone>(&self, device: usize) -> T {
        let mut all = self.of_entity::<T>(device).all().unwrap();
        assert_eq!(all.len(), 1);
        all.remove(0).into_inner()
    }

    pub(crate) fn told(&self, device: usize) -> Vec<Conflict> {
        self.devices[device].sync().conflicts().unwrap()
    }

    /// The only conflict of all devices, which this one was told.
    pub(crate) fn only_conflict(&self, device: usize) -> Conflict {
        for other in (0..self.devices.len()).filter(|other| *other != device) {
            assert_eq!(self.told(other), [], "device {other} was told");
        }
        let mut told = self.told(device);
        assert_eq!(told.len(), 1, "{told:?}");
        told.remove(0)
    }
}
