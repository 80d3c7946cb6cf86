//! The way through the trees: every page once, its keys within the bounds that the page above gives.

use std::cmp::Ordering;

use super::bits::Bits;
use super::head::{FREE_FLAGS, State, Tree};
use super::page::{Content, Node, OVERFLOW_PAGE, Page, Wrong, header};
use super::value::{Place, Value};
use super::{
    Area, Damage, Inspection, Keys, PAGE_HEADER, PAGES_BEHIND_END_MAX, PageFile, Source, Visit, WORD, number,
    word,
};

/// The kind of tree that a table is: plain, ordered by bytes.
pub(super) const TABLE_FLAGS: u16 = 0;

/// What was seen of a tree, to be compared with what its description says.
#[derive(Debug, Default)]
struct Seen {
    branches: u64,
    leaves: u64,
    overflows: u64,
    entries: u64,
}

pub(super) struct Walk<'w, S> {
    pub(super) file: &'w PageFile<S>,
    pub(super) last_page: u64,
    pub(super) used: Bits,
    pub(super) free: Bits,
    damages: Vec<Damage>,
    tables: Vec<(Vec<u8>, u64)>,
    damages_max: usize,
    /// Whether a page was named that the file is too short for.
    misses_end: bool,
    /// The pages from the root of the tree down to the one in hand.
    above: Vec<u64>,
    visit: &'w mut Visit<'w>,
}

impl<'w, S: Source> Walk<'w, S> {
    pub(super) fn new(
        file: &'w PageFile<S>,
        state: &State,
        damages_max: usize,
        visit: &'w mut Visit<'w>,
    ) -> Walk<'w, S> {
        let bound =
            (state.last_page.saturating_add(1)).min(file.pages().saturating_add(PAGES_BEHIND_END_MAX));
        Walk {
            file,
            last_page: state.last_page,
            used: Bits::new(bound),
            free: Bits::new(bound),
            damages: Vec::new(),
            tables: Vec::new(),
            damages_max,
            misses_end: false,
            above: Vec::new(),
            visit,
        }
    }

    /// The free pages first, so that a table whose page is among them is named.
    pub(super) fn everything(&mut self, state: &State) {
        self.free_pages(state);
        self.tree(&Area::Names, &state.names, TABLE_FLAGS, (0, 0));
        if self.misses_end
            && let Some(damage) = self.missing_end(state)
        {
            self.damages.insert(0, damage);
        }
    }

    /// Walks the tree of free pages only.
    pub(super) fn free_pages(&mut self, state: &State) {
        self.tree(&Area::Free, &state.free, FREE_FLAGS, (0, 0));
    }

    /// The complaint about a file that ends before pages that are not free.
    pub(super) fn missing_end(&self, state: &State) -> Option<Damage> {
        let end = self.file.pages();
        let told_apart = end.saturating_add(PAGES_BEHIND_END_MAX).min(state.last_page.saturating_add(1));
        let all_free = told_apart > state.last_page && (end..told_apart).all(|page| self.free.contains(page));
        (!all_free).then(|| Damage {
            area: Area::Head,
            page: end,
            offset: self.file.offset(end),
            what: format!(
                "the file ends here, and its state goes up to page {} (byte {}): it was cut short",
                state.last_page,
                self.file.offset(state.last_page.saturating_add(1))
            ),
            keys: Keys::default(),
        })
    }

    pub(super) fn report(self, found: &mut Inspection) {
        found.pages = self.last_page.saturating_add(1);
        found.free = self.free.len();
        found.tables = self.tables;
        found.damages.extend(self.damages);
        found.damages.truncate(self.damages_max);
        if found.damages.is_empty() {
            let here = found.pages.min(self.file.pages());
            found.lost = (2..here)
                .filter(|&page| !self.used.contains(page) && !self.free.contains(page))
                .count() as u64;
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.damages.len() >= self.damages_max
    }

    /// Notes a damage at a byte of a page.
    pub(super) fn damage(&mut self, area: &Area, (page, at): (u64, usize), what: String, keys: Keys) {
        if !self.is_full() {
            let offset = self.file.offset(page).saturating_add(at as u64);
            self.damages.push(Damage { area: area.clone(), page, offset, what, keys });
        }
    }

    /// Walks a whole tree; `from` is the page and the byte that name it.
    fn tree(&mut self, area: &Area, tree: &Tree, flags: u16, from: (u64, usize)) {
        if let Some(nonsense) = tree.nonsense(flags) {
            return self.damage(area, from, nonsense, Keys::default());
        }
        let before = self.damages.len();
        let mut seen = Seen::default();
        let above = std::mem::take(&mut self.above);
        if let Some(root) = tree.root {
            self.subtree(area, root, tree.depth, from, Keys::default(), &mut seen);
        }
        self.above = above;
        if self.damages.len() > before || self.is_full() {
            return;
        }
        for (what, said, found) in [
            ("entries", tree.entries, seen.entries),
            ("inner pages", tree.branches, seen.branches),
            ("leaf pages", tree.leaves, seen.leaves),
            ("pages of large values", tree.overflows, seen.overflows),
        ] {
            if said != found {
                let what = format!("its tree is said to have {said} {what} and has {found}");
                self.damage(area, from, what, Keys::default());
            }
        }
    }

    /// Walks what lies below a page, the page included; `levels` are left, the leaves included.
    fn subtree(
        &mut self,
        area: &Area,
        number: u64,
        levels: u16,
        from: (u64, usize),
        keys: Keys,
        seen: &mut Seen,
    ) {
        if let Err(what) = self.claim(number, 1) {
            return self.damage(area, from, what, keys);
        }
        let bytes = match self.file.page(number) {
            Ok(bytes) => bytes,
            Err(error) => {
                return self.damage(area, (number, 0), format!("it cannot be read: {error}"), keys);
            }
        };
        let page = match Page::parse(&bytes, number) {
            Ok(page) if page.is_leaf == (levels == 1) => page,
            Ok(page) => {
                let found = if page.is_leaf { "a leaf" } else { "an inner page" };
                let what = format!("it is {found}, and {levels} levels of its tree are left there");
                return self.damage(area, (number, WORD + 2), what, keys);
            }
            Err(Wrong(at, what)) => return self.damage(area, (number, at), what, keys),
        };
        if let Some(Wrong(at, what)) = page.wrong {
            self.damage(area, (number, at), what, keys.clone());
        }
        self.above.push(number);
        if page.is_leaf {
            seen.leaves += 1;
            self.leaf(area, number, &bytes, &page.nodes, &keys, seen);
        } else {
            seen.branches += 1;
            self.branch(area, (number, levels), &bytes, &page.nodes, &keys, seen);
        }
        self.above.pop();
    }

    fn branch(
        &mut self,
        area: &Area,
        (page, levels): (u64, u16),
        bytes: &[u8],
        nodes: &[Result<Node, Wrong>],
        keys: &Keys,
        seen: &mut Seen,
    ) {
        // LMDB passes through inner pages of one child only while it mends the tree of free pages.
        let least = if *area == Area::Free { 1 } else { 2 };
        if nodes.len() < least {
            let what = format!("it is an inner page with {} pages below", nodes.len());
            self.damage(area, (page, WORD + 4), what, keys.clone());
        }
        // The first key stands for whatever comes before the second one.
        let mut from = keys.from.clone();
        let mut before = keys.from.as_deref();
        for (at, node) in nodes.iter().enumerate() {
            let to = match nodes.get(at + 1) {
                Some(Ok(next)) => Some(bytes[next.key.clone()].to_vec()),
                Some(Err(_)) | None => keys.to.clone(),
            };
            let below = Keys { from: from.clone(), to: to.clone() };
            match node {
                Err(Wrong(place, what)) => self.damage(area, (page, *place), what.clone(), below),
                Ok(node) => {
                    let key = &bytes[node.key.clone()];
                    if at > 0 {
                        self.order(area, (page, node.at), key, before, keys);
                        before = Some(key);
                    }
                    let Content::Child(child) = node.content else { continue };
                    self.subtree(area, child, levels - 1, (page, node.at), below, seen);
                }
            }
            if self.is_full() {
                return;
            }
            if nodes.get(at + 1).is_some_and(Result::is_ok) {
                from = to;
            }
        }
    }

    fn leaf(
        &mut self,
        area: &Area,
        page: u64,
        bytes: &[u8],
        nodes: &[Result<Node, Wrong>],
        keys: &Keys,
        seen: &mut Seen,
    ) {
        if nodes.is_empty() {
            self.damage(area, (page, WORD + 4), "it is a leaf without entries".to_owned(), keys.clone());
        }
        let mut before: Option<&[u8]> = None;
        for (at, node) in nodes.iter().enumerate() {
            let node = match node {
                Ok(node) => node,
                Err(Wrong(place, what)) => {
                    let next =
                        nodes[at + 1..].iter().flatten().next().map(|next| bytes[next.key.clone()].to_vec());
                    let from = before.map(<[u8]>::to_vec).or_else(|| keys.from.clone());
                    let concerned = Keys { from, to: next.or_else(|| keys.to.clone()) };
                    self.damage(area, (page, *place), what.clone(), concerned);
                    continue;
                }
            };
            seen.entries += 1;
            let key = &bytes[node.key.clone()];
            let this = || Keys { from: Some(key.to_vec()), to: Some(key.to_vec()) };
            if key.is_empty() {
                self.damage(area, (page, node.at), "an entry has no key".to_owned(), keys.clone());
            } else {
                // The first key of a page may be the very one by which the page above names it.
                let lower = before.or(keys.from.as_deref().filter(|&from| from != key));
                self.order(area, (page, node.at), key, lower, keys);
            }
            before = Some(key);
            self.entry(area, (page, node), bytes, this, seen);
            if self.is_full() {
                return;
            }
        }
    }

    /// An entry of a leaf, whatever its area has as entries.
    fn entry(
        &mut self,
        area: &Area,
        (page, node): (u64, &Node),
        bytes: &[u8],
        this: impl Fn() -> Keys,
        seen: &mut Seen,
    ) {
        let key = &bytes[node.key.clone()];
        let file = self.file;
        let read = |offset: u64, buffer: &mut [u8]| file.fill(offset, buffer);
        let place = match (area, &node.content) {
            (Area::Names, Content::Table(tree)) => {
                let table = Area::Table(key.to_vec());
                if let Some(tree) = Tree::parse(&bytes[tree.clone()]) {
                    self.tables.push((key.to_vec(), tree.entries));
                    self.tree(&table, &tree, TABLE_FLAGS, (page, node.at));
                }
                return;
            }
            (Area::Names, _) => {
                return self.damage(area, (page, node.at), "an entry is not a table".to_owned(), this());
            }
            (_, Content::Value(value)) => Place::Here(&bytes[value.clone()]),
            (_, Content::Overflow { page: first, bytes: length }) => {
                match self.overflow(*first, *length) {
                    Ok(pages) => seen.overflows += pages,
                    Err(what) => return self.damage(area, (page, node.at), what, this()),
                }
                Place::At { offset: self.file.offset(*first) + PAGE_HEADER as u64, bytes: *length }
            }
            (_, Content::Table(_) | Content::Child(_)) => {
                return self.damage(
                    area,
                    (page, node.at),
                    "an entry is a table of its own".to_owned(),
                    this(),
                );
            }
        };
        let value = Value { place, read: &read };
        match area {
            Area::Table(name) => (self.visit)(name, key, value),
            _ => self.free_record((page, node.at), key, value),
        }
    }

    /// Checks that a key comes behind a lower bound and before the upper one of its page.
    fn order(&mut self, area: &Area, place: (u64, usize), key: &[u8], lower: Option<&[u8]>, keys: &Keys) {
        if lower.is_some_and(|lower| compare(area, lower, key) != Ordering::Less) {
            let what = "a key does not come behind the one before it".to_owned();
            self.damage(area, place, what, keys.clone());
        } else if keys.to.as_deref().is_some_and(|to| compare(area, key, to) != Ordering::Less) {
            let what = "a key belongs on a page behind this one".to_owned();
            self.damage(area, place, what, keys.clone());
        }
    }

    /// Takes the pages of a large value; how many it were.
    fn overflow(&mut self, first: u64, bytes: u64) -> Result<u64, String> {
        let needed = (bytes + PAGE_HEADER as u64 - 1) / self.file.page_bytes() as u64 + 1;
        let value = |what: String| format!("a value of {bytes} bytes: {what}");
        self.within(first, needed).map_err(value)?;
        let mut start = [0; PAGE_HEADER];
        let read = self.file.fill(self.file.offset(first), &mut start);
        read.map_err(|error| format!("page {first} with a large value cannot be read: {error}"))?;
        header(&start, first, &[OVERFLOW_PAGE])
            .map_err(|Wrong(_, what)| format!("page {first} should hold a value of {bytes} bytes: {what}"))?;
        // A value that became shorter within its transaction keeps the pages that it had.
        let pages = number(&start, WORD + 4, 4).unwrap_or_default();
        if pages < needed {
            return Err(format!(
                "page {first} is said to begin {pages} pages of a value that takes {needed}"
            ));
        }
        self.claim(first, pages).map_err(value)?;
        Ok(pages)
    }

    /// Whether so many pages can be there at all.
    fn within(&mut self, first: u64, pages: u64) -> Result<(), String> {
        let last = first.saturating_add(pages - 1);
        if first < 2 {
            return Err(format!("it leads to page {first}, which is a meta page"));
        }
        if last > self.last_page {
            return Err(format!("it leads to page {last}, and the last page is {}", self.last_page));
        }
        if last >= self.file.pages() {
            self.misses_end = true;
            return Err(format!("it leads to page {last}, which lies behind the end of the file"));
        }
        Ok(())
    }

    /// Takes pages for the tree in hand: each may be taken once, and not be free.
    fn claim(&mut self, first: u64, pages: u64) -> Result<(), String> {
        self.within(first, pages)?;
        for page in first..first + pages {
            if self.free.contains(page) {
                return Err(format!("it leads to page {page}, which is in the list of free pages"));
            }
            if self.above.contains(&page) {
                return Err(format!("it leads back to page {page}, from which it is reached: a cycle"));
            }
            if !self.used.insert(page) {
                return Err(format!("it leads to page {page}, which is used in another place as well"));
            }
        }
        Ok(())
    }
}

fn compare(area: &Area, left: &[u8], right: &[u8]) -> Ordering {
    match area {
        Area::Free => word(left, 0).cmp(&word(right, 0)),
        _ => left.cmp(right),
    }
}
