//! The data: the populated places of the GeoNames gazetteer, and what the demo does with them.

use anyhow::{Context, ensure};
use flate2::read::GzDecoder;
use reconvene::{Entity, ToOne};

/// How many cities the file holds.
pub(crate) const CITIES: usize = 171_075;

/// Within the program, so that it runs from any directory.
const FILE: &[u8] = include_bytes!("../../../../fixtures/cities.csv.gz");

/// A populated place.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync)]
pub(crate) struct City {
    pub(crate) id: u64,
    pub(crate) name: String,
    /// In degrees, north is positive.
    pub(crate) latitude: f64,
    /// In degrees, east is positive.
    pub(crate) longitude: f64,
    /// Two letters, ISO 3166.
    pub(crate) country: String,
    /// Code of the first administrative division.
    pub(crate) region: Option<String>,
    /// Code of the second administrative division.
    pub(crate) district: Option<String>,
    /// What somebody thinks of it.
    pub(crate) rating: Option<u8>,
    /// What somebody wants to remember.
    pub(crate) note: Option<String>,
}

/// A shop in a city.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync)]
pub(crate) struct Shop {
    pub(crate) id: u64,
    pub(crate) name: String,
    /// No two shops have the same.
    #[unique]
    pub(crate) code: Option<String>,
    pub(crate) city: ToOne<City>,
}

/// The first `count` cities of the file.
pub(crate) fn read(count: usize) -> anyhow::Result<Vec<City>> {
    let mut rows = csv::Reader::from_reader(GzDecoder::new(FILE));
    let columns = rows.headers()?.iter().eq(["name", "lat", "lng", "country", "admin1", "admin2"]);
    ensure!(columns, "the columns of fixtures/cities.csv.gz are not those that the demo knows");
    let mut cities = Vec::with_capacity(count);
    let mut row = csv::StringRecord::new();
    while cities.len() < count && rows.read_record(&mut row)? {
        cities
            .push(city(&row).with_context(|| format!("row {} of fixtures/cities.csv.gz", cities.len() + 1))?);
    }
    ensure!(cities.len() == count, "fixtures/cities.csv.gz ends after {} cities", cities.len());
    Ok(cities)
}

fn city(row: &csv::StringRecord) -> anyhow::Result<City> {
    let text = |column: usize| row.get(column).context("it has too few columns");
    let code =
        |column| Ok::<_, anyhow::Error>(Some(text(column)?.to_owned()).filter(|code| !code.is_empty()));
    Ok(City {
        name: text(0)?.to_owned(),
        latitude: text(1)?.parse()?,
        longitude: text(2)?.parse()?,
        country: text(3)?.to_owned(),
        region: code(4)?,
        district: code(5)?,
        ..City::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_the_cities_of_the_world() {
        let cities = read(CITIES).unwrap();
        assert_eq!((cities[0].name.as_str(), cities[0].country.as_str()), ("Vila", "AD"));
        assert_eq!((cities[0].region.as_deref(), cities[0].district.as_deref()), (Some("03"), None));
        assert!(cities.iter().any(|city| city.name.contains(',')), "quoted names");
        let on_earth = |city: &City| {
            city.latitude.abs() <= 90.0 && city.longitude.abs() <= 180.0 && city.country.len() == 2
        };
        assert!(cities.iter().all(on_earth));
        assert!(read(CITIES + 1).is_err());
        assert_eq!(read(10).unwrap(), cities[..10]);
    }
}
