//! What a seed decides beforehand: who there is, how narrow everything is, and what may go wrong.

use crate::backplane::Faults;
use crate::random::Random;
use chat_core::Limits;
use chat_core::codec::Codec;
use chat_core::id::UserId;
use std::time::Duration;

/// One seed's plan. Each fault is on in some seeds only, so that what one of them hides another shows.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub nodes: usize,
    pub users: Vec<UserId>,
    pub devices: Vec<DevicePlan>,
    pub limits: Limits,
    /// How long users act and things go wrong.
    pub turmoil: Duration,
    /// The mean time between two acts of one device.
    pub pace: Duration,
    pub chaos: ChaosPlan,
}

#[derive(Debug, Clone)]
pub(super) struct DevicePlan {
    pub user: usize,
    pub codec: Codec,
    /// What each direction of its network holds.
    pub pipe_bytes: usize,
    /// The most that one write takes.
    pub write_bytes_max: usize,
    /// How many updates its application lets wait.
    pub updates_max: usize,
    /// Over how many missed events it takes the short way.
    pub resume_events_max: Option<u64>,
    /// How likely a push comes twice or out of its order, as over a carrier that is not TCP.
    pub unruly: f64,
}

/// How often things go wrong: the mean time between two of them; absent where this seed has none.
#[derive(Debug, Clone)]
pub(super) struct ChaosPlan {
    pub cuts: Option<Duration>,
    pub stalls: Option<Duration>,
    pub slow_readers: Option<Duration>,
    pub backplane: Option<Faults>,
    pub mutes: Option<Duration>,
    pub store_chance: Option<(f64, f64)>,
    pub store_delay: Option<Duration>,
    pub store_outages: Option<Duration>,
    pub kills: Option<Duration>,
    pub drains: Option<Duration>,
    pub client_restarts: Option<Duration>,
    pub slow_hooks: Option<Duration>,
}

impl Plan {
    pub fn of(random: &mut Random) -> Self {
        let users: Vec<UserId> = (0..random.below(5..8))
            .map(|number| UserId::new(format!("u{number}")).expect("a plain name"))
            .collect();
        let mut owners: Vec<usize> = (0..users.len()).collect();
        for _ in 0..random.below(2..5) {
            owners.push(index(random, users.len()));
        }
        let unruly = random.chance(0.3);
        let devices = owners.into_iter().map(|user| device(random, user, unruly)).collect();
        Self {
            nodes: if random.chance(0.3) { 3 } else { 2 },
            users,
            devices,
            limits: limits(random),
            turmoil: Duration::from_millis(random.below(8_000..20_000)),
            pace: Duration::from_millis(random.below(150..700)),
            chaos: chaos(random),
        }
    }
}

fn index(random: &mut Random, count: usize) -> usize {
    usize::try_from(random.below(0..count as u64)).expect("below a count")
}

fn device(random: &mut Random, user: usize, unruly: bool) -> DevicePlan {
    let narrow = random.chance(0.4);
    DevicePlan {
        user,
        codec: if random.chance(0.5) {
            Codec::Json
        } else {
            Codec::MessagePack
        },
        pipe_bytes: if narrow { number(random, 64..4_096) } else { 64 * 1024 },
        write_bytes_max: if narrow { number(random, 16..1_024) } else { usize::MAX },
        updates_max: if random.chance(0.3) {
            number(random, 1..16)
        } else {
            1_024
        },
        resume_events_max: random.chance(0.3).then(|| random.below(3..40)),
        unruly: if unruly { 0.1 } else { 0.0 },
    }
}

/// Narrow queues, short pages and impatient times show in seconds what takes days elsewhere.
fn limits(random: &mut Random) -> Limits {
    let mut limits = Limits::default();
    if random.chance(0.7) {
        limits.sends_per_user = (1_000, 2_000);
        limits.sends_per_conversation = (1_000, 2_000);
        limits.connection.commands_per_second = 1_000;
        limits.connection.commands_burst = 2_000;
    }
    limits.handshakes_per_second = 10_000;
    limits.directs_per_hour = 1_000;
    limits.connection.heartbeat_interval = Duration::from_secs(5);
    limits.connection.heartbeat_timeout = Duration::from_secs(3);
    limits.write_stall_max = Duration::from_secs(6);
    if random.chance(0.5) {
        limits.session_queue_frames_max = number(random, 4..64);
        limits.session_queue_bytes_max = number(random, 2_048..32_768);
    }
    if random.chance(0.5) {
        limits.page_events_max = number(random, 2..20);
        limits.page_entries_max = number(random, 1..8);
    }
    if random.chance(0.3) {
        limits.page_bytes_max = number(random, 512..8_192);
        limits.bell_bytes_max = number(random, 512..4_096);
    }
    if random.chance(0.3) {
        limits.batch_max = number(random, 1..8);
        limits.mailbox_max = number(random, 1..16);
    }
    limits.conversation_idle = Duration::from_millis(random.below(200..10_000));
    limits.topics = if random.chance(0.3) { 2 } else { 1_024 };
    limits.topic_linger = Duration::from_millis(random.below(100..10_000));
    limits.drain_spread = Duration::from_secs(1);
    limits
}

fn number(random: &mut Random, range: std::ops::Range<u64>) -> usize {
    usize::try_from(random.below(range)).expect("a small number")
}

fn chaos(random: &mut Random) -> ChaosPlan {
    let every = |random: &mut Random, chance: f64, range: std::ops::Range<u64>| {
        random
            .chance(chance)
            .then(|| Duration::from_millis(random.below(range)))
    };
    ChaosPlan {
        cuts: every(random, 0.6, 300..4_000),
        stalls: every(random, 0.3, 1_000..6_000),
        slow_readers: every(random, 0.4, 500..5_000),
        backplane: random.chance(0.6).then(|| Faults {
            loss: if random.chance(0.5) { 0.3 } else { 0.0 },
            repeat: if random.chance(0.5) { 0.2 } else { 0.0 },
            delay: Duration::ZERO..=Duration::from_millis(random.below(0..3_000)),
        }),
        mutes: every(random, 0.3, 2_000..8_000),
        store_chance: random.chance(0.5).then(|| {
            let chance = [0.01, 0.05, 0.15][index(random, 3)];
            (chance, if random.chance(0.7) { chance } else { 0.0 })
        }),
        store_delay: every(random, 0.5, 1..250),
        store_outages: every(random, 0.2, 3_000..10_000),
        kills: every(random, 0.3, 3_000..12_000),
        drains: every(random, 0.2, 4_000..12_000),
        client_restarts: every(random, 0.3, 2_000..8_000),
        slow_hooks: every(random, 0.2, 1..600),
    }
}
