//! One device: a production client, and an application that remembers what it was shown.

use super::plan::DevicePlan;
use super::recorder::{Invariant, Recorder, Short};
use super::wire::{Balancer, Delivered, Network, ends};
use crate::random::Random;
use chat_client::{Client, Outbox, Update, Updates};
use chat_core::id::{ConversationId, MessageId, Position, Seq, UserId};
use chat_core::message::Message;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Whose device.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    pub name: Arc<str>,
    pub user: UserId,
    pub plan: Arc<DevicePlan>,
}

pub(super) struct Device {
    pub seat: Seat,
    network: Network,
    random: Mutex<Random>,
    running: Mutex<Running>,
    shown: Arc<Mutex<Shown>>,
    /// Whether the application reads what it is told.
    reads: watch::Sender<bool>,
}

#[derive(Default)]
struct Running {
    client: Option<Client>,
    reader: Option<JoinHandle<()>>,
    outbox: Option<Outbox>,
}

impl Device {
    pub fn new(seat: Seat, network: Network, random: Random) -> Self {
        let shown = Shown::new(&seat, &network);
        Self {
            network,
            random: Mutex::new(random),
            running: Mutex::default(),
            shown: Arc::new(Mutex::new(shown)),
            reads: watch::Sender::new(true),
            seat,
        }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().expect("no panic while the lock is held")
    }

    /// What the application was shown since the client started.
    pub fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().expect("no panic while the lock is held")
    }

    /// The client, unless the process is down.
    pub fn client(&self) -> Option<Client> {
        self.running().client.clone()
    }

    /// Starts the process, with what an earlier one left in its outbox or as on a new machine.
    pub fn start(&self, keeps_outbox: bool) {
        let (seed, random) = {
            let mut random = self.random.lock().expect("no panic while the lock is held");
            (random.bits(), random.fork())
        };
        let mut running = self.running();
        let outbox = running.outbox.take().filter(|_| keeps_outbox);
        let outbox = outbox.unwrap_or_else(Outbox::memory);
        *self.shown() = Shown::new(&self.seat, &self.network);
        let plan = self.seat.plan.clone();
        let balancer = Balancer::new(self.network.clone(), self.seat.clone(), random);
        let (client, updates) = Client::builder(balancer)
            .guest(self.seat.user.as_str())
            .device(&*self.seat.name)
            .codec(plan.codec)
            .outbox(outbox.clone())
            .rng_seed(seed)
            .updates_max(plan.updates_max)
            .connect_timeout(Duration::from_secs(3))
            .settings(|settings| {
                settings.wants = ["typing", "presence", "receipts"].map(str::to_owned).to_vec();
                settings.resume_events_max = plan.resume_events_max;
                settings.reconnect_cap = Duration::from_secs(4);
                settings.welcome_timeout = Duration::from_secs(8);
                settings.ping_after = Duration::from_secs(4);
                settings.watchdog = Duration::from_secs(10);
                settings.drain_timeout = Duration::from_secs(3);
            })
            .start()
            .expect("an outbox in memory opens");
        let reader = read(updates, self.shown.clone(), self.reads.subscribe());
        *running = Running {
            client: Some(client),
            reader: Some(tokio::spawn(reader)),
            outbox: Some(outbox),
        };
    }

    /// Kills the process: no goodbye.
    pub fn kill(&self) {
        let mut running = self.running();
        running.client = None;
        if let Some(reader) = running.reader.take() {
            reader.abort();
        }
    }

    /// Lets the application read what it is told, or stop doing so.
    pub fn set_reads(&self, reads: bool) {
        self.reads.send_replace(reads);
    }
}

async fn read(mut updates: Updates, shown: Arc<Mutex<Shown>>, mut reads: watch::Receiver<bool>) {
    loop {
        if reads.wait_for(|reads| *reads).await.is_err() {
            return;
        }
        let Some(update) = updates.recv().await else { return };
        shown.lock().expect("no panic while the lock is held").take(&update);
    }
}

/// What an application remembers of what its client told it, and whether that made sense.
pub(super) struct Shown {
    name: Arc<str>,
    user: UserId,
    network: Network,
    recorder: Recorder,
    pub conversations: BTreeMap<ConversationId, Place>,
    pub updates: u64,
}

/// One conversation as the application has it.
pub(super) struct Place {
    pub cursor: Position,
    pub joined: Seq,
    pub read: Seq,
    pub delivered: Seq,
    pub messages: BTreeMap<MessageId, Message>,
}

impl Shown {
    fn new(seat: &Seat, network: &Network) -> Self {
        Self {
            name: seat.name.clone(),
            user: seat.user.clone(),
            network: network.clone(),
            recorder: network.recorder.clone(),
            conversations: BTreeMap::new(),
            updates: 0,
        }
    }

    fn complain(&self, invariant: Invariant, conversation: &ConversationId, what: &str) {
        let text = format!("{} {}: {what}", self.name, Short(conversation));
        self.recorder.violated(invariant, text);
    }

    fn take(&mut self, update: &Update) {
        self.updates += 1;
        let (recorder, name) = (self.recorder.clone(), self.name.clone());
        match update {
            Update::Event(event) => {
                let id = event.conversation;
                let (seq, kind) = (event.seq, event.kind.name());
                recorder.note(format_args!("{name} shown {} {seq} {kind}", Short(&id)));
                self.network
                    .carried
                    .lock()
                    .expect("no panic while the lock is held")
                    .push(Delivered {
                        seat: name,
                        user: self.user.clone(),
                        conversation: id,
                        seq,
                        at_ms: recorder.now_ms(),
                    });
                if !self.step(id, seq, event.position()) {
                    return;
                }
                let Some(place) = self.conversations.get_mut(&id) else {
                    return;
                };
                if let Some(message) = event.kind.message() {
                    place.learn(message);
                }
                if event.seq > place.joined && ends(&event.kind, &self.user) {
                    self.conversations.remove(&id);
                }
            }
            Update::Skipped(skip) => {
                let (id, from, to, tag) = (skip.conversation, skip.from, skip.to, skip.tag);
                recorder.note(format_args!("{name} skips {} {from}..={to}", Short(&id)));
                self.step(id, from, Position { seq: to, tag });
            }
            Update::Inbox(entry) => {
                let id = entry.conversation.id;
                recorder.note(format_args!(
                    "{name} entry {} head {} joined {} unread {} read {} muted {} revision {}",
                    Short(&id),
                    entry.head.seq,
                    entry.joined,
                    entry.unread,
                    entry.read,
                    entry.muted,
                    entry.revision
                ));
                let place = self.conversations.entry(id).or_insert_with(|| Place {
                    cursor: entry.head,
                    joined: entry.joined,
                    read: entry.read,
                    delivered: entry.delivered,
                    messages: BTreeMap::new(),
                });
                let (read, delivered) = (place.read, place.delivered);
                let same = place.joined == entry.joined;
                (place.read, place.delivered, place.joined) = (entry.read, entry.delivered, entry.joined);
                if let Some(message) = &entry.last_message {
                    place.learn(message);
                }
                if same && (entry.read < read || entry.delivered < delivered) {
                    let what = format!(
                        "marks go back from {read}/{delivered} to {}/{}",
                        entry.read, entry.delivered
                    );
                    self.complain(Invariant::MarksGrow, &id, &what);
                }
            }
            Update::Reset { conversation, reason } => {
                let of = conversation.as_ref().map(|id| Short(id).to_string());
                let of = of.unwrap_or_else(|| "all".to_owned());
                recorder.note(format_args!("{name} reset {of}: {reason}"));
                match conversation {
                    Some(id) => drop(self.conversations.remove(id)),
                    None => self.conversations.clear(),
                }
            }
            Update::Failed { command, error } => {
                recorder.note(format_args!("{name} failed {}: {error}", command.name()));
            }
            Update::Signal(signal) => recorder.note(format_args!("{name} signal {:?}", signal.key())),
            Update::Synced { revision } => recorder.note(format_args!("{name} synced {revision}")),
            other => recorder.note(format_args!("{name} {other:?}")),
        }
    }

    /// One step of a log; `false` when it is no next one.
    fn step(&mut self, id: ConversationId, first: Seq, to: Position) -> bool {
        let Some(place) = self.conversations.get_mut(&id) else {
            self.complain(
                Invariant::OneOrder,
                &id,
                &format!("{first} of a log that was not begun"),
            );
            return false;
        };
        let at = place.cursor;
        if to.seq <= at.seq {
            let what = format!("{} again, at {}", to.seq, at.seq);
            self.complain(Invariant::OnceOnly, &id, &what);
            return false;
        }
        place.cursor = to;
        if first > at.seq.next() {
            self.complain(Invariant::OneOrder, &id, &format!("{first} follows {}", at.seq));
        }
        true
    }
}

impl Place {
    fn learn(&mut self, message: &Message) {
        match self.messages.get_mut(&message.id) {
            Some(known) if known.changed > message.changed => {}
            Some(known) => known.clone_from(message),
            None => {
                self.messages.insert(message.id, message.clone());
            }
        }
    }
}
