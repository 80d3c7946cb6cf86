//! Readers see one moment each, whole, while a writer runs: on disk and in memory, by id, by index and through queries.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use reconvene_store::{Entity, ReadTxn, Result, Store, StoreError};
use support::{builder, on_both};

const ACCOUNTS: u64 = 40;
const TOTAL: i64 = 4_000;
const TRANSFERS: u64 = 600;

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Account {
    id: u64,
    #[index]
    balance: i64,
}

/// What was moved, in a table of its own: there are as many as the writer has committed.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, crate = "reconvene_store")]
struct Transfer {
    id: u64,
    #[unique]
    number: u64,
    amount: i64,
}

/// How many transfers a moment has; everything else in it must agree with that.
fn audit(tx: &ReadTxn<'_>) -> Result<u64> {
    let transfers = tx.all::<Transfer>()?;
    let numbers: Vec<u64> = transfers.iter().map(|transfer| transfer.number).collect();
    let count = transfers.len() as u64;
    assert_eq!(numbers, (1..=count).collect::<Vec<_>>());
    assert_eq!(tx.query(Transfer::number().gt(0))?.count()?, count);
    let balances: Vec<i64> = tx.all::<Account>()?.iter().map(|account| account.balance).collect();
    assert_eq!((balances.len() as u64, balances.iter().sum::<i64>()), (ACCOUNTS, TOTAL), "after {count}");
    let by_index = tx.query(Account::balance().ge(i64::MIN))?.order_by(Account::balance());
    assert!(by_index.explain()?.indexes == ["balance"]);
    let mut sorted = balances.clone();
    sorted.sort_unstable();
    assert_eq!(by_index.find()?.iter().map(|account| account.balance).collect::<Vec<_>>(), sorted);
    let first = tx.get::<Account>(1)?.unwrap().balance;
    assert!(tx.query(Account::balance().eq(first))?.find_ids()?.contains(&1));
    Ok(count)
}

fn transfer(store: &Store, number: u64) -> Result<()> {
    store.write(|tx| {
        let (from, to) = (1 + number * 7 % ACCOUNTS, 1 + number * 11 % ACCOUNTS);
        let amount = (number * 13 % 50) as i64;
        tx.update(from, |account: &mut Account| account.balance -= amount)?;
        tx.put(&mut Transfer { id: 0, number, amount })?;
        tx.update(to, |account: &mut Account| account.balance += amount)?;
        Ok(())
    })
}

#[test]
fn readers_see_whole_moments_while_a_writer_runs() {
    on_both(|directory| {
        let store = builder(directory).entity::<Account>().entity::<Transfer>().open().unwrap();
        let mut accounts = vec![Account { id: 0, balance: TOTAL / ACCOUNTS as i64 }; ACCOUNTS as usize];
        store.write(|tx| tx.put_many::<Account, _>(&mut accounts)).unwrap();
        let committed = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut last = 0;
                    while last < TRANSFERS {
                        let at_least = committed.load(Ordering::Acquire);
                        let seen = store
                            .read(|tx| {
                                let seen = audit(tx)?;
                                // A moment does not move, however often it is looked at.
                                thread::yield_now();
                                assert_eq!(audit(tx)?, seen);
                                Ok(seen)
                            })
                            .unwrap();
                        assert!(
                            seen >= at_least.max(last),
                            "{seen} after {at_least} were committed and {last} seen"
                        );
                        last = seen;
                    }
                });
            }
            for number in 1..=TRANSFERS {
                // What comes to nothing is never seen.
                let undone = store.write(|tx| {
                    tx.update(1, |account: &mut Account| account.balance += 1_000)?;
                    tx.put(&mut Transfer { id: 0, number, amount: 0 })?;
                    Err::<(), _>(StoreError::application("undone"))
                });
                assert!(undone.is_err());
                transfer(&store, number).unwrap();
                committed.store(number, Ordering::Release);
            }
        });
        assert_eq!(store.read(audit).unwrap(), TRANSFERS);
    });
}
