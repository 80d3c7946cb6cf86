//! A persistent ordered map of bytes: copies share their nodes until one of them changes.
//!
//! A B-tree whose nodes are counted references. Cloning a tree is one increment; a change copies the nodes between the
//! root and the place of change, unless nobody else holds them. A transaction therefore pays for what it touches, and
//! an old copy stays what it was.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

/// The largest number of entries or children of a node. Few levels against cheap copies: 64 did well at both.
const NODE_LEN_MAX: usize = 64;

/// A node with fewer entries or children than this is joined with a neighbour when something is removed from it.
const NODE_LEN_MIN: usize = NODE_LEN_MAX / 4;

/// An ordered map from bytes to bytes with cheap copies.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    root: Option<Arc<Node>>,
    len: u64,
}

/// A place between two neighbouring entries of a tree, from which both can be read.
#[derive(Clone, Debug)]
pub(super) struct Gap<'t> {
    /// From the root down: the children of a branch and which of them holds the gap.
    branches: Vec<(&'t [Child], usize)>,
    leaf: &'t [Entry],
    /// The number of the leaf's entries before the gap.
    before: usize,
}

#[derive(Clone, Debug)]
enum Node {
    Leaf(Vec<Entry>),
    Branch(Vec<Child>),
}

/// A key whose first bytes stand beside the reference, so that most comparisons need not follow it.
#[derive(Clone, Debug, Default)]
struct Key {
    head: u64,
    bytes: Arc<[u8]>,
}

/// A key to compare with.
#[derive(Clone, Copy)]
struct Sought<'k> {
    head: u64,
    bytes: &'k [u8],
}

#[derive(Clone, Debug)]
struct Entry {
    key: Key,
    value: Arc<[u8]>,
}

#[derive(Clone, Debug)]
struct Child {
    /// No key in `node` is smaller, and all keys of the children before are. Meaningless in a branch's first child.
    low: Key,
    node: Arc<Node>,
}

impl Key {
    fn new(sought: Sought<'_>) -> Key {
        Key { head: sought.head, bytes: sought.bytes.into() }
    }

    fn cmp(&self, sought: Sought<'_>) -> Ordering {
        self.head.cmp(&sought.head).then_with(|| (*self.bytes).cmp(sought.bytes))
    }
}

impl<'k> Sought<'k> {
    fn new(bytes: &'k [u8]) -> Sought<'k> {
        // A key that ends early counts as going on with zeros: that never turns the order round, and keys that come out
        // equal are compared in full.
        let mut head = [0; 8];
        let len = bytes.len().min(8);
        head[..len].copy_from_slice(&bytes[..len]);
        Sought { head: u64::from_be_bytes(head), bytes }
    }
}

impl Tree {
    /// The number of entries.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let mut node = self.root.as_deref()?;
        let key = Sought::new(key);
        loop {
            match node {
                Node::Leaf(entries) => {
                    let found = entries.binary_search_by(|entry| entry.key.cmp(key)).ok()?;
                    return Some(&entries[found].value);
                }
                Node::Branch(children) => node = &children[child_of(children, key)].node,
            }
        }
    }

    /// Sets the value of a key.
    pub(super) fn insert(&mut self, key: &[u8], value: Arc<[u8]>) {
        let key = Sought::new(key);
        let Some(root) = &mut self.root else {
            self.root = Some(Arc::new(Node::Leaf(vec![Entry { key: Key::new(key), value }])));
            self.len = 1;
            return;
        };
        let (added, split) = root.insert(key, value);
        self.len += u64::from(added);
        if let Some(right) = split {
            let left = Child { low: Key::default(), node: Arc::clone(root) };
            *root = Arc::new(Node::Branch(vec![left, right]));
        }
    }

    /// Removes a key; `false` if it was absent.
    pub(super) fn remove(&mut self, key: &[u8]) -> bool {
        // Looking first keeps a fruitless removal from copying nodes.
        if self.get(key).is_none() {
            return false;
        }
        if let Some(root) = &mut self.root {
            root.remove(Sought::new(key));
            self.len -= 1;
        }
        while let Some(root) = &self.root {
            match &**root {
                Node::Branch(children) if children.len() == 1 => {
                    self.root = Some(Arc::clone(&children[0].node))
                }
                node if node.len() == 0 => self.root = None,
                _ => break,
            }
        }
        true
    }

    /// The gap before the first entry that `start` admits as the beginning of a range.
    pub(super) fn gap_before(&self, start: Bound<&[u8]>) -> Gap<'_> {
        let (key, included) = match start {
            Bound::Unbounded => return self.gap(|_| 0, |_| 0),
            Bound::Included(key) => (Sought::new(key), true),
            Bound::Excluded(key) => (Sought::new(key), false),
        };
        self.gap(
            |children| child_of(children, key),
            |leaf| {
                leaf.partition_point(|entry| {
                    let order = entry.key.cmp(key);
                    order.is_lt() || (order.is_eq() && !included)
                })
            },
        )
    }

    /// The gap after the last entry that `end` admits as the end of a range.
    pub(super) fn gap_after(&self, end: Bound<&[u8]>) -> Gap<'_> {
        match end {
            Bound::Unbounded => self.gap(|children| children.len() - 1, <[Entry]>::len),
            Bound::Included(key) => self.gap_before(Bound::Excluded(key)),
            Bound::Excluded(key) => self.gap_before(Bound::Included(key)),
        }
    }

    fn gap(&self, child: impl Fn(&[Child]) -> usize, before: impl Fn(&[Entry]) -> usize) -> Gap<'_> {
        let mut branches = Vec::new();
        let mut node = match &self.root {
            Some(root) => &**root,
            None => return Gap { branches, leaf: &[], before: 0 },
        };
        loop {
            match node {
                Node::Leaf(leaf) => return Gap { branches, leaf, before: before(leaf) },
                Node::Branch(children) => {
                    let index = child(children);
                    branches.push((children.as_slice(), index));
                    node = &children[index].node;
                }
            }
        }
    }
}

impl<'t> Gap<'t> {
    /// Moves over the next entry and returns it.
    pub(super) fn next(&mut self) -> Option<(&'t [u8], &'t [u8])> {
        if self.before == self.leaf.len() {
            self.leaf = self
                .neighbour_leaf(|children, index| (index + 1 < children.len()).then_some(index + 1), |_| 0)?;
            self.before = 0;
        }
        let entry = self.leaf.get(self.before)?;
        self.before += 1;
        Some((&entry.key.bytes, &entry.value))
    }

    /// Moves back over the entry before and returns it.
    pub(super) fn previous(&mut self) -> Option<(&'t [u8], &'t [u8])> {
        if self.before == 0 {
            self.leaf =
                self.neighbour_leaf(|_, index| index.checked_sub(1), |children| children.len() - 1)?;
            self.before = self.leaf.len();
        }
        self.before = self.before.checked_sub(1)?;
        let entry = &self.leaf[self.before];
        Some((&entry.key.bytes, &entry.value))
    }

    /// Climbs until `aside` finds a neighbouring child, and from there descends by `down`; without one, stays.
    fn neighbour_leaf(
        &mut self,
        aside: impl Fn(&[Child], usize) -> Option<usize>,
        down: impl Fn(&[Child]) -> usize,
    ) -> Option<&'t [Entry]> {
        let (level, index) = self
            .branches
            .iter()
            .enumerate()
            .rev()
            .find_map(|(level, &(children, index))| aside(children, index).map(|index| (level, index)))?;
        self.branches.truncate(level + 1);
        self.branches[level].1 = index;
        let mut node = &*self.branches[level].0[index].node;
        loop {
            match node {
                Node::Leaf(leaf) => return Some(leaf),
                Node::Branch(children) => {
                    let index = down(children);
                    self.branches.push((children, index));
                    node = &children[index].node;
                }
            }
        }
    }
}

/// The position of the child that holds `key`, if any does.
fn child_of(children: &[Child], key: Sought<'_>) -> usize {
    // The first child has no lower bound, so the search leaves it out.
    children.get(1..).map_or(0, |bounded| bounded.partition_point(|child| child.low.cmp(key).is_le()))
}

/// Where an overlong node is split in two: in the middle, or before what was added at its end, so that entries that
/// arrive in key order leave full nodes behind.
fn split_point(len: usize, added_at: usize) -> usize {
    if added_at + 1 == len { added_at } else { len / 2 }
}

trait Change {
    /// Says whether the key is new, and returns the right half if the node had to be split.
    fn insert(&mut self, key: Sought<'_>, value: Arc<[u8]>) -> (bool, Option<Child>);

    /// Removes a key that the node holds.
    fn remove(&mut self, key: Sought<'_>);
}

impl Change for Arc<Node> {
    fn insert(&mut self, key: Sought<'_>, value: Arc<[u8]>) -> (bool, Option<Child>) {
        let node = Arc::make_mut(self);
        let (added, added_at) = match node {
            Node::Leaf(entries) => match entries.binary_search_by(|entry| entry.key.cmp(key)) {
                Ok(found) => {
                    entries[found].value = value;
                    return (false, None);
                }
                Err(place) => {
                    entries.insert(place, Entry { key: Key::new(key), value });
                    (true, place)
                }
            },
            Node::Branch(children) => {
                let index = child_of(children, key);
                let (added, split) = children[index].node.insert(key, value);
                let Some(right) = split else { return (added, None) };
                children.insert(index + 1, right);
                (added, index + 1)
            }
        };
        let len = node.len();
        (added, (len > NODE_LEN_MAX).then(|| node.split(split_point(len, added_at))))
    }

    fn remove(&mut self, key: Sought<'_>) {
        match Arc::make_mut(self) {
            Node::Leaf(entries) => {
                if let Ok(found) = entries.binary_search_by(|entry| entry.key.cmp(key)) {
                    entries.remove(found);
                }
            }
            Node::Branch(children) => {
                let index = child_of(children, key);
                children[index].node.remove(key);
                if children[index].node.len() < NODE_LEN_MIN {
                    join_with_neighbour(children, index);
                }
            }
        }
    }
}

impl Node {
    fn len(&self) -> usize {
        match self {
            Node::Leaf(entries) => entries.len(),
            Node::Branch(children) => children.len(),
        }
    }

    /// Cuts off everything from position `at`, which is not 0.
    fn split(&mut self, at: usize) -> Child {
        match self {
            Node::Leaf(entries) => {
                let right = entries.split_off(at);
                Child { low: right[0].key.clone(), node: Arc::new(Node::Leaf(right)) }
            }
            Node::Branch(children) => {
                let right = children.split_off(at);
                Child { low: right[0].low.clone(), node: Arc::new(Node::Branch(right)) }
            }
        }
    }
}

/// Joins a child that has become small with a neighbour, and halves the result again if that is too much for one node.
fn join_with_neighbour(children: &mut Vec<Child>, index: usize) {
    if children.len() == 1 {
        // An only child has nobody to join; once empty it goes, and the parent sees to its own emptiness.
        if children[0].node.len() == 0 {
            children.clear();
        }
        return;
    }
    let left = index.saturating_sub(1);
    let right = children.remove(left + 1);
    let joined = Arc::make_mut(&mut children[left].node);
    match (&mut *joined, Arc::unwrap_or_clone(right.node)) {
        (Node::Leaf(entries), Node::Leaf(more)) => entries.extend(more),
        (Node::Branch(grandchildren), Node::Branch(mut more)) => {
            if let Some(first) = more.first_mut() {
                first.low = right.low;
            }
            grandchildren.extend(more);
        }
        _ => unreachable!("neighbours are on the same level, and all leaves of a tree are on one"),
    }
    let len = joined.len();
    if len > NODE_LEN_MAX {
        let half = joined.split(len / 2);
        children.insert(left + 1, half);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Checks what the type system does not: order, bounds, fill and equal depth. Returns depth and number of entries.
    fn check(node: &Node, low: Option<&[u8]>, high: Option<&[u8]>) -> (usize, u64) {
        assert!((1..=NODE_LEN_MAX).contains(&node.len()), "a node has {} parts", node.len());
        match node {
            Node::Leaf(entries) => {
                assert!(entries.is_sorted_by(|a, b| a.key.bytes < b.key.bytes));
                assert!(low.is_none_or(|low| *entries[0].key.bytes >= *low));
                assert!(high.is_none_or(|high| *entries[entries.len() - 1].key.bytes < *high));
                (1, entries.len() as u64)
            }
            Node::Branch(children) => {
                let mut depth = None;
                let mut sum = 0;
                for (index, child) in children.iter().enumerate() {
                    let child_low = if index == 0 { low } else { Some(&*child.low.bytes) };
                    let child_high = children.get(index + 1).map(|next| &*next.low.bytes).or(high);
                    let (child_depth, entries) = check(&child.node, child_low, child_high);
                    assert!(depth.is_none_or(|depth| depth == child_depth), "leaves on several levels");
                    depth = Some(child_depth);
                    sum += entries;
                }
                (depth.unwrap() + 1, sum)
            }
        }
    }

    fn check_tree(tree: &Tree) -> usize {
        let (depth, entries) = tree.root.as_deref().map_or((0, 0), |root| check(root, None, None));
        assert_eq!(entries, tree.len());
        depth
    }

    fn key(number: u32) -> [u8; 4] {
        number.to_be_bytes()
    }

    #[test]
    fn ascending_inserts_leave_full_nodes_and_removal_empties_the_tree() {
        let mut tree = Tree::default();
        for number in 0..100_000 {
            tree.insert(&key(number), key(number).to_vec().into());
        }
        assert!(check_tree(&tree) <= 3, "100,000 entries in nodes of 64 need three levels");
        let copy = tree.clone();
        for number in (0..100_000).step_by(2).chain((0..100_000).skip(1).step_by(2)) {
            assert!(tree.remove(&key(number)));
            if number % 5_000 < 2 {
                check_tree(&tree);
            }
        }
        assert!(tree.root.is_none() && tree.len() == 0);
        assert_eq!(check_tree(&copy), 3);
        assert_eq!(copy.get(&key(77_777)), Some(&key(77_777)[..]));
    }

    #[test]
    fn a_small_change_to_a_big_copy_shares_almost_all_nodes() {
        let mut tree = Tree::default();
        for number in 0..50_000 {
            tree.insert(&key(number), Arc::from(&b"old"[..]));
        }
        let old = tree.clone();
        tree.insert(&key(25_000), Arc::from(&b"new"[..]));
        fn shared(a: &Node, b: &Node) -> (usize, usize) {
            match (a, b) {
                (Node::Branch(a), Node::Branch(b)) => {
                    a.iter().zip(b).fold((0, 0), |(same, all), (a, b)| match Arc::ptr_eq(&a.node, &b.node) {
                        true => (same + 1, all + 1),
                        false => {
                            let below = shared(&a.node, &b.node);
                            (same + below.0, all + 1 + below.1)
                        }
                    })
                }
                _ => (0, 0),
            }
        }
        let (same, all) = shared(old.root.as_deref().unwrap(), tree.root.as_deref().unwrap());
        assert_eq!(all - same, 2, "one branch and one leaf below the root are new, of {all}");
        assert_eq!((old.get(&key(25_000)), tree.get(&key(25_000))), (Some(&b"old"[..]), Some(&b"new"[..])));
    }

    #[test]
    fn heads_keep_the_order_of_bytes() {
        let keys: [&[u8]; 10] = [
            b"",
            b"\0",
            b"\0\0\0\0\0\0\0\0\0",
            b"\0\x01",
            b"a",
            b"a\0",
            b"a\0\0\0\0\0\0\0\0b",
            b"aaaaaaaa",
            b"aaaaaaaab",
            b"\xff",
        ];
        for a in keys {
            for b in keys {
                assert_eq!(Key::new(Sought::new(a)).cmp(Sought::new(b)), a.cmp(b), "{a:?} {b:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        #[test]
        fn agrees_with_the_standard_map(
            steps in prop::collection::vec((any::<bool>(), 0u16..1500), 1..4000),
            probes in prop::collection::vec(0u16..1600, 20),
        ) {
            let mut tree = Tree::default();
            let mut model = BTreeMap::new();
            for (step, (insert, number)) in steps.iter().enumerate() {
                let key = number.to_be_bytes();
                if *insert {
                    tree.insert(&key, step.to_be_bytes().to_vec().into());
                    model.insert(key.to_vec(), step.to_be_bytes().to_vec());
                } else {
                    prop_assert_eq!(tree.remove(&key), model.remove(&key[..]).is_some());
                }
            }
            check_tree(&tree);
            for probe in probes {
                let probe = &probe.to_be_bytes()[..];
                prop_assert_eq!(tree.get(probe), model.get(probe).map(Vec::as_slice));
                for start in [Bound::Included(probe), Bound::Excluded(probe), Bound::Unbounded] {
                    let expected: Vec<_> = model.range::<[u8], _>((start, Bound::Unbounded)).collect();
                    let mut gap = tree.gap_before(start);
                    for (key, value) in &expected {
                        prop_assert_eq!(gap.next(), Some((&key[..], &value[..])));
                    }
                    prop_assert_eq!(gap.next(), None);
                    prop_assert_eq!(gap.next(), None);
                    let mut gap = tree.gap_after(start);
                    for (key, value) in model.range::<[u8], _>((Bound::Unbounded, start)).rev() {
                        prop_assert_eq!(gap.previous(), Some((&key[..], &value[..])));
                    }
                    prop_assert_eq!(gap.previous(), None);
                    prop_assert_eq!(gap.previous(), None);
                }
            }
        }
    }
}
