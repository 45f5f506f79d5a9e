//! The simulator itself: one seed is one history, and a handful of worlds keep every promise.
//!
//! Many more run by `cargo xtask sim`.

use chat_testkit::sim;
use std::thread;

#[test]
fn one_seed_is_one_history() {
    let first = sim::run(7, true);
    // Another thread has other hashers.
    let again = thread::spawn(|| sim::run(7, true)).join().unwrap();
    let difference = first.trace.iter().zip(&again.trace).find(|(one, other)| one != other);
    assert_eq!(difference, None);
    assert_eq!((first.history, first.counts), (again.history, again.counts));
    assert_eq!(
        sim::run(7, false).history,
        first.history,
        "taking notes changes nothing"
    );
    assert_ne!(sim::run(8, false).history, first.history);
}

#[test]
fn a_handful_of_worlds_keep_every_promise() {
    for seed in 1..=5 {
        let run = sim::run(seed, false);
        assert_eq!(run.violations, [], "seed {seed}");
        let counts = run.counts;
        assert!(
            counts.events > 0 && counts.updates > 0 && counts.connections > 0,
            "{counts:?}"
        );
    }
}
