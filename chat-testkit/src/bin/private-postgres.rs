//! Runs a private PostgreSQL until it is told to stop, or whoever started it is gone.
//!
//! `private-postgres` prints what a client needs, as lines `NAME=value`, the last of them `CHAT_POSTGRES_URL`;
//! `private-postgres where` prints the directory of the programs and ends.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)] // A program speaks to whoever started it.

use std::process::ExitCode;

#[cfg(unix)]
fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        None => private::serve(),
        Some("where") => private::say_where(),
        Some(_) => Err("usage: private-postgres [where]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("private-postgres: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    eprintln!("private-postgres: it needs a Unix system");
    ExitCode::FAILURE
}

#[cfg(unix)]
mod private {
    use chat_testkit::postgres::{self, PrivatePostgres};
    use std::error::Error;
    use std::os::unix::process::parent_id;
    use std::time::Duration;
    use tokio::signal::unix::{SignalKind, signal};

    type Done = Result<(), Box<dyn Error>>;

    pub fn say_where() -> Done {
        println!("{}", postgres::programs()?.display());
        Ok(())
    }

    pub fn serve() -> Done {
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
    async fn until_told_or_alone(parent: u32) -> Done {
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
