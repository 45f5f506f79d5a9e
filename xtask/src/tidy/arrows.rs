//! The arrows of ARCHITECTURE.md: they only point down, and edges never see each other.
//!
//! Development dependencies are free: chat-core tests itself with the memory store and chat-testkit.

use std::collections::BTreeSet;

use crate::child;
use crate::report::Stop;
use crate::workspace::{Workspace, array, text};

/// Whom a package of the house may depend on, for other than development.
enum May {
    /// Only these packages of ours.
    Only(&'static [&'static str]),
    /// Whatever it likes: nothing stands on it.
    Anything,
}

/// One row per package, or per family of packages; a package without a row is a finding.
fn row(package: &str) -> Option<May> {
    Some(match package {
        "chat-protocol" | "xtask" => May::Only(&[]),
        "chat-core" | "chat-client" => May::Only(&["chat-protocol"]),
        "chat-testkit" | "examples" | "benches" | "chaos" => May::Anything,
        edge if is_edge(edge) => May::Only(&["chat-core", "chat-protocol"]),
        _ => return None,
    })
}

fn is_edge(package: &str) -> bool {
    ["chat-store-", "chat-transport-", "chat-backplane-"]
        .iter()
        .any(|family| package.starts_with(family))
}

/// Crates of others that must not be reached from a package, however deep; a name ending in `*` is a beginning.
const OUT_OF_REACH: [(&str, &[&str]); 2] = [
    (
        "chat-protocol",
        &[
            "tokio*",
            "*tungstenite",
            "mio",
            "socket2",
            "hyper*",
            "async-std",
            "smol",
        ],
    ),
    (
        "chat-core",
        &[
            "*tungstenite",
            "hyper*",
            "axum*",
            "sqlx*",
            "redis",
            "async-nats",
            "rustls",
            "socket2",
        ],
    ),
];

/// The findings of all packages of the workspace.
pub fn findings(workspace: &Workspace) -> Result<Vec<String>, Stop> {
    let ours: Vec<&str> = workspace.packages().map(|package| text(&package["name"])).collect();
    let mut findings = Vec::new();
    for package in workspace.packages() {
        let dependencies = array(&package["dependencies"]).iter();
        let built_in = dependencies.filter(|dependency| text(&dependency["kind"]) != "dev");
        let named: Vec<&str> = built_in.map(|dependency| text(&dependency["name"])).collect();
        findings.extend(judge(text(&package["name"]), &named, &ours));
    }
    for (package, forbidden) in OUT_OF_REACH {
        let mut tree = workspace.cargo(&["tree", "--quiet", "-p", package, "--all-features", "--edges", "normal"]);
        let tree = child::output(tree.args(["--prefix", "none", "--format", "{p}"]))?;
        let tree = String::from_utf8_lossy(&tree);
        let reached: BTreeSet<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
        eprintln!("{package} builds on {} crates", reached.len() - 1);
        findings.extend(judge_reach(package, &reached, forbidden));
    }
    Ok(findings)
}

fn judge(package: &str, dependencies: &[&str], ours: &[&str]) -> Vec<String> {
    let allowed = match row(package) {
        Some(May::Only(allowed)) => allowed,
        Some(May::Anything) => return Vec::new(),
        None => {
            return vec![format!(
                "{package}: has no row among the arrows (xtask/src/tidy/arrows.rs)"
            )];
        }
    };
    let within = dependencies
        .iter()
        .filter(|name| ours.contains(name) && !allowed.contains(name));
    within
        .map(|name| format!("{package}: depends on {name}, against the arrows of ARCHITECTURE.md"))
        .collect()
}

fn judge_reach(package: &str, reached: &BTreeSet<&str>, forbidden: &[&str]) -> Vec<String> {
    let is_forbidden = |name: &&&str| forbidden.iter().any(|pattern| matches(pattern, name));
    let found = reached.iter().filter(is_forbidden);
    found
        .map(|name| format!("{package}: reaches {name}, which it must build without"))
        .collect()
}

fn matches(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), _) => name.ends_with(end),
        (_, Some(start)) => name.starts_with(start),
        _ => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: [&str; 5] = [
        "chat-core",
        "chat-protocol",
        "chat-store-memory",
        "chat-transport-ws",
        "chat-client",
    ];

    #[test]
    fn arrows_that_point_down_are_fine() {
        assert_eq!(judge("chat-core", &["chat-protocol", "tokio"], &OURS), [""; 0]);
        assert_eq!(judge("chat-transport-ws", &["chat-core", "hyper"], &OURS), [""; 0]);
        assert_eq!(judge("examples", &OURS, &OURS), [""; 0]);
    }

    #[test]
    fn arrows_that_point_up_or_sideways_are_found() {
        assert_eq!(judge("chat-core", &["chat-store-memory"], &OURS).len(), 1);
        assert_eq!(judge("chat-protocol", &["chat-core"], &OURS).len(), 1);
        assert_eq!(judge("chat-transport-ws", &["chat-store-memory"], &OURS).len(), 1);
        assert_eq!(judge("chat-client", &["chat-core"], &OURS).len(), 1);
    }

    #[test]
    fn a_new_package_asks_for_a_row() {
        assert_eq!(judge("chat-search", &[], &OURS).len(), 1);
    }

    #[test]
    fn a_crate_out_of_reach_is_found_however_it_is_called() {
        let reached = BTreeSet::from(["bytes", "tokio-util", "tokio-tungstenite"]);
        assert_eq!(judge_reach("chat-protocol", &reached, OUT_OF_REACH[0].1).len(), 2);
    }
}
