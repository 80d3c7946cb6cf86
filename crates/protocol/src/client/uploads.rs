//! The client's upload window: how much of the outbox is under way, and what may follow.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use bytes::Bytes;
use reconvene_model::TxNumber;

use crate::limits::{ENVELOPE_BYTES_MAX, Limits, UPLOAD_MESSAGE_BYTES, UPLOAD_TXS_MAX};

/// What can be wrong with an answer to [`ClientEvent::SendTxs`](crate::ClientEvent::SendTxs); the session stays as it was, without the answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TxsError {
    /// There was no question.
    #[error("no transactions were asked for; answer each SendTxs once")]
    NotAsked,
    /// The answer holds more than was asked for.
    #[error("{count} transactions were given where at most {max} were asked for")]
    TooMany {
        /// How many there were.
        count: usize,
        /// How many were asked for.
        max: usize,
    },
    /// The numbers do not follow each other.
    #[error(
        "transaction {number} was given where {expected} was due; give them from the asked number without gaps"
    )]
    NotInOrder {
        /// The number that was due.
        expected: TxNumber,
        /// The number that was given.
        number: TxNumber,
    },
    /// A transaction does not fit a message of the server.
    #[error(
        "transaction {number} has {length} bytes and the server takes at most {max}; raise the message limit of the server"
    )]
    TooLong {
        /// Its number.
        number: TxNumber,
        /// Its length in bytes.
        length: usize,
        /// The most bytes that the server takes.
        max: usize,
    },
}

/// What the engine is asked for: transactions from `from` upwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) from: TxNumber,
    pub(super) txs_max: usize,
    pub(super) bytes_max: usize,
}

#[derive(Debug)]
pub(super) struct UploadWindow {
    limits: Limits,
    /// The highest number with a verdict.
    decided: TxNumber,
    /// The highest number that was sent or is ready to be.
    taken: TxNumber,
    /// Taken over from the engine and not sent yet.
    ready: VecDeque<(TxNumber, Bytes)>,
    /// Sent and without verdict: number and length.
    in_flight: VecDeque<(TxNumber, usize)>,
    in_flight_bytes: usize,
    asked: Option<Ask>,
    /// Whether the outbox may hold more than was taken.
    more: bool,
}

impl UploadWindow {
    pub(super) fn new(limits: Limits, decided: TxNumber) -> Self {
        UploadWindow {
            limits: Limits { upload_window_txs: limits.upload_window_txs.min(UPLOAD_TXS_MAX), ..limits },
            decided,
            taken: decided,
            ready: VecDeque::new(),
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            asked: None,
            more: true,
        }
    }

    pub(super) fn decided(&self) -> TxNumber {
        self.decided
    }

    /// The highest number that was sent.
    pub(super) fn sent(&self) -> TxNumber {
        self.ready.front().map_or(self.taken, |(number, _)| number - 1)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) fn outbox_grew(&mut self) {
        self.more = true;
    }

    /// What to ask the engine for, once per answer.
    pub(super) fn ask(&mut self) -> Option<Ask> {
        if self.asked.is_some() || !self.more || !self.ready.is_empty() {
            return None;
        }
        let ask = Ask {
            from: self.taken + 1,
            txs_max: self.limits.upload_window_txs.saturating_sub(self.in_flight.len()),
            bytes_max: self.limits.upload_window_bytes.saturating_sub(self.in_flight_bytes),
        };
        if ask.txs_max == 0 || ask.bytes_max == 0 {
            return None;
        }
        self.asked = Some(ask);
        // Set again by a commit that falls between this question and its answer.
        self.more = false;
        Some(ask)
    }

    pub(super) fn answer(&mut self, txs: Vec<(TxNumber, Bytes)>) -> Result<(), TxsError> {
        let ask = self.asked.take().ok_or(TxsError::NotAsked)?;
        if txs.len() > ask.txs_max {
            return Err(TxsError::TooMany { count: txs.len(), max: ask.txs_max });
        }
        let max = self.limits.message_bytes_max.saturating_sub(ENVELOPE_BYTES_MAX);
        for (expected, (number, tx)) in (ask.from..).zip(&txs) {
            if *number != expected {
                return Err(TxsError::NotInOrder { expected, number: *number });
            }
            if tx.len() > max {
                return Err(TxsError::TooLong { number: *number, length: tx.len(), max });
            }
        }
        self.more |= !txs.is_empty();
        // A verdict may have overtaken the question: what an earlier connection carried needs no second journey.
        self.ready.extend(txs.into_iter().filter(|(number, _)| *number > self.taken));
        if let Some((number, _)) = self.ready.back() {
            self.taken = *number;
        }
        Ok(())
    }

    /// The next message, as full as the window and the message limit allow.
    pub(super) fn next_upload(&mut self) -> Option<Vec<Bytes>> {
        let message_bytes = self.limits.message_bytes_max.min(UPLOAD_MESSAGE_BYTES);
        let mut txs = Vec::new();
        let mut bytes = ENVELOPE_BYTES_MAX;
        while let Some((_, tx)) = self.ready.front() {
            let fits = self.in_flight.is_empty()
                || (self.in_flight.len() < self.limits.upload_window_txs
                    && self.in_flight_bytes + tx.len() <= self.limits.upload_window_bytes);
            let framed = tx.len() + ENVELOPE_BYTES_MAX;
            if !fits || (!txs.is_empty() && bytes + framed > message_bytes) {
                break;
            }
            let (number, tx) = self.ready.pop_front().expect("the loop has just looked at it");
            bytes += framed;
            self.in_flight_bytes += tx.len();
            self.in_flight.push_back((number, tx.len()));
            txs.push(tx);
        }
        (!txs.is_empty()).then_some(txs)
    }

    /// The numbers that a verdict can be about: decided ones again, or the next one that this client has written.
    pub(super) fn expected(&self, last_number: TxNumber) -> RangeInclusive<TxNumber> {
        1..=(self.decided + 1).min(self.sent().max(last_number).max(self.decided))
    }

    /// Notes a verdict and returns whether it is the first one for its number.
    pub(super) fn verdict(&mut self, number: TxNumber) -> bool {
        if number <= self.decided {
            return false;
        }
        self.decided = number;
        while let Some((_, length)) = self.in_flight.pop_front_if(|(sent, _)| *sent <= number) {
            self.in_flight_bytes -= length;
        }
        while self.ready.pop_front_if(|(ready, _)| *ready <= number).is_some() {}
        self.taken = self.taken.max(number);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(txs: usize, bytes: usize) -> UploadWindow {
        let limits = Limits { upload_window_txs: txs, upload_window_bytes: bytes, ..Limits::default() };
        UploadWindow::new(limits, 0)
    }

    fn txs(numbers: RangeInclusive<TxNumber>, bytes: usize) -> Vec<(TxNumber, Bytes)> {
        numbers.map(|number| (number, vec![number as u8; bytes].into())).collect()
    }

    fn first_bytes(upload: Option<Vec<Bytes>>) -> Vec<u8> {
        upload.into_iter().flatten().map(|tx| tx[0]).collect()
    }

    #[test]
    fn a_verdict_that_overtakes_an_answer_saves_the_journey() {
        let mut window = window(10, 1000);
        assert_eq!(window.ask().map(|ask| ask.from), Some(1));
        // An earlier connection had carried 1 and 2; their verdicts come while the engine still reads the outbox.
        assert!(window.verdict(1) && window.verdict(2));
        window.answer(txs(1..=4, 10)).unwrap();
        assert_eq!(first_bytes(window.next_upload()), [3, 4]);
        assert_eq!(window.sent(), 4);
        assert_eq!(window.ask().map(|ask| ask.from), Some(5));
    }

    #[test]
    fn a_verdict_on_what_is_ready_takes_it_out() {
        let mut window = window(10, 20);
        window.ask();
        window.answer(txs(1..=3, 20)).unwrap();
        assert_eq!(first_bytes(window.next_upload()), [1]);
        assert!(first_bytes(window.next_upload()).is_empty());
        assert!(window.verdict(1) && window.verdict(2));
        assert_eq!(first_bytes(window.next_upload()), [3]);
        assert_eq!(window.in_flight(), 1);
        assert!(window.verdict(3) && !window.verdict(3));
        assert_eq!((window.in_flight(), window.in_flight_bytes), (0, 0));
    }

    #[test]
    fn a_verdict_beyond_an_empty_outbox_moves_the_next_question() {
        let mut window = window(10, 1000);
        window.ask();
        window.answer(vec![]).unwrap();
        assert_eq!(window.ask(), None);
        assert!(window.verdict(1));
        window.outbox_grew();
        assert_eq!(window.ask().map(|ask| ask.from), Some(2));
    }

    #[test]
    fn only_numbers_that_this_client_wrote_are_expected() {
        let mut window = window(10, 1000);
        assert!(!window.expected(0).contains(&1), "nothing was written");
        assert!(window.expected(2).contains(&1), "written before the login");
        window.ask();
        window.answer(txs(1..=2, 10)).unwrap();
        assert!(!window.expected(0).contains(&1), "not sent yet");
        window.next_upload();
        assert!(window.expected(0).contains(&1) && !window.expected(0).contains(&2));
    }
}
