//! The hash of contents: BLAKE3, fed piece by piece.

/// A running BLAKE3 hash.
///
/// ```
/// let mut digest = reconvene_model::digest::Digest::default();
/// digest.update(b"one");
/// digest.update(b"two");
/// assert_eq!(digest.finalize(), reconvene_model::digest::Digest::of(b"onetwo"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Digest(blake3::Hasher);

impl Digest {
    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> [u8; 32] {
        *blake3::hash(bytes).as_bytes()
    }

    /// Adds bytes at the end.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of everything added.
    pub fn finalize(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}
