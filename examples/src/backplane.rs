//! What carries bells between servers: chosen when the program starts, connected, and given to the engine; or a sentence
//! that says why not.
//!
//! A host that knows its backplane needs none of this: it connects and gives it to the engine's builder.

use crate::store::{Opened, Place, PlaceText, StoreProblem};
use chat_core::Builder;
use std::fmt;

/// What carries bells. It shows neither user nor password.
#[derive(Clone)]
pub enum Bells {
    /// The database that the store is in; here as the store shows it.
    Postgres(String),
}

impl Bells {
    /// What was asked for, if it makes sense with this store.
    ///
    /// # Errors
    /// [`BellsProblem`].
    pub fn of(text: &PlaceText, place: &Place) -> Result<Self, BellsProblem> {
        let Place::Postgres { shown, .. } = place else {
            return Err(BellsProblem::OneServer);
        };
        match text.as_str() {
            "postgres" => Ok(Self::Postgres(shown.clone())),
            _ => Err(BellsProblem::NoBackplane),
        }
    }

    /// Connects it and gives it to the engine.
    ///
    /// # Errors
    /// [`BellsProblem`].
    pub async fn give(&self, store: &Opened, builder: Builder) -> Result<Builder, BellsProblem> {
        match (self, store) {
            (Self::Postgres(shown), Opened::Postgres(store)) => {
                let backplane = store.backplane().await;
                let problem = |error| BellsProblem::Store(StoreProblem::Postgres(shown.clone(), error));
                Ok(builder.backplane(backplane.map_err(problem)?))
            }
            (_, Opened::Memory(_) | Opened::Sqlite(_)) => Err(BellsProblem::OneServer),
        }
    }
}

impl fmt::Display for Bells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(shown) => write!(f, "postgres, {shown}"),
        }
    }
}

/// Why a backplane cannot be used, in one sentence; never a password.
#[derive(Debug)]
#[non_exhaustive]
pub enum BellsProblem {
    /// This names no backplane.
    NoBackplane,
    /// The store serves one server.
    OneServer,
    /// The store's database does not ring.
    Store(StoreProblem),
}

impl fmt::Display for BellsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBackplane => f.write_str("--backplane names no backplane: write `postgres`, for the store's own database"),
            Self::OneServer => f.write_str(
                "--backplane connects several servers, and this store serves one: leave it out, or keep everything where \
                 many servers can, with `--store postgres://USER:PASSWORD@HOST/DATABASE`",
            ),
            Self::Store(problem) => write!(f, "{problem}"),
        }
    }
}

impl std::error::Error for BellsProblem {}
