//! The last word: the three directories, opened anew, must hold the same.

use anyhow::Context;
use reconvene::{Role, Store};

use super::cities::{City, Shop};
use super::report::grouped;
use super::stage::Directories;

/// What was found in the reopened directories: of the server, of A and of B.
pub(crate) struct Checked([Content; 3]);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Content {
    cities: u64,
    shops: u64,
    undecided: u64,
    /// Over all synced objects in the order of their global ids.
    hash: [u8; 32],
}

/// Opens each directory and looks at everything in it.
pub(crate) fn reopen(directories: &Directories) -> anyhow::Result<Checked> {
    let [server, a, b] = directories.all();
    let content = |directory, role| -> anyhow::Result<Content> {
        let store = Store::builder(directory).role(role).entity::<City>().entity::<Shop>().open();
        let store = store.context("a directory of the demo cannot be opened again")?;
        Ok(Content {
            cities: store.boxed::<City>()?.count()?,
            shops: store.boxed::<Shop>()?.count()?,
            undecided: store.sync().undecided()?,
            hash: store.sync().content_hash()?,
        })
    };
    Ok(Checked([content(server, Role::Server)?, content(a, Role::Device)?, content(b, Role::Device)?]))
}

impl Checked {
    /// Whether all three hold the same, and nothing waits.
    pub(crate) fn agree(&self) -> bool {
        let Checked([server, a, b]) = self;
        server == a && server == b && server.undecided == 0
    }

    pub(crate) fn lines(&self) -> String {
        let Checked([server, a, b]) = self;
        let line = |content: &Content| {
            let hash: String = content.hash.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{} cities, {} shops\n            {hash}", grouped(content.cities), content.shops)
        };
        if self.agree() {
            return format!("reopened    server, A and B hold the same: {}\n", line(server));
        }
        let mut lines = "FAILED: the reopened directories differ\n".to_owned();
        for (name, content) in [("server", server), ("A", a), ("B", b)] {
            lines += &format!("  {name:<9} {}, {} changes waiting\n", line(content), content.undecided);
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_difference_is_a_failure() {
        let content = Content { cities: 1_000, shops: 2, undecided: 0, hash: [0xab; 32] };
        let same = || [content.clone(), content.clone(), content.clone()];
        assert!(Checked(same()).agree());
        assert!(Checked(same()).lines().starts_with(
            "reopened    server, A and B hold the same: 1,000 cities, 2 shops\n            abab"
        ));
        for at in 0..3 {
            for spoil in [
                |content: &mut Content| content.hash[31] ^= 1,
                |content: &mut Content| content.cities += 1,
                |content: &mut Content| content.undecided += 1,
            ] {
                let mut contents = same();
                spoil(&mut contents[at]);
                assert!(!Checked(contents.clone()).agree());
                assert!(Checked(contents).lines().starts_with("FAILED"));
            }
        }
        let waiting = Content { undecided: 1, ..content };
        assert!(!Checked([waiting.clone(), waiting.clone(), waiting]).agree());
    }
}
