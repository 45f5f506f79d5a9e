//! Input and output, and where the outbox lies.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use tokio::sync::mpsc;

/// Text that somebody else wrote, without what a terminal obeys; its later lines cannot pass for messages.
pub fn plain(text: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            line.chars()
                .map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c })
                .collect()
        })
        .collect();
    lines.join("\n    ")
}

pub fn print(line: &str) {
    let mut out = io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        // Nobody reads any more; what waits is in the file.
        std::process::exit(0);
    }
}

pub fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "-- {line}");
}

/// Lines of the input, from a thread of their own: a terminal cannot be read without blocking.
pub fn read_lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// One file for each server and name, in the user's state folder.
pub fn default_outbox(server: &str, name: &str) -> Result<PathBuf, String> {
    let state = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state"));
    let folder = state
        .or_else(home)
        .unwrap_or_else(std::env::temp_dir)
        .join("chat-example");
    std::fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    let file: String = format!("{server} {name}")
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' => char::from(byte).to_string(),
            byte => format!("_{byte:02x}"),
        })
        .collect();
    Ok(folder.join(file + ".outbox"))
}
