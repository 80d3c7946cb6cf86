//! The side of a compare that asks, and learns what differs.

use std::collections::VecDeque;

use bytes::Bytes;
use reconvene_model::codec::{DecodeError, Reader};
use reconvene_model::compare::{CompareKey, CompareRange, CompareSet, FINGERPRINT_SHORT_BYTES};

use crate::code::Code;
use crate::compare::block::{Answer, Part, encode_ranges, read_answer};
use crate::limits::{COMPARE_DEPTH_MAX, COMPARE_PARTS_MAX, COMPARE_RANGES_MAX, COMPARE_RANGES_SLACK};

/// The client's side of one compare, as a machine without sockets, clock or store.
///
/// The engine takes [`poll`](Self::poll) until `None` and carries out each step. It feeds
/// [`handle_answers`](Self::handle_answers) with what a `Compared` brought and the set, whose fingerprints are made with the
/// salt of the first one, and tells [`handle_fetched`](Self::handle_fetched) of the last `Fetched` of each `Fetch`, once its
/// objects are stored.
///
/// The set must stand for what the client has confirmed of objects that exist. Carrying out steps may change it: no step
/// concerns a range that is yet to be compared. A compare that was cut off is begun anew, and finds only what is left.
///
/// Whatever a server answers, the machine holds at most [`COMPARE_PARTS_MAX`] ranges for each of [`COMPARE_DEPTH_MAX`] depths
/// and the steps of one answer, and asks for no more ranges than the items that the server claims, and some.
#[derive(Debug)]
pub struct Initiator {
    /// What is yet to be compared, the lowest range last.
    open: Vec<Open>,
    /// What was asked for and is not answered, ascending.
    asked: Vec<Open>,
    begun: bool,
    /// How many more ranges may be answered.
    answers_left: u64,
    /// What is yet to be fetched.
    wanted: Vec<CompareRange>,
    /// What the server lacks, to be handed to the engine.
    extra: VecDeque<CompareRange>,
    fetching: bool,
    done: bool,
    progress: CompareProgress,
}

/// A range in which the two sets may differ.
#[derive(Clone, Copy, Debug)]
struct Open {
    range: CompareRange,
    /// How often it was parted.
    depth: u8,
}

/// What an engine does next for a compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompareStep {
    /// It hands this to its session.
    Send(CompareMessage),
    /// The server lacks all objects that the client has confirmed in this range: they left the view or were removed. Undecided
    /// transactions on them stay.
    Extra(CompareRange),
}

/// What a client says during a compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompareMessage {
    /// A question: a block of ranges, empty for the first.
    Compare(Bytes),
    /// A wish for objects: a block of ranges.
    Fetch(Bytes),
    /// Everything was compared and fetched. The engine sends it once all of it is durable; then catch-up follows.
    Done,
}

/// Why a compare cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError<E> {
    /// The server broke a rule; the session ends with this code.
    #[error("{reason}")]
    Violation {
        /// Why, in a word that programs understand.
        code: Code,
        /// Why, for people.
        reason: String,
    },
    /// The client's own set could not be read.
    #[error("the objects of this store cannot be compared: {0}")]
    Set(E),
}

/// How far a compare has come, and what it has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompareProgress {
    /// Questions that were answered.
    pub rounds: u64,
    /// Ranges that were answered.
    pub ranges: u64,
    /// How many objects the server had when it began.
    pub objects: u64,
    /// How many of the objects that the server named the client lacks or has otherwise, so far.
    pub missing: u64,
}

impl Default for Initiator {
    fn default() -> Self {
        Self::new()
    }
}

impl Initiator {
    /// A compare that has yet to begin.
    pub fn new() -> Self {
        Initiator {
            open: vec![Open { range: CompareRange::ALL, depth: 0 }],
            asked: Vec::new(),
            begun: false,
            answers_left: 1,
            wanted: Vec::new(),
            extra: VecDeque::new(),
            fetching: false,
            done: false,
            progress: CompareProgress::default(),
        }
    }

    /// The next thing to do; `None` until something arrives, and for ever after [`CompareMessage::Done`].
    pub fn poll(&mut self) -> Option<CompareStep> {
        if let Some(range) = self.extra.pop_front() {
            return Some(CompareStep::Extra(range));
        }
        // What waits to be fetched holds up new questions, so that it does not grow.
        if self.asked.is_empty() && !self.open.is_empty() && self.wanted.len() < COMPARE_RANGES_MAX {
            return Some(CompareStep::Send(self.ask()));
        }
        if !self.fetching && !self.wanted.is_empty() {
            return Some(CompareStep::Send(self.fetch()));
        }
        let idle = self.open.is_empty() && self.asked.is_empty() && !self.fetching;
        if idle && !self.done {
            self.done = true;
            return Some(CompareStep::Send(CompareMessage::Done));
        }
        None
    }

    /// Takes the answers to the last question.
    ///
    /// # Errors
    ///
    /// [`CompareError::Violation`] if they are none; the compare is over then.
    pub fn handle_answers<S: CompareSet>(
        &mut self,
        answers: &[u8],
        set: &S,
    ) -> Result<(), CompareError<S::Error>> {
        if self.asked.is_empty() {
            return Err(violation(
                Code::KindUnexpected,
                "the server answered a compare that nobody asked for",
            ));
        }
        let asked = std::mem::take(&mut self.asked);
        let mut reader = Reader::new(answers);
        let mut answered = 0;
        let mut parts = 0;
        let mut deeper = Vec::new();
        while !reader.is_empty() {
            let Some(open) = asked.get(answered) else {
                return Err(violation(Code::ContentInvalid, "the server answered more than it was asked"));
            };
            match read_answer(&mut reader, &open.range).map_err(unreadable)? {
                Answer::Items(items) => {
                    if !self.begun {
                        self.begin(items.len() as u64);
                    }
                    self.compare_items(&open.range, &items, set)?;
                }
                Answer::Parts(of_range) => {
                    if !self.begun {
                        self.begin(of_range.iter().fold(0, |sum: u64, part| sum.saturating_add(part.count)));
                    }
                    parts += of_range.len();
                    if parts > COMPARE_PARTS_MAX || open.depth >= COMPARE_DEPTH_MAX {
                        return Err(violation(Code::ContentInvalid, "the server parts ranges without end"));
                    }
                    self.compare_parts(open.depth, &of_range, set, &mut deeper)?;
                }
            }
            answered += 1;
        }
        if answered == 0 {
            return Err(violation(Code::ContentInvalid, "the server answered nothing"));
        }
        self.answers_left = self.answers_left.checked_sub(answered as u64).ok_or_else(|| {
            violation(
                Code::OrderViolated,
                "the server's objects do not come to an end; begin the compare anew",
            )
        })?;
        self.progress.rounds += 1;
        self.progress.ranges += answered as u64;
        // The lowest range must come out first, and questions must ascend.
        self.open.extend(asked[answered..].iter().rev());
        self.open.extend(deeper.iter().rev());
        Ok(())
    }

    /// Notes that everything has come that the last [`CompareMessage::Fetch`] asked for.
    pub fn handle_fetched(&mut self) {
        self.fetching = false;
    }

    /// How far the compare has come.
    pub fn progress(&self) -> CompareProgress {
        self.progress
    }

    /// Whether [`CompareMessage::Done`] was handed out.
    pub fn is_done(&self) -> bool {
        self.done
    }

    fn begin(&mut self, objects: u64) {
        self.begun = true;
        self.progress.objects = objects;
        self.answers_left = objects.saturating_add(COMPARE_RANGES_SLACK);
    }

    fn ask(&mut self) -> CompareMessage {
        let count = self.open.len().min(COMPARE_RANGES_MAX);
        self.asked = self.open.split_off(self.open.len() - count);
        self.asked.reverse();
        if !self.begun {
            return CompareMessage::Compare(Bytes::new());
        }
        let ranges: Vec<CompareRange> = self.asked.iter().map(|open| open.range).collect();
        CompareMessage::Compare(encode_ranges(&ranges).into())
    }

    fn fetch(&mut self) -> CompareMessage {
        self.wanted.sort_unstable_by_key(|range| range.start);
        let rest = self.wanted.split_off(self.wanted.len().min(COMPARE_RANGES_MAX));
        let ranges = std::mem::replace(&mut self.wanted, rest);
        self.fetching = true;
        CompareMessage::Fetch(encode_ranges(&ranges).into())
    }

    /// Compares with the parts of a range that the server parted.
    fn compare_parts<S: CompareSet>(
        &mut self,
        depth: u8,
        parts: &[Part],
        set: &S,
        deeper: &mut Vec<Open>,
    ) -> Result<(), CompareError<S::Error>> {
        for part in parts {
            let own = set.sum(&part.range).map_err(CompareError::Set)?;
            if own.count == 0 {
                self.want(part.range, part.count);
            } else if own.hash() != part.hash {
                deeper.push(Open { range: part.range, depth: depth + 1 });
            }
        }
        Ok(())
    }

    /// Compares with all items that the server has in a range.
    fn compare_items<S: CompareSet>(
        &mut self,
        range: &CompareRange,
        items: &[(CompareKey, [u8; FINGERPRINT_SHORT_BYTES])],
        set: &S,
    ) -> Result<(), CompareError<S::Error>> {
        // Neighbours that are all to be fetched become one range, which may span gaps where nobody has anything.
        let mut span = Span::new(range.start);
        let mut from = Some(range.start);
        for (key, fingerprint) in items {
            if let Some(from) = from {
                let gap = CompareRange::new(from, Some(*key));
                if self.find_extra(gap, set)? {
                    self.close_span(std::mem::replace(&mut span, Span::new(*key)), from);
                }
            }
            let own = set.items(&CompareRange::of(*key), 1).map_err(CompareError::Set)?;
            if own.first().is_some_and(|own| own.fingerprint.short() == *fingerprint) {
                let next = Span::new(key.next().unwrap_or(*key));
                self.close_span(std::mem::replace(&mut span, next), *key);
            } else {
                span.keys += 1;
                span.first.get_or_insert(*key);
            }
            from = key.next();
        }
        let Some(from) = from else {
            self.finish_span(span, None);
            return Ok(());
        };
        let gap = CompareRange::new(from, range.end);
        let extra = self.find_extra(gap, set)?;
        self.finish_span(span, if extra { Some(from) } else { range.end });
        Ok(())
    }

    /// Whether the client has anything in a range where the server has nothing; then it is noted.
    fn find_extra<S: CompareSet>(
        &mut self,
        gap: CompareRange,
        set: &S,
    ) -> Result<bool, CompareError<S::Error>> {
        let extra = !gap.is_empty() && set.sum(&gap).map_err(CompareError::Set)?.count > 0;
        if extra {
            self.extra.push_back(gap);
        }
        Ok(extra)
    }

    fn close_span(&mut self, span: Span, end: CompareKey) {
        self.finish_span(span, Some(end));
    }

    fn finish_span(&mut self, span: Span, end: Option<CompareKey>) {
        match (span.first, span.keys) {
            (None, _) => {}
            (Some(key), 1) => self.want(CompareRange::of(key), 1),
            (Some(_), keys) => self.want(CompareRange::new(span.start, end), keys),
        }
    }

    fn want(&mut self, range: CompareRange, objects: u64) {
        self.progress.missing = self.progress.missing.saturating_add(objects);
        match self.wanted.last_mut() {
            Some(last) if last.end == Some(range.start) => last.end = range.end,
            _ => self.wanted.push(range),
        }
    }
}

/// Keys that follow each other and are all to be fetched.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: CompareKey,
    first: Option<CompareKey>,
    keys: u64,
}

impl Span {
    fn new(start: CompareKey) -> Self {
        Span { start, first: None, keys: 0 }
    }
}

fn unreadable<E>(error: DecodeError) -> CompareError<E> {
    violation(Code::ContentInvalid, &format!("the server's answer to a compare cannot be read: {error}"))
}

fn violation<E>(code: Code, reason: &str) -> CompareError<E> {
    CompareError::Violation { code, reason: reason.to_owned() }
}
