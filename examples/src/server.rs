//! `chat-server` from its first line to its last: a host of the engine, as small as one can be.

use crate::backplane::{Bells, BellsProblem};
use crate::jwt::KeyProblem;
use crate::settings::Settings;
use crate::site::{self, Admits, Door};
use crate::store::{self, Place, StoreProblem};
use crate::tls::{self, TlsProblem};
use crate::{keys, lobby};
use chat_core::{BuildError, CommandError, Engine, Guests};
use chat_transport_ws::{WsConfig, serve_http, serve_https};
use metrics_exporter_prometheus::{BuildError as MetricsError, PrometheusBuilder};
use std::convert::Infallible;
use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval};

/// In seconds, from a store on the same machine to one that is given up.
const BUCKETS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// How often samples of histograms are folded, scraped or not; otherwise they pile up.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Why the server did not start, in a sentence that says what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// Guests on an address that others reach.
    NoKey(SocketAddr),
    /// Tokens cannot be judged by what is named as a key.
    Key(KeyProblem),
    /// The certificate or its key cannot be used.
    Tls(TlsProblem),
    /// The address cannot be listened at.
    Listen(SocketAddr, io::Error),
    /// The store cannot be used.
    Store(StoreProblem),
    /// The backplane cannot be used.
    Backplane(BellsProblem),
    /// The engine could not be put together.
    Engine(BuildError),
    /// The Lobby could not be made.
    Lobby(CommandError),
    /// Metrics could not be set up.
    Metrics(MetricsError),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoKey(address) => write!(
                f,
                "without a key guests are admitted by name, which is for your own machine only: at {address} others could \
                 come in under any name. Set CHAT_JWT_KEY (make one with `openssl rand -hex 32`), or listen at \
                 127.0.0.1:{}",
                address.port()
            ),
            Self::Key(problem) => write!(f, "{problem}"),
            Self::Tls(problem) => write!(f, "{problem}"),
            Self::Listen(address, error) if error.kind() == io::ErrorKind::AddrInUse => write!(
                f,
                "somebody listens at {address} already, perhaps another chat-server: stop it, or choose another port \
                 with `--listen {}:{}`",
                address.ip(),
                address.port().checked_add(1).unwrap_or(7000)
            ),
            Self::Listen(address, error) => {
                write!(f, "cannot listen at {address}: {error}; choose another with --listen")
            }
            Self::Store(problem) => write!(f, "{problem}"),
            Self::Backplane(problem) => write!(f, "{problem}"),
            Self::Engine(error) => write!(f, "the engine does not start: {error}"),
            Self::Lobby(error) => write!(f, "the Lobby could not be made: {error}"),
            Self::Metrics(error) => write!(f, "metrics could not be set up: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Runs until `stop` says so, then drains; at the end everything that was acknowledged is stored.
///
/// Start lines go to `out`.
///
/// # Errors
/// [`StartError`]; once it has started it does not fail.
pub async fn run(settings: &Settings, mut out: impl Write, stop: impl Future<Output = ()>) -> Result<(), StartError> {
    let keys = keys::read(settings).await.map_err(StartError::Key)?;
    let judges = keys.as_ref().map(ToString::to_string);
    let admits = match keys {
        Some(_) => Admits::Tokens,
        None if settings.listen.ip().is_loopback() => Admits::Guests,
        None => return Err(StartError::NoKey(settings.listen)),
    };
    let tls = match (&settings.tls_cert, &settings.tls_key) {
        (Some(certificate), Some(key)) => Some(tls::read(certificate, key).map_err(StartError::Tls)?),
        _ => None,
    };
    let place = Place::try_from(&settings.store.store).map_err(StartError::Store)?;
    let bells = settings.backplane.as_ref().map(|text| Bells::of(text, &place));
    let bells = bells.transpose().map_err(StartError::Backplane)?;
    let listen_error = |error| StartError::Listen(settings.listen, error);
    let listener = TcpListener::bind(settings.listen).await.map_err(listen_error)?;
    let address = listener.local_addr().map_err(listen_error)?;
    let metrics = PrometheusBuilder::new()
        .set_buckets(&BUCKETS)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(StartError::Metrics)?;

    let tokens = keys.map(|keys| keys::hooks(keys, settings));
    let start = async {
        let store = store::open(&settings.store, &place).await.map_err(StartError::Store)?;
        let mut builder = store.give(Engine::builder()).limits(settings.limits());
        if let Some(bells) = &bells {
            builder = bells.give(&store, builder).await.map_err(StartError::Backplane)?;
        }
        let builder = match tokens.clone() {
            Some(tokens) => builder.hooks(tokens),
            None => builder.hooks(Guests),
        };
        let engine = builder.build().await.map_err(StartError::Engine)?;
        lobby::open(&engine).await.map_err(StartError::Lobby)?;
        Ok((store, engine))
    };
    let mut config = WsConfig::default();
    config.origins.clone_from(&settings.origins);
    config.trusted_proxies.clone_from(&settings.trusted_proxies);
    if let Some(connections) = settings.connections_per_address {
        // Whoever expects many connections of one address expects many of its handshakes at once.
        config.handshakes_per_address_max = config.handshakes_per_address_max.max(connections.get());
    }
    let (door, has_tls) = (Door::default(), tls.is_some());
    let mut serve = pin!(async {
        match tls {
            Some(tls) => serve_https(listener, door.router(), &config, tls).await,
            None => serve_http(listener, door.router(), &config).await,
        }
    });
    // Meanwhile whoever asks is told that it lives, and is not ready.
    let (store, engine) = tokio::select! {
        biased;
        started = start => started?,
        never = &mut serve => match never {},
    };
    door.open(site::router(&engine, config.clone(), metrics.clone(), admits));
    // Whoever started the server may have stopped reading; that is no reason not to serve.
    let _ = greet(&mut out, address, has_tls, &place, bells.as_ref(), judges.as_deref());
    if admits == Admits::Guests {
        // Behind the start lines, which are elsewhere: in a terminal the two would mingle.
        tracing::warn!("no key is set: guests are admitted under any name");
    }

    let upkeep = async || -> Infallible {
        let mut ticks = interval(METRICS_UPKEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            metrics.run_upkeep();
        }
    };
    let rekey = async || -> Infallible {
        let mut ticks = interval(keys::REREAD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is at once, and the keys have just been read.
        ticks.tick().await;
        loop {
            ticks.tick().await;
            if let Some(tokens) = &tokens {
                tokens.refresh_keys().await;
            }
        }
    };
    let drained = async {
        stop.await;
        tracing::info!("stopping: clients are told when to come back");
        engine.shutdown(settings.grace()).await;
    };
    // While it drains, pages and health are still served, so that a balancer sees `/readyz` say no.
    tokio::select! {
        biased;
        () = drained => {}
        never = &mut serve => match never {},
        never = upkeep() => match never {},
        never = rekey() => match never {},
    }
    drop(engine);
    store.close().await;
    let _ = writeln!(out, "Stopped.");
    Ok(())
}

fn greet(
    out: &mut impl Write,
    address: SocketAddr,
    has_tls: bool,
    place: &Place,
    bells: Option<&Bells>,
    judges: Option<&str>,
) -> io::Result<()> {
    let s = if has_tls { "s" } else { "" };
    writeln!(
        out,
        "Chat:  http{s}://{address}/  (open it in two tabs; the socket is ws{s}://{address}/chat)"
    )?;
    writeln!(out, "Store: {place}")?;
    if let Some(bells) = bells {
        writeln!(out, "Bells: {bells}")?;
    }
    match judges {
        None => {
            writeln!(out, "Users: guests, by any name they choose")?;
            writeln!(
                out,
                "       *** WARNING: no key is set, so nobody has to prove who they are. This is for your own"
            )?;
            writeln!(
                out,
                "       *** machine only. Set CHAT_JWT_KEY to admit users by signed tokens instead."
            )?;
        }
        Some(keys) => writeln!(out, "Users: who brings a token signed with {keys}")?,
    }
    writeln!(out, "Stop:  Ctrl-C or SIGTERM; a second one stops at once")?;
    out.flush()
}
