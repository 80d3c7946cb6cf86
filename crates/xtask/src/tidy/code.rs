//! Rust sources without what is not code: comments, literals and, where asked, tests.
//!
//! This is no parser: it knows just enough of the language not to take a word in a comment for one in the code.

/// The source with comments and the insides of literals taken out, line for line.
pub(super) fn code_only(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let taken = if rest.starts_with(&['/', '/']) {
            rest.iter().take_while(|&&c| c != '\n').count()
        } else if rest.starts_with(&['/', '*']) {
            block_comment(rest)
        } else if let Some(length) = literal(rest) {
            code.push_str("\"\"");
            length
        } else {
            // A whole word at once: the end of a name must not pass for the prefix of a literal.
            let word = rest.iter().take_while(|&&c| is_word(c)).count().max(1);
            code.extend(&rest[..word]);
            at += word;
            continue;
        };
        code.extend(rest[..taken].iter().filter(|&&c| c == '\n'));
        at += taken;
    }
    code
}

/// The code, as [`code_only`] gives it, without the items under `#[cfg(test)]`, line for line.
pub(super) fn without_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    for (part, test) in parts(code) {
        if test {
            kept.extend(part.chars().filter(|&c| c == '\n'));
        } else {
            kept.push_str(part);
        }
    }
    kept
}

/// The names of the modules that stand under `#[cfg(test)]` and have files of their own.
pub(super) fn test_modules(code: &str) -> Vec<&str> {
    let items = parts(code).into_iter().filter(|(part, test)| *test && part.ends_with(';'));
    items
        .filter_map(|(item, _)| {
            let mut words = words(item).map(|(word, _)| word).skip_while(|&word| word != "mod");
            words.nth(1)
        })
        .collect()
}

/// The code in parts, each with whether it is an item under `#[cfg(test)]`.
fn parts(code: &str) -> Vec<(&str, bool)> {
    if code.contains("#![cfg(test)]") {
        return vec![(code, true)];
    }
    let mut parts = Vec::new();
    let mut rest = code;
    while let Some(start) =
        ["#[cfg(test)]", "#[cfg(all(test,"].iter().filter_map(|mark| rest.find(mark)).min()
    {
        let (before, item) = rest.split_at(start);
        let (item, after) = item.split_at(item_length(item));
        parts.extend([(before, false), (item, true)]);
        rest = after;
    }
    parts.push((rest, false));
    parts
}

/// The words of a line of code, each with the text that follows it.
pub(super) fn words(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.split(|c: char| !is_word(c)).filter(|word| !word.is_empty()).map(|word| {
        let end = word.as_ptr() as usize - line.as_ptr() as usize + word.len();
        (word, &line[end..])
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of the block comment with which `chars` begins; such comments nest.
fn block_comment(chars: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < chars.len() {
        if chars[at..].starts_with(&['/', '*']) {
            depth += 1;
            at += 2;
        } else if chars[at..].starts_with(&['*', '/']) {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// The length of the string or character literal with which `chars` begins, if it does.
fn literal(chars: &[char]) -> Option<usize> {
    let prefix = chars.iter().take_while(|&&c| matches!(c, 'b' | 'c' | 'r')).count();
    let raw = match chars[..prefix] {
        [] | ['b'] | ['c'] => false,
        ['r'] | ['b', 'r'] | ['c', 'r'] => true,
        _ => return None,
    };
    let body = &chars[prefix..];
    let length = if raw {
        let hashes = body.iter().take_while(|&&c| c == '#').count();
        if body.get(hashes) != Some(&'"') {
            return None;
        }
        let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
        let inside = &body[hashes + 1..];
        let closing = inside.windows(end.len()).position(|window| window == end);
        hashes + 1 + closing.map_or(inside.len(), |at| at + end.len())
    } else {
        match body.first()? {
            '"' => quoted('"', body),
            // A quote that does not close after one character begins a lifetime or a label.
            '\'' if body.get(1) == Some(&'\\') => quoted('\'', body),
            '\'' if body.get(2) == Some(&'\'') => 3,
            _ => return None,
        }
    };
    Some(prefix + length)
}

/// The length of a literal in quotes with escapes.
fn quoted(quote: char, chars: &[char]) -> usize {
    let mut at = 1;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// The length of the item with which `code` begins, attributes included: up to its block's end or its semicolon.
fn item_length(code: &str) -> usize {
    let mut depth = 0usize;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && c == '}' {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_comments_and_literals_out() {
        for (source, code) in [
            ("a // b\nc", "a \nc"),
            ("/// doc\nfn f() {}", "\nfn f() {}"),
            ("a /* b /* c */ \n d */ e", "a \n e"),
            (r#"f("a \" b", c)"#, r#"f("", c)"#),
            ("f(\"a\nb\") // c", "f(\"\"\n) "),
            (r###"f(r#"a " b"#, c)"###, r#"f("", c)"#),
            (r##"f(br"a\", b"c", c"d")"##, r#"f("", "", "")"#),
            ("f('x', '\\'', '\"', b'\"', 'é')", r#"f("", "", "", "", "")"#),
            ("fn f<'a>(x: &'a str) -> &'static str {}", "fn f<'a>(x: &'a str) -> &'static str {}"),
            ("r#type + bar\"\"", "r#type + bar\"\""),
            ("\"open", "\"\""),
            ("/* open", ""),
            ("'", "'"),
        ] {
            assert_eq!(code_only(source), code, "{source}");
        }
    }

    #[test]
    fn keeps_every_line_in_its_place() {
        let source = include_str!("code.rs");
        let code = code_only(source);
        assert_eq!(code.lines().count(), source.lines().count());
        assert_eq!(without_tests(&code).lines().count(), source.lines().count());
    }

    #[test]
    fn takes_tests_out() {
        for (code, rest) in [
            ("a;\n#[cfg(test)]\nmod tests {\n fn f() { g(); }\n}\nb;", "a;\n\n\n\n\nb;"),
            ("#[cfg(test)]\nmod tests;\nb;", "\n\nb;"),
            ("#[cfg(test)] #[rustfmt::skip] fn f(a: [u8; 3]) -> u8 { 1 } b;", " b;"),
            ("#[cfg(all(test, unix))] use a::{b, c}; d;", "; d;"),
            ("#![cfg(test)]\nmod a {}\n", "\n\n"),
            ("#[cfg(not(test))] a;", "#[cfg(not(test))] a;"),
        ] {
            assert_eq!(without_tests(code), rest, "{code}");
        }
    }

    #[test]
    fn test_modules_in_other_files_are_named() {
        let code = "mod a;\n#[cfg(test)]\nmod b;\nmod c;\n#[cfg(test)]\n#[path = \"\"]\npub(crate) mod d;\n\
                    #[cfg(test)]\nmod e { mod f; }\n#[cfg(test)]\nuse g::h;\n";
        assert_eq!(test_modules(code), ["b", "d"]);
    }

    #[test]
    fn words_come_with_what_follows_them() {
        let found: Vec<_> = words("un_safe safe!(x)").collect();
        assert_eq!(found, [("un_safe", " safe!(x)"), ("safe", "!(x)"), ("x", ")")]);
    }
}
