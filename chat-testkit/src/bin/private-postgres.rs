//! Runs a private PostgreSQL until it is told to stop, or whoever started it is gone.
//!
//! It prints what a client needs, as lines `NAME=value`; the last of them is `CHAT_POSTGRES_URL`. It ends with exit code 3
//! when programs of PostgreSQL are missing.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)] // A program speaks to whoever started it.

use std::process::ExitCode;

#[cfg(unix)]
fn main() -> ExitCode {
    use chat_testkit::postgres::PostgresError;
    let Err(error) = private::serve() else {
        return ExitCode::SUCCESS;
    };
    eprintln!("{error}");
    match error.downcast_ref() {
        Some(PostgresError::Missing { .. }) => ExitCode::from(3),
        _ => ExitCode::FAILURE,
    }
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    eprintln!("a private PostgreSQL needs a Unix system");
    ExitCode::FAILURE
}

#[cfg(unix)]
mod private {
    use chat_testkit::postgres::PrivatePostgres;
    use std::error::Error;
    use std::os::unix::process::parent_id;
    use std::time::Duration;
    use tokio::signal::unix::{SignalKind, signal};

    pub fn serve() -> Result<(), Box<dyn Error>> {
        let parent = parent_id();
        let postgres = PrivatePostgres::start()?;
        println!("CHAT_POSTGRES_BIN={}", postgres.programs().display());
        println!("CHAT_POSTGRES_DIRECTORY={}", postgres.directory().display());
        println!("CHAT_POSTGRES_PID={}", postgres.pid().ok_or("it has ended already")?);
        println!("CHAT_POSTGRES_URL={}", postgres.url());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(until_told_or_alone(parent))
    }

    /// Whoever started this may be killed and say nothing; then somebody else is the parent.
    async fn until_told_or_alone(parent: u32) -> Result<(), Box<dyn Error>> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        while parent_id() == parent {
            tokio::select! {
                biased;
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                _ = hangup.recv() => break,
                () = tokio::time::sleep(Duration::from_millis(250)) => {}
            }
        }
        Ok(())
    }
}
