//! The suite of the store: what it adds to LMDB, row by row.

use std::hint::black_box;
use std::path::Path;

use anyhow::Context;
use reconvene_store::Store;
use tempfile::TempDir;

use crate::Settings;
use crate::data::{Indexed, Plain, SevenFields, Synced, Values, objects, shuffled_ids};
use crate::floor::{FloorBox, LOCAL_HEAD, synced_head};
use crate::measure::{Row, Subject, cost, nanos_each, pairs};
use crate::store_queries;

const SUITE: &str = "store";

/// How many single durable puts make one pair.
const COMMITS: usize = 100;

/// How many objects are queued one by one, and put at once for comparison.
const QUEUED: usize = 20_000;

/// Runs the suite.
pub(crate) fn run(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let mut rows = vec![
        put_many::<Plain>(settings, "put_many, no index")?,
        put_many::<Indexed>(settings, "put_many, two indexes")?,
    ];
    rows.extend(reads(settings)?);
    rows.extend(scans(settings)?);
    rows.push(put_many_synced(settings)?);
    rows.push(durable_puts(settings)?);
    rows.push(queued_puts(settings)?);
    rows.extend(crate::whole::rows(settings)?);
    Ok(rows)
}

pub(crate) fn subject(settings: &Settings, name: &'static str, target: f64) -> Subject {
    Subject {
        suite: SUITE,
        name,
        objects: settings.objects as u64,
        durability: "full",
        unit: "ns CPU",
        target: Some(target),
    }
}

fn open<T: SevenFields>(directory: &Path) -> anyhow::Result<Store> {
    Ok(Store::builder(directory.join("ours")).entity::<T>().open()?)
}

fn put_many<T: SevenFields>(settings: &Settings, name: &'static str) -> anyhow::Result<Row> {
    let count = settings.objects;
    let pairs = pairs(
        settings.pairs,
        || {
            let directory = settings.directory()?;
            let store = open::<T>(directory.path())?;
            let of = store.boxed::<T>()?;
            let mut objects = objects::<T>(count);
            Ok(nanos_each(cost(|| Ok(of.put_many(&mut objects)?))?.0.cpu, count))
        },
        || {
            let directory = settings.directory()?;
            let floor = FloorBox::open::<T>(directory.path(), LOCAL_HEAD)?;
            let values: Vec<Values> = (0..count).map(Values::at).collect();
            Ok(nanos_each(cost(|| floor.put_many(&values))?.0.cpu, count))
        },
    )?;
    Ok(Row::new(subject(settings, name, 1.3), &pairs))
}

fn put_many_synced(settings: &Settings) -> anyhow::Result<Row> {
    let count = settings.objects;
    let pairs = pairs(
        settings.pairs,
        || {
            let directory = settings.directory()?;
            let store = open::<Synced>(directory.path())?;
            let of = store.boxed::<Synced>()?;
            let mut objects = objects::<Synced>(count);
            Ok(nanos_each(cost(|| Ok(of.put_many(&mut objects)?))?.0.cpu, count))
        },
        || {
            let directory = settings.directory()?;
            let (hlc, peer) = (1_700_000_000_000 << 16, reconvene_model::PeerId(1));
            let floor = FloorBox::open::<Synced>(directory.path(), &synced_head(hlc, peer))?;
            let values: Vec<Values> = (0..count).map(Values::at).collect();
            Ok(nanos_each(cost(|| floor.put_many_synced(&values, hlc, peer))?.0.cpu, count))
        },
    )?;
    Ok(Row::new(subject(settings, "synced put_many", 1.3), &pairs))
}

/// A store and a floor with the same objects.
struct Filled {
    _directories: [TempDir; 2],
    store: Store,
    floor: FloorBox,
}

fn filled<T: SevenFields>(settings: &Settings) -> anyhow::Result<Filled> {
    let directories = [settings.directory()?, settings.directory()?];
    let store = open::<T>(directories[0].path())?;
    store.boxed::<T>()?.put_many(&mut objects::<T>(settings.objects))?;
    let floor = FloorBox::open::<T>(directories[1].path(), LOCAL_HEAD)?;
    floor.put_many(&(0..settings.objects).map(Values::at).collect::<Vec<_>>())?;
    Ok(Filled { _directories: directories, store, floor })
}

fn reads(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let count = settings.objects;
    let ids = shuffled_ids(count);
    let Filled { store, floor, _directories } = filled::<Indexed>(settings)?;
    let of = store.boxed::<Indexed>()?;

    let get = pairs(
        settings.pairs,
        || {
            let run = || {
                Ok(store.read(|tx| {
                    for &id in &ids {
                        black_box(tx.get::<Indexed>(id)?);
                    }
                    Ok(())
                })?)
            };
            Ok(nanos_each(cost(run)?.0.cpu, count))
        },
        || {
            let run = || {
                let txn = floor.floor.read()?;
                for id in &ids {
                    let record = floor.objects.get(&txn, &id.to_be_bytes())?.context("it was put")?;
                    black_box(floor.shape.decode(record).context("a record of seven fields")?);
                }
                Ok(())
            };
            Ok(nanos_each(cost(run)?.0.cpu, count))
        },
    )?;

    let ints = of.column(Indexed::int())?;
    let one = pairs(
        settings.pairs,
        || {
            let run = || {
                Ok(store.read(|tx| {
                    let mut sum = 0_i64;
                    for &id in &ids {
                        sum += ints.get(tx, id)?.map_or(0, i64::from);
                    }
                    Ok(black_box(sum))
                })?)
            };
            Ok(nanos_each(cost(run)?.0.cpu, count))
        },
        || {
            let run = || {
                let txn = floor.floor.read()?;
                let mut sum = 0_i64;
                for id in &ids {
                    let record = floor.objects.get(&txn, &id.to_be_bytes())?.context("it was put")?;
                    sum += i64::from(floor.shape.int(record).context("a record of seven fields")?);
                }
                Ok(black_box(sum))
            };
            Ok(nanos_each(cost(run)?.0.cpu, count))
        },
    )?;

    // One scan is too short to be measured alone.
    let rounds = 10;
    let scan = pairs(
        settings.pairs,
        || {
            let run = || {
                let mut sum = 0_i64;
                for _ in 0..rounds {
                    store.read(|tx| {
                        ints.each(tx, |_, int| {
                            sum += i64::from(int);
                            Ok(())
                        })
                    })?;
                }
                Ok(black_box(sum))
            };
            Ok(nanos_each(cost(run)?.0.cpu, count * rounds))
        },
        || {
            let run = || {
                let mut sum = 0_i64;
                for _ in 0..rounds {
                    let txn = floor.floor.read()?;
                    for entry in floor.objects.iter(&txn)? {
                        let int = floor.shape.int(entry?.1).context("a record of seven fields")?;
                        sum += i64::from(int);
                    }
                }
                Ok(black_box(sum))
            };
            Ok(nanos_each(cost(run)?.0.cpu, count * rounds))
        },
    )?;

    let mut rows = vec![
        Row::new(subject(settings, "get by id into a struct", 1.5), &get),
        Row::new(subject(settings, "one property by id", 1.15), &one),
        Row::new(subject(settings, "scan reading one field", 1.5), &scan),
    ];
    rows.extend(store_queries::rows(settings, &of, &floor)?);
    Ok(rows)
}

/// Scans with a condition, of objects without indexes.
fn scans(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let Filled { store, floor, _directories } = filled::<Plain>(settings)?;
    let conditions =
        [Plain::int().lt(store_queries::INT_BELOW), Plain::text().contains(store_queries::TEXT_PART)];
    store_queries::scans(settings, &store.boxed::<Plain>()?, conditions, &floor)
}

/// Single durable puts against the bare two-flush commit of the same entries, by the clock: the disk is what takes the time.
fn durable_puts(settings: &Settings) -> anyhow::Result<Row> {
    let Filled { store, floor, _directories } = filled::<Plain>(settings)?;
    let of = store.boxed::<Plain>()?;
    let mut last = settings.objects as u64;
    let pairs = pairs(
        settings.pairs,
        || {
            let mut new = objects::<Plain>(COMMITS);
            let run = || {
                for object in &mut new {
                    of.put(object)?;
                }
                Ok(())
            };
            Ok(nanos_each(cost(run)?.0.wall, COMMITS) / 1000.0)
        },
        || {
            let values: Vec<Values> = (0..COMMITS).map(Values::at).collect();
            let run = || {
                for values in &values {
                    floor.put_one(values, last)?;
                    last += 1;
                }
                Ok(())
            };
            Ok(nanos_each(cost(run)?.0.wall, COMMITS) / 1000.0)
        },
    )?;
    let subject = Subject { unit: "us", ..subject(settings, "single durable put", 1.15) };
    Ok(Row::new(subject, &pairs))
}

/// Objects put one by one without waiting, until all are durable, against the same objects put at once by ours as well.
fn queued_puts(settings: &Settings) -> anyhow::Result<Row> {
    let pairs = pairs(
        settings.pairs,
        || {
            let directory = settings.directory()?;
            let store = open::<Plain>(directory.path())?;
            let of = store.boxed::<Plain>()?;
            let objects = objects::<Plain>(QUEUED);
            let run = || {
                let pending: Vec<_> = objects.into_iter().map(|object| of.put_async(object)).collect();
                for pending in pending {
                    pending.wait()?;
                }
                Ok(())
            };
            Ok(nanos_each(cost(run)?.0.cpu, QUEUED))
        },
        || {
            let directory = settings.directory()?;
            let store = open::<Plain>(directory.path())?;
            let of = store.boxed::<Plain>()?;
            let mut objects = objects::<Plain>(QUEUED);
            Ok(nanos_each(cost(|| Ok(of.put_many(&mut objects)?))?.0.cpu, QUEUED))
        },
    )?;
    let subject = Subject { objects: QUEUED as u64, ..subject(settings, "put_async against put_many", 1.3) };
    Ok(Row::new(subject, &pairs))
}
