//! What people do in a story, word by word.

use reconvene_model::change::OpKind;
use reconvene_model::{EntityDef, ObjectId, PropertyType, Value};
use reconvene_store::{Object, RejectedOp, Store, StoreError, WriteTxn};

use crate::app::ENTITIES;
use crate::world::{Device, PEOPLE, World};

/// The reasons for which writes come back, as stories call them.
const REASONS: [(&str, u32); 4] =
    [("removed", 0), ("clock-ahead", 604), ("object-missing", 700), ("not-unique", 703)];

/// An entity by the name that stories give it.
pub(crate) fn entity(word: &str) -> &'static str {
    ENTITIES.iter().find(|(name, _)| *name == word).unwrap_or_else(|| panic!("there is no {word:?}")).1
}

/// The position of a person in the cast.
pub(crate) fn person(word: &str) -> usize {
    PEOPLE.iter().position(|name| *name == word).unwrap_or_else(|| panic!("who is {word:?}?"))
}

/// An object of a story, with some of its values.
#[derive(Clone, Debug)]
pub(crate) struct Thing<'a> {
    pub(crate) entity: &'static str,
    pub(crate) name: &'a str,
    values: Vec<(&'a str, &'a str)>,
}

impl<'a> Thing<'a> {
    /// Reads `note n title=tea`.
    pub(crate) fn read(text: &'a str) -> Thing<'a> {
        let mut words = text.split_whitespace();
        let entity = entity(words.next().unwrap_or_default());
        let name = words.next().unwrap_or_else(|| panic!("which one? {text:?}"));
        let value = |word: &'a str| word.split_once('=').unwrap_or_else(|| panic!("{word:?} is no value"));
        Thing { entity, name, values: words.map(value).collect() }
    }

    /// The id that a shared object has everywhere: the place of its letter in the alphabet.
    fn shared_id(&self) -> ObjectId {
        u64::from(self.name.as_bytes()[0] - b'a') + 1
    }

    /// The object as a store shows it.
    pub(crate) fn find(&self, store: &Store) -> Option<Object> {
        let objects = store.objects(self.entity).unwrap();
        if objects.entity().has_shared_ids() {
            return objects.get(self.shared_id()).unwrap();
        }
        let is_it = |object: &Object| *object.get("name") == Value::String(self.name.to_owned());
        objects.all().unwrap().into_iter().find(is_it)
    }

    /// The id under which a device knows the object, even if it was removed.
    fn id(&self, device: &mut Device) -> ObjectId {
        let key = (self.entity.to_owned(), self.name.to_owned());
        if let Some(&id) = device.names.get(&key) {
            return id;
        }
        let found = self.find(&device.store).map(|object| object.id);
        let id = found.unwrap_or_else(|| panic!("nobody here has seen {} {}", self.entity, self.name));
        device.names.insert(key, id);
        id
    }

    /// What differs between the object and what is said of it here; properties that an old application lacks do not count.
    pub(crate) fn differs(&self, store: &Store, object: &Object) -> Option<String> {
        let objects = store.objects(self.entity).unwrap();
        let due = |&&(name, value): &&(&str, &str)| {
            let known = objects.entity().properties.iter().find(|property| property.name == name);
            known.is_some_and(|property| !shows(store, property.ty, object.get(name), value))
        };
        let wrong = self.values.iter().find(due)?;
        Some(format!(
            "{} {} has {:?} where {}={} is due",
            self.entity,
            self.name,
            object.get(wrong.0),
            wrong.0,
            wrong.1
        ))
    }

    /// Whether what an op, which came back, would have done is named here.
    pub(crate) fn gives_back(&self, op: &RejectedOp) -> bool {
        self.values.iter().all(|(name, text)| {
            let (name, values) = match change(name) {
                None => (*name, &op.values),
                Some((name, true)) => (name, &op.values),
                Some((name, false)) => (name, &op.removed),
            };
            values.iter().any(|(known, value)| known == name && *value == plain(value_type(value), text))
        })
    }
}

/// Reads `stock+` and `tags-` of `stock+=5` and `tags-=old`: what changes, and whether something is added.
fn change(word: &str) -> Option<(&str, bool)> {
    let added = word.strip_suffix('+').map(|name| (name, true));
    added.or_else(|| word.strip_suffix('-').map(|name| (name, false)))
}

fn value_type(value: &Value) -> PropertyType {
    match value {
        Value::Int(_) => PropertyType::Long,
        Value::StringVector(_) => PropertyType::StringVector,
        _ => PropertyType::String,
    }
}

/// A value that is no link; `-` is null.
fn plain(ty: PropertyType, text: &str) -> Value {
    match ty {
        _ if text == "-" => Value::Null,
        PropertyType::String => Value::String(text.trim_matches('"').to_owned()),
        PropertyType::StringVector => Value::StringVector(text.split(',').map(str::to_owned).collect()),
        _ => Value::Int(text.parse().unwrap_or_else(|_| panic!("{text:?} is no number"))),
    }
}

/// Whether a property shows what a story says. A link to something that is not there is `hidden`.
fn shows(store: &Store, ty: PropertyType, shown: &Value, text: &str) -> bool {
    if ty != PropertyType::Relation || text == "-" {
        return *shown == plain(ty, text);
    }
    let Value::Relation(target) = *shown else { return false };
    let folder = store.objects("Folder").unwrap().get(target).unwrap();
    match text {
        "hidden" => folder.is_none(),
        name => folder.is_some_and(|folder| *folder.get("name") == Value::String(name.to_owned())),
    }
}

/// One thing done to one object within a transaction.
struct Deed {
    entity: &'static str,
    object: Object,
    is_remove: bool,
    /// What is added to counters, and which elements come and go.
    changes: Vec<(String, bool, String)>,
    /// Under which name it is known from here on, if the id is new.
    name: Option<String>,
}

fn deed(device: &mut Device, text: &str) -> Deed {
    let (verb, rest) = text.trim().split_once(' ').unwrap_or_else(|| panic!("do what? {text:?}"));
    let thing = Thing::read(rest);
    let def: EntityDef = device.store.objects(thing.entity).unwrap().entity().clone();
    let is_shared = def.has_shared_ids();
    let id = match verb {
        "new" if is_shared => thing.shared_id(),
        "new" => 0,
        _ if is_shared => thing.shared_id(),
        _ => thing.id(device),
    };
    let mut object = Object::with_id(id);
    let is_whole = matches!(verb, "new" | "again" | "put");
    assert!(is_whole || matches!(verb, "set" | "remove"), "nobody can {verb:?}");
    if is_whole && !is_shared {
        object = object.with("name", Value::String(thing.name.to_owned()));
    }
    if verb == "put" {
        // A struct that an application made itself has all its fields.
        for property in def.properties.iter().filter(|property| property.ty == PropertyType::String) {
            let is_set = object.values.contains_key(&property.name) || property.name == "code";
            if !is_set {
                object = object.with(property.name.clone(), Value::String(String::new()));
            }
        }
    }
    let mut changes = Vec::new();
    for (name, text) in &thing.values {
        if let Some((name, is_added)) = change(name) {
            changes.push((name.to_owned(), is_added, (*text).to_owned()));
            continue;
        }
        let property = def.properties.iter().find(|property| property.name == *name);
        let property = property.unwrap_or_else(|| panic!("{} has no {name}", thing.entity));
        let value = match property.ty {
            PropertyType::Relation if *text != "-" => {
                let target = Thing { entity: "Folder", name: text, values: Vec::new() };
                Value::Relation(target.id(device))
            }
            ty => plain(ty, text),
        };
        object = object.with(*name, value);
    }
    let name = (verb == "new" && !is_shared).then(|| thing.name.to_owned());
    Deed { entity: thing.entity, object, is_remove: verb == "remove", changes, name }
}

/// Does everything that a line says, in one transaction.
fn transaction(device: &mut Device, text: &str, is_abandoned: bool) -> Result<(), StoreError> {
    let store = device.store.clone();
    let mut names = Vec::new();
    let result = store.write(|tx| {
        for part in text.split(" + ") {
            let mut deed = deed(device, part);
            carry_out(tx, &mut deed)?;
            if let Some(name) = deed.name {
                let key = (deed.entity.to_owned(), name);
                // Later parts of the line may link to it.
                device.names.insert(key.clone(), deed.object.id);
                names.push(key);
            }
        }
        if is_abandoned { Err(StoreError::application("on second thoughts")) } else { Ok(()) }
    });
    if result.is_err() {
        for key in names {
            device.names.remove(&key);
        }
    }
    result
}

fn carry_out(tx: &mut WriteTxn<'_>, deed: &mut Deed) -> Result<(), StoreError> {
    let objects = tx.objects(deed.entity)?;
    if deed.is_remove {
        return objects.remove(deed.object.id).map(|_| ());
    }
    if !deed.object.values.is_empty() {
        deed.object.id = objects.put(&mut deed.object)?;
    }
    let id = deed.object.id;
    for (name, is_added, text) in &deed.changes {
        let is_counter = matches!(objects.get(id)?.expect("it is there").get(name), Value::Int(_));
        if is_counter {
            let by: i64 = text.parse().expect("a number");
            objects.add(id, name, if *is_added { by } else { -by })?;
            continue;
        }
        let shown = objects.get(id)?.expect("it is there").get(name).clone();
        let mut elements = if let Value::StringVector(elements) = shown { elements } else { Vec::new() };
        for element in text.split(',') {
            elements.retain(|other| other != element);
            if *is_added {
                elements.push(element.to_owned());
            }
        }
        objects.put(&mut Object::with_id(id).with(name.clone(), Value::StringVector(elements)))?;
    }
    Ok(())
}

/// Notes the names of all that a device's user can see.
fn look_around(device: &mut Device) {
    for (_, entity) in ENTITIES {
        for object in device.store.objects(entity).unwrap().all().unwrap() {
            if let Value::String(name) = object.get("name") {
                device.names.insert((entity.to_owned(), name.clone()), object.id);
            }
        }
    }
}

/// Does what a line of a story says.
pub(crate) fn act(world: &mut World, line: &str) {
    // Everybody's lines come one after the other; what stands further down is later.
    world.tick(1_000);
    if line == "all meet" {
        return world.meet_and_part();
    }
    world.devices.iter_mut().for_each(look_around);
    let (who, what) = line.split_once(' ').unwrap_or_else(|| panic!("nothing happens in {line:?}"));
    let at = person(who);
    let (verb, rest) = what.split_once(' ').unwrap_or((what, ""));
    let device = &mut world.devices[at];
    match verb {
        "sees" => check_seen(device, rest, line),
        "cannot" => {
            let (text, variant) = rest.rsplit_once(" because ").expect("there is a reason");
            let error = transaction(device, text, false).expect_err(line);
            assert!(format!("{error:?}").starts_with(variant), "{line}: {error:?}");
        }
        "abandons" => drop(transaction(device, rest, true).expect_err(line)),
        "opens" => {
            let id = Thing::read(rest).id(device);
            device.form = device.store.boxed().unwrap().get(id).unwrap();
            assert!(device.form.is_some(), "{line}: it is not there");
        }
        "saves" => {
            let (text, due) = rest.rsplit_once(" but ").unwrap_or((rest, ""));
            let mut form = device.form.take().expect("a form is open");
            for (name, value) in Thing::read(text).values {
                match name {
                    "title" => form.title = value.to_owned(),
                    "body" => form.body = value.to_owned(),
                    other => panic!("the form has no {other}"),
                }
            }
            match device.store.boxed().unwrap().put(&mut form) {
                Ok(_) => assert_eq!(due, "", "{line}"),
                Err(error) => assert_eq!(format!("{error:?}").split([' ', '{']).next(), Some(due), "{line}"),
            }
        }
        "clock" => {
            let seconds: i64 = rest.parse().expect("seconds");
            world.set_clock(at, seconds * 1_000);
        }
        "restarts" => world.restart(at, true),
        "updates" => world.restart(at, false),
        "syncs" => {
            world.connect(at);
            world.upload(at, usize::MAX);
            world.receive(at);
            world.cut(at);
        }
        "receives" => {
            world.connect(at);
            world.receive(at);
            world.cut(at);
        }
        "uploads" => {
            // The connection breaks before any answer.
            world.connect(at);
            world.upload(at, usize::MAX);
            world.cut(at);
        }
        _ => transaction(device, what, false).unwrap_or_else(|error| panic!("{line}: {error}")),
    }
}

fn check_seen(device: &mut Device, text: &str, line: &str) {
    if let Some(text) = text.strip_prefix("no ") {
        assert!(Thing::read(text).find(&device.store).is_none(), "{line}");
        return;
    }
    let thing = Thing::read(text);
    let object = thing.find(&device.store).unwrap_or_else(|| panic!("{line}: it is not there"));
    assert_eq!(thing.differs(&device.store, &object), None, "{line}");
}

/// Whether what came back to a device is what a story says, and nothing else.
pub(crate) fn check_back(device: &mut Device, due: &[&str]) -> Result<(), String> {
    let mut back = device.store.sync().rejected().unwrap();
    for text in due {
        let (things, reason) = text.rsplit_once(": ").expect("a reason");
        let code = REASONS.iter().find(|(name, _)| *name == reason).expect(reason).1;
        let things: Vec<Thing<'_>> = things.split(" + ").map(Thing::read).collect();
        let ids: Vec<ObjectId> = things.iter().map(|thing| known_id(device, thing)).collect();
        let found = back.iter().position(|rejected| {
            rejected.code == code
                && rejected.ops.len() == things.len()
                && rejected.ops.iter().all(|op| {
                    things.iter().zip(&ids).any(|(thing, id)| {
                        (thing.entity, *id) == (&op.entity, op.id)
                            && (op.kind == OpKind::Remove || thing.gives_back(op))
                    })
                })
        });
        let found = found.ok_or_else(|| format!("{text:?} did not come back, but {back:?} did"))?;
        back.remove(found);
    }
    if back.is_empty() { Ok(()) } else { Err(format!("this came back as well: {back:?}")) }
}

fn known_id(device: &mut Device, thing: &Thing<'_>) -> ObjectId {
    let is_shared = device.store.objects(thing.entity).unwrap().entity().has_shared_ids();
    if is_shared { thing.shared_id() } else { thing.id(device) }
}
