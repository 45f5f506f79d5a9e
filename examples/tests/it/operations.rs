//! The files that operators start from are held to the server: names, times and bounds.

use crate::process::{free_address, get, serve};
use chat_core::Limits;
use chat_transport_ws::WsConfig;
use clap::Parser;
use examples::settings::Settings;
use std::collections::BTreeSet;
use std::time::Duration;
#[cfg(feature = "redis-tests")]
use {
    crate::bells::{self, measured},
    crate::process::{SOON, chat, chat_server_on, ready},
    chat_testkit::{postgres::PrivatePostgres, redis::PrivateRedis},
    std::{net::SocketAddr, ops::RangeInclusive, thread::sleep, time::Instant},
};

const ALERTS: &str = include_str!("../../../docs/operations/alerts.yaml");
const COMPOSE: &str = include_str!("../../../docs/operations/compose.yaml");
const DASHBOARD: &str = include_str!("../../../docs/operations/dashboard.json");
const UNIT: &str = include_str!("../../../docs/operations/chat-server.service");

/// To close what is left, and to close the store; in between `store_timeout` twice, for what is under way and for the lease.
const AFTER_GRACE: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(5)];

#[test]
fn every_metric_of_dashboard_and_alerts_is_there_before_anything_happened() {
    let address = free_address();
    let _server = serve(address);
    let (_, scraped) = get(address, "/metrics");
    let is_there = |name: &str| {
        let series = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        scraped.lines().any(series)
    };
    let (alerts, dashboard) = (metrics(ALERTS), metrics(DASHBOARD));
    assert!(alerts.len() >= 7 && dashboard.len() >= 15, "{alerts:?} {dashboard:?}");
    for name in alerts.union(&dashboard) {
        assert!(is_there(name), "{name} is not in:\n{scraped}");
    }
    let on_dashboard: BTreeSet<&str> = dashboard.into_iter().map(whole).collect();
    for name in metrics(&scraped).into_iter().map(whole) {
        assert!(on_dashboard.contains(name), "{name} is not on the dashboard");
        assert!(scraped.contains(&format!("# HELP {name} ")), "{name} says what it is");
    }
}

#[test]
fn a_fresh_server_is_ready_and_not_degraded_by_its_metrics_too() {
    let address = free_address();
    let _server = serve(address);
    let (_, scraped) = get(address, "/metrics");
    for line in [
        "chat_ready 1",
        "chat_backplane_alive 1",
        "chat_degraded 0",
        "chat_nodes 1",
        "chat_connections 0",
    ] {
        assert!(
            scraped.lines().any(|scraped| scraped == line),
            "{line} is not in:\n{scraped}"
        );
    }
}

#[cfg(feature = "redis-tests")]
#[test]
fn what_goes_on_between_nodes_is_counted_on_each() {
    let folder = tempfile::tempdir().expect("a folder");
    let postgres = PrivatePostgres::start().expect("PostgreSQL is on this machine");
    let redis = PrivateRedis::start().expect("Redis is on this machine");
    let url = postgres.new_database("chat").expect("it answers");
    let start = || {
        let address = free_address();
        let mut command = chat_server_on(&url, &address.to_string());
        (address, ready(command.env("CHAT_BACKPLANE", redis.url()), address))
    };
    let ((here, _first), (there, second)) = (start(), start());
    for address in [here, there] {
        reaches(address, "chat_nodes", 2..=2);
    }
    let (mut ana, ben) = (chat("ana", here, folder.path()), chat("ben", there, folder.path()));
    ana.notes.wait_for("in Lobby");
    ben.notes.wait_for("in Lobby");
    bells::carry(&mut ana, &ben, there);
    reaches(here, "chat_append_seconds_count", 1..=u64::MAX);
    reaches(here, "chat_bells_rung_total", 1..=u64::MAX);
    reaches(there, "chat_read_wait_seconds_count", 1..=u64::MAX);

    let found = measured(there, "chat_reconcile_found_total");
    redis.kill().expect("it runs");
    ana.say("without one");
    ben.output.wait_for("ana: without one");
    reaches(there, "chat_reconcile_found_total", found + 1..=u64::MAX);
    let resyncs = measured(there, "chat_backplane_resyncs_total");
    redis.start_again().expect("it was stopped");
    reaches(there, "chat_backplane_resyncs_total", resyncs + 1..=u64::MAX);

    drop((ben, second));
    reaches(here, "chat_nodes", 1..=1);
}

#[test]
fn the_dashboard_is_json() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).expect("JSON");
    assert!(dashboard["panels"].as_array().expect("panels").len() > 10);
}

#[test]
fn who_stops_the_server_waits_longer_than_its_drain_may_take() {
    let [close, store] = AFTER_GRACE;
    let drain = defaults().grace() + close + 2 * Limits::default().store_timeout + store;
    for (file, key) in [(UNIT, "TimeoutStopSec="), (COMPOSE, "stop_grace_period: ")] {
        let waits = seconds(file, key);
        assert!(waits > drain, "{key}{waits:?} is not longer than {drain:?}");
    }
    assert!(UNIT.contains("\nKillSignal=SIGTERM\n") && UNIT.contains("\nRestart=on-failure\n"));
}

#[cfg(all(unix, feature = "redis-tests"))]
#[test]
fn a_server_whose_database_stands_still_ends_before_it_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let postgres = PrivatePostgres::start().expect("PostgreSQL is on this machine");
    let url = postgres.new_database("chat").expect("it answers");
    let address = free_address();
    let mut command = chat_server_on(&url, &address.to_string());
    let mut server = ready(command.env("CHAT_BACKPLANE", "postgres"), address);
    let mut ana = chat("ana", address, folder.path());
    ana.notes.wait_for("in Lobby");
    postgres.freeze().expect("it runs");
    ana.say("into the void");
    // It is on its way, or waits in the outbox: either way something is left to do.
    sleep(Duration::from_millis(100));
    let asked = Instant::now();
    server.terminate();
    let code = server.ended().code();
    let took = asked.elapsed();
    postgres.thaw().expect("it stood still");
    assert_eq!(code, Some(0));
    let waits = seconds(UNIT, "TimeoutStopSec=").min(seconds(COMPOSE, "stop_grace_period: "));
    assert!(took < waits, "it took {took:?}, and is killed after {waits:?}");
}

#[test]
fn the_unit_and_the_alerts_know_the_limits() {
    let limits = Limits::default();
    let sockets = limits.connections_max + WsConfig::default().handshakes_max;
    for (file, key) in [(UNIT, "LimitNOFILE="), (COMPOSE, "nofile: ")] {
        let files: usize = value(file, key).parse().expect("a number");
        assert!(files > sockets, "{key}{files} is not more than {sockets} sockets");
    }
    assert!(ALERTS.contains(&format!("chat_queued_bytes > 0.6 * {}\n", limits.node_queue_bytes_max)));
}

#[test]
fn the_environment_of_unit_and_compose_file_is_the_servers() {
    let known = <Settings as clap::CommandFactory>::command();
    let known: BTreeSet<&str> = known
        .get_arguments()
        .filter_map(|flag| flag.get_env()?.to_str())
        .collect();
    let lines = UNIT
        .lines()
        .chain(COMPOSE.lines())
        .map(|line| line.trim_start_matches(['#', ' ']));
    let named = lines.filter_map(|line| line.split(['=', ':']).next().filter(|name| name.starts_with("CHAT_")));
    let named: BTreeSet<&str> = named
        .filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        .collect();
    // The proxy's own.
    let named: BTreeSet<&str> = named.into_iter().filter(|name| *name != "CHAT_HOST").collect();
    assert!(named.contains("CHAT_STORE") && named.len() >= 5, "{named:?}");
    assert!(named.is_subset(&known), "{named:?}\n{known:?}");
}

fn defaults() -> Settings {
    let settings = Settings::try_parse_from(["chat-server"]).expect("no flag is needed");
    assert_eq!(std::env::var("CHAT_GRACE").ok(), None, "the default is asked for");
    settings
}

/// Every word that is the name of a metric.
fn metrics(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("chat_")).collect()
}

/// The metric that a series is part of.
fn whole(series: &str) -> &str {
    let parts = ["_bucket", "_sum", "_count"].into_iter();
    let mut wholes = parts.filter_map(|part| series.strip_suffix(part));
    wholes.next().unwrap_or(series)
}

#[cfg(feature = "redis-tests")]
fn reaches(address: SocketAddr, name: &str, wanted: RangeInclusive<u64>) {
    let end = Instant::now() + SOON;
    while !wanted.contains(&measured(address, name)) {
        assert!(
            Instant::now() < end,
            "{name} is not {wanted:?}: {}",
            measured(address, name)
        );
        sleep(Duration::from_millis(100));
    }
}

fn value<'a>(file: &'a str, key: &str) -> &'a str {
    let lines = file.lines().map(str::trim_start);
    lines
        .filter_map(|line| line.strip_prefix(key))
        .next()
        .unwrap_or_else(|| panic!("no {key}"))
}

/// Of the shortest one, if there are several.
fn seconds(file: &str, key: &str) -> Duration {
    let lines = file.lines().map(str::trim_start);
    let values = lines.filter_map(|line| line.strip_prefix(key)?.strip_suffix('s')?.parse().ok());
    Duration::from_secs(values.min().unwrap_or_else(|| panic!("no {key}")))
}
