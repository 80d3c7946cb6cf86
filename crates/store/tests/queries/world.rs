//! The entity that is queried, with different sets of indexes, and values as the tests see them.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use reconvene_expr::Literal;
use reconvene_store::{Date, Durability, Entity, Flex, Store, ToOne};

macro_rules! items {
    ($($module:ident { $($field:ident: $($attribute:meta)?;)+ })+) => {$(
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
                pub(crate) tree: Flex,
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
    some_indexes {
        flag: index(skip_null); tiny: ; big: ; int: index; ratio: index(skip_zero); weight: ; when: index(skip_null, skip_zero);
        name: index(hash); parent: index(skip_null);
    }
    other_indexes {
        flag: ; tiny: index; big: index(skip_zero); int: ; ratio: index; weight: index(skip_null, skip_zero); when: ; name: index;
        parent: index;
    }
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
            tree,
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
            tree,
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
    /// A list or a map.
    Other,
}

/// The places in the tree of an item that are asked about.
pub(crate) const PLACES: [&str; 4] = ["tree", "tree.a", "tree.a[0]", "tree.b"];

/// What stands at a place in the tree of an item.
pub(crate) fn place<'i>(item: &'i Item, place: &str) -> Option<&'i Flex> {
    match place {
        "tree" => Some(&item.tree),
        "tree.a" => item.tree.get("a"),
        "tree.a[0]" => item.tree.get("a").and_then(|a| a.at(0)),
        "tree.b" => item.tree.get("b"),
        other => panic!("{other}"),
    }
}

fn flex_cell(flex: Option<&Flex>) -> Cell {
    match flex {
        None | Some(Flex::Null) => Cell::Null,
        Some(Flex::Bool(bit)) => Cell::Bool(*bit),
        Some(Flex::Int(number)) => Cell::Int((*number).into()),
        Some(Flex::UInt(number)) => Cell::Int((*number).into()),
        Some(Flex::Float(number)) => Cell::Float(*number),
        Some(Flex::String(text)) => Cell::Text(text.clone()),
        Some(_) => Cell::Other,
    }
}

impl Cell {
    /// Whether values of both kinds are compared: equal kinds, and numbers of different ones.
    pub(crate) fn is_comparable(&self, other: &Cell) -> bool {
        let kind = |cell: &Cell| match cell {
            Cell::Null => 0,
            Cell::Bool(_) => 1,
            Cell::Int(_) | Cell::Float(_) => 2,
            Cell::Text(_) => 3,
            Cell::Other => 4,
        };
        kind(self) == kind(other) && *self != Cell::Other
    }

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
            // The numbers that the tests mix are small, or far apart.
            (Cell::Int(one), Cell::Float(_)) => Cell::Float(*one as f64).order(other),
            (Cell::Float(_), Cell::Int(other)) => self.order(&Cell::Float(*other as f64)),
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
            Cell::Other => panic!("there is no such literal"),
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
        other => flex_cell(place(item, other)),
    }
}

pub(crate) fn elements(item: &Item, property: &str) -> Vec<Cell> {
    match property {
        "tags" => item.tags.iter().cloned().map(Cell::Text).collect(),
        "numbers" => item.numbers.iter().map(|&number| Cell::Int(number.into())).collect(),
        other => match place(item, other) {
            Some(Flex::List(list)) => list.iter().map(|flex| flex_cell(Some(flex))).collect(),
            _ => Vec::new(),
        },
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
