//! The data file as a file: how it comes into being, and what is looked at before it is mapped.
//!
//! Reading a page beyond the end of a mapped file kills the process, and LMDB believes what the file says of itself. So a file
//! that was cut short is found here, before anybody touches such a page.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use super::{Result, SeamError, pages};
use crate::os;

/// Name of the data file in the store directory.
pub(crate) const DATA_FILE: &str = "data.mdb";

/// What a data file is called until it is whole.
const NEW_DATA_FILE: &str = "data.mdb.new";

/// The width of page numbers and sizes in the file, which is that of the machine that wrote it.
const WORD: usize = size_of::<usize>();

const PAGE_HEADER: usize = WORD + 8;
const TREE_BYTES: usize = 8 + 5 * WORD;
const META_MAGIC_AT: usize = PAGE_HEADER;
const META_TREES_AT: usize = PAGE_HEADER + 8 + 2 * WORD;
const META_LAST_TX_AT: usize = META_TREES_AT + 2 * TREE_BYTES + WORD;
const META_END: usize = META_LAST_TX_AT + WORD;
const MAGIC: u32 = 0xBEEF_C0DE;
const VERSION: u32 = 1;
const META_PAGE: u16 = 0x08;
const BRANCH_PAGE: u16 = 0x01;
const LEAF_PAGE: u16 = 0x02;
const NODE_HEADER: usize = 8;
const NODE_OVERFLOWS: u16 = 0x01;
const NODE_IS_TREE: u16 = 0x02;

/// The deepest tree that LMDB itself follows.
const DEPTH_MAX: usize = 32;

/// Page sizes that LMDB uses.
const PAGE_BYTES: std::ops::RangeInclusive<usize> = 512..=65_536;

/// Whether the directory has a data file; an error if what is there under its name cannot be one.
pub(super) fn is_there(data: &Path) -> Result<bool> {
    let failed = |error| SeamError::io("looking at the data file", error);
    let metadata = match std::fs::metadata(data) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        metadata => metadata.map_err(failed)?,
    };
    if !metadata.is_file() {
        return Err(SeamError::NotOurs { path: data.to_owned() });
    }
    // A store's file appears under its name when it has content, so one that is empty has lost it.
    let cut_short = metadata.len() == 0 || {
        let start = read_up_to(&File::open(data).map_err(failed)?, META_END, 0).map_err(failed)?;
        Meta::page_bytes(&start).is_some_and(|page_bytes| metadata.len() < 2 * page_bytes as u64)
    };
    if cut_short { Err(SeamError::Corrupted { path: data.to_owned() }) } else { Ok(true) }
}

/// Makes an empty data file that is whole as soon as it has its name; `fill` writes it and flushes it.
pub(super) fn create(directory: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let failed = |error| SeamError::io("creating the data file", error);
    let new = directory.join(NEW_DATA_FILE);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let made = fill(&new).and_then(|()| {
        std::fs::rename(&new, directory.join(DATA_FILE)).map_err(failed)?;
        os::sync_directory(directory).map_err(failed)
    });
    if made.is_err() {
        // Best effort: the next attempt removes what is left.
        let _ = std::fs::remove_file(&new);
    }
    made
}

/// Checks that the meta pages make sense and fit the length of the file; costs a few reads whatever its size. What does not
/// begin like a file of LMDB is left to LMDB to refuse.
pub(super) fn check_head(data: &Path) -> Result<()> {
    let failed = |error| SeamError::io("looking at the data file", error);
    let file = File::open(data).map_err(failed)?;
    let start = read_up_to(&file, META_END, 0).map_err(failed)?;
    let is_ours =
        u32_at(&start, META_MAGIC_AT) == Some(MAGIC) && u32_at(&start, META_MAGIC_AT + 4) == Some(VERSION);
    if is_ours && !pages::quick(&file).map_err(failed)?.is_empty() {
        return Err(SeamError::Corrupted { path: data.to_owned() });
    }
    Ok(())
}

/// Checks that a file which is shorter than `full` bytes has every page that its newest state needs, and then gives it
/// that length if `extend` says so.
///
/// A file may be short and whole: pages at the end that a transaction took and gave back were never written. The caller
/// keeps the state from being written over.
pub(super) fn check_length(data: &Path, full: u64, extend: bool) -> Result<()> {
    let failed = |error| SeamError::io("checking the length of the data file", error);
    let file = OpenOptions::new().read(true).write(extend).open(data).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    if length >= full {
        return Ok(());
    }
    let damaged = || SeamError::Corrupted { path: data.to_owned() };
    let first = read_up_to(&file, META_END, 0).map_err(failed)?;
    let page_bytes = Meta::page_bytes(&first).ok_or_else(damaged)?;
    let second = read_up_to(&file, META_END, page_bytes as u64).map_err(failed)?;
    let metas = [Meta::parse(&first), Meta::parse(&second)];
    let newest = metas.into_iter().flatten().max_by_key(|meta| meta.last_tx).ok_or_else(damaged)?;
    let mut walk = Walk { file: &file, length, page_bytes, pages_left: length / page_bytes as u64 };
    for root in newest.roots {
        match walk.tree(root, DEPTH_MAX) {
            Ok(true) => {}
            Ok(false) => return Err(damaged()),
            Err(error) => return Err(failed(error)),
        }
    }
    if extend { file.set_len(full).map_err(failed) } else { Ok(()) }
}

/// What one of the two first pages says.
struct Meta {
    /// The trees of free pages and of tables.
    roots: [u64; 2],
    last_tx: u64,
}

impl Meta {
    /// The size of the pages, if this is the start of a file of LMDB.
    fn page_bytes(start: &[u8]) -> Option<usize> {
        let is_meta = u16_at(start, WORD + 2)? & META_PAGE != 0 && u32_at(start, META_MAGIC_AT)? == MAGIC;
        let page_bytes = usize::try_from(u32_at(start, META_TREES_AT)?).ok()?;
        (is_meta && PAGE_BYTES.contains(&page_bytes)).then_some(page_bytes)
    }

    fn parse(page: &[u8]) -> Option<Meta> {
        Meta::page_bytes(page)?;
        let root = |tree: usize| root_of(page.get(META_TREES_AT + tree * TREE_BYTES..)?);
        Some(Meta { roots: [root(0)?, root(1)?], last_tx: word_at(page, META_LAST_TX_AT)? })
    }
}

/// A look at all pages that can be reached from a root.
struct Walk<'f> {
    file: &'f File,
    length: u64,
    page_bytes: usize,
    /// No page is reached twice, so a file has no more than this many to look at.
    pages_left: u64,
}

impl Walk<'_> {
    /// Whether all pages of a tree are within the file and make sense as far as was looked.
    fn tree(&mut self, root: u64, depth_left: usize) -> std::io::Result<bool> {
        if root == usize::MAX as u64 {
            return Ok(true);
        }
        if depth_left == 0 || self.pages_left == 0 || !self.is_within(root, 1) {
            return Ok(false);
        }
        self.pages_left -= 1;
        let mut page = vec![0; self.page_bytes];
        let mut file = self.file;
        file.seek(SeekFrom::Start(root * self.page_bytes as u64))?;
        file.read_exact(&mut page)?;
        let (Some(flags), Some(lower)) = (u16_at(&page, WORD + 2), u16_at(&page, WORD + 4)) else {
            return Ok(false);
        };
        let Some(nodes) = usize::from(lower).checked_sub(PAGE_HEADER).map(|bytes| bytes / 2) else {
            return Ok(false);
        };
        for node in 0..nodes {
            let Some(is_whole) = self.node(&page, flags, node, depth_left) else { return Ok(false) };
            if !is_whole? {
                return Ok(false);
            }
        }
        Ok(flags & (BRANCH_PAGE | LEAF_PAGE) != 0)
    }

    /// What a node leads to; `None` if the page contradicts itself.
    fn node(
        &mut self,
        page: &[u8],
        page_flags: u16,
        node: usize,
        depth_left: usize,
    ) -> Option<std::io::Result<bool>> {
        let node = page.get(usize::from(u16_at(page, PAGE_HEADER + 2 * node)?)..)?;
        let low = u64::from(u16_at(node, 0)?) | u64::from(u16_at(node, 2)?) << 16;
        let flags = u16_at(node, 4)?;
        if page_flags & BRANCH_PAGE != 0 {
            let high = if WORD > 4 { u64::from(flags) << 32 } else { 0 };
            return Some(self.tree(low | high, depth_left - 1));
        }
        let value = node.get(NODE_HEADER + usize::from(u16_at(node, 6)?)..)?;
        if flags & NODE_OVERFLOWS != 0 {
            let pages = (PAGE_HEADER as u64 + low).div_ceil(self.page_bytes as u64);
            return Some(Ok(self.is_within(word_at(value, 0)?, pages)));
        }
        if flags & NODE_IS_TREE != 0 {
            return Some(self.tree(root_of(value)?, depth_left - 1));
        }
        Some(Ok(true))
    }

    fn is_within(&self, page: u64, pages: u64) -> bool {
        let end = page.checked_add(pages).and_then(|end| end.checked_mul(self.page_bytes as u64));
        end.is_some_and(|end| end <= self.length)
    }
}

/// The root page of a tree that is described at the start of these bytes.
fn root_of(tree: &[u8]) -> Option<u64> {
    word_at(tree, TREE_BYTES - WORD)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(usize::from_ne_bytes(bytes.get(at..at + WORD)?.try_into().ok()?) as u64)
}

/// Reads this many bytes, or fewer where the file ends.
fn read_up_to(mut file: &File, bytes: usize, at: u64) -> std::io::Result<Vec<u8>> {
    let mut read = Vec::with_capacity(bytes);
    file.seek(SeekFrom::Start(at))?;
    file.take(bytes as u64).read_to_end(&mut read)?;
    Ok(read)
}
