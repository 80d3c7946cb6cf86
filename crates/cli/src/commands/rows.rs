//! Writing objects out, one after the other, in any format.

use std::io::{self, Write};

use reconvene::Object;
use reconvene::model::{EntityDef, PropertyDef};
use serde_json::{Map, Value as Json};

use super::format::{self, Format};
use super::table::{self, LongTable};

/// Writes objects of one entity; every object has the id first and then the properties in order of the model.
pub(crate) struct RowWriter<W: Write> {
    to: Inner<W>,
    properties: Vec<PropertyDef>,
    rows: u64,
}

enum Inner<W: Write> {
    Table(W, Box<LongTable>),
    Json(W),
    Ndjson(W),
    Csv(Box<csv::Writer<W>>, String),
}

impl<W: Write> RowWriter<W> {
    /// Begins; `null` is what a CSV cell without a value says.
    ///
    /// # Errors
    ///
    /// Those of `to`.
    pub(crate) fn new(to: W, format: Format, entity: &EntityDef, null: &str) -> io::Result<Self> {
        let mut properties = vec![entity.id_property().clone()];
        properties.extend(entity.stored_properties().cloned());
        properties.extend(format::relations(entity));
        let to = match format {
            Format::Table => {
                let is_number = |property: &PropertyDef| property.ty.is_integer() || property.ty.is_float();
                let columns = properties.iter().map(|property| (property.name.as_str(), is_number(property)));
                Inner::Table(to, Box::new(LongTable::new(columns)))
            }
            Format::Json => Inner::Json(to),
            Format::Ndjson => Inner::Ndjson(to),
            Format::Csv => {
                let mut csv = csv::Writer::from_writer(to);
                csv.write_record(properties.iter().map(|property| &property.name)).map_err(io_error)?;
                Inner::Csv(Box::new(csv), null.to_owned())
            }
        };
        Ok(RowWriter { to, properties, rows: 0 })
    }

    /// Writes an object.
    ///
    /// # Errors
    ///
    /// Those of the destination.
    pub(crate) fn push(&mut self, object: &Object) -> io::Result<()> {
        self.rows += 1;
        let first = self.rows == 1;
        match &mut self.to {
            Inner::Table(to, table) => {
                let cells = self.properties.iter().map(|property| cell(property, object));
                table.push(cells.map(|cell| table::plain(&cell.unwrap_or_default())), to)
            }
            Inner::Json(to) => {
                to.write_all(if first { b"[\n  " } else { b",\n  " })?;
                Ok(serde_json::to_writer(to, &object_json(&self.properties, object))?)
            }
            Inner::Ndjson(to) => {
                serde_json::to_writer(&mut *to, &object_json(&self.properties, object))?;
                to.write_all(b"\n")
            }
            Inner::Csv(csv, null) => {
                let cells = self.properties.iter().map(|property| cell(property, object));
                csv.write_record(cells.map(|cell| cell.unwrap_or_else(|| null.clone()))).map_err(io_error)
            }
        }
    }

    /// Ends; how many objects there were.
    ///
    /// # Errors
    ///
    /// Those of the destination.
    pub(crate) fn finish(self) -> io::Result<(u64, W)> {
        let to = match self.to {
            Inner::Table(mut to, table) => {
                table.finish(&mut to)?;
                writeln!(to, "{}", table::counted(self.rows, "object"))?;
                to
            }
            Inner::Json(mut to) => {
                to.write_all(if self.rows == 0 { b"[]\n" } else { b"\n]\n" })?;
                to
            }
            Inner::Ndjson(to) => to,
            Inner::Csv(csv, _) => csv.into_inner().map_err(|error| error.into_error())?,
        };
        Ok((self.rows, to))
    }
}

fn cell(property: &PropertyDef, object: &Object) -> Option<String> {
    if property.is_id() {
        return Some(object.id.to_string());
    }
    format::to_cell(property, object.get(&property.name))
}

fn object_json(properties: &[PropertyDef], object: &Object) -> Json {
    let member = |property: &PropertyDef| {
        let value = match property.is_id() {
            true => Json::from(object.id),
            false => format::to_json(property, object.get(&property.name)),
        };
        (property.name.clone(), value)
    };
    Json::Object(properties.iter().map(member).collect::<Map<_, _>>())
}

fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}
