//! Relations and backlinks of a schema, brought up to what is described.
//!
//! They name other entities, so they are looked at when all entities are what they are to be.

use std::collections::HashSet;

use super::{
    BacklinkDescription, EntityDescription, Naming, PropertyDescription, RelationDescription, Retired,
    invalid, name_uid, new_index, next, refuse_retired,
};
use crate::ids::Uid;
use crate::schema::{BacklinkDef, EntityDef, RelationDef, Schema, SchemaError};
use crate::types::PropertyFlags;

/// The links that have a name from their other side, and need an index for it.
pub(super) struct Backlinked<'a> {
    described: HashSet<(&'a str, &'a str)>,
    /// Those whose other side is not described and stays as it is.
    stored: HashSet<Uid>,
}

impl<'a> Backlinked<'a> {
    pub(super) fn new(stored: &Schema, wanted: &'a [EntityDescription]) -> Self {
        let of = |backlink: &'a BacklinkDescription| (backlink.source.as_str(), backlink.to.as_str());
        let is_described = |entity: &&EntityDef| {
            let names = [Some(entity.name.as_str())];
            wanted.iter().any(|wanted| {
                names.contains(&Some(wanted.name.as_str()))
                    || names.contains(&wanted.was.as_deref())
                    || wanted.uid == Some(entity.uid)
            })
        };
        let kept = stored.entities().iter().filter(|entity| !is_described(entity));
        Backlinked {
            described: wanted.iter().flat_map(|entity| &entity.backlinks).map(of).collect(),
            stored: kept.flat_map(|entity| &entity.backlinks).map(|backlink| backlink.of).collect(),
        }
    }

    pub(super) fn contains(
        &self,
        entity: &EntityDescription,
        property: &PropertyDescription,
        uid: Uid,
    ) -> bool {
        property.relation_target.is_some()
            && (self.stored.contains(&uid)
                || self.described.contains(&(entity.name.as_str(), property.name.as_str())))
    }
}

/// Brings the relations and backlinks of described entities up to date; those of others stay.
pub(super) fn evolve(
    entities: &mut [EntityDef],
    wanted: &[EntityDescription],
    retired: &mut Retired,
) -> Result<(), SchemaError> {
    let uids: Vec<(String, Uid)> = entities.iter().map(|entity| (entity.name.clone(), entity.uid)).collect();
    for description in wanted {
        let entity = entities.iter_mut().find(|entity| entity.name == description.name);
        let entity = entity.expect("what is described was added to the entities");
        evolve_relations(entity, description, &uids, retired)?;
    }
    for description in wanted {
        let backlinks = description.backlinks.iter();
        let backlinks = backlinks
            .map(|backlink| evolve_backlink(entities, description, backlink, retired))
            .collect::<Result<_, _>>()?;
        let entity = entities.iter_mut().find(|entity| entity.name == description.name);
        entity.expect("what is described was added to the entities").backlinks = backlinks;
    }
    drop_backlinks(entities);
    Ok(())
}

/// Drops the backlinks of what is gone.
pub(super) fn drop_backlinks(entities: &mut [EntityDef]) {
    let leading: HashSet<Uid> = entities
        .iter()
        .flat_map(|entity| {
            let properties = entity.properties.iter().map(|property| property.uid);
            properties.chain(entity.relations.iter().map(|relation| relation.uid))
        })
        .collect();
    entities.iter_mut().for_each(|entity| entity.backlinks.retain(|backlink| leading.contains(&backlink.of)));
}

fn evolve_relations(
    entity: &mut EntityDef,
    wanted: &EntityDescription,
    uids: &[(String, Uid)],
    retired: &mut Retired,
) -> Result<(), SchemaError> {
    let root = wanted.was.as_deref().unwrap_or(&wanted.name);
    let names: Vec<Naming<'_>> = wanted.relations.iter().map(Naming::of_relation).collect();
    let mut relations: Vec<RelationDef> = Vec::with_capacity(wanted.relations.len());
    for (description, naming) in wanted.relations.iter().zip(&names) {
        let place = || format!("{}.{}", wanted.name, description.name);
        let stored = entity.relations.iter().map(|relation| (relation.name.as_str(), relation.uid));
        let derive = |name: &str| name_uid(&format!("{root}.{name}"));
        let uid = naming.identity(stored, &names, derive).map_err(|what| invalid(place(), what))?;
        let RelationDescription { name, target, owned, .. } = description;
        let Some((_, target_uid)) = uids.iter().find(|(name, _)| name == target) else {
            let what =
                format!("it links to {target}, which is not in the schema; register that entity as well");
            return Err(invalid(place(), what));
        };
        let id = match entity.relations.iter().find(|relation| relation.uid == uid) {
            Some(found) if found.target == *target_uid => found.id,
            Some(_) => {
                let what =
                    format!("its links lead to another entity than {target}; give the relation a new uid");
                return Err(invalid(place(), what));
            }
            None => {
                refuse_retired(retired, uid, &place())?;
                next(&mut retired.last_relation, &place())?
            }
        };
        relations.push(RelationDef { id, uid, name: name.clone(), target: *target_uid, owned: *owned });
    }
    let gone = entity.relations.iter().filter(|old| relations.iter().all(|new| new.uid != old.uid));
    retired.uids.extend(gone.map(|relation| relation.uid));
    relations.sort_by_key(|relation| relation.id);
    entity.relations = relations;
    Ok(())
}

fn evolve_backlink(
    entities: &mut [EntityDef],
    wanted: &EntityDescription,
    backlink: &BacklinkDescription,
    retired: &mut Retired,
) -> Result<BacklinkDef, SchemaError> {
    let place = || format!("{}.{}", wanted.name, backlink.name);
    let BacklinkDescription { name, source, to, owned } = backlink;
    let here = entities.iter().find(|entity| entity.name == wanted.name).map(|entity| entity.uid);
    let Some(entity) = entities.iter_mut().find(|entity| entity.name == *source) else {
        let what = format!(
            "it is the other direction of {source}.{to}, and there is no {source}; register that entity as well"
        );
        return Err(invalid(place(), what));
    };
    let relation = entity.relations.iter().find(|one| one.name == *to && Some(one.target) == here);
    let relation = relation.map(|relation| relation.uid);
    let property = entity.properties.iter_mut().find(|property| {
        property.name == *to && property.relation_target.as_deref() == Some(wanted.name.as_str())
    });
    let of = match (relation, property) {
        (Some(uid), _) => uid,
        (None, Some(property)) => {
            if property.index.is_none() {
                property.flags = property.flags.with(PropertyFlags::INDEXED);
                let at = format!("{source}.{to}");
                property.index = Some(new_index(property.uid, &at, retired)?);
            }
            property.uid
        }
        (None, None) => {
            let what = format!(
                "it is the other direction of {source}.{to}, which is no link and no relation to {}; name one that is",
                wanted.name
            );
            return Err(invalid(place(), what));
        }
    };
    Ok(BacklinkDef { name: name.clone(), of, owned: *owned })
}
