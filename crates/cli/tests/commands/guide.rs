//! Every example of `docs/guide/commands.md` is run, in order, and prints what the guide says.

use crate::support::Folder;

const GUIDE: &str = include_str!("../../../../docs/guide/commands.md");

#[test]
fn every_example_prints_what_the_guide_says() {
    let folder = Folder::new();
    let mut examples = 0;
    for block in fenced(GUIDE) {
        if let Some(content) = block.strip_prefix("text cities.csv\n") {
            folder.write("cities.csv", content);
            continue;
        }
        let Some(console) = block.strip_prefix("console\n") else { continue };
        for example in console.split("$ ").skip(1) {
            let (line, expected) = example.split_once('\n').unwrap();
            let words = words(line);
            assert_eq!(words[0], "reconvene", "{line}");
            let arguments: Vec<_> = words[1..].iter().map(String::as_str).collect();
            let run = folder.run(&arguments);
            let printed = run.stdout.clone() + &run.stderr;
            assert!(fits(expected, &printed), "$ {line}\n{printed}\ninstead of\n{expected}");
            examples += 1;
        }
    }
    assert!(examples >= 15, "only {examples} examples");
}

/// The fenced blocks, each with what stands behind its fence.
fn fenced(text: &str) -> Vec<&str> {
    text.split("```").skip(1).step_by(2).collect()
}

/// The words of a command line, as a shell parts them: single quotes keep words together.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in line.split('\'').enumerate() {
        if at % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// Whether what was printed is what was expected, where `...` stands for anything.
fn fits(expected: &str, printed: &str) -> bool {
    let parts: Vec<_> = expected.split("...").collect();
    let [first, middle @ .., last] = &parts[..] else { return expected == printed };
    let Some(mut rest) = printed.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else {
        return false;
    };
    middle.iter().all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}
