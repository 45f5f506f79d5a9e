//! Where the server's keys come from, and that they are read again when they change.

use crate::jwt::{JwtHooks, KeyProblem, KeySource, Keys};
use crate::settings::Settings;
use async_trait::async_trait;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a set is read again, so that a key that was taken out of it admits nobody any more.
pub const REREAD: Duration = Duration::from_secs(60);

/// The keys that the settings name; none when they name none, then guests are admitted.
///
/// # Errors
/// When a key cannot be read, or is no good.
pub async fn read(settings: &Settings) -> Result<Option<Keys>, KeyProblem> {
    let keys = if let Some(secret) = &settings.jwt_key {
        Keys::secret(secret)?
    } else if let Some(path) = &settings.jwt_key_file {
        Keys::pem(&text(path).await?)?
    } else if let Some(path) = &settings.jwks {
        Keys::jwks(&text(path).await?)?.fit_to_start()?
    } else {
        return Ok(None);
    };
    Ok(Some(match &settings.jwt_key_id {
        Some(id) => keys.named(id),
        None => keys,
    }))
}

/// Admits by these keys; a set is read anew when a token names a key that is not in it. What it holds then counts, also
/// when nothing of it is usable.
pub fn hooks(keys: Keys, settings: &Settings) -> JwtHooks {
    let (audience, issuer) = (settings.jwt_audience.as_deref(), settings.jwt_issuer.as_deref());
    let hooks = JwtHooks::new(keys, audience, issuer);
    match &settings.jwks {
        Some(path) => hooks.with_source(SetFile(path.clone())),
        None => hooks,
    }
}

/// A key set in a file.
struct SetFile(PathBuf);

#[async_trait]
impl KeySource for SetFile {
    async fn fetch(&self) -> Result<Keys, KeyProblem> {
        Keys::jwks(&text(&self.0).await?)
    }
}

async fn text(path: &Path) -> Result<String, KeyProblem> {
    let problem = |error| KeyProblem::Unread(format!("{}: {error}", path.display()));
    tokio::fs::read_to_string(path).await.map_err(problem)
}
