//! All that can be read of a store, as text in which only a difference of content shows.

use std::fmt::Write as _;

use reconvene_model::Value;
use reconvene_store::{Role, Store};

pub(crate) fn content(store: &Store) -> String {
    let mut text = String::new();
    let mut names: Vec<_> = store.schema().entities().iter().map(|entity| entity.name.clone()).collect();
    names.sort();
    for entity in names {
        let objects = store.objects(&entity).unwrap();
        writeln!(text, "{entity}: {}", objects.count().unwrap()).unwrap();
        for object in objects.all().unwrap() {
            writeln!(text, "  {}", object.id).unwrap();
            for (name, value) in object.values.iter().filter(|(_, value)| **value != Value::Null) {
                writeln!(text, "    {name} {}", shown(value)).unwrap();
            }
        }
        for property in store.schema().entity_by_name(&entity).unwrap().properties.iter() {
            if property.index.is_some() && !property.is_id() {
                let query = objects.query_text(&format!("{} != null", property.name)).unwrap();
                assert!(query.explain().unwrap().indexes == [property.name.clone()], "{}", property.name);
                writeln!(text, "  with {} {:?}", property.name, query.find_ids().unwrap()).unwrap();
            }
        }
    }
    let sync = store.sync();
    writeln!(text, "peer {}", sync.peer()).unwrap();
    if sync.role() == Role::Server {
        writeln!(text, "head {}", sync.head().unwrap().0).unwrap();
        return text;
    }
    let state = sync.login_state().unwrap();
    writeln!(text, "at {}, last {}, decided {}", state.cursor.seq.0, state.last_number, state.decided)
        .unwrap();
    for tx in sync.outbox(0, usize::MAX, usize::MAX).unwrap() {
        writeln!(text, "unsent or undecided {}: {} bytes", tx.number, tx.bytes.len()).unwrap();
    }
    for rejected in sync.rejected().unwrap() {
        writeln!(text, "rejected {}: code {}, {} ops", rejected.number, rejected.code, rejected.ops.len())
            .unwrap();
    }
    for conflict in sync.conflicts().unwrap() {
        writeln!(text, "conflict {} of {} {:?}", conflict.number, conflict.entity, conflict.id).unwrap();
    }
    text
}

fn shown(value: &Value) -> String {
    fn all<V: ToString>(values: &[V]) -> String {
        values.iter().map(V::to_string).collect::<Vec<_>>().join(" ")
    }
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(bit) => bit.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Relation(id) => format!("to {id}"),
        Value::Flex(tree) => tree.to_string(),
        Value::ByteVector(bytes) => all(bytes),
        Value::BoolVector(values) => all(values),
        Value::ShortVector(values) => all(values),
        Value::IntVector(values) => all(values),
        Value::LongVector(values) => all(values),
        Value::FloatVector(values) => all(values),
        Value::DoubleVector(values) => all(values),
        Value::StringVector(values) => values.join("|"),
    }
}
