//! The question after a mistyped name.

pub(crate) use reconvene::expr::nearest;

/// The question that follows a word nobody knows, with a leading separator; nothing if there is none to ask.
pub(crate) fn question(near: Option<&str>) -> String {
    near.map(|near| format!("; did you mean {near}?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["bind", "dbDirectory", "sharedSecret", "sharedSecretFile"];

    #[test]
    fn near_words_are_found() {
        for (word, near) in [
            ("bnid", "bind"),
            ("Bind", "bind"),
            ("binds", "bind"),
            ("db-directory", "dbDirectory"),
            ("DB_DIRECTORY", "dbDirectory"),
            ("dbDir", "dbDirectory"),
            ("sharedSecrets", "sharedSecret"),
            ("sharedSecretFiel", "sharedSecretFile"),
        ] {
            let expected = (word != "dbDir").then_some(near);
            assert_eq!(nearest(word, KNOWN), expected, "{word}");
        }
    }

    #[test]
    fn far_and_endless_words_are_not() {
        let endless = "x".repeat(10_000_000);
        for word in ["", "port", "colour", &endless] {
            assert_eq!(nearest(word, KNOWN), None);
        }
    }
}
