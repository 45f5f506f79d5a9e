//! A clients' process, seen from the run: it is started, told, listened to, and killed.

use crate::crew::{Orders, Standing, Word};
use crate::population::Seat;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The word by which the binary knows that it is to be a clients' process.
pub const SUBCOMMAND: &str = "clients";

/// A clients' process; dropping it kills it.
pub struct Hands {
    program: PathBuf,
    orders: Orders,
    running: Option<Running>,
    standing: watch::Sender<Standing>,
}

struct Running {
    child: Child,
    input: ChildStdin,
    listener: JoinHandle<()>,
}

impl Hands {
    /// Starts the process.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(orders: Orders) -> io::Result<Self> {
        let mut hands = Self {
            program: std::env::current_exe()?,
            orders,
            running: None,
            standing: watch::Sender::new(Standing::default()),
        };
        hands.run().await?;
        Ok(hands)
    }

    /// How it stood when it last said so; nothing while it is dead.
    pub fn standing(&self) -> Standing {
        *self.standing.borrow()
    }

    /// Its devices.
    pub fn seats(&self) -> &[Seat] {
        &self.orders.seats
    }

    /// Tells it something; a dead one hears nothing.
    ///
    /// # Errors
    /// When it has ended by itself.
    pub async fn tell(&mut self, word: Word) -> io::Result<()> {
        match word {
            Word::Act => self.orders.acts = true,
            Word::Rest => self.orders.acts = false,
            Word::Burst(_) => {}
        }
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        running.input.write_all(line(&word)?.as_bytes()).await
    }

    /// Kills it: no goodbye, whatever it was doing.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn kill(&mut self) -> io::Result<()> {
        if let Some(mut running) = self.running.take() {
            running.child.kill().await?;
            // What it still said is read; then nobody counts its devices any more.
            let _ = tokio::time::timeout(Duration::from_secs(1), running.listener).await;
        }
        self.standing.send_replace(Standing::default());
        Ok(())
    }

    /// Starts a killed one again, with the outboxes that it left or without.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_again(&mut self, keeps_outbox: bool) -> io::Result<()> {
        self.orders.keeps_outbox = keeps_outbox;
        self.orders.founds = false;
        self.orders.seed = self.orders.seed.wrapping_add(0x9e37_79b9);
        if !keeps_outbox {
            for seat in &self.orders.seats {
                let history = crate::history::path(&self.orders.folder, &seat.user, seat.device);
                std::fs::remove_file(history.with_extension("outbox"))?;
            }
        }
        self.run().await
    }

    async fn run(&mut self) -> io::Result<()> {
        let mut command = Command::new(&self.program);
        command.arg(SUBCOMMAND).kill_on_drop(true);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        input.write_all(line(&self.orders)?.as_bytes()).await?;
        let standing = self.standing.clone();
        // Ends with the process, whose output it reads.
        let listener = tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if let Ok(now) = serde_json::from_str(&line) {
                    standing.send_replace(now);
                }
            }
        });
        self.running = Some(Running { child, input, listener });
        Ok(())
    }
}

fn line(what: &impl serde::Serialize) -> io::Result<String> {
    Ok(serde_json::to_string(what)? + "\n")
}
