//! The suite of merging: what an incoming update costs, what stamps take, and how fast the simulator is.

use std::path::Path;

use anyhow::{Context, ensure};
use heed::PutFlags;
use reconvene_model::record::Record;
use reconvene_model::{Seq, TxNumber};
use reconvene_sim::{Scenario, runner, workload};
use reconvene_store::{Delivery, Incoming, PushedTx, Role, Store};

use crate::Settings;
use crate::data::{SevenFields, Synced, Values, objects, shuffled_ids};
use crate::floor::{Floor, FloorTable};
use crate::measure::{Row, Subject, cost, nanos_each, pairs};

const SUITE: &str = "merge";

/// Updates in one transaction.
const TX_UPDATES: usize = 1000;

/// The table of the one entity.
const OBJECTS: &str = "e/1";

/// Processor time for one seed of the simulator that makes 600 of them a minute.
const SEED_MS_MAX: f64 = 100.0;

/// Seeds that make one pair.
const SEEDS: usize = 20;

/// Runs the suite.
pub(crate) fn run(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let mut rows = vec![updates(settings)?];
    rows.extend(stamps(settings)?);
    rows.push(simulation(settings)?);
    Ok(rows)
}

fn subject(settings: &Settings, name: &'static str, unit: &'static str, target: f64) -> Subject {
    let (objects, durability) = (settings.objects as u64, "full");
    Subject { suite: SUITE, name, objects, durability, unit, target: Some(target) }
}

/// An author, the server that decides on what it writes, and a device that is told.
pub(crate) struct Parties {
    author: Store,
    server: Store,
    device: Store,
    /// How many transactions the server has decided on.
    decided: TxNumber,
}

impl Parties {
    /// With objects that all three have.
    pub(crate) fn new(
        directory: &Path,
        map_bytes_max: Option<u64>,
        objects_len: usize,
    ) -> anyhow::Result<Parties> {
        let author = Store::builder("memory:").entity::<Synced>().open()?;
        let server = Store::builder("memory:").entity::<Synced>().role(Role::Server).open()?;
        let device = Store::builder(directory.join("device")).entity::<Synced>();
        let device = match map_bytes_max {
            Some(bytes) => device.map_bytes_max(bytes),
            None => device,
        };
        let device = device.open()?;
        server.sync().register(author.sync().peer(), &author.sync().key().public())?;
        let login = Delivery::Login {
            epoch: server.sync().epoch()?,
            view: 1,
            decided: 0,
            decided_seq: Seq(0),
            rebased: None,
            compare: false,
        };
        device.sync().apply(&[login, Delivery::CatchUpDone { seq: Seq(0) }])?;
        let mut parties = Parties { author, server, device, decided: 0 };
        for objects in objects::<Synced>(objects_len).chunks_mut(TX_UPDATES) {
            parties.author.boxed::<Synced>()?.put_many(objects)?;
        }
        let pushed = parties.decided()?;
        parties.apply(&pushed)?;
        Ok(parties)
    }

    /// Changes one number of each of these objects.
    pub(crate) fn update(&mut self, ids: &[u64], long: i64) -> anyhow::Result<()> {
        for ids in ids.chunks(TX_UPDATES) {
            self.author
                .write(|tx| ids.iter().try_for_each(|&id| tx.update(id, |of: &mut Synced| of.long = long)))?;
        }
        Ok(())
    }

    /// What the server makes of what the author has written since.
    pub(crate) fn decided(&mut self) -> anyhow::Result<Vec<PushedTx>> {
        let (author, server) = (self.author.sync(), self.server.sync());
        let peer = author.peer();
        let written = author.outbox(self.decided, usize::MAX, usize::MAX)?;
        let batch: Vec<Incoming<'_>> = written.iter().map(|tx| Incoming { peer, bytes: &tx.bytes }).collect();
        let decided = server.decide(&batch, &[])?;
        let pushed: Vec<PushedTx> = decided.into_iter().filter_map(|decided| decided.push).collect();
        ensure!(
            pushed.len() == written.len(),
            "the server took {} of {} transactions",
            pushed.len(),
            written.len()
        );
        self.decided += pushed.len() as TxNumber;
        Ok(pushed)
    }

    pub(crate) fn apply(&self, pushed: &[PushedTx]) -> anyhow::Result<()> {
        let deliveries: Vec<Delivery<'_>> = pushed
            .iter()
            .map(|tx| Delivery::Push { seq: tx.seq, origin: tx.origin, hlc: tx.hlc, ops: &tx.ops })
            .collect();
        self.device.sync().apply(&deliveries)?;
        Ok(())
    }
}

/// An incoming change of one number against reading the same record, changing it in place and writing it back.
fn updates(settings: &Settings) -> anyhow::Result<Row> {
    let directory = settings.directory()?;
    let mut parties = Parties::new(directory.path(), None, settings.objects)?;
    let ids = shuffled_ids(settings.objects);
    // The first change gives each record a stamp more; from then on its length stays.
    parties.update(&ids, -1)?;
    let pushed = parties.decided()?;
    parties.apply(&pushed)?;
    let within = settings.directory()?;
    let floor = Records::copied(&parties.device, within.path())?;
    let mut round = 0;
    let pairs = pairs(
        settings.pairs,
        || {
            round += 1;
            parties.update(&ids, round)?;
            let pushed = parties.decided()?;
            Ok(nanos_each(cost(|| parties.apply(&pushed))?.0.cpu, ids.len()))
        },
        || Ok(nanos_each(cost(|| floor.update(&ids))?.0.cpu, ids.len())),
    )?;
    Ok(Row::new(subject(settings, "update of one property", "ns CPU", 1.6), &pairs))
}

/// The records of a device, on the floor.
struct Records {
    floor: Floor,
    objects: FloorTable,
    /// Where the number stands in a record, counted from its end: what comes after it has one length in all.
    from_end: usize,
}

impl Records {
    fn copied(device: &Store, within: &Path) -> anyhow::Result<Records> {
        let mut dump = backup(device, &within.join("theirs"))?.dump()?;
        dump.retain(|table| table.name == OBJECTS);
        let floor = Floor::open(&within.join("floor"))?;
        let tables = floor.tables(&dump)?;
        floor.write(&tables, &dump)?;
        let (_, record) =
            dump.first().and_then(|table| table.entries.first()).context("there are objects")?;
        let long = (-1_i64).to_le_bytes();
        let mut places = record.windows(8).enumerate().filter(|(_, bytes)| *bytes == long);
        let (Some((place, _)), None) = (places.next(), places.next()) else {
            anyhow::bail!("the number stands in a record once");
        };
        Ok(Records { floor, objects: tables[0], from_end: record.len() - place })
    }

    /// Changes the number in each of these records, in one durable transaction.
    fn update(&self, ids: &[u64]) -> anyhow::Result<()> {
        let mut txn = self.floor.write_txn()?;
        let mut changed = Vec::new();
        for id in ids {
            let key = id.to_be_bytes();
            let record = self.objects.get(&txn, &key)?.context("it was copied")?;
            changed.clear();
            changed.extend_from_slice(record);
            let place = changed.len() - self.from_end;
            for byte in &mut changed[place..place + 8] {
                *byte = byte.wrapping_add(1);
            }
            self.objects.put_with_flags(&mut txn, PutFlags::empty(), &key, &changed)?;
        }
        Ok(txn.commit()?)
    }
}

/// What stamps take in a record: of an object written once, and of a property that was written later.
fn stamps(settings: &Settings) -> anyhow::Result<[Row; 2]> {
    let directory = settings.directory()?;
    let store = Store::builder(directory.path().join("device")).entity::<Synced>().open()?;
    let of = store.boxed::<Synced>()?;
    let id = of.put(&mut Synced::of(Values::at(0)))?;
    let mut copies = 0;
    let mut length = || {
        copies += 1;
        let copy = directory.path().join(copies.to_string());
        let dump = backup(&store, &copy)?.dump()?;
        let records = dump.iter().find(|table| table.name == OBJECTS).context("there are objects")?;
        let (_, record) = records.entries.first().context("there is an object")?;
        anyhow::Ok((record.len() - Record::parse(record)?.table.as_bytes().len()) as f64)
    };
    // Before the stamp stand the flags of the record, the length of its header, and the flags of that.
    let once = length()? - 3.0;
    of.update(id, |object| object.int += 1)?;
    let one = length()?;
    of.update(id, |object| object.long += 1)?;
    let later = length()? - one;
    let row = |name, bytes, most| Row::new(subject(settings, name, "bytes", 1.0), &[(bytes, most)]);
    Ok([row("stamp of an object", once, 16.0), row("stamp of a property", later, 18.0)])
}

/// How fast the simulator is, with its stores in memory.
fn simulation(settings: &Settings) -> anyhow::Result<Row> {
    // Seeds are as different as what happens in them, so each pair has others.
    let mut next = 1_u64..;
    let pairs = pairs(
        settings.pairs,
        || {
            let scenarios =
                next.by_ref().map(workload::scenario).filter(|scenario| !scenario.settings.on_disk);
            let scenarios: Vec<Scenario> = scenarios.take(SEEDS).collect();
            let run = || {
                for scenario in &scenarios {
                    let finding = runner::run(scenario, false).finding;
                    ensure!(finding.is_none(), "seed {}: {finding:?}", scenario.seed);
                }
                Ok(())
            };
            Ok(nanos_each(cost(run)?.0.cpu, SEEDS) / 1e6)
        },
        || Ok(SEED_MS_MAX),
    )?;
    let subject =
        Subject { durability: "memory", ..subject(settings, "a seed of the simulator", "ms CPU", 1.0) };
    Ok(Row::new(Subject { objects: 1, ..subject }, &pairs))
}

/// A copy of what a store has at this moment, to be read without it.
fn backup(store: &Store, to: &Path) -> anyhow::Result<Floor> {
    std::fs::create_dir(to)?;
    store.backup(to.join(Store::DATA_FILE))?;
    Floor::open(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suite_runs() {
        let settings = Settings { objects: 40, pairs: 1, within: std::env::temp_dir() };
        assert!(updates(&settings).unwrap().value > 0.0);
        assert!(stamps(&settings).unwrap().iter().all(Row::ok));
    }
}
