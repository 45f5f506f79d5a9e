//! The bells between the nodes, as one thing whatever rings them.

use super::Problem;
use chat_testkit::nats::PrivateNats;
use chat_testkit::postgres::PrivatePostgres;
use chat_testkit::redis::PrivateRedis;
use clap::ValueEnum;
use std::net::SocketAddr;

/// What rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Nothing: nodes ask the store, every few seconds.
    None,
    /// Redis.
    Redis,
    /// NATS.
    Nats,
    /// The database itself.
    Postgres,
}

impl Kind {
    /// Its name, as it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Redis => "redis",
            Self::Nats => "nats",
            Self::Postgres => "postgres",
        }
    }
}

/// A broker of the run's own.
pub enum Broker {
    /// There is none.
    None,
    /// Redis.
    Redis(PrivateRedis),
    /// NATS.
    Nats(PrivateNats),
    /// The database.
    Postgres,
}

impl Broker {
    pub(super) fn start(kind: Kind) -> Result<Self, Problem> {
        Ok(match kind {
            Kind::None => Self::None,
            Kind::Redis => Self::Redis(PrivateRedis::start()?),
            Kind::Nats => Self::Nats(PrivateNats::start()?),
            Kind::Postgres => Self::Postgres,
        })
    }

    /// Where it listens, when it is a process of its own.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        let port = match self {
            Self::None | Self::Postgres => return None,
            Self::Redis(redis) => redis.port(),
            Self::Nats(nats) => nats.port(),
        };
        Some(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// What a node is told, when it reaches the broker by this address.
    pub(super) fn url_through(&self, address: Option<SocketAddr>) -> Option<String> {
        match self {
            Self::None => None,
            Self::Redis(redis) => Some(redis.url_through(address?)),
            Self::Nats(nats) => Some(nats.url_through(address?)),
            Self::Postgres => Some("postgres".to_owned()),
        }
    }

    /// Kills it.
    ///
    /// # Errors
    /// When it is dead already.
    pub fn kill(&self) -> Result<(), Problem> {
        match self {
            Self::Redis(redis) => redis.kill()?,
            Self::Nats(nats) => nats.kill()?,
            Self::None | Self::Postgres => {}
        }
        Ok(())
    }

    /// Starts it again.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_again(&self) -> Result<(), Problem> {
        match self {
            Self::Redis(redis) => redis.start_again()?,
            Self::Nats(nats) => nats.start_again()?,
            Self::None | Self::Postgres => {}
        }
        Ok(())
    }

    /// Stops it where it stands.
    ///
    /// # Errors
    /// When it is dead.
    pub fn freeze(&self) -> Result<(), Problem> {
        match self {
            Self::Redis(redis) => redis.freeze()?,
            Self::Nats(nats) => nats.freeze()?,
            Self::None | Self::Postgres => {}
        }
        Ok(())
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it is dead.
    pub fn thaw(&self) -> Result<(), Problem> {
        match self {
            Self::Redis(redis) => redis.thaw()?,
            Self::Nats(nats) => nats.thaw()?,
            Self::None | Self::Postgres => {}
        }
        Ok(())
    }

    /// Takes the connections away on which nodes listen, and nothing else; NATS has no word for that.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn cut_subscribers(&self, postgres: &PrivatePostgres) -> Result<(), Problem> {
        match self {
            Self::Redis(redis) => drop(redis.cut_subscribers()?),
            Self::Postgres => {
                let listeners = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                                 where backend_type = 'client backend' and query ilike 'listen%'";
                postgres.psql(super::DATABASE, listeners)?;
            }
            Self::None | Self::Nats(_) => {}
        }
        Ok(())
    }
}
