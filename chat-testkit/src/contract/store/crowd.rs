//! A crowd: users on two devices each write into a few conversations, try again, are removed and come back.

use super::StoreFixture;
use super::scene::{Scene, by, stored_of, user};
use crate::random::Random;
use chat_core::command::{Command, MemberAdd, MemberRemove};
use chat_core::conversation::RuleLimits;
use chat_core::event::{Event, EventKind};
use chat_core::frame::Stored;
use chat_core::id::{ConversationId, MessageId, Position, Seq, UserId};
use chat_core::store::{Actor, Append, ItemOutcome, Refusal};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::task::yield_now;

const NAMES: [&str; 4] = ["ann", "bob", "carl", "dora"];
const BATCHES: u64 = 30;
const REMOVALS: usize = 12;

/// Eight writers on two handles, three of ten ids repeated, also by two writers at once, while members are removed and
/// come back: each log has no gap, holds each id once and nothing of a member who is none, and every answer is true.
pub async fn eight_writers_make_gapless_logs_with_every_id_once(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let mut groups = Vec::new();
    for _ in 0..3 {
        groups.push(scene.group(&["eve", "ann", "bob", "carl", "dora"]).await);
    }
    let crowd = Crowd::default();
    let mut writers = Vec::new();
    for writer in 0..8 {
        let handle = if writer % 2 == 0 {
            fixture.store()
        } else {
            fixture.another()
        };
        let name = NAMES[writer / 2];
        let random = Random::new(writer as u64);
        writers.push(tokio::spawn(crowd.clone().write(
            scene.through(handle),
            random,
            name,
            groups.clone(),
        )));
    }
    // Nobody is ever removed from the last one.
    let mut removers = Vec::new();
    for (number, group) in groups[..2].iter().copied().enumerate() {
        let scene = scene.through(if number == 0 {
            fixture.another()
        } else {
            fixture.store()
        });
        removers.push(tokio::spawn(crowd.clone().remove(
            scene,
            Random::new(number as u64),
            group,
        )));
    }
    let (mut attempts, mut absences) = (Vec::new(), Vec::new());
    for writer in writers {
        attempts.extend(writer.await.unwrap());
    }
    for remover in removers {
        absences.extend(remover.await.unwrap());
    }
    let repeated = attempts
        .iter()
        .filter(|attempt| matches!(attempt.outcome, Ok((_, false))))
        .count();
    assert!(repeated > 20, "{repeated} of {} were repeated", attempts.len());
    for group in groups {
        let log = scene.whole_log(group).await;
        assert_written_by_members(&log);
        let (attempts, absences): (Vec<_>, Vec<_>) = (
            attempts.iter().filter(|attempt| attempt.group == group).collect(),
            absences.iter().filter(|absence| absence.group == group).collect(),
        );
        assert_answers_are_true(&log, &attempts);
        for attempt in attempts.iter().filter(|attempt| attempt.outcome.is_err()) {
            assert_refused_in_an_absence(&log, attempt, &attempts, &absences);
        }
    }
}

/// One id that one writer tried to store, once.
#[derive(Debug)]
struct Attempt {
    group: ConversationId,
    name: &'static str,
    id: MessageId,
    began: u64,
    ended: u64,
    /// Where it is, and whether it was stored by this attempt.
    outcome: Result<(Stored, bool), Refusal>,
    /// The head that was told with it.
    head: Position,
}

/// A removal and the join after it: between these moments at the most, the user was no member.
#[derive(Debug)]
struct Absence {
    group: ConversationId,
    name: &'static str,
    began: u64,
    ended: u64,
    joined: Seq,
}

/// What is common to all in a crowd.
#[derive(Clone, Default)]
struct Crowd {
    /// Counts moments, so that it is known what was before what.
    moment: Arc<AtomicU64>,
    /// Which ids each user's devices tried where, the last one still on its way perhaps.
    tried: Arc<Mutex<BTreeMap<Whose, Vec<MessageId>>>>,
}

/// A user, and where.
type Whose = (&'static str, ConversationId);

impl Crowd {
    fn moment(&self) -> u64 {
        self.moment.fetch_add(1, Ordering::SeqCst)
    }

    async fn write(
        self,
        scene: Scene,
        mut random: Random,
        name: &'static str,
        groups: Vec<ConversationId>,
    ) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        for _ in 0..BATCHES {
            let group = groups[usize::try_from(random.below(0..3)).unwrap()];
            let ids: Vec<MessageId> = (0..random.below(1..4))
                .map(|_| self.id(&mut random, name, group))
                .collect();
            let message = |id: &MessageId| {
                let mut message = scene.message(group, &id.to_string());
                message.id = *id;
                scene.item(by(name), message)
            };
            let batch = Append {
                conversation: group,
                items: ids.iter().map(message).collect(),
                limits: RuleLimits::default(),
            };
            let began = self.moment();
            let appended = scene.store.append(batch).await.unwrap();
            let ended = self.moment();
            for (id, outcome) in ids.into_iter().zip(appended.outcomes) {
                attempts.push(Attempt {
                    group,
                    name,
                    id,
                    began,
                    ended,
                    outcome: outcome.map(|outcome| match outcome {
                        ItemOutcome::First(event) => (stored_of(&event), true),
                        ItemOutcome::Duplicate(stored) => (stored, false),
                    }),
                    head: appended.head,
                });
            }
            yield_now().await;
        }
        attempts
    }

    /// A new id, or one that this user tried here before, mostly a late one: it may be on its way from the other device.
    fn id(&self, random: &mut Random, name: &'static str, group: ConversationId) -> MessageId {
        let mut tried = self.tried.lock().unwrap();
        let tried = tried.entry((name, group)).or_default();
        if !tried.is_empty() && random.chance(0.3) {
            let late = if random.chance(0.7) {
                tried.len().saturating_sub(2)
            } else {
                0
            };
            return tried[usize::try_from(random.below(late as u64..tried.len() as u64)).unwrap()];
        }
        let id = MessageId::from_parts(tried.len() as u64, random.bytes());
        tried.push(id);
        id
    }

    async fn remove(self, scene: Scene, mut random: Random, group: ConversationId) -> Vec<Absence> {
        let mut absences = Vec::new();
        for _ in 0..REMOVALS {
            let name = NAMES[usize::try_from(random.below(0..4)).unwrap()];
            let (id, user) = (scene.id(), user(name));
            let remove = Command::from(MemberRemove {
                conversation: group,
                id,
                user: user.clone(),
            });
            let began = self.moment();
            let removed = scene.event(Actor::System, remove.clone()).await;
            for _ in 0..random.below(0..4) {
                yield_now().await;
            }
            let again = scene.duplicate(Actor::System, remove).await;
            assert_eq!(
                (again.seq, again.tag),
                (removed.seq, removed.tag),
                "an answer tells what is in the log"
            );
            let id = scene.id();
            let joined = scene
                .event(
                    Actor::System,
                    MemberAdd {
                        conversation: group,
                        id,
                        user,
                    },
                )
                .await;
            absences.push(Absence {
                group,
                name,
                began,
                ended: self.moment(),
                joined: joined.seq,
            });
            yield_now().await;
        }
        absences
    }
}

/// Every event is by somebody who was a member just before it, or by the host.
fn assert_written_by_members(log: &[Event]) {
    let mut members = BTreeSet::<UserId>::new();
    for event in log {
        if let EventKind::ConversationCreated(created) = &event.kind {
            members.extend(created.members.iter().map(|member| member.user.clone()));
        }
        let by_a_member = event.actor.as_ref().is_none_or(|actor| members.contains(actor));
        assert!(
            by_a_member,
            "{:?} was no member when {} was stored",
            event.actor, event.seq
        );
        match &event.kind {
            EventKind::MemberJoined(joined) => assert!(members.insert(joined.member.user.clone())),
            EventKind::MemberRemoved(removed) => assert!(members.remove(&removed.user)),
            _ => {}
        }
    }
}

/// Each id is in the log once; whoever was told so was told where, and one was told that they stored it.
fn assert_answers_are_true(log: &[Event], attempts: &[&Attempt]) {
    let stored: BTreeMap<_, _> = log.iter().map(|event| (event.id, stored_of(event))).collect();
    assert_eq!(stored.len(), log.len(), "every id is in the log once");
    let mut firsts = BTreeSet::new();
    for attempt in attempts {
        let head = log
            .iter()
            .find(|event| event.seq == attempt.head.seq)
            .map(Event::position);
        assert_eq!(head, Some(attempt.head), "a head that was told is in the log");
        let Ok((told, is_first)) = &attempt.outcome else {
            assert_eq!(attempt.outcome.clone().err(), Some(Refusal::NotFound));
            continue;
        };
        assert_eq!(told.duplicate, !is_first);
        let told = Stored {
            duplicate: false,
            ..*told
        };
        assert_eq!(stored.get(&told.id), Some(&told), "an answer tells what is in the log");
        assert!(told.seq <= attempt.head.seq);
        assert!(
            !is_first || firsts.insert(told.id),
            "{} was told twice to be stored now",
            told.id
        );
    }
    let messages = log.iter().filter(|event| event.kind.message().is_some());
    let messages: BTreeSet<_> = messages.map(|event| event.id).collect();
    assert_eq!(firsts, messages, "everything in the log was told to be stored, once");
}

/// A refusal is of one attempt: it was judged while its user was no member. The same id may be stored by another
/// attempt, but only by one that was judged later: who finds an id stored is answered where, whatever they are now. So
/// it lies behind the join that ended the absence, and nobody was told of it before the refused attempt began.
fn assert_refused_in_an_absence(log: &[Event], refused: &Attempt, attempts: &[&Attempt], absences: &[&Absence]) {
    let overlaps = |absence: &&&Absence| {
        absence.name == refused.name && absence.began < refused.ended && refused.began < absence.ended
    };
    let absences: Vec<_> = absences.iter().filter(overlaps).collect();
    assert!(!absences.is_empty(), "a member was refused: {refused:?}");
    if let Some(stored) = log.iter().find(|event| event.id == refused.id.into()) {
        let behind_a_join = absences.iter().any(|absence| absence.joined < stored.seq);
        assert!(
            behind_a_join,
            "{refused:?} is at {} with no join in between: {absences:?}",
            stored.seq
        );
    }
    let told_before = |told: &&&Attempt| told.id == refused.id && told.outcome.is_ok() && told.ended < refused.began;
    let told_before = attempts.iter().find(told_before);
    assert!(told_before.is_none(), "{refused:?} after {told_before:?}");
}
