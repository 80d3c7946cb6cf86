//! Nonces, proofs and secrets: how the two sides of a login know each other.
//!
//! The server opens with a nonce that it never used before. The client signs it with its key, and proves each secret by a
//! keyed hash over it, so that nothing that was overheard once opens a second session, and no secret ever travels.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use reconvene_model::identity::{PeerKey, verify};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The number of bytes of a [`Nonce`].
pub const NONCE_BYTES: usize = 32;

/// Random bytes that a server makes anew for each connection, from a cryptographic random number generator.
pub type Nonce = [u8; NONCE_BYTES];

/// The number of bytes of a public key.
pub const PUBLIC_KEY_BYTES: usize = PeerKey::BYTES;

/// The number of bytes of a signature.
pub const SIGNATURE_BYTES: usize = PeerKey::SIGNATURE_BYTES;

/// The number of bytes of the proof of a shared secret.
pub const PROOF_BYTES: usize = 32;

const LOGIN_PURPOSE: &[u8] = b"reconvene login 1";
const SECRET_PURPOSE: &[u8] = b"reconvene secret 1";

/// A secret that a server and its clients share; it shows in no debug print and is wiped from memory when dropped.
///
/// ```
/// use reconvene_protocol::Secret;
///
/// let secret = Secret::new("open sesame");
/// assert_eq!(format!("{secret:?}"), "Secret(redacted)");
/// ```
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over the bytes, or the UTF-8 of a text.
    pub fn new(secret: impl Into<Vec<u8>>) -> Self {
        Secret(Zeroizing::new(secret.into()))
    }

    /// The secret itself, to be stored where only its owner can read it.
    pub fn expose_secret(&self) -> &[u8] {
        &self.0
    }

    /// Proves to the giver of the nonce that the owner of the key knows the secret, without telling it.
    pub fn prove(&self, nonce: &Nonce, public_key: &[u8; PUBLIC_KEY_BYTES]) -> [u8; PROOF_BYTES] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of every length, even none");
        mac.update(SECRET_PURPOSE);
        mac.update(nonce);
        mac.update(public_key);
        mac.finalize().into_bytes().into()
    }

    /// Whether a proof is of this secret, this nonce and this key; takes the same time for every proof.
    pub fn proves(
        &self,
        nonce: &Nonce,
        public_key: &[u8; PUBLIC_KEY_BYTES],
        proof: &[u8; PROOF_BYTES],
    ) -> bool {
        self.prove(nonce, public_key).ct_eq(proof).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// What a client shows beside its key.
#[derive(Clone, Debug)]
pub enum Credential {
    /// Nothing: for servers that ask for nothing.
    None,
    /// The secret that the server shares with its clients.
    SharedSecret(Secret),
}

impl Credential {
    /// What travels of it.
    pub fn prove(&self, nonce: &Nonce, public_key: &[u8; PUBLIC_KEY_BYTES]) -> CredentialProof {
        match self {
            Credential::None => CredentialProof::None,
            Credential::SharedSecret(secret) => {
                CredentialProof::SharedSecret(secret.prove(nonce, public_key))
            }
        }
    }
}

/// What travels of a [`Credential`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialProof {
    /// The client offers nothing.
    None,
    /// HMAC-SHA256 with the secret as key, as [`Secret::prove`] makes it.
    SharedSecret([u8; PROOF_BYTES]),
    /// A kind that a newer release knows; it counts as not given.
    Unknown,
}

/// Signs a login for the connection with this nonce.
pub fn sign_login(key: &PeerKey, nonce: &Nonce) -> [u8; SIGNATURE_BYTES] {
    key.sign(&login_words(nonce, &key.public()))
}

/// Whether the owner of the public key signed a login for the connection with this nonce.
pub fn verify_login(
    public_key: &[u8; PUBLIC_KEY_BYTES],
    nonce: &Nonce,
    signature: &[u8; SIGNATURE_BYTES],
) -> bool {
    verify(public_key, &login_words(nonce, public_key), signature)
}

fn login_words(nonce: &Nonce, public_key: &[u8; PUBLIC_KEY_BYTES]) -> Vec<u8> {
    [LOGIN_PURPOSE, nonce, public_key].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_one_secret_one_nonce_and_one_key() {
        let secret = Secret::new("open sesame");
        let (nonce, key) = ([1; NONCE_BYTES], [2; PUBLIC_KEY_BYTES]);
        let proof = secret.prove(&nonce, &key);
        assert!(secret.proves(&nonce, &key, &proof));
        assert!(!Secret::new("open barley").proves(&nonce, &key, &proof));
        assert!(!secret.proves(&[3; NONCE_BYTES], &key, &proof));
        assert!(!secret.proves(&nonce, &[3; PUBLIC_KEY_BYTES], &proof));
        let mut bent = proof;
        bent[31] ^= 1;
        assert!(!secret.proves(&nonce, &key, &bent));
    }

    #[test]
    fn the_hash_is_hmac_sha256() {
        // RFC 4231, test case 2, through the same calls as a proof.
        let mut mac = Hmac::<Sha256>::new_from_slice(b"Jefe").unwrap();
        mac.update(b"what do ya want ");
        mac.update(b"for nothing?");
        let hash: [u8; 32] = mac.finalize().into_bytes().into();
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn a_signature_holds_for_one_key_and_one_nonce() {
        let key = PeerKey::from_secret([7; 32]);
        let signature = sign_login(&key, &[1; NONCE_BYTES]);
        assert!(verify_login(&key.public(), &[1; NONCE_BYTES], &signature));
        assert!(!verify_login(&key.public(), &[2; NONCE_BYTES], &signature));
        assert!(!verify_login(&PeerKey::from_secret([8; 32]).public(), &[1; NONCE_BYTES], &signature));
    }

    #[test]
    fn secrets_stay_out_of_debug_prints() {
        let credential = Credential::SharedSecret(Secret::new("open sesame"));
        assert_eq!(format!("{credential:?}"), "SharedSecret(Secret(redacted))");
    }
}
