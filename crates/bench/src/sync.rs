//! The suite of sync: two devices and a server, all durable.
//!
//! Where processor time is measured, each has a process of its own, and the three times are added; what is measured by the
//! clock or counted in bytes runs in one process.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use reconvene_client::SyncClient;
use reconvene_server::{Authentication, Server};
use reconvene_store::{EntityBox, Role, Store};
use tempfile::TempDir;

use crate::Settings;
use crate::data::{City, Large, cities};
use crate::echo::Echo;
use crate::floor::{Floor, FloorTable, TableDump, encode};
use crate::measure::{Row, Subject, cost, nanos_each, pairs, quantile};
use crate::parties::{PATIENCE, Party};

const SUITE: &str = "sync";

/// How many small puts make one pair.
const PUTS: usize = 100;

/// How many transactions the bytes on the wire are averaged over.
const WIRE_ROUNDS: u64 = 10;

/// The cities of the transaction whose bytes on the wire are counted.
const WIRE_CITIES: usize = 1000;

/// The bytes that a changed number in an object of 1 KB may take.
const CHANGED_NUMBER_BYTES: f64 = 80.0;

/// The bytes that a new object may take beside its encoded record.
const BYTES_BESIDE_RECORD: usize = 12;

/// The rows of `meta` that change with a small write.
const CHANGING_META: [&[u8]; 6] =
    [b"sync/clock", b"sync/last", b"sync/cursor", b"sync/decided", b"sync/head", b"last-id/1"];

/// Runs the suite.
pub(crate) fn run(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let mut rows = vec![bulk(settings)?];
    rows.extend(latency(settings)?);
    rows.extend(wire(settings)?);
    Ok(rows)
}

/// A device and its connection.
struct Device {
    store: Store,
    cities: EntityBox<City>,
    client: SyncClient,
}

/// A server and devices that are live.
struct World {
    devices: Vec<Device>,
    server: Server,
    server_store: Store,
    directory: TempDir,
}

impl World {
    fn new(settings: &Settings, devices: usize) -> anyhow::Result<World> {
        let directory = settings.directory()?;
        let server_store = open(&directory, "server", Role::Server)?;
        let server = Server::builder(&server_store)
            .bind(([127, 0, 0, 1], 0).into())
            .authentication(Authentication::None)
            .start()?;
        let mut world = World { devices: Vec::new(), server, server_store, directory };
        (0..devices).try_for_each(|_| world.connect())?;
        Ok(world)
    }

    /// Adds a device and waits until it is live.
    fn connect(&mut self) -> anyhow::Result<()> {
        let store = open(&self.directory, &device_name(self.devices.len()), Role::Device)?;
        let client = SyncClient::builder(&store, format!("ws://{}", self.server.local_addr())).start()?;
        client.wait_downloaded(PATIENCE)?;
        self.devices.push(Device { cities: store.boxed()?, store, client });
        Ok(())
    }

    /// Waits until every device has everything and the first one knows that its writes were taken.
    fn settle(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        self.devices[0].client.wait_uploaded(PATIENCE)?;
        let head = self.server_store.sync().head()?;
        for device in &self.devices {
            while device.store.sync().cursor()?.seq < head {
                ensure!(Instant::now() < deadline, "a device stays behind: {:?}", device.client.status());
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(())
    }

    /// Ends everything; the entries of the stores of the first two devices and of the server.
    fn into_entries(self) -> anyhow::Result<Vec<Vec<TableDump>>> {
        let World { devices, server, server_store, directory } = self;
        devices.into_iter().for_each(|device| device.client.stop());
        server.shutdown(PATIENCE)?;
        drop(server_store);
        let names = [device_name(0), "server".to_owned(), device_name(1)];
        names.iter().map(|name| Floor::open(&directory.path().join(name))?.dump()).collect()
    }
}

fn device_name(at: usize) -> String {
    format!("device-{at}")
}

fn open(directory: &TempDir, name: &str, role: Role) -> anyhow::Result<Store> {
    let builder = Store::builder(directory.path().join(name)).entity::<City>().entity::<Large>();
    Ok(builder.role(role).open()?)
}

/// Syncs these cities once; what the three stores hold afterwards, and the outbox row of the author, which is gone by then.
fn entries_of(settings: &Settings, count: usize) -> anyhow::Result<Vec<Vec<TableDump>>> {
    let world = World::new(settings, 2)?;
    world.devices[0].cities.put_many(&mut cities(count)?)?;
    world.settle()?;
    let mut entries = world.into_entries()?;
    let author = Store::builder("memory:").entity::<City>().open()?;
    author.boxed::<City>()?.put_many(&mut cities(count)?)?;
    let row = author.sync().outbox(0, 1, usize::MAX)?.pop().context("a put goes into the outbox")?;
    let outbox = entries[0].iter_mut().find(|table| table.name == "outbox").context("a device has one")?;
    outbox.entries.push((row.number.to_be_bytes().into(), row.bytes.into()));
    Ok(entries)
}

/// Cities put on one device until they are durable on the other, in processor time of all three.
fn bulk(settings: &Settings) -> anyhow::Result<Row> {
    let count = settings.objects;
    let entries = entries_of(settings, count)?;
    let pairs = pairs(
        settings.pairs,
        || {
            let directory = settings.directory()?;
            let (server, address) = Party::server(&directory.path().join("server"))?;
            let author = Party::device(&directory.path().join("author"), &address)?;
            let reader = Party::device(&directory.path().join("reader"), &address)?;
            let mut parties = [author, reader, server];
            parties[0].make(count)?;
            let cpu =
                |parties: &mut [Party; 3]| parties.iter_mut().map(Party::cpu_time).sum::<anyhow::Result<_>>();
            let before: Duration = cpu(&mut parties)?;
            let seq = parties[0].put()?;
            let arrived = parties[1].reach(seq)?;
            let after: Duration = cpu(&mut parties)?;
            ensure!(arrived == count as u64, "{arrived} cities of {count} have arrived");
            parties.into_iter().try_for_each(Party::end)?;
            Ok(nanos_each(after.saturating_sub(before), count))
        },
        || {
            let directory = settings.directory()?;
            let floors = entries.iter().enumerate().map(|(at, entries)| {
                let floor = Floor::open(&directory.path().join(at.to_string()))?;
                Ok((floor.tables(entries)?, floor, entries))
            });
            let floors: Vec<(Vec<FloorTable>, Floor, &Vec<TableDump>)> =
                floors.collect::<anyhow::Result<_>>()?;
            let run = || floors.iter().try_for_each(|(tables, floor, entries)| floor.write(tables, entries));
            Ok(nanos_each(cost(run)?.0.cpu, count))
        },
    )?;
    let subject = subject("cities from A to B", count as u64, "ns CPU", 3.0);
    Ok(Row::new(subject, &pairs))
}

fn subject(name: &'static str, objects: u64, unit: &'static str, target: f64) -> Subject {
    Subject { suite: SUITE, name, objects, durability: "full", unit, target: Some(target) }
}

/// What one small put writes in a store, again and again under new keys.
struct SmallWrite {
    floor: Floor,
    entries: Vec<SmallEntry>,
}

struct SmallEntry {
    table: FloorTable,
    key: Vec<u8>,
    value: Box<[u8]>,
    /// Whether it is written in place each time.
    is_meta: bool,
}

impl SmallWrite {
    fn new(directory: &std::path::Path, dump: &[TableDump]) -> anyhow::Result<SmallWrite> {
        let floor = Floor::open(directory)?;
        let mut entries = Vec::new();
        for table in dump {
            let handle = floor.table(&table.name)?;
            let is_meta = table.name == "meta";
            for (key, value) in &table.entries {
                if !is_meta || CHANGING_META.contains(&&**key) {
                    let (key, value) = (key.to_vec(), value.clone());
                    entries.push(SmallEntry { table: handle, key, value, is_meta });
                }
            }
        }
        Ok(SmallWrite { floor, entries })
    }

    fn commit(&mut self, number: u64) -> anyhow::Result<()> {
        for SmallEntry { key, is_meta, .. } in &mut self.entries {
            // All other keys end with an id or a number.
            if let (false, Some(end)) = (*is_meta, key.last_chunk_mut::<8>()) {
                *end = number.to_be_bytes();
            }
        }
        let entries: Vec<_> =
            self.entries.iter().map(|entry| (entry.table, &entry.key[..], &entry.value[..])).collect();
        self.floor.commit(&entries)
    }
}

/// One small put until the other device shows it, by the clock.
fn latency(settings: &Settings) -> anyhow::Result<[Row; 2]> {
    let entries = entries_of(settings, 1)?;
    let directory = settings.directory()?;
    let floors = entries.iter().enumerate();
    let floors = floors.map(|(at, entries)| SmallWrite::new(&directory.path().join(at.to_string()), entries));
    let mut floors: Vec<SmallWrite> = floors.collect::<anyhow::Result<_>>()?;
    let mut echo = Echo::start()?;
    let mut number = 1;

    let world = World::new(settings, 2)?;
    let (author, reader) = (&world.devices[0], &world.devices[1]);
    let (shown, shows) = mpsc::channel();
    let _subscription = reader.cities.observe(move |_| {
        // Nobody waits any more when the suite is over.
        let _ = shown.send(());
    });
    let city = cities(1)?;
    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    for at in 0..settings.pairs {
        let ours = || {
            let one = |_| {
                let start = Instant::now();
                author.cities.put_many(&mut city.clone())?;
                if shows.recv_timeout(PATIENCE).is_err() {
                    bail!("a put does not arrive: {:?}", reader.client.status());
                }
                Ok(millis(start.elapsed()))
            };
            let took = (0..PUTS).map(one).collect::<anyhow::Result<Vec<f64>>>();
            world.settle()?;
            took
        };
        let mut floor = || {
            let one = |_| {
                let start = Instant::now();
                number += 1;
                floors.iter_mut().try_for_each(|floor| floor.commit(number))?;
                echo.round_trip(&[0; 128])?;
                Ok(millis(start.elapsed()))
            };
            (0..PUTS).map(one).collect::<anyhow::Result<Vec<f64>>>()
        };
        let (mut ours, mut floor) = if at % 2 == 0 {
            let ours = ours()?;
            (ours, floor()?)
        } else {
            let floor = floor()?;
            (ours()?, floor)
        };
        ours.sort_by(f64::total_cmp);
        floor.sort_by(f64::total_cmp);
        p50.push((quantile(&ours, 0.5), quantile(&floor, 0.5)));
        p99.push((quantile(&ours, 0.99), quantile(&floor, 0.99)));
    }
    Ok([
        Row::new(subject("small put from A to B, p50", 1, "ms", 1.5), &p50),
        Row::new(subject("small put from A to B, p99", 1, "ms", 5.0), &p99),
    ])
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Bytes that the server sends for each receiver of a change, before compression: what one more receiver adds.
fn wire(settings: &Settings) -> anyhow::Result<[Row; 2]> {
    let mut world = World::new(settings, 2)?;
    let mut large = Large { body: "x".repeat(1000), number: 1_000_000, ..Large::default() };
    let id = world.devices[0].store.boxed::<Large>()?.put(&mut large)?;
    world.settle()?;
    let mut sent = [[0; 2]; 2];
    for sent in &mut sent {
        sent[0] = sent_bytes(&world, WIRE_ROUNDS, |author| {
            Ok(author.store.boxed::<Large>()?.update(id, |large| large.number += 1)?)
        })?;
        sent[1] = sent_bytes(&world, 1, |author| Ok(author.cities.put_many(&mut cities(WIRE_CITIES)?)?))?;
        world.connect()?;
    }
    let [one_receiver, two_receivers] = sent;
    let number = (two_receivers[0] - one_receiver[0]) as f64 / WIRE_ROUNDS as f64;
    let new_cities = (two_receivers[1] - one_receiver[1]) as f64;
    let def = world.server_store.schema().entity_by_name("City").context("a store knows its entity")?;
    let mut allowed = BYTES_BESIDE_RECORD * WIRE_CITIES;
    for city in cities(WIRE_CITIES)? {
        allowed += encode(def, &city)?.len();
    }
    let bytes = |name, objects, pair| Row::new(subject(name, objects, "bytes", 1.0), &[pair]);
    Ok([
        bytes("wire: a changed number in 1 KB", 1, (number, CHANGED_NUMBER_BYTES)),
        bytes("wire: new cities in one transaction", WIRE_CITIES as u64, (new_cities, allowed as f64)),
    ])
}

/// What the server sends to everybody while the first device writes this many times.
fn sent_bytes(
    world: &World,
    rounds: u64,
    mut write: impl FnMut(&Device) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    let before = world.server.stats().bytes_sent;
    for _ in 0..rounds {
        write(&world.devices[0])?;
        world.settle()?;
    }
    Ok(world.server.stats().bytes_sent - before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_has_the_entries_of_all_three_stores() {
        let settings = Settings { objects: 3, pairs: 1, within: std::env::temp_dir() };
        let entries = entries_of(&settings, 3).unwrap();
        let count = |store: usize, table: &str| {
            let table = entries[store].iter().find(|dump| dump.name == table);
            table.map_or(0, |dump| dump.entries.len())
        };
        assert_eq!((count(0, "e/1"), count(0, "outbox")), (3, 1));
        assert_eq!((count(1, "e/1"), count(1, "g/1"), count(1, "changes")), (3, 3, 3));
        assert_eq!((count(2, "e/1"), count(2, "g/1"), count(2, "outbox")), (3, 3, 0));
    }

    #[test]
    fn a_server_sends_more_to_more_receivers() {
        let settings = Settings { objects: 1, pairs: 1, within: std::env::temp_dir() };
        let rows = wire(&settings).unwrap();
        assert!(rows.iter().all(|row| row.value > 0.0 && row.floor > 0.0), "{rows:?}");
    }
}
