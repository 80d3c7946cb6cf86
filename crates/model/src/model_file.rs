//! The model file: a schema as JSON, in which entities, properties and indexes keep their ids and uids.
//!
//! The format is the JSON that ObjectBox tools write, `modelVersion` 5, with two keys more: `conflict` on entities, the name of a
//! [`ConflictPolicy`](crate::ConflictPolicy), and `merge` on properties, `"counter"` or `"set"`. A file that was read is written back field for field: keys that this release does not know stay where they
//! are, and so does the order of all keys. Numbers beyond 64 bits become the nearest double.

mod read;
mod tree;
mod write;

use serde_json::Value;

use crate::evolve::EntityDescription;
use crate::ids::Uid;
use crate::schema::{Schema, SchemaError};

/// The longest model file that is read, in bytes: room for the largest schema that people write, not for an attack.
pub const MODEL_FILE_BYTES_MAX: usize = 16 << 20;

/// How deep objects and arrays of a model file may be nested; what is known needs five levels.
pub const MODEL_FILE_DEPTH_MAX: usize = 32;

/// The version of the format that is read and written.
pub const MODEL_VERSION: u64 = 5;

/// A model file: the schema, and everything else that the file says.
///
/// ```
/// use reconvene_model::model_file::ModelFile;
///
/// let text = r#"{
///   "entities": [
///     {
///       "id": "1:1001",
///       "lastPropertyId": "2:1003",
///       "name": "Note",
///       "properties": [
///         { "id": "1:1002", "name": "id", "type": 6, "flags": 1 },
///         { "id": "2:1003", "name": "text", "type": 9 }
///       ]
///     }
///   ],
///   "lastEntityId": "1:1001",
///   "lastIndexId": "",
///   "modelVersion": 5
/// }"#;
/// let model = ModelFile::parse(text)?;
/// assert_eq!(model.schema().entity_by_name("Note").map(|note| note.properties.len()), Some(2));
/// # Ok::<(), reconvene_model::model_file::ModelFileError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFile {
    /// The file as it was read, or as it will be written: an object at the top.
    document: serde_json::Map<String, Value>,
    ends_with_newline: bool,
    schema: Schema,
}

/// Why a model file cannot be used; every message names the place and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelFileError {
    /// The text is longer than [`MODEL_FILE_BYTES_MAX`].
    #[error(
        "the model file has {bytes} bytes, more than the {MODEL_FILE_BYTES_MAX} that are read; is it the right file?"
    )]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The text is not JSON, has a key twice, or is nested too deep.
    #[error(
        "the model file is not proper JSON: {what}; look there for a merge conflict, or take the file from version control"
    )]
    Syntax {
        /// What is wrong, with line and column.
        what: String,
    },
    /// The file is of a version that is not read.
    #[error("the model file is of version {found}, and this release reads version {MODEL_VERSION}: {remedy}")]
    Version {
        /// The version, or the least version of a reader that it asks for.
        found: u64,
        /// What to do.
        remedy: &'static str,
    },
    /// A field is missing, or does not say what it should.
    #[error("the model file, {place}: {what}")]
    Field {
        /// Entity and property by name, or by position where the name is missing.
        place: String,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The file can be read, but what it describes is no schema.
    #[error("the model file, {0}")]
    Schema(#[from] SchemaError),
}

impl ModelFile {
    /// Reads a model file.
    ///
    /// # Errors
    ///
    /// [`ModelFileError`] with the place and what to do there. No text makes it panic.
    pub fn parse(text: &str) -> Result<ModelFile, ModelFileError> {
        if text.len() > MODEL_FILE_BYTES_MAX {
            return Err(ModelFileError::TooLong { bytes: text.len() });
        }
        let document = tree::parse(text)?;
        let schema = read::schema(&document)?;
        Ok(ModelFile { document, ends_with_newline: text.ends_with('\n'), schema })
    }

    /// A complete file for a schema that has none, with a note for its readers.
    ///
    /// A conflict policy is written where it differs from the one that would be understood without it.
    pub fn from_schema(schema: &Schema) -> ModelFile {
        ModelFile { document: write::document(schema), ends_with_newline: true, schema: schema.clone() }
    }

    /// The schema that the file describes.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The file's text: every field that was read, in the order in which it was read, indented by two spaces.
    ///
    /// It ends with a newline if the text that was read did.
    pub fn to_json(&self) -> String {
        let mut text =
            serde_json::to_string_pretty(&self.document).expect("a tree with text as keys is always JSON");
        if self.ends_with_newline {
            text.push('\n');
        }
        text
    }

    /// The file after an application's structs have changed, as [`crate::evolve::evolve`] does it for a schema.
    ///
    /// Uids that the file retired are never used again. What is dropped joins its lists of retired uids; `lastEntityId`,
    /// `lastPropertyId` and `lastIndexId` advance. Fields that do not change keep their place, and so do unknown ones.
    ///
    /// # Errors
    ///
    /// [`ModelFileError::Schema`] for everything that [`crate::evolve::evolve`] refuses.
    pub fn evolve_with(&self, wanted: &[EntityDescription]) -> Result<ModelFile, ModelFileError> {
        let mut retired = read::retired(&self.document)?;
        let known = retired.uids.len();
        let schema = crate::evolve::evolve_with(&self.schema, wanted, &mut retired)?;
        let mut document = self.document.clone();
        write::update(&mut document, &self.schema, &schema, &retired.uids[known..]);
        Ok(ModelFile { document, ends_with_newline: self.ends_with_newline, schema })
    }

    /// The file without the entities of these names, as [`crate::evolve::retire`] does it for a schema: their uids, and those
    /// of all that belongs to them, join the file's lists of retired ones.
    ///
    /// # Errors
    ///
    /// [`ModelFileError::Schema`] if an entity that stays links to one that goes.
    pub fn without(&self, entities: &[String]) -> Result<ModelFile, ModelFileError> {
        let mut retired = read::retired(&self.document)?;
        let known = retired.uids.len();
        let schema = crate::evolve::retire(&self.schema, entities, &mut retired)?;
        let mut document = self.document.clone();
        write::update(&mut document, &self.schema, &schema, &retired.uids[known..]);
        Ok(ModelFile { document, ends_with_newline: self.ends_with_newline, schema })
    }

    /// Whether the file says that the entity of this uid was removed.
    pub fn has_retired_entity(&self, uid: Uid) -> bool {
        read::retired_entities(&self.document).is_ok_and(|uids| uids.contains(&uid))
    }
}
