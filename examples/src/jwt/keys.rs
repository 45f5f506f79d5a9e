//! The keys that tokens are judged by: a secret, a public key in PEM, or a set in JSON (RFC 7517).
//!
//! What is no good is refused here, before anybody connects. A key knows its algorithm from the moment it is read, so no
//! token can have a public key used as a secret.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::Value;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// RFC 7518, 3.2: a secret is at least as long as the hash; a shorter one can be guessed offline from one token.
const SECRET_BYTES_MIN: usize = 32;

/// RFC 7518, 3.3: 2,048 bits.
const RSA_BYTES_MIN: usize = 256;

/// A point of P-256: a byte that says how it is written, and two coordinates.
const P256_BYTES: usize = 65;

/// The keys that tokens may be signed with; it prints their names and algorithms only.
pub struct Keys(Vec<Key>);

/// One key, with the only algorithm that it is used for.
pub(super) struct Key {
    id: Option<String>,
    pub algorithm: Algorithm,
    pub decoding: DecodingKey,
}

impl Keys {
    /// A secret that the host shares with whoever signs: HS256.
    ///
    /// # Errors
    /// When it can be guessed, or is no secret but a key in PEM, which others may know.
    pub fn secret(text: &KeyText) -> Result<Self, KeyProblem> {
        if text.0.trim_start().starts_with("-----BEGIN") {
            return Err(KeyProblem::PemAsSecret);
        }
        if text.0.len() < SECRET_BYTES_MIN {
            return Err(KeyProblem::Short(text.0.len()));
        }
        Ok(Self::one(Algorithm::HS256, DecodingKey::from_secret(text.0.as_bytes())))
    }

    /// A public key: RS256, ES256 (P-256) or EdDSA (Ed25519), whichever it is for.
    ///
    /// # Errors
    /// When it is none of these, or the private half.
    pub fn pem(text: &str) -> Result<Self, KeyProblem> {
        // A certificate, or a private key, is taken apart by the library too, but not to the key that is wanted here.
        let label = text.trim_start().lines().next().unwrap_or_default().trim_end();
        if label.contains("PRIVATE") {
            return Err(KeyProblem::Private);
        }
        if !["-----BEGIN PUBLIC KEY-----", "-----BEGIN RSA PUBLIC KEY-----"].contains(&label) {
            return Err(KeyProblem::Pem);
        }
        let bytes = text.as_bytes();
        let readings = [
            (Algorithm::RS256, DecodingKey::from_rsa_pem(bytes)),
            (Algorithm::ES256, DecodingKey::from_ec_pem(bytes)),
            (Algorithm::EdDSA, DecodingKey::from_ed_pem(bytes)),
        ];
        let mut good = readings
            .into_iter()
            .filter_map(|(algorithm, key)| Some((algorithm, key.ok()?)));
        match good.next() {
            Some((algorithm, key)) if is_fit(algorithm, &key) => Ok(Self::one(algorithm, key)),
            _ => Err(KeyProblem::Pem),
        }
    }

    /// A set in JSON, of which the public keys for RS256, ES256 and EdDSA are taken.
    ///
    /// Others are left out, secrets among them: a set is made to be published. Of two keys under one name neither admits
    /// anybody. A set with nothing in it is one too, for whoever signs may take all keys back: it admits nobody.
    ///
    /// # Errors
    /// When it is no set.
    pub fn jwks(text: &str) -> Result<Self, KeyProblem> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_str(text).map_err(|_| KeyProblem::NoSet)?;
        Ok(Self(set.keys.into_iter().filter_map(public_key).collect()))
    }

    /// These keys, for a host that starts: it is better told at once than by its users.
    ///
    /// # Errors
    /// When there is none, or two have one name.
    pub fn fit_to_start(self) -> Result<Self, KeyProblem> {
        match self.problem() {
            None => Ok(self),
            Some(problem) => Err(problem),
        }
    }

    /// Why a key admits nobody, if one does not.
    pub(super) fn problem(&self) -> Option<KeyProblem> {
        let keys = &self.0;
        let is_twice = |(index, key): (usize, &Key)| keys[..index].iter().any(|other| other.id == key.id);
        match keys.is_empty() {
            true => Some(KeyProblem::NoneUsable),
            false => keys.iter().enumerate().any(is_twice).then_some(KeyProblem::SameName),
        }
    }

    /// Names a single key: a token may say in its `kid` that it was signed with this one.
    #[must_use]
    pub fn named(mut self, id: &str) -> Self {
        if let [key] = &mut self.0[..] {
            key.id = Some(id.to_owned());
        }
        self
    }

    fn one(algorithm: Algorithm, decoding: DecodingKey) -> Self {
        let id = None;
        Self(vec![Key {
            id,
            algorithm,
            decoding,
        }])
    }

    /// The key of this name, if there is one and not two; of a token that names none, the only key.
    pub(super) fn find(&self, id: Option<&str>) -> Option<&Key> {
        match (id, &self.0[..]) {
            (None, [only]) => Some(only),
            (None, _) => None,
            (Some(id), keys) => {
                let mut named = keys.iter().filter(|key| key.id.as_deref() == Some(id));
                named.next().filter(|_| named.next().is_none())
            }
        }
    }
}

/// The key of one entry; nothing when it is not for verifying, or for another algorithm than ours.
fn public_key(entry: Value) -> Option<Key> {
    let entry: Jwk = serde_json::from_value(entry).ok()?;
    let about = &entry.common;
    let (algorithm, named) = match &entry.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    let is_for_this = about.key_algorithm.is_none_or(|it| it == named);
    let is_to_sign = about
        .public_key_use
        .as_ref()
        .is_none_or(|it| *it == PublicKeyUse::Signature);
    let verifies = |acts: &Vec<KeyOperations>| acts.contains(&KeyOperations::Verify);
    let is_to_verify = about.key_operations.as_ref().is_none_or(verifies);
    let decoding = DecodingKey::from_jwk(&entry).ok()?;
    let is_good = is_for_this && is_to_sign && is_to_verify && is_fit(algorithm, &decoding);
    let id = entry.common.key_id;
    is_good.then_some(Key {
        id,
        algorithm,
        decoding,
    })
}

/// Whether a key is of the size that its algorithm asks for.
fn is_fit(algorithm: Algorithm, key: &DecodingKey) -> bool {
    match (algorithm, key.kind()) {
        (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, .. }) => n.len() >= RSA_BYTES_MIN,
        // Both numbers and what holds them together: a little more than the modulus alone.
        (Algorithm::RS256, DecodingKeyKind::SecretOrDer(both)) => both.len() > RSA_BYTES_MIN,
        (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => point.len() == P256_BYTES,
        (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => point.len() == 32,
        _ => false,
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut algorithms: Vec<String> = self.0.iter().map(|key| format!("{:?}", key.algorithm)).collect();
        algorithms.sort();
        algorithms.dedup();
        let algorithms = algorithms.join(", ");
        match self.0.len() {
            1 => write!(f, "the key ({algorithms})"),
            count => write!(f, "one of {count} keys ({algorithms})"),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.0.iter().map(|key| (&key.id, key.algorithm));
        f.debug_list().entries(keys).finish()
    }
}

/// A text that is to be a secret, not judged yet; it prints as `[redacted]`.
///
/// Any text is one: who parses flags prints what cannot be parsed, and this must not be printed.
#[derive(Clone)]
pub struct KeyText(String);

impl FromStr for KeyText {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Why there are no keys, in a sentence that says what to do and holds nothing of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyProblem {
    /// A secret of so many bytes can be guessed.
    Short(usize),
    /// Whoever knows the public key could sign.
    PemAsSecret,
    /// Not needed here, and better kept where tokens are made.
    Private,
    /// No public key for one of our algorithms.
    Pem,
    /// No JSON, or another one.
    NoSet,
    /// Nothing in the set is for us.
    NoneUsable,
    /// Which key a token means could not be told.
    SameName,
    /// The keys could not be had, for this reason.
    Unread(String),
}

impl fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short(length) => write!(
                f,
                "a key for HS256 is at least {SECRET_BYTES_MIN} bytes long, this one has {length}: make one with \
                 `openssl rand -hex 32`"
            ),
            Self::PemAsSecret => f.write_str(
                "this is a key in PEM and no secret: whoever knows it could sign tokens. Give the file with the public \
                 key instead",
            ),
            Self::Private => f.write_str(
                "this is the private half, which only whoever signs needs: give the public one (`openssl pkey -pubout`)",
            ),
            Self::Pem => f.write_str(
                "this is no public key in PEM for RS256 (RSA, 2048 bits or more), ES256 (P-256) or EdDSA (Ed25519)",
            ),
            Self::NoSet => f.write_str("this is no key set (JWKS): it looks like {\"keys\": [...]}"),
            Self::NoneUsable => {
                f.write_str("no key of the set is a public key that verifies RS256, ES256 (P-256) or EdDSA (Ed25519)")
            }
            Self::SameName => f.write_str("two keys of the set have the same `kid`, or none: name each"),
            Self::Unread(why) => write!(f, "the keys cannot be read: {why}"),
        }
    }
}

impl std::error::Error for KeyProblem {}
