//! What devices write, and how each transaction tells what it does.

use reconvene::{Entity, Result, Store};
use serde::{Deserialize, Serialize};

/// Something that devices insert, change and remove.
#[derive(Entity, Clone, Debug, Default)]
#[entity(sync)]
pub(crate) struct Item {
    pub(crate) id: u64,
    /// Names the transaction that inserted it, and no other object has it.
    pub(crate) name: String,
    /// The tag of the transaction that wrote it last.
    pub(crate) by: String,
    /// What the devices quarrel about: the server refuses the second one who takes a code.
    #[unique]
    pub(crate) code: Option<String>,
}

/// What every transaction leaves behind, in the same commit and for good.
#[derive(Entity, Clone, Debug, Default)]
#[entity(sync)]
pub(crate) struct Receipt {
    pub(crate) id: u64,
    pub(crate) tag: String,
    /// The [`Fact`] as JSON.
    pub(crate) fact: String,
}

/// What a transaction did, by the names of items.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fact {
    /// Its number among those of its device.
    pub(crate) number: u64,
    pub(crate) inserted: Vec<String>,
    pub(crate) updated: Vec<String>,
    pub(crate) removed: Vec<String>,
}

/// A line in the notes of a device.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Note {
    /// A commit has returned.
    Committed(Fact),
    /// The server has decided on everything, and nothing more is written.
    Uploaded,
    /// All that the server has is here; the store is closed.
    Ended,
}

/// About how many items there are at a time.
const ITEMS: usize = 60;

/// How many codes there are: so few that both devices often take the same one.
const CODES: u64 = 5;

/// What a transaction is called in what it writes.
pub(crate) fn tag(device: usize, number: u64) -> String {
    format!("{}{number}", ["a", "b"][device])
}

/// Commits the transaction of this number; the number and what is visible decide what it does.
pub(crate) fn transact(store: &Store, device: usize, number: u64) -> Result<Fact> {
    let mut random = Random::new(number << 1 | device as u64);
    let tag = tag(device, number);
    store.write(|tx| {
        let mut items = tx.all::<Item>()?;
        let mut fact = Fact { number, ..Fact::default() };
        // Claims stand alone, because what builds on a refused insert is refused as well, and most transactions are to live.
        let claim = (random.below(4) == 0).then(|| format!("code {}", random.below(CODES)));
        let inserts = if claim.is_some() { 1 } else { 1 + random.below(4) };
        let (removes, updates) = match claim {
            Some(_) => (0, 0),
            None if items.len() > ITEMS => (inserts + 1, random.below(4)),
            None => (random.below(2), random.below(4)),
        };
        // Whoever has the code makes room, in the same transaction. Two may have it: until the server has refused the second
        // one, its own device shows both.
        for holder in items.extract_if(.., |item| claim.is_some() && item.code == claim) {
            tx.remove::<Item>(holder.id)?;
            fact.removed.push(holder.name.clone());
        }
        for part in 0..inserts {
            let name = format!("{tag}.{part}");
            tx.put(&mut Item { id: 0, name: name.clone(), by: tag.clone(), code: claim.clone() })?;
            fact.inserted.push(name);
        }
        for nth in 0..removes + updates {
            if items.is_empty() {
                break;
            }
            let mut item = items.swap_remove(random.below(items.len() as u64) as usize);
            if nth < removes {
                tx.remove::<Item>(item.id)?;
                fact.removed.push(item.name.clone());
            } else {
                item.by.clone_from(&tag);
                tx.put(&mut item)?;
                fact.updated.push(item.name.clone());
            }
        }
        let text = serde_json::to_string(&fact).expect("a fact is plain data");
        tx.put(&mut Receipt { id: 0, tag: tag.clone(), fact: text })?;
        Ok(fact)
    })
}

/// Numbers that a seed decides.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// Any number below `end`; 0 if there is none.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // SplitMix64: each step goes through all states, and neighbouring seeds have nothing in common.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)).checked_rem(end).unwrap_or(0)
    }

    pub(crate) fn shuffled<T>(&mut self, mut list: Vec<T>) -> Vec<T> {
        for end in (2..=list.len()).rev() {
            list.swap(end - 1, self.below(end as u64) as usize);
        }
        list
    }
}
