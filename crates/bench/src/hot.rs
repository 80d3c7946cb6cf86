//! Fixed pieces of work whose instructions `cargo xtask callgrind` counts: what the hot paths cost on any machine and under
//! any load.
//!
//! Each piece runs in a process of its own. Only what [`collected_by_callgrind`] calls is counted; what it needs is made
//! before.

use std::hint::black_box;
use std::path::Path;

use anyhow::{Context, ensure};
use reconvene_model::Seq;
use reconvene_store::{Delivery, Incoming, PushedTx, Role, Store};

use crate::Settings;
use crate::data::{Indexed, Plain, SevenFields, Synced, Values, objects, shuffled_ids};
use crate::merge::Parties;

/// A piece of work: its name, and what it does with a new directory and this many objects.
type Piece = (&'static str, fn(&Path, usize) -> anyhow::Result<()>);

/// The address space of a store, in bytes: valgrind has far less of it than the default asks for.
const MAP_BYTES: u64 = 256 << 20;

/// Transactions that a server decides on, and another device applies.
const TXS: usize = 20;

/// All pieces, in the order in which they are reported.
const PIECES: [Piece; 9] = [
    ("put_many", put_many::<Plain>),
    ("put_many with two indexes", put_many::<Indexed>),
    ("put_many synced", put_many::<Synced>),
    ("get", get),
    ("scan of one property", scan),
    ("indexed query", query),
    ("decide on a server", |directory, count| history(directory, count, true)),
    ("apply on a device", |directory, count| history(directory, count, false)),
    ("update on a device", update),
];

/// The names of all pieces.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    PIECES.iter().map(|(name, _)| *name)
}

/// Does one piece.
pub(crate) fn run(name: &str, settings: &Settings) -> anyhow::Result<()> {
    let piece = PIECES.iter().find(|piece| piece.0 == name);
    let (_, piece) = piece.with_context(|| format!("there is no piece of work named {name:?}"))?;
    piece(settings.directory()?.path(), settings.objects)
}

/// Callgrind is told to count from the call of this function to its return, so its name must stay.
#[inline(never)]
fn collected_by_callgrind(work: &mut dyn FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    black_box(work)()
}

fn open<T: SevenFields>(directory: &Path, role: Role) -> anyhow::Result<Store> {
    Ok(Store::builder(directory).entity::<T>().role(role).map_bytes_max(MAP_BYTES).open()?)
}

fn put_many<T: SevenFields>(directory: &Path, count: usize) -> anyhow::Result<()> {
    let store = open::<T>(directory, Role::Device)?;
    let of = store.boxed::<T>()?;
    let mut objects = objects::<T>(count);
    collected_by_callgrind(&mut || Ok(of.put_many(&mut objects)?))
}

fn filled(directory: &Path, count: usize) -> anyhow::Result<Store> {
    let store = open::<Indexed>(directory, Role::Device)?;
    store.boxed::<Indexed>()?.put_many(&mut objects::<Indexed>(count))?;
    Ok(store)
}

fn get(directory: &Path, count: usize) -> anyhow::Result<()> {
    let store = filled(directory, count)?;
    let ids = shuffled_ids(count);
    collected_by_callgrind(&mut || {
        Ok(store.read(|tx| {
            for &id in &ids {
                black_box(tx.get::<Indexed>(id)?);
            }
            Ok(())
        })?)
    })
}

fn scan(directory: &Path, count: usize) -> anyhow::Result<()> {
    let store = filled(directory, count)?;
    let ints = store.boxed::<Indexed>()?.column(Indexed::int())?;
    collected_by_callgrind(&mut || {
        let mut sum = 0_i64;
        store.read(|tx| {
            ints.each(tx, |_, int| {
                sum += i64::from(int);
                Ok(())
            })
        })?;
        black_box(sum);
        Ok(())
    })
}

fn query(directory: &Path, count: usize) -> anyhow::Result<()> {
    let store = filled(directory, count)?;
    let of = store.boxed::<Indexed>()?;
    let wanted: Vec<i32> = (0..count).map(|place| Values::at(place).int).collect();
    let mut found = 0;
    collected_by_callgrind(&mut || {
        for &int in &wanted {
            found += of.query(Indexed::int().eq(int)).find()?.len();
        }
        Ok(())
    })?;
    ensure!(found == count, "{found} objects of {count} were found");
    Ok(())
}

/// What one device writes, decided on by a server and applied by another device; one of the two is counted.
fn history(directory: &Path, count: usize, counts_server: bool) -> anyhow::Result<()> {
    let author = Store::builder("memory:").entity::<Synced>().open()?;
    for objects in objects::<Synced>(count).chunks_mut((count / TXS).max(1)) {
        author.boxed::<Synced>()?.put_many(objects)?;
    }
    let txs = author.sync().outbox(0, usize::MAX, usize::MAX)?;

    let store = |name: &str, role| open::<Synced>(&directory.join(name), role);
    let (server, device) = (store("server", Role::Server)?, store("device", Role::Device)?);
    let peer = author.sync().peer();
    server.sync().register(peer, &author.sync().key().public())?;
    let batch: Vec<Incoming<'_>> = txs.iter().map(|tx| Incoming { peer, bytes: &tx.bytes }).collect();
    let mut pushed: Vec<PushedTx> = Vec::new();
    let mut decide = || {
        pushed = server.sync().decide(&batch, &[])?.into_iter().filter_map(|decided| decided.push).collect();
        Ok(())
    };
    if counts_server {
        collected_by_callgrind(&mut decide)?
    } else {
        decide()?
    }
    ensure!(pushed.len() == txs.len(), "the server took {} of {} transactions", pushed.len(), txs.len());

    let login = Delivery::Login {
        epoch: server.sync().epoch()?,
        view: 1,
        decided: 0,
        decided_seq: Seq(0),
        rebased: None,
        compare: false,
    };
    device.sync().apply(&[login, Delivery::CatchUpDone { seq: Seq(0) }])?;
    let deliveries: Vec<Delivery<'_>> = pushed
        .iter()
        .map(|tx| Delivery::Push { seq: tx.seq, origin: tx.origin, hlc: tx.hlc, ops: &tx.ops })
        .collect();
    let mut apply = || Ok(device.sync().apply(&deliveries).map(drop)?);
    if counts_server {
        apply()?
    } else {
        collected_by_callgrind(&mut apply)?
    }
    ensure!(device.boxed::<Synced>()?.count()? == count as u64, "the device has all objects");
    Ok(())
}

/// Changes of one property of each object, applied by a device.
fn update(directory: &Path, count: usize) -> anyhow::Result<()> {
    let mut parties = Parties::new(directory, Some(MAP_BYTES), count)?;
    let ids = shuffled_ids(count);
    // The first change gives each record a stamp more.
    for long in [-1, 1] {
        parties.update(&ids, long)?;
        let pushed = parties.decided()?;
        if long < 0 {
            parties.apply(&pushed)?;
        } else {
            collected_by_callgrind(&mut || parties.apply(&pushed))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_does_its_work() {
        let settings = Settings { objects: 40, pairs: 1, within: std::env::temp_dir() };
        names().for_each(|name| run(name, &settings).unwrap());
        assert!(run("put_few", &settings).is_err());
    }
}
