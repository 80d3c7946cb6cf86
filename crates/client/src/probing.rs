//! How often a device tells the server digests of what it has.

use reconvene_protocol::ClientConfig;
use reconvene_store::SyncHandle;

/// How often the pause between digests is doubled at most.
const DOUBLED_MAX: u32 = 7;

/// Lets pauses grow while the server is found again and again to have something else: each time costs a compare, and what is found
/// so often is not put right by another one.
pub(crate) fn paced(config: ClientConfig, sync: &SyncHandle) -> ClientConfig {
    let factor = 1 << sync.divergences().min(DOUBLED_MAX);
    ClientConfig { probe_interval: config.probe_interval.saturating_mul(factor), ..config }
}
