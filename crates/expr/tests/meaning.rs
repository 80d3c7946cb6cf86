//! A predicate says of a record what plain Rust says of the values in it, and its conjuncts promise nothing wrong.

use std::cmp::Ordering;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use reconvene_expr::{
    CheckErrorKind, CompareOp, Conjunct, Expr, Literal, Operand, Path, Place, Predicate, Test, check, parse,
};
use reconvene_model::record::{RecordError, Table, TableLayout, TableWriter};
use reconvene_model::{EntityDef, Flex, ObjectId, PropertyDef, PropertyFlags, PropertyType, Value};

#[allow(dead_code, reason = "each test file uses its part of it")]
mod common;

use common::{entity, table};

fn mixed() -> EntityDef {
    use PropertyFlags as F;
    use PropertyType as T;
    entity(&[
        ("flag", T::Bool, F::NONE),
        ("small", T::Byte, F::NONE),
        ("tiny", T::Byte, F::UNSIGNED),
        ("short", T::Short, F::UNSIGNED),
        ("letter", T::Char, F::NONE),
        ("count", T::Int, F::NONE),
        ("long", T::Long, F::NONE),
        ("total", T::Long, F::UNSIGNED),
        ("ratio", T::Float, F::NONE),
        ("weight", T::Double, F::NONE),
        ("name", T::String, F::NONE),
        ("date", T::Date, F::NONE),
        ("link", T::Relation, F::NONE),
        ("tags", T::StringVector, F::NONE),
        ("tree", T::Flex, F::NONE),
    ])
}

/// A value as the test thinks of it.
#[derive(Clone, Debug, PartialEq)]
enum Plain {
    Bool(bool),
    Whole(i128),
    Real(f64),
    Text(String),
}

const WHOLE: [i128; 12] =
    [0, 1, 2, -1, 127, 128, 200, 255, 65_535, i64::MAX as i128, i64::MIN as i128, u64::MAX as i128];

const REAL: [f64; 10] =
    [0.0, -0.0, 0.1, -1.5, 16_777_217.0, 3e38, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::MIN_POSITIVE];

/// Letters, and what they are without case.
const LETTERS: [(char, &str); 14] = [
    ('a', "a"),
    ('A', "a"),
    ('b', "b"),
    ('B', "b"),
    ('s', "s"),
    ('S', "s"),
    ('ß', "ss"),
    ('ẞ', "ss"),
    ('σ', "σ"),
    ('ς', "σ"),
    ('Σ', "σ"),
    ('ı', "ı"),
    ('i', "i"),
    ('𝄞', "𝄞"),
];

fn without_case(text: &str) -> String {
    let of = |c: char| LETTERS.iter().find(|(letter, _)| *letter == c).map_or("", |(_, folded)| folded);
    text.chars().map(of).collect()
}

/// The numbers that a property holds.
fn holds(property: &PropertyDef) -> std::ops::RangeInclusive<i128> {
    let bits = 8 * property.ty.scalar_bytes().unwrap_or(8);
    let unsigned = property.is_unsigned() || property.is_id() || property.ty == PropertyType::Relation;
    let lowest = if unsigned { 0 } else { -(1 << (bits - 1)) };
    lowest..=lowest + (1 << bits) - 1
}

fn plain_values(property: &PropertyDef) -> BoxedStrategy<Plain> {
    use PropertyType as T;
    match property.ty {
        T::Bool => any::<bool>().prop_map(Plain::Bool).boxed(),
        T::Float | T::Double => select(REAL.to_vec()).prop_map(Plain::Real).boxed(),
        T::String => vec(select(LETTERS.map(|(letter, _)| letter).to_vec()), 0..4)
            .prop_map(|letters| Plain::Text(letters.into_iter().collect()))
            .boxed(),
        _ => {
            let range = holds(property);
            let fitting: Vec<i128> = WHOLE.into_iter().filter(|number| range.contains(number)).collect();
            select(fitting).prop_map(Plain::Whole).boxed()
        }
    }
}

fn is_comparable(property: &PropertyDef) -> bool {
    !matches!(property.ty, PropertyType::StringVector | PropertyType::Flex)
}

fn value(property: &PropertyDef, plain: Option<&Plain>) -> Value {
    match (property.ty, plain) {
        (_, None) => Value::Null,
        (PropertyType::StringVector, _) => Value::StringVector(vec!["a".to_owned()]),
        (PropertyType::Flex, _) => Value::Flex(Flex::from(1)),
        (PropertyType::Relation, Some(Plain::Whole(id))) => Value::Relation(*id as u64),
        (PropertyType::Float, Some(Plain::Real(number))) => Value::Float(*number as f32),
        (_, Some(Plain::Bool(bit))) => Value::Bool(*bit),
        (_, Some(Plain::Whole(number))) => Value::Int(*number as i64),
        (_, Some(Plain::Real(number))) => Value::Double(*number),
        (_, Some(Plain::Text(text))) => Value::String(text.clone()),
    }
}

fn literal(plain: Option<&Plain>) -> Literal {
    match plain {
        None => Literal::Null,
        Some(Plain::Bool(bit)) => Literal::Bool(*bit),
        Some(Plain::Whole(number)) => match i64::try_from(*number) {
            Ok(number) => Literal::Int(number),
            Err(_) => Literal::UInt(*number as u64),
        },
        Some(Plain::Real(number)) => Literal::Double(*number),
        Some(Plain::Text(text)) => Literal::String(text.clone()),
    }
}

/// What the property makes of a value: its own precision, and no link to 0.
fn settle(property: &PropertyDef, plain: Option<Plain>) -> Option<Plain> {
    match plain {
        Some(Plain::Real(number)) if property.ty == PropertyType::Float => {
            Some(Plain::Real(f64::from(number as f32)))
        }
        Some(Plain::Whole(0)) if property.ty == PropertyType::Relation => None,
        plain => plain,
    }
}

fn order(one: &Plain, other: &Plain) -> Ordering {
    match (one, other) {
        (Plain::Bool(one), Plain::Bool(other)) => one.cmp(other),
        (Plain::Whole(one), Plain::Whole(other)) => one.cmp(other),
        (Plain::Text(one), Plain::Text(other)) => one.chars().cmp(other.chars()),
        (Plain::Real(one), Plain::Real(other)) if one.is_nan() || other.is_nan() => {
            one.is_nan().cmp(&other.is_nan())
        }
        (Plain::Real(one), Plain::Real(other)) if one == other => Ordering::Equal,
        (Plain::Real(one), Plain::Real(other)) => one.total_cmp(other),
        _ => panic!("{one:?} and {other:?} are not of one property"),
    }
}

fn compare(stored: Option<&Plain>, op: CompareOp, wanted: Option<&Plain>) -> bool {
    use CompareOp::*;
    let (Some(stored), Some(wanted)) = (stored, wanted) else {
        return match op {
            Eq => stored.is_none() && wanted.is_none(),
            Ne => stored.is_some() || wanted.is_some(),
            _ => false,
        };
    };
    let text = |plain: &Plain| match plain {
        Plain::Text(text) if op.is_no_case() => without_case(text),
        Plain::Text(text) => text.clone(),
        _ => panic!("{op} compares text"),
    };
    let order = order(stored, wanted);
    match op {
        Eq => order == Ordering::Equal,
        Ne => order != Ordering::Equal,
        Lt => order == Ordering::Less,
        Le => order != Ordering::Greater,
        Gt => order == Ordering::Greater,
        Ge => order != Ordering::Less,
        EqNoCase => text(stored) == text(wanted),
        StartsWith | StartsWithNoCase => text(stored).starts_with(&text(wanted)),
        Contains | ContainsNoCase => text(stored).contains(&text(wanted)),
        EndsWith | EndsWithNoCase => text(stored).ends_with(&text(wanted)),
    }
}

/// An object: its id, and a value or none for each stored property.
type Object = (ObjectId, Vec<Option<Plain>>);

fn object() -> impl Strategy<Value = Object> {
    let entity = mixed();
    let values: Vec<_> =
        entity.stored_properties().map(|property| option::of(plain_values(property)).boxed()).collect();
    (select(vec![1, 2, 200, u64::MAX]), values)
}

fn stored_of(entity: &EntityDef, object: &Object, name: &str) -> Option<Plain> {
    let property = entity.property(name).expect("the entity has it");
    if property.is_id() {
        return Some(Plain::Whole(object.0.into()));
    }
    let at = entity.stored_properties().position(|stored| stored.name == name).expect("the entity stores it");
    settle(property, object.1[at].clone())
}

/// Expressions that fit the entity.
fn fitting() -> impl Strategy<Value = Expr> {
    let entity = mixed();
    let leaves: Vec<BoxedStrategy<Expr>> = entity
        .properties
        .iter()
        .map(|property| {
            let path = Path::property(property.name.clone());
            let nulls = {
                let path = path.clone();
                select(vec![CompareOp::Eq, CompareOp::Ne]).prop_map(move |op| Expr::Compare {
                    path: path.clone(),
                    op,
                    value: Literal::Null.into(),
                })
            };
            if !is_comparable(property) {
                return nulls.boxed();
            }
            let is_text = property.ty == PropertyType::String;
            let has_order = !matches!(property.ty, PropertyType::Bool | PropertyType::Relation);
            let suits = |op: &&CompareOp| (is_text || !op.is_text()) && (has_order || !op.is_order());
            let ops: Vec<CompareOp> = CompareOp::ALL.iter().filter(suits).copied().collect();
            let compares = {
                let path = path.clone();
                (select(ops), plain_values(property)).prop_map(move |(op, plain)| Expr::Compare {
                    path: path.clone(),
                    op,
                    value: literal(Some(&plain)).into(),
                })
            };
            let lists = {
                let path = path.clone();
                (vec(option::of(plain_values(property)), 0..5), any::<bool>()).prop_map(
                    move |(values, no_case)| {
                        let values = values.iter().map(|plain| literal(plain.as_ref()).into()).collect();
                        Expr::In { path: path.clone(), values, no_case: no_case && is_text }
                    },
                )
            };
            let ranges = (plain_values(property), plain_values(property)).prop_map(move |(low, high)| {
                let (low, high) = (literal(Some(&low)).into(), literal(Some(&high)).into());
                Expr::Between { path: path.clone(), low, high }
            });
            prop_oneof![1 => nulls, 5 => compares, 2 => lists, u32::from(has_order) => ranges].boxed()
        })
        .collect();
    let leaf = (any::<Index>(), leaves, 0..20).prop_map(|(index, leaves, all)| match all {
        0 => Expr::All,
        _ => index.get(&leaves).clone(),
    });
    leaf.prop_recursive(4, 20, 4, |inner| {
        prop_oneof![
            3 => vec(inner.clone(), 0..4).prop_map(Expr::And),
            2 => vec(inner.clone(), 0..4).prop_map(Expr::Or),
            1 => inner.prop_map(|part| Expr::Not(Box::new(part))),
        ]
    })
}

fn of_operand(property: &PropertyDef, operand: &Operand) -> Option<Plain> {
    let Operand::Literal(literal) = operand else { panic!("{operand:?} has no value") };
    let plain = match literal {
        Literal::Null => None,
        Literal::Bool(bit) => Some(Plain::Bool(*bit)),
        Literal::Int(number) => Some(Plain::Whole((*number).into())),
        Literal::UInt(number) => Some(Plain::Whole((*number).into())),
        Literal::Double(number) => Some(Plain::Real(*number)),
        Literal::String(text) => Some(Plain::Text(text.clone())),
    };
    settle(property, plain)
}

fn expected(entity: &EntityDef, object: &Object, expr: &Expr) -> bool {
    match expr {
        Expr::All => true,
        Expr::And(parts) => parts.iter().all(|part| expected(entity, object, part)),
        Expr::Or(parts) => parts.iter().any(|part| expected(entity, object, part)),
        Expr::Not(part) => !expected(entity, object, part),
        Expr::Compare { path, op, value } => {
            let property = entity.property(path.name()).expect("the expression fits");
            let wanted = of_operand(property, value);
            compare(stored_of(entity, object, path.name()).as_ref(), *op, wanted.as_ref())
        }
        Expr::In { path, values, no_case } => {
            let property = entity.property(path.name()).expect("the expression fits");
            let stored = stored_of(entity, object, path.name());
            values.iter().any(|value| {
                let wanted = of_operand(property, value);
                let op = if *no_case && wanted.is_some() { CompareOp::EqNoCase } else { CompareOp::Eq };
                compare(stored.as_ref(), op, wanted.as_ref())
            })
        }
        Expr::Between { path, low, high } => {
            let property = entity.property(path.name()).expect("the expression fits");
            let stored = stored_of(entity, object, path.name());
            [(CompareOp::Ge, low), (CompareOp::Le, high)]
                .into_iter()
                .all(|(op, bound)| compare(stored.as_ref(), op, of_operand(property, bound).as_ref()))
        }
        Expr::Linked { .. } => panic!("{expr} leads to other objects"),
    }
}

fn record(entity: &EntityDef, object: &Object) -> Vec<u8> {
    let stored = entity.stored_properties().zip(&object.1);
    let values: Vec<Value> = stored.map(|(property, plain)| value(property, plain.as_ref())).collect();
    table(entity, &values)
}

fn matches(predicate: &Predicate, entity: &EntityDef, object: &Object) -> Result<bool, RecordError> {
    predicate.matches(object.0, &Table::parse(&record(entity, object))?)
}

/// Whether the object passes a test as a planner would read it.
fn passes(entity: &EntityDef, object: &Object, conjunct: &Conjunct<'_>) -> bool {
    let property = match conjunct.place {
        Place::Id => entity.id_property(),
        Place::Slot(slot) => {
            entity.stored_properties().find(|property| property.slot() == slot).expect("it has the slot")
        }
    };
    assert_eq!((conjunct.ty, conjunct.unsigned), (property.ty, property.is_unsigned() || property.is_id()));
    let plain = |value: &Value| match value {
        Value::Null => None,
        Value::Bool(bit) => Some(Plain::Bool(*bit)),
        Value::Int(bits) if *holds(property).start() == 0 => Some(Plain::Whole(bits.cast_unsigned().into())),
        Value::Int(number) => Some(Plain::Whole((*number).into())),
        Value::Relation(id) => Some(Plain::Whole((*id).into())),
        Value::Float(number) => Some(Plain::Real((*number).into())),
        Value::Double(number) => Some(Plain::Real(*number)),
        Value::String(text) => Some(Plain::Text(text.clone())),
        _ => panic!("{value:?} cannot be compared"),
    };
    let stored = stored_of(entity, object, &property.name);
    let passes = match conjunct.test {
        Test::Compare { op, value } => compare(stored.as_ref(), op, plain(value).as_ref()),
        Test::Between { low, high } => {
            compare(stored.as_ref(), CompareOp::Ge, plain(low).as_ref())
                && compare(stored.as_ref(), CompareOp::Le, plain(high).as_ref())
        }
        Test::In { values, null, no_case } => {
            let values: Vec<Plain> =
                values.iter().map(|value| plain(value).expect("nulls stand apart")).collect();
            assert!(values.is_sorted_by(|one, other| order(one, other) == Ordering::Less), "{values:?}");
            let op = if no_case { CompareOp::EqNoCase } else { CompareOp::Eq };
            values.iter().any(|value| compare(stored.as_ref(), op, Some(value))) || null && stored.is_none()
        }
    };
    passes != conjunct.negated
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_predicate_means_what_rust_means(expr in fitting(), object in object()) {
        let entity = mixed();
        let expected = expected(&entity, &object, &expr);
        let predicate = check(&expr, &entity).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(matches(&predicate, &entity, &object), Ok(expected), "{}", expr);

        let read = parse(&expr.to_string()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let read = check(&read, &entity).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(matches(&read, &entity, &object), Ok(expected), "{}", expr);

        let all = predicate.conjuncts().all(|conjunct| passes(&entity, &object, &conjunct));
        prop_assert!(all || !expected, "{} has a conjunct that {:?} fails", expr, object);
        if predicate.is_conjunction() {
            prop_assert_eq!(all, expected, "{}", expr);
        }
        if predicate.is_all() {
            prop_assert!(predicate.is_conjunction() && expected && predicate.places().is_empty());
        }
    }

    #[test]
    fn other_properties_do_not_matter(expr in fitting(), one in object(), other in object()) {
        let entity = mixed();
        let predicate = check(&expr, &entity).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let places = predicate.places();
        let mut blend = other;
        for (property, (to, from)) in entity.stored_properties().zip(blend.1.iter_mut().zip(&one.1)) {
            if places.contains(&Place::Slot(property.slot())) {
                to.clone_from(from);
            }
        }
        if places.contains(&Place::Id) {
            blend.0 = one.0;
        }
        prop_assert_eq!(matches(&predicate, &entity, &one), matches(&predicate, &entity, &blend));
    }

    #[test]
    fn no_bytes_do_harm(expr in fitting(), object in object(), changes in vec((any::<Index>(), any::<u8>()), 1..8)) {
        let predicate = check(&expr, &mixed()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let mut bytes = record(&mixed(), &object);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(table) = Table::parse(&bytes) {
            // Damage is an error or passes for a value; either is an answer.
            let _ = predicate.matches(1, &table);
        }
    }
}

#[test]
fn properties_younger_than_the_record_are_null() {
    let young = mixed();
    let old = entity(&[("flag", PropertyType::Bool, PropertyFlags::NONE)]);
    let bytes = table(&old, &[Value::Bool(true)]);
    let old_table = Table::parse(&bytes).expect("a written table is whole");
    for (text, holds) in
        [("flag == true", true), ("name == null", true), ("name == ''", false), ("count < 1", false)]
    {
        let predicate = check(&parse(text).expect(text), &young).expect(text);
        assert_eq!(predicate.matches(1, &old_table), Ok(holds), "{text}");
    }
}

#[test]
fn and_of_and_is_all_conjuncts() {
    let text = "flag == true AND (count > 1 AND (true AND name == 'a')) AND (long == 1 OR long == 2)";
    let predicate = check(&parse(text).expect(text), &mixed()).expect(text);
    assert_eq!(predicate.conjuncts().count(), 3);
    assert!(!predicate.is_conjunction());
}

#[test]
fn what_does_not_fit_is_an_error_with_a_remedy() {
    for (text, message) in [
        ("nmae == 'a'", "`Task` has no property `nmae`; did you mean `name`?"),
        (
            "colour == 1",
            "`Task` has no property `colour`; it has `id`, `flag`, `small`, `tiny`, `short`, `letter`, `count`, `long`, `total`, `ratio`, `weight`, `name` and others",
        ),
        ("flag < true", "`Task.flag` is of type Bool, which `<` cannot compare; use `==`, `!=` or `IN`"),
        (
            "flag == 1",
            "`Task.flag` is of type Bool and cannot be compared with a whole number; compare it with true or false",
        ),
        ("small == 128", "`Task.small` cannot be 128: it holds numbers from -128 to 127"),
        ("tiny IN (0, 256)", "`Task.tiny` cannot be 256: it holds numbers from 0 to 255"),
        ("total == -1", "`Task.total` cannot be -1: it holds numbers from 0 to 18446744073709551615"),
        ("id == -1", "`Task.id` cannot be -1: it holds numbers from 0 to 18446744073709551615"),
        (
            "letter == 'ab'",
            "`Task.letter` is of type Char and cannot be compared with text that is not one 16-bit character; compare it with a whole number or one character in quotes",
        ),
        (
            "count == 1.0",
            "`Task.count` is of type Int and cannot be compared with a number with a fraction or an exponent; compare it with a whole number",
        ),
        (
            "count *= 1",
            "`Task.count` is of type Int, which `*=` cannot compare; use `==`, `!=`, `<`, `<=`, `>`, `>=`, `BETWEEN` or `IN`",
        ),
        (
            "count IN~ (1)",
            "`Task.count` is of type Int, which `IN~` cannot compare; use `==`, `!=`, `<`, `<=`, `>`, `>=`, `BETWEEN` or `IN`",
        ),
        ("ratio < 1e39", "`Task.ratio` cannot be 1e39: it holds numbers from -3.4028235e38 to 3.4028235e38"),
        (
            "weight == 'heavy'",
            "`Task.weight` is of type Double and cannot be compared with text; compare it with a number",
        ),
        (
            "name == 1",
            "`Task.name` is of type String and cannot be compared with a whole number; compare it with text in quotes",
        ),
        (
            "name ^= null",
            "`^=` cannot compare `Task.name` with null; test for null with `== null` or `!= null`",
        ),
        (
            "date == '2026-01-01'",
            "`Task.date` is of type Date and cannot be compared with text; compare it with a whole number: milliseconds since 1970, UTC",
        ),
        ("link > 1", "`Task.link` is of type Relation, which `>` cannot compare; use `==`, `!=` or `IN`"),
        (
            "link == 'a'",
            "`Task.link` is of type Relation and cannot be compared with text; compare it with the id of the object linked to, or null",
        ),
        (
            "tags == 'a'",
            "`Task.tags` is of type StringVector, which `==` cannot compare; test it with `== null` or `!= null`, or its elements with ANY, NONE, ALL or COUNT",
        ),
        (
            "tree.a *= 5",
            "`*=` compares `Task.tree.a` with text, not with a whole number; put it in quotes, or use another operator",
        ),
    ] {
        let error = check(&parse(text).expect(text), &mixed()).expect_err(text);
        assert_eq!(error.to_string(), message);
        assert!(error.span.is_some_and(|span| span.start == 0), "{text}");
    }
    let built =
        Expr::Compare { path: Path::property("Flag"), op: CompareOp::Eq, value: Literal::Null.into() };
    let error = check(&built, &mixed()).expect_err("the name is not known");
    assert!(
        matches!(&*error.kind, CheckErrorKind::UnknownProperty { near: Some(near), .. } if near == "flag")
    );
    assert_eq!(error.render("anything"), error.to_string());
}

#[test]
fn characters_are_compared_by_their_codes() {
    let predicate = check(&parse("letter >= 'b' AND letter != \"\u{ffff}\"").expect("it parses"), &mixed())
        .expect("it fits");
    let with = |code: i128| {
        let mut values = vec![None; mixed().stored_properties().count()];
        values[4] = Some(Plain::Whole(code));
        (1, values)
    };
    for (code, holds) in [(97, false), (98, true), (65_534, true), (65_535, false)] {
        assert_eq!(matches(&predicate, &mixed(), &with(code)), Ok(holds), "{code}");
    }
}

#[test]
fn a_predicate_can_be_shared() {
    fn shareable<T: Clone + Send + Sync + std::fmt::Debug + 'static>() {}
    shareable::<Predicate>();
    shareable::<Expr>();
}

#[test]
fn a_link_to_0_is_null_however_it_was_written() {
    let entity = mixed();
    let link = entity.property("link").expect("the entity has it");
    let layout = TableLayout::new(&entity);
    let mut writer = TableWriter::new(&layout);
    writer.set_int(link.slot(), 0);
    let mut bytes = Vec::new();
    writer.finish(&mut bytes);
    let table = Table::parse(&bytes).expect("a written table is whole");
    for (text, holds) in [
        ("link == null", true),
        ("link != null", false),
        ("link == 0", true),
        ("link != 1", true),
        ("link IN (1)", false),
        ("link IN (0, 1)", true),
    ] {
        let predicate = check(&parse(text).expect(text), &entity).expect(text);
        assert_eq!(predicate.matches(1, &table), Ok(holds), "{text}");
    }
}
