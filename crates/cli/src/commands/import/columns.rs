//! Which column goes into which property, and a row as an object.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use reconvene::Object;
use reconvene::model::{EntityDef, PropertyDef, Value};

use super::input::{Cell, Place, Row};
use crate::commands::format;
use crate::exit::Mistake;

/// What the command line says about columns.
#[derive(Debug, Default)]
pub(super) struct Names {
    map: HashMap<String, String>,
    ignore: HashSet<String>,
    null: String,
    new_ids: bool,
}

impl Names {
    /// From `COLUMN=PROPERTY` and `COLUMN` as they were given.
    ///
    /// # Errors
    ///
    /// If a text has no equals sign.
    pub(super) fn new<'a>(
        map: impl Iterator<Item = &'a String>,
        ignore: impl Iterator<Item = &'a String>,
        null: &str,
        new_ids: bool,
    ) -> Result<Names, Mistake> {
        let pair = |text: &String| match text.rsplit_once('=') {
            Some((column, property)) => Ok((column.to_owned(), property.to_owned())),
            None => Err(Mistake(format!("--map {text}: give COLUMN=PROPERTY"))),
        };
        let map = map.map(pair).collect::<Result<_, _>>()?;
        Ok(Names { map, ignore: ignore.cloned().collect(), null: null.to_owned(), new_ids })
    }

    /// What a CSV cell without a value says.
    pub(super) fn null(&self) -> &str {
        &self.null
    }

    /// The name of the property that a column goes into; `None` if it is left out.
    pub(super) fn property_of<'n>(&'n self, column: &'n str) -> Option<&'n str> {
        if self.ignore.contains(column) {
            return None;
        }
        Some(self.map.get(column).map_or(column, String::as_str))
    }
}

/// Turns the rows of a file into objects of an entity.
pub(super) struct Columns<'c> {
    entity: &'c EntityDef,
    names: &'c Names,
    file: &'c str,
}

impl<'c> Columns<'c> {
    pub(super) fn new(entity: &'c EntityDef, names: &'c Names, file: &'c str) -> Self {
        Columns { entity, names, file }
    }

    /// A row as an object; its id is 0 where the row names none.
    ///
    /// # Errors
    ///
    /// A name that nothing has, and a value that does not fit, with the place.
    pub(super) fn object(&self, place: Place, row: &Row<'_>) -> anyhow::Result<Object> {
        let mut object = Object::new();
        for (column, cell) in row.cells() {
            let Some(name) = self.names.property_of(column) else { continue };
            let property = self.property(column, name)?;
            let wrong = |what: String| anyhow::anyhow!("{}, {place}, column {column}: {what}", self.file);
            if property.is_id() {
                object.id = match cell {
                    _ if self.names.new_ids => 0,
                    Cell::Text(text) if text == self.names.null => 0,
                    Cell::Text(text) => format::id_of(&serde_json::Value::from(text)).map_err(wrong)?,
                    Cell::Json(json) => format::id_of(json).map_err(wrong)?,
                };
                continue;
            }
            let value = match cell {
                Cell::Text(text) if text == self.names.null => Value::Null,
                Cell::Text(text) => format::from_cell(&property, text).map_err(wrong)?,
                Cell::Json(json) => format::from_json(&property, json).map_err(wrong)?,
            };
            if object.values.insert(name.to_owned(), value).is_some() {
                return Err(wrong(format!("another column goes into {name} as well")));
            }
        }
        Ok(object)
    }

    fn property(&self, column: &str, name: &str) -> Result<Cow<'c, PropertyDef>, Mistake> {
        let relation = || format::relations(self.entity).find(|relation| relation.name == name);
        let found = self.entity.property(name).map(Cow::Borrowed);
        found.or_else(|| relation().map(Cow::Owned)).ok_or_else(|| {
            let properties = self.entity.properties.iter().map(|property| property.name.as_str());
            let relations = self.entity.relations.iter().map(|relation| relation.name.as_str());
            let known: Vec<_> = properties.chain(relations).collect();
            Mistake(format!(
                "{}: {} has no property {name:?}; it has {}. Give --map {column}=PROPERTY for another name, or --ignore \
                 {column} to leave the column out",
                self.file,
                self.entity.name,
                known.join(", ")
            ))
        })
    }
}
