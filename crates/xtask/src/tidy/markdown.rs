//! Markdown: relative links lead somewhere, and the README starts a fresh machine with two commands.

use super::tree::Tree;
use super::{Finding, SourceFile};

/// Commands in the first fenced block of the README: one to install, one to see something.
const README_COMMANDS: usize = 2;

pub(super) fn check(file: &SourceFile, tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, target) in links(&file.text) {
        if let Err(message) = resolve(&file.path, target, tree) {
            findings.push(Finding::error(&file.path, line, format!("link to `{target}`: {message}")));
        }
    }
    if file.path == "README.md" {
        let commands = first_fence_commands(&file.text);
        if commands != README_COMMANDS {
            let message = format!(
                "the first fenced block must hold the {README_COMMANDS} commands that a fresh machine needs, and holds \
                 {commands}"
            );
            findings.push(Finding::error(&file.path, 0, message));
        }
    }
    findings
}

/// The lines outside fenced blocks with their numbers, or those inside with `inside`; the fences belong to neither.
fn lines_by_fence(text: &str, inside: bool) -> impl Iterator<Item = (usize, usize, &str)> {
    let mut fence: Option<&str> = None;
    let mut fences = 0;
    text.lines().enumerate().filter_map(move |(at, line)| {
        let start = line.trim_start();
        match fence {
            None => {
                let opening = ["```", "~~~"].into_iter().find(|mark| start.starts_with(mark));
                if let Some(mark) = opening {
                    fence = Some(mark);
                    fences += 1;
                    return None;
                }
            }
            Some(mark) if start.starts_with(mark) => {
                fence = None;
                return None;
            }
            Some(_) => {}
        }
        (fence.is_some() == inside).then_some((at + 1, fences, line))
    })
}

/// The targets of all links and images, with the lines in which they stand.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, _, line) in lines_by_fence(text, false) {
        if let Some(target) = definition(line) {
            found.push((number, target));
            continue;
        }
        for part in outside_code_spans(line) {
            for (at, mark) in part.match_indices("](") {
                found.push((number, destination(&part[at + mark.len()..])));
            }
        }
    }
    found
}

/// The target of a definition such as `[name]: target`; a footnote is none.
fn definition(line: &str) -> Option<&str> {
    let (label, target) = line.trim_start().strip_prefix('[')?.split_once("]:")?;
    let plain = !label.starts_with('^') && !label.contains(']');
    plain.then(|| target.split_whitespace().next()).flatten().map(|target| target.trim_matches(['<', '>']))
}

/// The parts of a line that are not code.
fn outside_code_spans(line: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = line;
    while let Some(start) = rest.find('`') {
        let ticks = rest[start..].len() - rest[start..].trim_start_matches('`').len();
        let (mark, after) = rest[start..].split_at(ticks);
        let Some(end) = after.find(mark) else { break };
        parts.push(&rest[..start]);
        rest = &after[end + ticks..];
    }
    parts.push(rest);
    parts
}

/// The destination at the start of `text`, which follows `](`: up to a title or the closing parenthesis.
fn destination(text: &str) -> &str {
    if let Some((inside, _)) = text.strip_prefix('<').and_then(|text| text.split_once('>')) {
        return inside;
    }
    let mut depth = 0;
    let end = text.find(|c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        depth < 0 || c.is_whitespace()
    });
    &text[..end.unwrap_or(text.len())]
}

/// Checks that `target`, named in the file `from`, is a file or folder of the project, or leads out of it by a URL.
fn resolve(from: &str, target: &str, tree: &Tree) -> Result<(), &'static str> {
    if has_scheme(target) || target.starts_with('#') {
        return Ok(());
    }
    let path = target.split(['#', '?']).next().unwrap_or(target);
    if path.is_empty() {
        return Err("it is empty");
    }
    if path.starts_with('/') {
        return Err("write it relative to the file");
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or("it leaves the project")?;
            }
            part => parts.push(part),
        }
    }
    if tree.contains(&parts.join("/")) { Ok(()) } else { Err("there is no such file in the project") }
}

fn has_scheme(target: &str) -> bool {
    target.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+.-".contains(c))
    })
}

/// The commands in the first fenced block: lines that are neither empty, nor comments, nor continue the one before.
fn first_fence_commands(text: &str) -> usize {
    let mut continues = false;
    lines_by_fence(text, true)
        .take_while(|&(_, fence, _)| fence == 1)
        .filter(|(_, _, line)| {
            let line = line.trim();
            let counts = !continues && !line.is_empty() && !line.starts_with('#');
            continues = line.ends_with('\\');
            counts
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_links_where_they_are_links() {
        let text = "[a](b.md) and ![c](d.png \"Title\")\n\
                    `[no](code.md)` [e](f(g).md) ``x ` [no](y)`` [h](<i j.md>)\n\
                    ```sh\n[no](fenced.md)\n```\n\
                    [k]: l.md \"Title\"\n\
                    [^1]: a footnote\n\
                    ~~~\n```\n[no](x.md)\n~~~\n\
                    [m][k] [n](o.md#p)\n";
        let expected =
            [(1, "b.md"), (1, "d.png"), (2, "f(g).md"), (2, "i j.md"), (6, "l.md"), (12, "o.md#p")];
        assert_eq!(links(text), expected);
    }

    #[test]
    fn links_lead_somewhere() {
        let tree = Tree::of_paths(&["README.md", "docs/a.md", "docs/deep/b.md", "crates/x/src/lib.rs"]);
        for target in [
            "a.md",
            "./a.md#part",
            "deep/b.md",
            "deep",
            "deep/",
            "../README.md",
            "../crates/x/src",
            "..",
            "#here",
            "https://example.org/x",
            "mailto:a@example.org",
        ] {
            assert_eq!(resolve("docs/a.md", target, &tree), Ok(()), "{target}");
        }
        for target in ["b.md", "deep/c.md", "../docs/c.md", "../../README.md", "/docs/a.md", "", "?x"] {
            assert!(resolve("docs/a.md", target, &tree).is_err(), "{target}");
        }
    }

    #[test]
    fn a_dead_link_is_found_in_its_line() {
        let tree = Tree::of_paths(&["a.md"]);
        let file = SourceFile { path: "a.md".to_owned(), text: "fine [a](a.md)\n[gone](b.md)\n".to_owned() };
        let findings = check(&file, &tree);
        assert_eq!(findings.len(), 1);
        assert_eq!(
            findings[0].to_string(),
            "error: a.md:2: link to `b.md`: there is no such file in the project"
        );
    }

    #[test]
    fn the_readme_starts_with_two_commands() {
        let tree = Tree::of_paths(&[]);
        let findings = |path: &str, block: &str| {
            let text = format!("# R\n\n```sh\n{block}\n```\n\n```sh\nmore\n```\n");
            check(&SourceFile { path: path.to_owned(), text }, &tree).len()
        };
        assert_eq!(findings("README.md", "one\n\n# then\ntwo --with \\\n  more"), 0);
        assert_eq!(findings("README.md", "one"), 1);
        assert_eq!(findings("README.md", "one\ntwo\nthree"), 1);
        assert_eq!(findings("docs/README.md", "one"), 0);
        let none = SourceFile { path: "README.md".to_owned(), text: "# R\n".to_owned() };
        assert_eq!(check(&none, &tree).len(), 1);
    }
}
