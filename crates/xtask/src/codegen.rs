//! `cargo xtask codegen`: the protocol's messages in Rust, written from their definition.
//!
//! The result is committed, so that nobody who builds the crate needs a protobuf compiler.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};

const PROTO_DIRECTORY: &str = "crates/protocol/proto";
const PROTO_FILE: &str = "reconvene.proto";
const GENERATED: &str = "crates/protocol/src/generated.rs";

/// The first line of the generated file.
const HEADER: &str = "//! The messages of `proto/reconvene.proto`, written by `cargo xtask codegen`; edit that file instead.\n";

/// Writes the generated file, and touches it only if it changes.
pub(crate) fn write(root: &Path) -> anyhow::Result<()> {
    let code = generate(&root.join(PROTO_DIRECTORY))?;
    let path = root.join(GENERATED);
    if fs::read_to_string(&path).is_ok_and(|committed| committed == code) {
        println!("{GENERATED} is up to date");
        return Ok(());
    }
    fs::write(&path, code).with_context(|| format!("{GENERATED} could not be written"))?;
    println!("{GENERATED} written");
    Ok(())
}

/// Fails when the committed file is not what [`write`] would write.
pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    let code = generate(&root.join(PROTO_DIRECTORY))?;
    let committed =
        fs::read_to_string(root.join(GENERATED)).with_context(|| format!("{GENERATED} could not be read"))?;
    if let Some(line) = first_difference(&committed, &code) {
        bail!(
            "{GENERATED} differs from what {PROTO_DIRECTORY}/{PROTO_FILE} says, from line {line} on: run \
             `cargo xtask codegen` and commit the result"
        );
    }
    Ok(())
}

/// The number of the first line in which two texts differ, counted from 1.
fn first_difference(one: &str, other: &str) -> Option<usize> {
    if one == other {
        return None;
    }
    let same = one.split('\n').zip(other.split('\n')).take_while(|(a, b)| a == b).count();
    Some(same + 1)
}

/// The Rust code for the definition in `directory`.
fn generate(directory: &Path) -> anyhow::Result<String> {
    let files = protox::compile([PROTO_FILE], [directory])
        .with_context(|| format!("{PROTO_DIRECTORY}/{PROTO_FILE} does not compile"))?;
    let requests = files.file.into_iter().map(|file| {
        let module = prost_build::Module::from_protobuf_package_name(file.package());
        (module, file)
    });
    // Fields of bytes share the buffer of the message that they came in.
    let modules = prost_build::Config::new().bytes(["."]).generate(requests.collect())?;
    ensure!(modules.len() == 1, "{PROTO_FILE} must define messages, all in one package");
    Ok(modules.into_values().fold(HEADER.to_owned(), |code, module| code + &module))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_line_that_differs() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), Some(2));
        assert_eq!(first_difference("a\nb", "a\nb\n"), Some(3));
        assert_eq!(first_difference("", "a"), Some(1));
    }

    #[test]
    fn writes_structs_with_their_comments_and_shared_bytes() {
        let directory = scratch("writes");
        let proto = "syntax = \"proto3\";\npackage a.b;\n// One thing.\nmessage Thing { bytes body = 1; }\n";
        fs::write(directory.join(PROTO_FILE), proto).unwrap();
        let code = generate(&directory).unwrap();
        assert!(code.starts_with(HEADER), "{code}");
        assert!(code.contains("/// One thing.") && code.contains("pub struct Thing {"), "{code}");
        assert!(code.contains("pub body: ::prost::bytes::Bytes,"), "{code}");
        assert_eq!(generate(&directory).unwrap(), code, "the same definition gives the same code");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn check_notices_a_stale_file_and_write_mends_it() {
        let root = scratch("stale");
        fs::create_dir_all(root.join(PROTO_DIRECTORY)).unwrap();
        fs::create_dir_all(root.join(GENERATED).parent().unwrap()).unwrap();
        let proto = root.join(PROTO_DIRECTORY).join(PROTO_FILE);
        fs::write(&proto, "syntax = \"proto3\";\npackage a;\nmessage One {}\n").unwrap();
        assert!(check(&root).unwrap_err().to_string().contains("could not be read"));
        write(&root).unwrap();
        check(&root).unwrap();
        fs::write(&proto, "syntax = \"proto3\";\npackage a;\nmessage Two {}\n").unwrap();
        assert!(check(&root).unwrap_err().to_string().contains("run `cargo xtask codegen`"));
        write(&root).unwrap();
        check(&root).unwrap();
        fs::write(&proto, "message {").unwrap();
        assert!(check(&root).unwrap_err().to_string().contains("does not compile"));
        fs::remove_dir_all(root).unwrap();
    }

    /// A fresh directory of this test.
    fn scratch(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("xtask-codegen-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }
}
