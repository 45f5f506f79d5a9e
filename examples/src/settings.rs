//! Flags and environment of `chat-server`; every flag has a default that is safe on one's own machine.

use crate::jwt::KeyText;
use crate::store::PlaceText;
use chat_core::Limits;
use chat_transport_ws::{OriginRule, TrustedProxy};
use clap::builder::BoolishValueParser;
use clap::{ArgGroup, Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// A chat server: page, WebSocket, health and metrics on one port. It needs no flag, and keeps everything in `chat.db`.
#[derive(Debug, Parser)]
#[command(name = "chat-server", version)]
#[command(group = ArgGroup::new("keys").args(["jwt_key", "jwt_key_file", "jwks"]))]
pub struct Settings {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub act: Option<Act>,

    /// Where everything is kept.
    #[command(flatten)]
    pub store: StoreSettings,

    /// What carries bells between servers on one PostgreSQL: `postgres`, which is the store's own,
    /// `redis://:PASSWORD@HOST:PORT`, or `nats://USER:PASSWORD@HOST:PORT`. Without it what another server stores is seen some
    /// seconds later. An address with a password belongs into the environment, where `ps` does not show it.
    #[arg(
        long,
        env = "CHAT_BACKPLANE",
        hide_env_values = true,
        value_name = "BACKPLANE",
        help_heading = "Store"
    )]
    pub backplane: Option<PlaceText>,

    /// Where to listen; port 0 takes a free one.
    #[arg(
        long,
        env = "CHAT_LISTEN",
        default_value = "127.0.0.1:7000",
        value_name = "ADDRESS:PORT"
    )]
    pub listen: SocketAddr,

    /// The secret that signs tokens (HS256), at least 32 bytes: prefer the environment, where `ps` does not show it.
    /// Without it guests are admitted by name, on a loopback address only.
    #[arg(
        long,
        env = "CHAT_JWT_KEY",
        hide_env_values = true,
        // Otherwise a secret that begins with one would be taken for a flag, and printed as unknown.
        allow_hyphen_values = true,
        value_name = "KEY"
    )]
    pub jwt_key: Option<KeyText>,

    /// The public key that verifies tokens, in PEM: RSA for RS256, P-256 for ES256, Ed25519 for EdDSA.
    #[arg(long, env = "CHAT_JWT_KEY_FILE", value_name = "FILE")]
    pub jwt_key_file: Option<PathBuf>,

    /// A set of public keys (JWKS). It is read again every minute, and when a token names a key that is not in it. What it
    /// holds then counts, also when that is no key; only while it cannot be read, or is no set, the last ones stay.
    #[arg(long, env = "CHAT_JWKS", value_name = "FILE")]
    pub jwks: Option<PathBuf>,

    /// The key's name: a token that names its key in `kid` must name this one. Without it such tokens are refused.
    #[arg(
        long,
        env = "CHAT_JWT_KEY_ID",
        value_name = "NAME",
        requires = "keys",
        conflicts_with = "jwks"
    )]
    pub jwt_key_id: Option<String>,

    /// Admit only tokens for this audience (`aud`).
    #[arg(long, env = "CHAT_JWT_AUDIENCE", value_name = "NAME", requires = "keys")]
    pub jwt_audience: Option<String>,

    /// Admit only tokens from this issuer (`iss`).
    #[arg(long, env = "CHAT_JWT_ISSUER", value_name = "NAME", requires = "keys")]
    pub jwt_issuer: Option<String>,

    /// A web page's origin that may connect, such as `https://app.example.com`; may be given several times. Without
    /// any, only pages that this server's own host served.
    #[arg(long = "origin", env = "CHAT_ORIGIN", value_delimiter = ',', value_name = "ORIGIN")]
    pub origins: Vec<OriginRule>,

    /// The certificate, and those that signed it, in PEM: with it the server speaks TLS, and nothing else.
    #[arg(long, env = "CHAT_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// The certificate's private key, in PEM.
    #[arg(long, env = "CHAT_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// A proxy whose word about its clients' addresses counts, such as `10.0.0.1` or `10.0.0.0/8`; may be given several
    /// times. It says it by `X-Forwarded-For`, `Forwarded`, or the PROXY protocol, version 2.
    #[arg(
        long = "trusted-proxy",
        env = "CHAT_TRUSTED_PROXY",
        value_delimiter = ',',
        value_name = "ADDRESS[/BITS]"
    )]
    pub trusted_proxies: Vec<TrustedProxy>,

    /// How many seconds clients have to come to an end when the server stops.
    #[arg(long, env = "CHAT_GRACE", default_value = "10", value_name = "SECONDS")]
    pub grace: u64,

    /// Open connections from one address.
    #[arg(
        long,
        env = "CHAT_CONNECTIONS_PER_ADDRESS",
        value_parser = some::<NonZeroUsize>,
        value_name = "COUNT",
        help_heading = "Limits"
    )]
    pub connections_per_address: Option<NonZeroUsize>,

    /// Handshakes a second from one address.
    #[arg(
        long,
        env = "CHAT_HANDSHAKES_PER_ADDRESS",
        value_parser = some::<NonZeroU32>,
        value_name = "COUNT",
        help_heading = "Limits"
    )]
    pub handshakes_per_address: Option<NonZeroU32>,

    /// Messages a second from one user, and how many at once: `5:20`.
    #[arg(
        long,
        env = "CHAT_SENDS_PER_USER",
        value_name = "RATE[:BURST]",
        help_heading = "Limits"
    )]
    pub sends_per_user: Option<Rate>,

    /// Messages a second in one conversation, and how many at once: `50:200`.
    #[arg(
        long,
        env = "CHAT_SENDS_PER_CONVERSATION",
        value_name = "RATE[:BURST]",
        help_heading = "Limits"
    )]
    pub sends_per_conversation: Option<Rate>,
}

/// Where everything is kept, for serving and for what is done instead.
#[derive(Debug, Clone, Args)]
pub struct StoreSettings {
    /// Where everything is kept: a file for SQLite, `postgres://USER:PASSWORD@HOST/DATABASE`, or `memory`. An address
    /// with a password belongs into the environment, where `ps` does not show it.
    #[arg(
        long,
        env = "CHAT_STORE",
        hide_env_values = true,
        default_value = "sqlite:chat.db",
        value_name = "STORE",
        global = true,
        help_heading = "Store"
    )]
    pub store: PlaceText,

    /// Leave the schema as it is, and do not start when it is not the one of this version.
    #[arg(long, env = "CHAT_NO_MIGRATE", value_parser = BoolishValueParser::new(), help_heading = "Store")]
    pub no_migrate: bool,

    /// Accept a PostgreSQL that may lose what it acknowledged when it stops hard (`synchronous_commit` or `fsync` off).
    #[arg(
        long,
        env = "CHAT_ALLOW_DATA_LOSS",
        value_parser = BoolishValueParser::new(),
        global = true,
        help_heading = "Store"
    )]
    pub allow_data_loss: bool,
}

/// What is done instead of serving.
#[derive(Debug, Clone, Subcommand)]
pub enum Act {
    /// Make the schema, or bring it up to date, and end.
    Migrate {
        /// Only print the statements; no database is asked.
        #[arg(long)]
        print_sql: bool,
    },
    /// What is seldom done to a store.
    #[command(subcommand)]
    Store(StoreAct),
}

/// What is seldom done to a store.
#[derive(Debug, Clone, Subcommand)]
pub enum StoreAct {
    /// Give the log a new epoch, so that every client starts anew: after a restore that went back in time.
    ResetEpoch,
}

impl Settings {
    /// The engine's bounds: the defaults, and what was named.
    pub fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        let connections = self.connections_per_address.map(NonZeroUsize::get);
        set(&mut limits.connections_per_address_max, connections);
        let handshakes = self.handshakes_per_address.map(NonZeroU32::get);
        set(&mut limits.handshakes_per_address, handshakes);
        let pair = |rate: Rate| (rate.per_second, rate.burst);
        set(&mut limits.sends_per_user, self.sends_per_user.map(pair));
        set(
            &mut limits.sends_per_conversation,
            self.sends_per_conversation.map(pair),
        );
        limits
    }

    /// How long clients have to come to an end.
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.grace)
    }
}

fn set<T>(limit: &mut T, wanted: Option<T>) {
    if let Some(wanted) = wanted {
        *limit = wanted;
    }
}

/// A number of which there must be one.
fn some<T: FromStr>(text: &str) -> Result<T, String> {
    let refused = |_| "write a number of at least 1: with 0 nobody could connect".to_owned();
    text.parse().map_err(refused)
}

/// So many a second, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// A second.
    pub per_second: u32,
    /// At once; four seconds' worth unless told.
    pub burst: u32,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (rate, burst) = match text.split_once(':') {
            Some((rate, burst)) => (rate, Some(burst)),
            None => (text, None),
        };
        let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number > 0);
        let per_second = number(rate);
        let burst = match burst {
            Some(burst) => number(burst),
            None => per_second.map(|rate| rate.saturating_mul(4)),
        };
        match (per_second, burst) {
            (Some(per_second), Some(burst)) => Ok(Self { per_second, burst }),
            _ => Err("write it like `5` or `5:20`, each at least 1".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(flags: &[&str]) -> Result<Settings, clap::Error> {
        Settings::try_parse_from(["chat-server"].iter().chain(flags))
    }

    #[test]
    fn no_flag_is_needed_and_changes_no_limit() {
        let settings = parsed(&[]).expect("no flag is needed");
        assert!(settings.listen.ip().is_loopback());
        let (ours, default) = (settings.limits(), Limits::default());
        assert_eq!(format!("{ours:?}"), format!("{default:?}"));
    }

    #[test]
    fn limits_are_raised_by_name_only() {
        let flags = [
            "--connections-per-address",
            "5000",
            "--sends-per-user",
            "100",
            "--sends-per-conversation",
            "9:10",
        ];
        let limits = parsed(&flags).expect("good flags").limits();
        assert_eq!(limits.connections_per_address_max, 5000);
        assert_eq!(limits.sends_per_user, (100, 400));
        assert_eq!(limits.sends_per_conversation, (9, 10));
        assert_eq!(
            limits.connections_per_user_max,
            Limits::default().connections_per_user_max
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for flags in [
            ["--sends-per-user", "0"],
            ["--sends-per-user", "5:"],
            ["--jwt-audience", "chat"],
            ["--jwt-key-id", "2026"],
            ["--listen", "localhost"],
            ["--origin", "https://app.*.com"],
            ["--origin", "nonsense"],
            ["--connections-per-address", "0"],
            ["--handshakes-per-address", "0"],
            ["store", "reset"],
        ] {
            assert!(parsed(&flags).is_err(), "{flags:?}");
        }
        for flags in [
            ["--jwt-key", "a", "--jwks", "b"],
            ["--jwt-key-file", "a", "--jwks", "b"],
            ["--jwks", "a", "--jwt-key-id", "b"],
        ] {
            assert!(parsed(&flags).is_err(), "{flags:?}");
        }
    }
}
