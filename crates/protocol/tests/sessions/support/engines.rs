//! The smallest engines: they carry out what the sessions of a pair ask for.

use bytes::Bytes;
use reconvene_model::{PeerId, Seq};
use reconvene_protocol::{
    ClientEvent, Code, Cursor, PushFrame, PushedContent, SendError, ServerEvent, ServerSession,
};

use crate::support::hub::Hub;
use crate::support::{CHUNK_ROWS, Pair};

impl Pair {
    pub(crate) fn run_device(&mut self) {
        let Some(client) = &mut self.client else { return };
        let device = &mut self.device;
        while let Some(event) = client.poll_event() {
            match event {
                ClientEvent::LoggedIn(answer) => {
                    self.backoff.handle_login(self.now);
                    self.backoff.handle_progress();
                    if device.hashes.get(&answer.decided_number) != Some(&answer.decided_hash) {
                        client.close(
                            Code::IdentityForked,
                            "the hub decided on other writes under this identity",
                        );
                        continue;
                    }
                    for verdict in &answer.refusals {
                        device.settle(verdict);
                    }
                    device.outbox.retain(|number, _| *number > answer.decided_number);
                    device.durable = device.durable.max(answer.decided_number);
                    device.cursor =
                        Cursor { epoch: answer.epoch, view: answer.view, seq: answer.catch_up_from };
                    client.handle_durable(device.durable);
                }
                ClientEvent::SendTxs { from, txs_max, bytes_max, .. } => {
                    let mut bytes = 0;
                    let txs = device
                        .outbox
                        .range(from..)
                        .take(txs_max)
                        .take_while(|(_, tx)| {
                            let before = bytes;
                            bytes += tx.len();
                            before < bytes_max
                        })
                        .map(|(number, tx)| (*number, tx.clone()))
                        .collect();
                    client.handle_txs(txs).expect("the outbox has no gaps");
                }
                ClientEvent::Verdicts(verdicts) => {
                    for verdict in &verdicts {
                        device.settle(verdict);
                        device.durable = verdict.number;
                    }
                    client.handle_durable(device.durable);
                }
                ClientEvent::CatchUp { states, upto_seq, .. } => {
                    device.live = false;
                    device.split_chunks += usize::from(upto_seq == device.cursor.seq);
                    device.take_states(&states);
                    device.complete(upto_seq);
                }
                ClientEvent::CatchUpDone(seq) => {
                    device.complete(seq);
                    device.live = true;
                }
                ClientEvent::Pushed(txs) => {
                    assert!(device.live);
                    for tx in txs {
                        device.apply(tx.seq);
                        device.cursor.seq = tx.seq;
                        match tx.content {
                            PushedContent::Own { number } => assert!(number <= device.last_number),
                            PushedContent::Whole { origin, number, ops, .. } => {
                                device.wholes.push((origin, number, ops));
                            }
                        }
                    }
                }
                ClientEvent::Compared { .. }
                | ClientEvent::Fetched { .. }
                | ClientEvent::ProbeDue
                | ClientEvent::Probed(_) => {
                    panic!("neither compares nor digests were offered")
                }
                ClientEvent::Closed(closed) => {
                    device.live = false;
                    // Only a code that says so makes it wait for people; the tests that want more connect themselves.
                    self.backoff.handle_failure(self.now, u64::MAX / 2);
                    self.client_closed.push(closed);
                }
            }
        }
        while let Some(frame) = client.poll_message() {
            self.recorded.push(frame.clone());
            self.up.send(frame, self.now + self.latency);
        }
    }

    pub(crate) fn serve(&mut self) {
        let Some(server) = &mut self.server else { return };
        let hub = &mut self.hub;
        while let Some(event) = server.poll_event() {
            match event {
                ServerEvent::LoginRequested(request) => match hub.judge(&request) {
                    Ok(answer) => server.accept_login(answer, self.now),
                    Err(code) => server.refuse_login(code, "no"),
                },
                ServerEvent::Uploaded(txs) => {
                    self.most_in_flight = self.most_in_flight.max(server.in_flight());
                    hub.queue.extend(txs);
                }
                ServerEvent::Confirmed(number) => hub.confirm(number),
                ServerEvent::Compare { .. }
                | ServerEvent::Fetch(_)
                | ServerEvent::CompareDone(_)
                | ServerEvent::Probe(_) => {
                    panic!("neither compares nor digests were offered")
                }
                ServerEvent::Closed(closed) => self.server_closed.push(closed),
            }
        }
        let verdicts = hub.commit();
        if let Some(peer) = server.peer() {
            server.send_verdicts(verdicts).expect("the session is logged in and the verdicts are short");
            pump(hub, server, peer, &mut self.catch_up);
        }
        while let Some(frame) = server.poll_message() {
            self.down.send(frame, self.now + self.latency);
        }
    }
}

/// Sends what the client lacks: states while it catches up, transactions after, and states again if they overflow the queue.
fn pump(hub: &Hub, server: &mut ServerSession, peer: PeerId, catch_up: &mut Option<(Seq, u64)>) {
    while server.is_catching_up() || catch_up.is_some() {
        let sent = server.sent_seq().unwrap();
        let start = catch_up.unwrap_or((sent, u64::MAX));
        let chunk: Vec<(Seq, u64)> = hub.rows(start).take(CHUNK_ROWS).collect();
        let next = chunk.last().copied();
        let result = match next {
            None => server.send_catch_up_done(hub.head()),
            Some(last) => {
                let split = hub.rows(last).next().is_some_and(|(seq, _)| seq == last.0);
                let upto = Seq(last.0.0 - u64::from(split));
                let states: Bytes = chunk
                    .iter()
                    .flat_map(|(seq, object)| [seq.0.to_le_bytes(), object.to_le_bytes()].concat())
                    .collect();
                server.send_catch_up(states, upto)
            }
        };
        match result {
            Ok(()) => *catch_up = next,
            Err(SendError::QueueFull) => return,
            Err(error) => panic!("{error}"),
        }
    }
    let sent = server.sent_seq().unwrap();
    for push in PushFrame::encode(hub.pushes(sent, peer), 1000) {
        match server.send_push(&push) {
            Ok(()) => {}
            Err(SendError::QueueFull) => {
                *catch_up = Some((server.sent_seq().unwrap(), u64::MAX));
                return;
            }
            Err(error) => panic!("{error}"),
        }
    }
}
