//! Reading and writing an object's properties by ordinal, whatever slots the store's schema gave them.

use reconvene_model::evolve::EntityDescription;
use reconvene_model::record::{RecordError, ScalarPlace, StringVector, Table, TableLayout, TableWriter};
use reconvene_model::{EntityDef, PropertyFlags, PropertyType};

use crate::property_value::PropertyValue;

/// Where a struct's properties stand in the records of one store: ordinal to slot and type.
///
/// The slot of a property depends on the order in which the store came to know its properties, so it is looked up once
/// when the store opens. Ordinals count the properties of the struct's description without the id.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldMap {
    fields: Box<[Field]>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Field {
    slot: usize,
    ty: PropertyType,
    /// Where it stands, if it is a scalar.
    place: Option<ScalarPlace>,
    /// The width of an integer, date or link; 0 of everything else.
    int_bytes: usize,
}

/// Why the properties of an object cannot be read into its struct.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The record is damaged.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A value is none of those that the field's type has.
    #[error("{reason}")]
    Value {
        /// The property.
        ordinal: usize,
        /// What the value is, and why it does not do.
        reason: String,
    },
}

/// A value that its property cannot store.
#[derive(Debug)]
struct Unstorable {
    ordinal: usize,
    reason: String,
}

/// Why a struct does not fit the schema of a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldMapError {
    /// The schema lacks a property of the struct.
    #[error(
        "the store's schema has no property `{entity}.{property}`: open the store with this struct registered so that \
         the schema is brought up to date"
    )]
    Missing {
        /// The entity.
        entity: String,
        /// The property that is missing.
        property: String,
    },
    /// The schema holds a property of the struct under another type.
    #[error(
        "`{entity}.{property}` is stored as {stored}, but the struct says {wanted}: change the field's type back, or \
         give the property a new uid to start it afresh"
    )]
    TypeDiffers {
        /// The entity.
        entity: String,
        /// The property.
        property: String,
        /// The type that the struct wants.
        wanted: PropertyType,
        /// The type in the store.
        stored: PropertyType,
    },
}

impl FieldMap {
    /// Finds each described property in the definition, by name.
    ///
    /// # Errors
    ///
    /// If a property is missing from the definition or has another type there; a schema that was evolved with the
    /// description has neither.
    pub fn new(description: &EntityDescription, def: &EntityDef) -> Result<Self, FieldMapError> {
        let stored = description.properties.iter().filter(|property| !property.flags.has(PropertyFlags::ID));
        let layout = TableLayout::new(def);
        let fields = stored.map(|wanted| {
            let found = def.stored_properties().find(|property| property.name == wanted.name);
            let found = found.ok_or_else(|| FieldMapError::Missing {
                entity: def.name.clone(),
                property: wanted.name.clone(),
            })?;
            if found.ty != wanted.ty {
                return Err(FieldMapError::TypeDiffers {
                    entity: def.name.clone(),
                    property: wanted.name.clone(),
                    wanted: wanted.ty,
                    stored: found.ty,
                });
            }
            let place = layout.scalar_place(found.slot());
            let is_int = found.ty.is_integer() || found.ty == PropertyType::Relation;
            let int_bytes = place.filter(|_| is_int).map_or(0, ScalarPlace::bytes);
            Ok(Field { slot: found.slot(), ty: found.ty, place, int_bytes })
        });
        Ok(FieldMap { fields: fields.collect::<Result<_, _>>()? })
    }

    /// The number of ordinals.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether the struct stores nothing but its id.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The ordinal of the property of this name, in the description that the map was made for.
    pub(crate) fn ordinal(&self, description: &EntityDescription, name: &str) -> Option<usize> {
        let mut stored =
            description.properties.iter().filter(|property| !property.flags.has(PropertyFlags::ID));
        stored.position(|property| property.name == name).filter(|&ordinal| ordinal < self.fields.len())
    }

    /// The name in the schema of the property at this ordinal; empty if the map is not of that entity.
    pub(crate) fn name_of<'d>(&self, ordinal: usize, def: &'d EntityDef) -> &'d str {
        let slot = self.fields.get(ordinal).map(|field| field.slot);
        let mut stored = def.stored_properties();
        stored.find(|property| Some(property.slot()) == slot).map_or("", |property| &property.name)
    }

    /// The slot of the property at this ordinal.
    ///
    /// # Panics
    ///
    /// If `ordinal` is not below [`FieldMap::len`].
    #[inline]
    pub fn slot(&self, ordinal: usize) -> usize {
        self.fields[ordinal].slot
    }

    /// Where the property at this ordinal stands, if it is a scalar.
    pub(crate) fn scalar_place(&self, ordinal: usize) -> Option<ScalarPlace> {
        self.fields[ordinal].place
    }

    /// The type of the property at this ordinal.
    ///
    /// # Panics
    ///
    /// If `ordinal` is not below [`FieldMap::len`].
    #[inline]
    pub fn property_type(&self, ordinal: usize) -> PropertyType {
        self.fields[ordinal].ty
    }
}

/// Takes the properties of one object, by ordinal, into the table of its record.
///
/// A property that is not written is null. Ordinals outside the map are a mistake in a hand-written
/// [`Entity`](crate::Entity) and panic.
pub struct FieldWriter<'w, 'l> {
    table: &'w mut TableWriter<'l>,
    map: &'w FieldMap,
    // Holds the elements of one vector at a time, so that writing several allocates once.
    elements: Vec<u8>,
    /// The first value that could not be written.
    unstorable: Option<Box<Unstorable>>,
}

impl<'w, 'l> FieldWriter<'w, 'l> {
    /// Writes into `table`, which must have the layout that `map` was made for, and which is cleared first.
    #[inline]
    pub fn new(table: &'w mut TableWriter<'l>, map: &'w FieldMap) -> Self {
        table.clear();
        FieldWriter { table, map, elements: Vec::new(), unstorable: None }
    }

    /// Writes a value of any type that can be a property.
    #[inline]
    pub fn set<V: PropertyValue>(&mut self, ordinal: usize, value: &V) {
        value.write(ordinal, self);
    }

    /// Says that a value cannot be stored, and why; the put then fails with this reason.
    #[cold]
    pub fn refuse(&mut self, ordinal: usize, reason: impl ToString) {
        self.unstorable.get_or_insert_with(|| Box::new(Unstorable { ordinal, reason: reason.to_string() }));
    }

    /// Whether every value could be written; else the name of the property of the first one that could not, in this
    /// definition, and the reason.
    #[inline]
    pub(crate) fn finish(self, def: &EntityDef) -> Result<(), (String, String)> {
        match self.unstorable {
            None => Ok(()),
            Some(unstorable) => {
                Err((self.map.name_of(unstorable.ordinal, def).to_owned(), unstorable.reason))
            }
        }
    }

    /// Writes no value.
    #[inline]
    pub fn set_null(&mut self, ordinal: usize) {
        self.table.set_null(self.map.slot(ordinal));
    }

    /// Writes a boolean, integer, date or link; the property's type decides how many of the low bytes are kept.
    #[inline]
    pub fn set_int(&mut self, ordinal: usize, value: i64) {
        self.table.set_int(self.map.slot(ordinal), value);
    }

    /// Writes a scalar from a Rust type with `N` bytes that is stored as `ty`, unless the property says otherwise; `widened`
    /// is what [`FieldWriter::set_int`] takes then.
    #[inline]
    pub(crate) fn set_scalar<const N: usize>(
        &mut self,
        ordinal: usize,
        ty: PropertyType,
        bytes: [u8; N],
        widened: i64,
    ) {
        match self.map.fields[ordinal].place {
            Some(place) if place.ty() == ty && place.bytes() == N => self.table.set_at(place, bytes),
            _ => self.set_int(ordinal, widened),
        }
    }

    /// Writes a 32-bit float.
    #[inline]
    pub fn set_float(&mut self, ordinal: usize, value: f32) {
        match self.map.fields[ordinal].place {
            Some(place) if place.ty() == PropertyType::Float => self.table.set_at(place, value.to_le_bytes()),
            _ => self.table.set_float(self.map.slot(ordinal), value),
        }
    }

    /// Writes a 64-bit float.
    #[inline]
    pub fn set_double(&mut self, ordinal: usize, value: f64) {
        match self.map.fields[ordinal].place {
            Some(place) if place.ty() == PropertyType::Double => {
                self.table.set_at(place, value.to_le_bytes())
            }
            _ => self.table.set_double(self.map.slot(ordinal), value),
        }
    }

    /// Writes text, bytes or FlexBuffers bytes.
    #[inline]
    pub fn set_bytes(&mut self, ordinal: usize, value: &[u8]) {
        self.table.set_bytes(self.map.slot(ordinal), value);
    }

    /// Writes a vector of numbers or booleans from the little-endian bytes of its elements.
    pub fn set_elements<const N: usize>(&mut self, ordinal: usize, elements: impl Iterator<Item = [u8; N]>) {
        self.elements.clear();
        elements.for_each(|bytes| self.elements.extend_from_slice(&bytes));
        self.table.set_bytes(self.map.slot(ordinal), &self.elements);
    }

    /// Writes a vector of strings.
    pub fn set_strings<'s>(&mut self, ordinal: usize, strings: impl ExactSizeIterator<Item = &'s str>) {
        self.table.set_strings(self.map.slot(ordinal), strings);
    }
}

/// Reads the properties of one object, by ordinal, from the table of its record; nothing is decoded until asked for.
///
/// A property that the record was written without is null. Ordinals outside the map are a mistake in a hand-written
/// [`Entity`](crate::Entity) and panic.
#[derive(Clone, Copy, Debug)]
pub struct FieldReader<'a> {
    table: Table<'a>,
    map: &'a FieldMap,
}

impl<'a> FieldReader<'a> {
    /// Reads from `table`, a record of the entity that `map` was made for.
    #[inline]
    pub fn new(table: Table<'a>, map: &'a FieldMap) -> Self {
        FieldReader { table, map }
    }

    /// The value as any type that can be a property of this kind.
    ///
    /// # Errors
    ///
    /// If the record's bytes are damaged, or its value is none of the type's.
    #[inline]
    pub fn get<V: PropertyValue>(&self, ordinal: usize) -> Result<V, ReadError> {
        V::read(ordinal, self)
    }

    /// The slot of the property at this ordinal.
    pub(crate) fn slot(&self, ordinal: usize) -> usize {
        self.map.slot(ordinal)
    }

    /// Whether there is no value.
    #[inline]
    pub fn is_null(&self, ordinal: usize) -> bool {
        self.table.is_null(self.map.slot(ordinal))
    }

    /// The value of a boolean, integer, date or link; `None` for null. The low bytes, as many as the type has, are those
    /// that were written.
    ///
    /// # Errors
    ///
    /// If the record's bytes are damaged.
    #[inline]
    pub fn int(&self, ordinal: usize) -> Result<Option<i64>, RecordError> {
        let field = self.map.fields[ordinal];
        self.table.int(field.slot, field.ty)
    }

    /// As [`FieldReader::int`], for a Rust type with `N` bytes, in those bytes; zeros for null.
    #[inline]
    pub(crate) fn int_bytes<const N: usize>(&self, ordinal: usize) -> Result<[u8; N], RecordError> {
        let field = &self.map.fields[ordinal];
        let value = if field.int_bytes == N {
            self.table.fixed::<N>(field.slot, field.ty)?
        } else {
            self.table
                .int(field.slot, field.ty)?
                .map(|int| *int.to_le_bytes().first_chunk().expect("an integer has 8 bytes at most"))
        };
        Ok(value.unwrap_or([0; N]))
    }

    /// The value of a 32-bit float; `None` for null.
    ///
    /// # Errors
    ///
    /// If the record's bytes are damaged.
    #[inline]
    pub fn float(&self, ordinal: usize) -> Result<Option<f32>, RecordError> {
        self.table.float(self.map.slot(ordinal))
    }

    /// The value of a 64-bit float; `None` for null.
    ///
    /// # Errors
    ///
    /// If the record's bytes are damaged.
    #[inline]
    pub fn double(&self, ordinal: usize) -> Result<Option<f64>, RecordError> {
        self.table.double(self.map.slot(ordinal))
    }

    /// Text, checked to be UTF-8; `None` for null.
    ///
    /// # Errors
    ///
    /// If the record's bytes are damaged.
    #[inline]
    pub fn str(&self, ordinal: usize) -> Result<Option<&'a str>, RecordError> {
        self.table.str(self.map.slot(ordinal))
    }

    /// Bytes, FlexBuffers bytes, or the little-endian bytes of a vector's elements; `None` for null.
    ///
    /// # Errors
    ///
    /// If the record's bytes are damaged.
    #[inline]
    pub fn bytes(&self, ordinal: usize) -> Result<Option<&'a [u8]>, RecordError> {
        let field = self.map.fields[ordinal];
        self.table.bytes(field.slot, field.ty)
    }

    /// The elements of a vector of numbers or booleans, each as its `N` little-endian bytes; `None` for null.
    ///
    /// # Errors
    ///
    /// If the record's bytes are damaged.
    pub fn elements<const N: usize>(
        &self,
        ordinal: usize,
    ) -> Result<Option<impl ExactSizeIterator<Item = [u8; N]> + use<'a, N>>, RecordError> {
        let chunks = self.bytes(ordinal)?.map(|bytes| bytes.as_chunks::<N>().0);
        Ok(chunks.map(|chunks| chunks.iter().copied()))
    }

    /// A vector of strings, still encoded; `None` for null.
    ///
    /// # Errors
    ///
    /// If the record's bytes are damaged.
    pub fn strings(&self, ordinal: usize) -> Result<Option<StringVector<'a>>, RecordError> {
        self.table.strings(self.map.slot(ordinal))
    }
}
