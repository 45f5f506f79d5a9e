//! Client and server in one hand: frames go to and fro, and the connection breaks where the seed says.

use super::server::Server;
use super::*;
use crate::client_session::backoff::Random;
use std::collections::VecDeque;

struct Pair {
    client: Client,
    server: Server,
    to_server: VecDeque<ClientFrame>,
    to_client: VecDeque<ServerFrame>,
    seen: Vec<Event>,
    answered: Vec<Ticket>,
}

impl Pair {
    fn new() -> Self {
        Self {
            client: Client::new(),
            server: Server::new(epoch(1)),
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            seen: Vec::new(),
            answered: Vec::new(),
        }
    }

    fn input(&mut self, input: ClientInput) {
        for effect in self.client.input(input) {
            match effect {
                ClientEffect::Connect => self.input(ClientInput::Connected(Credential::Handshake)),
                ClientEffect::Send(frame) => self.to_server.push_back(frame),
                ClientEffect::Update(Update::Event(event)) => self.seen.push(*event),
                ClientEffect::Update(Update::Reset { conversation: None, .. }) => self.seen.clear(),
                ClientEffect::Settled { ticket, result } => {
                    assert!(result.is_ok(), "{ticket}: {result:?}");
                    self.answered.push(ticket);
                }
                _ => {}
            }
        }
    }

    /// Moves one frame in one direction; says whether there was one.
    fn step(&mut self, towards_client: bool) -> bool {
        if towards_client && let Some(frame) = self.to_client.pop_front() {
            self.input(ClientInput::Frame(frame));
            return true;
        }
        if let Some(frame) = self.to_server.pop_front() {
            self.to_client.extend(self.server.take(&frame));
            return true;
        }
        !self.to_client.is_empty()
    }

    /// What is under way is lost, in both directions, and the client waits its time.
    fn cut(&mut self) {
        self.to_server.clear();
        self.to_client.clear();
        self.input(ClientInput::Closed(None));
        while !matches!(self.client.session.phase, Phase::Greeting { .. }) {
            self.client.now = self.client.session.deadline().unwrap();
            self.input(ClientInput::Tick);
        }
    }

    fn settle(&mut self) {
        while self.step(true) {}
    }

    fn submit(&mut self, ticket: Ticket, command: Command) {
        self.input(ClientInput::Submit { ticket, command });
    }
}

#[test]
fn through_any_cuts_each_send_is_stored_once_in_order_and_seen_once() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut pair = Pair::new();
        pair.input(ClientInput::Start);
        pair.submit(0, join(1, 250));
        pair.settle();
        for n in 1..=12 {
            pair.submit(n, send(1, n as u8));
            for _ in 0..random.next() % 6 {
                match random.next() % 8 {
                    0 => pair.cut(),
                    n => {
                        pair.step(n % 2 == 0);
                    }
                }
            }
        }
        pair.settle();
        let log = &pair.server.logs[&conversation(1)];
        let stored: Vec<CommandId> = log.iter().skip(1).map(|event| event.id).collect();
        let wanted: Vec<CommandId> = (1..=12).map(|n| message_id(n).into()).collect();
        assert_eq!(stored, wanted, "seed {seed}");
        assert_eq!(pair.answered, (0..=12).collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(pair.seen, log[1..], "seed {seed}");
    }
}

#[test]
fn a_server_that_forgot_gets_the_join_and_then_what_waited() {
    let mut pair = Pair::new();
    pair.input(ClientInput::Start);
    pair.submit(1, join(1, 250));
    pair.settle();
    pair.submit(2, send(1, 1));
    pair.submit(3, send(1, 2));
    pair.server = Server::new(epoch(2));
    pair.cut();
    pair.settle();
    assert!(
        pair.server.logs.is_empty(),
        "nothing was sent to a server that would refuse it"
    );
    pair.submit(4, join(1, 251));
    pair.settle();
    assert_eq!(pair.answered, [1, 4, 2, 3]);
    assert_eq!(pair.server.logs[&conversation(1)].len(), 3);
    assert_eq!(pair.client.session.outbox_len(), 0);
}
