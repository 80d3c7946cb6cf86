//! `model diff` says what an opening does.

use reconvene::model::evolve::EntityDescription;
use reconvene::model::model_file::ModelFile;
use reconvene::model::{EntityFlags, PropertyFlags, PropertyType, Uid};
use reconvene::{Entity, Role, Store};

use crate::support::{City, Folder, Note, open, with_notes};

/// A change that an application may make to its structs.
type Change = fn(&mut Vec<EntityDescription>);

const CHANGES: [(&str, Change); 12] = [
    ("nothing", |_| {}),
    ("an entity is new", |all| all.push(EntityDescription { name: "Other".into(), ..Note::description() })),
    ("an entity is gone", |all| drop(all.remove(0))),
    ("entities change places", |all| all.swap(0, 1)),
    ("a property is gone", |all| drop(all[0].properties.remove(4))),
    ("a property has another type", |all| all[0].properties[3].ty = PropertyType::Double),
    ("a property has another uid", |all| all[0].properties[1].uid = Some(Uid(77))),
    ("a property becomes unique", |all| all[0].properties[2].flags = PropertyFlags::UNIQUE),
    ("another property becomes unique", |all| all[0].properties[1].flags = PropertyFlags::UNIQUE),
    ("an entity becomes synced", |all| all[0].flags = EntityFlags::SYNC_ENABLED),
    ("an entity is no longer synced", |all| all[1].flags = EntityFlags::NONE),
    ("a synced entity links to one that is no longer synced", |all| {
        let mut link = all[0].properties[1].clone();
        (link.name, link.ty) = ("city".into(), PropertyType::Relation);
        link.relation_target = Some("City".into());
        all[0].properties.push(link);
        (all[0].flags, all[1].flags) = (EntityFlags::SYNC_ENABLED, EntityFlags::NONE);
    }),
];

fn model_after(change: Change) -> ModelFile {
    let mut all = vec![Note::description(), City::description()];
    change(&mut all);
    ModelFile::from_schema(&Default::default()).evolve_with(&all).unwrap()
}

/// What an opening with this model says, if it does not succeed.
fn refusal(folder: &Folder, role: Role, model: ModelFile) -> Option<String> {
    let opened = Store::builder(folder.path("data")).role(role).model(model).open();
    let refused = opened.err()?.to_string();
    let prefix = "the model does not continue the one in the directory: ";
    Some(refused.strip_prefix(prefix).map_or(refused.clone(), str::to_owned))
}

#[test]
fn diff_foretells_what_an_opening_does() {
    let mut refused = 0;
    for (name, change) in CHANGES {
        for (kind, role, notes, cities) in [
            ("an empty device", Role::Device, 0, 0),
            ("a device", Role::Device, 700, 0),
            ("a device with synced objects", Role::Device, 2, 3),
            ("a server", Role::Server, 700, 0),
        ] {
            let folder = Folder::new();
            // Note 1 and 4 have no stars, 2 and 202 have the same.
            let store = open(&folder, role);
            store.boxed::<Note>().unwrap().put_many(&mut some_notes(notes)).unwrap();
            store.boxed::<City>().unwrap().put_many(&mut vec![City::default(); cities]).unwrap();
            let model = model_after(change);
            folder.write("next.json", model.to_json());
            // Beside whoever has the database open.
            let run = folder.run(&["model", "diff", "data", "next.json"]);
            drop(store);
            let same = folder.read("next.json") == model_after(|_| {}).to_json();
            assert_eq!(run.code, Some(i32::from(!same)), "{kind}, {name}: {run:?}");
            let foretold = run.stdout.lines().find_map(|line| line.strip_prefix("! ")).map(str::to_owned);
            assert_eq!(foretold, refusal(&folder, role, model), "{kind}, {name}: {run:?}");
            refused += usize::from(foretold.is_some());
        }
    }
    assert!(refused >= 20, "{refused}");
}

fn some_notes(number: usize) -> Vec<Note> {
    let note = |at: usize| Note {
        text: format!("note {at}"),
        stars: (!at.is_multiple_of(3)).then_some((at % 200) as u8),
        ..Note::default()
    };
    (0..number).map(note).collect()
}

#[test]
fn diff_of_files_says_what_it_depends_on() {
    let folder = Folder::new();
    drop(with_notes(&folder, 0));
    folder.run(&["model", "export", "data", "--output", "model.json"]).ok();
    for (change, expected) in [
        (9, "? Note: the database of a server refuses to sync it if there are objects of it\n"),
        (10, "? City: the database of a server refuses it if there are or were objects\n"),
        (7, "? Note.stars: a database in which two objects share a value refuses it\n"),
    ] {
        folder.write("next.json", model_after(CHANGES[change].1).to_json());
        let said = folder.run(&["model", "diff", "model.json", "next.json"]).stdout;
        assert!(said.starts_with("~ ") && said.ends_with(expected) && !said.contains('!'), "{said}");
        // A database is asked, and this one has nothing against it.
        let said = folder.run(&["model", "diff", "data", "next.json"]).stdout;
        assert!(said.starts_with("~ ") && !said.contains(['!', '?']), "{said}");
    }
}
