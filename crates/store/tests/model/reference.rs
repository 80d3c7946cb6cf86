//! The model: entities as plain maps, and what each step must do to them.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use reconvene_expr::{CompareOp, Expr, Literal, Path};
use reconvene_model::evolve::{EntityDescription, PropertyDescription};
use reconvene_model::{ConflictPolicy, EntityFlags, PropertyFlags, PropertyType, Uid, Value};

/// A value; the order of the variants is that of nulls and values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Text(String),
    Link(u64),
}

impl Cell {
    pub(crate) fn value(&self) -> Value {
        match self {
            Cell::Null => Value::Null,
            Cell::Bool(bit) => Value::Bool(*bit),
            Cell::Int(number) => Value::Int(*number),
            Cell::Text(text) => Value::String(text.clone()),
            Cell::Link(id) => Value::Relation(*id),
        }
    }

    fn literal(&self) -> Literal {
        match self {
            Cell::Null => Literal::Null,
            Cell::Bool(bit) => Literal::Bool(*bit),
            Cell::Int(number) => Literal::Int(*number),
            Cell::Text(text) => Literal::String(text.clone()),
            Cell::Link(id) => Literal::Int(i64::try_from(*id).unwrap()),
        }
    }
}

/// What a property holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Int,
    Long,
    Text,
    /// A link to the other entity.
    Link,
}

/// How a property is kept in an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Plain,
    Indexed,
    Unique,
}

#[derive(Clone, Debug)]
pub(crate) struct Property {
    pub(crate) uid: u64,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) kept: Kept,
}

/// The values of an object, by the uid of their property; null is not in it.
pub(crate) type Values = BTreeMap<u64, Cell>;

#[derive(Clone, Debug)]
pub(crate) struct Entity {
    pub(crate) uid: u64,
    pub(crate) name: String,
    pub(crate) synced: bool,
    pub(crate) properties: Vec<Property>,
    pub(crate) objects: BTreeMap<u64, Values>,
    /// The largest id that was ever handed out.
    pub(crate) last_id: u64,
}

/// Everything that a store should hold.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    pub(crate) entities: [Entity; 2],
    pub(crate) next_uid: u64,
}

/// Why a put must be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Link,
    Unique,
    Missing,
}

impl Entity {
    pub(crate) fn cell(&self, id: u64, values: &Values, property: Option<&Property>) -> Cell {
        match property {
            None => Cell::Int(i64::try_from(id).unwrap()),
            Some(property) => values.get(&property.uid).cloned().unwrap_or(Cell::Null),
        }
    }

    /// The objects that have a value of this property which others have too: the lowest one's ids, and how many others there are.
    pub(crate) fn shared(&self, uid: u64) -> Option<(Vec<u64>, u64)> {
        let mut by_value: BTreeMap<&Cell, Vec<u64>> = BTreeMap::new();
        for (id, values) in &self.objects {
            if let Some(cell) = values.get(&uid) {
                by_value.entry(cell).or_default().push(*id);
            }
        }
        let mut shared = by_value.into_iter().filter(|(_, ids)| ids.len() > 1);
        // Text that is cut in its key stands in the order of its hash, so only short text has an order that can be foretold.
        let (_, ids) = shared.next()?;
        Some((ids, shared.count() as u64))
    }

    fn description(&self, other: &str) -> EntityDescription {
        let property = |property: &Property| PropertyDescription {
            name: property.name.clone(),
            uid: Some(Uid(property.uid)),
            was: None,
            ty: match property.kind {
                Kind::Bool => PropertyType::Bool,
                Kind::Int => PropertyType::Int,
                Kind::Long => PropertyType::Long,
                Kind::Text => PropertyType::String,
                Kind::Link => PropertyType::Relation,
            },
            flags: match property.kept {
                Kept::Plain => PropertyFlags::NONE,
                Kept::Indexed => PropertyFlags::INDEXED,
                Kept::Unique => PropertyFlags::UNIQUE,
            },
            relation_target: (property.kind == Kind::Link).then(|| other.to_owned()),
            merge: Default::default(),
        };
        let id = PropertyDescription {
            name: "id".to_owned(),
            uid: Some(Uid(self.uid + 1)),
            was: None,
            ty: PropertyType::Long,
            flags: PropertyFlags::ID,
            relation_target: None,
            merge: Default::default(),
        };
        EntityDescription {
            name: self.name.clone(),
            uid: Some(Uid(self.uid)),
            was: None,
            flags: if self.synced { EntityFlags::SYNC_ENABLED } else { EntityFlags::NONE },
            conflict: ConflictPolicy::default(),
            properties: [id].into_iter().chain(self.properties.iter().map(property)).collect(),
            relations: Vec::new(),
            backlinks: Vec::new(),
        }
    }
}

impl Reference {
    pub(crate) fn new() -> Reference {
        let entity = |uid: u64, name: &str, synced| Entity {
            uid,
            name: name.to_owned(),
            synced,
            properties: Vec::new(),
            objects: BTreeMap::new(),
            last_id: 0,
        };
        let mut this = Reference {
            entities: [entity(1_000, "Task", true), entity(2_000, "Project", true)],
            next_uid: 10_000,
        };
        for (kind, kept) in [
            (Kind::Text, Kept::Indexed),
            (Kind::Int, Kept::Unique),
            (Kind::Link, Kept::Indexed),
            (Kind::Text, Kept::Plain),
        ] {
            this.add(0, kind, kept);
        }
        for (kind, kept) in
            [(Kind::Text, Kept::Unique), (Kind::Long, Kept::Indexed), (Kind::Bool, Kept::Plain)]
        {
            this.add(1, kind, kept);
        }
        this
    }

    /// Adds a property with a uid and a name that nothing ever had.
    pub(crate) fn add(&mut self, entity: usize, kind: Kind, kept: Kept) {
        let uid = self.next_uid;
        self.next_uid += 1;
        self.entities[entity].properties.push(Property { uid, name: format!("p{uid}"), kind, kept });
    }

    pub(crate) fn descriptions(&self) -> Vec<EntityDescription> {
        let [one, other] = &self.entities;
        vec![one.description(&other.name), other.description(&one.name)]
    }

    /// Puts an object with these values under a new id, or under one that is there.
    pub(crate) fn put(&mut self, at: usize, id: u64, values: &[(u64, Cell)]) -> Result<u64, Refused> {
        let is_new = id == 0;
        if !is_new && !self.entities[at].objects.contains_key(&id) {
            return Err(Refused::Missing);
        }
        let id = if is_new { self.entities[at].last_id + 1 } else { id };
        if is_new {
            // Handed out, whatever becomes of the put.
            self.entities[at].last_id = id;
        }
        let last_of_other = self.entities[1 - at].last_id;
        if values.iter().any(|(_, cell)| matches!(cell, Cell::Link(target) if *target > last_of_other)) {
            return Err(Refused::Link);
        }
        let entity = &mut self.entities[at];
        for (uid, cell) in values.iter().filter(|(_, cell)| *cell != Cell::Null) {
            let is_unique = entity
                .properties
                .iter()
                .any(|property| property.uid == *uid && property.kept == Kept::Unique);
            let has = |(other, values): (&u64, &Values)| *other != id && values.get(uid) == Some(cell);
            if is_unique && entity.objects.iter().any(has) {
                return Err(Refused::Unique);
            }
        }
        let object = entity.objects.entry(id).or_default();
        for (uid, cell) in values {
            match cell {
                Cell::Null => drop(object.remove(uid)),
                cell => drop(object.insert(*uid, cell.clone())),
            }
        }
        Ok(id)
    }
}

/// A condition on properties by name; `None` is the id.
#[derive(Clone, Debug)]
pub(crate) enum Tree {
    Leaf(Option<Property>, CompareOp, Cell),
    In(Option<Property>, Vec<Cell>),
    And(Vec<Tree>),
    Or(Vec<Tree>),
    Not(Box<Tree>),
}

impl Tree {
    pub(crate) fn expr(&self) -> Expr {
        let path = |property: &Option<Property>| {
            Path::property(
                property.as_ref().map_or_else(|| "id".to_owned(), |property| property.name.clone()),
            )
        };
        let many = |trees: &[Tree]| trees.iter().map(Tree::expr).collect();
        match self {
            Tree::Leaf(property, op, cell) => {
                Expr::Compare { path: path(property), op: *op, value: cell.literal().into() }
            }
            Tree::In(property, cells) => {
                let values = cells.iter().map(|cell| cell.literal().into()).collect();
                Expr::In { path: path(property), values, no_case: false }
            }
            Tree::And(trees) => Expr::And(many(trees)),
            Tree::Or(trees) => Expr::Or(many(trees)),
            Tree::Not(tree) => Expr::Not(Box::new(tree.expr())),
        }
    }

    pub(crate) fn holds(&self, entity: &Entity, id: u64, values: &Values) -> bool {
        match self {
            Tree::Leaf(property, op, wanted) => {
                let stored = entity.cell(id, values, property.as_ref());
                let order = stored.cmp(wanted);
                if stored == Cell::Null || *wanted == Cell::Null {
                    return match op {
                        CompareOp::Eq => order.is_eq(),
                        CompareOp::Ne => order.is_ne(),
                        _ => false,
                    };
                }
                match (op, &stored, wanted) {
                    (CompareOp::StartsWith, Cell::Text(stored), Cell::Text(wanted)) => {
                        stored.starts_with(wanted)
                    }
                    (CompareOp::Contains, Cell::Text(stored), Cell::Text(wanted)) => stored.contains(wanted),
                    (CompareOp::Eq, ..) => order.is_eq(),
                    (CompareOp::Ne, ..) => order.is_ne(),
                    (CompareOp::Lt, ..) => order.is_lt(),
                    (CompareOp::Le, ..) => order.is_le(),
                    (CompareOp::Gt, ..) => order.is_gt(),
                    (CompareOp::Ge, ..) => order.is_ge(),
                    (op, ..) => panic!("{op}"),
                }
            }
            Tree::In(property, cells) => cells.contains(&entity.cell(id, values, property.as_ref())),
            Tree::And(trees) => trees.iter().all(|tree| tree.holds(entity, id, values)),
            Tree::Or(trees) => trees.iter().any(|tree| tree.holds(entity, id, values)),
            Tree::Not(tree) => !tree.holds(entity, id, values),
        }
    }
}

/// What is asked of one entity.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) entity: usize,
    pub(crate) tree: Tree,
    pub(crate) order: Vec<(Option<Property>, bool)>,
    pub(crate) offset: u64,
    pub(crate) limit: Option<u64>,
}

impl Asked {
    /// The ids of the results, by a look at every object.
    pub(crate) fn expected(&self, reference: &Reference) -> Vec<u64> {
        let entity = &reference.entities[self.entity];
        let mut found: Vec<(&u64, &Values)> =
            entity.objects.iter().filter(|(id, values)| self.tree.holds(entity, **id, values)).collect();
        found.sort_by(|(one, one_values), (other, other_values)| {
            let by_value = self.order.iter().map(|(property, descending)| {
                let cell = |id: &u64, values: &Values| entity.cell(*id, values, property.as_ref());
                let order = cell(one, one_values).cmp(&cell(other, other_values));
                if *descending { order.reverse() } else { order }
            });
            by_value.fold(Ordering::Equal, Ordering::then).then(one.cmp(other))
        });
        let limit = self.limit.map_or(usize::MAX, |limit| limit as usize);
        found.into_iter().skip(self.offset as usize).take(limit).map(|(id, _)| *id).collect()
    }
}
