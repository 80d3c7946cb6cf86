//! What befalls the server's data: backups, and going back to them as another history.

use std::rc::Rc;

use reconvene_protocol::{LoginAnswer, LoginRequest};
use reconvene_store::__private::{Image, begin_new_history};
use reconvene_store::Store;

use super::device::Place;
use super::server::unreadable;
use super::{ConnId, World, tell};
use crate::finding::{Finding, Outcome, check};

impl World {
    pub(super) fn backup_server(&mut self) -> Outcome<()> {
        let server = &mut self.server;
        let Some(store) = &server.store else { return Ok(()) };
        let place = match &server.root {
            None => Place::Memory(Image::of(store)),
            Some(root) => {
                server.backups += 1;
                let directory = root.join(format!("backup-server-{}", server.backups));
                let failed = |error: &dyn std::fmt::Display| Finding::new("backups", error.to_string());
                std::fs::create_dir_all(&directory).map_err(|error| failed(&error))?;
                store.backup(directory.join(Store::DATA_FILE)).map_err(|error| failed(&error))?;
                Place::Disk(directory)
            }
        };
        server.backup = Some((place, self.truth.clone()));
        Ok(())
    }

    /// Puts the server back to its last backup, as `restore` does: its history goes on as another one.
    pub(super) fn restore_server(&mut self) -> Outcome<()> {
        if !self.server.is_up() {
            return Ok(());
        }
        let Some((place, truth)) = self.server.backup.take() else { return Ok(()) };
        self.coverage.fault("server: restored from a backup");
        let epoch = self.server.store()?.sync().epoch().map_err(unreadable)?;
        tell!(self, "the server goes back from {} to {}", self.truth.head, truth.head);
        self.crash_server(500);
        let lost = std::mem::replace(&mut self.truth, truth);
        self.former.insert(epoch, Rc::new(lost));
        self.server.place = place;
        self.server.open()?;
        begin_new_history(self.server.store()?).map_err(unreadable)?;
        self.server.committing = None;
        if let Some(store) = self.server.store.take() {
            self.server.place.close(store);
        }
        Ok(())
    }

    /// A server must say which decisions it has lost, no more and no less, and go on from the number of the device.
    pub(super) fn check_rebased(
        &mut self,
        conn: ConnId,
        request: &LoginRequest,
        answer: &LoginAnswer,
        epoch: u64,
    ) -> Outcome<()> {
        let login = &request.login;
        let Some(former) = self.former.get(&login.cursor.epoch).cloned() else {
            return check(answer.rebased.is_none(), "only what is lost is taken over", || {
                format!("{answer:?} for a device of the history {epoch}")
            });
        };
        let due = self.truth.known(request.peer, login.confirmed, &former);
        // What the device has lost already it may be told once more.
        let is_said = match answer.rebased {
            said if said == due => true,
            Some(said) => (said + 1..=due.unwrap_or(login.confirmed))
                .all(|number| former.has_lost(request.peer, number)),
            None => false,
        };
        check(is_said, "a server says what it has lost", || {
            format!("it knows {due:?} of {} transactions, and says {:?}", login.confirmed, answer.rebased)
        })?;
        if answer.rebased.is_none() {
            return Ok(());
        }
        self.coverage.fault("server: takes over the number of a device");
        let Some(session) = self.server.conns.get(&conn) else { return Ok(()) };
        let txs = &self.devices[session.device].audit.txs;
        self.truth.rebase(request.peer, login.confirmed, txs, &former);
        let hash = txs.get(login.confirmed as usize - 1).map(|tx| tx.hash);
        let is_base = answer.decided_number == login.confirmed && Some(answer.decided_hash) == hash;
        check(
            is_base && answer.compare && answer.continues == 0,
            "a restored server goes on from the device",
            || format!("{answer:?} for transaction {} with hash {hash:?}", login.confirmed),
        )
    }
}
