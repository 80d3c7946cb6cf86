//! What both devices do while they cannot reach each other.
//!
//! A reconnects first, so that it is known which of two writes the server sees first.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use reconvene::{Store, ToOne};

use super::cities::{City, Shop};
use super::stage::{Device, Stage};

/// The longest name of a city that is chosen, so that the table stays narrow.
const NAME_BYTES_MAX: usize = 12;

/// How often the clock is looked at for the next millisecond.
const TICK: Duration = Duration::from_micros(200);

pub(crate) const RATING_OF_A: u8 = 5;
pub(crate) const NOTE_OF_B: &str = "good coffee";
pub(crate) const SAME_NOTE_OF_A: &str = "rains a lot";
pub(crate) const SAME_NOTE_OF_B: &str = "never rains";
pub(crate) const RATING_OF_REMOVED: u8 = 3;
pub(crate) const CODE: &str = "PIER-1";

/// The cities that are edited: one in different properties, one in the same, one that A removes while B edits it, and one
/// that A removes while B links to it.
pub(crate) const ROLES: usize = 4;
pub(crate) const DIFFERENT: usize = 0;
pub(crate) const SAME: usize = 1;
pub(crate) const REMOVED: usize = 2;
pub(crate) const LINKED: usize = 3;

/// The cities of the scenes, as each store knows them.
pub(crate) struct Scenes {
    pub(crate) names: [String; ROLES],
    pub(crate) on_a: [u64; ROLES],
    pub(crate) on_b: [u64; ROLES],
    pub(crate) on_server: [u64; ROLES],
    pub(crate) b_is_later: bool,
}

/// What was done, for it to be judged.
pub(crate) struct Played {
    pub(crate) scenes: Scenes,
    /// The local ids that the first shop of A and the first shop of B got.
    pub(crate) first_shops: [u64; 2],
}

impl Scenes {
    /// Chooses cities with short names of their own and finds them in each store.
    pub(crate) fn choose(stage: &Stage, cities: &[City], seed: u64) -> anyhow::Result<Scenes> {
        let mut random = Random(seed);
        let chosen = choose(cities, &mut random)?;
        Ok(Scenes {
            names: chosen.map(|city| city.name.clone()),
            on_a: chosen.map(|city| city.id),
            on_b: locate(&stage.b.store, &chosen)?,
            on_server: locate(&stage.server, &chosen)?,
            b_is_later: random.below(2) == 1,
        })
    }

    /// Lets both devices write.
    pub(crate) fn play(self, stage: &Stage) -> anyhow::Result<Played> {
        let (cities_a, cities_b) = (stage.a.store.boxed::<City>()?, stage.b.store.boxed::<City>()?);
        cities_a.update(self.on_a[DIFFERENT], |city| city.rating = Some(RATING_OF_A))?;
        cities_b.update(self.on_b[DIFFERENT], |city| city.note = Some(NOTE_OF_B.to_owned()))?;

        let write_a = || cities_a.update(self.on_a[SAME], |city| city.note = Some(SAME_NOTE_OF_A.to_owned()));
        let write_b = || cities_b.update(self.on_b[SAME], |city| city.note = Some(SAME_NOTE_OF_B.to_owned()));
        if self.b_is_later {
            write_a()?;
            next_millisecond(&stage.a);
            write_b()?;
        } else {
            write_b()?;
            next_millisecond(&stage.b);
            write_a()?;
        }

        cities_a.remove(self.on_a[REMOVED])?;
        cities_b.update(self.on_b[REMOVED], |city| city.rating = Some(RATING_OF_REMOVED))?;

        let (shops_a, shops_b) = (stage.a.store.boxed::<Shop>()?, stage.b.store.boxed::<Shop>()?);
        let first_shops = [
            shops_a.put(&mut shop("Kiosk", self.on_a[DIFFERENT], None))?,
            shops_b.put(&mut shop("Bakery", self.on_b[DIFFERENT], None))?,
        ];

        cities_a.remove(self.on_a[LINKED])?;
        shops_b.put(&mut shop("Museum", self.on_b[LINKED], None))?;

        shops_a.put(&mut shop("North Pier", self.on_a[SAME], Some(CODE)))?;
        shops_b.put(&mut shop("South Pier", self.on_b[SAME], Some(CODE)))?;
        Ok(Played { scenes: self, first_shops })
    }
}

fn shop(name: &str, city: u64, code: Option<&str>) -> Shop {
    Shop { id: 0, name: name.to_owned(), code: code.map(str::to_owned), city: ToOne::new(city) }
}

fn choose<'c>(cities: &'c [City], random: &mut Random) -> anyhow::Result<[&'c City; ROLES]> {
    let mut times: HashMap<&str, u32> = HashMap::new();
    for city in cities {
        *times.entry(&city.name).or_default() += 1;
    }
    let is_plain =
        |name: &str| name.len() <= NAME_BYTES_MAX && name.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_fit = |city: &&City| is_plain(&city.name) && times[city.name.as_str()] == 1;
    let mut fit: Vec<&City> = cities.iter().filter(is_fit).collect();
    ensure!(fit.len() >= ROLES, "too few of the cities have short names; import more");
    Ok(std::array::from_fn(|_| fit.swap_remove(random.below(fit.len()))))
}

/// The ids that a store has for cities of which no two have the same name.
fn locate(store: &Store, chosen: &[&City; ROLES]) -> anyhow::Result<[u64; ROLES]> {
    let mut found = [0; ROLES];
    for city in store.boxed::<City>()?.all()? {
        if let Some(at) = chosen.iter().position(|chosen| chosen.name == city.name) {
            found[at] = city.id;
        }
    }
    let missing = found.iter().position(|&id| id == 0);
    missing.map_or(Some(found), |_| None).context("a city that was imported is missing on another store")
}

/// Waits for the clock, so that what is written next has a later stamp on whichever device.
fn next_millisecond(device: &Device) {
    let before = device.store.now_ms();
    while device.store.now_ms() <= before {
        std::thread::sleep(TICK);
    }
}

/// SplitMix64: the same seed makes the same choices on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (bits % bound as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::super::cities;
    use super::*;

    #[test]
    fn a_seed_chooses_and_another_chooses_otherwise() {
        let cities = cities::read(2_000).unwrap();
        let choice = |seed| choose(&cities, &mut Random(seed)).unwrap().map(|city| &city.name);
        assert_eq!(choice(7), choice(7));
        assert_ne!(choice(7), choice(8));
        for seed in 0..50 {
            let mut names = choice(seed).to_vec();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), ROLES, "seed {seed}");
            assert!(names.iter().all(|name| cities.iter().filter(|city| city.name == **name).count() == 1));
        }
    }

    #[test]
    fn the_fewest_cities_that_are_allowed_are_enough() {
        let cities = cities::read(super::super::OBJECTS_MIN as usize).unwrap();
        choose(&cities, &mut Random(1)).unwrap();
    }

    #[test]
    fn later_is_decided_by_the_seed() {
        let later = |seed| {
            let mut random = Random(seed);
            choose(&cities::read(100).unwrap(), &mut random).unwrap();
            random.below(2) == 1
        };
        let b_is_later: Vec<bool> = (0..20).map(later).collect();
        assert!(b_is_later.contains(&true) && b_is_later.contains(&false));
    }
}
