//! What a store is: its epoch and its secrets, written once.

use crate::database::Argument::{Id, Text};
use crate::database::{Answer, Database};
use crate::rows::{corrupt, epoch, needed};
use chat_core::id::Epoch;
use chat_core::store::{Secret, StoreIdentity};
use uuid::Uuid;

/// Writes an identity into a store that has none.
pub(crate) async fn make(database: &mut impl Database) -> Answer<()> {
    // In SQLite a conflict would not be one: the key is a row id, which is counted up.
    let statement = "INSERT INTO chat_store (epoch, fingerprint_key, cluster_key) SELECT $1, $2, $3 \
                     WHERE NOT EXISTS (SELECT 1 FROM chat_store) ON CONFLICT DO NOTHING";
    let (fingerprint_key, cluster_key) = (secret(), secret());
    let arguments = [Id(Uuid::now_v7()), Text(&fingerprint_key), Text(&cluster_key)];
    database.execute(statement, &arguments).await?;
    Ok(())
}

pub(crate) async fn reset_epoch(database: &mut impl Database) -> Answer<Epoch> {
    let epoch = Uuid::now_v7();
    database
        .execute("UPDATE chat_store SET epoch = $1", &[Id(epoch)])
        .await?;
    Epoch::new(epoch).ok_or_else(|| corrupt("a nil epoch"))
}

pub(crate) async fn identity(database: &mut impl Database) -> Answer<StoreIdentity> {
    let rows = database
        .fetch("SELECT epoch, fingerprint_key, cluster_key FROM chat_store", &[])
        .await?;
    let row = rows
        .first()
        .ok_or_else(|| corrupt("a store without an identity: call `migrate()`"))?;
    Ok(StoreIdentity {
        epoch: epoch(row)?,
        fingerprint_key: kept(&needed(row, "fingerprint_key")?)?,
        cluster_key: kept(&needed(row, "cluster_key")?)?,
    })
}

/// 32 bytes, 244 bits of them random, as 64 hex digits.
fn secret() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

fn kept(text: &str) -> Answer<Secret> {
    let (low, high) = text.split_at_checked(32).ok_or_else(|| corrupt("a short secret"))?;
    let half = |text| Uuid::try_parse(text).map_err(|_| corrupt("a secret that is none"));
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(half(low)?.as_bytes());
    bytes[16..].copy_from_slice(half(high)?.as_bytes());
    Ok(Secret(bytes))
}
