//! What the application learns: a queue per reader, in order and without loss.

use chat_protocol::client_session::Update;
use futures_core::Stream;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;

/// Everything that happens to a client from the moment of the subscription on, in order and without loss.
///
/// # When it is not read
/// At most [`updates_max`](crate::ClientBuilder::updates_max) updates wait here (and what one more frame brings). Then
/// the client stops reading from the server: nothing is dropped, the server keeps what is missed in its log, and closes
/// the connection when nothing moves for long; after that, reading goes on by reconnect and resume. Replies stop with
/// everything else: do not await a command in the task that has to read this. Whoever does not want updates drops this.
#[derive(Debug)]
pub struct Updates {
    queue: Arc<Queue>,
}

#[derive(Debug)]
struct Queue {
    /// Guards the waiting updates; held to move one.
    state: Mutex<State>,
    /// Tells the client’s task that there is room.
    drained: Arc<Notify>,
    max: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Update>,
    reader: Option<Waker>,
    /// No reader, or no writer any more.
    ended: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the lock is held")
    }
}

impl Updates {
    /// The next update; nothing once the client has ended and everything was read.
    ///
    /// # Cancel safety
    /// Cancel safe: a dropped call takes nothing.
    pub async fn recv(&mut self) -> Option<Update> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    /// The next update if one waits.
    pub fn try_recv(&mut self) -> Option<Update> {
        let mut state = self.queue.lock();
        let update = state.waiting.pop_front();
        if state.waiting.len() < self.queue.max {
            self.queue.drained.notify_one();
        }
        update
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Update>> {
        if let Some(update) = self.try_recv() {
            return Poll::Ready(Some(update));
        }
        let mut state = self.queue.lock();
        // Between the two locks an update may have come.
        if let Some(update) = state.waiting.pop_front() {
            return Poll::Ready(Some(update));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        state.reader = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Stream for Updates {
    type Item = Update;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Update>> {
        self.poll(context)
    }
}

impl Drop for Updates {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.ended = true;
        state.waiting.clear();
        self.queue.drained.notify_one();
    }
}

/// The writing end: all readers of one client.
#[derive(Debug, Clone)]
pub(crate) struct Publisher {
    /// Guards the list of readers; held to add one or to hand updates to each.
    queues: Arc<Mutex<Vec<Arc<Queue>>>>,
    pub(crate) drained: Arc<Notify>,
    max: usize,
}

impl Publisher {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            queues: Arc::default(),
            drained: Arc::default(),
            max: max.max(1),
        }
    }

    fn queues(&self) -> MutexGuard<'_, Vec<Arc<Queue>>> {
        self.queues.lock().expect("no panic while the lock is held")
    }

    pub(crate) fn subscribe(&self) -> Updates {
        let queue = Arc::new(Queue {
            state: Mutex::default(),
            drained: self.drained.clone(),
            max: self.max,
        });
        self.queues().push(queue.clone());
        Updates { queue }
    }

    pub(crate) fn publish(&self, update: &Update) {
        self.queues().retain(|queue| {
            let mut state = queue.lock();
            if state.ended {
                return false;
            }
            state.waiting.push_back(update.clone());
            if let Some(reader) = state.reader.take() {
                reader.wake();
            }
            true
        });
    }

    /// Whether a reader is so far behind that nothing more should come.
    pub(crate) fn is_full(&self) -> bool {
        let mut queues = self.queues();
        queues.retain(|queue| !queue.lock().ended);
        queues.iter().any(|queue| queue.lock().waiting.len() >= self.max)
    }

    /// Ends all streams once what waits was read.
    pub(crate) fn end(&self) {
        for queue in self.queues().drain(..) {
            let mut state = queue.lock();
            state.ended = true;
            if let Some(reader) = state.reader.take() {
                reader.wake();
            }
        }
    }
}
