//! A chat client for the terminal, one line a message: `cargo run --example chat -- --as ana`.
//!
//! All that is hard is in chat-client: reconnect, resume, and a file in which every message waits, with its id, until
//! the server has stored it. Kill this process in the middle of a message and start it again: it is there once.
//!
//! Messages go to stdout, each once; everything else goes to stderr. Other people's text is stripped of what a terminal
//! would obey.
#![forbid(unsafe_code)]

mod room;
mod terminal;
mod way;

use chat_client::protocol::check::{LABEL_BYTES_MAX, is_name};
use chat_client::{Client, Outbox, OutboxError, Token};
use clap::Parser;
use examples::lobby;
use room::Room;
use std::path::PathBuf;
use std::process::ExitCode;
use terminal::{default_outbox, note, read_lines};
use way::Way;

#[derive(Parser)]
#[command(name = "chat", about = "Chat in the terminal")]
struct Flags {
    /// The name to go by.
    #[arg(long = "as", value_name = "NAME")]
    name: String,
    /// The server's socket.
    #[arg(
        long,
        env = "CHAT_SERVER",
        default_value = "ws://127.0.0.1:7000/chat",
        value_name = "URL"
    )]
    server: String,
    /// A token, where the server does not admit guests.
    #[arg(long, env = "CHAT_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Where messages wait until they are stored; one file for each name and server unless told.
    #[arg(long, value_name = "PATH")]
    outbox: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Flags::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            note(&sentence);
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> Result<(), String> {
    if flags.token.is_none() && !(flags.name.len() <= LABEL_BYTES_MAX && is_name(&flags.name)) {
        return Err(format!(
            "--as wants a name: at most {LABEL_BYTES_MAX} bytes in one line, with something visible in it"
        ));
    }
    let path = match &flags.outbox {
        Some(path) => path.clone(),
        None => default_outbox(&flags.server, &flags.name)?,
    };
    let way = Way::to(&flags.server).map_err(|error| error.to_string())?;
    let builder = Client::builder(way).client_info("chat-example", env!("CARGO_PKG_VERSION"));
    let builder = builder.settings(|settings| settings.wants = vec!["presence".to_owned()]);
    let builder = match flags.token {
        Some(token) => builder.token(Token(token)),
        None => builder.guest(&flags.name),
    };
    let started = builder.outbox(Outbox::file(path)).start();
    let (client, mut updates) = started.map_err(|error| match error {
        OutboxError::InUse(path) => format!(
            "somebody chats as {} from here already; for a second one say --outbox with another file than {}",
            flags.name,
            path.display()
        ),
        error => format!("{error}"),
    })?;
    let mut room = Room::new(client.clone(), lobby::id());
    let waiting = room.unsent();
    if waiting > 0 {
        note(&format!("{waiting} unsent from last time go out now"));
    }
    note("type a message, or /help");

    room.join();
    let mut lines = read_lines();
    let mut input_open = true;
    loop {
        tokio::select! {
            biased;
            update = updates.recv() => match update {
                Some(update) => room.take(update)?,
                None => return Err("the client has ended".to_owned()),
            },
            Some(answer) = room.asked.join_next() => room.answered(answer.expect("no task of ours panics")),
            line = lines.recv(), if input_open => match line.as_deref() {
                Some("/quit") => break,
                Some(line) => room.say(line),
                None => {
                    input_open = false;
                    room.end();
                }
            },
        }
        if room.is_done() {
            break;
        }
    }
    // Nobody reads updates any more, and without a reader none are kept.
    drop(updates);
    client.close().await;
    let left = room.unsent();
    if left > 0 {
        note(&format!("{left} not sent yet: they go out at the next start"));
    }
    Ok(())
}
