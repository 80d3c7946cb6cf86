//! The two meta pages: which states of the data the file holds, and where their trees begin.

use std::io;

use super::source::Source;
use super::{Area, DEPTH_MAX, Damage, Keys, PAGE_HEADER, WORD, half, number, word};

/// The first four bytes of every head, as a number.
const MAGIC: u64 = 0xBEEF_C0DE;

/// The version of the format that is written here.
const VERSION: u64 = 1;

/// The kind of page that a head stands in.
const META_PAGE: u16 = 0x08;

/// What the root of an empty tree says.
const NO_PAGE: u64 = if WORD == 8 { u64::MAX } else { u32::MAX as u64 };

/// The page sizes that LMDB can use.
const PAGE_BYTES: std::ops::RangeInclusive<u64> = 256..=32_768;

/// The page size of most machines.
const PAGE_BYTES_USUAL: u64 = 4096;

/// How often the meta pages are read to find them at rest.
const READS_MAX: usize = 100;

/// The bytes that describe a tree.
pub(super) const TREE_BYTES: usize = 8 + 5 * WORD;

/// The bytes of a head: magic and version, address and size of the map, two trees, last page and transaction.
const HEAD_BYTES: usize = 8 + 2 * WORD + 2 * TREE_BYTES + 2 * WORD;

/// How a tree orders its keys and what else its flags say; the free pages are ordered as numbers.
pub(super) const FREE_FLAGS: u16 = 0x08;

/// Beside the flags of the free pages: whoever made the environment named its file rather than its directory.
const FILE_NAMED: u16 = 0x4000;

/// A tree as its parent describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) flags: u16,
    pub(super) depth: u16,
    pub(super) branches: u64,
    pub(super) leaves: u64,
    pub(super) overflows: u64,
    pub(super) entries: u64,
    /// `None` for an empty tree.
    pub(super) root: Option<u64>,
}

impl Tree {
    pub(super) fn parse(bytes: &[u8]) -> Option<Tree> {
        let field = |at: usize| word(bytes, 8 + at * WORD);
        Some(Tree {
            flags: half(bytes, 4)?,
            depth: half(bytes, 6)?,
            branches: field(0)?,
            leaves: field(1)?,
            overflows: field(2)?,
            entries: field(3)?,
            root: field(4).map(|root| (root != NO_PAGE).then_some(root))?,
        })
    }

    /// What makes no sense whatever the pages hold.
    pub(super) fn nonsense(&self, flags: u16) -> Option<String> {
        if self.flags != flags {
            return Some(format!("its tree is of a kind ({:#x}) that is not used here", self.flags));
        }
        match self.root {
            Some(_) if self.depth == 0 || self.depth > DEPTH_MAX => {
                Some(format!("its tree is said to have {} levels", self.depth))
            }
            None if self.depth != 0 || self.entries != 0 => {
                Some(format!("its tree has no root and is said to have {} entries", self.entries))
            }
            _ => None,
        }
    }
}

/// A state of the data, as a meta page describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(super) page_bytes: usize,
    pub(super) last_page: u64,
    /// The number of the transaction that left this state.
    pub(super) transaction: u64,
    pub(super) free: Tree,
    pub(super) names: Tree,
}

/// What is wrong with a meta page, and at which byte of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wrong(usize, String);

/// Both meta pages.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    states: [Result<State, Wrong>; 2],
    /// The byte at which the second one begins.
    second: u64,
}

impl Head {
    /// Reads both meta pages, as they were at one moment.
    ///
    /// # Errors
    ///
    /// Those of reading the file.
    pub(crate) fn read(source: &impl Source) -> io::Result<Head> {
        let mut head = Head::read_once(source)?;
        for _ in 1..READS_MAX {
            // A process that writes may have written one while the other was being read.
            let again = Head::read_once(source)?;
            if again == head {
                break;
            }
            head = again;
        }
        Ok(head)
    }

    fn read_once(source: &impl Source) -> io::Result<Head> {
        let first = State::read(source, 0, 0)?;
        if let Ok(state) = &first {
            let second = state.page_bytes as u64;
            return Ok(Head { states: [first, State::read(source, 1, second)?], second });
        }
        // The size of a page is not known without the first one, so the second one is looked for.
        let mut size = *PAGE_BYTES.start();
        while PAGE_BYTES.contains(&size) {
            if let Ok(state) = State::read(source, 1, size)?
                && state.page_bytes as u64 == size
            {
                return Ok(Head { states: [first, Ok(state)], second: size });
            }
            size *= 2;
        }
        let second = State::read(source, 1, PAGE_BYTES_USUAL)?;
        let unknown = second.and_then(|_| Err(Wrong(0, "its page size does not fit its place".to_owned())));
        Ok(Head { states: [first, unknown], second: PAGE_BYTES_USUAL })
    }

    /// The newest state that a meta page describes, as LMDB takes it.
    pub(crate) fn newest(&self) -> Option<&State> {
        let [first, second] = &self.states;
        match (first, second) {
            (Ok(first), Ok(second)) if second.transaction > first.transaction => Some(second),
            (Ok(first), _) => Some(first),
            (Err(_), second) => second.as_ref().ok(),
        }
    }

    /// The state that a transaction left, if it is one of the two that are described.
    pub(crate) fn state_of(&self, transaction: u64) -> Option<&State> {
        self.states.iter().flatten().find(|state| state.transaction == transaction)
    }

    /// What is wrong with the meta pages.
    pub(crate) fn damages(&self) -> Vec<Damage> {
        let mut damages: Vec<_> = self
            .states
            .iter()
            .enumerate()
            .filter_map(|(at, state)| {
                let Wrong(byte, what) = state.as_ref().err()?;
                let remains = match self.newest() {
                    Some(state) => {
                        format!("; the other meta page names the state of transaction {}", state.transaction)
                    }
                    None => "; neither meta page names a state of the data".to_owned(),
                };
                Some(self.damage(at, *byte, format!("{what}{remains}")))
            })
            .collect();
        if let [Ok(first), Ok(second)] = &self.states {
            if first.page_bytes != second.page_bytes {
                damages.push(self.damage(1, 0, "the meta pages name different page sizes".to_owned()));
            }
            // Each transaction writes the meta page that the one before it did not write.
            if first.transaction.abs_diff(second.transaction) > 1 {
                let what = format!(
                    "the meta pages are of transactions {} and {}, which do not follow each other",
                    first.transaction, second.transaction
                );
                damages.push(self.damage(1, PAGE_HEADER + HEAD_BYTES - WORD, what));
            }
            // A page that was taken once is used again or free, and never given back to the system.
            let (older, newer) = match second.transaction > first.transaction {
                true => (first, second),
                false => (second, first),
            };
            if newer.last_page < older.last_page {
                let what = format!(
                    "the last page is {} in transaction {} and was {} in transaction {}, but a file never has fewer pages \
                     than before",
                    newer.last_page, newer.transaction, older.last_page, older.transaction
                );
                damages.push(self.damage(1, PAGE_HEADER + HEAD_BYTES - 2 * WORD, what));
            }
        }
        damages
    }

    fn damage(&self, page: usize, byte: usize, what: String) -> Damage {
        let start = if page == 0 { 0 } else { self.second };
        Damage {
            area: Area::Head,
            page: page as u64,
            offset: start + byte as u64,
            what,
            keys: Keys::default(),
        }
    }
}

impl State {
    /// What is wrong with where the trees begin; what they hold is not looked at.
    pub(super) fn misplaced_root(&self) -> Option<Damage> {
        let trees = [(&self.free, Area::Free), (&self.names, Area::Names)];
        let (root, area) = trees
            .into_iter()
            .find_map(|(tree, area)| Some((tree.root.filter(|&root| root > self.last_page)?, area)))?;
        let page = self.transaction % 2;
        let what = format!("a tree begins on page {root}, and the last page is {}", self.last_page);
        Some(Damage { area, page, offset: page * self.page_bytes as u64, what, keys: Keys::default() })
    }

    fn read(source: &impl Source, page: u64, offset: u64) -> io::Result<Result<State, Wrong>> {
        let mut bytes = [0; PAGE_HEADER + HEAD_BYTES];
        let filled = source.read_at(offset, &mut bytes)?;
        Ok(State::parse(&bytes[..filled], page))
    }

    fn parse(bytes: &[u8], page: u64) -> Result<State, Wrong> {
        let short = || Wrong(0, format!("the file ends within meta page {page}"));
        let head = PAGE_HEADER;
        let word_at = |at: usize| word(bytes, at).ok_or_else(short);
        let half_at = |at: usize| half(bytes, at).ok_or_else(short);
        let magic = number(bytes, head, 4).ok_or_else(short)?;
        if magic != MAGIC {
            return Err(Wrong(head, format!("meta page {page} does not begin like one of LMDB")));
        }
        let version = number(bytes, head + 4, 4).ok_or_else(short)?;
        if version != VERSION {
            return Err(Wrong(
                head + 4,
                format!("meta page {page} is of version {version} instead of {VERSION}"),
            ));
        }
        if half_at(WORD + 2)? != META_PAGE {
            return Err(Wrong(WORD + 2, format!("meta page {page} is not marked as one")));
        }
        if word_at(0)? != page {
            return Err(Wrong(0, format!("meta page {page} is numbered {}", word_at(0)?)));
        }
        let trees = head + 8 + 2 * WORD;
        // The first four bytes of the first tree, which needs none, hold the size of a page.
        let page_bytes = number(bytes, trees, 4).ok_or_else(short)?;
        if !page_bytes.is_power_of_two() || !PAGE_BYTES.contains(&page_bytes) {
            return Err(Wrong(trees, format!("meta page {page} names a page size of {page_bytes} bytes")));
        }
        let tree = |at: usize| bytes.get(at..).and_then(Tree::parse).ok_or_else(short);
        let (mut free, names) = (tree(trees)?, tree(trees + TREE_BYTES)?);
        free.flags &= !FILE_NAMED;
        for (tree, flags, at, what) in
            [(&free, FREE_FLAGS, trees, "free pages"), (&names, 0, trees + TREE_BYTES, "the tables")]
        {
            if let Some(nonsense) = tree.nonsense(flags) {
                return Err(Wrong(at, format!("meta page {page}, {what}: {nonsense}")));
            }
        }
        let rest = trees + 2 * TREE_BYTES;
        let (last_page, transaction) = (word_at(rest)?, word_at(rest + WORD)?);
        if last_page == 0 || last_page == NO_PAGE {
            return Err(Wrong(rest, format!("meta page {page} names page {last_page} as the last one")));
        }
        if transaction > 0 && transaction % 2 != page {
            let what =
                format!("meta page {page} is of transaction {transaction}, which writes the other one");
            return Err(Wrong(rest + WORD, what));
        }
        let page_bytes = page_bytes as usize;
        Ok(State { page_bytes, last_page, transaction, free, names })
    }
}
