//! Runs the simulator: seeds one after the other on every core, and with `--planted` each known bug until it is caught.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)] // A program speaks to whoever started it.

use chat_testkit::sim::{self, Run};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const USAGE: &str = "usage: sim [--seeds N] [--seed FIRST] [--planted] [--trace]

  --seeds N     how many seeds to run (200)
  --seed FIRST  the first of them (1)
  --planted     plant each known bug in turn and count those that are caught (built with --cfg chat_planted)
  --trace       print everything that happens";

/// Failing seeds that are printed in full.
const SHOWN_MAX: usize = 5;

/// Steps of a failing seed that are printed.
const STEPS_MAX: usize = 30;

/// A seed that takes longer than this by the machine's clock hangs.
const HANGS_AFTER: Duration = Duration::from_secs(120);

thread_local! {
    /// Panics of tasks, which the runtime would swallow.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Options {
    seeds: u64,
    first: u64,
    planted: bool,
    trace: bool,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    std::panic::set_hook(Box::new(|info| {
        PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
    }));
    let fine = if options.planted {
        planted(&options)
    } else {
        clean(&options)
    };
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        seeds: 200,
        first: 1,
        planted: false,
        trace: false,
    };
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments.next().ok_or(format!("{argument} needs a number"))?;
            value
                .parse()
                .map_err(|_| format!("{argument} needs a number, not {value}"))
        };
        match argument.as_str() {
            "--seeds" => options.seeds = number()?,
            "--seed" => options.first = number()?,
            "--planted" => options.planted = true,
            "--trace" => options.trace = true,
            _ => return Err(format!("{argument} is no option")),
        }
    }
    Ok(options)
}

fn clean(options: &Options) -> bool {
    let since = Instant::now();
    let failed = AtomicU64::new(0);
    let history = AtomicU64::new(0);
    let totals = Mutex::new((0_u64, 0_u64, 0_u64, 0_u64));
    each_seed(options, options.seeds, |run| {
        let counts = run.counts;
        {
            let mut totals = totals.lock().expect("no panic while the lock is held");
            totals.0 += counts.events;
            totals.1 += counts.updates;
            totals.2 += counts.connections;
            totals.3 += counts.simulated_ms / 1_000;
        }
        if options.trace {
            run.trace.iter().for_each(|line| println!("{line}"));
        }
        if !run.violations.is_empty() && failed.fetch_add(1, Ordering::Relaxed) < SHOWN_MAX as u64 {
            report(&run);
        }
        history.fetch_xor(run.history, Ordering::Relaxed);
        true
    });
    let (events, updates, connections, seconds) = *totals.lock().expect("no panic while the lock is held");
    let took = since.elapsed().as_secs_f64();
    let failed = failed.into_inner();
    println!(
        "{} seeds in {took:.1} s ({:.1} a second): {failed} with violations; {events} events, {updates} updates, \
         {connections} connections, {seconds} s of simulated time; history {:016x}",
        options.seeds,
        options.seeds as f64 / took,
        history.into_inner(),
    );
    failed == 0
}

/// What went wrong, how it came to it, and how to see it again.
fn report(run: &Run) {
    println!("seed {} (history {:016x}):", run.seed, run.history);
    for violation in &run.violations {
        println!("  {violation}");
    }
    // The same seed is the same history: the steps are taken down only when somebody wants to see them.
    let steps = run_seed(run.seed, true).trace;
    let about = run
        .violations
        .first()
        .and_then(|violation| conversation(&violation.what));
    let until = steps
        .iter()
        .position(|step| step.contains("VIOLATION"))
        .unwrap_or(steps.len());
    let matters = |step: &&String| about.is_none_or(|about| step.contains(about));
    let last: Vec<_> = steps[..until].iter().rev().filter(matters).take(STEPS_MAX).collect();
    println!(
        "  the last steps{}:",
        about.map(|about| format!(" of {about}")).unwrap_or_default()
    );
    last.iter().rev().for_each(|step| println!("    {step}"));
    println!(
        "  repeat it: cargo xtask sim --seeds 1 --seed {} [-- --trace]",
        run.seed
    );
}

/// The conversation that a sentence is about: `c` and four hexadecimal digits.
fn conversation(what: &str) -> Option<&str> {
    let word = |word: &&str| word.len() == 5 && word.starts_with('c') && u16::from_str_radix(&word[1..], 16).is_ok();
    what.split(|c: char| !c.is_alphanumeric()).find(word)
}

#[cfg(not(chat_planted))]
fn planted(_: &Options) -> bool {
    eprintln!("this build has no planted bugs: cargo xtask sim --planted makes one that has");
    false
}

#[cfg(chat_planted)]
fn planted(options: &Options) -> bool {
    use chat_protocol::planted::{ALL, plant};
    let mut caught = 0;
    for bug in ALL {
        let since = Instant::now();
        let first = first_caught(options, bug);
        plant(None);
        match first {
            Some(run) => {
                caught += 1;
                let (took, what) = (since.elapsed().as_secs_f64(), &run.violations[0]);
                println!("{bug:?}: caught by seed {} in {took:.1} s: {what}", run.seed);
            }
            None => println!("{bug:?}: NOT caught by {} seeds", options.seeds),
        }
    }
    println!("{caught}/{}", ALL.len());
    caught == ALL.len()
}

/// The first seed that fails with the bug and is fine without it.
#[cfg(chat_planted)]
fn first_caught(options: &Options, bug: chat_protocol::planted::Bug) -> Option<Run> {
    use chat_protocol::planted::plant;
    let mut from = options.first;
    let end = options.first + options.seeds;
    while from < end {
        plant(Some(bug));
        let failing: Mutex<Option<Run>> = Mutex::new(None);
        let rest = Options {
            first: from,
            trace: false,
            ..*options
        };
        each_seed(&rest, end - from, |run| {
            let mut failing = failing.lock().expect("no panic while the lock is held");
            if !run.violations.is_empty() && failing.as_ref().is_none_or(|other| other.seed > run.seed) {
                *failing = Some(run);
            }
            failing.is_none()
        });
        let run = failing.into_inner().expect("no panic while the lock is held")?;
        plant(None);
        if run_seed(run.seed, false).violations.is_empty() {
            return Some(run);
        }
        println!("seed {} fails without a planted bug too", run.seed);
        from = run.seed + 1;
    }
    None
}

/// Runs seeds on every core, in order, until `take` says that it is enough.
fn each_seed(options: &Options, seeds: u64, take: impl Fn(Run) -> bool + Sync) {
    let cores = if options.trace {
        1
    } else {
        thread::available_parallelism().map_or(1, usize::from)
    };
    let next = AtomicU64::new(0);
    let enough = AtomicBool::new(false);
    let running: Vec<Mutex<Option<(u64, Instant)>>> = (0..cores).map(|_| Mutex::new(None)).collect();
    let left = AtomicU64::new(cores as u64);
    thread::scope(|scope| {
        for slot in &running {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= seeds || enough.load(Ordering::Relaxed) {
                        break;
                    }
                    let seed = options.first + index;
                    *slot.lock().expect("no panic while the lock is held") = Some((seed, Instant::now()));
                    if !take(run_seed(seed, options.trace)) {
                        enough.store(true, Ordering::Relaxed);
                    }
                }
                *slot.lock().expect("no panic while the lock is held") = None;
                left.fetch_sub(1, Ordering::Relaxed);
            });
        }
        while left.load(Ordering::Relaxed) > 0 {
            thread::sleep(Duration::from_millis(20));
            for slot in &running {
                let slot = slot.lock().expect("no panic while the lock is held");
                if let Some((seed, since)) = *slot
                    && since.elapsed() > HANGS_AFTER
                {
                    println!("seed {seed} hangs: cargo xtask sim --seeds 1 --seed {seed}");
                    std::process::exit(1);
                }
            }
        }
    });
}

fn run_seed(seed: u64, trace: bool) -> Run {
    let run = catch_unwind(AssertUnwindSafe(|| sim::run(seed, trace)));
    let panics = PANICS.take();
    let mut run = run.unwrap_or_else(|_| Run::broken(seed));
    for panic in panics {
        run.violations.push(sim::Violation {
            invariant: sim::Invariant::NoPanic,
            what: panic,
        });
    }
    run
}
