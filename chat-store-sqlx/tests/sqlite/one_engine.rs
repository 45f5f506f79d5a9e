//! A file serves one engine: whoever comes second is told, however the path is written, and a killed one is in nobody's way.

use crate::child::Child;
use crate::load::Words;
use crate::migrated;
use chat_core::{BuildError, Engine};
use chat_store_sqlx::{OpenError, SqliteStore};
use chat_testkit::backplane::Hub;
use sqlx::SqlitePool;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

async fn is_refused(file: &Path) {
    let error = SqliteStore::connect(file).await.unwrap_err();
    assert!(matches!(error, OpenError::InUse(_)), "{error:?}");
    assert!(error.to_string().contains("PostgreSQL"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_store_on_the_same_file_is_refused_until_the_first_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("chat.db");
    let store = migrated(&file).await;
    is_refused(&file).await;
    let pool = SqlitePool::connect(&format!("sqlite:{}", file.display()))
        .await
        .unwrap();
    let error = SqliteStore::from_pool(pool).await.unwrap_err();
    assert!(matches!(error, OpenError::InUse(_)), "{error:?}");
    drop(store);
    let end = Instant::now() + Duration::from_secs(10);
    while let Err(error) = SqliteStore::connect(&file).await {
        assert!(Instant::now() < end, "{error}");
    }
}

/// Also of a file that was not there when the first one opened it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_one_file_however_its_path_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let real = directory.path().join("real");
    std::fs::create_dir(&real).unwrap();
    let (linked, alias) = (directory.path().join("linked"), directory.path().join("alias.db"));
    symlink(&real, &linked).unwrap();
    symlink(real.join("chat.db"), &alias).unwrap();
    let _store = SqliteStore::connect(&alias).await.unwrap();
    for file in [real.join("chat.db"), real.join("../linked/./chat.db"), alias] {
        is_refused(&file).await;
    }
}

/// Nodes that could not share it would each be a chat of their own, whatever they rang.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backplane_is_refused_with_a_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let store = migrated(&directory.path().join("chat.db")).await;
    let backplane = Hub::new(1).node();
    let built = Engine::builder()
        .store(store.clone())
        .backplane(backplane)
        .build()
        .await;
    let error = built.unwrap_err();
    assert!(
        matches!(error, BuildError::ServesOneNode { store: "sqlite", .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("PostgreSQL"), "{error}");
    let alone = Engine::builder().store(store).build().await.unwrap();
    alone.shutdown(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_is_refused_and_a_killed_one_is_in_nobodys_way() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("chat.db");
    let mut child = Child::writes(&file, None);
    child.hears(3);
    is_refused(&file).await;
    child.kill();
    let since = Instant::now();
    let store = SqliteStore::connect(&file).await.unwrap();
    assert!(since.elapsed() < Duration::from_secs(5), "at once");
    Words::on(&store).await;
}
