//! The server binary; see [`examples::server`].
#![forbid(unsafe_code)]

use clap::Parser;
use examples::settings::Settings;
use examples::{server, store};
use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::{ExitCode, exit};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    // Before anything speaks TLS, the store's connections included. It is refused only if there is one already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let settings = Settings::parse();
    // What async_nats has to say of its connection, the backplane and the engine say too.
    let quiet = "info,sqlx=warn,async_nats=off";
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(quiet));
    let colours = io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_ansi(colours)
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();

    let stop = async {
        signalled().await;
        tokio::spawn(async {
            signalled().await;
            let _ = writeln!(io::stderr(), "chat-server: stopped at once");
            exit(1);
        });
    };
    match &settings.act {
        Some(act) => ended(store::act(act, &settings.store, io::stdout()).await),
        None => ended(server::run(&settings, io::stdout(), stop).await),
    }
}

fn ended(result: Result<(), impl Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "chat-server: {error}.");
            ExitCode::FAILURE
        }
    }
}

/// Resolves when the process is asked to stop.
async fn signalled() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).expect("handlers can be set for SIGTERM");
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    }
    #[cfg(not(unix))]
    {
        let _ = tokio::signal::ctrl_c().await;
    }
}
