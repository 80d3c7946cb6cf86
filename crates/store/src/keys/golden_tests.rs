//! The golden dumps: whole stores of a small story, key by key, as `docs/keys.md` describes them.

use std::fmt::Write;
use std::path::PathBuf;

use super::*;
use crate::__private::Image;
use crate::seam::{Direction, KeyRange, Reader};
use crate::sync::{Decision, Delivery, Fork, Incoming, PushedTx, Role, Verdict};
use crate::{Entity, Store, ToOne};

/// 2026-01-01 12:00:00.000 UTC.
const NOON_MS: u64 = 1_767_268_800_000;

/// What stands for the history's identity, which a server draws at random.
const EPOCH: u64 = 0xe90c;

#[derive(Entity, Debug, Default)]
#[entity(crate = "crate", sync)]
struct Project {
    id: u64,
    #[unique]
    name: String,
    open: bool,
}

#[derive(Entity, Debug, Default)]
#[entity(crate = "crate", sync)]
struct Task {
    id: u64,
    title: String,
    #[index]
    done: bool,
    #[index]
    project: ToOne<Project>,
}

/// Local only; one index per form of key.
#[derive(Entity, Debug, Default)]
#[entity(crate = "crate")]
struct Sample {
    id: u64,
    #[index]
    int: Option<i32>,
    #[index]
    unsigned: u16,
    #[index]
    float: f32,
    #[index]
    double: f64,
    #[index]
    text: Option<String>,
    #[index(hash)]
    short_hash: Option<String>,
    #[index(hash64)]
    long_hash: Option<String>,
    #[index(skip_null, skip_zero)]
    partial: Option<i32>,
}

fn open(secret: u8, role: Role) -> Store {
    let store = Store::builder("memory:").entity::<Project>().entity::<Task>().entity::<Sample>();
    store.role(role).identity_secret([secret; 32]).time_source(|| NOON_MS).open().unwrap()
}

/// Two devices, Ada's and Ben's, and their server.
struct Story {
    server: Store,
    ada: Store,
    ben: Store,
}

impl Story {
    fn begin() -> Story {
        let story = Story {
            server: open(0x5e, Role::Server),
            ada: open(0xad, Role::Device),
            ben: open(0xbe, Role::Device),
        };
        for device in [&story.ada, &story.ben] {
            let sync = device.sync();
            story.server.sync().register(sync.peer(), &sync.key().public()).unwrap();
            let login = Delivery::Login {
                epoch: EPOCH,
                view: 1,
                decided: 0,
                decided_seq: Seq(0),
                rebased: None,
                compare: false,
            };
            sync.apply(&[login]).unwrap();
        }
        story
    }

    /// Lets the server decide on a transaction of a device.
    fn upload(&self, device: &Store, number: TxNumber) -> (Verdict, Option<PushedTx>) {
        let sync = device.sync();
        let tx = sync.outbox(number - 1, 1, usize::MAX).unwrap().remove(0);
        assert_eq!(tx.number, number);
        let incoming = Incoming { peer: sync.peer(), bytes: &tx.bytes };
        let decided = self.server.sync().decide(&[incoming], &[]).unwrap().remove(0);
        match decided.decision {
            Decision::Verdict { verdict, .. } => (verdict, decided.push),
            other => panic!("{other:?}"),
        }
    }
}

fn verdict(device: &Store, number: TxNumber, verdict: Verdict) {
    device.sync().apply(&[Delivery::Verdict { number, verdict }]).unwrap();
}

/// Tells a device of an accepted transaction at its place in the history.
fn push(device: &Store, tx: &PushedTx) {
    let delivery = match tx.origin == device.sync().peer() {
        true => Delivery::Own { seq: tx.seq, number: tx.number },
        false => Delivery::Push { seq: tx.seq, origin: tx.origin, hlc: tx.hlc, ops: &tx.ops },
    };
    device.sync().apply(&[delivery]).unwrap();
}

fn told() -> Story {
    let story = Story::begin();
    let Story { ada, ben, .. } = &story;

    // Everything that a local index can hold. Nothing of it travels.
    let mut samples = [
        Sample {
            id: 0,
            int: Some(-2),
            unsigned: 0xfffe,
            float: 1.5,
            double: -0.1,
            text: Some("beans".into()),
            short_hash: Some("beans".into()),
            long_hash: Some("beans".into()),
            partial: Some(2),
        },
        Sample {
            int: Some(2),
            text: Some("zero \0 within".into()),
            double: f64::NAN,
            float: -0.0,
            partial: Some(0),
            ..Sample::default()
        },
        Sample { text: Some("long ".repeat(100)), ..Sample::default() },
        Sample::default(),
    ];
    ada.boxed::<Sample>().unwrap().put_many(&mut samples).unwrap();
    ada.boxed::<Sample>().unwrap().remove(4).unwrap();

    // Ben's first transaction reaches everyone.
    let projects = ben.boxed::<Project>().unwrap();
    projects.put(&mut Project { name: "Garden".into(), ..Project::default() }).unwrap();
    let (accepted, garden) = story.upload(ben, 1);
    let garden = garden.unwrap();
    verdict(ben, 1, accepted);
    push(ben, &garden);
    push(ada, &garden);

    // Ada's first as well: a task in the foreign project, and one that she removes again.
    let project = ada.boxed::<Project>().unwrap().all().unwrap().remove(0).id;
    let tasks = ada.boxed::<Task>().unwrap();
    let mut two = [
        Task { title: "Dig".into(), project: ToOne::new(project), ..Task::default() },
        Task { title: "Weed".into(), ..Task::default() },
    ];
    tasks.put_many(&mut two).unwrap();
    let (accepted, first) = story.upload(ada, 1);
    verdict(ada, 1, accepted);
    push(ada, &first.unwrap());

    // Her second is accepted, but not told at its place yet; the third waits unsent.
    tasks.remove(two[1].id).unwrap();
    verdict(ada, 2, story.upload(ada, 2).0);
    tasks.update(two[0].id, |task| task.done = true).unwrap();

    // Ben removed the project that Ada changes meanwhile: the one change comes too late, the other in part.
    projects.remove(1).unwrap();
    let (_, removed) = story.upload(ben, 2);
    ada.boxed::<Project>().unwrap().update(project, |project| project.open = true).unwrap();
    ada.write(|tx| {
        tx.update::<Project, _>(project, |project| project.name = "Yard".into())?;
        tx.put::<Project, _>(&mut Project { name: "House".into(), ..Project::default() })
    })
    .unwrap();
    let third = story.upload(ada, 3).0;
    assert!(matches!(third, Verdict::Accepted { .. }), "{third:?}");
    for (number, expected) in [(4, "Superseded"), (5, "Accepted")] {
        let (late, _) = story.upload(ada, number);
        assert!(format!("{late:?}").starts_with(expected), "{late:?}");
        verdict(ada, number, late);
    }
    assert_eq!(removed.unwrap().seq, Seq(4));

    // Ben has a house, too, and another waits.
    projects.put(&mut Project { name: "House".into(), ..Project::default() }).unwrap();
    let (refused, _) = story.upload(ben, 3);
    assert!(matches!(refused, Verdict::Refused { .. }), "{refused:?}");
    verdict(ben, 3, refused);
    projects.put(&mut Project { name: "Shed".into(), ..Project::default() }).unwrap();
    story
}

/// A copy of Ada's store, which wrote something and then heard that another one goes by its name.
fn copy_of(story: &Story) -> Store {
    let store = Store::builder("memory:").image(&Image::of(&story.ada).unwrap());
    let store = store.entity::<Project>().entity::<Task>().entity::<Sample>().time_source(|| NOON_MS);
    let copy = store.open().unwrap();
    let tasks = copy.boxed::<Task>().unwrap();
    tasks.put(&mut Task { title: "Dig".into(), ..Task::default() }).unwrap();
    let common = copy.sync().login_state().unwrap().decided;
    let fork = Fork { common, decided_seq: story.server.sync().head().unwrap(), verdicts: &[] };
    assert_eq!(copy.sync().renew_identity(&fork).unwrap().reissued, 1);
    assert_eq!(copy.check().unwrap(), []);
    copy
}

/// Every entry of every table, a line each.
fn dump(store: &Store) -> String {
    let inner = store.inner();
    let mut names = vec![META.to_owned()];
    for entity in inner.catalog.entities() {
        let id = entity.def.id;
        names.push(objects_table(id));
        if entity.def.is_synced() {
            names.extend([absent_table(id), global_ids_table(id)]);
        }
        names.extend(crate::index::indexes(&entity.def).map(index_table));
        let relations = entity.def.relations.iter();
        names.extend(relations.flat_map(|one| [relation_table(one.id), relation_back_table(one.id)]));
    }
    names.extend([OUTBOX, CONFIRMED, REJECTED, CONFLICTS, CHANGES, ORIGINS, DECISIONS].map(str::to_owned));
    let mut out = String::new();
    for name in names {
        let table = inner.engine.table_if_exists(&name).unwrap().unwrap();
        let tx = inner.engine.read().unwrap();
        writeln!(out, "{name}: {}", tx.count(table).unwrap()).unwrap();
        for entry in tx.range(table, KeyRange::all(), Direction::Forward).unwrap() {
            let (key, value) = entry.unwrap();
            let is_meta = name == META;
            let key = if is_meta { String::from_utf8(key.to_vec()).unwrap() } else { hex(key) };
            let value = match &key[..] {
                "model" if is_meta => "(the model file)".to_owned(),
                "sync/epoch" if is_meta => format!("({} random bytes)", value.len()),
                _ => hex(value),
            };
            writeln!(out, "  {key} ={}{value}", if value.is_empty() { "" } else { " " }).unwrap();
        }
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

/// Compares with a file, or writes it where `RECONVENE_WRITE_FIXTURES` says so.
#[track_caller]
fn check(name: &str, content: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/keys").join(name);
    if std::env::var_os("RECONVENE_WRITE_FIXTURES").is_some() {
        std::fs::write(&path, content).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (line, (got, wanted)) in content.lines().zip(golden.lines()).enumerate() {
        assert_eq!(got, wanted, "line {} of {name}: the layout of stores has changed", line + 1);
    }
    assert_eq!(content.lines().count(), golden.lines().count(), "{name}");
}

#[test]
fn stores_of_the_story_are_as_they_were() {
    let story = told();
    check("ada.txt", &dump(&story.ada));
    check("ben.txt", &dump(&story.ben));
    check("server.txt", &dump(&story.server));
    check("copy.txt", &dump(&copy_of(&story)));
    check("model.json", &story.ada.model().to_json());
}

#[test]
fn every_table_has_a_row_in_some_dump() {
    let story = told();
    let dumps = [&story.ada, &story.ben, &story.server].map(dump);
    let empty: Vec<&str> = dumps[0].lines().filter_map(|line| line.strip_suffix(": 0")).collect();
    for table in empty {
        let elsewhere = dumps[1..].iter().any(|dump| !dump.lines().any(|line| line == format!("{table}: 0")));
        assert!(elsewhere, "{table} is empty in all stores of the story");
    }
}

#[test]
fn the_keys_in_the_document_are_those_in_the_dump() {
    let document = include_str!("../../../../docs/keys.md");
    let dump = dump(&told().ada);
    let is_key = |text: &&str| text.len() > 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let keys: Vec<&str> = document.split('`').filter(is_key).collect();
    assert_eq!(keys.len(), 15);
    for key in keys {
        assert!(dump.lines().any(|line| line == format!("  {key} =")), "{key}");
    }
}
