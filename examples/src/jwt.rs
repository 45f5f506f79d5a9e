//! Who somebody is, by a signed token (RFC 7515, RFC 7519). Made to be copied, with the folder beside this file.
//!
//! * [`Keys`]: a secret (HS256), a public key in PEM, or a key set in JSON (RS256, ES256, EdDSA).
//! * The algorithm is fixed by the key, never by the token: `alg: none` and a public key used as a secret come to nothing.
//! * `exp` and `sub` must be there; `nbf` is heeded, with some seconds for clocks that differ; `aud` and `iss` are checked when the host names them, and a token
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
use tokio::time::{Instant, sleep_until};

/// The one answer to every token that is no good.
const REFUSED: &str = "the token is missing or not valid";

/// A source is not asked more often than this, however many tokens name keys that nobody knows. They wait for it, so this
/// and an answer are to fit into [`Limits::hook_timeout`](chat_core::Limits::hook_timeout).
const SOURCE_PAUSE: Duration = Duration::from_secs(1);

/// For `nbf` only: the clock of whoever signs may be this much ahead, and a client does not come back after a refusal.
const NBF_LEEWAY_SECONDS: u64 = 5;

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
    /// Seconds since 1970, and parts of them (RFC 7519, 2).
    exp: f64,
    name: Option<String>,
}

impl JwtHooks {
    /// Admits by these keys; by `audience` and `issuer` too, when they are named.
    pub fn new(keys: Keys, audience: Option<&str>, issuer: Option<&str>) -> Self {
        let mut rules = Validation::default();
        // Each key brings its own.
        rules.algorithms.clear();
        rules.validate_nbf = true;
        // The library gives it to `exp` as well: there it is taken back.
        rules.leeway = NBF_LEEWAY_SECONDS;
        rules.reject_tokens_expiring_in_less_than = NBF_LEEWAY_SECONDS;
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

    /// Asks there for keys that are not known yet, at most once a second.
    #[must_use]
    pub fn with_source(mut self, source: impl KeySource) -> Self {
        self.source = Some(Arc::new(Source {
            keys: Box::new(source),
            looks: Mutex::default(),
        }));
        self
    }

    /// From now on these keys admit, and no others.
    pub fn replace_keys(&self, keys: Keys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// Asks the source and takes what it has, also when none of it is usable: then nobody is let in. When it has no answer,
    /// the keys stay as they are, for as long as that lasts. Call it now and then, so that a key that was withdrawn admits
    /// nobody any more.
    pub async fn refresh_keys(&self) {
        let Some(source) = &self.source else { return };
        match source.keys.fetch().await {
            Ok(keys) => {
                if let Some(problem) = keys.problem() {
                    tracing::warn!(%problem, "the new keys do not admit all whom they should");
                }
                self.replace_keys(keys);
            }
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
        let came_at = Instant::now();
        // One asks, and all who came before it did take what it got.
        let mut looks = source.looks.lock().await;
        let is_answered = looks.answered.is_some_and(|asked_at| asked_at >= came_at);
        if self.keys().find(id).is_none() && !is_answered {
            // What was there when somebody else asked says nothing of now.
            if let Some(asked_at) = looks.asked {
                sleep_until(asked_at + SOURCE_PAUSE).await;
            }
            let asked_at = Instant::now();
            looks.asked = Some(asked_at);
            self.refresh_keys().await;
            // Not reached when the client leaves meanwhile: then the next one asks.
            looks.answered = Some(asked_at);
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
        let identity = Identity::new(user).with_expiry(Timestamp((claims.exp * 1000.0) as u64));
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
    /// When they cannot be had. That none of them is usable is no error but an answer: [`Keys::jwks`] says it so.
    async fn fetch(&self) -> Result<Keys, KeyProblem>;
}

struct Source {
    keys: Box<dyn KeySource>,
    /// Held while it is asked, so that one asks for all.
    looks: Mutex<Looks>,
}

/// When a source was asked.
#[derive(Default)]
struct Looks {
    /// The last time, whatever came of it.
    asked: Option<Instant>,
    /// The last time that was waited for to the end.
    answered: Option<Instant>,
}
