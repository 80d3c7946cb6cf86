//! What the guide says is so.

#[allow(dead_code, reason = "each test file uses its part of it")]
mod common;

use std::ops::ControlFlow;

use common::{entity, meets, table, task};
use reconvene_expr::{Links, Relation, Way, parse, prepare};
use reconvene_model::record::{RecordError, Table};
use reconvene_model::{EntityId, Flex, ObjectId, PropertyFlags, PropertyType, Schema, Value};

const GUIDE: &str = include_str!("../../../docs/guide/expressions.md");

/// The insides of the code blocks that are marked like this.
fn blocks(mark: &str) -> Vec<&'static str> {
    let opening = format!("```{mark}\n");
    let blocks: Vec<_> = GUIDE.split(&opening).skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty(), "the guide has no block that is marked {mark}");
    blocks
}

/// The cells of the table rows below a heading row that begins like this, without backticks.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let cells = |row: &'static str| -> Vec<&'static str> {
        row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect()
    };
    let rows = GUIDE.lines().skip_while(|line| !line.starts_with(heading)).skip(2);
    let rows: Vec<_> = rows.take_while(|line| line.starts_with('|')).map(cells).collect();
    assert!(!rows.is_empty(), "the guide has no table under {heading}");
    rows
}

#[test]
fn examples_fit_the_entity() {
    for example in blocks("text").into_iter().flat_map(str::lines) {
        let expr = parse(example).unwrap_or_else(|error| panic!("{}", error.render(example)));
        let schema = Schema::new(vec![task()]).expect("the schema is valid");
        prepare(&expr, &task(), &schema).unwrap_or_else(|error| panic!("{}", error.render(example)));
        assert_eq!(parse(&expr.to_string()), Ok(expr));
    }
}

#[test]
fn text_is_compared_as_the_table_says() {
    for row in rows("| Expression | Met by |") {
        let [expression, met, not_met] = row[..] else { panic!("{row:?} has three cells") };
        for (title, expected) in [(met, true), (not_met, false)] {
            let values = [Value::Null, Value::Null, Value::String(title.to_owned())];
            assert_eq!(meets(&task(), expression, 1, &values), expected, "{expression} {title}");
        }
        assert!(!meets(&task(), expression, 1, &[]), "{expression} null");
    }
}

#[test]
fn null_is_compared_as_the_table_says() {
    for row in rows("| Expression | null |") {
        let values = [Value::Null, Value::Int(4), Value::Int(5), Value::Int(6)];
        assert_eq!(row.len(), 1 + values.len());
        for (value, expected) in values.into_iter().zip(&row[1..]) {
            let holds = meets(&task(), row[0], 1, &[Value::Null, value.clone()]);
            assert_eq!(holds.to_string(), *expected, "{} {value:?}", row[0]);
        }
    }
}

#[test]
fn elements_are_compared_as_the_table_says() {
    let entity = entity(&[("tags", PropertyType::StringVector, PropertyFlags::NONE)]);
    let vector = |tags: &[&str]| Value::StringVector(tags.iter().map(|&tag| tag.to_owned()).collect());
    for row in rows("| Expression | null | nothing |") {
        let values = [Value::Null, vector(&[]), vector(&["a"]), vector(&["a", "b"])];
        assert_eq!(row.len(), 1 + values.len());
        for (value, expected) in values.into_iter().zip(&row[1..]) {
            let holds = meets(&entity, row[0], 1, std::slice::from_ref(&value));
            assert_eq!(holds.to_string(), *expected, "{} {value:?}", row[0]);
        }
    }
}

#[test]
fn flex_values_are_compared_as_the_table_says() {
    let entity = entity(&[("tree", PropertyType::Flex, PropertyFlags::NONE)]);
    let with = |a: Flex| Value::Flex(Flex::from_iter([("a", a)]));
    for row in rows("| Expression | null | `{") {
        let values = [Value::Null, with(5.into()), with("5".into()), with([5, 6].into())];
        assert_eq!(row.len(), 1 + values.len());
        for (value, expected) in values.into_iter().zip(&row[1..]) {
            let holds = meets(&entity, row[0], 1, std::slice::from_ref(&value));
            assert_eq!(holds.to_string(), *expected, "{} {value:?}", row[0]);
        }
    }
}

/// People with a name and a boss, by id: the tables of those that exist.
struct People(Vec<(ObjectId, Vec<u8>)>);

impl Links for People {
    type Error = RecordError;

    fn object(&self, _: EntityId, id: ObjectId) -> Result<Option<Table<'_>>, RecordError> {
        self.0.iter().find(|(other, _)| *other == id).map(|(_, table)| Table::parse(table)).transpose()
    }

    fn linked(
        &self,
        relation: &Relation,
        id: ObjectId,
        take: &mut dyn FnMut(ObjectId) -> Result<ControlFlow<()>, RecordError>,
    ) -> Result<(), RecordError> {
        let Way::Backlink { slot, .. } = relation.way else { panic!("{relation:?}") };
        for (linking, table) in &self.0 {
            let boss = Table::parse(table)?.int(slot, PropertyType::Relation)?.unwrap_or(0);
            if boss.cast_unsigned() == id && take(*linking)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// Whether the person of this id meets each of the expressions of a row; people are their id, name and boss.
fn person_meets(text: &str, id: ObjectId, people: &[(ObjectId, &str, ObjectId)]) -> bool {
    let mut person = entity(&[
        ("name", PropertyType::String, PropertyFlags::NONE),
        ("boss", PropertyType::Relation, PropertyFlags::NONE),
    ]);
    person.name = "Person".to_owned();
    person.properties[2].relation_target = Some("Person".to_owned());
    let schema = Schema::new(vec![person]).expect("the schema is valid");
    let person = &schema.entities()[0];
    let tables = people.iter().map(|&(id, name, boss)| {
        let boss = if boss == 0 { Value::Null } else { Value::Relation(boss) };
        (id, table(person, &[Value::String(name.to_owned()), boss]))
    });
    let people = People(tables.collect());
    let expr = parse(text).unwrap_or_else(|error| panic!("{}", error.render(text)));
    let prepared = prepare(&expr, person, &schema).unwrap_or_else(|error| panic!("{}", error.render(text)));
    let table = people.object(person.id, id).expect("a written table is whole").expect("the person exists");
    let predicate = prepared.predicate().expect("there are no parameters");
    predicate.matches_with(id, &table, &people).expect("written tables are readable")
}

#[test]
fn links_are_followed_as_the_table_says() {
    let people = |boss| [(1, "Ann", 0), (2, "Bob", 1), (9, "Cleo", boss)];
    for row in rows("| Expression | nobody | someone") {
        for (boss, expected) in [0, 8, 1, 2].into_iter().zip(&row[1..]) {
            assert_eq!(person_meets(row[0], 9, &people(boss)).to_string(), *expected, "{} {boss}", row[0]);
        }
    }
}

#[test]
fn links_are_followed_backwards_as_the_table_says() {
    let people = [(1, "Ann", 9), (2, "Bob", 9), (9, "Cleo", 0)];
    for row in rows("| Expression | nobody | `Ann` |") {
        for (skipped, expected) in [2, 1, 0].into_iter().zip(&row[1..]) {
            let mut people = people.to_vec();
            people.drain(2 - skipped..2);
            assert_eq!(person_meets(row[0], 9, &people).to_string(), *expected, "{} {skipped}", row[0]);
        }
    }
}

#[test]
fn errors_are_shown_as_the_guide_shows_them() {
    let lines: Vec<&str> = blocks("text error").into_iter().flat_map(str::lines).collect();
    for pair in lines.chunks(2) {
        let (carets, message) = pair[1].split_at(pair[1].rfind('^').expect("a line of carets") + 1);
        let shown = match parse(pair[0]) {
            Err(error) => error.render(pair[0]),
            Ok(expr) => {
                let rendered = reconvene_expr::check(&expr, &task())
                    .expect_err("an example of an error")
                    .render(pair[0]);
                rendered.strip_prefix("line 1, column 1: ").expect("it begins with its place").to_owned()
            }
        };
        assert_eq!(shown, format!("{}\n{}\n{carets}", message.trim_start(), pair[0]));
    }
}
