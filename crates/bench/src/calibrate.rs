//! How the floor compares with a plain file and with a tree in memory, so that a slow floor is noticed.

use std::collections::BTreeMap;
use std::fs::File;
use std::hint::black_box;
use std::io::{BufWriter, Write};

use anyhow::Context;

use crate::Settings;
use crate::data::{Plain, Values, shuffled_ids};
use crate::floor::{FloorBox, LOCAL_HEAD, Shape};
use crate::measure::{Row, Subject, cost, nanos_each, pairs};

/// How many times the expected ratio the floor may be.
const SLACK: f64 = 1.25;

/// What the floor took where it was first measured, in times of what it is compared with: 255 ns for a bulk put against 131 ns
/// for appending to a file with one flush, both with 76 ns for encoding a record, which is left out here on both sides
/// because it takes another time each time; and for gets and scans what a `BTreeMap` takes.
const PUT_AGAINST_FILE: f64 = (255.0 - 76.0) / (131.0 - 76.0);
const GET_AGAINST_TREE: f64 = 1.0;
const SCAN_AGAINST_TREE: f64 = 25.0 / 26.0;

/// Compares; "ours" of each row is the floor.
pub(crate) fn run(settings: &Settings, suite: &'static str) -> anyhow::Result<Vec<Row>> {
    let count = settings.objects;
    let values: Vec<Values> = (0..count).map(Values::at).collect();
    let subject = |name, expected: f64| Subject {
        suite,
        name,
        objects: count as u64,
        durability: "full",
        unit: "ns CPU",
        target: Some(expected * SLACK),
    };
    let shape = Shape::of::<Plain>(LOCAL_HEAD)?;
    let encoded = |values: &Values| {
        let mut record = Vec::new();
        shape.encode(values, &mut record);
        record
    };
    let records: Vec<Vec<u8>> = values.iter().map(encoded).collect();
    let put = pairs(
        settings.pairs,
        || {
            let directory = settings.directory()?;
            let floor = FloorBox::open::<Plain>(directory.path(), LOCAL_HEAD)?;
            Ok(nanos_each(cost(|| floor.put_records(&records))?.0.cpu, count))
        },
        || {
            let directory = settings.directory()?;
            let mut file = BufWriter::new(File::create(directory.path().join("file"))?);
            let run = || {
                for record in &records {
                    file.write_all(record)?;
                }
                file.flush()?;
                Ok(file.get_ref().sync_all()?)
            };
            Ok(nanos_each(cost(run)?.0.cpu, count))
        },
    )?;

    let directory = settings.directory()?;
    let floor = FloorBox::open::<Plain>(directory.path(), LOCAL_HEAD)?;
    floor.put_many(&values)?;
    let mut tree: BTreeMap<[u8; 8], Vec<u8>> = BTreeMap::new();
    for (record, id) in records.into_iter().zip(1_u64..) {
        tree.insert(id.to_be_bytes(), record);
    }
    let ids = shuffled_ids(count);
    let get = pairs(
        settings.pairs,
        || {
            let run = || {
                let txn = floor.floor.read()?;
                for id in &ids {
                    let record = floor.objects.get(&txn, &id.to_be_bytes())?.context("it was put")?;
                    black_box(floor.shape.int(record));
                }
                Ok(())
            };
            Ok(nanos_each(cost(run)?.0.cpu, count))
        },
        || {
            let run = || {
                for id in &ids {
                    let record = tree.get(&id.to_be_bytes()).context("it was put")?;
                    black_box(floor.shape.int(record));
                }
                Ok(())
            };
            Ok(nanos_each(cost(run)?.0.cpu, count))
        },
    )?;
    let rounds = 10;
    let scan = pairs(
        settings.pairs,
        || {
            let run = || {
                for _ in 0..rounds {
                    let txn = floor.floor.read()?;
                    for entry in floor.objects.iter(&txn)? {
                        black_box(floor.shape.int(entry?.1));
                    }
                }
                Ok(())
            };
            Ok(nanos_each(cost(run)?.0.cpu, count * rounds))
        },
        || {
            let run = || {
                for _ in 0..rounds {
                    for record in tree.values() {
                        black_box(floor.shape.int(record));
                    }
                }
                Ok(())
            };
            Ok(nanos_each(cost(run)?.0.cpu, count * rounds))
        },
    )?;
    Ok(vec![
        Row::new(subject("floor: bulk put against append and fsync", PUT_AGAINST_FILE), &put),
        Row::new(subject("floor: get against BTreeMap", GET_AGAINST_TREE), &get),
        Row::new(subject("floor: scan against BTreeMap", SCAN_AGAINST_TREE), &scan),
    ])
}
