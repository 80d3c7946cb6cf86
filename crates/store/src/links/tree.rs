//! Objects of one entity that link to each other as a tree: each to its parent, or each to its children.

use std::collections::HashSet;

use reconvene_model::ObjectId;

use super::access::{LinkAccess, Moment};
use super::hop::{Way, exists, link_of};
use super::relation::Relation;
use super::to_one::ToOne;
use crate::entity::Entity;
use crate::error::{Result, StoreError};
use crate::property::Property;

/// Where objects link to their parents.
///
/// ```
/// # use reconvene_store::{Backlinks, Entity, Store, ToOne};
/// #[derive(Entity, Debug, Default)]
/// # #[entity(crate = "reconvene_store")]
/// struct Folder {
///     id: u64,
///     parent: ToOne<Folder>,
///     #[backlink(to = "parent")]
///     folders: Backlinks<Folder>,
/// }
///
/// # let store = Store::builder("memory:").entity::<Folder>().open()?;
/// let folders = store.boxed::<Folder>()?;
/// let root = folders.put(&mut Folder::default())?;
/// let within = folders.put(&mut Folder { parent: root.into(), ..Folder::default() })?;
/// let leaf = folders.put(&mut Folder { parent: within.into(), ..Folder::default() })?;
///
/// assert_eq!(Folder::parent().ancestors(&store, leaf)?, [within, root]);
/// assert_eq!(Folder::parent().path(&store, leaf)?, [root, within, leaf]);
/// assert_eq!(Folder::folders().descendants(&store, root, 1)?, [(1, within)]);
/// // A whole subtree goes with its root.
/// folders.remove_with(root, &[Folder::folders().into()])?;
/// assert!(folders.is_empty()?);
/// # Ok::<(), reconvene_store::StoreError>(())
/// ```
impl<E: Entity> Property<E, ToOne<E>> {
    /// The objects that an object is below of, its parent first and the root last. A parent that does not exist ends them.
    ///
    /// # Errors
    ///
    /// [`StoreError::Cycle`] if the links lead in a circle; and if the store is damaged or cannot be read.
    pub fn ancestors(self, access: &impl LinkAccess, id: ObjectId) -> Result<Vec<ObjectId>> {
        access.look(|moment| self.ancestors_in(&moment, id))
    }

    /// The objects from the root down to an object, which comes last; none if it does not exist.
    ///
    /// # Errors
    ///
    /// As [`ancestors`](Property::ancestors).
    pub fn path(self, access: &impl LinkAccess, id: ObjectId) -> Result<Vec<ObjectId>> {
        access.look(|moment| {
            let entity = moment.inner.catalog.expect(E::NAME)?;
            if !exists(&moment.view, entity, id)? {
                return Ok(Vec::new());
            }
            let mut path = self.ancestors_in(&moment, id)?;
            path.reverse();
            path.push(id);
            Ok(path)
        })
    }

    fn ancestors_in(self, moment: &Moment<'_>, id: ObjectId) -> Result<Vec<ObjectId>> {
        let catalog = &moment.inner.catalog;
        let hop = catalog.expect_hop(catalog.expect(E::NAME)?, self.name())?;
        let Way::Link { slot } = hop.way else {
            return Err(StoreError::internal("a property that links is a link"));
        };
        let (mut ancestors, mut seen) = (Vec::new(), HashSet::from([id]));
        let mut at = id;
        while let Some(parent) = link_of(&moment.view, &hop.near, slot, at)? {
            if !exists(&moment.view, &hop.far, parent)? {
                break;
            }
            if !seen.insert(parent) {
                let (entity, property) = (hop.near.def.name.clone(), self.name().to_owned());
                return Err(StoreError::Cycle { entity, property, id: parent });
            }
            ancestors.push(parent);
            at = parent;
        }
        Ok(ancestors)
    }
}

/// Where objects lead to their children.
impl<E: Entity> Relation<E, E> {
    /// The objects below an object, each with its depth, from 1 up to `depth_max`: those of a depth by ascending id, before all deeper ones.
    ///
    /// Each comes once, at its least depth, and never the object itself: links that lead in a circle are cut there.
    ///
    /// # Errors
    ///
    /// If the store is damaged or cannot be read.
    pub fn descendants(
        self,
        access: &impl LinkAccess,
        id: ObjectId,
        depth_max: usize,
    ) -> Result<Vec<(usize, ObjectId)>> {
        access.look(|moment| {
            let hop = self.hop(&moment.inner.catalog)?;
            let (mut all, mut seen) = (Vec::new(), HashSet::from([id]));
            let mut level = vec![id];
            for depth in 1..=depth_max {
                let mut next = Vec::new();
                for &from in &level {
                    next.extend(hop.ids(&moment, from)?.into_iter().filter(|&child| seen.insert(child)));
                }
                if next.is_empty() {
                    break;
                }
                next.sort_unstable();
                all.extend(next.iter().map(|&child| (depth, child)));
                level = next;
            }
            Ok(all)
        })
    }
}
