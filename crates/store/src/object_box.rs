//! Objects without structs: their properties are addressed by name. For tools, imports, tests and pages for people.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use reconvene_expr::{Argument, Expr, Path, Sort, parse, parse_sort};
use reconvene_model::kinds::Kind;
use reconvene_model::record::{Table, TableWriter, ValueError};
use reconvene_model::value::value_of_cell;
use reconvene_model::{EntityDef, ObjectId, PropertyDef, PropertyType, Value};

use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::keys;
use crate::links::Hop;
use crate::objects::with_slots;
use crate::query::{
    Explanation, InWrite, OrderTerm, ReadAccess, Selection, Snapshot, WriteAccess, property, table_of,
};
use crate::seam::Reader;
use crate::store::{Inner, Store};
use crate::structs;
use crate::txn::{ReadTxn, WriteTxn};

/// An object of any entity: its id, and values by the name of their property.
///
/// As read from a store it has all properties of the entity but the id, those without a value as [`Value::Null`]. For a put,
/// it need only have those that are to be written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object {
    /// The id; 0 for an object that was never put.
    pub id: ObjectId,
    /// The values, by the name of their property.
    pub values: BTreeMap<String, Value>,
}

impl Object {
    /// An object that was never put, without values.
    pub fn new() -> Self {
        Object::default()
    }

    /// The object of this id, with no values named yet.
    pub fn with_id(id: ObjectId) -> Self {
        Object { id, values: BTreeMap::new() }
    }

    /// The same with this value.
    #[must_use]
    pub fn with(mut self, property: impl Into<String>, value: Value) -> Self {
        self.values.insert(property.into(), value);
        self
    }

    /// The value of a property; [`Value::Null`] if it has none or is not named.
    pub fn get(&self, property: &str) -> &Value {
        self.values.get(property).unwrap_or(&Value::Null)
    }
}

/// The objects of an entity, by its name; made by [`Store::objects`], or by [`ReadTxn::objects`] and [`WriteTxn::objects`] as
/// part of a transaction.
///
/// ```
/// # use reconvene_store::{Entity, Object, Store};
/// # use reconvene_model::Value;
/// # #[derive(Entity, Debug, Default)] #[entity(crate = "reconvene_store")]
/// # struct Task { id: u64, title: String, done: bool }
/// # let store = Store::builder("memory:").entity::<Task>().open()?;
/// let tasks = store.objects("Task")?;
/// let id = tasks.put(&mut Object::new().with("title", Value::String("Call the bank".into())))?;
/// tasks.put(&mut Object::with_id(id).with("done", Value::Bool(true)))?;
///
/// let found = tasks.query_text("done == true")?.order_by("title")?.limit(10).find()?;
/// assert_eq!(found[0].get("title"), &Value::String("Call the bank".into()));
///
/// let mistyped = tasks.put(&mut Object::new().with("titel", Value::Null)).unwrap_err();
/// assert_eq!(mistyped.to_string(), r#"Task has no property "titel" (did you mean "title"?)"#);
/// # Ok::<(), reconvene_store::StoreError>(())
/// ```
pub struct ObjectBox<A = Store> {
    inner: Arc<Inner>,
    entity: Arc<EntityRuntime>,
    access: A,
}

impl<A> ObjectBox<A> {
    pub(crate) fn runtime(&self) -> &Arc<EntityRuntime> {
        &self.entity
    }

    pub(crate) fn access(&self) -> &A {
        &self.access
    }
}

impl<A: ReadAccess> ObjectBox<A> {
    /// The entity.
    pub fn entity(&self) -> &EntityDef {
        &self.entity.def
    }

    /// The object of this id, if it exists.
    ///
    /// # Errors
    ///
    /// If the store is damaged or cannot be read.
    pub fn get(&self, id: ObjectId) -> Result<Option<Object>> {
        self.access.read(|snapshot| {
            let record = snapshot.0.get(self.entity.objects, &keys::object_key(id))?;
            let Some(record) = record else { return Ok(None) };
            let hidden = self.entity.hides_record(record)?;
            if hidden { Ok(None) } else { read_object(&self.entity.def, id, record).map(Some) }
        })
    }

    /// All objects, in order of id.
    ///
    /// # Errors
    ///
    /// As [`ObjectBox::get`].
    pub fn all(&self) -> Result<Vec<Object>> {
        self.all_query().find()
    }

    /// The number of objects; it costs the same however many there are.
    ///
    /// # Errors
    ///
    /// As [`ObjectBox::get`].
    pub fn count(&self) -> Result<u64> {
        self.access.read(|snapshot| structs::count(&snapshot.0, &self.entity))
    }

    /// Whether there is an object of this id.
    ///
    /// # Errors
    ///
    /// As [`ObjectBox::get`].
    pub fn contains(&self, id: ObjectId) -> Result<bool> {
        self.access.read(|snapshot| structs::contains(&snapshot.0, &self.entity, id))
    }

    /// The objects that meet a condition.
    ///
    /// # Errors
    ///
    /// [`StoreError::Condition`] if it does not fit the entity.
    pub fn query(&self, condition: Expr) -> Result<ObjectQuery<'_, A>> {
        let selection = Selection::new(&self.inner, self.entity.clone(), condition);
        selection.prepared()?;
        Ok(self.of_selection(selection))
    }

    /// The objects that meet a condition given as text.
    ///
    /// # Errors
    ///
    /// [`StoreError::ConditionText`] if the text does not parse, and [`StoreError::Condition`] if it does not fit the entity.
    pub fn query_text(&self, condition: &str) -> Result<ObjectQuery<'_, A>> {
        self.query(parse(condition)?)
    }

    fn all_query(&self) -> ObjectQuery<'_, A> {
        self.of_selection(Selection::new(&self.inner, self.entity.clone(), Expr::All))
    }

    fn of_selection(&self, selection: Selection) -> ObjectQuery<'_, A> {
        ObjectQuery { inner: &self.inner, selection, access: &self.access, with_links: false }
    }
}

impl<A: WriteAccess> ObjectBox<A> {
    /// Puts an object: inserts it if its id is 0, and sets its id; otherwise overwrites the named properties of the object of
    /// its id, and leaves the others as they are. Counters of an object that exists stay as they are: see [`ObjectBox::add`].
    ///
    /// A standalone relation that is named, with the ids as a [`LongVector`](Value::LongVector), then links to these objects and no
    /// others.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnknownProperty`] and [`StoreError::Value`] for names and values that do not fit; otherwise as
    /// [`EntityBox::put`](crate::EntityBox::put). The object is as it was then.
    pub fn put(&self, object: &mut Object) -> Result<ObjectId> {
        object.id = self.access.write(|tx| put(tx, &self.entity, object))?;
        Ok(object.id)
    }

    /// Adds to a counter, and writes nothing else; what it shows afterwards.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] if there is no such object, [`StoreError::UnknownProperty`], [`StoreError::NotACounter`], and those of
    /// [`ObjectBox::put`].
    pub fn add(&self, id: ObjectId, counter: &str, by: i64) -> Result<i64> {
        self.access.write(|tx| tx.add_to(&self.entity, id, counter, by))
    }

    /// Puts many objects in one transaction, which is far faster than one by one.
    ///
    /// # Errors
    ///
    /// As [`ObjectBox::put`]; then none of them was put, unless this is part of a transaction that goes on.
    pub fn put_many(&self, objects: &mut [Object]) -> Result<()> {
        let ids = self.access.write(|tx| {
            objects.iter().map(|object| put(tx, &self.entity, object)).collect::<Result<Vec<_>>>()
        })?;
        objects.iter_mut().zip(ids).for_each(|(object, id)| object.id = id);
        Ok(())
    }

    /// Removes an object; whether it was there.
    ///
    /// # Errors
    ///
    /// Those of [`Store::write`].
    pub fn remove(&self, id: ObjectId) -> Result<bool> {
        self.access.write(|tx| tx.remove_object(&self.entity, id))
    }

    /// Removes all objects in one transaction; how many there were.
    ///
    /// # Errors
    ///
    /// Those of [`Store::write`].
    pub fn remove_all(&self) -> Result<u64> {
        self.all_query().remove()
    }
}

/// Objects of an [`ObjectBox`] that meet a condition; like [`Query`](crate::Query), with properties by name.
#[must_use = "a query looks for nothing before it is asked"]
pub struct ObjectQuery<'b, A = Store> {
    inner: &'b Inner,
    selection: Selection,
    access: &'b A,
    with_links: bool,
}

impl<A: ReadAccess> ObjectQuery<'_, A> {
    pub(crate) fn selection(&self) -> &Selection {
        &self.selection
    }

    pub(crate) fn access(&self) -> &A {
        self.access
    }

    /// Orders by a property, as [`Query::order_by`](crate::Query::order_by) does; also by several, and by text as
    /// [`parse_sort`] reads it: `"stars desc nulls last, project.name nocase"`.
    ///
    /// # Errors
    ///
    /// [`StoreError::ConditionText`] if the text does not parse, [`StoreError::UnknownProperty`], and
    /// [`StoreError::NotOrdered`] for vectors and Flex values.
    pub fn order_by(self, order: &str) -> Result<Self> {
        let sorts = parse_sort(order)?;
        sorts.into_iter().try_fold(self, Self::sorted)
    }

    /// Orders against a property, as [`Query::order_by_desc`](crate::Query::order_by_desc) does.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnknownProperty`], and [`StoreError::NotOrdered`] for vectors and Flex values.
    pub fn order_by_desc(self, property: &str) -> Result<Self> {
        let sort = Sort { descending: true, ..Sort::by(Path::property(property.to_owned())) };
        self.sorted(sort)
    }

    /// Orders by one more part of an order.
    ///
    /// # Errors
    ///
    /// As [`ObjectQuery::order_by_desc`].
    pub fn sorted(mut self, sort: Sort) -> Result<Self> {
        OrderTerm::new(&sort, self.selection.entity(), &self.inner.catalog)?;
        self.selection.push_order(sort);
        Ok(self)
    }

    /// Gives a parameter of the condition its value; as [`Query::set`](crate::Query::set).
    ///
    /// # Errors
    ///
    /// As [`Query::set`](crate::Query::set).
    pub fn set(&mut self, parameter: &str, value: impl Into<Argument>) -> Result<&mut Self> {
        self.selection.set(parameter, value.into())?;
        Ok(self)
    }

    /// Leaves out this many of the first results. Default: 0.
    pub fn offset(mut self, results: u64) -> Self {
        self.selection.set_offset(results);
        self
    }

    /// Gives no more than this many results. Default: all.
    pub fn limit(mut self, results: u64) -> Self {
        self.selection.set_limit(results);
        self
    }

    /// Gives each result the ids that it is linked to by the standalone relations of its entity, as a
    /// [`LongVector`](Value::LongVector) under the name of each; a put takes them the same way.
    pub fn with_links(mut self) -> Self {
        self.with_links = true;
        self
    }

    /// The results.
    ///
    /// # Errors
    ///
    /// If the store is damaged or cannot be read.
    pub fn find(&self) -> Result<Vec<Object>> {
        let mut all = Vec::new();
        self.for_each(|object| {
            all.push(object);
            Ok(())
        })?;
        Ok(all)
    }

    /// Hands each result to a closure, in order, without keeping them all; what the closure returns ends it.
    ///
    /// All of it is one read transaction, with what [`Store::read`] says of long ones.
    ///
    /// # Errors
    ///
    /// As [`ObjectQuery::find`], and what the closure returns.
    pub fn for_each(&self, mut take: impl FnMut(Object) -> Result<()>) -> Result<()> {
        let entity = self.selection.entity();
        self.access.read(|snapshot| {
            let relations = match self.with_links {
                true => relation_hops(snapshot.1, entity)?,
                false => Vec::new(),
            };
            self.selection.each(&snapshot, |id, record| {
                let mut object = read_object(&entity.def, id, record)?;
                for (name, hop) in &relations {
                    let mut ids = Vec::new();
                    hop.each(&snapshot.0, id, &mut |far| {
                        ids.push(far.cast_signed());
                        Ok(ControlFlow::Continue(()))
                    })?;
                    object.values.insert(name.clone(), Value::LongVector(ids));
                }
                take(object)
            })
        })
    }

    /// The ids of the results; it costs less than the results themselves.
    ///
    /// # Errors
    ///
    /// As [`ObjectQuery::find`].
    pub fn find_ids(&self) -> Result<Vec<ObjectId>> {
        self.access.read(|snapshot| self.selection.ids(&snapshot))
    }

    /// The first result.
    ///
    /// # Errors
    ///
    /// As [`ObjectQuery::find`].
    pub fn first(&self) -> Result<Option<Object>> {
        self.access.read(|snapshot| Ok(collect(&self.selection, &snapshot, Some(1))?.pop()))
    }

    /// The number of results, as [`ObjectQuery::find`] would give them: offset and limit count.
    ///
    /// # Errors
    ///
    /// As [`ObjectQuery::find`].
    pub fn count(&self) -> Result<u64> {
        self.access.read(|snapshot| self.selection.count(&snapshot))
    }

    /// The only result.
    ///
    /// # Errors
    ///
    /// [`StoreError::SeveralResults`] if there are several; as [`ObjectQuery::find`].
    pub fn unique(&self) -> Result<Option<Object>> {
        let found = self.access.read(|snapshot| collect(&self.selection, &snapshot, Some(2)))?;
        let mut found = found.into_iter();
        match (found.next(), found.next()) {
            (Some(one), Some(other)) => Err(self.selection.not_unique(one.id, other.id)),
            (one, _) => Ok(one),
        }
    }

    /// How the results are found; see [`Query::explain`](crate::Query::explain).
    ///
    /// # Errors
    ///
    /// As [`ObjectQuery::find`].
    pub fn explain(&self) -> Result<Explanation> {
        self.access.read(|snapshot| self.selection.explain(&snapshot))
    }
}

impl<A: WriteAccess> ObjectQuery<'_, A> {
    /// Removes the results, in one transaction; how many there were.
    ///
    /// # Errors
    ///
    /// As [`ObjectQuery::find`], and those of [`Store::write`].
    pub fn remove(&self) -> Result<u64> {
        self.access.write(|tx| self.selection.remove(tx))
    }

    /// Changes each result in place, in one transaction; how many there were. The closure is given the object with all its
    /// values; those that it changes are written.
    ///
    /// # Errors
    ///
    /// As [`ObjectQuery::find`], and those of [`ObjectBox::put`]; then nothing is changed, unless this is part of a transaction
    /// that goes on.
    pub fn update(&self, mut change: impl FnMut(&mut Object)) -> Result<u64> {
        let entity = self.selection.entity();
        self.access.write(|tx| {
            let ids = self.selection.ids_in_write(tx)?;
            for &id in &ids {
                let record = tx.record(entity, id)?;
                let record = record.ok_or_else(|| StoreError::not_found(&entity.def.name, id))?;
                let before = read_object(&entity.def, id, record)?;
                let mut after = before.clone();
                change(&mut after);
                after.id = id;
                after.values.retain(|name, value| before.values.get(name) != Some(value));
                put(tx, entity, &after)?;
            }
            Ok(ids.len() as u64)
        })
    }
}

impl Store {
    /// The objects of the entity of this name, addressed without a struct.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnknownEntity`].
    pub fn objects(&self, entity: &str) -> Result<ObjectBox> {
        let inner = self.inner().clone();
        Ok(ObjectBox { entity: inner.catalog.expect(entity)?.clone(), inner, access: self.clone() })
    }
}

impl<'s> ReadTxn<'s> {
    /// The objects of the entity of this name, as they are in this transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnknownEntity`].
    pub fn objects(&self, entity: &str) -> Result<ObjectBox<&ReadTxn<'s>>> {
        let inner = self.inner().clone();
        Ok(ObjectBox { entity: inner.catalog.expect(entity)?.clone(), inner, access: self })
    }
}

impl<'s> WriteTxn<'s> {
    /// The objects of the entity of this name, with all that this transaction wrote so far.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnknownEntity`].
    pub fn objects(&mut self, entity: &str) -> Result<ObjectBox<InWrite<'_, 's>>> {
        let inner = self.inner().clone();
        Ok(ObjectBox { entity: inner.catalog.expect(entity)?.clone(), inner, access: InWrite::new(self) })
    }
}

fn put(tx: &mut WriteTxn<'_>, entity: &Arc<EntityRuntime>, object: &Object) -> Result<ObjectId> {
    // Names and values are checked before an id is handed out.
    let (mut values, slots) = write_values(entity, object)?;
    let links = links_among_values(tx.inner(), entity, object)?;
    let (id, old) = tx.id_for_put(entity, object.id)?;
    let Some(old) = old else {
        tx.insert_object(entity, id, &mut values)?;
        links.iter().try_for_each(|(hop, ids)| tx.set_links(hop, id, ids))?;
        return Ok(id);
    };
    if !slots.is_empty() {
        let slots: Vec<u16> = slots.into_iter().filter(|&slot| !is_counter(entity, slot)).collect();
        let changed = entity.layout.parse(values.as_bytes()).map_err(StoreError::bad_record)?;
        let table = with_slots(entity, &table_of(&old)?, &changed, &slots)?;
        tx.write_object(entity, id, &old, &table, &slots)?;
    }
    links.iter().try_for_each(|(hop, ids)| tx.set_links(hop, id, ids))?;
    Ok(id)
}

fn is_counter(entity: &EntityRuntime, slot: u16) -> bool {
    entity.kind_at(slot).is_some_and(|kind| kind.kind == Kind::Counter)
}

/// The standalone relations of an entity, by name.
fn relation_hops(inner: &Inner, entity: &Arc<EntityRuntime>) -> Result<Vec<(String, Hop)>> {
    let names = entity.def.relations.iter().map(|relation| &relation.name);
    names.map(|name| Ok((name.clone(), inner.catalog.expect_hop(entity, name)?))).collect()
}

/// Whether a value stands for the links of a relation.
fn is_relation(def: &EntityDef, name: &str) -> bool {
    def.relation(name).is_some() && def.property(name).is_none()
}

/// The relations that an object names, with the ids that it is to be linked to.
fn links_among_values(
    inner: &Inner,
    entity: &Arc<EntityRuntime>,
    object: &Object,
) -> Result<Vec<(Hop, Vec<ObjectId>)>> {
    let named = object.values.iter().filter(|(name, _)| is_relation(&entity.def, name));
    named
        .map(|(name, value)| {
            let ids = match value {
                Value::Null => Vec::new(),
                Value::LongVector(ids) => ids.iter().map(|id| id.cast_unsigned()).collect(),
                other => {
                    let (entity, property) = (entity.def.name.clone(), name.clone());
                    let source = ValueError::Kind { ty: PropertyType::LongVector, got: other.kind() };
                    return Err(StoreError::Value { entity, property, source });
                }
            };
            Ok((inner.catalog.expect_hop(entity, name)?, ids))
        })
        .collect()
}

/// A table with the named values, and their slots in ascending order.
fn write_values<'e>(entity: &'e EntityRuntime, object: &Object) -> Result<(TableWriter<'e>, Vec<u16>)> {
    let def = &entity.def;
    let mut writer = TableWriter::new(&entity.layout);
    let mut slots = Vec::with_capacity(object.values.len());
    for (name, value) in object.values.iter().filter(|(name, _)| !is_relation(def, name)) {
        let property = property(def, name)?;
        let (entity, property_name) = (|| def.name.clone(), || name.clone());
        if property.is_id() {
            return Err(StoreError::IdAmongValues { entity: entity(), property: property_name() });
        }
        writer.set_value(property.slot(), value).map_err(|source| StoreError::Value {
            entity: entity(),
            property: property_name(),
            source,
        })?;
        slots.push(u16::try_from(property.slot()).expect("slots are fewer than PROPERTIES_MAX"));
    }
    slots.sort_unstable();
    Ok((writer, slots))
}

fn collect(selection: &Selection, snapshot: &Snapshot<'_>, max: Option<u64>) -> Result<Vec<Object>> {
    let def = &selection.entity().def;
    let mut objects = Vec::new();
    selection.each_until(snapshot, max, |id, record| {
        objects.push(read_object(def, id, record)?);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(objects)
}

pub(crate) fn read_object(def: &EntityDef, id: ObjectId, record: &[u8]) -> Result<Object> {
    let table = table_of(record)?;
    let value = |property: &PropertyDef| Ok((property.name.clone(), read_value(property, &table)?));
    Ok(Object { id, values: def.stored_properties().map(value).collect::<Result<_>>()? })
}

pub(crate) fn read_value(property: &PropertyDef, table: &Table<'_>) -> Result<Value> {
    let damaged =
        |what: &dyn fmt::Display| StoreError::damaged("record", format!("{}: {what}", property.name));
    let (slot, ty) = (property.slot(), property.ty);
    if ty == PropertyType::Relation {
        let id = table.int(slot, ty).map_err(|e| damaged(&e))?.unwrap_or(0);
        return Ok(if id == 0 { Value::Null } else { Value::Relation(id.cast_unsigned()) });
    }
    let Some(stored) = table.stored(slot, ty).map_err(|e| damaged(&e))? else { return Ok(Value::Null) };
    Ok(match value_of_cell(ty, &stored).map_err(|e| damaged(&e))? {
        Value::Int(number) if property.is_unsigned() => {
            // Bits above the width of the type are no part of an unsigned number.
            let unused_bits = 64 - 8 * stored.len().clamp(1, 8);
            Value::Int((number.cast_unsigned() << unused_bits >> unused_bits).cast_signed())
        }
        value => value,
    })
}

impl<A: Clone> Clone for ObjectBox<A> {
    fn clone(&self) -> Self {
        ObjectBox { inner: self.inner.clone(), entity: self.entity.clone(), access: self.access.clone() }
    }
}

impl<A> fmt::Debug for ObjectBox<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectBox").field("entity", &self.entity.def.name).finish_non_exhaustive()
    }
}

impl<A> fmt::Debug for ObjectQuery<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectQuery({}: {})", self.selection.entity().def.name, self.selection.expr())
    }
}
