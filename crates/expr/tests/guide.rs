//! What the guide says is so.

#[allow(dead_code, reason = "each test file uses its part of it")]
mod common;

use common::{meets, task};
use reconvene_expr::{check, parse};
use reconvene_model::Value;

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
        check(&expr, &task()).unwrap_or_else(|error| panic!("{}", error.render(example)));
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
fn errors_are_shown_as_the_guide_shows_them() {
    let lines: Vec<&str> = blocks("text error").into_iter().flat_map(str::lines).collect();
    for pair in lines.chunks(2) {
        let (carets, message) = pair[1].split_at(pair[1].rfind('^').expect("a line of carets") + 1);
        let shown = match parse(pair[0]) {
            Err(error) => error.render(pair[0]),
            Ok(expr) => {
                let rendered = check(&expr, &task()).expect_err("an example of an error").render(pair[0]);
                rendered.strip_prefix("line 1, column 1: ").expect("it begins with its place").to_owned()
            }
        };
        assert_eq!(shown, format!("{}\n{}\n{carets}", message.trim_start(), pair[0]));
    }
}
