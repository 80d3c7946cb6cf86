//! What a server may send to a client that is logged in, and in which order.

use reconvene_model::{Seq, TxNumber};

use crate::client::{ClientEvent, LoggedIn, Violation};
use crate::code::Code;
use crate::message::{Message, PushedContent, Verdict};

impl LoggedIn {
    /// What a message asks of the engine; `last_number` is the client's last number when it logged in.
    pub(super) fn handle(
        &mut self,
        message: Message,
        last_number: TxNumber,
    ) -> Result<Option<ClientEvent>, Violation> {
        match message {
            Message::Verdicts(verdicts) => self.verdicts(verdicts, last_number),
            Message::Compared { begun, answers } => self.compared(begun, answers),
            Message::Fetched { states, last } => self.fetched(states, last),
            Message::CatchUp { .. } | Message::CatchUpDone(_) | Message::Push(_)
                if self.comparing.is_some() =>
            {
                Err(unexpected(format!("{} before the compare was complete", message.name())))
            }
            Message::CatchUp { states, upto_seq, resume } => {
                // A chunk that ends within a Seq names the one before, once more.
                if upto_seq < self.seq {
                    return Err(disorder(format!("CatchUp names Seq {upto_seq} after {}", self.seq)));
                }
                self.seq = upto_seq;
                // A server that fell back to catch-up, since this client was slow, is not violating anything.
                self.catching_up = true;
                Ok(Some(ClientEvent::CatchUp { states, upto_seq, resume }))
            }
            Message::CatchUpDone(seq) => {
                if !self.catching_up {
                    return Err(unexpected("CatchUpDone without a catch-up"));
                }
                if seq < self.seq {
                    return Err(disorder(format!("CatchUpDone names Seq {seq} after {}", self.seq)));
                }
                self.seq = seq;
                self.catching_up = false;
                Ok(Some(ClientEvent::CatchUpDone(seq)))
            }
            Message::Push(txs) => {
                if self.catching_up {
                    return Err(unexpected("Push before CatchUpDone"));
                }
                let written = self.uploads.sent().max(last_number);
                for tx in &txs {
                    self.advance(tx.seq)?;
                    if let PushedContent::Own { number } = tx.content
                        && number > written
                    {
                        return Err(disorder(format!(
                            "Push says that this client wrote transaction {number}, which it did not"
                        )));
                    }
                }
                Ok((!txs.is_empty()).then_some(ClientEvent::Pushed(txs)))
            }
            Message::Ping(token) => {
                self.heartbeat.asked(token);
                Ok(None)
            }
            Message::Pong(_) => Ok(None),
            Message::Probed(outcome) => self.probed(outcome),
            message => Err(unexpected(format!("{} in a session that is logged in", message.name()))),
        }
    }

    fn verdicts(
        &mut self,
        verdicts: Vec<Verdict>,
        last_number: TxNumber,
    ) -> Result<Option<ClientEvent>, Violation> {
        let mut fresh = Vec::with_capacity(verdicts.len());
        for verdict in verdicts {
            if !self.uploads.expected(last_number).contains(&verdict.number) {
                return Err(disorder(format!(
                    "a verdict on transaction {} came after the one on {}",
                    verdict.number,
                    self.uploads.decided()
                )));
            }
            if self.uploads.verdict(verdict.number) {
                fresh.push(verdict);
            } else {
                // It was decided before, in this session or at its login; the server may not know that it was heard.
                self.confirm |= verdict.number <= self.confirmed;
            }
        }
        Ok((!fresh.is_empty()).then_some(ClientEvent::Verdicts(fresh)))
    }

    fn advance(&mut self, seq: Seq) -> Result<(), Violation> {
        if seq <= self.seq {
            return Err(disorder(format!("Seq {seq} arrived after {}", self.seq)));
        }
        self.seq = seq;
        Ok(())
    }
}

fn unexpected(what: impl Into<String>) -> Violation {
    (Code::KindUnexpected, format!("the server sent {}", what.into()))
}

fn disorder(what: String) -> Violation {
    (Code::OrderViolated, format!("the server sent things out of order: {what}"))
}
