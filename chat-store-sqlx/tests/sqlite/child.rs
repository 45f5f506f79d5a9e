//! A process of its own that writes to a file: this test's own program, started again.

use crate::load::{Load, Words};
use chat_core::frame::Stored;
use chat_core::id::{CommandId, ConversationId, Seq, Tag};
use chat_store_sqlx::SqliteStore;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

const FILE: &str = "CHAT_TEST_CHILD_WRITES";

/// The test that is no test unless it is started by [`Child::writes`]: it writes until it is killed, or its standard
/// input ends, and says what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_of_other_tests() {
    let Some(file) = std::env::var_os(FILE) else { return };
    let store = SqliteStore::connect(file).await.unwrap();
    store.migrate().await.unwrap();
    let words = Words::on(&store).await;
    let groups = words.groups(3).await;
    let say = |line: String| writeln!(std::io::stdout().lock(), "{line}").unwrap();
    // What the harness says of a test ends without a line of its own.
    say(String::new());
    for group in &groups {
        say(format!("group {group}"));
    }
    let load = Load::start(&words, &groups, 8);
    let mut said = 0;
    let mut in_vain = 0;
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        for stored in load.acked_since(said) {
            said += 1;
            let Stored {
                conversation,
                id,
                seq,
                tag,
                ..
            } = stored;
            say(format!("acked {conversation} {id} {seq} {tag}"));
        }
        while in_vain < load.in_vain() {
            in_vain += 1;
            say("refused".to_owned());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// What a child said of a message.
pub struct Acked {
    pub conversation: ConversationId,
    pub id: CommandId,
    pub seq: Seq,
    pub tag: Tag,
}

/// A process that writes to a file, and what it said so far; killed at the end.
pub struct Child {
    process: std::process::Child,
    lines: Receiver<String>,
    pub groups: Vec<ConversationId>,
    pub acked: Vec<Acked>,
    pub refused: usize,
}

impl Child {
    /// With a bound on the size of the files that it writes, in kB.
    pub fn writes(file: &Path, limit_kb: Option<u32>) -> Self {
        let own = std::env::current_exe().unwrap();
        let mut command = match limit_kb {
            None => Command::new(&own),
            Some(limit_kb) => {
                // Only the soft limit, so that it may be lifted again. Beyond it a write is an error, not the end.
                let mut shell = Command::new("sh");
                let script = format!("trap '' XFSZ; ulimit -S -f {}; exec \"$0\" \"$@\"", limit_kb * 2);
                shell.arg("-c").arg(script).arg(&own);
                shell
            }
        };
        command.args([
            "--exact",
            "child::the_child_of_other_tests",
            "--nocapture",
            "--test-threads=1",
        ]);
        command.env(FILE, file).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            process,
            lines,
            groups: Vec::new(),
            acked: Vec::new(),
            refused: 0,
        }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits until so many more were acknowledged.
    pub fn hears(&mut self, more: usize) {
        let enough = self.acked.len() + more;
        self.until(|child| child.acked.len() >= enough);
    }

    /// Waits until so many more were told that nobody knows.
    pub fn hears_refusals(&mut self, more: usize) {
        let enough = self.refused + more;
        self.until(|child| child.refused >= enough);
    }

    fn until(&mut self, mut is_so: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + crate::load::AT_MOST;
        while !is_so(self) {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.take(&line),
                Err(error) => panic!("the child says no more: {error}"),
            }
        }
    }

    /// `kill -9`; what it said before is all heard.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        loop {
            match self.lines.recv_timeout(Duration::from_secs(10)) {
                Ok(line) => self.take(&line),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => panic!("the child is still there"),
            }
        }
    }

    fn take(&mut self, line: &str) {
        // The last line of a killed one may be half a line.
        let mut words = line.split(' ');
        match words.next() {
            Some("group") => self
                .groups
                .extend(words.next().and_then(|id| id.parse::<ConversationId>().ok())),
            Some("acked") => self.acked.extend(acked(words)),
            Some("refused") => self.refused += 1,
            _ => {}
        }
    }
}

fn acked<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Acked> {
    Some(Acked {
        conversation: words.next()?.parse().ok()?,
        id: words.next()?.parse().ok()?,
        seq: Seq(words.next()?.parse().ok()?),
        tag: words.next().filter(|tag| tag.len() == 16)?.parse().ok()?,
    })
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
