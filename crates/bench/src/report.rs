//! Rows as a table for people and as JSON for scripts.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use crate::measure::Row;

/// The table for people.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["", "objects", "durability", "ours", "floor", "unit", "ratio", "median", "target", ""]);
    for column in [1, 3, 4, 6, 7, 8] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for row in rows {
        let subject = &row.subject;
        let verdict = match subject.target {
            None => "",
            Some(_) if row.ok() => "ok",
            Some(_) => "missed",
        };
        table.add_row([
            subject.name.to_owned(),
            subject.objects.to_string(),
            subject.durability.to_owned(),
            number(row.value),
            number(row.floor),
            subject.unit.to_owned(),
            format!("{:.2}", row.ratio()),
            format!("{:.2}", row.median_ratio()),
            subject.target.map(|target| format!("{target:.2}")).unwrap_or_default(),
            verdict.to_owned(),
        ]);
    }
    table.to_string()
}

fn number(number: f64) -> String {
    if number < 100.0 { format!("{number:.1}") } else { format!("{number:.0}") }
}

/// One object for each row, a line each.
pub(crate) fn json_lines(rows: &[Row]) -> String {
    rows.iter().map(|row| format!("{}\n", json_of(row))).collect()
}

fn json_of(row: &Row) -> Value {
    let subject = &row.subject;
    json!({
        "suite": subject.suite,
        "name": subject.name,
        "objects": subject.objects,
        "durability": subject.durability,
        "value": row.value,
        "unit": subject.unit,
        "floor": row.floor,
        "ratio": row.ratio(),
        "target": subject.target,
        "ok": row.ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Subject;

    #[test]
    fn a_row_is_one_line_of_json_with_all_fields() {
        let subject = Subject {
            suite: "store",
            name: "get",
            objects: 10,
            durability: "full",
            unit: "ns",
            target: Some(1.5),
        };
        let rows = [Row::new(subject, &[(30.0, 15.0)])];
        let line = json_lines(&rows);
        assert_eq!(line.lines().count(), 1);
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            read,
            json!({
                "suite": "store", "name": "get", "objects": 10, "durability": "full", "value": 30.0,
                "unit": "ns", "floor": 15.0, "ratio": 2.0, "target": 1.5, "ok": false
            })
        );
        assert!(table(&rows).contains("missed"));
    }
}
