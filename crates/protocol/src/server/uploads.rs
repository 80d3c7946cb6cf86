//! The upload window as the server holds its client to it: whose transactions, in which order, and how many at once.

use std::collections::VecDeque;

use bytes::Bytes;
use reconvene_model::change::decode_tx;
use reconvene_model::{PeerId, TxNumber};

use crate::code::Code;
use crate::limits::{Limits, NUMBER_MAX};
use crate::server::{UploadedTx, Violation};

#[derive(Debug)]
pub(super) struct Uploads {
    /// Who may upload here.
    peer: PeerId,
    limits: Limits,
    /// The highest number that was uploaded in this session or decided before it.
    uploaded: TxNumber,
    /// The highest number that the client was told a verdict on.
    decided: TxNumber,
    /// The highest number whose verdict the client holds durably.
    confirmed: TxNumber,
    /// Uploaded and without verdict: number and length.
    in_flight: VecDeque<(TxNumber, usize)>,
    in_flight_bytes: usize,
}

impl Uploads {
    /// The window of a client that logged in with these numbers.
    pub(super) fn new(peer: PeerId, limits: Limits, decided: TxNumber, confirmed: TxNumber) -> Self {
        Uploads {
            peer,
            limits,
            uploaded: decided,
            decided,
            confirmed,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
        }
    }

    pub(super) fn peer(&self) -> PeerId {
        self.peer
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Takes the transactions of one message.
    pub(super) fn take(&mut self, txs: Vec<Bytes>) -> Result<Vec<UploadedTx>, Violation> {
        txs.into_iter().map(|bytes| self.take_one(bytes)).collect()
    }

    fn take_one(&mut self, bytes: Bytes) -> Result<UploadedTx, Violation> {
        let (head, _) = decode_tx(&bytes).map_err(|error| {
            (Code::TxInvalid, format!("the client sent a transaction that cannot be read: {error}"))
        })?;
        if head.origin != self.peer {
            let (peer, origin) = (self.peer, head.origin);
            let reason = format!("the client {peer} sent a transaction of {origin}; send only your own");
            return Err((Code::ContentInvalid, reason));
        }
        if head.number > NUMBER_MAX {
            // No verdict could name it.
            let reason = format!("the client sent transaction {}; numbers end at {NUMBER_MAX}", head.number);
            return Err((Code::ContentInvalid, reason));
        }
        let due = self.uploaded + 1;
        if head.number > due {
            let reason = format!(
                "the client sent transaction {} where {due} was due; send them without gaps",
                head.number
            );
            return Err((Code::TxGap, reason));
        }
        self.uploaded = self.uploaded.max(head.number);
        // The engine gives no verdict on what is confirmed, so it must not wait for one.
        if head.number > self.confirmed {
            self.in_flight.push_back((head.number, bytes.len()));
            self.in_flight_bytes += bytes.len();
        }
        let Limits { upload_window_txs: txs_max, upload_window_bytes: bytes_max, .. } = self.limits;
        let alone = self.in_flight.len() <= 1;
        if self.in_flight.len() > txs_max || (!alone && self.in_flight_bytes > bytes_max) {
            let reason = format!(
                "the client sent more than the window of {txs_max} transactions and {bytes_max} bytes; wait for verdicts"
            );
            return Err((Code::WindowExceeded, reason));
        }
        Ok(UploadedTx { head, bytes })
    }

    /// Notes that the client will know the verdict on a number.
    pub(super) fn settle(&mut self, number: TxNumber) {
        self.decided = self.decided.max(number);
        self.free(number);
    }

    /// Takes a confirmation and returns whether it tells something new.
    pub(super) fn confirm(&mut self, number: TxNumber) -> Result<bool, Violation> {
        if number > self.decided {
            let reason =
                format!("the client confirmed verdict {number}, but the last one was {}", self.decided);
            return Err((Code::OrderViolated, reason));
        }
        if number <= self.confirmed {
            return Ok(false);
        }
        self.confirmed = number;
        // A duplicate that was under way when its first verdict was confirmed may get none.
        self.free(number);
        Ok(true)
    }

    fn free(&mut self, upto: TxNumber) {
        let bytes = &mut self.in_flight_bytes;
        self.in_flight.retain(|(number, length)| {
            let stays = *number > upto;
            if !stays {
                *bytes -= length;
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use reconvene_model::TxHash;
    use reconvene_model::change::{TxHead, encode_tx};

    use super::*;

    const PEER: PeerId = PeerId(7);

    fn tx(number: TxNumber, ops_bytes: usize) -> Bytes {
        let head = TxHead { origin: PEER, number, previous: TxHash([1; 16]), hlc: 1 };
        encode_tx(&head, &vec![0; ops_bytes]).into()
    }

    fn uploads(txs: usize, bytes: usize) -> Uploads {
        let limits = Limits { upload_window_txs: txs, upload_window_bytes: bytes, ..Limits::default() };
        Uploads::new(PEER, limits, 0, 0)
    }

    #[test]
    fn a_transaction_longer_than_the_window_travels_alone() {
        let mut uploads = uploads(10, 100);
        assert!(uploads.take(vec![tx(1, 500)]).is_ok());
        assert_eq!(uploads.take(vec![tx(2, 0)]).unwrap_err().0, Code::WindowExceeded);
    }

    #[test]
    fn verdicts_give_back_places_and_bytes() {
        let mut uploads = uploads(2, 1000);
        uploads.take(vec![tx(1, 10), tx(2, 10)]).unwrap();
        uploads.settle(1);
        assert_eq!(uploads.in_flight(), 1);
        uploads.take(vec![tx(3, 10)]).unwrap();
        uploads.settle(3);
        assert_eq!((uploads.in_flight(), uploads.in_flight_bytes), (0, 0));
    }

    #[test]
    fn a_duplicate_that_is_confirmed_while_under_way_keeps_no_place() {
        let mut uploads = uploads(2, 1000);
        uploads.take(vec![tx(1, 10)]).unwrap();
        uploads.settle(1);
        uploads.take(vec![tx(1, 10)]).unwrap();
        assert_eq!(uploads.in_flight(), 1);
        assert_eq!(uploads.confirm(1).ok(), Some(true));
        assert_eq!(uploads.in_flight(), 0);
        assert_eq!(uploads.confirm(1).ok(), Some(false));
        assert_eq!(uploads.confirm(2).unwrap_err().0, Code::OrderViolated);
    }
}
