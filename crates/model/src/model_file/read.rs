//! From the tree of a model file to its schema.

use serde_json::{Map, Value};

use super::{MODEL_VERSION, ModelFileError};
use crate::evolve::Retired;
use crate::ids::{EntityId, IndexId, PropertyId, Uid};
use crate::schema::{BacklinkDef, EntityDef, IndexDef, PropertyDef, RelationDef, Schema};
use crate::types::{ConflictPolicy, EntityFlags, MergeKind, PropertyFlags, PropertyType};

/// The lists of uids that are gone, in the order in which files have them.
const RETIRED_LISTS: [&str; 4] =
    ["retiredEntityUids", "retiredIndexUids", "retiredPropertyUids", "retiredRelationUids"];

/// Where an id and a uid that are used belong: the number, the uid and the place of who has them.
type Used = (u32, Uid, String);

/// The schema of a whole file.
pub(super) fn schema(document: &Map<String, Value>) -> Result<Schema, ModelFileError> {
    version(document)?;
    let mut entities = Vec::new();
    let top = Place { object: document, name: "the top level".to_owned() };
    for (at, value) in top.array("entities")?.iter().enumerate() {
        entities.push(entity(Place::new(value, format!("entities[{at}]"))?)?);
    }
    check_retired(document, &entities)?;
    check_last(&top, &entities)?;
    Ok(Schema::new(entities)?)
}

/// The largest numbers and the retired uids of a file.
pub(super) fn retired(document: &Map<String, Value>) -> Result<Retired, ModelFileError> {
    let top = Place { object: document, name: "the top level".to_owned() };
    let mut uids = Vec::new();
    for list in RETIRED_LISTS {
        uids.extend(retired_list(&top, list)?);
    }
    Ok(Retired {
        last_entity: EntityId(top.last("lastEntityId")?.0),
        last_index: IndexId(top.last("lastIndexId")?.0),
        last_relation: top.last("lastRelationId")?.0,
        uids,
    })
}

/// The uids of entities that were removed.
pub(super) fn retired_entities(document: &Map<String, Value>) -> Result<Vec<Uid>, ModelFileError> {
    retired_list(&Place { object: document, name: "the top level".to_owned() }, "retiredEntityUids")
}

/// The policy of an entity whose file does not name one: a precedence decides, and a visible clock belongs to whole objects.
pub(super) fn implied_conflict<'a>(flags: impl Iterator<Item = &'a PropertyFlags>) -> ConflictPolicy {
    let all = flags.fold(PropertyFlags::NONE, |all, &flags| all.with(flags));
    if all.has(PropertyFlags::SYNC_PRECEDENCE) {
        ConflictPolicy::Precedence
    } else if all.has(PropertyFlags::SYNC_CLOCK) {
        ConflictPolicy::Object
    } else {
        ConflictPolicy::Property
    }
}

/// Parts `"1:8717895732742165505"` into id and uid; the number part may not be missing.
pub(super) fn id_and_uid(text: &str) -> Option<(u32, Uid)> {
    let (id, uid) = text.split_once(':')?;
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(id) || !digits(uid) {
        return None;
    }
    Some((id.parse().ok()?, Uid(uid.parse().ok()?)))
}

fn version(document: &Map<String, Value>) -> Result<(), ModelFileError> {
    let top = Place { object: document, name: "the top level".to_owned() };
    let Some(version) = top.number("modelVersion")? else {
        return Err(
            top.wrong("modelVersion is missing; is this a model file? Such files say \"modelVersion\": 5")
        );
    };
    if version < MODEL_VERSION {
        let remedy = "let the tool that wrote it, in a current release, write it again";
        return Err(ModelFileError::Version { found: version, remedy });
    }
    let minimum = top.number("modelVersionParserMinimum")?.unwrap_or(version);
    if minimum > MODEL_VERSION {
        return Err(ModelFileError::Version { found: minimum, remedy: "update this release" });
    }
    Ok(())
}

fn entity(mut place: Place<'_>) -> Result<EntityDef, ModelFileError> {
    let name = place.text("name")?.to_owned();
    place.name.clone_from(&name);
    let (id, uid) = place.id("id")?;
    let mut properties = Vec::new();
    for (at, value) in place.array("properties")?.iter().enumerate() {
        properties.push(property(Place::new(value, format!("{name}.properties[{at}]"))?, &name)?);
    }
    let mut relations = Vec::new();
    for (at, value) in place.array_or_none("relations")?.iter().enumerate() {
        relations.push(relation(Place::new(value, format!("{name}.relations[{at}]"))?, &name)?);
    }
    let mut backlinks = Vec::new();
    for (at, value) in place.array_or_none("backlinks")?.iter().enumerate() {
        backlinks.push(backlink(Place::new(value, format!("{name}.backlinks[{at}]"))?, &name)?);
    }
    let used = properties.iter().map(|p: &PropertyDef| (p.id.0, p.uid, format!("{name}.{}", p.name)));
    let last_property_id = PropertyId(last(&place, "lastPropertyId", used)?);
    let conflict = match place.object.get("conflict") {
        None => implied_conflict(properties.iter().map(|property| &property.flags)),
        Some(value) => value.as_str().and_then(ConflictPolicy::from_name).ok_or_else(|| {
            let policies: Vec<_> =
                ConflictPolicy::ALL.iter().map(|policy| format!("{:?}", policy.name())).collect();
            let policies = policies.join(", ");
            place.wrong(format!("conflict is {}; it is one of {policies}, or left out", shown(value)))
        })?,
    };
    Ok(EntityDef {
        id: EntityId(id),
        uid,
        flags: EntityFlags(place.flags()?),
        conflict,
        properties,
        relations,
        backlinks,
        last_property_id,
        name,
    })
}

fn property(mut place: Place<'_>, entity: &str) -> Result<PropertyDef, ModelFileError> {
    let name = place.text("name")?.to_owned();
    place.name = format!("{entity}.{name}");
    let (id, uid) = place.id("id")?;
    let Some(number) = place.number("type")? else {
        return Err(place.wrong("type is missing; give the number of its type, such as 9 for String"));
    };
    let Some(ty) = u8::try_from(number).ok().and_then(PropertyType::from_number) else {
        return Err(place.wrong(format!(
            "this release knows no type {number}; update it, or choose a type that it knows"
        )));
    };
    // An index that never was may be left out or be an empty text.
    let index = match place.object.get("indexId") {
        None => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(_) => {
            let (id, uid) = place.id("indexId")?;
            Some(IndexDef { id: IndexId(id), uid })
        }
    };
    let relation_target = match place.object.get("relationTarget") {
        None => None,
        Some(_) => Some(place.text("relationTarget")?.to_owned()),
    };
    let merge = match place.object.get("merge") {
        None => MergeKind::Latest,
        Some(value) => value.as_str().and_then(MergeKind::from_name).ok_or_else(|| {
            let names: Vec<_> = MergeKind::NAMED.iter().filter_map(|kind| kind.name()).collect();
            let names = names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(" or ");
            place.wrong(format!("merge is {}; it is {names}, or left out", shown(value)))
        })?,
    };
    Ok(PropertyDef {
        id: PropertyId(id),
        uid,
        name,
        ty,
        flags: PropertyFlags(place.flags()?),
        index,
        relation_target,
        merge,
    })
}

fn relation(mut place: Place<'_>, entity: &str) -> Result<RelationDef, ModelFileError> {
    let name = place.text("name")?.to_owned();
    place.name = format!("{entity}.{name}");
    let (id, uid) = place.id("id")?;
    let owned = place.truth("owned")?;
    Ok(RelationDef { id, uid, target: place.id("targetId")?.1, name, owned })
}

fn backlink(mut place: Place<'_>, entity: &str) -> Result<BacklinkDef, ModelFileError> {
    let name = place.text("name")?.to_owned();
    place.name = format!("{entity}.{name}");
    let of = match place.object.get("relationId") {
        Some(_) => place.id("relationId")?.1,
        None => place.id("propertyId")?.1,
    };
    Ok(BacklinkDef { of, owned: place.truth("owned")?, name })
}

fn check_last(top: &Place<'_>, entities: &[EntityDef]) -> Result<(), ModelFileError> {
    last(top, "lastEntityId", entities.iter().map(|entity| (entity.id.0, entity.uid, entity.name.clone())))?;
    let indexes = entities.iter().flat_map(|entity| {
        let named = move |property: &PropertyDef| format!("the index of {}.{}", entity.name, property.name);
        entity.properties.iter().filter_map(move |p| p.index.map(|index| (index.id.0, index.uid, named(p))))
    });
    last(top, "lastIndexId", indexes)?;
    let relations = entities.iter().flat_map(|entity| {
        entity.relations.iter().map(move |r| (r.id, r.uid, format!("{}.{}", entity.name, r.name)))
    });
    last(top, "lastRelationId", relations)?;
    Ok(())
}

/// The largest number ever used, checked against those in use.
fn last(place: &Place<'_>, key: &str, used: impl Iterator<Item = Used>) -> Result<u32, ModelFileError> {
    let (last, last_uid) = place.last(key)?;
    for (id, uid, name) in used {
        if id > last {
            return Err(place.wrong(format!(
                "{key} is \"{last}:{last_uid}\", but {name} has id {id}; set it to the largest id that was ever used"
            )));
        }
        // Two branches that each added something leave the same number with two uids.
        if id == last && uid != last_uid && last_uid.0 != 0 {
            return Err(place.wrong(format!(
                "{key} is \"{last}:{last_uid}\", but {name} has \"{id}:{uid}\"; two versions of the file were mixed: give \
                 what was added last the next free id"
            )));
        }
    }
    Ok(last)
}

fn check_retired(document: &Map<String, Value>, entities: &[EntityDef]) -> Result<(), ModelFileError> {
    let retired: std::collections::HashSet<Uid> = retired(document)?.uids.into_iter().collect();
    let refuse = |uid: Uid, place: String| match retired.contains(&uid) {
        true => Err(ModelFileError::Field {
            place,
            what: format!(
                "its uid {uid} is in a list of retired uids; give it a new one, or take that out of the list"
            ),
        }),
        false => Ok(()),
    };
    for entity in entities {
        refuse(entity.uid, entity.name.clone())?;
        for property in &entity.properties {
            refuse(property.uid, format!("{}.{}", entity.name, property.name))?;
            if let Some(index) = property.index {
                refuse(index.uid, format!("the index of {}.{}", entity.name, property.name))?;
            }
        }
        for relation in &entity.relations {
            refuse(relation.uid, format!("{}.{}", entity.name, relation.name))?;
        }
    }
    Ok(())
}

fn retired_list(top: &Place<'_>, key: &str) -> Result<Vec<Uid>, ModelFileError> {
    let read = |value: &Value| {
        let wrong =
            || top.wrong(format!("{key} holds {}; it is a list of uids, each a whole number", shown(value)));
        value.as_u64().map(Uid).ok_or_else(wrong)
    };
    top.array_or_none(key)?.iter().map(read).collect()
}

/// An object of the file, and how messages name it.
struct Place<'a> {
    object: &'a Map<String, Value>,
    name: String,
}

impl<'a> Place<'a> {
    fn new(value: &'a Value, name: String) -> Result<Self, ModelFileError> {
        match value {
            Value::Object(object) => Ok(Place { object, name }),
            other => {
                let what = format!("here is {}; an object in braces is expected", shown(other));
                Err(ModelFileError::Field { place: name, what })
            }
        }
    }

    fn wrong(&self, what: impl Into<String>) -> ModelFileError {
        ModelFileError::Field { place: self.name.clone(), what: what.into() }
    }

    fn text(&self, key: &str) -> Result<&'a str, ModelFileError> {
        match self.object.get(key) {
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(self.wrong(format!("{key} is {}; put it in quotes", shown(other)))),
            None => Err(self.wrong(format!("{key} is missing; add it"))),
        }
    }

    /// A whole number; `None` if it is not there.
    fn number(&self, key: &str) -> Result<Option<u64>, ModelFileError> {
        let wrong =
            |value| self.wrong(format!("{key} is {}; a whole number from 0 is expected", shown(value)));
        self.object.get(key).map(|value| value.as_u64().ok_or_else(|| wrong(value))).transpose()
    }

    /// A truth value; false if it is not there.
    fn truth(&self, key: &str) -> Result<bool, ModelFileError> {
        match self.object.get(key) {
            None => Ok(false),
            Some(Value::Bool(truth)) => Ok(*truth),
            Some(other) => Err(self.wrong(format!("{key} is {}; write true, or leave it out", shown(other)))),
        }
    }

    fn flags(&self) -> Result<u32, ModelFileError> {
        let flags = self.number("flags")?.unwrap_or(0);
        u32::try_from(flags)
            .map_err(|_| self.wrong(format!("flags is {flags}; the sum of its flags has 32 bits at most")))
    }

    fn id(&self, key: &str) -> Result<(u32, Uid), ModelFileError> {
        let text = self.text(key)?;
        id_and_uid(text).ok_or_else(|| {
            self.wrong(format!(
                "{key} is {}; an id and a uid are expected, such as \"1:8717895732742165505\"",
                shown_text(text)
            ))
        })
    }

    /// The largest id that was used and its uid; 0 and 0 where nothing was used, which files tell in several ways.
    fn last(&self, key: &str) -> Result<(u32, Uid), ModelFileError> {
        match self.object.get(key) {
            None => Ok((0, Uid(0))),
            Some(Value::String(text)) if text.is_empty() => Ok((0, Uid(0))),
            Some(_) => self.id(key),
        }
    }

    fn array(&self, key: &str) -> Result<&'a [Value], ModelFileError> {
        if self.object.contains_key(key) {
            self.array_or_none(key)
        } else {
            Err(self.wrong(format!("{key} is missing; add it")))
        }
    }

    fn array_or_none(&self, key: &str) -> Result<&'a [Value], ModelFileError> {
        match self.object.get(key) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => {
                Err(self.wrong(format!("{key} is {}; a list in brackets is expected", shown(other))))
            }
        }
    }
}

/// A value as messages show it: short values as they are, others by their kind.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => shown_text(text),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => other.to_string(),
    }
}

fn shown_text(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{:?} and more", &text[..end]),
        None => format!("{text:?}"),
    }
}
