//! The application of the stories: an entity for each law, all synced, all with ids that may be chosen.

use reconvene_store::{Counter, Entity, StoreBuilder, ToOne, ValueSet};

/// What notes lie in; policy `property`.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, self_assigned_ids, crate = "reconvene_store")]
pub(crate) struct Folder {
    id: u64,
    name: String,
    colour: String,
}

/// Policy `property`, with a unique value and a link.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, self_assigned_ids, crate = "reconvene_store")]
pub(crate) struct Note {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) body: String,
    #[unique]
    code: Option<String>,
    folder: ToOne<Folder>,
    tags: Vec<String>,
}

/// The note of an application that is older: it has no body and no code.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, self_assigned_ids, name = "Note", crate = "reconvene_store")]
pub(crate) struct OldNote {
    id: u64,
    name: String,
    title: String,
    folder: ToOne<Folder>,
}

/// Policy `object`.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, self_assigned_ids, conflict = "object", crate = "reconvene_store")]
pub(crate) struct Address {
    id: u64,
    name: String,
    street: String,
    city: String,
}

/// The address of the older application: it has no city.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, self_assigned_ids, conflict = "object", name = "Address", crate = "reconvene_store")]
pub(crate) struct OldAddress {
    id: u64,
    name: String,
    street: String,
}

/// Policy `precedence`.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, self_assigned_ids, crate = "reconvene_store")]
pub(crate) struct Sale {
    id: u64,
    name: String,
    #[sync_precedence]
    stage: Option<i32>,
    goods: String,
}

/// Policy `arrival`.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, self_assigned_ids, conflict = "arrival", crate = "reconvene_store")]
pub(crate) struct Report {
    id: u64,
    name: String,
    text: String,
    by: String,
}

/// Policy `property`, with ids that all devices share.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, shared_ids, self_assigned_ids, crate = "reconvene_store")]
pub(crate) struct Setting {
    id: u64,
    value: Option<String>,
    unit: Option<String>,
}

/// Policy `object`, with shared ids.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, shared_ids, self_assigned_ids, conflict = "object", crate = "reconvene_store")]
pub(crate) struct Badge {
    id: u64,
    text: Option<String>,
    colour: Option<String>,
}

/// Policy `precedence`, with shared ids.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, shared_ids, self_assigned_ids, crate = "reconvene_store")]
pub(crate) struct Alarm {
    id: u64,
    #[sync_precedence]
    level: i32,
    text: Option<String>,
}

/// Policy `arrival`, with shared ids.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, shared_ids, self_assigned_ids, conflict = "arrival", crate = "reconvene_store")]
pub(crate) struct Checkpoint {
    id: u64,
    passed: u32,
}

/// Policy `property`, with a counter and a set.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, self_assigned_ids, crate = "reconvene_store")]
pub(crate) struct Part {
    id: u64,
    name: String,
    shelf: String,
    stock: Counter,
    tags: ValueSet<String>,
}

/// The part of the older application: it has neither stock nor tags.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, self_assigned_ids, name = "Part", crate = "reconvene_store")]
pub(crate) struct OldPart {
    id: u64,
    name: String,
    shelf: String,
}

/// Policy `object`, with a counter and a set.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, self_assigned_ids, conflict = "object", crate = "reconvene_store")]
pub(crate) struct Crate {
    id: u64,
    name: String,
    shelf: String,
    stock: Counter,
    tags: ValueSet<String>,
}

/// Policy `arrival`, with shared ids, a counter and a set.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, shared_ids, self_assigned_ids, conflict = "arrival", crate = "reconvene_store")]
pub(crate) struct Tally {
    id: u64,
    last: Option<String>,
    count: Counter,
    voters: ValueSet<String>,
}

/// The entities, as stories and stores call them.
pub(crate) const ENTITIES: [(&str, &str); 12] = [
    ("folder", "Folder"),
    ("note", "Note"),
    ("address", "Address"),
    ("sale", "Sale"),
    ("report", "Report"),
    ("setting", "Setting"),
    ("badge", "Badge"),
    ("alarm", "Alarm"),
    ("checkpoint", "Checkpoint"),
    ("part", "Part"),
    ("crate", "Crate"),
    ("tally", "Tally"),
];

/// Gives a store the entities of the application, or of the older one.
pub(crate) fn describe(builder: StoreBuilder, is_old: bool) -> StoreBuilder {
    let builder = builder
        .entity::<Folder>()
        .entity::<Sale>()
        .entity::<Report>()
        .entity::<Setting>()
        .entity::<Badge>()
        .entity::<Alarm>()
        .entity::<Checkpoint>()
        .entity::<Crate>()
        .entity::<Tally>();
    match is_old {
        true => builder.entity::<OldNote>().entity::<OldAddress>().entity::<OldPart>(),
        false => builder.entity::<Note>().entity::<Address>().entity::<Part>(),
    }
}
