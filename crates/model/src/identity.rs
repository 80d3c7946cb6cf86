//! The key that makes a store a peer: it names the peer, and its signature proves the name.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::ids::PeerId;

/// The Ed25519 key pair of a store.
///
/// The secret half shows in no debug print and is wiped from memory when the key is dropped.
///
/// ```
/// use reconvene_model::identity::{PeerKey, peer_of, verify};
///
/// let key = PeerKey::from_secret([7; 32]);
/// let signature = key.sign(b"nonce");
/// assert!(verify(&key.public(), b"nonce", &signature));
/// assert_eq!(peer_of(&key.public()), key.peer());
/// ```
#[derive(Clone)]
pub struct PeerKey {
    signing: SigningKey,
    peer: PeerId,
}

impl PeerKey {
    /// The number of bytes of the secret and of the public half.
    pub const BYTES: usize = 32;

    /// The number of bytes of a signature.
    pub const SIGNATURE_BYTES: usize = 64;

    /// The key of this secret: 32 bytes from a cryptographic random number generator.
    pub fn from_secret(secret: [u8; Self::BYTES]) -> Self {
        let secret = Zeroizing::new(secret);
        let signing = SigningKey::from_bytes(&secret);
        let peer = peer_of(signing.verifying_key().as_bytes());
        PeerKey { signing, peer }
    }

    /// The public half.
    pub fn public(&self) -> [u8; Self::BYTES] {
        self.signing.verifying_key().to_bytes()
    }

    /// Who signs with this key.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// The signature of a message; the same for the same message.
    ///
    /// A message that is signed for one purpose should begin with a name of that purpose, so that it serves no other.
    pub fn sign(&self, message: &[u8]) -> [u8; Self::SIGNATURE_BYTES] {
        self.signing.sign(message).to_bytes()
    }

    /// The secret half, to be stored where only the store's owner can read it; the copy wipes itself when dropped.
    pub fn expose_secret(&self) -> Zeroizing<[u8; Self::BYTES]> {
        Zeroizing::new(self.signing.to_bytes())
    }
}

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerKey").field("peer", &self.peer).field("secret", &"redacted").finish()
    }
}

/// Whether `signature` over `message` was made with the secret half of `public`.
///
/// Strict: keys of small order and malleable encodings are refused, so that all peers agree on every signature.
pub fn verify(
    public: &[u8; PeerKey::BYTES],
    message: &[u8],
    signature: &[u8; PeerKey::SIGNATURE_BYTES],
) -> bool {
    VerifyingKey::from_bytes(public)
        .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}

/// The peer of this public key: the first 8 bytes, big-endian, of its BLAKE3 hash, or 1 should they be 0.
pub fn peer_of(public: &[u8; PeerKey::BYTES]) -> PeerId {
    let mut head = [0; 8];
    head.copy_from_slice(&blake3::hash(public).as_bytes()[..8]);
    // Zero names nobody, and no honest key may be nobody.
    PeerId(u64::from_be_bytes(head).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn unhex<const N: usize>(text: &str) -> [u8; N] {
        let mut bytes = [0; N];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
        }
        bytes
    }

    /// The second test vector of RFC 8032, section 7.1.
    #[test]
    fn signs_like_the_standard() {
        let key =
            PeerKey::from_secret(unhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"));
        assert_eq!(hex(&key.public()), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let expected = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                        085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
        assert_eq!(hex(&key.sign(&[0x72])), expected);
        assert!(verify(&key.public(), &[0x72], &unhex(expected)));
    }

    #[test]
    fn another_message_key_or_signature_is_refused() {
        let key = PeerKey::from_secret([1; 32]);
        let other = PeerKey::from_secret([2; 32]);
        let signature = key.sign(b"message");
        assert!(verify(&key.public(), b"message", &signature));
        assert!(!verify(&key.public(), b"massage", &signature));
        assert!(!verify(&other.public(), b"message", &signature));
        for at in 0..signature.len() {
            let mut wrong = signature;
            wrong[at] ^= 1;
            assert!(!verify(&key.public(), b"message", &wrong), "byte {at}");
        }
    }

    /// With a key of small order, the all-zero scalar would sign any message if verification were lenient.
    #[test]
    fn keys_of_small_order_are_refused() {
        let identity_point: [u8; 32] = std::array::from_fn(|at| u8::from(at == 0));
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&identity_point);
        assert!(!verify(&identity_point, b"anything", &signature));
    }

    #[test]
    fn the_secret_shows_in_no_debug_print_and_survives_storing() {
        let key = PeerKey::from_secret([0xab; 32]);
        let shown = format!("{key:?}");
        assert!(shown.contains("redacted") && shown.contains(&key.peer().to_string()));
        assert!(!shown.contains("171") && !shown.to_lowercase().contains("abab"));
        assert_eq!(PeerKey::from_secret(*key.expose_secret()).peer(), key.peer());
    }

    #[test]
    fn a_peer_is_the_head_of_its_hash() {
        let public = PeerKey::from_secret([3; 32]).public();
        assert_eq!(peer_of(&public).to_string(), hex(&blake3::hash(&public).as_bytes()[..8]));
    }
}
