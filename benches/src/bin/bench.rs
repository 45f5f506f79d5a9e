//! `bench fanout`, `append`, `cluster` and `bells` measure; `bench serve …` is one of the servers that it starts.
#![forbid(unsafe_code)]

use benches::baseline;
use benches::fanout::{self, Kind};
use benches::load::Shape;
use benches::ours::{self, Node};
use benches::{append, bells, cluster};
use clap::{Parser, Subcommand};
use std::error::Error;
use std::io::Read;
use std::process::ExitCode;

/// Measures ours beside others that do less.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Server CPU per delivery, deliveries a second and latency of messages to the members of conversations.
    Fanout(fanout::Options),
    /// As `fanout`, but with two nodes on one Redis, ours on one PostgreSQL.
    Cluster(cluster::Options),
    /// What the brokers between nodes carry, and what a bell costs them.
    Bells(bells::Options),
    /// Messages acknowledged a second, CPU and reads of a store, beside the plain way on the same database.
    Append(append::Options),
    /// One of the servers, until its standard input ends.
    #[command(hide = true)]
    Serve {
        kind: Kind,
        #[command(flatten)]
        shape: Shape,
        /// As one of several nodes.
        #[arg(long)]
        redis: Option<String>,
        #[arg(long)]
        postgres: Option<String>,
        #[arg(long)]
        first: bool,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().what {
        What::Fanout(options) => fanout::run(&options),
        What::Append(options) => append::run(&options).map_err(|error| error as Box<dyn Error>),
        What::Cluster(options) => cluster::run(&options),
        What::Bells(options) => bells::run(&options).map_err(|error| error as Box<dyn Error>),
        What::Serve {
            kind,
            shape,
            redis,
            postgres,
            first,
        } => serve(kind, shape, redis, postgres, first),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "a program's last word")]
            {
                eprintln!("bench: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Every server has the same runtime, so that only what it does differs.
fn serve(
    kind: Kind,
    shape: Shape,
    redis: Option<String>,
    postgres: Option<String>,
    first: bool,
) -> Result<(), Box<dyn Error>> {
    end_with_standard_input();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match kind {
            Kind::Ours => match (postgres, redis) {
                (Some(postgres), Some(redis)) => {
                    let node = Node { postgres, redis, first };
                    ours::serve_node(shape, &node).await
                }
                _ => ours::serve(shape).await,
            },
            Kind::Mounted => ours::serve_mounted(shape).await,
            Kind::Direct => Ok(baseline::serve(baseline::Engine::Direct, redis).await?),
            Kind::Queued => Ok(baseline::serve(baseline::Engine::Queued, redis).await?),
        }
    })
}

/// Whoever started this server holds its standard input: however they end, the server ends too.
fn end_with_standard_input() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
}
