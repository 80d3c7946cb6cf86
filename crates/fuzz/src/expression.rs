//! Conditions as people, configurations and peers write them.

use std::sync::LazyLock;

use reconvene_expr::{Argument, Expr, Literal, NoLinks, check, parse, prepare};
use reconvene_model::record::{EMPTY_TABLE, Table};
use reconvene_model::{EntityDef, Schema};

use crate::{entities, memory};

/// How much an expression may take in memory for each byte of its text.
const MEMORY_FACTOR: usize = 128;

/// As [`MEMORY_FACTOR`], with what parameters are remembered for.
const PREPARED_MEMORY_FACTOR: usize = 512;

static ENTITY: LazyLock<EntityDef> = LazyLock::new(entities::all_types);

static SCHEMA: LazyLock<Schema> =
    LazyLock::new(|| Schema::new(vec![entities::all_types()]).expect("the entity makes a schema"));

/// Any bytes as the text of one expression.
pub fn expression(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let text = text.as_ref();
    let parsed = memory::bounded("an expression", text.len(), MEMORY_FACTOR, || parse(text));
    let expr = match parsed {
        Ok(expr) => expr,
        Err(error) => {
            assert!(error.span.start <= error.span.end && error.span.end <= text.len(), "{:?}", error.span);
            assert!(text.is_char_boundary(error.span.start) && text.is_char_boundary(error.span.end));
            assert!(error.line >= 1 && error.column >= 1);
            let rendered = error.render(text);
            assert_eq!(rendered.lines().count(), error.to_string().lines().count() + 2, "{rendered}");
            return;
        }
    };
    let printed = expr.to_string();
    let again = parse(&printed).unwrap_or_else(|error| panic!("{printed:?}: {error}"));
    assert_eq!(again, expr, "{printed:?}");
    assert_eq!(again.to_string(), printed);

    let checked =
        memory::bounded("a checked expression", text.len(), MEMORY_FACTOR, || check(&expr, &ENTITY));
    match checked {
        Ok(predicate) => {
            let places = predicate.places();
            assert!(places.is_sorted() && places.len() <= ENTITY.properties.len());
            assert!(predicate.conjuncts().all(|conjunct| places.contains(&conjunct.place)));
            let table = Table::parse(EMPTY_TABLE).expect("the table of a tombstone has a frame");
            let meets = predicate.matches(7, &table);
            assert!(meets.is_ok() && (!predicate.is_all() || meets == Ok(true)));
            let again = check(&again, &ENTITY).expect("it was checked before it was printed");
            assert_eq!(again.matches(7, &table), meets);
        }
        Err(error) => {
            assert!(!error.render(text).is_empty());
            assert_eq!(check(&again, &ENTITY).err().map(|error| error.kind), Some(error.kind));
        }
    }
    prepared(text, &expr);
}

/// The expression with links and parameters, which are given values of all kinds.
fn prepared(text: &str, expr: &Expr) {
    let prepared = memory::bounded("a prepared expression", text.len(), PREPARED_MEMORY_FACTOR, || {
        prepare(expr, &ENTITY, &SCHEMA)
    });
    let Ok(mut prepared) = prepared else { return };
    let names: Vec<String> = prepared.parameters().map(str::to_owned).collect();
    let arguments: [Argument; 6] = [
        Argument::List(Vec::new()),
        Literal::Null.into(),
        Literal::Double(0.5).into(),
        Literal::String("a".to_owned()).into(),
        Literal::Bool(true).into(),
        Literal::Int(3).into(),
    ];
    for name in &names {
        let taken =
            arguments.iter().filter(|argument| prepared.set(name, (*argument).clone()).is_ok()).count();
        assert!(taken <= arguments.len());
    }
    let table = Table::parse(EMPTY_TABLE).expect("the table of a tombstone has a frame");
    if let Ok(predicate) = prepared.predicate() {
        assert!(predicate.matches_with(7, &table, &NoLinks).is_ok());
        assert!(predicate.reaches().len() <= SCHEMA.entities().len());
    }
}
