//! The entity that is queried, with different sets of indexes, and values as the tests see them.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use reconvene_expr::Literal;
use reconvene_store::{Date, Durability, Entity, Store, ToOne};

macro_rules! items {
    ($($module:ident { $($field:ident: $($attribute:ident)?;)+ })+) => {$(
        pub(crate) mod $module {
            use super::*;

            #[derive(Entity, Clone, Debug, Default, PartialEq)]
            #[entity(crate = "reconvene_store")]
            pub(crate) struct Item {
                pub(crate) id: u64,
                #[unique]
                pub(crate) serial: u32,
                $($(#[$attribute])? pub(crate) $field: items!(@ $field),)+
                pub(crate) plain: Option<String>,
                pub(crate) total: i64,
                pub(crate) tags: Vec<String>,
                pub(crate) numbers: Vec<i32>,
            }
        }
    )+};
    (@ flag) => { Option<bool> };
    (@ tiny) => { u8 };
    (@ big) => { Option<u64> };
    (@ int) => { i32 };
    (@ ratio) => { f32 };
    (@ weight) => { Option<f64> };
    (@ when) => { Option<Date> };
    (@ name) => { Option<String> };
    (@ parent) => { ToOne<Item> };
}

items! {
    all_indexes {
        flag: index; tiny: index; big: index; int: index; ratio: index; weight: index; when: index; name: index;
        parent: index;
    }
    some_indexes { flag: index; tiny: ; big: ; int: index; ratio: ; weight: ; when: index; name: ; parent: ; }
    other_indexes { flag: ; tiny: index; big: ; int: ; ratio: index; weight: ; when: ; name: index; parent: index; }
}

pub(crate) use all_indexes::Item;

impl From<Item> for some_indexes::Item {
    fn from(item: Item) -> Self {
        copy!(item, some_indexes::Item)
    }
}

impl From<Item> for other_indexes::Item {
    fn from(item: Item) -> Self {
        copy!(item, other_indexes::Item)
    }
}

macro_rules! copy {
    ($item:expr, $to:path) => {{
        let item = $item;
        let parent = ToOne::new(item.parent.id());
        let Item {
            id,
            serial,
            flag,
            tiny,
            big,
            int,
            ratio,
            weight,
            when,
            name,
            plain,
            total,
            tags,
            numbers,
            ..
        } = item;
        $to {
            id,
            serial,
            flag,
            tiny,
            big,
            int,
            ratio,
            weight,
            when,
            name,
            parent,
            plain,
            total,
            tags,
            numbers,
        }
    }};
}
use copy;

/// A value as the test sees it; the order of the variants is that of nulls and values.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
}

impl Cell {
    pub(crate) fn order(&self, other: &Cell) -> Ordering {
        match (self, other) {
            (Cell::Null, Cell::Null) => Ordering::Equal,
            (Cell::Null, _) => Ordering::Less,
            (_, Cell::Null) => Ordering::Greater,
            (Cell::Bool(one), Cell::Bool(other)) => one.cmp(other),
            (Cell::Int(one), Cell::Int(other)) => one.cmp(other),
            (Cell::Float(one), Cell::Float(other)) => {
                one.partial_cmp(other).unwrap_or_else(|| one.is_nan().cmp(&other.is_nan()))
            }
            (Cell::Text(one), Cell::Text(other)) => one.chars().cmp(other.chars()),
            _ => panic!("{self:?} and {other:?} are of different types"),
        }
    }

    pub(crate) fn literal(&self) -> Literal {
        match self {
            Cell::Null => Literal::Null,
            Cell::Bool(bit) => Literal::Bool(*bit),
            Cell::Int(number) => match i64::try_from(*number) {
                Ok(number) => Literal::Int(number),
                Err(_) => Literal::UInt(u64::try_from(*number).unwrap()),
            },
            Cell::Float(number) => Literal::Double(*number),
            Cell::Text(text) => Literal::String(text.clone()),
        }
    }

    /// The same with letters that the tests use without their case.
    pub(crate) fn folded(&self) -> Cell {
        match self {
            Cell::Text(text) => Cell::Text(text.replace('É', "é").to_ascii_lowercase()),
            other => other.clone(),
        }
    }
}

pub(crate) const PROPERTIES: [&str; 13] = [
    "id", "serial", "flag", "tiny", "big", "int", "ratio", "weight", "when", "name", "parent", "plain",
    "total",
];

pub(crate) fn cell(item: &Item, property: &str) -> Cell {
    let int = |number: i128| Cell::Int(number);
    let text = |text: &Option<String>| text.clone().map_or(Cell::Null, Cell::Text);
    match property {
        "id" => int(item.id.into()),
        "serial" => int(item.serial.into()),
        "flag" => item.flag.map_or(Cell::Null, Cell::Bool),
        "tiny" => int(item.tiny.into()),
        "big" => item.big.map_or(Cell::Null, |big| int(big.into())),
        "int" => int(item.int.into()),
        "ratio" => Cell::Float(item.ratio.into()),
        "weight" => item.weight.map_or(Cell::Null, Cell::Float),
        "when" => item.when.map_or(Cell::Null, |when| int(when.0.into())),
        "name" => text(&item.name),
        "parent" => Some(item.parent.id()).filter(|&id| id != 0).map_or(Cell::Null, |id| int(id.into())),
        "plain" => text(&item.plain),
        "total" => int(item.total.into()),
        other => panic!("{other}"),
    }
}

pub(crate) fn elements(item: &Item, property: &str) -> Vec<Cell> {
    match property {
        "tags" => item.tags.iter().cloned().map(Cell::Text).collect(),
        "numbers" => item.numbers.iter().map(|&number| Cell::Int(number.into())).collect(),
        other => panic!("{other}"),
    }
}

/// All items that there are.
pub(crate) struct World(pub(crate) BTreeMap<u64, Item>);

impl World {
    pub(crate) fn parent(&self, item: &Item) -> Option<&Item> {
        self.0.get(&item.parent.id())
    }

    pub(crate) fn children(&self, item: &Item) -> Vec<&Item> {
        self.0.values().filter(|child| child.parent.id() == item.id).collect()
    }
}

pub(crate) fn open_with<T: Entity>(directory: &str) -> Store {
    Store::builder(directory).entity::<T>().durability(Durability::Relaxed).open().unwrap()
}

pub(crate) fn open(directory: &str) -> Store {
    open_with::<Item>(directory)
}
