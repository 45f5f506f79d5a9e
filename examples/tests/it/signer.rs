//! Whoever signs tokens: key pairs that live as long as a test.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING};
use aws_lc_rs::signature::{EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use pem::{Pem, encode as to_pem};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// The year 2100.
pub const LATER: u64 = 4_102_444_800;

pub fn seconds_from_now(seconds: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("after 1970").as_secs() + seconds
}

/// Claims that are good for ages.
pub fn claims(user: &str) -> Value {
    json!({ "sub": user, "exp": LATER })
}

/// A key pair, and the algorithm that it is for.
pub struct Signer {
    pub algorithm: Algorithm,
    key: EncodingKey,
    pub private_pem: String,
    pub public_pem: String,
}

impl Signer {
    pub fn rsa() -> Self {
        Self::rsa_of(KeySize::Rsa2048)
    }

    pub fn rsa_of(size: KeySize) -> Self {
        let pair = RsaKeyPair::generate(size).expect("generated");
        let private: Pkcs8V1Der = pair.as_der().expect("PKCS 8");
        let public: PublicKeyX509Der = pair.public_key().as_der().expect("X.509");
        Self::of(Algorithm::RS256, private.as_ref(), public.as_ref())
    }

    pub fn p256() -> Self {
        Self::ec(Algorithm::ES256, &ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    pub fn p384() -> Self {
        Self::ec(Algorithm::ES384, &ECDSA_P384_SHA384_FIXED_SIGNING)
    }

    fn ec(algorithm: Algorithm, curve: &'static EcdsaSigningAlgorithm) -> Self {
        let pair = EcdsaKeyPair::generate(curve).expect("generated");
        let private = pair.to_pkcs8v1().expect("PKCS 8");
        let public: PublicKeyX509Der = pair.public_key().as_der().expect("X.509");
        Self::of(algorithm, private.as_ref(), public.as_ref())
    }

    pub fn ed25519() -> Self {
        let pair = Ed25519KeyPair::generate().expect("generated");
        let private = pair.to_pkcs8v1().expect("PKCS 8");
        let public: PublicKeyX509Der = pair.public_key().as_der().expect("X.509");
        Self::of(Algorithm::EdDSA, private.as_ref(), public.as_ref())
    }

    fn of(algorithm: Algorithm, private: &[u8], public: &[u8]) -> Self {
        let private_pem = to_pem(&Pem::new("PRIVATE KEY", private));
        let text = private_pem.as_bytes();
        let key = match algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_pem(text),
            Algorithm::EdDSA => EncodingKey::from_ed_pem(text),
            _ => EncodingKey::from_ec_pem(text),
        };
        Self {
            algorithm,
            key: key.expect("a private key"),
            private_pem,
            public_pem: to_pem(&Pem::new("PUBLIC KEY", public)),
        }
    }

    /// A token that names this key, if it has a name.
    pub fn token(&self, key_id: Option<&str>, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = key_id.map(str::to_owned);
        encode(&header, claims, &self.key).expect("claims can be signed")
    }

    /// The public half as an entry of a set.
    pub fn jwk(&self, key_id: &str) -> Value {
        let mut entry = Jwk::from_encoding_key(&self.key, self.algorithm).expect("a public key");
        entry.common.key_id = Some(key_id.to_owned());
        serde_json::to_value(entry).expect("JSON")
    }
}

/// A set of such entries.
pub fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}
