//! What covers a whole store: updating, removing and counting all objects, the size of the file, and opening it.

use std::hint::black_box;
use std::path::Path;

use anyhow::{Context, ensure};
use heed::PutFlags;
use reconvene_store::Store;

use crate::Settings;
use crate::data::{Indexed, SevenFields, Values, objects};
use crate::floor::{FloorBox, LOCAL_HEAD, int_key, text_key};
use crate::measure::{Row, Subject, cost, nanos_each, pairs};

/// How often a thing is done that is too short to be measured alone.
const ROUNDS: usize = 10_000;

/// How often a store is opened.
const OPENINGS: usize = 20;

/// How many objects the small store has with which the opening of a large one is compared.
const FEW: usize = 1_000;

/// Rows of the suite of the store.
pub(crate) fn rows(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    Ok(vec![
        update_all(settings)?,
        remove_all(settings)?,
        count_all(settings)?,
        file_size(settings)?,
        open_large(settings)?,
    ])
}

fn subject(settings: &Settings, name: &'static str, unit: &'static str, target: f64) -> Subject {
    Subject {
        suite: "store",
        name,
        objects: settings.objects as u64,
        durability: "full",
        unit,
        target: Some(target),
    }
}

fn ours(directory: &Path, count: usize) -> anyhow::Result<Store> {
    let store = Store::builder(directory.join("ours")).entity::<Indexed>().open()?;
    store.boxed::<Indexed>()?.put_many(&mut objects::<Indexed>(count))?;
    Ok(store)
}

fn floor(directory: &Path, count: usize) -> anyhow::Result<FloorBox> {
    let floor = FloorBox::open::<Indexed>(directory, LOCAL_HEAD)?;
    floor.put_many(&(0..count).map(Values::at).collect::<Vec<_>>())?;
    Ok(floor)
}

/// Every object gets a text and a number that none had.
fn update_all(settings: &Settings) -> anyhow::Result<Row> {
    let count = settings.objects;
    let pairs = pairs(
        settings.pairs,
        || {
            let directory = settings.directory()?;
            let store = ours(directory.path(), count)?;
            let of = store.boxed::<Indexed>()?;
            let mut objects: Vec<Indexed> =
                (0..count).map(|at| Indexed::of(Values::at(count + at))).collect();
            objects.iter_mut().zip(1..).for_each(|(object, id)| object.id = id);
            Ok(nanos_each(cost(|| Ok(of.put_many(&mut objects)?))?.0.cpu, count))
        },
        || {
            let directory = settings.directory()?;
            let floor = floor(directory.path(), count)?;
            let values: Vec<Values> = (0..count).map(|at| Values::at(count + at)).collect();
            Ok(nanos_each(cost(|| floor.update_all(&values))?.0.cpu, count))
        },
    )?;
    Ok(Row::new(subject(settings, "update all, two indexes", "ns CPU", 1.2), &pairs))
}

fn remove_all(settings: &Settings) -> anyhow::Result<Row> {
    let count = settings.objects;
    let pairs = pairs(
        settings.pairs,
        || {
            let directory = settings.directory()?;
            let store = ours(directory.path(), count)?;
            let of = store.boxed::<Indexed>()?;
            let (cost, removed) = cost(|| Ok(of.remove_all()?))?;
            ensure!(removed == count as u64, "{removed} objects of {count} were removed");
            Ok(nanos_each(cost.cpu, count))
        },
        || {
            let directory = settings.directory()?;
            let floor = floor(directory.path(), count)?;
            Ok(nanos_each(cost(|| floor.remove_all())?.0.cpu, count))
        },
    )?;
    Ok(Row::new(subject(settings, "remove all, two indexes", "ns CPU", 1.2), &pairs))
}

fn count_all(settings: &Settings) -> anyhow::Result<Row> {
    let directories = [settings.directory()?, settings.directory()?];
    let (store, floor) =
        (ours(directories[0].path(), settings.objects)?, floor(directories[1].path(), settings.objects)?);
    let of = store.boxed::<Indexed>()?;
    let pairs = pairs(
        settings.pairs,
        || {
            let run = || (0..ROUNDS).try_fold(0, |sum, _| Ok(sum + black_box(of.count()?)));
            Ok(nanos_each(cost(run)?.0.cpu, ROUNDS))
        },
        || {
            let count = || {
                let txn = floor.floor.read()?;
                Ok::<_, anyhow::Error>(black_box(floor.objects.len(&txn)?))
            };
            let run = || (0..ROUNDS).try_fold(0, |sum, _| Ok(sum + count()?));
            Ok(nanos_each(cost(run)?.0.cpu, ROUNDS))
        },
    )?;
    Ok(Row::new(subject(settings, "count of all", "ns CPU", 1.5), &pairs))
}

fn file_size(settings: &Settings) -> anyhow::Result<Row> {
    let bytes =
        |file: &Path| Ok(std::fs::metadata(file).with_context(|| file.display().to_string())?.len() as f64);
    let pairs = pairs(
        1,
        || {
            let directory = settings.directory()?;
            drop(ours(directory.path(), settings.objects)?);
            bytes(&directory.path().join("ours").join(Store::DATA_FILE))
        },
        || {
            let directory = settings.directory()?;
            drop(floor(directory.path(), settings.objects)?);
            bytes(&directory.path().join("data.mdb"))
        },
    )?;
    Ok(Row::new(subject(settings, "file size, two indexes", "bytes", 1.1), &pairs))
}

/// Opening does not depend on what there is; the floor is a store of few objects.
fn open_large(settings: &Settings) -> anyhow::Result<Row> {
    let directories = [settings.directory()?, settings.directory()?];
    drop(ours(directories[0].path(), settings.objects)?);
    drop(ours(directories[1].path(), FEW)?);
    let open = |directory: &Path| {
        let run = || {
            for _ in 0..OPENINGS {
                drop(black_box(Store::builder(directory.join("ours")).entity::<Indexed>().open()?));
            }
            Ok(())
        };
        Ok(nanos_each(cost(run)?.0.wall, OPENINGS) / 1000.0)
    };
    let pairs = pairs(settings.pairs, || open(directories[0].path()), || open(directories[1].path()))?;
    Ok(Row::new(subject(settings, "open, against 1,000 objects", "us", 1.5), &pairs))
}

impl FloorBox {
    /// Writes these values over those of all objects, and moves their index entries in key order, in one durable transaction.
    fn update_all(&self, objects: &[Values]) -> anyhow::Result<()> {
        let mut txn = self.floor.write_txn()?;
        let mut record = Vec::new();
        let (mut texts, mut ints) =
            (Vec::with_capacity(2 * objects.len()), Vec::with_capacity(2 * objects.len()));
        for (values, id) in objects.iter().zip(1_u64..) {
            let old = self.objects.get(&txn, &id.to_be_bytes())?.context("it was put")?;
            let old = self.shape.decode(old).context("a record of seven fields")?;
            record.clear();
            self.shape.encode(values, &mut record);
            self.objects.put(&mut txn, &id.to_be_bytes(), &record)?;
            texts.extend([(text_key(&old.text, id)?, false), (text_key(&values.text, id)?, true)]);
            ints.extend([(int_key(old.int, id), false), (int_key(values.int, id), true)]);
        }
        texts.sort_unstable();
        ints.sort_unstable();
        let texts = texts.iter().map(|(key, is_new)| (self.indexes[0], &key[..], *is_new));
        let ints = ints.iter().map(|(key, is_new)| (self.indexes[1], &key[..], *is_new));
        for (table, key, is_new) in texts.chain(ints) {
            if is_new {
                table.put_with_flags(&mut txn, PutFlags::empty(), key, &[])?;
            } else {
                table.delete(&mut txn, key)?;
            }
        }
        Ok(txn.commit()?)
    }

    /// Removes all objects one by one, and their index entries in key order, in one durable transaction.
    fn remove_all(&self) -> anyhow::Result<()> {
        let mut txn = self.floor.write_txn()?;
        let (mut ids, mut texts, mut ints) = (Vec::new(), Vec::new(), Vec::new());
        for entry in self.objects.iter(&txn)? {
            let (key, record) = entry?;
            let id = u64::from_be_bytes(key.try_into()?);
            let values = self.shape.decode(record).context("a record of seven fields")?;
            ids.push(id);
            texts.push(text_key(&values.text, id)?);
            ints.push(int_key(values.int, id));
        }
        texts.sort_unstable();
        ints.sort_unstable();
        for id in ids {
            self.objects.delete(&mut txn, &id.to_be_bytes())?;
        }
        for key in texts {
            self.indexes[0].delete(&mut txn, &key)?;
        }
        for key in ints {
            self.indexes[1].delete(&mut txn, &key)?;
        }
        Ok(txn.commit()?)
    }
}
