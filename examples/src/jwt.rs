//! Who somebody is, by a signed token: HS256 (RFC 7515, RFC 7519). Made to be copied.
//!
//! * The algorithm is fixed by the key, never by the token: `alg: none` and a public key used as a secret come to nothing.
//! * `exp` and `sub` must be there; `nbf` is heeded; `aud` and `iss` are checked when the host names them, and a token
//!   for a named audience is refused by a host that names none.
//! * A `kid` must be the one that the host names; a header that lists critical extensions is refused, as none is known.
//! * `sub` is the user's id, `name` what others are shown, if it can be shown as a name.
//! * Every refusal has one text: whoever tries tokens learns nothing from it.

use async_trait::async_trait;
use chat_core::check::is_name;
use chat_core::hooks::{AuthRequest, Hooks, Identity, Refused};
use chat_core::id::{Timestamp, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;
use std::convert::Infallible;
use std::str::FromStr;

/// The one answer to every token that is no good.
const REFUSED: &str = "the token is missing or not valid";

/// RFC 7518, 3.2: a key is at least as long as the hash; a shorter one can be guessed offline from one token.
const KEY_BYTES_MIN: usize = 32;

/// Longer names are cut: display data is at most 1 KiB.
const NAME_CHARS_MAX: usize = 64;

/// Admits who brings a token that was signed with the host's key.
pub struct JwtHooks {
    key: DecodingKey,
    key_id: Option<String>,
    rules: Validation,
}

/// What is read of a token; anything else in it is the issuer's own.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
    name: Option<String>,
}

impl JwtHooks {
    /// Admits by this key; by `audience` and `issuer` too, when they are named.
    pub fn new(key: &SecretKey, audience: Option<&str>, issuer: Option<&str>) -> Self {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.leeway = 0;
        rules.validate_nbf = true;
        let mut required = vec!["exp", "sub"];
        if let Some(audience) = audience {
            rules.set_audience(&[audience]);
            required.push("aud");
        }
        if let Some(issuer) = issuer {
            rules.set_issuer(&[issuer]);
            required.push("iss");
        }
        rules.set_required_spec_claims(&required);
        Self {
            key: DecodingKey::from_secret(key.0.as_bytes()),
            key_id: None,
            rules,
        }
    }

    /// Names the key: a token may say in its `kid` that it was signed with this one, and with no other.
    #[must_use]
    pub fn key_id(mut self, id: Option<&str>) -> Self {
        self.key_id = id.map(str::to_owned);
        self
    }

    /// The identity in a token, or nothing.
    fn identify(&self, token: &str) -> Option<Identity> {
        let token = decode::<Claims>(token, &self.key, &self.rules).ok()?;
        let (header, claims) = (token.header, token.claims);
        let is_of_another_key = header.kid.is_some() && header.kid != self.key_id;
        // RFC 7515, 4.1.11: who does not understand what is critical must refuse.
        if is_of_another_key || header.crit.is_some() {
            return None;
        }
        let cut = |name: String| -> String { name.chars().take(NAME_CHARS_MAX).collect() };
        // What is no name is not shown: others see the user's id then.
        let name = claims.name.map(cut).filter(|name| is_name(name));
        let user = UserId::new(claims.sub).ok()?;
        let identity = Identity::new(user).with_expiry(Timestamp(claims.exp.saturating_mul(1000)));
        Some(match name {
            Some(name) => identity.with_display(serde_json::json!({ "name": name })),
            None => identity,
        })
    }
}

#[async_trait]
impl Hooks for JwtHooks {
    async fn authenticate(&self, request: AuthRequest) -> Result<Identity, Refused> {
        let identity = request.token.and_then(|token| self.identify(&token.0));
        identity.ok_or_else(|| Refused(REFUSED.to_owned()))
    }

    /// Only [`authenticate`](Hooks::authenticate) says no: roles and the engine's rules decide the rest.
    fn decides(&self) -> bool {
        false
    }
}

/// A text that is to be a key, not judged yet; it prints as `[redacted]`.
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

impl std::fmt::Debug for KeyText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The secret that signs tokens; it prints as `[redacted]`.
#[derive(Clone)]
pub struct SecretKey(String);

/// A key of so many bytes is too short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortKey(pub usize);

impl std::fmt::Display for ShortKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "a key for HS256 is at least {KEY_BYTES_MIN} bytes long, this one has {}: make one with `openssl rand -hex \
             32`",
            self.0
        )
    }
}

impl std::error::Error for ShortKey {}

impl TryFrom<&KeyText> for SecretKey {
    type Error = ShortKey;

    fn try_from(text: &KeyText) -> Result<Self, ShortKey> {
        match text.0.len() {
            KEY_BYTES_MIN.. => Ok(Self(text.0.clone())),
            length => Err(ShortKey(length)),
        }
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_core::command::Token;
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::{Value, json};

    const KEY: &str = "0123456789abcdef0123456789abcdef";
    /// The year 2100.
    const LATER: u64 = 4_102_444_800;

    fn signed(algorithm: Algorithm, key: &str, claims: &Value) -> String {
        signed_under(&Header::new(algorithm), key, claims)
    }

    fn signed_under(header: &Header, key: &str, claims: &Value) -> String {
        let key = EncodingKey::from_secret(key.as_bytes());
        encode(header, claims, &key).expect("claims can be signed")
    }

    fn key(text: &str) -> Result<SecretKey, ShortKey> {
        SecretKey::try_from(&text.parse::<KeyText>().expect("any text"))
    }

    fn hooks(audience: Option<&str>, issuer: Option<&str>) -> JwtHooks {
        JwtHooks::new(&key(KEY).expect("long enough"), audience, issuer)
    }

    async fn judged(hooks: &JwtHooks, token: Option<String>) -> Result<Identity, Refused> {
        let request = AuthRequest {
            token: token.map(Token),
            guest: Some("ana".to_owned()),
            address: None,
        };
        hooks.authenticate(request).await
    }

    #[tokio::test]
    async fn a_good_token_says_who_it_is_and_until_when() {
        let claims = json!({ "sub": "u1", "exp": LATER, "name": "Ana", "plan": "gold" });
        let identity = judged(&hooks(None, None), Some(signed(Algorithm::HS256, KEY, &claims))).await;
        let identity = identity.expect("a good token");
        assert_eq!(identity.user.as_str(), "u1");
        assert_eq!(identity.display, Some(json!({ "name": "Ana" })));
        assert_eq!(identity.expires_at, Some(Timestamp(LATER * 1000)));
    }

    #[tokio::test]
    async fn every_bad_token_gets_one_text() {
        let good = json!({ "sub": "u1", "exp": LATER });
        let signed_well = signed(Algorithm::HS256, KEY, &good);
        // `{"alg":"none","typ":"JWT"}`
        let unsigned = format!(
            "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.",
            signed_well.split('.').nth(1).expect("a payload")
        );
        let bad = [
            None,
            Some(String::new()),
            Some("no token".to_owned()),
            Some(unsigned),
            Some(signed(Algorithm::HS512, KEY, &good)),
            Some(signed(Algorithm::HS256, "another key of at least 32 bytes", &good)),
            Some(signed(Algorithm::HS256, KEY, &json!({ "sub": "u1", "exp": 1 }))),
            Some(signed(Algorithm::HS256, KEY, &json!({ "sub": "u1" }))),
            Some(signed(Algorithm::HS256, KEY, &json!({ "exp": LATER }))),
            Some(signed(Algorithm::HS256, KEY, &json!({ "sub": "", "exp": LATER }))),
            Some(signed(
                Algorithm::HS256,
                KEY,
                &json!({ "sub": "u1", "exp": LATER, "nbf": LATER }),
            )),
            Some(signed(
                Algorithm::HS256,
                KEY,
                &json!({ "sub": "u1", "exp": LATER, "aud": "elsewhere" }),
            )),
        ];
        let hooks = hooks(None, None);
        for token in bad {
            let refused = judged(&hooks, token.clone()).await.expect_err("a bad token");
            assert_eq!(refused.0, REFUSED, "{token:?}");
        }
    }

    #[tokio::test]
    async fn audience_and_issuer_are_wanted_when_they_are_named() {
        let hooks = hooks(Some("chat"), Some("https://id.example.com"));
        let claims =
            |audience: &str, issuer: &str| json!({ "sub": "u1", "exp": LATER, "aud": audience, "iss": issuer });
        let judge = async |claims: Value| judged(&hooks, Some(signed(Algorithm::HS256, KEY, &claims))).await;
        assert!(judge(claims("chat", "https://id.example.com")).await.is_ok());
        assert!(judge(claims("mail", "https://id.example.com")).await.is_err());
        assert!(judge(claims("chat", "https://id.example.net")).await.is_err());
        assert!(judge(json!({ "sub": "u1", "exp": LATER })).await.is_err());
    }

    #[tokio::test]
    async fn a_token_of_another_key_and_one_with_critical_extensions_are_refused() {
        let claims = json!({ "sub": "u1", "exp": LATER });
        let with = |change: fn(&mut Header)| {
            let mut header = Header::new(Algorithm::HS256);
            change(&mut header);
            Some(signed_under(&header, KEY, &claims))
        };
        let plain = || with(|_| {});
        let of_this = || with(|header| header.kid = Some("2026".to_owned()));
        let of_another = || with(|header| header.kid = Some("2025".to_owned()));
        let critical = || with(|header| header.crit = Some(vec!["exp".to_owned()]));
        let hooks = || hooks(None, None);
        let unnamed = hooks();
        assert!(judged(&unnamed, plain()).await.is_ok());
        for token in [of_this(), of_another(), critical()] {
            assert_eq!(judged(&unnamed, token).await.expect_err("refused").0, REFUSED);
        }
        let named = hooks().key_id(Some("2026"));
        assert!(judged(&named, plain()).await.is_ok());
        assert!(judged(&named, of_this()).await.is_ok());
        for token in [of_another(), critical()] {
            assert_eq!(judged(&named, token).await.expect_err("refused").0, REFUSED);
        }
    }

    #[tokio::test]
    async fn a_name_that_cannot_be_shown_is_not_shown() {
        for name in ["a\0b", "a\nb", "\u{202e}ana", "\u{200b}", ""] {
            let claims = json!({ "sub": "u1", "exp": LATER, "name": name });
            let identity = judged(&hooks(None, None), Some(signed(Algorithm::HS256, KEY, &claims))).await;
            assert_eq!(identity.expect("a good token").display, None, "{name:?}");
        }
    }

    #[test]
    fn a_short_key_is_refused_and_no_key_is_printed() {
        assert_eq!(key(&KEY[1..]).expect_err("too short"), ShortKey(31));
        let text: KeyText = KEY.parse().expect("any text");
        assert_eq!(format!("{text:?} {:?}", key(KEY)), "[redacted] Ok([redacted])");
    }
}
