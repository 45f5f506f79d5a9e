//! The loops: the only files of this crate that await.

pub(crate) mod bells;
pub(crate) mod conversation;
pub(crate) mod feed;
pub(crate) mod reconcile;
pub(crate) mod session;
