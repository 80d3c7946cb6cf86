//! From what an application's structs describe to a schema, and from one version to the next.

mod obstacles;
mod relations;

use std::collections::HashMap;

use crate::digest::Digest;
use crate::ids::{EntityId, IndexId, PropertyId, Uid};
use crate::schema::{EntityDef, IndexDef, PropertyDef, Schema, SchemaError};
use crate::types::{ConflictPolicy, EntityFlags, MergeKind, PropertyFlags, PropertyType};

pub use self::obstacles::{Condition, Obstacle, conditions, obstacles};

/// What a struct wants stored.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityDescription {
    /// The entity's name.
    pub name: String,
    /// A fixed identity; without one it follows from the name.
    pub uid: Option<Uid>,
    /// The former name, whose identity goes on.
    pub was: Option<String>,
    /// What is special about it.
    pub flags: EntityFlags,
    /// Which of two concurrent writes wins.
    pub conflict: ConflictPolicy,
    /// The fields in order, the id among them.
    pub properties: Vec<PropertyDescription>,
    /// Standalone many-to-many relations.
    pub relations: Vec<RelationDescription>,
    /// What leads here and has a name from this side.
    pub backlinks: Vec<BacklinkDescription>,
}

/// What a field wants stored.
#[derive(Clone, Debug, PartialEq)]
pub struct PropertyDescription {
    /// The property's name.
    pub name: String,
    /// A fixed identity; without one it follows from the names of entity and property.
    pub uid: Option<Uid>,
    /// The former name, whose identity goes on.
    pub was: Option<String>,
    /// What it holds.
    pub ty: PropertyType,
    /// What is special about it.
    pub flags: PropertyFlags,
    /// For links: the name of the entity linked to.
    pub relation_target: Option<String>,
    /// How concurrent changes come together.
    pub merge: MergeKind,
}

/// What a field wants of a standalone many-to-many relation.
#[derive(Clone, Debug, PartialEq)]
pub struct RelationDescription {
    /// The relation's name.
    pub name: String,
    /// A fixed identity; without one it follows from the names of entity and relation.
    pub uid: Option<Uid>,
    /// The former name, whose identity goes on.
    pub was: Option<String>,
    /// The name of the entity linked to.
    pub target: String,
    /// Whether an object that is removed takes those with it that it links to.
    pub owned: bool,
}

/// The other direction of a link or relation, as a field wants it.
#[derive(Clone, Debug, PartialEq)]
pub struct BacklinkDescription {
    /// The backlink's name.
    pub name: String,
    /// The name of the entity that links here.
    pub source: String,
    /// The name of its link or relation. A link gets an index.
    pub to: String,
    /// Whether an object that is removed takes those with it that link to it.
    pub owned: bool,
}

/// The largest numbers that a model ever used, and the identities that it retired: none is used again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Retired {
    /// The largest entity id.
    pub last_entity: EntityId,
    /// The largest index id.
    pub last_index: IndexId,
    /// The largest number of a relation.
    pub last_relation: u32,
    /// Identities of entities, properties, indexes and relations that are gone.
    pub uids: Vec<Uid>,
}

/// The identity that follows from a name: `"Task"`, `"Task.done"`, `"Task.done#index"`.
///
/// Equal structs on two devices get equal identities without any file. Never 0, and at most 63 bits, so that languages without
/// unsigned numbers can hold it.
pub fn name_uid(path: &str) -> Uid {
    let mut digest = Digest::default();
    digest.update(b"reconvene uid 1 ");
    digest.update(path.as_bytes());
    let hash = digest.finalize();
    let number = u64::from_le_bytes(hash[..8].try_into().expect("a hash has 32 bytes"));
    Uid((number & (u64::MAX >> 1)).max(1))
}

/// Brings a stored schema up to what is described; what is stored but not described stays.
///
/// Entities and properties are matched by identity, so a rename keeps the data. New ones get ids that were never used;
/// properties that are no longer described are dropped, and their ids are not used again.
///
/// # Errors
///
/// [`SchemaError`] for a change of type under the same identity, for an identity that was retired, and for everything that
/// [`Schema::new`] refuses.
pub fn evolve(stored: &Schema, wanted: &[EntityDescription]) -> Result<Schema, SchemaError> {
    evolve_with(stored, wanted, &mut Retired::default())
}

/// As [`evolve`], for a model that also keeps what it retired; properties and indexes that go are added there.
///
/// # Errors
///
/// As [`evolve`].
pub fn evolve_with(
    stored: &Schema,
    wanted: &[EntityDescription],
    retired: &mut Retired,
) -> Result<Schema, SchemaError> {
    let mut entities: Vec<EntityDef> = stored.entities().to_vec();
    for entity in &entities {
        retired.last_entity = retired.last_entity.max(entity.id);
        for property in &entity.properties {
            retired.last_index = retired.last_index.max(property.index.map_or(IndexId(0), |index| index.id));
        }
        for relation in &entity.relations {
            retired.last_relation = retired.last_relation.max(relation.id);
        }
    }
    let names: Vec<Naming<'_>> = wanted.iter().map(Naming::of_entity).collect();
    let backlinked = relations::Backlinked::new(stored, wanted);
    let known: Vec<(String, Uid)> = entities.iter().map(|entity| (entity.name.clone(), entity.uid)).collect();
    let mut described: HashMap<Uid, &EntityDescription> = HashMap::with_capacity(wanted.len());
    for (description, naming) in wanted.iter().zip(&names) {
        let known = known.iter().map(|(name, uid)| (name.as_str(), *uid));
        let uid =
            naming.identity(known, &names, name_uid).map_err(|what| invalid(&description.name, what))?;
        match described.insert(uid, description) {
            None => {}
            Some(same) if same == description => continue,
            Some(other) => {
                let what =
                    format!("it is described twice, also as {}; rename one, or give one a uid", other.name);
                return Err(invalid(&description.name, what));
            }
        }
        let at = match entities.iter().position(|entity| entity.uid == uid) {
            Some(at) => at,
            None => {
                refuse_retired(retired, uid, &description.name)?;
                entities.push(EntityDef {
                    id: EntityId(next(&mut retired.last_entity.0, &description.name)?),
                    uid,
                    name: String::new(),
                    flags: EntityFlags::NONE,
                    conflict: ConflictPolicy::default(),
                    properties: Vec::new(),
                    relations: Vec::new(),
                    backlinks: Vec::new(),
                    last_property_id: PropertyId(0),
                });
                entities.len() - 1
            }
        };
        evolve_entity(&mut entities[at], description, &backlinked, retired)?;
    }
    follow_renames(stored, &mut entities, wanted);
    relations::evolve(&mut entities, wanted, retired)?;
    Schema::new(entities)
}

/// Takes the entities of these names out of a schema; their uids, and those of all that belongs to them, join the retired ones.
///
/// Names of which the schema knows nothing are passed over, so that an application can say for good what it removed once.
///
/// # Errors
///
/// [`SchemaError::Invalid`] if an entity that stays links to one that goes.
pub fn retire(stored: &Schema, names: &[String], retired: &mut Retired) -> Result<Schema, SchemaError> {
    let goes = |entity: &EntityDef| names.contains(&entity.name);
    for entity in stored.entities().iter().filter(|entity| goes(entity)) {
        let mut others = stored.entities().iter().filter(|other| !goes(other));
        if let Some(place) = others.find_map(|other| other.link_to(entity)) {
            let what =
                format!("it links to {}, which is to be removed; remove the link as well", entity.name);
            return Err(invalid(place, what));
        }
        retired.last_entity = retired.last_entity.max(entity.id);
        retired.uids.push(entity.uid);
        for property in &entity.properties {
            retired.uids.push(property.uid);
            if let Some(index) = property.index {
                retired.last_index = retired.last_index.max(index.id);
                retired.uids.push(index.uid);
            }
        }
        for relation in &entity.relations {
            retired.last_relation = retired.last_relation.max(relation.id);
            retired.uids.push(relation.uid);
        }
    }
    let mut entities: Vec<EntityDef> =
        stored.entities().iter().filter(|entity| !goes(entity)).cloned().collect();
    relations::drop_backlinks(&mut entities);
    Schema::new(entities)
}

/// Lets the links of entities that are not described follow their targets to new names.
fn follow_renames(stored: &Schema, entities: &mut [EntityDef], wanted: &[EntityDescription]) {
    let renamed: Vec<(String, String)> = entities
        .iter()
        .filter_map(|entity| {
            let before = &stored.entity_by_uid(entity.uid)?.name;
            (*before != entity.name).then(|| (before.clone(), entity.name.clone()))
        })
        .collect();
    for entity in entities.iter_mut().filter(|entity| wanted.iter().all(|wanted| wanted.name != entity.name))
    {
        for target in entity.properties.iter_mut().filter_map(|property| property.relation_target.as_mut()) {
            if let Some((_, name)) = renamed.iter().find(|(before, _)| before == target) {
                target.clone_from(name);
            }
        }
    }
}

/// What a description says of its identity.
#[derive(Clone, Copy)]
struct Naming<'a> {
    name: &'a str,
    was: Option<&'a str>,
    uid: Option<Uid>,
}

impl<'a> Naming<'a> {
    fn of_entity(description: &'a EntityDescription) -> Self {
        Naming { name: &description.name, was: description.was.as_deref(), uid: description.uid }
    }

    fn of_relation(description: &'a RelationDescription) -> Self {
        Naming { name: &description.name, was: description.was.as_deref(), uid: description.uid }
    }

    fn of_property(description: &'a PropertyDescription) -> Self {
        Naming { name: &description.name, was: description.was.as_deref(), uid: description.uid }
    }

    /// By fixed uid; by the former name, derived or stored; by the name under which it is stored; else derived from the name.
    ///
    /// A rename is described for as long as old devices may exist, so the former name may belong to something else by then:
    /// to another of `all` descriptions.
    fn identity<'s>(
        self,
        stored: impl Iterator<Item = (&'s str, Uid)> + Clone,
        all: &[Naming<'_>],
        derive: impl Fn(&str) -> Uid,
    ) -> Result<Uid, &'static str> {
        if let Some(uid) = self.uid {
            return Ok(uid);
        }
        let of_name = |name: &str| stored.clone().find(|&(other, _)| other == name).map(|(_, uid)| uid);
        let Some(was) = self.was else {
            return Ok(of_name(self.name).unwrap_or_else(|| derive(self.name)));
        };
        let derived = derive(was);
        let is_derived = stored.clone().any(|(_, uid)| uid == derived);
        let former = if is_derived { Some(derived) } else { of_name(was) };
        let (former, current) = match (former, of_name(self.name)) {
            (Some(former), Some(current)) if former != current => (former, current),
            (former, current) => return Ok(former.or(current).unwrap_or(derived)),
        };
        match all.iter().find(|other| other.name == was).map(|other| (other.uid, other.was)) {
            // The rename is of today, and what had the new name until then is dropped or renamed as well.
            None => Ok(former),
            Some((Some(uid), _)) if uid != former => Ok(former),
            Some((None, Some(_))) if is_derived => Ok(former),
            Some((None, Some(_))) => Err(
                "whether it was renamed already cannot be told, because its former name is the new name of something \
                 else; name it by uid instead of by former name",
            ),
            // The rename is of former times, and something else has taken the name since.
            Some(_) => Ok(current),
        }
    }
}

fn evolve_entity(
    entity: &mut EntityDef,
    wanted: &EntityDescription,
    backlinked: &relations::Backlinked<'_>,
    retired: &mut Retired,
) -> Result<(), SchemaError> {
    // Identities of properties follow from the name that the entity's own identity came from.
    let root = wanted.was.as_deref().unwrap_or(&wanted.name);
    let mut properties = Vec::with_capacity(wanted.properties.len());
    let names: Vec<Naming<'_>> = wanted.properties.iter().map(Naming::of_property).collect();
    for (description, naming) in wanted.properties.iter().zip(&names) {
        let place = || format!("{}.{}", wanted.name, description.name);
        let stored = entity.properties.iter().map(|property| (property.name.as_str(), property.uid));
        let derive = |name: &str| name_uid(&format!("{root}.{name}"));
        let uid = naming.identity(stored, &names, derive).map_err(|what| invalid(place(), what))?;
        if properties.iter().any(|other: &PropertyDef| other.uid == uid) {
            let what =
                format!("another field has its uid {uid}, by name or by former name; give one a new uid");
            return Err(invalid(place(), what));
        }
        let mut property = match entity.properties.iter().find(|property| property.uid == uid) {
            Some(found) if found.ty == description.ty && found.merge != description.merge => {
                let named = |merge: MergeKind| merge.name().unwrap_or("no counter or set");
                let what = format!(
                    "it is stored as {} and described as {}; how changes merge cannot be changed: give the property a new uid, \
                     and copy the values",
                    named(found.merge),
                    named(description.merge)
                );
                return Err(invalid(place(), what));
            }
            Some(found) if found.ty == description.ty => found.clone(),
            Some(found) => {
                let what = format!(
                    "it is stored as {} and described as {}; values are not converted: give the property a new uid, and \
                     copy them",
                    found.ty, description.ty
                );
                return Err(invalid(place(), what));
            }
            None => {
                refuse_retired(retired, uid, &place())?;
                PropertyDef {
                    id: PropertyId(next(&mut entity.last_property_id.0, &place())?),
                    uid,
                    name: String::new(),
                    ty: description.ty,
                    flags: PropertyFlags::NONE,
                    index: None,
                    relation_target: None,
                    merge: description.merge,
                }
            }
        };
        property.name.clone_from(&description.name);
        property.flags = description.flags;
        if backlinked.contains(wanted, description, uid) {
            property.flags = property.flags.with(PropertyFlags::INDEXED);
        }
        property.relation_target.clone_from(&description.relation_target);
        let wants_index =
            [PropertyFlags::INDEXED, PropertyFlags::UNIQUE].iter().any(|&flag| property.flags.has(flag));
        match (wants_index && !property.is_id(), property.index) {
            (true, None) => property.index = Some(new_index(property.uid, &place(), retired)?),
            (false, Some(index)) => {
                retired.uids.push(index.uid);
                property.index = None;
            }
            _ => {}
        }
        properties.push(property);
    }
    // No field stands for a virtual property, so that it is not gone where the struct does not name it.
    let is_kept = |old: &&PropertyDef| {
        old.flags.has(PropertyFlags::VIRTUAL) && !properties.iter().any(|new| new.uid == old.uid)
    };
    let kept: Vec<PropertyDef> = entity.properties.iter().filter(is_kept).cloned().collect();
    properties.extend(kept);
    for gone in entity.properties.iter().filter(|old| !properties.iter().any(|new| new.uid == old.uid)) {
        retired.uids.push(gone.uid);
        retired.uids.extend(gone.index.map(|index| index.uid));
    }
    properties.sort_by_key(|property| property.id);
    entity.name.clone_from(&wanted.name);
    entity.flags = wanted.flags;
    entity.conflict = wanted.conflict;
    entity.properties = properties;
    Ok(())
}

/// The index that a property begins to have.
fn new_index(property: Uid, place: &str, retired: &mut Retired) -> Result<IndexDef, SchemaError> {
    let id = IndexId(next(&mut retired.last_index.0, place)?);
    let mut uid = name_uid(&format!("{property}#index"));
    // An index that was dropped and is wanted again is a new one.
    while retired.uids.contains(&uid) {
        uid = name_uid(&format!("{uid}#index"));
    }
    Ok(IndexDef { id, uid })
}

fn refuse_retired(retired: &Retired, uid: Uid, place: &str) -> Result<(), SchemaError> {
    if retired.uids.contains(&uid) {
        let what = format!(
            "its uid {uid} was retired; give it a new one with #[property(uid = ..)] or #[entity(uid = ..)]"
        );
        return Err(invalid(place, what));
    }
    Ok(())
}

/// The next number, which a model file may have brought to its end.
fn next(last: &mut u32, place: &str) -> Result<u32, SchemaError> {
    let Some(next) = last.checked_add(1) else {
        return Err(invalid(place, "there is no number left for it; correct the last ids in the model file"));
    };
    *last = next;
    Ok(next)
}

fn invalid(place: impl Into<String>, what: impl Into<String>) -> SchemaError {
    SchemaError::Invalid { place: place.into(), what: what.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn property(name: &str, ty: PropertyType, flags: PropertyFlags) -> PropertyDescription {
        let merge = MergeKind::Latest;
        PropertyDescription {
            name: name.into(),
            uid: None,
            was: None,
            ty,
            flags,
            relation_target: None,
            merge,
        }
    }

    fn task(properties: Vec<PropertyDescription>) -> EntityDescription {
        let mut all = vec![property("id", PropertyType::Long, PropertyFlags::ID)];
        all.extend(properties);
        EntityDescription {
            name: "Task".into(),
            uid: None,
            was: None,
            flags: EntityFlags::SYNC_ENABLED,
            conflict: ConflictPolicy::Property,
            properties: all,
            relations: Vec::new(),
            backlinks: Vec::new(),
        }
    }

    fn text(name: &str) -> PropertyDescription {
        property(name, PropertyType::String, PropertyFlags::NONE)
    }

    #[test]
    fn equal_structs_get_equal_identities_whatever_their_order() {
        let one = evolve(&Schema::default(), &[task(vec![text("a"), text("b")])]).unwrap();
        let two = evolve(&Schema::default(), &[task(vec![text("b"), text("a")])]).unwrap();
        assert_eq!(one.base_hash(), two.base_hash());
        assert_ne!(one.entities()[0].properties, two.entities()[0].properties);
    }

    #[test]
    fn ids_of_dropped_properties_are_not_used_again() {
        let first = evolve(&Schema::default(), &[task(vec![text("a"), text("b")])]).unwrap();
        let second = evolve(&first, &[task(vec![text("b")])]).unwrap();
        let third = evolve(&second, &[task(vec![text("b"), text("c")])]).unwrap();
        let entity = third.entity_by_name("Task").unwrap();
        assert_eq!(entity.property("b").unwrap().id, PropertyId(3));
        assert_eq!(entity.property("c").unwrap().id, PropertyId(4));
    }

    #[test]
    fn a_rename_keeps_identity_and_id_on_old_devices_and_fresh_ones() {
        let renamed = || {
            let mut property = text("title");
            property.was = Some("text".into());
            let mut entity = task(vec![property]);
            entity.name = "Todo".into();
            entity.was = Some("Task".into());
            [entity]
        };
        let old = evolve(&Schema::default(), &[task(vec![text("text")])]).unwrap();
        let (upgraded, fresh) =
            (evolve(&old, &renamed()).unwrap(), evolve(&Schema::default(), &renamed()).unwrap());
        for schema in [&upgraded, &fresh] {
            let entity = schema.entity_by_name("Todo").unwrap();
            assert_eq!(entity.uid, name_uid("Task"));
            assert_eq!(entity.property("title").unwrap().uid, name_uid("Task.text"));
        }
        assert_eq!(evolve(&upgraded, &renamed()).unwrap(), upgraded, "opening again changes nothing");
    }

    #[test]
    fn a_change_of_type_needs_a_new_uid() {
        let old = evolve(&Schema::default(), &[task(vec![text("a")])]).unwrap();
        let mut changed = property("a", PropertyType::Long, PropertyFlags::NONE);
        let error = evolve(&old, &[task(vec![changed.clone()])]).unwrap_err();
        assert!(error.to_string().contains("give the property a new uid"), "{error}");
        changed.uid = Some(Uid(77));
        assert!(evolve(&old, &[task(vec![changed])]).is_ok());
    }

    #[test]
    fn an_entity_that_was_removed_is_gone_for_good() {
        let mut note = task(vec![text("a")]);
        note.name = "Note".into();
        let mut retired = Retired::default();
        let both = evolve(&Schema::default(), &[task(vec![text("a")]), note.clone()]).unwrap();
        let names = ["Note".to_owned(), "Never".to_owned()];
        let one = retire(&both, &names, &mut retired).unwrap();
        assert!(one.entity_by_name("Task").is_some() && one.entity_by_name("Note").is_none());
        assert_eq!(retire(&one, &names, &mut retired).unwrap(), one, "to say it again changes nothing");
        let error = evolve_with(&one, &[note.clone()], &mut retired).unwrap_err();
        assert!(error.to_string().contains("was retired"), "{error}");
        note.uid = Some(Uid(7));
        note.properties.iter_mut().zip(70..).for_each(|(property, uid)| property.uid = Some(Uid(uid)));
        let again = evolve_with(&one, &[note], &mut retired).unwrap();
        assert_eq!(again.entity_by_name("Note").unwrap().id, EntityId(3));
    }

    #[test]
    fn what_is_linked_to_is_not_removed() {
        let mut link = property("task", PropertyType::Relation, PropertyFlags::NONE);
        link.relation_target = Some("Task".into());
        let mut note = task(vec![link]);
        note.name = "Note".into();
        let both = evolve(&Schema::default(), &[task(vec![]), note]).unwrap();
        let remove = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            retire(&both, &names, &mut Retired::default())
        };
        let error = remove(&["Task"]).unwrap_err().to_string();
        assert!(error.contains("Note.task") && error.contains("remove the link as well"), "{error}");
        assert_eq!(remove(&["Task", "Note"]).unwrap(), Schema::default());
    }

    #[test]
    fn an_index_comes_and_goes_with_its_flag() {
        let mut retired = Retired::default();
        let indexed = || [task(vec![property("a", PropertyType::String, PropertyFlags::INDEXED)])];
        let first = evolve_with(&Schema::default(), &indexed(), &mut retired).unwrap();
        let without = evolve_with(&first, &[task(vec![text("a")])], &mut retired).unwrap();
        assert_eq!(without.entities()[0].property("a").unwrap().index, None);
        let again = evolve_with(&without, &indexed(), &mut retired).unwrap();
        let (old, new) = (&first.entities()[0], &again.entities()[0]);
        assert_ne!(old.property("a").unwrap().index, new.property("a").unwrap().index);
    }
}
