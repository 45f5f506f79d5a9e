//! The process dies, or its disk is full: what was acknowledged is in the file.

use crate::child::Child;
use crate::load::{Told, Words};
use chat_core::frame::Stored;
use chat_core::id::Timestamp;
use chat_store_sqlx::SqliteStore;
use std::path::Path;
use std::process::Command;

/// Opens the file of a killed child: all that it was told is there, without a gap, and the store goes on.
async fn is_all_there(file: &Path, child: &Child) {
    let store = SqliteStore::connect(file).await.unwrap();
    let words = Words::on(&store).await;
    let mut told = Told::default();
    for group in &child.groups {
        told.asked.extend(words.log(*group).await.iter().map(|event| event.id));
    }
    told.acked = child
        .acked
        .iter()
        .map(|acked| Stored {
            conversation: acked.conversation,
            id: acked.id,
            seq: acked.seq,
            tag: acked.tag,
            at: Timestamp::default(),
            duplicate: false,
        })
        .collect();
    words.holds(&child.groups, &told).await;
    words.say(child.groups[0], "afterwards").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_is_killed_under_load_leaves_everything_that_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let file = directory.path().join(format!("{round}.db"));
        let mut child = Child::writes(&file, None);
        child.hears(100 + 37 * round);
        child.kill();
        is_all_there(&file, &child).await;
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_acknowledges_nothing_and_once_there_is_room_the_store_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("chat.db");
    let mut child = Child::writes(&file, Some(1_000));
    child.hears_refusals(20);
    let full = child.acked.len();
    child.hears_refusals(20);
    assert!(child.acked.len() < full + 40, "what does not fit is not acknowledged");
    let lifted = Command::new("prlimit")
        .args(["--pid", &child.pid().to_string(), "--fsize=unlimited:"])
        .status();
    assert!(lifted.unwrap().success());
    child.hears(100);
    child.kill();
    is_all_there(&file, &child).await;
}
