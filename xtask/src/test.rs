//! `cargo xtask test`: every test there is, part by part.

use std::path::Path;
use std::time::Duration;

use crate::chaos;
use crate::child;
use crate::postgres::Postgres;
use crate::programs::Programs;
use crate::report::{Kind, Outcome, Report};
use crate::sim;
use crate::workspace::{Workspace, array, text};

mod outside;
mod peers;

/// Hanging is a failure too.
const TESTS_AT_MOST: Duration = Duration::from_secs(15 * 60);

/// What to run and what to leave out.
#[derive(clap::Args)]
pub struct Options {
    /// Only what needs nothing beyond cargo.
    #[arg(long)]
    embedded: bool,
    /// Longer: 1,000 simulated seeds instead of 200, and `CHAT_LONG=1` for tests that look at it.
    #[arg(long)]
    long: bool,
}

/// Runs all parts; what depends on a part that failed is not tried.
pub fn run(workspace: &Workspace, options: &Options) -> Report {
    let mut report = Report::default();
    own_tests(workspace, options, &mut report);
    simulate(workspace, options, &mut report);
    foreign_clients(workspace, options, &mut report);
    everything_breaks(workspace, options, &mut report);
    outside::check(workspace, &mut report);
    report
}

fn own_tests(workspace: &Workspace, options: &Options, report: &mut Report) {
    let everything = ["--all-features"].map(str::to_owned).to_vec();
    let embedded = ["--features".to_owned(), workspace.embedded_features()].to_vec();
    let cargo_test = |features: &[String]| {
        let mut command = workspace.cargo(&["test", "--workspace"]);
        command.args(features);
        command
    };
    let mut features = if options.embedded { &embedded } else { &everything };
    let built = report.part("build tests", Kind::Compile, || {
        child::run(cargo_test(features).args(["--quiet", "--no-run"]), None)
    });
    if !built {
        return;
    }
    // One for all tests of the run; it ends with this function.
    let mut shared = None;
    let mut programs = None;
    if options.embedded {
        report.not_run("PostgreSQL", "left out by --embedded");
        report.not_run("nginx, Caddy, Redis, NATS", "left out by --embedded");
    } else {
        let postgres = report.part("PostgreSQL", Kind::Run, || {
            shared = Some(Postgres::start(workspace, "debug")?);
            Ok(())
        });
        let found = report.part("nginx, Caddy, Redis, NATS", Kind::Run, || {
            programs = Some(Programs::find(workspace)?);
            Ok(())
        });
        if !(postgres && found) {
            features = &embedded;
        }
    }
    report.part("tests", Kind::Run, || {
        let mut command = cargo_test(features);
        if let Some(postgres) = &shared {
            postgres.tell(&mut command);
        }
        if let Some(programs) = &programs {
            programs.tell(&mut command);
        }
        if options.long {
            command.env("CHAT_LONG", "1");
        }
        child::run(&mut command, Some(TESTS_AT_MOST))
    });
}

fn simulate(workspace: &Workspace, options: &Options, report: &mut Report) {
    if !has_binary(workspace, "sim") {
        return report.not_run("simulator", "the simulator is not in the tree yet");
    }
    let seeds = if options.long { 1_000 } else { 200 };
    let healthy = sim::Options {
        seeds,
        seed: None,
        planted: false,
        rest: Vec::new(),
    };
    let planted = sim::Options {
        planted: true,
        ..healthy.clone()
    };
    let parts = [
        ("build simulator", "simulator", healthy),
        ("build with planted bugs", "planted bugs", planted),
    ];
    for (build, run, options) in parts {
        if report.part(build, Kind::Compile, || sim::build(workspace, &options)) {
            report.part(run, Kind::Run, || sim::run(workspace, &options));
        }
    }
}

fn foreign_clients(workspace: &Workspace, options: &Options, report: &mut Report) {
    let peers = [
        ("python websockets", peers::python as Peer),
        ("node ws", peers::node as Peer),
    ];
    if options.embedded {
        return peers
            .iter()
            .for_each(|(name, _)| report.not_run(name, "left out by --embedded"));
    }
    if !has_binary(workspace, "chat-server") {
        return peers
            .iter()
            .for_each(|(name, _)| report.not_run(name, "chat-server is not in the tree yet"));
    }
    let server = workspace
        .target
        .join("release")
        .join(format!("chat-server{}", std::env::consts::EXE_SUFFIX));
    let built = report.part("build chat-server", Kind::Compile, || {
        child::run(
            &mut workspace.cargo(&["build", "--quiet", "--release", "--bin", "chat-server"]),
            None,
        )
    });
    for (name, peer) in peers.into_iter().filter(|_| built) {
        report.part(name, Kind::Run, || peer(workspace, &server));
    }
}

/// Two minutes of what `cargo xtask chaos` does.
fn everything_breaks(workspace: &Workspace, options: &Options, report: &mut Report) {
    if options.embedded {
        return report.not_run("chaos", "left out by --embedded");
    }
    let options = chaos::Options {
        minutes: 2,
        backplane: "redis".to_owned(),
        seed: None,
        scenario: None,
        planted: false,
        json: false,
    };
    if report.part("build chaos", Kind::Compile, || chaos::build(workspace)) {
        report.part("chaos", Kind::Run, || chaos::run_built(workspace, &options));
    }
}

type Peer = fn(&Workspace, &Path) -> Outcome;

fn has_binary(workspace: &Workspace, name: &str) -> bool {
    let targets = workspace.packages().flat_map(|package| array(&package["targets"]));
    targets
        .into_iter()
        .any(|target| text(&target["name"]) == name && array(&target["kind"]).iter().any(|kind| text(kind) == "bin"))
}
