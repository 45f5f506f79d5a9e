//! Who there is and where they talk, by seed.

use crate::history::now_ms;
use chat_client::protocol::id::{CommandId, ConversationId, UserId};
use chat_testkit::Random;
use serde::{Deserialize, Serialize};

/// One device of a user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Seat {
    /// Whose.
    pub user: UserId,
    /// Which of theirs.
    pub device: usize,
    /// The conversations that it makes at its very beginning.
    pub founds: Vec<Founding>,
    /// Whether it acts by itself; otherwise it only reads.
    pub acts: bool,
}

/// A conversation that somebody makes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Founding {
    /// Its id.
    pub conversation: ConversationId,
    /// The id of the command.
    pub id: CommandId,
    /// Otherwise it is a group.
    pub is_direct: bool,
    /// The others, those who come and go among them.
    pub members: Vec<UserId>,
    /// Those of the others whom the founder removes and adds again.
    pub come_and_go: Vec<UserId>,
}

/// How many there are of what.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Users.
    pub users: usize,
    /// Every so many users one has two devices; none for 0.
    pub two_devices_every: usize,
    /// Groups.
    pub groups: usize,
    /// Members of each.
    pub members: usize,
    /// Of these, who come and go.
    pub come_and_go: usize,
    /// Direct conversations.
    pub directs: usize,
    /// Whether only founders write.
    pub founders_write: bool,
}

/// Everybody.
#[derive(Debug, Clone)]
pub struct Population {
    /// Every device.
    pub seats: Vec<Seat>,
}

impl Population {
    /// Draws it.
    pub fn new(size: Size, random: &mut Random) -> Self {
        let users: Vec<UserId> = (0..size.users).map(user).collect();
        let mut foundings: Vec<Vec<Founding>> = vec![Vec::new(); size.users];
        let mut found = |founder: usize, is_direct, members: Vec<UserId>, come_and_go: usize, random: &mut Random| {
            let come_and_go = members[members.len() - come_and_go..].to_vec();
            foundings[founder].push(Founding {
                conversation: ConversationId::from_parts(now_ms(), random.bytes()),
                id: CommandId::from_parts(now_ms(), random.bytes()),
                is_direct,
                members,
                come_and_go,
            });
        };
        // Groups lie evenly over the users, so that each has about as many; directs join neighbours.
        for group in 0..size.groups {
            let founder = group * size.users / size.groups;
            let step = 1 + group % 3;
            let others = (1..size.members).map(|index| users[(founder + index * step) % size.users].clone());
            found(founder, false, others.collect(), size.come_and_go, random);
        }
        for direct in 0..size.directs {
            let founder = direct % size.users;
            let other = users[(founder + 1 + direct / size.users) % size.users].clone();
            found(founder, true, vec![other], 0, random);
        }
        let mut seats = Vec::new();
        for (number, (user, founds)) in users.into_iter().zip(foundings).enumerate() {
            let acts = !size.founders_write || !founds.is_empty();
            let two = size.two_devices_every > 0 && number % size.two_devices_every == 0;
            if two {
                seats.push(Seat {
                    user: user.clone(),
                    device: 1,
                    founds: Vec::new(),
                    acts,
                });
            }
            seats.push(Seat {
                user,
                device: 0,
                founds,
                acts,
            });
        }
        Self { seats }
    }

    /// Every conversation, with its founder.
    pub fn conversations(&self) -> impl Iterator<Item = (&UserId, &Founding)> {
        let seats = self.seats.iter();
        seats.flat_map(|seat| seat.founds.iter().map(|founding| (&seat.user, founding)))
    }

    /// How many conversations all devices have together, once everything is founded.
    pub fn places(&self) -> usize {
        let devices = |user: &UserId| self.seats.iter().filter(|seat| seat.user == *user).count();
        let of = |(founder, founding): (&UserId, &Founding)| {
            devices(founder) + founding.members.iter().map(devices).sum::<usize>()
        };
        self.conversations().map(of).sum()
    }

    /// Dealt out to so many processes; if told so, those who found conversations to one of their own.
    pub fn deal(&self, processes: usize, founders_apart: bool) -> (Option<Vec<Seat>>, Vec<Vec<Seat>>) {
        let is_apart = |seat: &&Seat| founders_apart && !seat.founds.is_empty();
        let (apart, others): (Vec<&Seat>, Vec<&Seat>) = self.seats.iter().partition(is_apart);
        let deal = |process| {
            others
                .iter()
                .skip(process)
                .step_by(processes)
                .copied()
                .cloned()
                .collect()
        };
        let apart = founders_apart.then(|| apart.into_iter().cloned().collect());
        (apart, (0..processes).map(deal).collect())
    }
}

fn user(number: usize) -> UserId {
    UserId::new(format!("u{number:04}")).expect("a short name")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn everybody_is_somewhere_and_nobody_twice_in_one_place() {
        let size = Size {
            users: 30,
            two_devices_every: 2,
            groups: 8,
            members: 8,
            come_and_go: 2,
            directs: 40,
            founders_write: false,
        };
        let population = Population::new(size, &mut Random::new(7));
        assert_eq!(population.seats.len(), 45);
        let mut somewhere = BTreeSet::new();
        for (founder, founding) in population.conversations() {
            let all: BTreeSet<_> = founding.members.iter().chain([founder]).collect();
            assert_eq!(all.len(), founding.members.len() + 1);
            somewhere.extend(all);
        }
        assert_eq!(somewhere.len(), 30);
        assert_eq!(population.deal(4, false).1.concat().len(), 45);
        let (founders, others) = population.deal(4, true);
        assert_eq!(
            founders.map(|founders| founders.len() + others.concat().len()),
            Some(45)
        );
    }
}
