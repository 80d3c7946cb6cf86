//! What is measured with: objects of seven fields, the id among them, and the cities of the world.

use anyhow::{Context, ensure};
use flate2::read::GzDecoder;
use reconvene_store::{Date, Entity};

/// What all objects of seven fields have beside their id.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Values {
    pub(crate) text: String,
    pub(crate) int: i32,
    pub(crate) long: i64,
    pub(crate) double: f64,
    pub(crate) flag: bool,
    pub(crate) date: i64,
}

impl Values {
    /// The values of the object at this place: text of 20 characters and numbers, both in no order and each only once.
    pub(crate) fn at(place: usize) -> Values {
        // Multiplying by an odd number permutes the 32-bit numbers; this one scatters neighbours.
        let scattered = u32::try_from(place).unwrap_or(u32::MAX).wrapping_mul(2_654_435_769);
        Values {
            text: format!("{scattered:010} an object"),
            int: scattered.cast_signed(),
            long: i64::from(scattered) << 20,
            double: f64::from(scattered) / 7.0,
            flag: scattered & 1 == 1,
            date: 1_700_000_000_000 + place as i64,
        }
    }
}

/// An entity that has these values.
pub(crate) trait SevenFields: Entity {
    /// An object that was never put.
    fn of(values: Values) -> Self;
}

macro_rules! seven_fields {
    ($(#[$entity:meta])* $name:ident $(, #[$index:meta])?) => {
        #[derive(Entity, Clone, Debug, Default, PartialEq)]
        $(#[$entity])*
        pub(crate) struct $name {
            pub(crate) id: u64,
            $(#[$index])?
            pub(crate) text: String,
            $(#[$index])?
            pub(crate) int: i32,
            pub(crate) long: i64,
            pub(crate) double: f64,
            pub(crate) flag: bool,
            pub(crate) date: Date,
        }

        impl SevenFields for $name {
            fn of(values: Values) -> Self {
                let Values { text, int, long, double, flag, date } = values;
                $name { id: 0, text, int, long, double, flag, date: Date(date) }
            }
        }
    };
}

seven_fields!(
    /// Local, without an index.
    #[entity(crate = "reconvene_store")]
    Plain
);
seven_fields!(
    /// Local, with an index of text and one of numbers.
    #[entity(crate = "reconvene_store")]
    Indexed,
    #[index]
);
seven_fields!(
    /// Synced, without an index.
    #[entity(sync, crate = "reconvene_store")]
    Synced
);

/// This many objects that were never put.
pub(crate) fn objects<T: SevenFields>(count: usize) -> Vec<T> {
    (0..count).map(|place| T::of(Values::at(place))).collect()
}

/// The numbers from 1, in an order without sense but the same each time.
pub(crate) fn shuffled_ids(count: usize) -> Vec<u64> {
    let mut ids: Vec<u64> = (1..=count as u64).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for at in (1..ids.len()).rev() {
        // xorshift64: enough to leave no order.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ids.swap(at, (state % (at as u64 + 1)) as usize);
    }
    ids
}

/// A populated place.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, crate = "reconvene_store")]
pub(crate) struct City {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) latitude: f64,
    pub(crate) longitude: f64,
    pub(crate) country: String,
    pub(crate) region: Option<String>,
    pub(crate) district: Option<String>,
}

/// An object of about 1 KB with a number to change.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, crate = "reconvene_store")]
pub(crate) struct Large {
    pub(crate) id: u64,
    pub(crate) body: String,
    pub(crate) number: i64,
}

const CITIES: &[u8] = include_bytes!("../../../fixtures/cities.csv.gz");

/// The first `count` cities of `fixtures/cities.csv.gz`; after its last it begins anew.
pub(crate) fn cities(count: usize) -> anyhow::Result<Vec<City>> {
    let mut cities = Vec::with_capacity(count);
    while cities.len() < count {
        let before = cities.len();
        let mut rows = csv::Reader::from_reader(GzDecoder::new(CITIES));
        let mut row = csv::StringRecord::new();
        while cities.len() < count && rows.read_record(&mut row)? {
            cities.push(city(&row).with_context(|| format!("row {} of cities.csv.gz", cities.len() + 1))?);
        }
        ensure!(cities.len() > before, "fixtures/cities.csv.gz has no rows");
    }
    Ok(cities)
}

fn city(row: &csv::StringRecord) -> anyhow::Result<City> {
    let text = |column: usize| row.get(column).context("it has too few columns").map(str::to_owned);
    let code = |column| text(column).map(|code| Some(code).filter(|code| !code.is_empty()));
    Ok(City {
        id: 0,
        name: text(0)?,
        latitude: text(1)?.parse()?,
        longitude: text(2)?.parse()?,
        country: text(3)?,
        region: code(4)?,
        district: code(5)?,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn objects_differ_in_text_and_number() {
        let objects = objects::<Plain>(10_000);
        assert!(objects.iter().all(|object| object.text.len() == 20));
        assert_eq!(objects.iter().map(|object| &object.text).collect::<HashSet<_>>().len(), 10_000);
        assert_eq!(objects.iter().map(|object| object.int).collect::<HashSet<_>>().len(), 10_000);
    }

    #[test]
    fn shuffled_ids_are_all_there() {
        let mut ids = shuffled_ids(1000);
        assert!(!ids.is_sorted());
        ids.sort_unstable();
        assert!(ids.into_iter().eq(1..=1000));
    }

    #[test]
    fn cities_go_round() {
        let cities = cities(3).unwrap();
        assert_eq!((cities[0].name.as_str(), cities[0].country.as_str()), ("Vila", "AD"));
        assert_eq!((cities[0].region.as_deref(), cities[0].district.as_deref()), (Some("03"), None));
    }
}
