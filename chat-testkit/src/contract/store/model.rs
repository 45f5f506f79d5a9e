//! Random operations: worlds by seed, in which users do everything that can be done, right and wrong.
//!
//! A world is a list of operations that follows from its number and from what the store answered. One promise asks a
//! reference the same and wants the same answers; since the reference is a store too, the other one knows no store and
//! holds every world to laws that follow from its log. Several worlds run at once in one store and share nothing.
//!
//! `CHAT_SEED=7` runs world 7 alone, `CHAT_LONG=1` ten times as many.

use super::StoreFixture;
use ask::Ask;
use both::Both;
use laws::Laws;
use std::sync::Arc;
use world::World;

mod ask;
mod both;
mod deed;
mod fold;
mod laws;
mod look;
mod world;

const WORLDS: u64 = 24;
const WORLDS_AT_ONCE: usize = 4;
const STEPS: u64 = 60;

/// The same operations, the same answers as from the reference: every command with right and wrong actors, ids and
/// versions, alone and in batches, and every read.
pub async fn random_operations_are_answered_as_by_the_reference_model(fixture: impl StoreFixture) {
    in_worlds(fixture, answered_alike).await;
}

async fn answered_alike<F: StoreFixture>(fixture: Arc<F>, seed: u64) {
    let (mut world, mut both) = (World::new(seed), Both::new(&*fixture).await);
    let mut place = Place::of("random_operations_are_answered_as_by_the_reference_model", seed);
    for step in 0..STEPS {
        place.step = step;
        let ask = world.act();
        if world.wants_time_before(&ask) {
            both.let_time_pass(&*fixture).await;
        }
        let answer = both.ask(&ask).await;
        world.learn(&ask, &answer);
        if step >= 12 && step % 4 == 0 {
            for _ in 0..9 {
                both.ask(&world.look()).await;
            }
        }
        if step % 20 == 19 {
            both.compare_changes(&world.users, &world.conversations()).await;
        }
    }
    for user in world.users.clone() {
        both.ask(&Ask::Entries(user, world.conversations())).await;
    }
}

/// Whatever was done: the log has no gap and its tags are chained, every id is in it once, as it was acknowledged;
/// members, counts, marks and unread follow from it; a revision never falls; what was deleted is nowhere, and what is
/// hidden is a skip.
pub async fn random_operations_keep_the_laws_that_follow_from_the_log(fixture: impl StoreFixture) {
    in_worlds(fixture, by_the_laws).await;
}

async fn by_the_laws<F: StoreFixture>(fixture: Arc<F>, seed: u64) {
    let (mut world, mut laws) = (World::new(seed), Laws::new([fixture.store(), fixture.another()]));
    let mut place = Place::of("random_operations_keep_the_laws_that_follow_from_the_log", seed);
    for step in 0..STEPS {
        place.step = step;
        let ask = world.act();
        if world.wants_time_before(&ask) {
            fixture.advance(std::time::Duration::from_millis(3)).await;
        }
        laws.act(&mut world, &ask).await;
        if step % 20 == 19 {
            laws.look_around(&mut world).await;
        }
    }
}

/// Runs worlds, some at a time, until all are done or one has failed.
async fn in_worlds<F, World>(fixture: F, world: fn(Arc<F>, u64) -> World)
where
    F: StoreFixture,
    World: Future<Output = ()> + Send + 'static,
{
    let fixture = Arc::new(fixture);
    let long = if std::env::var_os("CHAT_LONG").is_some() { 10 } else { 1 };
    let seeds: Vec<u64> = match std::env::var("CHAT_SEED") {
        Ok(seed) => vec![seed.parse().expect("CHAT_SEED is the number of a world")],
        Err(_) => (1..=WORLDS * long).collect(),
    };
    for seeds in seeds.chunks(WORLDS_AT_ONCE) {
        let worlds: Vec<_> = seeds
            .iter()
            .map(|seed| tokio::spawn(world(fixture.clone(), *seed)))
            .collect();
        let mut ends = Vec::new();
        for world in worlds {
            ends.push(world.await);
        }
        if let Some(failed) = ends.into_iter().find_map(Result::err) {
            std::panic::resume_unwind(failed.into_panic());
        }
    }
}

/// Says, when a world fails, which it was, where, and how to run it again.
struct Place {
    promise: &'static str,
    seed: u64,
    step: u64,
}

impl Place {
    fn of(promise: &'static str, seed: u64) -> Self {
        Self { promise, seed, step: 0 }
    }
}

impl Drop for Place {
    #[expect(clippy::print_stderr, reason = "a failure says how to repeat it")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { promise, seed, step } = self;
            eprintln!("world {seed} failed at step {step}; again: CHAT_SEED={seed} cargo test -p PACKAGE {promise}");
        }
    }
}
