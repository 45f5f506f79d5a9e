//! All that a node counts, in one list: whoever scrapes it finds every name from its start on, at 0, so that no panel and
//! no alert has to wait for a first failure.
//!
//! It is counted where it happens. Tests hold this list to those places, and the operators' page to this list.

use chat_protocol::code::CloseCode;

const GAUGES: [(&str, &str); 6] = [
    (
        "chat_ready",
        "1 while new connections should come to this node, else 0: what `/readyz` answers",
    ),
    ("chat_connections", "open connections"),
    (
        "chat_queued_bytes",
        "bytes that wait, a shared payload once: what `node_queue_bytes_max` bounds",
    ),
    (
        "chat_backplane_alive",
        "1 while the backplane believes to be connected, else 0: then news between nodes waits for reconcile",
    ),
    (
        "chat_degraded",
        "1 while the backplane is gone, or this node does not hear itself through it, else 0; 0 without a backplane",
    ),
    (
        "chat_nodes",
        "nodes whose leases hold, this one included: the same everywhere, unless a node does not reach the store",
    ),
];

const COUNTERS: [(&str, &str); 15] = [
    ("chat_handshakes_refused_total", "handshakes answered 503"),
    ("chat_events_appended_total", "events stored through this node"),
    (
        "chat_appends_unknown_total",
        "commands answered `unavailable` because the store failed; one with which it is only late is not counted",
    ),
    ("chat_deliveries_total", "events times their receivers on this node"),
    (
        "chat_session_overflows_total",
        "queues that were full and fell back to the log",
    ),
    ("chat_bells_rung_total", "bells that the backplane took"),
    ("chat_bells_heard_total", "bells of other nodes"),
    (
        "chat_bells_late_total",
        "bells whose events were not next in order: the store was read, or had told already",
    ),
    (
        "chat_bells_dropped_total",
        "bells that were too long or found no room, on their way out, in, or to a busy conversation; reconcile heals",
    ),
    ("chat_bells_failed_total", "bells that the backplane refused"),
    (
        "chat_backplane_resyncs_total",
        "times that the backplane may have missed bells, above all by a connection that broke and came back",
    ),
    (
        "chat_reconcile_found_total",
        "conversations in which the store had more than bells had said, a few whose bell was still on its way among them",
    ),
    (
        "chat_after_commit_dropped_total",
        "events that the host's `after_commit` never saw",
    ),
    (
        "chat_signals_dropped_total",
        "signals that found no room for a slow reader",
    ),
    ("chat_typing_dropped_total", "typing signals that came too fast"),
];

const HISTOGRAMS: [(&str, &str); 2] = [
    (
        "chat_append_seconds",
        "how long the store took for the commands that waited in one conversation",
    ),
    (
        "chat_read_wait_seconds",
        "how long a session waited for its turn to ask the store, above all for what it missed; `session_reads_max` have theirs",
    ),
];

const CLOSES: (&str, &str) = ("chat_closes_total", "connections that this node closed");
const HOOKS_FAILED: (&str, &str) = ("chat_hooks_failed_total", "hooks that panicked or took too long");

/// Names every metric to the recorder, and counts nothing.
pub(crate) fn register() {
    for (name, what) in GAUGES {
        metrics::describe_gauge!(name, what);
        // Not set: another engine of this process may have.
        metrics::gauge!(name).increment(0.0);
    }
    for (name, what) in COUNTERS {
        metrics::describe_counter!(name, what);
        metrics::counter!(name).increment(0);
    }
    for (name, what) in HISTOGRAMS {
        metrics::describe_histogram!(name, metrics::Unit::Seconds, what);
        let _ = metrics::histogram!(name);
    }
    metrics::describe_counter!(CLOSES.0, CLOSES.1);
    for code in CloseCode::KNOWN {
        metrics::counter!(CLOSES.0, "code" => code.number().to_string()).increment(0);
    }
    metrics::describe_counter!(HOOKS_FAILED.0, HOOKS_FAILED.1);
    for why in ["panic", "time"] {
        metrics::counter!(HOOKS_FAILED.0, "why" => why).increment(0);
    }
}
