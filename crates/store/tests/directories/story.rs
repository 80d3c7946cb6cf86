//! The story of the directories: two devices and their server, with all types of properties, all conflict policies, and objects
//! in every state that sync knows.

use std::path::Path;

use reconvene_model::evolve::{EntityDescription, PropertyDescription};
use reconvene_model::{ConflictPolicy, EntityFlags, Flex, PropertyFlags, PropertyType, Value};
use reconvene_store::{ChunkStart, Decision, Delivery, Incoming, Object, Store};

use crate::builder;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Server = 0x5e,
    Ada = 0xad,
    Ben = 0xbe,
}

impl Who {
    pub(crate) const ALL: [Who; 3] = [Who::Server, Who::Ada, Who::Ben];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Who::Server => "server",
            Who::Ada => "ada",
            Who::Ben => "ben",
        }
    }
}

pub(crate) type Schema = Vec<EntityDescription>;

pub(crate) fn property(name: &str, ty: PropertyType, flags: PropertyFlags) -> PropertyDescription {
    let merge = Default::default();
    PropertyDescription { name: name.into(), uid: None, was: None, ty, flags, relation_target: None, merge }
}

fn link(name: &str, target: &str, flags: PropertyFlags) -> PropertyDescription {
    let mut link = property(name, PropertyType::Relation, flags);
    link.relation_target = Some(target.into());
    link
}

fn entity(
    name: &str,
    flags: EntityFlags,
    conflict: ConflictPolicy,
    properties: Vec<PropertyDescription>,
) -> EntityDescription {
    let id = match flags.has(EntityFlags::SHARED_GLOBAL_IDS) {
        true => PropertyFlags::ID.with(PropertyFlags::ID_SELF_ASSIGNABLE),
        false => PropertyFlags::ID,
    };
    let id = property("id", PropertyType::Long, id);
    let properties = [id].into_iter().chain(properties).collect();
    EntityDescription {
        name: name.into(),
        uid: None,
        was: None,
        flags,
        conflict,
        properties,
        relations: Vec::new(),
        backlinks: Vec::new(),
    }
}

/// The types that objects of the story have, by the name of the property. No type leaves the list; new ones join that of the next
/// format.
const TYPES: [PropertyType; 24] = [
    PropertyType::Bool,
    PropertyType::Byte,
    PropertyType::Short,
    PropertyType::Char,
    PropertyType::Int,
    PropertyType::Long,
    PropertyType::Float,
    PropertyType::Double,
    PropertyType::String,
    PropertyType::Date,
    PropertyType::DateNano,
    PropertyType::Flex,
    PropertyType::BoolVector,
    PropertyType::ByteVector,
    PropertyType::ShortVector,
    PropertyType::CharVector,
    PropertyType::IntVector,
    PropertyType::LongVector,
    PropertyType::FloatVector,
    PropertyType::DoubleVector,
    PropertyType::StringVector,
    PropertyType::DateVector,
    PropertyType::DateNanoVector,
    PropertyType::Relation,
];

/// What each of the three knows: Ben's device is of a newer version of the application than the others.
pub(crate) fn schema(who: Who) -> Schema {
    let (none, indexed, unique) = (PropertyFlags::NONE, PropertyFlags::INDEXED, PropertyFlags::UNIQUE);
    let sync = EntityFlags::SYNC_ENABLED;
    let mut task = entity(
        "Task",
        sync,
        ConflictPolicy::Property,
        vec![
            property("title", PropertyType::String, none),
            property("rank", PropertyType::Int, indexed),
            property("note", PropertyType::String, none),
            link("project", "Project", indexed),
        ],
    );
    if who == Who::Ben {
        task.properties.push(property("extra", PropertyType::String, none));
    }
    let sample = TYPES.into_iter().map(|ty| {
        let name = ty.name().to_lowercase();
        let is_kept = ty.scalar_bytes().is_some() || ty == PropertyType::String;
        match ty {
            PropertyType::Relation => link(&name, "Sample", indexed),
            _ => property(&name, ty, if is_kept { indexed } else { none }),
        }
    });
    let precedence = PropertyFlags::SYNC_PRECEDENCE;
    vec![
        entity("Sample", EntityFlags::NONE, ConflictPolicy::Property, sample.collect()),
        task,
        entity("Project", sync, ConflictPolicy::Object, vec![property("name", PropertyType::String, unique)]),
        entity(
            "Board",
            sync.with(EntityFlags::SHARED_GLOBAL_IDS),
            ConflictPolicy::Arrival,
            vec![property("text", PropertyType::String, none)],
        ),
        entity(
            "Ticket",
            sync,
            ConflictPolicy::Precedence,
            vec![
                property("text", PropertyType::String, none),
                property("level", PropertyType::Int, precedence),
            ],
        ),
    ]
}

/// A value of each type; `at` tells two of one type apart.
fn value(ty: PropertyType, at: i64) -> Value {
    use PropertyType as T;
    match ty {
        T::Bool => Value::Bool(at % 2 == 1),
        T::Byte => Value::Int(at - 100),
        T::Short | T::Int => Value::Int(at - 1_000),
        T::Char => Value::Int(0xe9 + at),
        T::Long => Value::Int(i64::MIN + at),
        T::Float => Value::Float(at as f32 / 4.0),
        T::Double => Value::Double(-(at as f64) / 8.0),
        // From some length on text is cut in its key.
        T::String => Value::String(format!("sämple {at}{}", " long".repeat(at as usize * 80))),
        T::Date => Value::Int(1_767_268_800_000 + at),
        T::DateNano => Value::Int(1_767_268_800_000_000_000 + at),
        T::Relation => Value::Relation(1),
        T::Flex => Value::Flex(Flex::from_iter([
            ("at", Flex::Int(at)),
            ("list", Flex::List(vec![Flex::Null, Flex::Bool(true), Flex::Float(0.5), Flex::bytes([7, 8])])),
            ("map", Flex::from_iter([("text", Flex::from("tree")), ("large", Flex::UInt(u64::MAX))])),
        ])),
        T::BoolVector => Value::BoolVector(vec![true, false, at > 1]),
        T::ByteVector => Value::ByteVector((0..at as u8 * 3).collect()),
        T::ShortVector | T::CharVector => Value::ShortVector(vec![at as i16, -1]),
        T::IntVector => Value::IntVector(vec![at as i32, i32::MIN]),
        T::LongVector | T::DateVector | T::DateNanoVector => Value::LongVector(vec![at, i64::MAX]),
        T::FloatVector => Value::FloatVector(vec![0.5, at as f32]),
        T::DoubleVector => Value::DoubleVector(vec![-0.25, at as f64]),
        T::StringVector => Value::StringVector(vec![String::new(), format!("of {at}")]),
    }
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn put(store: &Store, entity: &str, mut object: Object) -> u64 {
    store.objects(entity).unwrap().put(&mut object).unwrap()
}

fn id_of(store: &Store, condition: &str) -> u64 {
    store.objects("Task").unwrap().query_text(condition).unwrap().find_ids().unwrap()[0]
}

/// Tells the story.
pub(crate) fn tell(directory: &Path) {
    assert!(PropertyType::ALL.iter().all(|ty| TYPES.contains(ty)), "the story lacks a type");
    let [server, ada, ben] = Who::ALL.map(|who| builder(directory, who, schema(who)).open().unwrap());
    // Local objects with all types, with none, and a removed one.
    for at in 1..=2 {
        let values =
            |object: Object, ty: &PropertyType| object.with(ty.name().to_lowercase(), value(*ty, at));
        put(&ada, "Sample", TYPES.iter().fold(Object::new(), values));
    }
    put(&ada, "Sample", Object::new());
    let gone = put(&ada, "Sample", Object::new().with("string", text("gone")));
    ada.objects("Sample").unwrap().remove(gone).unwrap();

    // What everyone knows.
    let garden = put(&ada, "Project", Object::new().with("name", text("Garden")));
    let shed = put(&ada, "Project", Object::new().with("name", text("Shed")));
    for (title, rank, project) in
        [("Dig", 1, garden), ("Weed", 2, garden), ("Paint", 3, shed), ("Mow", 4, garden)]
    {
        let task = Object::new().with("title", text(title)).with("rank", Value::Int(rank));
        put(&ada, "Task", task.with("project", Value::Relation(project)));
    }
    for id in [5, 900] {
        put(&ada, "Board", Object::with_id(id).with("text", text("a board")));
    }
    let ticket =
        put(&ada, "Ticket", Object::new().with("text", text("a ticket")).with("level", Value::Int(3)));
    exchange(&server, &[&ada, &ben]);

    // Both write the same; the shed goes, and a task links to nothing that is there.
    let dig = id_of(&ben, r#"title == "Dig""#);
    put(&ben, "Task", Object::with_id(dig).with("rank", Value::Int(50)).with("extra", text("Ben's")));
    put(&ada, "Task", Object::with_id(id_of(&ada, "rank == 1")).with("rank", Value::Int(60)));
    ben.objects("Task").unwrap().remove(id_of(&ben, r#"title == "Weed""#)).unwrap();
    ada.objects("Project").unwrap().remove(shed).unwrap();
    put(&ada, "Board", Object::with_id(900).with("text", text("Ada's")));
    put(&ben, "Board", Object::with_id(900).with("text", text("Ben's")));
    put(&ada, "Ticket", Object::with_id(ticket).with("text", text("higher")).with("level", Value::Int(5)));
    // Two of one name: the second is refused.
    put(&ada, "Project", Object::new().with("name", text("House")));
    exchange(&server, &[&ada]);
    put(&ben, "Project", Object::new().with("name", text("House")));
    // Superseded: Ada edits what Ben has removed by then.
    exchange(&server, &[&ben]);
    put(&ada, "Task", Object::with_id(id_of(&ada, r#"title == "Weed""#)).with("rank", Value::Int(9)));
    exchange(&server, &[&ada, &ben]);

    // Not sent yet: an edit of what is confirmed, a new object with links, a removed one, and one of a server that heard but
    // was not heard.
    put(&ada, "Task", Object::with_id(id_of(&ada, r#"title == "Mow""#)).with("note", text("unsent")));
    put(&ada, "Task", Object::new().with("title", text("Sow")).with("project", Value::Relation(garden)));
    ada.objects("Task").unwrap().remove(id_of(&ada, r#"title == "Paint""#)).unwrap();
    put(&ben, "Task", Object::new().with("title", text("Saw")).with("extra", text("unsent")));
    upload(&server, &ben, false);
    put(&ben, "Ticket", Object::new().with("text", text("unsent")).with("level", Value::Int(-1)));
}

/// Sends what waits on a device; it may hear of the verdicts.
fn upload(server: &Store, device: &Store, hears: bool) {
    let (ledger, sync) = (server.sync(), device.sync());
    let origin = ledger.register(sync.peer(), &sync.key().public()).unwrap();
    let (epoch, head) = (ledger.epoch().unwrap(), ledger.head().unwrap());
    let known = sync.login_state().unwrap().decided;
    let mut deliveries: Vec<Delivery<'_>> = ledger
        .unconfirmed(sync.peer(), known)
        .unwrap()
        .into_iter()
        .map(|(number, verdict)| Delivery::Verdict { number, verdict })
        .collect();
    deliveries.push(Delivery::Login {
        epoch,
        view: 1,
        decided: origin.decided,
        decided_seq: head,
        rebased: None,
        compare: false,
    });
    sync.apply(&deliveries).unwrap();
    for tx in sync.outbox(origin.decided, 100, 1 << 20).unwrap() {
        let decided =
            ledger.decide(&[Incoming { peer: sync.peer(), bytes: &tx.bytes }], &[]).unwrap().remove(0);
        let Decision::Verdict { number, verdict } = decided.decision else {
            panic!("{:?}", decided.decision)
        };
        if hears {
            sync.apply(&[Delivery::Verdict { number, verdict }]).unwrap();
        }
    }
}

/// Sends what waits on the devices, one after the other, and then brings each up to date.
pub(crate) fn exchange(server: &Store, devices: &[&Store]) {
    devices.iter().for_each(|device| upload(server, device, true));
    for device in devices {
        let (ledger, sync) = (server.sync(), device.sync());
        let chunk = ledger.chunk(ChunkStart::after(sync.cursor().unwrap().seq), 1 << 20).unwrap();
        assert!(chunk.last);
        let block = chunk.block.as_ref().map(|block| Delivery::States { block, upto: chunk.upto });
        let deliveries: Vec<_> =
            block.into_iter().chain([Delivery::CatchUpDone { seq: chunk.upto }]).collect();
        sync.apply(&deliveries).unwrap();
    }
}
