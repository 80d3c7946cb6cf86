//! The data file read page by page with ordinary reads, believing nothing: what LMDB itself takes on trust is checked here.
//!
//! [`inspect`] visits every page that belongs to a state, once; [`quick`] looks at the head and the length of the file
//! only. `docs/pages.md` describes the format. `source` reads, `head` knows the two meta pages, `page` one page of a tree,
//! `walk` goes through the trees, `free` through the list of free pages.

use std::fmt;
use std::io;

mod bits;
mod free;
mod head;
mod lookup;
mod page;
mod source;
#[cfg(test)]
mod tests;
mod value;
mod walk;

pub(crate) use self::head::Head;
pub(crate) use self::source::{PageFile, Source};
pub(crate) use self::value::Value;

use self::walk::Walk;

/// The bytes of a page number, an object count and a transaction number: what the C type `size_t` has.
const WORD: usize = size_of::<usize>();

/// The bytes before the content of a page.
const PAGE_HEADER: usize = WORD + 8;

/// The most levels of a tree; LMDB follows no more.
const DEPTH_MAX: u16 = 32;

/// How many pages behind the end of the file can be told apart: LMDB may leave out pages at the end that are free.
const PAGES_BEHIND_END_MAX: u64 = 1 << 20;

/// Is shown a table's name, a key and its value.
pub(crate) type Visit<'v> = dyn FnMut(&[u8], &[u8], Value<'_>) + 'v;

/// Which part of the file a page belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    /// The two meta pages, and the file as a whole.
    Head,
    /// The tree of free pages.
    Free,
    /// The tree of the tables' names.
    Names,
    /// The tree of a table.
    Table(Vec<u8>),
}

/// The keys that a damage may concern: from the first one on, up to but without the second one; `None` is no bound. Two equal
/// ones are that key alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keys {
    pub(crate) from: Option<Vec<u8>>,
    pub(crate) to: Option<Vec<u8>>,
}

/// Something in the structure of the file that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Where it belongs.
    pub(crate) area: Area,
    /// The page in which it shows.
    pub(crate) page: u64,
    /// The byte in the file where it shows.
    pub(crate) offset: u64,
    /// What is wrong.
    pub(crate) what: String,
    /// The entries that cannot be relied on.
    pub(crate) keys: Keys,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "page {} (byte {}): {}", self.page, self.offset, self.what)
    }
}

/// What [`inspect`] found.
#[derive(Debug, Default)]
pub(crate) struct Inspection {
    /// What is wrong, at most as many as asked for.
    pub(crate) damages: Vec<Damage>,
    /// Pages of the state, the meta pages and free ones included.
    pub(crate) pages: u64,
    /// Pages that are free.
    pub(crate) free: u64,
    /// Pages that are neither free nor in use, if nothing is damaged: only space is lost with them.
    pub(crate) lost: u64,
    /// The tables whose names can be read, and how many entries each is said to have.
    pub(crate) tables: Vec<(Vec<u8>, u64)>,
}

/// Visits every page of the newest state, or of the state of a given transaction.
///
/// `visit` is shown each entry of a table that can be read. Memory is bounded by a page per level of a tree and two bits per
/// page of the file; every page is visited once, so it ends whatever the file holds.
///
/// # Errors
///
/// Those of reading the file. `Ok(None)` if the file has no state of that transaction any more.
pub(crate) fn inspect<S: Source>(
    source: S,
    transaction: Option<u64>,
    damages_max: usize,
    visit: &mut Visit<'_>,
) -> io::Result<Option<Inspection>> {
    let head = Head::read(&source)?;
    let mut found = Inspection { damages: head.damages(), ..Inspection::default() };
    let state = match transaction {
        // Not only the newest one: a process that writes may just have left another.
        Some(transaction) => match head.state_of(transaction) {
            Some(state) => state,
            None => return Ok(None),
        },
        None => match head.newest() {
            Some(state) => state,
            None => return Ok(Some(found)),
        },
    };
    let file = PageFile::new(source, state)?;
    let mut walk = Walk::new(&file, state, damages_max, visit);
    walk.everything(state);
    walk.report(&mut found);
    Ok(Some(found))
}

/// Looks at the two meta pages and at the length of the file; costs a few reads whatever the size of the file.
///
/// # Errors
///
/// Those of reading the file.
pub(crate) fn quick<S: Source + Copy>(source: S) -> io::Result<Vec<Damage>> {
    let mut head = Head::read(&source)?;
    loop {
        let damages = head.damages();
        let Some(state) = head.newest().filter(|_| damages.is_empty()) else { return Ok(damages) };
        if let Some(misplaced) = state.misplaced_root() {
            return Ok(vec![misplaced]);
        }
        let file = PageFile::new(source, state)?;
        if file.pages() > state.last_page {
            return Ok(damages);
        }
        // The end may be missing if nobody uses it, which only the list of free pages can tell.
        let nobody = &mut |_: &[u8], _: &[u8], _: Value<'_>| {};
        let mut walk = Walk::new(&file, state, usize::MAX, nobody);
        walk.free_pages(state);
        let Some(missing) = walk.missing_end(state) else { return Ok(damages) };
        // The list may have been replaced while it was read, by a process that writes.
        let after = Head::read(&source)?;
        if after == head {
            return Ok(vec![missing]);
        }
        head = after;
    }
}

/// About how many bytes of the file are in use, the list of free pages left aside, from that list and the head; 0 where these
/// cannot be read.
///
/// # Errors
///
/// Those of reading the file.
pub(crate) fn used_bytes<S: Source>(source: S) -> io::Result<u64> {
    let head = Head::read(&source)?;
    let Some(state) = head.newest() else { return Ok(0) };
    let file = PageFile::new(source, state)?;
    let nobody = &mut |_: &[u8], _: &[u8], _: Value<'_>| {};
    let mut walk = Walk::new(&file, state, 1, nobody);
    walk.free_pages(state);
    let pages = state.last_page.saturating_add(1);
    let in_use = pages.saturating_sub(walk.free.len()).saturating_sub(walk.used.len());
    Ok(in_use.saturating_mul(state.page_bytes as u64))
}

/// The value of one key of one table in the newest state, if it can be reached and has at most `bytes_max` bytes.
///
/// # Errors
///
/// Those of reading the file.
pub(crate) fn lookup<S: Source>(
    source: S,
    table: &[u8],
    key: &[u8],
    bytes_max: usize,
) -> io::Result<Option<Vec<u8>>> {
    let head = Head::read(&source)?;
    let Some(state) = head.newest() else { return Ok(None) };
    let file = PageFile::new(source, state)?;
    lookup::follow(&file, state, table, key, bytes_max)
}

/// A number of so many bytes of the machine's order at a place, if there are as many.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let found = bytes.get(at..at.checked_add(length)?)?;
    let mut wide = [0; 8];
    if cfg!(target_endian = "big") {
        wide[8 - length..].copy_from_slice(found);
    } else {
        wide[..length].copy_from_slice(found);
    }
    Some(u64::from_ne_bytes(wide))
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    number(bytes, at, WORD)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    number(bytes, at, 2).and_then(|number| u16::try_from(number).ok())
}
