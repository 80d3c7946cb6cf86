//! Two sets, and a compare of them by the real machines.

use std::collections::BTreeMap;

use reconvene_model::compare::{
    CompareKey, CompareRange, CompareSet, Fingerprinter, Salt, SortedItems, SortedItemsBuilder,
};
use reconvene_model::{GlobalId, PeerId, Stamp, Uid};
use reconvene_protocol::compare::{CompareMessage, CompareStep, Initiator, answer, decode_ranges};
use reconvene_protocol::limits::{COMPARE_PARTS_MAX, MESSAGE_BYTES_MAX};

pub(crate) const SALT: Salt = [5; 32];

/// What an object is: its generation and the clock reading of its one property.
pub(crate) type State = (u64, u64);

/// The objects of one side.
pub(crate) type Objects = BTreeMap<CompareKey, State>;

pub(crate) fn key(entity: u64, origin: u64, counter: u64) -> CompareKey {
    CompareKey::new(Uid(entity), GlobalId::new(PeerId(origin), counter))
}

pub(crate) fn set(objects: &Objects) -> SortedItems {
    let mut fingerprints = Fingerprinter::new(&SALT);
    let mut builder = SortedItemsBuilder::with_capacity(objects.len());
    for (&key, &(generation, hlc)) in objects {
        let stamps = [(Uid(9), Stamp::new(hlc, PeerId(1)))];
        builder.push(key, fingerprints.object(key, generation, stamps));
    }
    builder.finish().unwrap()
}

/// The objects of a side that lie in a range.
pub(crate) fn within(objects: &Objects, range: &CompareRange) -> Vec<(CompareKey, State)> {
    let from = objects.range(range.start..);
    from.take_while(|(key, _)| range.contains(**key)).map(|(key, state)| (*key, *state)).collect()
}

/// What a compare found and cost.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) fetch: Vec<CompareRange>,
    pub(crate) extra: Vec<CompareRange>,
    pub(crate) rounds: u64,
    pub(crate) fetches: u64,
    /// Bytes of questions and of wishes, and bytes of answers; without the objects themselves.
    pub(crate) bytes_up: usize,
    pub(crate) bytes_down: usize,
    /// The longest answer.
    pub(crate) answer_bytes_max: usize,
}

/// Compares a client with a server that does not change.
pub(crate) fn compare(
    client: &impl CompareSet<Error = std::convert::Infallible>,
    server: &SortedItems,
) -> Outcome {
    compare_with(client, MESSAGE_BYTES_MAX, |asked, bytes_max| answer(server, asked, bytes_max).unwrap())
}

pub(crate) fn compare_with(
    client: &impl CompareSet<Error = std::convert::Infallible>,
    message_bytes_max: usize,
    mut server: impl FnMut(&[CompareRange], usize) -> Vec<u8>,
) -> Outcome {
    let mut initiator = Initiator::new();
    let mut outcome = Outcome::default();
    while let Some(step) = initiator.poll() {
        match step {
            CompareStep::Extra(range) => outcome.extra.push(range),
            CompareStep::Send(CompareMessage::Compare(block)) => {
                let asked =
                    if block.is_empty() { vec![CompareRange::ALL] } else { decode_ranges(&block).unwrap() };
                let answers = server(&asked, message_bytes_max);
                outcome.bytes_up += block.len();
                outcome.bytes_down += answers.len();
                outcome.answer_bytes_max = outcome.answer_bytes_max.max(answers.len());
                outcome.rounds += 1;
                initiator.handle_answers(&answers, client).unwrap();
            }
            CompareStep::Send(CompareMessage::Fetch(block)) => {
                outcome.bytes_up += block.len();
                outcome.fetches += 1;
                outcome.fetch.extend(decode_ranges(&block).unwrap());
                initiator.handle_fetched();
            }
            CompareStep::Send(CompareMessage::Done) => {}
        }
    }
    assert!(initiator.is_done());
    assert_eq!(initiator.progress().rounds, outcome.rounds);
    outcome
}

/// Whether the outcome makes the client what the server is, and concerns nothing else.
pub(crate) fn assert_exact(client: &Objects, server: &Objects, outcome: &Outcome) {
    let mut result = client.clone();
    let mut needless = 0;
    for range in &outcome.extra {
        let found = within(client, range);
        assert!(!found.is_empty(), "{range:?} holds nothing extra");
        for (key, _) in found {
            assert!(result.remove(&key).is_some(), "{key} is extra twice");
        }
    }
    for range in &outcome.fetch {
        assert!(within(&result, range).iter().all(|(key, _)| server.contains_key(key)), "{range:?}");
        for (key, state) in within(server, range) {
            needless += usize::from(client.get(&key) == Some(&state));
            result.insert(key, state);
        }
    }
    assert_eq!(needless, 0, "objects are fetched that the client has");
    assert!(result == *server, "the client ends as the server");
    assert!(outcome.answer_bytes_max <= COMPARE_PARTS_MAX * 64);
}
