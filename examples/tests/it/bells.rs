//! What servers tell each other: whether it came by a bell, or was found in the store some seconds later.

use crate::process::{Process, get};
use std::net::SocketAddr;

/// What ana says, ben hears by bells: the second server is his.
pub fn carry(ana: &mut Process, ben: &Process, there: SocketAddr) {
    let count = || ["chat_bells_heard_total", "chat_reconcile_found_total"].map(|name| measured(there, name));
    let before = count();
    for number in 0..20 {
        ana.say(&format!("number {number}"));
        ben.output.wait_for(&format!("ana: number {number}"));
    }
    let [heard, found] = count();
    // Probes and digests are bells too: that some were heard says little. And a few messages may be found in the store, while
    // their bell is on its way or before his server listens.
    assert!(heard - before[0] >= 10, "{before:?}, {heard}");
    assert!(found - before[1] < 10, "{before:?}, {found}");
}

/// What a metric without labels says now.
pub fn measured(address: SocketAddr, name: &str) -> u64 {
    let (_, scraped) = get(address, "/metrics");
    let mut lines = scraped.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("{name} is not in:\n{scraped}"))
}
