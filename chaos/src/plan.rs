//! What goes wrong when, by seed.

use crate::nemesis::{Between, Ill, Nemesis};
use crate::stage::Kind;
use chat_testkit::Random;
use std::time::Duration;

/// Several things that go wrong in one stretch of time, between two quiet ones.
#[derive(Debug, Clone)]
pub struct Round {
    /// What, when from the beginning of the round, and for how long.
    pub nemeses: Vec<(Nemesis, Duration, Duration)>,
}

/// How many of each kind, for a run of so many minutes: a little more than is asked of twenty.
fn amount(minutes: u64, for_twenty: u64) -> u64 {
    (minutes * for_twenty).div_ceil(20).max(1)
}

/// Runs of so many minutes have room for what takes long.
const LONG_MINUTES: u64 = 10;

/// Each of these in its turn, from one on that chance picks: what chance alone would leave out comes, too.
struct Deal<T> {
    of: Vec<T>,
    next: usize,
}

impl<T: Copy> Deal<T> {
    fn new(of: impl Into<Vec<T>>, random: &mut Random) -> Self {
        let of = of.into();
        let next = random.below(0..of.len().max(1) as u64) as usize;
        Self { of, next }
    }

    fn next(&mut self) -> Option<T> {
        let next = self.of.get(self.next % self.of.len().max(1)).copied();
        self.next += 1;
        next
    }
}

/// Draws the rounds of a run.
pub fn rounds(minutes: u64, nodes: usize, processes: usize, broker: Kind, random: &mut Random) -> Vec<Round> {
    let mut all = Vec::new();
    let a_node = |random: &mut Random| random.below(0..nodes as u64) as usize;
    for _ in 0..amount(minutes, 33) {
        all.push(Nemesis::KillNode(a_node(random)));
    }
    for _ in 0..amount(minutes, 4) {
        all.push(Nemesis::FreezeNode(a_node(random)));
    }
    all.extend((0..amount(minutes, 2)).map(|_| Nemesis::Rolling));
    all.extend((0..amount(minutes, 7)).map(|_| Nemesis::StopDatabase));
    all.extend((0..amount(minutes, 3)).map(|_| Nemesis::FreezeDatabase));
    let mut brokers = Deal::new(Nemesis::of_the_broker(broker), random);
    let mut ills = Deal::new(Ill::ALL, random);
    for _ in 0..amount(minutes, 9) {
        match brokers.next() {
            Some(Nemesis::Link(between, ..)) => {
                let ill = ills.next();
                all.extend(ill.map(|ill| Nemesis::Link(between, a_node(random), ill)));
            }
            other => all.extend(other),
        }
    }
    let betweens = [Between::Clients, Between::Database];
    let mut links = betweens.map(|between| (between, Deal::new(Ill::ALL, random)));
    for number in 0..amount(minutes, 20) {
        let (between, ills) = &mut links[number as usize % betweens.len()];
        let ill = ills.next();
        all.extend(ill.map(|ill| Nemesis::Link(*between, a_node(random), ill)));
    }
    if minutes >= LONG_MINUTES {
        all.push(Nemesis::Link(Between::Clients, a_node(random), Ill::Forgotten));
    }
    for number in 0..amount(minutes, 12) {
        all.push(Nemesis::KillClients {
            hands: random.below(0..processes as u64) as usize,
            keeps_outbox: number % 3 != 1,
        });
    }
    shuffle(&mut all, random);
    let mut rounds: Vec<Round> = Vec::new();
    for nemesis in all {
        let lasts = nemesis.lasts(random);
        // Two of three stand alone; the others join one that stands alone, a moment later.
        let joins = random.chance(0.33);
        let after = random.between(&(Duration::from_millis(50)..=Duration::from_millis(1_500)));
        let mut lonely = rounds.iter_mut().filter(|round| round.nemeses.len() < 3);
        let partner = lonely.find(|round| round.nemeses.iter().all(|(other, ..)| nemesis.goes_with(*other)));
        match partner.filter(|_| joins) {
            Some(round) => round.nemeses.push((nemesis, after, lasts)),
            None => rounds.push(Round {
                nemeses: vec![(nemesis, Duration::ZERO, lasts)],
            }),
        }
    }
    shuffle(&mut rounds, random);
    rounds
}

fn shuffle<T>(items: &mut [T], random: &mut Random) {
    for last in (1..items.len()).rev() {
        items.swap(last, random.below(0..last as u64 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nemesis::Family;

    fn count(rounds: &[Round], family: Family) -> usize {
        let all = rounds.iter().flat_map(|round| &round.nemeses);
        all.filter(|(nemesis, ..)| nemesis.family() == family).count()
    }

    #[test]
    fn twenty_minutes_hold_what_is_asked_of_them_and_a_seed_is_a_plan() {
        let plan = |seed| rounds(20, 3, 4, Kind::Redis, &mut Random::new(seed));
        let rounds = plan(7);
        assert!(count(&rounds, Family::NodeKill) >= 30);
        assert!(count(&rounds, Family::DatabaseRestart) >= 6);
        assert!(count(&rounds, Family::Broker) >= 8);
        assert!(rounds.iter().any(|round| round.nemeses.len() > 1), "some overlap");
        assert_eq!(format!("{rounds:?}"), format!("{:?}", plan(7)));
        assert_ne!(format!("{rounds:?}"), format!("{:?}", plan(8)));
    }

    fn all(minutes: u64, broker: Kind, seed: u64) -> Vec<Nemesis> {
        let rounds = rounds(minutes, 3, 4, broker, &mut Random::new(seed));
        let all = rounds.iter().flat_map(|round| &round.nemeses);
        all.map(|(nemesis, ..)| *nemesis).collect()
    }

    #[test]
    fn twenty_minutes_hold_every_kind_whatever_the_seed() {
        for seed in 0..50 {
            for broker in [Kind::Redis, Kind::Nats, Kind::Postgres] {
                let all = all(20, broker, seed);
                for kind in Nemesis::of_the_broker(broker) {
                    let is_it = |nemesis: &&Nemesis| match (nemesis, kind) {
                        (Nemesis::Link(one, ..), Nemesis::Link(other, ..)) => *one == other,
                        (one, other) => **one == other,
                    };
                    assert!(all.iter().any(|nemesis| is_it(&nemesis)), "{kind:?} in {all:?}");
                }
                for between in [Between::Clients, Between::Database] {
                    for ill in Ill::ALL {
                        let is_it =
                            |nemesis: &Nemesis| matches!(nemesis, Nemesis::Link(b, _, i) if (*b, *i) == (between, ill));
                        assert!(all.iter().any(is_it), "{ill:?} between {between:?} in {all:?}");
                    }
                }
                let forgotten =
                    |nemesis: &Nemesis| matches!(nemesis, Nemesis::Link(Between::Clients, _, Ill::Forgotten));
                assert!(all.iter().any(forgotten), "somebody has to notice");
            }
            assert!(
                all(20, Kind::None, seed)
                    .iter()
                    .all(|nemesis| nemesis.family() != Family::Broker)
            );
        }
    }

    #[test]
    fn two_minutes_kill_clients_with_their_outboxes_and_without() {
        for seed in 0..50 {
            let all = all(2, Kind::Redis, seed);
            for wanted in [true, false] {
                let is_it = |nemesis: &Nemesis| matches!(nemesis, Nemesis::KillClients { keeps_outbox, .. } if *keeps_outbox == wanted);
                assert!(all.iter().any(is_it), "{all:?}");
            }
        }
    }

    #[test]
    fn it_is_an_outage_without_the_database_or_without_a_node_that_serves() {
        let stalled = |node| Nemesis::Link(Between::Clients, node, Ill::Stalled);
        let are_outage = |all: &[Nemesis]| Nemesis::are_outage(all.iter().copied(), 3);
        assert!(are_outage(&[Nemesis::FreezeDatabase]));
        assert!(are_outage(&[Nemesis::KillNode(0), Nemesis::FreezeNode(1), stalled(2)]));
        assert!(!are_outage(&[]));
        assert!(!are_outage(&[
            Nemesis::KillNode(0),
            Nemesis::FreezeNode(1),
            Nemesis::KillBroker
        ]));
        assert!(!are_outage(&[
            stalled(0),
            stalled(1),
            Nemesis::Link(Between::Clients, 2, Ill::Delayed)
        ]));
    }

    #[test]
    fn what_overlaps_breaks_different_things() {
        for seed in 0..50 {
            for round in rounds(20, 3, 4, Kind::Redis, &mut Random::new(seed)) {
                for (index, (one, ..)) in round.nemeses.iter().enumerate() {
                    let mut others = round.nemeses[index + 1..].iter();
                    assert!(others.all(|(other, ..)| one.goes_with(*other)), "{round:?}");
                }
            }
        }
    }
}
