//! Objects that link to others of their entity.

use reconvene_store::StoreError;

use super::support::on_both;
use super::*;

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Node {
    id: u64,
    parent: ToOne<Node>,
    #[backlink(to = "parent")]
    children: Backlinks<Node>,
}

/// Nodes 1 to n with these parents.
fn nodes(directory: &Path, parents: &[u64]) -> Store {
    let store = builder(directory).entity::<Node>().open().unwrap();
    let nodes = store.boxed::<Node>().unwrap();
    nodes.put_many(&mut vec![Node::default(); parents.len()]).unwrap();
    for (id, &parent) in (1..).zip(parents) {
        nodes.update(id, |node| node.parent.set(parent)).unwrap();
    }
    store
}

#[test]
fn a_tree_is_walked_up_and_down() {
    on_both(|directory| {
        let store = nodes(directory, &[0, 1, 1, 2, 4, 0]);
        let (up, down) = (Node::parent(), Node::children());
        assert_eq!(up.ancestors(&store, 5).unwrap(), [4, 2, 1]);
        assert_eq!(up.path(&store, 5).unwrap(), [1, 2, 4, 5]);
        assert_eq!(up.path(&store, 1).unwrap(), [1]);
        assert!(up.path(&store, 9).unwrap().is_empty() && up.ancestors(&store, 1).unwrap().is_empty());
        assert_eq!(down.descendants(&store, 1, usize::MAX).unwrap(), [(1, 2), (1, 3), (2, 4), (3, 5)]);
        assert_eq!(down.descendants(&store, 1, 2).unwrap(), [(1, 2), (1, 3), (2, 4)]);
        assert!(down.descendants(&store, 1, 0).unwrap().is_empty());
        // Above an absent parent there is nothing.
        store.boxed::<Node>().unwrap().remove(2).unwrap();
        assert_eq!(up.path(&store, 5).unwrap(), [4, 5]);
        // A subtree goes with its root when asked for.
        store.boxed::<Node>().unwrap().remove_with(4, &[down.into()]).unwrap();
        assert_eq!(store.boxed::<Node>().unwrap().count().unwrap(), 3);
    });
}

#[test]
fn a_circle_is_told_upwards_and_cut_downwards() {
    on_both(|directory| {
        let store = nodes(directory, &[3, 1, 2, 3, 5]);
        for id in [1, 4] {
            let error = Node::parent().ancestors(&store, id).unwrap_err();
            assert!(matches!(&error, StoreError::Cycle { property, .. } if property == "parent"), "{error}");
        }
        assert!(matches!(Node::parent().path(&store, 5), Err(StoreError::Cycle { id: 5, .. })));
        assert_eq!(Node::children().descendants(&store, 1, usize::MAX).unwrap(), [(1, 2), (2, 3), (3, 4)]);
        assert!(Node::children().descendants(&store, 5, usize::MAX).unwrap().is_empty());
        store.boxed::<Node>().unwrap().remove_with(1, &[Node::children().into()]).unwrap();
        assert_eq!(store.boxed::<Node>().unwrap().count().unwrap(), 1);
    });
}

#[test]
fn a_deep_tree_needs_no_deep_stack() {
    let parents: Vec<u64> = (0..20_000).collect();
    let store = builder(Path::new("memory:")).entity::<Node>().open().unwrap();
    let mut all: Vec<Node> =
        parents.iter().map(|&parent| Node { parent: parent.into(), ..Node::default() }).collect();
    // A link may only name an id that was handed out, so each batch is put before the next.
    store.write(|tx| all.iter_mut().try_for_each(|node| tx.put(node).map(|_| ()))).unwrap();
    assert_eq!(Node::parent().ancestors(&store, 20_000).unwrap().len(), 19_999);
    assert_eq!(Node::children().descendants(&store, 1, usize::MAX).unwrap().len(), 19_999);
    store.boxed::<Node>().unwrap().remove_with(1, &[Node::children().into()]).unwrap();
    assert!(store.boxed::<Node>().unwrap().is_empty().unwrap());
}
