//! Who somebody is, by a signed token (RFC 7515, RFC 7519). Made to be copied, with the folder beside this file.
//!
//! * [`Keys`]: a secret (HS256), a public key in PEM, or a key set in JSON (RS256, ES256, EdDSA).
//! * The algorithm is fixed by the key, never by the token: `alg: none` and a public key used as a secret come to nothing.
//! * `exp` and `sub` must be there; `nbf` is heeded; `aud` and `iss` are checked when the host names them, and a token
//!   for a named audience is refused by a host that names none.
//! * A token's `kid` says which key it is of. Without one it is of the only key, or it is refused. A header that lists
//!   critical extensions is refused, as none is known.
//! * `sub` is the user's id, `name` what others are shown, if it can be shown as a name.
//! * Every refusal has one text: whoever tries tokens learns nothing from it.
//!
//! Keys change while the host runs: [`JwtHooks::replace_keys`] gives it others, and a [`KeySource`] is asked when a token
//! names a key that nobody knows yet. Whoever is in stays in until their token runs out: to end it earlier, the host
//! calls [`Engine::revoke`](chat_core::Engine::revoke).

mod keys;

pub use keys::{KeyProblem, KeyText, Keys};

use async_trait::async_trait;
use chat_core::check::is_name;
use chat_core::hooks::{AuthRequest, Hooks, Identity, Refused};
use chat_core::id::{Timestamp, UserId};
use jsonwebtoken::{Validation, decode, decode_header};
use serde::Deserialize;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// The one answer to every token that is no good.
const REFUSED: &str = "the token is missing or not valid";

/// A source is not asked more often than this, however many tokens name keys that nobody knows.
const SOURCE_PAUSE: Duration = Duration::from_secs(10);

/// Longer names are cut: display data is at most 1 KiB.
const NAME_CHARS_MAX: usize = 64;

/// Admits who brings a token that was signed with one of the host's keys; clones share them.
#[derive(Clone)]
pub struct JwtHooks {
    /// Guards the keys; held to look at them or to put others there.
    keys: Arc<RwLock<Arc<Keys>>>,
    rules: Validation,
    source: Option<Arc<Source>>,
}

/// What is read of a token; anything else in it is the issuer's own.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
    name: Option<String>,
}

impl JwtHooks {
    /// Admits by these keys; by `audience` and `issuer` too, when they are named.
    pub fn new(keys: Keys, audience: Option<&str>, issuer: Option<&str>) -> Self {
        let mut rules = Validation::default();
        // Each key brings its own.
        rules.algorithms.clear();
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
            keys: Arc::new(RwLock::new(Arc::new(keys))),
            rules,
            source: None,
        }
    }

    /// Asks there for keys that are not known yet, at most every ten seconds.
    #[must_use]
    pub fn with_source(mut self, source: impl KeySource) -> Self {
        self.source = Some(Arc::new(Source {
            keys: Box::new(source),
            asked_at: Mutex::new(None),
        }));
        self
    }

    /// From now on these keys admit, and no others.
    pub fn replace_keys(&self, keys: Keys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// Asks the source and takes what it has; when it has nothing good, the keys stay as they are. Call it now and then,
    /// so that a key that was withdrawn admits nobody any more.
    pub async fn refresh_keys(&self) {
        let Some(source) = &self.source else { return };
        match source.keys.fetch().await {
            Ok(keys) => self.replace_keys(keys),
            Err(problem) => tracing::warn!(%problem, "the keys stay as they are"),
        }
    }

    fn keys(&self) -> Arc<Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The keys among which is the one of this name, if the host or the source has it.
    async fn keys_with(&self, id: Option<&str>) -> Arc<Keys> {
        let keys = self.keys();
        let (Some(source), true) = (&self.source, id.is_some()) else {
            return keys;
        };
        if keys.find(id).is_some() {
            return keys;
        }
        // One asks, and those who came meanwhile look at what it got.
        let mut asked_at = source.asked_at.lock().await;
        let may_ask = asked_at.is_none_or(|at| at.elapsed() >= SOURCE_PAUSE);
        if self.keys().find(id).is_none() && may_ask {
            *asked_at = Some(Instant::now());
            self.refresh_keys().await;
        }
        self.keys()
    }

    /// The identity in a token, or nothing.
    async fn identify(&self, token: &str) -> Option<Identity> {
        let header = decode_header(token).ok()?;
        // RFC 7515, 4.1.11: who does not understand what is critical must refuse.
        if header.crit.is_some() {
            return None;
        }
        let id = header.kid.as_deref();
        let keys = self.keys_with(id).await;
        let key = keys.find(id)?;
        let mut rules = self.rules.clone();
        rules.algorithms = vec![key.algorithm];
        let claims = decode::<Claims>(token, &key.decoding, &rules).ok()?.claims;
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
        let identity = match request.token {
            Some(token) => self.identify(&token.0).await,
            None => None,
        };
        identity.ok_or_else(|| Refused(REFUSED.to_owned()))
    }

    /// Only [`authenticate`](Hooks::authenticate) says no: roles and the engine's rules decide the rest.
    fn decides(&self) -> bool {
        false
    }
}

/// Where the host's keys are, when they change: a file, or an address of whoever signs.
///
/// A client waits while it is asked, so it answers within a second.
#[async_trait]
pub trait KeySource: Send + Sync + 'static {
    /// The keys as they are now.
    ///
    /// # Errors
    /// When they cannot be had, or are no good.
    async fn fetch(&self) -> Result<Keys, KeyProblem>;
}

struct Source {
    keys: Box<dyn KeySource>,
    /// When it was last asked; held while it is asked, so that one asks for all.
    asked_at: Mutex<Option<Instant>>,
}
