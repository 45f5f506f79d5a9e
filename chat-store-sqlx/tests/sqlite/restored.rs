//! An older copy takes the place of the file, or of what is in it: its epoch stays, and what is gone is noticed.

use crate::house::House;
use crate::load::{Words, by, message};
use crate::migrated;
use chat_core::Store;
use chat_core::code::ResetReason;
use chat_core::frame::{ServerFrame, Stored};
use chat_core::id::{ConversationId, Position};
use chat_core::store::{Horizon, LogRead, StoreError};
use chat_store_sqlx::{OpenError, SqliteStore};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Row, SqliteConnection};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A store whose log has gone on since a copy was made.
struct Scene {
    directory: TempDir,
    file: PathBuf,
    copy: PathBuf,
    store: SqliteStore,
    groups: Vec<ConversationId>,
    lost: Stored,
    horizon: Horizon,
}

async fn scene() -> Scene {
    let directory = tempfile::tempdir().unwrap();
    let (file, copy) = (directory.path().join("chat.db"), directory.path().join("copy.db"));
    let store = migrated(&file).await;
    let words = Words::on(&store).await;
    let groups = words.groups(5).await;
    words.say(groups[0], "kept").await;
    let copied = format!("VACUUM INTO '{}'", copy.display());
    let mut backup = host(&file).await;
    backup.execute(AssertSqlSafe(copied)).await.unwrap();
    backup.close().await.unwrap();
    words.say(groups[0], "lost").await;
    let lost = words.say(groups[0], "lost").await;
    let horizon = words.horizon().await;
    Scene {
        directory,
        file,
        copy,
        store,
        groups,
        lost,
        horizon,
    }
}

async fn host(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(file);
    options.busy_timeout(Duration::from_secs(10)).connect().await.unwrap()
}

/// As an operator does who puts a copy back.
fn put_back(scene: &Scene) {
    for journal in ["chat.db-wal", "chat.db-shm"] {
        let _ = std::fs::remove_file(scene.directory.path().join(journal));
    }
    std::fs::rename(&scene.copy, &scene.file).unwrap();
}

impl Scene {
    /// What the file holds is the copy now, and whoever knows more is told.
    async fn is_noticed(&self, words: &Words) {
        let read = words.try_log(self.groups[0], self.lost.seq).await.unwrap();
        assert!(matches!(read, LogRead::Ahead), "{read:?}");
        let changes = words.changed_since(&self.horizon).await;
        assert_eq!(changes.heads.len(), self.groups.len(), "everything is told again");
        let changes = words.changed_since(&changes.horizon).await;
        assert!(changes.heads.is_empty(), "and then only what changes");
        while words.head(self.groups[0]).await.seq < self.lost.seq {
            words.say(self.groups[0], "another").await;
        }
        match words.try_log(self.groups[0], self.lost.seq).await.unwrap() {
            LogRead::Page(page) => assert_ne!(page.after, self.lost.tag),
            other => panic!("no page: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_put_back_while_the_store_is_closed_is_noticed() {
    let mut scene = scene().await;
    let epoch = scene.store.identity().await.unwrap().epoch;
    scene.store = SqliteStore::in_memory().await.unwrap();
    // Until the last connection is closed.
    let store = loop {
        match SqliteStore::connect(&scene.file).await {
            Ok(store) => break store,
            Err(error) => assert!(matches!(error, OpenError::InUse(_)), "{error}"),
        }
    };
    drop(store);
    put_back(&scene);
    let store = SqliteStore::connect(&scene.file).await.unwrap();
    assert_eq!(store.identity().await.unwrap().epoch, epoch);
    let words = Words::on(&store).await;
    // Beyond where the one before was: a number of its transactions means nothing here.
    for n in 0..10 {
        words.say(scene.groups[1], &n.to_string()).await;
    }
    scene.is_noticed(&words).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_store_acknowledges_nothing_once_another_file_is_in_its_place() {
    let scene = scene().await;
    let words = Words::on(&scene.store).await;
    put_back(&scene);
    let said: Result<_, StoreError> = words.append(by("ann"), message(scene.groups[0], "into nowhere")).await;
    let error = said.unwrap_err().to_string();
    assert!(error.contains("chat.db") && error.contains("start again"), "{error}");
    assert!(words.try_log(scene.groups[0], scene.lost.seq).await.is_err());
}

/// With SQLite's own means, in a transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_running_store_has_lost_is_told_to_its_clients() {
    let scene = scene().await;
    let words = Words::on(&scene.store).await;
    let epoch = scene.store.identity().await.unwrap().epoch;
    let house = House::on(scene.store.clone()).await;
    let mut ann = house.guest("ann").await;
    let lost = Position {
        seq: scene.lost.seq,
        tag: scene.lost.tag,
    };
    assert_eq!(ann.memory().cursors[&scene.groups[0]], lost);

    let mut host = host(&scene.file).await;
    let attach = format!("ATTACH '{}' AS copy", scene.copy.display());
    host.execute(AssertSqlSafe(attach)).await.unwrap();
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'chat\\_%' ESCAPE '\\'";
    let tables: Vec<String> = sqlx::query(tables)
        .fetch_all(&mut host)
        .await
        .unwrap()
        .iter()
        .map(|row| row.get("name"))
        .collect();
    host.execute("BEGIN IMMEDIATE").await.unwrap();
    for table in tables {
        let copy = format!("DELETE FROM main.{table}; INSERT INTO main.{table} SELECT * FROM copy.{table}");
        host.execute(AssertSqlSafe(copy)).await.unwrap();
    }
    host.execute("COMMIT").await.unwrap();

    let since = Instant::now();
    let reason = loop {
        assert!(since.elapsed() < Duration::from_secs(20), "nobody noticed");
        match ann.next().await {
            ServerFrame::Reset(reset) if reset.conversation == Some(scene.groups[0]) => break reset.reason,
            _ => {}
        }
    };
    assert_eq!(reason, ResetReason::Ahead);
    assert_eq!(scene.store.identity().await.unwrap().epoch, epoch);
    scene.is_noticed(&words).await;
}
