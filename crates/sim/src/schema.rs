//! The application of the simulated devices: a few entities that between them have every law, in two versions.

use reconvene_model::evolve::name_uid;
use reconvene_model::{PropertyType, Uid};
use reconvene_store::StoreBuilder;
use serde::{Deserialize, Serialize};

/// The entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What notes link to; policy `property`.
    Folder,
    /// Has a unique property and a link; policy `property`.
    Note,
    /// Policy `object`; its ids may be chosen, so that a removed one can be made again.
    Form,
    /// Ids are shared by all devices; policy `property`.
    Setting,
    /// Policy `precedence`, by its stage; its ids may be chosen.
    Sale,
    /// Policy `arrival`; ids are shared by all devices.
    Report,
}

/// One property of an entity.
#[derive(Clone, Copy, Debug)]
pub struct Property {
    /// Its name.
    pub name: &'static str,
    /// The version of the application that brought it.
    pub since: u8,
    /// Its type.
    pub ty: PropertyType,
}

/// The newest version of the application.
pub const NEWEST: u8 = 2;

/// The property that is written once, with a value that no other object ever gets: by it an object is known everywhere.
pub const BIRTH: &str = "birth";

/// The property that is the precedence of sales.
pub const STAGE: &str = "stage";

const fn int(name: &'static str, since: u8) -> Property {
    Property { name, since, ty: PropertyType::Long }
}

const FOLDER: [Property; 3] = [int(BIRTH, 1), int("a", 1), int("b", 1)];
const NOTE: [Property; 7] = [
    int(BIRTH, 1),
    int("a", 1),
    int("b", 1),
    int("c", 1),
    Property { name: "code", since: 1, ty: PropertyType::String },
    Property { name: "folder", since: 1, ty: PropertyType::Relation },
    int("d", 2),
];
const FORM: [Property; 5] = [int(BIRTH, 1), int("a", 1), int("b", 1), int("c", 1), int("d", 2)];
const SETTING: [Property; 3] = [int(BIRTH, 1), int("a", 1), int("b", 1)];
const SALE: [Property; 5] = [
    int(BIRTH, 1),
    Property { name: STAGE, since: 1, ty: PropertyType::Int },
    int("a", 1),
    int("b", 1),
    int("d", 2),
];
const REPORT: [Property; 3] = [int(BIRTH, 1), int("a", 1), int("b", 1)];

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 6] =
        [Kind::Folder, Kind::Note, Kind::Form, Kind::Setting, Kind::Sale, Kind::Report];

    /// The entity's name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Folder => "Folder",
            Kind::Note => "Note",
            Kind::Form => "Form",
            Kind::Setting => "Setting",
            Kind::Sale => "Sale",
            Kind::Report => "Report",
        }
    }

    /// The entity of this name.
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The entity's identity.
    pub fn uid(self) -> Uid {
        name_uid(self.name())
    }

    /// Its properties, of all versions.
    pub fn properties(self) -> &'static [Property] {
        match self {
            Kind::Folder => &FOLDER,
            Kind::Note => &NOTE,
            Kind::Form => &FORM,
            Kind::Setting => &SETTING,
            Kind::Sale => &SALE,
            Kind::Report => &REPORT,
        }
    }

    /// The plain numbers that an application of this version edits.
    pub fn numbers(self, version: u8) -> impl Iterator<Item = &'static str> {
        let plain = move |property: &&Property| {
            property.since <= version && property.ty == PropertyType::Long && property.name != BIRTH
        };
        self.properties().iter().filter(plain).map(|property| property.name)
    }

    /// Whether a put writes all properties.
    pub fn writes_whole(self) -> bool {
        matches!(self, Kind::Form | Kind::Sale | Kind::Report)
    }

    /// Whether ids are the same on all devices.
    pub fn has_shared_ids(self) -> bool {
        matches!(self, Kind::Setting | Kind::Report)
    }

    /// Whether the application may name the id of a new object.
    pub fn may_choose_ids(self) -> bool {
        matches!(self, Kind::Form | Kind::Setting | Kind::Sale | Kind::Report)
    }
}

mod v1 {
    use reconvene_store::{Entity, ToOne};

    #[derive(Entity, Clone, Debug, Default, PartialEq)]
    #[entity(sync, crate = "reconvene_store")]
    pub(crate) struct Folder {
        pub(super) id: u64,
        #[index]
        pub(super) birth: i64,
        pub(super) a: i64,
        pub(super) b: i64,
    }

    #[derive(Entity, Clone, Debug, Default, PartialEq)]
    #[entity(sync, crate = "reconvene_store")]
    pub(crate) struct Note {
        pub(super) id: u64,
        pub(super) birth: i64,
        #[index]
        pub(super) a: i64,
        pub(super) b: i64,
        pub(super) c: i64,
        #[unique]
        pub(super) code: Option<String>,
        pub(super) folder: ToOne<Folder>,
    }

    #[derive(Entity, Clone, Debug, Default, PartialEq)]
    #[entity(sync, conflict = "object", self_assigned_ids, crate = "reconvene_store")]
    pub(super) struct Form {
        pub(super) id: u64,
        pub(super) birth: i64,
        pub(super) a: i64,
        pub(super) b: i64,
        pub(super) c: i64,
    }

    #[derive(Entity, Clone, Debug, Default, PartialEq)]
    #[entity(sync, shared_ids, self_assigned_ids, crate = "reconvene_store")]
    pub(super) struct Setting {
        pub(super) id: u64,
        pub(super) birth: i64,
        pub(super) a: i64,
        pub(super) b: i64,
    }

    #[derive(Entity, Clone, Debug, Default, PartialEq)]
    #[entity(sync, self_assigned_ids, crate = "reconvene_store")]
    pub(super) struct Sale {
        pub(super) id: u64,
        pub(super) birth: i64,
        #[sync_precedence]
        pub(super) stage: Option<i32>,
        #[index]
        pub(super) a: i64,
        pub(super) b: i64,
    }

    #[derive(Entity, Clone, Debug, Default, PartialEq)]
    #[entity(sync, shared_ids, self_assigned_ids, conflict = "arrival", crate = "reconvene_store")]
    pub(super) struct Report {
        pub(super) id: u64,
        pub(super) birth: i64,
        #[index]
        pub(super) a: i64,
        pub(super) b: i64,
    }
}

mod v2 {
    use reconvene_store::{Entity, ToOne};

    use super::v1::Folder;

    #[derive(Entity, Clone, Debug, Default, PartialEq)]
    #[entity(sync, crate = "reconvene_store")]
    pub(crate) struct Note {
        pub(super) id: u64,
        pub(super) birth: i64,
        #[index]
        pub(super) a: i64,
        pub(super) b: i64,
        pub(super) c: i64,
        #[unique]
        pub(super) code: Option<String>,
        pub(super) folder: ToOne<Folder>,
        pub(super) d: i64,
    }

    #[derive(Entity, Clone, Debug, Default, PartialEq)]
    #[entity(sync, conflict = "object", self_assigned_ids, crate = "reconvene_store")]
    pub(super) struct Form {
        pub(super) id: u64,
        pub(super) birth: i64,
        pub(super) a: i64,
        pub(super) b: i64,
        pub(super) c: i64,
        pub(super) d: i64,
    }

    #[derive(Entity, Clone, Debug, Default, PartialEq)]
    #[entity(sync, self_assigned_ids, crate = "reconvene_store")]
    pub(super) struct Sale {
        pub(super) id: u64,
        pub(super) birth: i64,
        #[sync_precedence]
        pub(super) stage: Option<i32>,
        #[index]
        pub(super) a: i64,
        pub(super) b: i64,
        pub(super) d: i64,
    }
}

/// Something local that does not travel, written in the same transactions.
#[derive(reconvene_store::Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
pub struct Draft {
    /// Its id.
    pub id: u64,
    /// How many transactions were committed here.
    pub commits: i64,
}

/// Gives a store the entities of this version of the application.
pub fn describe(builder: StoreBuilder, version: u8) -> StoreBuilder {
    let builder = builder.entity::<Draft>().entity::<v1::Folder>().entity::<v1::Setting>();
    let builder = builder.entity::<v1::Report>();
    match version {
        1 => builder.entity::<v1::Note>().entity::<v1::Form>().entity::<v1::Sale>(),
        _ => builder.entity::<v2::Note>().entity::<v2::Form>().entity::<v2::Sale>(),
    }
}

/// The notes of an application of this version, as it holds them in its forms: read earlier, put back later.
#[derive(Clone)]
pub(crate) enum HeldNote {
    /// Of the first version.
    Old(reconvene_store::Tracked<v1::Note>),
    /// Of the second.
    New(reconvene_store::Tracked<v2::Note>),
}

impl HeldNote {
    /// Reads a note into a form.
    pub(crate) fn read(
        store: &reconvene_store::Store,
        version: u8,
        id: u64,
    ) -> reconvene_store::Result<Option<HeldNote>> {
        Ok(match version {
            1 => store.boxed::<v1::Note>()?.get(id)?.map(HeldNote::Old),
            _ => store.boxed::<v2::Note>()?.get(id)?.map(HeldNote::New),
        })
    }

    /// The id of the note.
    pub(crate) fn id(&self) -> u64 {
        match self {
            HeldNote::Old(note) => note.id,
            HeldNote::New(note) => note.id,
        }
    }

    /// Types a number into the field `b` of the form and puts the form back.
    pub(crate) fn put_b(
        &mut self,
        tx: &mut reconvene_store::WriteTxn<'_>,
        b: i64,
    ) -> reconvene_store::Result<u64> {
        match self {
            HeldNote::Old(note) => {
                note.b = b;
                tx.put(note)
            }
            HeldNote::New(note) => {
                note.b = b;
                tx.put(note)
            }
        }
    }
}
