//! A compare as a device drives it: its own set, and the machine that finds what differs.

use reconvene_model::Seq;
use reconvene_model::compare::{CompareRange, SortedItems};
use reconvene_protocol::compare::{CompareError, CompareMessage, CompareProgress, CompareStep, Initiator};
use reconvene_protocol::{Code, CompareBegun};
use reconvene_store::SyncHandle;

use crate::driver::Problem;

/// A compare that is under way.
#[derive(Default)]
pub(crate) struct Compare {
    initiator: Initiator,
    /// What was confirmed here when it began, and what it is worth.
    begun: Option<(SortedItems, Seq)>,
}

/// What a device does next for a compare.
pub(crate) enum Step {
    Send(CompareMessage),
    /// The server has nothing in this range.
    Extra(CompareRange),
    /// Everything that came before is to be made durable, the cursor at this position with it; then the message is sent.
    Done {
        seq: Seq,
        message: CompareMessage,
    },
}

impl Compare {
    /// Takes the answers to the last question; the first of them brings the salt with which the device makes its own set.
    pub(crate) fn handle_answers(
        &mut self,
        sync: &SyncHandle,
        begun: Option<CompareBegun>,
        answers: &[u8],
    ) -> Result<(), Problem> {
        if let Some(CompareBegun { seq, salt }) = begun {
            let (items, _) = sync.compare_items(&salt)?;
            self.begun = Some((items, seq));
        }
        let Some((items, _)) = &self.begun else { return Err(Problem::failed("the compare has not begun")) };
        self.initiator.handle_answers(answers, items).map_err(|error| match error {
            CompareError::Violation { code, reason } => Problem { code, reason },
            error => Problem { code: Code::ClientFailed, reason: error.to_string() },
        })
    }

    /// Notes that all is stored that the last wish asked for.
    pub(crate) fn handle_fetched(&mut self) {
        self.initiator.handle_fetched();
    }

    pub(crate) fn progress(&self) -> CompareProgress {
        self.initiator.progress()
    }

    /// The next step; `None` until something arrives.
    pub(crate) fn next(&mut self) -> Option<Step> {
        Some(match self.initiator.poll()? {
            CompareStep::Extra(range) => Step::Extra(range),
            CompareStep::Send(CompareMessage::Done) => {
                // The machine is done only after an answer, and the first one brought it.
                let (_, seq) = self.begun.take()?;
                Step::Done { seq, message: CompareMessage::Done }
            }
            CompareStep::Send(message) => Step::Send(message),
        })
    }
}
