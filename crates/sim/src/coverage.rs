//! What the runs came across: faults, verdicts, ends of sessions, and which concurrent ops met on one object.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use reconvene_model::PeerId;
use reconvene_model::change::OpKind;
use reconvene_protocol::Code;

use crate::audit::device::uid_of;
use crate::audit::truth::{Fate, Key, Truth, TxRecord};
use crate::scenario::{DevicePoint, ServerPoint};
use crate::schema::Kind;

/// Something that a user did, as far as its op alone does not show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Insert,
    Again,
    Set,
    SetWhole,
    PutStale,
    Code,
    Stage,
    Link,
    Remove,
}

/// What an op does to an object, for the table of pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// A new object.
    Insert,
    /// An object made again that was removed.
    Again,
    /// Some properties.
    Update,
    /// All properties.
    Whole,
    /// All properties, at a precedence.
    Ranked,
    /// All properties, of what stands by its arrival.
    Arrival,
    /// A form put back that was read earlier.
    Stale,
    /// A unique value.
    Unique,
    /// The object links to another one.
    Link,
    /// Another object is linked to this one.
    LinkedTo,
    /// The object is removed.
    Remove,
}

impl Class {
    /// All of them.
    pub const ALL: [Class; 11] = [
        Class::Insert,
        Class::Again,
        Class::Update,
        Class::Whole,
        Class::Ranked,
        Class::Arrival,
        Class::Stale,
        Class::Unique,
        Class::Link,
        Class::LinkedTo,
        Class::Remove,
    ];

    /// What the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Class::Insert => "insert",
            Class::Again => "again",
            Class::Update => "update",
            Class::Whole => "whole",
            Class::Ranked => "ranked",
            Class::Arrival => "arrival",
            Class::Stale => "stale",
            Class::Unique => "unique",
            Class::Link => "link",
            Class::LinkedTo => "linked",
            Class::Remove => "remove",
        }
    }

    /// Whether two devices can do both to one thing at the same time.
    ///
    /// Each policy has an entity of its own; only settings and reports are inserted by several devices, and have no links, unique
    /// values or forms.
    pub fn can_meet(self, other: Class) -> bool {
        use Class::*;
        let entities = |class: Class| -> &'static [Kind] {
            match class {
                Insert => &[Kind::Setting, Kind::Report],
                Again => &[Kind::Setting, Kind::Form, Kind::Sale, Kind::Report],
                Update => &[Kind::Folder, Kind::Note, Kind::Setting],
                Whole => &[Kind::Form],
                Ranked => &[Kind::Sale],
                Arrival => &[Kind::Report],
                Stale | Link => &[Kind::Note],
                Unique => &[Kind::Note],
                LinkedTo => &[Kind::Folder],
                Remove => &Kind::ALL,
            }
        };
        entities(self).iter().any(|kind| entities(other).contains(kind))
    }
}

/// Something that ops of two devices can be about at the same time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    Object(Key),
    /// A unique value, whoever holds it.
    Code(Rc<[u8]>),
}

#[derive(Debug)]
struct Entry {
    class: Class,
    peer: PeerId,
    number: u64,
    /// Up to where its author had seen the history.
    saw: u64,
}

/// What one run, or many, came across.
#[derive(Debug, Default)]
pub struct Coverage {
    /// How often each fault happened.
    pub faults: BTreeMap<&'static str, u64>,
    /// How often each verdict was given.
    pub verdicts: BTreeMap<String, u64>,
    /// How often sessions ended with each code, as devices saw it.
    pub closed: BTreeMap<&'static str, u64>,
    /// How often two concurrent ops met on one object.
    pub pairs: BTreeMap<(Class, Class), u64>,
    /// What users committed.
    pub deeds: u64,
    /// How many transactions that was.
    pub txs: u64,
    /// How many objects the servers' histories hold, positions counted.
    pub positions: u64,
    entries: HashMap<Place, Vec<Entry>>,
}

impl Coverage {
    pub(crate) fn fault(&mut self, name: &'static str) {
        *self.faults.entry(name).or_default() += 1;
    }

    pub(crate) fn closed(&mut self, code: Code) {
        *self.closed.entry(code.name()).or_default() += 1;
    }

    pub(crate) fn verdict(&mut self, fate: &Fate) {
        let name = match fate {
            Fate::Accepted { lost, .. } if lost.is_empty() => "accepted".to_owned(),
            Fate::Accepted { .. } => "accepted in part".to_owned(),
            Fate::Refused { code, .. } => format!("refused: {}", code.name()),
            Fate::Superseded { .. } => "superseded".to_owned(),
            Fate::Lost { .. } => "lost".to_owned(),
        };
        *self.verdicts.entry(name).or_default() += 1;
    }

    pub(crate) fn committed(&mut self, tx: &TxRecord, saw: u64, deeds: &[Deed]) {
        self.deeds += deeds.len() as u64;
        self.txs += 1;
        let mut note = |place: Place, class: Class| {
            let entry = Entry { class, peer: tx.peer, number: tx.number, saw };
            self.entries.entry(place).or_default().push(entry);
        };
        for op in &tx.ops {
            let object = Place::Object(op.key);
            let of_note = |name| (op.key.kind == Kind::Note).then(|| uid_of(Kind::Note, name));
            let written = |name| {
                let uid = of_note(name)?;
                op.cells.iter().find(|(known, _)| *known == uid).map(|(_, cell)| cell.clone())
            };
            if let Some(Some(code)) = written("code") {
                note(Place::Code(code), Class::Unique);
            }
            if let Some(Some(target)) = written("folder")
                && let Ok(target) = <[u8; 16]>::try_from(&target[..])
            {
                let gid = reconvene_model::GlobalId::from_bytes(target);
                note(Place::Object(Key { kind: Kind::Folder, gid }), Class::LinkedTo);
            }
            let class = match op.kind {
                OpKind::Insert if op.generation > 0 => Class::Again,
                OpKind::Insert => Class::Insert,
                OpKind::Remove => Class::Remove,
                OpKind::Update if op.key.kind == Kind::Sale => Class::Ranked,
                OpKind::Update if op.key.kind == Kind::Report => Class::Arrival,
                OpKind::Update if op.key.kind.writes_whole() => Class::Whole,
                OpKind::Update if deeds.contains(&Deed::PutStale) => Class::Stale,
                OpKind::Update if written("code").is_some() => Class::Unique,
                OpKind::Update if written("folder").is_some() => Class::Link,
                OpKind::Update => Class::Update,
            };
            note(object, class);
        }
    }

    /// Forgets a transaction that its author has left out.
    pub(crate) fn left_out(&mut self, peer: PeerId, number: u64) {
        self.txs -= 1;
        for entries in self.entries.values_mut() {
            entries.retain(|entry| (entry.peer, entry.number) != (peer, number));
        }
    }

    /// Counts which ops met: neither author had seen the other's.
    pub(crate) fn count_pairs(&mut self, truth: &Truth) {
        for entries in std::mem::take(&mut self.entries).into_values() {
            let seqs: Vec<u64> = entries
                .iter()
                .map(|entry| {
                    match truth.decided(entry.peer).get(entry.number as usize - 1).map(|d| &d.fate) {
                        Some(Fate::Accepted { seq, .. }) => *seq,
                        _ => u64::MAX,
                    }
                })
                .collect();
            for (at, one) in entries.iter().enumerate() {
                for (other_at, other) in entries.iter().enumerate().skip(at + 1) {
                    if one.peer != other.peer && seqs[at] > other.saw && seqs[other_at] > one.saw {
                        let pair = (one.class.min(other.class), one.class.max(other.class));
                        *self.pairs.entry(pair).or_default() += 1;
                    }
                }
            }
        }
    }

    /// Adds what another run came across.
    pub fn add(&mut self, other: Coverage) {
        for (name, count) in other.faults {
            *self.faults.entry(name).or_default() += count;
        }
        for (name, count) in other.verdicts {
            *self.verdicts.entry(name).or_default() += count;
        }
        for (name, count) in other.closed {
            *self.closed.entry(name).or_default() += count;
        }
        for (pair, count) in other.pairs {
            *self.pairs.entry(pair).or_default() += count;
        }
        self.deeds += other.deeds;
        self.txs += other.txs;
        self.positions += other.positions;
    }

    /// The points at which nothing has crashed yet.
    pub fn points_missed(&self) -> Vec<&'static str> {
        let points = DevicePoint::ALL.iter().map(|point| point.name());
        let points = points.chain(ServerPoint::ALL.iter().map(|point| point.name()));
        points.filter(|point| !self.faults.contains_key(point)).collect()
    }

    /// The pairs that can meet and have met fewer than this many times.
    pub fn pairs_below(&self, least: u64) -> Vec<(Class, Class, u64)> {
        let mut below = Vec::new();
        for (at, &one) in Class::ALL.iter().enumerate() {
            for &other in &Class::ALL[at..] {
                let count = self.pairs.get(&(one, other)).copied().unwrap_or(0);
                if one.can_meet(other) && count < least {
                    below.push((one, other, count));
                }
            }
        }
        below
    }

    /// The tables, for people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut list = |title: &str, counts: &mut dyn Iterator<Item = (&str, u64)>| {
            text.push_str(title);
            text.push('\n');
            for (name, count) in counts {
                text.push_str(&format!("  {count:>9}  {name}\n"));
            }
        };
        list("faults", &mut self.faults.iter().map(|(name, count)| (*name, *count)));
        list("verdicts", &mut self.verdicts.iter().map(|(name, count)| (name.as_str(), *count)));
        list("ends of sessions", &mut self.closed.iter().map(|(name, count)| (*name, *count)));
        text.push_str("concurrent ops that met\n          ");
        for class in Class::ALL {
            text.push_str(&format!("{:>9}", class.name()));
        }
        text.push('\n');
        for (at, one) in Class::ALL.iter().enumerate() {
            text.push_str(&format!("  {:<8}{}", one.name(), " ".repeat(9 * at)));
            for other in &Class::ALL[at..] {
                match self.pairs.get(&(*one, *other)) {
                    Some(count) => text.push_str(&format!("{count:>9}")),
                    None if one.can_meet(*other) => text.push_str("        0"),
                    None => text.push_str("        -"),
                }
            }
            text.push('\n');
        }
        text
    }
}
