//! One page of a tree: its header and its nodes, each within its bounds or a complaint.

use std::ops::Range;

use super::head::TREE_BYTES;
use super::{PAGE_HEADER, WORD, half, number, word};
use crate::seam::KEY_BYTES_MAX;

const BRANCH_PAGE: u16 = 0x01;
const LEAF_PAGE: u16 = 0x02;
pub(super) const OVERFLOW_PAGE: u16 = 0x04;

/// The bytes of a node before its key: four of size, two of flags, two of the key's length.
const NODE_HEADER: usize = 8;

/// The value stands in pages of its own.
const NODE_OVERFLOW: u16 = 0x01;
/// The value describes a tree.
const NODE_TREE: u16 = 0x02;

/// What is wrong, and at which byte of the page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong(pub(super) usize, pub(super) String);

/// A page of a tree, each node of it as good as it can be read.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) is_leaf: bool,
    pub(super) nodes: Vec<Result<Node, Wrong>>,
    /// What is wrong with the page beside its nodes.
    pub(super) wrong: Option<Wrong>,
}

/// A key, and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Where in the page it stands.
    pub(super) at: usize,
    pub(super) key: Range<usize>,
    pub(super) content: Content,
    end: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The page below.
    Child(u64),
    /// A value within the page.
    Value(Range<usize>),
    /// A value of so many bytes that begins in a page of its own.
    Overflow { page: u64, bytes: u64 },
    /// The description of a table.
    Table(Range<usize>),
}

impl Page {
    /// Reads a page that stands at the place of this number.
    pub(super) fn parse(bytes: &[u8], page: u64) -> Result<Page, Wrong> {
        let is_leaf = header(bytes, page, &[BRANCH_PAGE, LEAF_PAGE])? == LEAF_PAGE;
        let outside = || Wrong(WORD + 4, "the bounds of its free space lie outside of it".to_owned());
        let lower = usize::from(half(bytes, WORD + 4).ok_or_else(outside)?);
        let upper = usize::from(half(bytes, WORD + 6).ok_or_else(outside)?);
        if lower < PAGE_HEADER || lower % 2 != 0 || lower > upper || upper > bytes.len() {
            return Err(outside());
        }
        let nodes: Vec<_> =
            (PAGE_HEADER..lower).step_by(2).map(|at| Node::parse(bytes, at, upper, is_leaf)).collect();
        let wrong = if nodes.iter().all(Result::is_ok) { loose(&nodes, upper, bytes.len()) } else { None };
        Ok(Page { is_leaf, nodes, wrong })
    }
}

/// Checks the header that all pages share; the kind of the page.
pub(super) fn header(bytes: &[u8], page: u64, kinds: &[u16]) -> Result<u16, Wrong> {
    let short = || Wrong(0, "it is too short for a page".to_owned());
    let found = word(bytes, 0).ok_or_else(short)?;
    let kind = half(bytes, WORD + 2).ok_or_else(short)?;
    if found != page {
        return Err(Wrong(0, format!("page {found} stands in its place")));
    }
    if !kinds.contains(&kind) {
        return Err(Wrong(WORD + 2, format!("it is of a kind ({kind:#x}) that does not belong there")));
    }
    Ok(kind)
}

/// Nodes lie one behind the other up to the end of the page, in any order.
fn loose(nodes: &[Result<Node, Wrong>], upper: usize, end: usize) -> Option<Wrong> {
    let mut places: Vec<_> = nodes.iter().flatten().map(|node| (node.at, node.end)).collect();
    places.sort_unstable();
    let mut next = upper;
    for (at, end) in places {
        if at != next {
            let what =
                if at < next { "two of its entries overlap" } else { "there is a gap between its entries" };
            return Some(Wrong(at.min(next), what.to_owned()));
        }
        next = end;
    }
    (next != end).then(|| Wrong(next, "there is a gap behind its entries".to_owned()))
}

impl Node {
    /// The node whose place stands at `pointer`.
    fn parse(bytes: &[u8], pointer: usize, upper: usize, is_leaf: bool) -> Result<Node, Wrong> {
        let at = usize::from(half(bytes, pointer).unwrap_or_default());
        if at < upper || at % 2 != 0 || at + NODE_HEADER > bytes.len() {
            return Err(Wrong(pointer, format!("an entry is said to stand at {at}, outside of its entries")));
        }
        let ends = || Wrong(at, "an entry reaches over the end of the page".to_owned());
        let size = number(bytes, at, 4).ok_or_else(ends)?;
        let flags = half(bytes, at + 4).ok_or_else(ends)?;
        let key_bytes = usize::from(half(bytes, at + 6).ok_or_else(ends)?);
        let key = at + NODE_HEADER..at + NODE_HEADER + key_bytes;
        if key_bytes > KEY_BYTES_MAX {
            return Err(Wrong(at + 6, format!("a key is said to have {key_bytes} bytes")));
        }
        let start = key.end;
        let (content, end) = if !is_leaf {
            // Without room for page numbers in the four bytes, the next two go with them.
            let high = if WORD == 8 { u64::from(flags) << 32 } else { 0 };
            (Content::Child(size | high), start)
        } else {
            let inline = usize::try_from(size).ok().and_then(|size| start.checked_add(size));
            match flags {
                0 => {
                    let end = inline.ok_or_else(ends)?;
                    (Content::Value(start..end), end)
                }
                NODE_OVERFLOW => {
                    let page = word(bytes, start).ok_or_else(ends)?;
                    (Content::Overflow { page, bytes: size }, start + WORD)
                }
                NODE_TREE if size as usize == TREE_BYTES => {
                    let end = start + TREE_BYTES;
                    (Content::Table(start..end), end)
                }
                _ => {
                    let what = format!("an entry is of a kind ({flags:#x}) that is not used here");
                    return Err(Wrong(at + 4, what));
                }
            }
        };
        if end > bytes.len() {
            return Err(ends());
        }
        // Nodes begin at even places.
        Ok(Node { at, key, content, end: end.next_multiple_of(2) })
    }
}
