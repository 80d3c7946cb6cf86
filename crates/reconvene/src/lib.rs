//! Offline-first object database with sync built in: the crate that applications add.
//!
//! Objects are ordinary structs, read and written in a fast local store, the same with and without a network. Objects of
//! entities marked `sync` travel in the background to a sync server and from there to every other device.
//!
//! ```
//! use reconvene::{Entity, Store, SyncClient};
//!
//! #[derive(Entity, Debug, Default)]
//! #[entity(sync)]
//! struct Task {
//!     id: u64,
//!     title: String,
//!     #[index]
//!     done: bool,
//! }
//!
//! // "memory:" lives as long as the program; name a directory to keep the data.
//! let store = Store::builder("memory:").entity::<Task>().open()?;
//! # let _reach_no_server = || -> Result<(), Box<dyn std::error::Error>> {
//! let sync = SyncClient::builder(&store, "ws://127.0.0.1:9999").start()?; // in the background, whenever it can
//! # Ok(()) };
//! let tasks = store.boxed::<Task>()?;
//! let id = tasks.put(&mut Task { title: "Call the bank".into(), ..Task::default() })?;
//! tasks.update(id, |task| task.done = true)?;
//! for task in tasks.query(Task::done().eq(true)).find()? {
//!     println!("{}: {}", task.id, task.title);
//! }
//! # assert!(tasks.get(id)?.is_some_and(|task| task.done));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - Everything of the store is here: [`Store`], [`EntityBox`], [`derive@Entity`], [`Tracked`], [`Condition`],
//!   [`Query`], ...
//! - [`sync`]: the client that keeps a store in sync, [`SyncClient`]; what a server refused is in
//!   [`SyncHandle::rejected`], what met writes of others in [`SyncHandle::conflicts`]
//! - [`model`]: schemas and the model file, as [`Store::model`] gives it
//! - [`expr`]: the language of conditions, for those that come as text

#[doc(hidden)]
pub use reconvene_store::__private;
#[doc(inline)]
pub use reconvene_store::*;

#[doc(inline)]
pub use reconvene_client::{SyncClient, SyncEvent};
pub use reconvene_expr as expr;
pub use reconvene_model as model;

/// Keeping a store in sync with a server.
pub mod sync {
    #[doc(inline)]
    pub use reconvene_client::*;
}

/// Compiles the example of the README, so that it cannot grow old.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// Runs the examples of the guide.
#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../../docs/guide/evolution.md")]
    struct Evolution;

    #[doc = include_str!("../../../docs/guide/first-steps.md")]
    struct FirstSteps;

    #[doc = include_str!("../../../docs/guide/modelling.md")]
    struct Modelling;

    #[doc = include_str!("../../../docs/guide/observers.md")]
    struct Observers;

    #[doc = include_str!("../../../docs/guide/relations.md")]
    struct Relations;
}
