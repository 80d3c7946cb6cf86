//! The way to one key.

use std::borrow::Cow;
use std::io;

use super::head::{State, Tree};
use super::page::{Content, Node, Page};
use super::value::{Place, Value};
use super::walk::TABLE_FLAGS;
use super::{PAGE_HEADER, PageFile, Source};

/// Follows one key through the tree of names and a table.
pub(super) fn follow<S: Source>(
    file: &PageFile<S>,
    state: &State,
    table: &[u8],
    key: &[u8],
    bytes_max: usize,
) -> io::Result<Option<Vec<u8>>> {
    let Some((page, node)) = descend(file, &state.names, table)? else { return Ok(None) };
    let Content::Table(tree) = node.content else { return Ok(None) };
    let Some(tree) = Tree::parse(&page[tree]).filter(|tree| tree.nonsense(TABLE_FLAGS).is_none()) else {
        return Ok(None);
    };
    let Some((page, node)) = descend(file, &tree, key)? else { return Ok(None) };
    let read = |offset: u64, buffer: &mut [u8]| file.fill(offset, buffer);
    let place = match node.content {
        Content::Value(value) => Place::Here(&page[value]),
        Content::Overflow { page, bytes } if page < file.pages() => {
            Place::At { offset: file.offset(page) + PAGE_HEADER as u64, bytes }
        }
        _ => return Ok(None),
    };
    let value = Value { place, read: &read }.read(bytes_max);
    // A value that reaches over the end of the file cannot be reached.
    Ok(value.ok().flatten().map(Cow::into_owned))
}

fn descend<S: Source>(file: &PageFile<S>, tree: &Tree, key: &[u8]) -> io::Result<Option<(Vec<u8>, Node)>> {
    let Some(mut number) = tree.root else { return Ok(None) };
    for level in (1..=tree.depth).rev() {
        if number >= file.pages() {
            return Ok(None);
        }
        let bytes = file.page(number)?;
        let Ok(page) = Page::parse(&bytes, number) else { return Ok(None) };
        if page.is_leaf != (level == 1) {
            return Ok(None);
        }
        let mut nodes = page.nodes.into_iter().flatten();
        if page.is_leaf {
            let found = nodes.find(|node| bytes[node.key.clone()] == *key);
            return Ok(found.map(|node| (bytes, node)));
        }
        let Some(first) = nodes.next() else { return Ok(None) };
        let child = nodes.take_while(|node| bytes[node.key.clone()] <= *key).last().unwrap_or(first);
        let Content::Child(child) = child.content else { return Ok(None) };
        number = child;
    }
    Ok(None)
}
