//! Import and export.

use reconvene::Role;

use crate::support::{City, Folder, Note, open, with_notes};

const CITIES: &str = "id,name,lat,code,capital\n\
                      1,Roma,41.9,00100,true\n\
                      2,\"Zürich, \"\"ZH\"\"\",47.375,08001,false\n\
                      7,東京,-35.7,,\n\
                      9,\"two\nlines\",1e30,x,true\n";

#[test]
fn what_was_imported_is_exported_again() {
    let folder = Folder::new();
    folder.write("cities.csv", CITIES);
    let said = folder.run(&["import", "data", "City", "cities.csv", "--create"]).ok();
    assert_eq!(said, "4 objects imported\n");
    assert_eq!(folder.run(&["export", "data", "City", "--format=csv"]).ok(), CITIES.replace("1e30", "1e+30"));
    // Through every format into databases of their own, and back.
    for format in ["csv", "json", "ndjson"] {
        let file = format!("out.{format}");
        folder.run(&["export", "data", "City", "--output", &file]).ok();
        folder.run(&["import", format, "City", &file, "--create"]).ok();
        let again = folder.run(&["export", format, "City", "--format", "csv"]).ok();
        assert_eq!(again, CITIES.replace("1e30", "1e+30"), "{format}");
    }
    let found = folder.run(&["query", "data", "City", "name $= 'ZH\"'", "--format", "ndjson"]).ok();
    assert_eq!(
        found,
        "{\"id\":2,\"name\":\"Zürich, \\\"ZH\\\"\",\"lat\":47.375,\"code\":\"08001\",\"capital\":false}\n"
    );
}

#[test]
fn every_type_survives_the_way_through_each_format() {
    let folder = Folder::new();
    let store = with_notes(&folder, 50);
    let notes = store.boxed::<Note>().unwrap();
    notes.put(&mut Note { text: "\u{feff}, \"\n\r\t'".into(), weight: f32::NAN, ..Note::default() }).unwrap();
    notes.put(&mut Note { text: "x".repeat(10_000), weight: f32::MIN_POSITIVE, ..Note::default() }).unwrap();
    drop((store, notes));
    let exported = folder.run(&["export", "data", "Note"]).ok();
    for format in ["csv", "json", "ndjson"] {
        let file = format!("notes.{format}");
        folder.run(&["export", "data", "Note", "-o", &file]).ok();
        // The same objects by their ids: nothing may change.
        folder.run(&["import", "data", "Note", &file]).ok();
        assert_eq!(folder.run(&["export", "data", "Note"]).ok(), exported, "{format}");
    }
}

#[test]
fn fifty_thousand_rows_come_and_go() {
    let folder = Folder::new();
    let mut csv = String::from("id,text,number\n");
    for row in 1..=50_000 {
        csv += &format!("{row},\"row {row}, quoted\",{}\n", row * 7);
    }
    folder.write("big.csv", &csv);
    let said = folder.run(&["import", "data", "Row", "big.csv", "--create", "--batch", "7000"]).ok();
    assert_eq!(said, "50,000 objects imported\n");
    folder.run(&["export", "data", "Row", "-o", "out.csv"]).ok();
    let out = folder.read("out.csv");
    assert_eq!(out.len(), csv.replace('"', "").len() + 2 * 50_000);
    assert!(out == csv, "the export differs from what was imported");
    assert_eq!(folder.run(&["query", "data", "Row", "number > 349000", "--count"]).ok(), "143\n");
}

#[test]
fn a_row_that_does_not_fit_is_told_and_nothing_is_written() {
    let folder = Folder::new();
    drop(with_notes(&folder, 3));
    let before = folder.run(&["export", "data", "Note"]).ok();
    for (name, content, expected) in [
        (
            "a.csv",
            "text,stars\ngood,1\n\"two\nlines\",2\nbad,300\n",
            "a.csv, line 5, column stars: 300 is not a whole number of 8 bits, not negative\n",
        ),
        ("b.csv", "text,stars\ngood,1\nbad\n", "b.csv, line 3: 1 cell instead of 2;"),
        ("c.csv", "id,text\nseven,x\n", "c.csv, line 2, column id: \"seven\" is not an id\n"),
        ("d.ndjson", "{\"text\":\"x\"}\n\n{\"text\":1}\n", "d.ndjson, line 3, column text: 1 is not text\n"),
        ("e.ndjson", "{\"text\":\"x\"}\n{\"text\":\n", "e.ndjson, line 2, column "),
        ("f.ndjson", "[]\n", "f.ndjson, line 1: an object is expected"),
        (
            "g.json",
            "[{\"text\":\"x\"},{\"tags\":[\"a\",2]}]",
            "g.json, object 2, column tags: element 2: 2 is not text\n",
        ),
        ("h.json", "[{\"text\":\"x\"}", "h.json, line 1, column "),
        (
            "i.json",
            "{\"text\":\"x\"}",
            "i.json, line 1, column 1: invalid type: map, expected an array of objects",
        ),
        ("j.json", "[1]", "j.json, line 1, column 3: invalid type: integer `1`"),
    ] {
        folder.write(name, content);
        let complaint = folder.run(&["import", "data", "Note", name, "--batch", "1"]).fails(1);
        assert!(complaint.starts_with(expected), "{name}: {complaint}");
    }
    folder.write("utf8.csv", b"text\ngood\n\xff\xfe\n");
    let complaint = folder.run(&["import", "data", "Note", "utf8.csv"]).fails(1);
    assert!(complaint.starts_with("utf8.csv, line 3, column 1: this is not UTF-8"), "{complaint}");
    assert_eq!(folder.run(&["export", "data", "Note"]).ok(), before);
}

#[test]
fn mistakes_of_the_command_line_are_told_before_anything_begins() {
    let folder = Folder::new();
    drop(with_notes(&folder, 1));
    folder.write("a.csv", "txt,stars\nx,1\n");
    folder.write("a.txt", "");
    for (arguments, expected) in [
        (
            &["data", "Note", "a.csv"][..],
            "a.csv: Note has no property \"txt\"; it has id, text, stars, weight, tags.",
        ),
        (&["data", "Nota", "a.csv"], "there is no entity \"Nota\"; the model has Note, City\n"),
        (&["data", "Note", "a.txt"], "a.txt does not tell its format by its name; give --format"),
        (&["data", "Note", "missing.csv"], "cannot read missing.csv: "),
        (&["new", "Note", "a.csv"], "there is no database in new; to make a new one, give --create\n"),
        (&["data", "Note", "a.csv", "--create"], "data has a database already; leave --create out"),
        (&["data", "Note", "a.csv", "--map", "txt"], "--map txt: give COLUMN=PROPERTY\n"),
    ] {
        let complaint = folder.run(&[&["import"], arguments].concat()).fails(2);
        assert!(complaint.starts_with(expected), "{arguments:?}: {complaint}");
    }
    assert!(!folder.path("new").exists());
}

#[test]
fn columns_are_mapped_left_out_and_read_from_standard_input() {
    let folder = Folder::new();
    drop(with_notes(&folder, 0));
    folder.write("a.csv", "\u{feff}txt;stars;junk\nx y;3;?\n;-;?\n");
    let arguments = ["import", "data", "Note", "-", "--format=csv", "--delimiter=;", "--null=-"];
    let mapping = ["--map", "txt=text", "--ignore", "junk"];
    let dry = folder.run_reading(&[&arguments[..], &mapping, &["--dry-run"]].concat(), "a.csv").ok();
    assert_eq!(dry, "2 objects can be read; nothing was written\n");
    assert_eq!(folder.run(&["query", "data", "Note", "--count"]).ok(), "0\n");
    folder.run_reading(&[&arguments[..], &mapping].concat(), "a.csv").ok();
    let found = open(&folder, Role::Device).boxed::<Note>().unwrap().all().unwrap();
    let found: Vec<_> = found.iter().map(|note| (note.id, note.text.as_str(), note.stars)).collect();
    assert_eq!(found, [(1, "x y", Some(3)), (2, "", None)]);
}

#[test]
fn ids_change_objects_or_make_new_ones() {
    let folder = Folder::new();
    drop(with_notes(&folder, 2));
    folder.write("a.csv", "id,stars\n2,99\n,5\n");
    folder.run(&["import", "data", "Note", "a.csv"]).ok();
    folder.write("b.csv", "id,stars\n2,7\n50,7\n");
    let complaint = folder.run(&["import", "data", "Note", "b.csv", "--batch", "1"]).fails(1);
    assert!(complaint.starts_with("b.csv, line 3: Note 50 does not exist"), "{complaint}");
    assert!(
        complaint.ends_with(
            "; --new-ids makes every row a new object; the first object was imported, the others were not\n"
        ),
        "{complaint}"
    );
    folder.run(&["import", "data", "Note", "b.csv", "--new-ids"]).ok();
    let notes = open(&folder, Role::Device).boxed::<Note>().unwrap().all().unwrap();
    let found: Vec<_> = notes.iter().map(|note| (note.id, note.text.len(), note.stars)).collect();
    assert_eq!(found, [(1, 30, None), (2, 30, Some(7)), (3, 0, Some(5)), (4, 0, Some(7)), (5, 0, Some(7))]);
}

#[test]
fn synced_objects_wait_in_the_outbox_and_servers_take_none() {
    let folder = Folder::new();
    drop(open(&folder, Role::Device));
    folder.write("a.csv", "name,code,population\nRoma,RM,2748109\nOslo,OS,\nBonn,RM,1\n");
    let complaint = folder.run(&["import", "data", "City", "a.csv"]).fails(1);
    assert_eq!(
        complaint,
        "a.csv, line 4: City.code is unique and City 1 already has \"RM\", which a new object cannot have as well; give it another value, or change City 1; nothing was imported\n"
    );
    folder.write("a.csv", "name,code,population\nRoma,RM,2748109\nOslo,OS,\nBonn,BN,1\n");
    folder.run(&["import", "data", "City", "a.csv", "--batch", "2"]).ok();
    let store = open(&folder, Role::Device);
    assert_eq!(store.sync().undecided().unwrap(), 2, "a transaction for each batch");
    assert_eq!(store.boxed::<City>().unwrap().get(1).unwrap().unwrap().population, Some(2_748_109));
    drop(store);

    let folder = Folder::new();
    drop(open(&folder, Role::Server));
    folder.write("a.csv", "name\nRoma\n");
    let complaint = folder.run(&["import", "data", "City", "a.csv"]).fails(1);
    assert!(complaint.contains("this store belongs to a server"), "{complaint}");
}

#[test]
fn a_new_database_takes_a_model_or_what_the_rows_have_in_common() {
    let folder = Folder::new();
    drop(with_notes(&folder, 2));
    folder.run(&["model", "export", "data", "-o", "model.json"]).ok();
    folder.run(&["export", "data", "Note", "-o", "notes.json"]).ok();
    folder
        .run(&["import", "copy", "Note", "notes.json", "--create", "--model", "model.json", "--new-ids"])
        .ok();
    assert_eq!(folder.run(&["model", "diff", "data", "copy"]).ok(), "the same\n");
    assert_eq!(
        folder.run(&["export", "copy", "Note", "--format=json"]).ok(),
        folder.read("notes.json"),
        "ids begin at 1 in both"
    );

    folder.write("mixed.ndjson", "{\"a\": 1, \"b\": [1, 2.5], \"c\": null}\n{\"a\": 2.5, \"d\": [\"x\"]}\n");
    folder.run(&["import", "mixed", "Thing", "mixed.ndjson", "--create"]).ok();
    assert_eq!(
        folder.run(&["export", "mixed", "Thing"]).ok(),
        "{\"id\":1,\"a\":1.0,\"b\":[1.0,2.5],\"c\":null,\"d\":null}\n\
         {\"id\":2,\"a\":2.5,\"b\":null,\"c\":null,\"d\":[\"x\"]}\n"
    );
    folder.write("wrong.ndjson", "{\"a\": 1}\n{\"a\": \"one\"}\n");
    let complaint = folder.run(&["import", "wrong", "Thing", "wrong.ndjson", "--create"]).fails(2);
    assert!(
        complaint.starts_with("wrong.ndjson, line 2, a: the values of this column have no type"),
        "{complaint}"
    );
    assert!(!folder.path("wrong").exists(), "nothing was begun");
}

#[test]
fn exports_replace_nothing_unless_told() {
    let folder = Folder::new();
    drop(with_notes(&folder, 1));
    folder.write("out.csv", "precious");
    let complaint = folder.run(&["export", "data", "Note", "-o", "out.csv"]).fails(2);
    assert_eq!(complaint, "out.csv exists already; name another file, or give --force to replace it\n");
    assert_eq!(folder.read("out.csv"), "precious");
    folder.run(&["export", "data", "Note", "-o", "out.csv", "--force", "--where", "id == 7"]).ok();
    assert_eq!(folder.read("out.csv"), "id,text,stars,weight,tags\n");
    assert_eq!(folder.names(), ["data", "out.csv"], "nothing half made lies about");
}

#[test]
fn a_database_in_use_is_read_but_not_imported_into() {
    let folder = Folder::new();
    let store = with_notes(&folder, 5);
    folder.write("a.csv", "text\nx\n");
    let complaint = folder.run(&["import", "data", "Note", "a.csv"]).fails(1);
    let in_use = format!("is open in another process ({})", std::process::id());
    assert!(complaint.contains(&in_use), "{complaint}");
    assert_eq!(folder.run(&["export", "data", "Note"]).ok().lines().count(), 5);
    assert_eq!(folder.run(&["query", "data", "Note", "stars != null", "--count"]).ok(), "3\n");
    assert_eq!(store.boxed::<Note>().unwrap().count().unwrap(), 5);
}
