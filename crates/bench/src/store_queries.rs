//! Rows of the suite of the store about queries: by index, made anew and prepared, and scans with a condition.

use std::hint::black_box;

use anyhow::{Context, ensure};
use reconvene_store::{EntityBox, param};

use crate::Settings;
use crate::data::{Indexed, SevenFields, Values, shuffled_ids};
use crate::floor::FloorBox;
use crate::measure::{Row, cost, nanos_each, pairs};
use crate::store::subject;

/// How often a scan is repeated; one is too short to be measured alone.
const SCANS: usize = 10;

/// All rows, on a store and a floor with the same objects.
pub(crate) fn rows(
    settings: &Settings,
    of: &EntityBox<Indexed>,
    floor: &FloorBox,
) -> anyhow::Result<Vec<Row>> {
    let values = |id: u64| Values::at(usize::try_from(id - 1).unwrap_or(0));
    let wanted: Vec<Values> = shuffled_ids(settings.objects).into_iter().map(values).collect();
    let count = wanted.len();
    // Each query finds one object, so that as many are found as are looked for.
    let of_all = |find: &mut dyn FnMut(&Values) -> anyhow::Result<usize>| {
        let (cost, found) = cost(|| wanted.iter().map(find).sum::<anyhow::Result<usize>>())?;
        ensure!(found == count, "{found} objects of {count} were found");
        Ok(nanos_each(cost.cpu, count))
    };
    let by_int = |wanted: &Values| Ok(black_box(floor.with_int(wanted.int)?).len());
    let by_text = |wanted: &Values| Ok(black_box(floor.with_text(&wanted.text)?).len());

    let anew = pairs(
        settings.pairs,
        || of_all(&mut |wanted| Ok(black_box(of.query(Indexed::int().eq(wanted.int)).find()?).len())),
        || of_all(&mut |wanted| by_int(wanted)),
    )?;
    let mut query = of.query(Indexed::int().eq(param("int")));
    let int = pairs(
        settings.pairs,
        || of_all(&mut |wanted| Ok(black_box(query.set("int", wanted.int)?.find()?).len())),
        || of_all(&mut |wanted| by_int(wanted)),
    )?;
    let mut query = of.query(Indexed::text().eq(param("text")));
    let text = pairs(
        settings.pairs,
        || of_all(&mut |wanted| Ok(black_box(query.set("text", wanted.text.as_str())?.find()?).len())),
        || of_all(&mut |wanted| by_text(wanted)),
    )?;
    Ok(vec![
        Row::new(subject(settings, "indexed equality query", 1.3), &anew),
        Row::new(subject(settings, "indexed query, int, prepared", 1.2), &int),
        Row::new(subject(settings, "indexed query, string, prepared", 1.2), &text),
    ])
}

/// Scans for the few objects that meet a condition which no index answers.
pub(crate) fn scans<T: SevenFields>(
    settings: &Settings,
    of: &EntityBox<T>,
    conditions: [reconvene_store::Condition<T>; 2],
    floor: &FloorBox,
) -> anyhow::Result<Vec<Row>> {
    let count = settings.objects;
    let [by_int, by_text] = conditions.map(|condition| of.query(condition));
    let scan = |run: &dyn Fn() -> anyhow::Result<u64>| {
        let (cost, found) = cost(|| (0..SCANS).map(|_| run()).sum::<anyhow::Result<u64>>())?;
        black_box(found);
        Ok(nanos_each(cost.cpu, count * SCANS))
    };
    let floor_scan = |meets: &dyn Fn(&[u8]) -> Option<bool>| {
        let txn = floor.floor.read()?;
        let mut found = 0;
        for entry in floor.objects.iter(&txn)? {
            found += u64::from(meets(entry?.1).context("a record of seven fields")?);
        }
        Ok(found)
    };
    let int = pairs(
        settings.pairs,
        || scan(&|| Ok(by_int.count()?)),
        || scan(&|| floor_scan(&|record| Some(floor.shape.int(record)? < INT_BELOW))),
    )?;
    let text = pairs(
        settings.pairs,
        || scan(&|| Ok(by_text.count()?)),
        || scan(&|| floor_scan(&|record| Some(floor.shape.text(record)?.contains(TEXT_PART)))),
    )?;
    Ok(vec![
        Row::new(subject(settings, "scan, unindexed int", 1.3), &int),
        Row::new(subject(settings, "scan, string contains", 1.3), &text),
    ])
}

/// What one number in a thousand is below.
pub(crate) const INT_BELOW: i32 = i32::MIN + (u32::MAX / 1000) as i32;

/// What one text in a few hundred contains.
pub(crate) const TEXT_PART: &str = "777 an";
