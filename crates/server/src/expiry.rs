//! Forgetting removals that every device has had long enough to hear of, in small steps beside everything else.

use std::sync::Arc;
use std::time::Duration;

use crate::shared::Shared;

/// How often at least it is looked for what is old enough.
const PAUSE_MAX: Duration = Duration::from_secs(60 * 60);

/// How often at most.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// How many times in a term it is looked.
const LOOKS_PER_TERM: u32 = 64;

/// Forgets what is older than the term, until the server drains.
pub(crate) async fn run(shared: Arc<Shared>, term: Duration) {
    let mut draining = shared.draining.subscribe();
    let pause = (term / LOOKS_PER_TERM).clamp(PAUSE_MIN, PAUSE_MAX);
    while !*draining.borrow_and_update() {
        let sync = shared.sync.clone();
        let step = tokio::task::spawn_blocking(move || sync.expire(term));
        let expired = match step.await {
            Ok(Ok(expired)) => expired,
            Ok(Err(error)) => {
                tracing::error!(%error, "old removals could not be forgotten; it is tried again");
                Default::default()
            }
            Err(_) => return,
        };
        if expired.removals > 0 {
            tracing::info!(removals = expired.removals, "old removals were forgotten");
        }
        // Between two steps others get to write.
        let pause = if expired.is_more { PAUSE_MIN } else { pause };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = draining.changed() => {}
        }
    }
}
