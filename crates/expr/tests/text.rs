//! Text and expressions: what is printed is read back, and no text does harm.

use std::thread;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use reconvene_expr::{
    Aspect, CheckErrorKind, CompareOp, DEPTH_MAX, Expr, Literal, Operand, Parameter, ParseErrorKind, Path,
    Quantifier, StepKey, TEXT_BYTES_MAX, check, parse, parse_sort,
};

#[allow(dead_code, reason = "each test file uses its part of it")]
mod common;

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_][a-zA-Z0-9_]{0,6}",
        select(vec![
            "and", "Or", "NOT", "in", "true", "FALSE", "null", "nan", "inf", "größe", "due by", "1st", "",
            "`", "\\", "any", "NONE", "All", "count", "Between", "a.b", "$"
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ]
}

/// Paths of which this is asked.
fn path_with(aspect: impl Strategy<Value = Aspect>) -> impl Strategy<Value = Path> {
    let step = prop_oneof![
        5 => name().prop_map(|name| StepKey::Name(name.into())),
        1 => any::<u32>().prop_map(StepKey::Index),
    ];
    (name(), vec(step, 0..3), aspect).prop_map(|(first, more, aspect)| {
        let steps = std::iter::once(StepKey::Name(first.into())).chain(more);
        Path::new(aspect, steps).expect("it begins with a name")
    })
}

fn path() -> impl Strategy<Value = Path> {
    let elements = select(Quantifier::ALL).prop_map(Aspect::Elements);
    path_with(prop_oneof![5 => Just(Aspect::Value), 1 => elements, 1 => Just(Aspect::Count)])
}

fn operand() -> impl Strategy<Value = Operand> {
    let parameter = (vec(name(), 1..3), proptest::option::of(literal()))
        .prop_map(|(parts, default)| Operand::Parameter(Parameter { name: parts.join("."), default }));
    prop_oneof![5 => literal().prop_map(Operand::Literal), 1 => parameter]
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        Just(Literal::Null),
        any::<bool>().prop_map(Literal::Bool),
        any::<i64>().prop_map(Literal::Int),
        select(vec![0, -1, i64::MIN, i64::MAX]).prop_map(Literal::Int),
        any::<u64>().prop_map(Literal::UInt),
        any::<u64>().prop_map(|bits| Literal::Double(f64::from_bits(bits))),
        select(vec![0.0, -0.0, 1.0, 1e300, -1e-300, f64::INFINITY, f64::NEG_INFINITY, f64::NAN])
            .prop_map(Literal::Double),
        any::<String>().prop_map(Literal::String),
        "[\"'`\\\\\n\r\t\u{0}\u{7f}a]{0,6}".prop_map(Literal::String),
    ]
}

/// Expressions in which AND and OR have at least this many parts.
fn expr(parts_min: usize) -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![
        1 => Just(Expr::All),
        6 => (path(), select(CompareOp::ALL), operand())
            .prop_map(|(path, op, value)| Expr::Compare { path, op, value }),
        2 => (path(), vec(operand(), 0..4), any::<bool>())
            .prop_map(|(path, values, no_case)| Expr::In { path, values, no_case }),
        1 => (path(), operand(), operand()).prop_map(|(path, low, high)| Expr::Between { path, low, high }),
    ];
    leaf.prop_recursive(6, 40, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), parts_min..5).prop_map(Expr::And),
            vec(inner.clone(), parts_min..5).prop_map(Expr::Or),
            inner.clone().prop_map(|part| Expr::Not(Box::new(part))),
            (select(Quantifier::ALL), path_with(Just(Aspect::Value)), inner).prop_map(
                |(which, path, condition)| { Expr::Linked { which, path, condition: Box::new(condition) } }
            ),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(expr in expr(2)) {
        let text = expr.to_string();
        prop_assert_eq!(parse(&text), Ok(expr), "{}", text);
    }

    #[test]
    fn short_and_empty_lists_print_as_something_that_prints_alike(expr in expr(0)) {
        let text = expr.to_string();
        let read = parse(&text).map_err(|error| TestCaseError::fail(error.render(&text)))?;
        prop_assert_eq!(read.to_string(), text);
    }

    #[test]
    fn no_text_does_harm(text in any::<String>()) {
        harmless(&text)?;
    }

    #[test]
    fn no_row_of_words_does_harm(words in vec(select(WORDS.to_vec()), 0..12), gap in select(vec!["", " ", "\n"])) {
        harmless(&words.join(gap))?;
    }

    #[test]
    fn no_expression_does_harm_to_a_check(expr in expr(0)) {
        let entity = common::task();
        if let Err(error) = check(&expr, &entity) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}

const WORDS: [&str; 45] = [
    "done",
    "title",
    "AND",
    "or",
    "Not",
    "in",
    "IN~",
    "true",
    "false",
    "null",
    "==",
    "!=",
    "<=",
    ">",
    "==~",
    "^=",
    "*=~",
    "=",
    "!",
    "&&",
    "|",
    "(",
    ")",
    "[",
    "]",
    ",",
    "-",
    "1",
    "2.5e3",
    "99999999999999999999",
    "'a'",
    "\"b\\",
    "`c`",
    "\\u{",
    "any",
    "NONE",
    "count",
    "BETWEEN",
    ".",
    "$",
    "${",
    "??",
    "}",
    "$p",
    "[3]",
];

/// Reading ends well, or with an error whose place lies in the text.
fn harmless(text: &str) -> Result<(), TestCaseError> {
    match parse(text) {
        Ok(expr) => prop_assert_eq!(parse(&expr.to_string()), Ok(expr)),
        Err(error) => {
            prop_assert!(error.span.start <= error.span.end && error.span.end <= text.len(), "{:?}", error);
            prop_assert!(text.get(error.span.start..error.span.end).is_some(), "{:?}", error);
            prop_assert!(error.line >= 1 && error.column >= 1);
            prop_assert!(error.render(text).lines().count() >= 3);
        }
    }
    Ok(())
}

#[test]
fn errors_say_what_may_stand_there() {
    for (text, message) in [
        ("", "line 1, column 1: the expression is empty; for all objects write `true`"),
        (" \n ", "line 2, column 2: the expression is empty; for all objects write `true`"),
        (
            "done",
            "line 1, column 5: expected an operator after the property, as in `done == true`, found the end",
        ),
        ("done ==", "line 1, column 8: expected a value, found the end"),
        ("done == yes", "line 1, column 9: expected a value (text stands in quotes), found `yes`"),
        ("done == true true", "line 1, column 14: expected AND, OR or the end, found `true`"),
        ("(done == true", "line 1, column 14: expected AND, OR or `)`, found the end"),
        ("stars == -'a'", "line 1, column 11: expected a number after `-`, found `'a'`"),
        ("stars IN 5", "line 1, column 10: expected a list in parentheses, as in `(1, 2)`, found `5`"),
        ("stars IN (1 2)", "line 1, column 13: expected `,` or `)`, found `2`"),
        ("stars IN [1)", "line 1, column 12: expected `,` or `]`, found `)`"),
        ("5 == stars", "line 1, column 1: expected the name of a property, NOT or `(`, found `5`"),
        ("stars <> 5", "line 1, column 7: `<>` is no operator; not equal is written `!=`"),
        (
            "stars == 5\nAND\n  done ? 1",
            "line 3, column 8: the character '?' has no meaning here; text stands in quotes, unusual names in backticks",
        ),
        ("a. == 1", "line 1, column 4: expected a name after `.`, found `==`"),
        ("a[b] == 1", "line 1, column 3: expected the number of an element, from 0, found `b`"),
        ("a[1 == 1", "line 1, column 5: expected `]`, found `==`"),
        ("stars == $", "line 1, column 11: expected the name of a parameter, as in `$name`, found the end"),
        ("stars == ${a 3}", "line 1, column 14: expected `??` and a default, or `}`, found `3`"),
        ("stars == ${a ?? 3", "line 1, column 18: expected `}`, found the end"),
        ("stars NOT == 5", "line 1, column 11: expected IN or BETWEEN after NOT, found `==`"),
        (
            "stars BETWEEN 1, 5",
            "line 1, column 16: expected AND and the largest value, as in `BETWEEN 1 AND 5`, found `,`",
        ),
        ("ANY tags", "line 1, column 9: expected an operator or a condition in parentheses, found the end"),
        (
            "COUNT tags (done == true)",
            "line 1, column 12: expected an operator after the property, as in `done == true`, found `(`",
        ),
        ("title == 'abc", "line 1, column 10: the closing ' is missing"),
        (
            "stars == 5km",
            "line 1, column 10: `5km` is neither a number nor a name; text stands in quotes, names that begin with a digit in backticks",
        ),
        (
            "stars == -9223372036854775809",
            "line 1, column 10: the number -9223372036854775809 is out of range: whole numbers have 64 bits, others lie within 1.8e308",
        ),
        (
            "weight == 1e999",
            "line 1, column 11: the number 1e999 is out of range: whole numbers have 64 bits, others lie within 1.8e308",
        ),
    ] {
        assert_eq!(parse(text).expect_err(text).to_string(), message);
    }
}

#[test]
fn words_that_ask_for_elements_are_names_where_none_follows() {
    for (text, printed) in [
        (
            "any == 1 AND none.count IN (2) AND all BETWEEN 1 AND 2",
            "any == 1 AND none.count IN (2) AND all BETWEEN 1 AND 2",
        ),
        ("any any == 1 and count count > 2", "ANY any == 1 AND COUNT count > 2"),
        (
            "ANY `between` == 1 AND between between 1 and 2",
            "ANY `between` == 1 AND `between` BETWEEN 1 AND 2",
        ),
        ("stars not in (1) && stars not between 1 and 2", "NOT stars IN (1) AND NOT stars BETWEEN 1 AND 2"),
        (
            "none project.tasks (not done == $auth.x) or id in $ids",
            "NONE project.tasks (NOT done == $auth.x) OR id IN ($ids)",
        ),
        ("tree.a[0].`b c` == ${x.y ?? -1}", "tree.a[0].`b c` == ${x.y ?? -1}"),
    ] {
        let expr = parse(text).expect(text);
        assert_eq!(expr.to_string(), printed);
        assert_eq!(parse(printed), Ok(expr));
    }
}

#[test]
fn orders_are_read_and_printed() {
    let sorts =
        parse_sort("a, b.c DESC, `desc` asc nocase nulls first, nulls desc Nulls Last").expect("it parses");
    let printed: Vec<String> = sorts.iter().map(ToString::to_string).collect();
    assert_eq!(printed, ["a", "b.c DESC", "desc NOCASE NULLS FIRST", "nulls DESC NULLS LAST"]);
    for (text, message) in [
        (
            "a b",
            "line 1, column 3: expected `,`, ASC, DESC, NOCASE, NULLS FIRST, NULLS LAST or the end, found `b`",
        ),
        ("a nulls", "line 1, column 8: expected FIRST or LAST, found the end"),
    ] {
        assert_eq!(parse_sort(text).expect_err(text).to_string(), message);
    }
}

#[test]
fn escapes_stand_for_one_character() {
    let read = parse(r#"title == "\\\"\'\`\/\n\r\t\u{1d11e}""#);
    let path = Path::property("title");
    let value = Literal::String("\\\"'`/\n\r\t\u{1d11e}".to_owned()).into();
    assert_eq!(read, Ok(Expr::Compare { path, op: CompareOp::Eq, value }));
    for wrong in [r"\x", r"\u{}", r"\u{d800}", r"\u{110000}", r"\u{0000041}", r"\u{+41}", r"\u41", r"\u{41"] {
        let error = parse(&format!("title == '{wrong}'")).expect_err(wrong);
        assert_eq!(error.kind, ParseErrorKind::Escape, "{wrong}");
    }
}

/// Runs on a stack that is small beside what an application has.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(512 << 10).spawn(run).expect("a thread can be started");
    thread.join().expect("the stack was large enough");
}

#[test]
fn text_nests_as_deep_as_the_limit_and_no_deeper() {
    on_a_small_stack(|| {
        for (open, close) in [("(", ")"), ("NOT ", ""), ("!", ""), ("done == true AND NOT (", ")")] {
            let levels = if open.ends_with("NOT (") { 2 } else { 1 };
            let nested = |n: usize| format!("{}done == true{}", open.repeat(n), close.repeat(n));
            assert!(parse(&nested(DEPTH_MAX / levels)).is_ok());
            let error = parse(&nested(DEPTH_MAX / levels + 1)).expect_err("it is too deep");
            assert_eq!(error.kind, ParseErrorKind::TooDeep);
            let error = parse(&open.repeat(TEXT_BYTES_MAX / open.len())).expect_err("it is too deep");
            assert_eq!(error.kind, ParseErrorKind::TooDeep);
        }
    });
}

#[test]
fn what_a_check_lets_pass_can_be_printed_and_read() {
    on_a_small_stack(|| {
        let entity = common::task();
        let leaf = || parse("done == true").expect("it is an expression");
        let nest = |depth: usize| {
            (0..depth).fold(leaf(), |inner, level| match level % 3 {
                0 => Expr::Not(Box::new(inner)),
                1 => Expr::And(vec![leaf(), inner]),
                _ => Expr::Or(vec![inner, leaf()]),
            })
        };
        let deepest = nest(DEPTH_MAX);
        assert!(check(&deepest, &entity).is_ok());
        assert_eq!(parse(&deepest.to_string()), Ok(deepest));
        let error = check(&nest(DEPTH_MAX + 1), &entity).expect_err("it is too deep");
        assert_eq!(*error.kind, CheckErrorKind::TooDeep);
    });
}

#[test]
fn text_is_as_long_as_the_limit_and_no_longer() {
    let longest = format!("title == '{}'", "a".repeat(TEXT_BYTES_MAX - "title == ''".len()));
    assert!(parse(&longest).is_ok());
    let error = parse(&format!("{longest} ")).expect_err("it is too long");
    assert_eq!(error.kind, ParseErrorKind::TooLong { bytes: TEXT_BYTES_MAX + 1 });
    assert!(error.render(&longest).len() < 400);
}
