//! A TCP link that breaks as it is told: a proxy on a free loopback port, in front of any server.
//!
//! It passes bytes and knows nothing of what they mean. Everything it holds is bounded: what a direction does not pass
//! on waits in [`WAITING_MAX`] pieces, and then in the sender's own socket, as on a network.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// The largest piece that is read at once.
const PIECE_BYTES_MAX: usize = 8 << 10;

/// How many pieces wait in one direction of one connection.
pub const WAITING_MAX: usize = 32;

/// A link to a server. Dropping it closes its port and everything that passes through it.
///
/// ```no_run
/// # async fn doc(server: std::net::SocketAddr) -> std::io::Result<()> {
/// use chat_testkit::link::Link;
/// use std::time::Duration;
///
/// let link = Link::start(server).await?;
/// let address = link.address(); // for any client
/// link.faults(|faults| faults.down.delay = Duration::from_millis(200));
/// link.faults(|faults| faults.up.stalled = true); // half-open: requests vanish, nobody hangs up
/// link.heal();
/// link.reset(); // and every connection is gone
/// # drop(address);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    orders: watch::Sender<Orders>,
    /// Held by every connection.
    alive: Arc<()>,
    task: JoinHandle<()>,
}

/// What goes wrong on a link, for connections that are there and for those that come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// From the client to the server.
    pub up: Flow,
    /// From the server to the client.
    pub down: Flow,
    /// New connections are reset at once.
    pub refuses: bool,
}

/// What goes wrong in one direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flow {
    /// How much later every byte arrives.
    pub delay: Duration,
    /// Nothing arrives, nothing is closed, and connections are taken as ever; what is on its way arrives once this is
    /// over.
    pub stalled: bool,
    /// Every byte travels alone.
    pub chopped: bool,
}

/// What a link is told; a connection compares the counts with those at its beginning.
#[derive(Debug, Clone)]
struct Orders {
    target: SocketAddr,
    faults: Faults,
    cuts: u64,
    resets: u64,
    losses: u64,
}

impl Link {
    /// Listens on a free loopback port for a server there.
    ///
    /// # Errors
    /// When no port is free.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (orders, ordered) = watch::channel(Orders {
            target,
            faults: Faults::default(),
            cuts: 0,
            resets: 0,
            losses: 0,
        });
        let alive = Arc::new(());
        // It knows the handle's only weakly, so that what is counted are connections.
        let task = tokio::spawn(serve(listener, ordered, Arc::downgrade(&alive)));
        Ok(Self {
            address,
            orders,
            alive,
            task,
        })
    }

    /// Where clients connect; the same for the whole life of the link.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends new connections elsewhere; those that are there stay.
    pub fn set_target(&self, target: SocketAddr) {
        self.orders.send_modify(|orders| orders.target = target);
    }

    /// Changes what goes wrong, from the next byte on.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        self.orders.send_modify(|orders| change(&mut orders.faults));
    }

    /// Nothing goes wrong any more, but for what has been cut, reset or lost.
    pub fn heal(&self) {
        self.faults(|faults| *faults = Faults::default());
    }

    /// Closes every connection at both ends.
    pub fn cut(&self) {
        self.orders.send_modify(|orders| orders.cuts += 1);
    }

    /// Resets every connection at both ends (RST).
    pub fn reset(&self) {
        self.orders.send_modify(|orders| orders.resets += 1);
    }

    /// Loses every connection: both ends stay open, and nothing arrives at either ever again, as when a machine between
    /// them lost its tables. It ends when an end closes, or by [`cut`](Self::cut) or [`reset`](Self::reset).
    pub fn lose(&self) {
        self.orders.send_modify(|orders| orders.losses += 1);
    }

    /// How many connections there are, waiting ones included.
    pub fn connections(&self) -> usize {
        Arc::strong_count(&self.alive) - 1
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Owned by the link's handle; with it end the connections, which it owns.
async fn serve(listener: TcpListener, orders: watch::Receiver<Orders>, alive: Weak<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((client, _)) if orders.borrow().faults.refuses => reset(&client),
                Ok((client, _)) => {
                    let (orders, alive) = (orders.clone(), alive.upgrade());
                    connections.spawn(async move {
                        connect(client, orders).await;
                        drop(alive);
                    });
                }
                // Too many open files, or a client that was faster gone than taken: the next one may do.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }
}

async fn connect(mut client: TcpStream, orders: watch::Receiver<Orders>) {
    let began = orders.borrow().clone();
    let mut waits = orders.clone();
    let server = async {
        let ready = waits.wait_for(|now| now.ended(&began).is_some() || !now.faults.up.stalled);
        let ready = ready.await.ok().filter(|now| now.ended(&began).is_none());
        let target = ready.map(|now| now.target);
        TcpStream::connect(target?).await.ok()
    };
    let Some(mut server) = server.await else {
        return reset(&client);
    };
    // What is small should travel at once, and in chopped flows alone.
    if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
        return;
    }
    if pass(&mut client, &mut server, orders, &began).await == End::Reset {
        reset(&client);
        reset(&server);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

/// Passes bytes both ways until both ends have closed, one of them broke, or an order ends it.
async fn pass(
    client: &mut TcpStream,
    server: &mut TcpStream,
    mut orders: watch::Receiver<Orders>,
    began: &Orders,
) -> End {
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let up = flow(from_client, to_server, orders.clone(), began, |faults| &faults.up);
    let down = flow(from_server, to_client, orders.clone(), began, |faults| &faults.down);
    let ordered = async {
        match orders.wait_for(|now| now.ended(began).is_some()).await {
            Ok(now) => now.ended(began).unwrap_or(End::Closed),
            Err(_) => End::Closed,
        }
    };
    tokio::select! {
        biased;
        end = ordered => end,
        passed = async { tokio::try_join!(up, down) } => match passed {
            Ok(_) => End::Closed,
            Err(_) => End::Reset,
        },
    }
}

impl Orders {
    fn ended(&self, began: &Self) -> Option<End> {
        match (self.resets > began.resets, self.cuts > began.cuts) {
            (true, _) => Some(End::Reset),
            (_, true) => Some(End::Closed),
            _ => None,
        }
    }
}

/// One direction, up to the end of what its sender says.
async fn flow(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut orders: watch::Receiver<Orders>,
    began: &Orders,
    of: impl Fn(&Faults) -> &Flow,
) -> io::Result<()> {
    let (queue, mut waiting) = mpsc::channel::<(Instant, Vec<u8>)>(WAITING_MAX);
    let read = async move {
        let mut buffer = vec![0; PIECE_BYTES_MAX];
        loop {
            let count = from.read(&mut buffer).await?;
            // The writing half ends with this one, or with an error that ends both.
            if count == 0 || queue.send((Instant::now(), buffer[..count].to_vec())).await.is_err() {
                return io::Result::Ok(());
            }
        }
    };
    let write = async move {
        while let Some((at, bytes)) = waiting.recv().await {
            let now = orders
                .wait_for(|now| now.losses > began.losses || !of(&now.faults).stalled)
                .await;
            let Ok((lost, faults)) = now.map(|now| (now.losses > began.losses, of(&now.faults).clone())) else {
                return Ok(());
            };
            if lost {
                continue;
            }
            let Flow { delay, chopped, .. } = faults;
            if !delay.is_zero() {
                sleep_until(at + delay).await;
            }
            match chopped {
                true => write_chopped(&mut to, &bytes).await?,
                false => to.write_all(&bytes).await?,
            }
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write).map(drop)
}

async fn write_chopped(to: &mut WriteHalf<'_>, bytes: &[u8]) -> io::Result<()> {
    for byte in bytes {
        to.write_all(std::slice::from_ref(byte)).await?;
        // The other side gets a turn between two bytes.
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Makes the end of this stream a reset.
fn reset(stream: &TcpStream) {
    // A stream that is gone already needs none.
    let _ = stream.set_zero_linger();
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_secs(20);
    const A_WHILE: Duration = Duration::from_millis(200);

    /// A server that sends back what it gets, and says its letter first.
    struct Echo {
        address: SocketAddr,
        task: JoinHandle<()>,
    }

    impl Echo {
        async fn start(letter: u8) -> Self {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
            let address = listener.local_addr().expect("bound");
            let task = tokio::spawn(async move {
                let mut connections = JoinSet::new();
                while let Ok((mut stream, _)) = listener.accept().await {
                    connections.spawn(async move {
                        let (mut read, mut write) = stream.split();
                        write.write_all(&[letter]).await?;
                        tokio::io::copy(&mut read, &mut write).await
                    });
                }
            });
            Self { address, task }
        }
    }

    impl Drop for Echo {
        fn drop(&mut self) {
            self.task.abort();
        }
    }

    async fn pair() -> (Echo, Link) {
        let echo = Echo::start(b'a').await;
        let link = Link::start(echo.address).await.expect("a free port");
        (echo, link)
    }

    async fn dial(link: &Link) -> TcpStream {
        TcpStream::connect(link.address()).await.expect("the link listens")
    }

    async fn expect(stream: &mut TcpStream, wanted: &[u8]) {
        let mut got = vec![0; wanted.len()];
        let read = timeout(SOON, stream.read_exact(&mut got)).await;
        read.expect("it comes").expect("nobody hangs up");
        assert_eq!(got, wanted);
    }

    async fn expect_nothing(stream: &mut TcpStream) {
        let read = timeout(A_WHILE, stream.read_u8()).await;
        assert!(read.is_err(), "{read:?} came");
    }

    async fn ended(stream: &mut TcpStream) -> io::Result<usize> {
        let mut rest = Vec::new();
        timeout(SOON, stream.read_to_end(&mut rest)).await.expect("it ends")
    }

    #[tokio::test]
    async fn a_healthy_link_passes_everything_and_both_ends() {
        let (_echo, link) = pair().await;
        let mut stream = dial(&link).await;
        let text: Vec<u8> = (0..200_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        let (mut read, mut write) = stream.split();
        let written = async {
            write.write_all(&text).await.expect("taken");
            write.shutdown().await.expect("open");
        };
        let mut got = Vec::new();
        let ((), read) = tokio::join!(written, read.read_to_end(&mut got));
        read.expect("an end in order");
        assert_eq!((got[0], &got[1..]), (b'a', &text[..]));
    }

    #[tokio::test]
    async fn a_delay_holds_back_its_direction_and_keeps_the_order() {
        let (_echo, link) = pair().await;
        let mut stream = dial(&link).await;
        expect(&mut stream, b"a").await;
        link.faults(|faults| faults.down.delay = A_WHILE);
        let start = Instant::now();
        stream.write_all(b"one").await.expect("open");
        stream.write_all(b"two").await.expect("open");
        expect(&mut stream, b"onetwo").await;
        assert!(start.elapsed() >= A_WHILE);
    }

    #[tokio::test]
    async fn a_stalled_link_takes_connections_and_passes_nothing_until_it_heals() {
        let (_echo, link) = pair().await;
        let mut old = dial(&link).await;
        expect(&mut old, b"a").await;
        link.faults(|faults| faults.up.stalled = true);
        let mut new = dial(&link).await;
        old.write_all(b"old").await.expect("open");
        new.write_all(b"new").await.expect("open");
        expect_nothing(&mut old).await;
        expect_nothing(&mut new).await;
        link.heal();
        expect(&mut old, b"old").await;
        expect(&mut new, b"anew").await;
    }

    #[tokio::test]
    async fn one_direction_alone_can_stall() {
        let (_echo, link) = pair().await;
        link.faults(|faults| faults.down.stalled = true);
        let mut stream = dial(&link).await;
        expect_nothing(&mut stream).await;
        link.heal();
        expect(&mut stream, b"a").await;
    }

    #[tokio::test]
    async fn a_chopped_flow_loses_nothing() {
        let (_echo, link) = pair().await;
        link.faults(|faults| (faults.up.chopped, faults.down.chopped) = (true, true));
        let mut stream = dial(&link).await;
        stream.write_all(&[b'x'; 3_000]).await.expect("open");
        expect(&mut stream, b"a").await;
        expect(&mut stream, &[b'x'; 3_000]).await;
    }

    #[tokio::test]
    async fn a_cut_closes_what_is_there_and_not_what_comes() {
        let (_echo, link) = pair().await;
        let mut stream = dial(&link).await;
        expect(&mut stream, b"a").await;
        assert_eq!(link.connections(), 1);
        link.cut();
        assert_eq!(ended(&mut stream).await.expect("an end in order"), 0);
        expect(&mut dial(&link).await, b"a").await;
    }

    #[tokio::test]
    async fn a_reset_is_a_reset() {
        let (_echo, link) = pair().await;
        let mut stream = dial(&link).await;
        expect(&mut stream, b"a").await;
        link.reset();
        let error = ended(&mut stream).await.expect_err("no end in order");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_lost_connection_stays_open_and_deaf_for_good() {
        let (_echo, link) = pair().await;
        let mut stream = dial(&link).await;
        expect(&mut stream, b"a").await;
        link.lose();
        link.heal();
        stream.write_all(b"lost").await.expect("open");
        expect_nothing(&mut stream).await;
        expect(&mut dial(&link).await, b"a").await;
        link.reset();
        ended(&mut stream).await.expect_err("reset");
    }

    #[tokio::test]
    async fn a_link_that_refuses_resets_who_comes_and_keeps_who_is_there() {
        let (_echo, link) = pair().await;
        let mut old = dial(&link).await;
        expect(&mut old, b"a").await;
        link.faults(|faults| faults.refuses = true);
        ended(&mut dial(&link).await).await.expect_err("reset");
        old.write_all(b"here").await.expect("open");
        expect(&mut old, b"here").await;
    }

    #[tokio::test]
    async fn the_target_can_change_and_a_dead_one_resets() {
        let (echo, link) = pair().await;
        let other = Echo::start(b'b').await;
        expect(&mut dial(&link).await, b"a").await;
        link.set_target(other.address);
        expect(&mut dial(&link).await, b"b").await;
        drop(other);
        let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        link.set_target(closed.local_addr().expect("bound"));
        drop(closed);
        ended(&mut dial(&link).await).await.expect_err("reset");
        link.set_target(echo.address);
        expect(&mut dial(&link).await, b"a").await;
    }

    #[tokio::test]
    async fn everything_ends_with_the_handle() {
        let (_echo, link) = pair().await;
        let mut stream = dial(&link).await;
        expect(&mut stream, b"a").await;
        let address = link.address();
        drop(link);
        let _ = ended(&mut stream).await;
        let gone = timeout(SOON, async {
            while TcpStream::connect(address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        });
        gone.await.expect("the port is closed");
    }

    #[tokio::test]
    async fn what_waits_is_bounded() {
        let (_echo, link) = pair().await;
        link.faults(|faults| faults.up.stalled = true);
        let mut stream = dial(&link).await;
        let piece = vec![0; 1 << 20];
        let mut written = 0;
        while let Ok(Ok(count)) = timeout(A_WHILE, stream.write(&piece)).await {
            written += count;
            assert!(written < 64 << 20, "the sender is never held back");
        }
    }
}
