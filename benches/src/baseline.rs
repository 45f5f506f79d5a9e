//! The two bare servers that ours is measured against: a room broadcaster with no chat logic.
//!
//! [`Engine::Queued`] has a task and a channel per connection on tokio-tungstenite and flushes a drained queue once;
//! [`Engine::Direct`] frames by hand and writes one encoded frame to every socket from the sender's task.
//!
//! Protocol (text frames): connect to `/?room=R[&since=N]`, the server answers `J` once joined (after what it replays);
//! `S<id> <room> <body>` sends; the server answers the sender and broadcasts one encoded frame to every member of the
//! room, the sender included. Event and answer have the shape and so the length of ours (`event`, `ack`): the ratio
//! compares like with like. Nothing else is to be added here: it is a floor.
#![allow(
    clippy::unwrap_used,
    reason = "a bare server may fall over: nothing is promised of it"
)]

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, OnceLock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// One encoded delivery: `wire` is header + payload, `payload` the same bytes without the header.
#[derive(Clone)]
struct Frame {
    wire: Bytes,
    payload: Utf8Bytes,
}

fn make_frame(payload: String) -> Frame {
    let n = payload.len();
    let mut w = Vec::with_capacity(n + 4);
    w.push(0x81);
    if n < 126 {
        w.push(n as u8);
    } else {
        w.push(126);
        w.extend_from_slice(&(n as u16).to_be_bytes());
    }
    w.extend_from_slice(payload.as_bytes());
    Frame {
        wire: Bytes::from(w),
        payload: Utf8Bytes::from(payload),
    }
}

/// What a receiver gets: an event as ours writes it, the tag, sender and time made up.
fn event(room: &str, id: &str, seq: u64, body: &str) -> String {
    format!(
        "{{\"type\":\"event\",\"event\":\"message:new\",\"conversation\":\"{room}\",\"seq\":{seq},\
         \"tag\":\"0123456789abcdef\",\"id\":\"{id}\",\"actor\":\"c0000m00000\",\"at\":1790000000000,\
         \"data\":{{\"message\":{{\"id\":\"{id}\",\"seq\":{seq},\"sender\":\"c0000m00000\",\"at\":1790000000000,\
         \"version\":1,\"changed\":{seq},\"content\":{{\"text\":\"{body}\"}}}}}}}}"
    )
}

/// What the sender gets: a reply as ours writes it, to a request number of seven digits.
fn ack(room: &str, id: &str, seq: u64) -> String {
    format!(
        "{{\"type\":\"reply\",\"req\":1000000,\"result\":{{\"stored\":{{\"conversation\":\"{room}\",\"id\":\"{id}\",\
         \"seq\":{seq},\"tag\":\"0123456789abcdef\",\"at\":1790000000000,\"duplicate\":false}}}}}}"
    )
}

enum Out {
    Chan(mpsc::UnboundedSender<Frame>),
    Direct(Arc<Direct>),
}
struct Direct {
    stream: TcpStream,
    pending: Mutex<Vec<u8>>,
    more: Notify,
}
impl Direct {
    fn send(&self, b: &[u8]) {
        let mut p = self.pending.lock().unwrap();
        let mut done = 0;
        if p.is_empty() {
            match self.stream.try_write(b) {
                Ok(n) => done = n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
        if done < b.len() {
            p.extend_from_slice(&b[done..]);
            self.more.notify_one();
        }
    }
}
impl Out {
    fn send(&self, f: &Frame) {
        match self {
            Out::Chan(c) => {
                let _ = c.send(f.clone());
            }
            Out::Direct(d) => d.send(&f.wire),
        }
    }
}

#[derive(Default)]
struct RoomState {
    seq: u64,
    members: Vec<(u64, Arc<Out>)>,
    ring: VecDeque<(u64, Frame)>,
}
type Room = Arc<Mutex<RoomState>>;

struct Hub {
    rooms: Vec<Mutex<HashMap<String, Room>>>,
    ring: usize,
    redis: Option<mpsc::UnboundedSender<String>>,
}
static HUB: OnceLock<Hub> = OnceLock::new();
fn hub() -> &'static Hub {
    HUB.get().unwrap()
}
impl Hub {
    fn room(&self, name: &str) -> Room {
        let mut h = 5381usize;
        for b in name.bytes() {
            h = h.wrapping_mul(33) ^ b as usize;
        }
        let mut m = self.rooms[h % self.rooms.len()].lock().unwrap();
        if let Some(r) = m.get(name) {
            return r.clone();
        }
        let r: Room = Default::default();
        m.insert(name.to_string(), r.clone());
        r
    }
    fn broadcast(&self, room: &str, id: &str, body: &str) -> u64 {
        let r = self.room(room);
        let mut s = r.lock().unwrap();
        s.seq += 1;
        let f = make_frame(event(room, id, s.seq, body));
        for (_, m) in s.members.iter() {
            m.send(&f);
        }
        if self.ring > 0 {
            let q = s.seq;
            s.ring.push_back((q, f));
            if s.ring.len() > self.ring {
                s.ring.pop_front();
            }
        }
        s.seq
    }
    fn on_send(&self, text: &str, out: &Arc<Out>) {
        // S<id> <room> <body>
        let Some(rest) = text.strip_prefix('S') else { return };
        let mut it = rest.splitn(3, ' ');
        let (Some(id), Some(room), Some(body)) = (it.next(), it.next(), it.next()) else {
            return;
        };
        let seq = match &self.redis {
            // Its place is known when it is back from Redis; the answer has the same length.
            Some(redis) => {
                let _ = redis.send(format!("{id} {room} {body}"));
                1
            }
            None => self.broadcast(room, id, body),
        };
        out.send(&make_frame(ack(room, id, seq)));
    }
    fn join(&self, room: &str, id: u64, out: Arc<Out>, since: Option<u64>) {
        let r = self.room(room);
        let mut s = r.lock().unwrap();
        if let Some(n) = since {
            for (q, f) in s.ring.iter() {
                if *q > n {
                    out.send(f);
                }
            }
        }
        s.members.push((id, out));
    }
    fn leave(&self, room: &str, id: u64) {
        let r = self.room(room);
        let mut s = r.lock().unwrap();
        s.members.retain(|m| m.0 != id);
    }
}

/// Everything sent goes through one channel, and every server delivers what comes from it.
async fn redis_tasks(url: String, mut rx: mpsc::UnboundedReceiver<String>) {
    let client = redis::Client::open(url).expect("redis url");
    let mut con = client.get_multiplexed_async_connection().await.expect("redis");
    let mut ps = client.get_async_pubsub().await.expect("pubsub");
    ps.subscribe("p0").await.expect("subscribe");
    tokio::spawn(async move {
        let mut st = ps.on_message();
        while let Some(m) = st.next().await {
            let s: String = m.get_payload().unwrap();
            let mut it = s.splitn(3, ' ');
            if let (Some(id), Some(room), Some(body)) = (it.next(), it.next(), it.next()) {
                hub().broadcast(room, id, body);
            }
        }
    });
    let mut v: Vec<String> = Vec::new();
    loop {
        v.clear();
        if rx.recv_many(&mut v, 64).await == 0 {
            return;
        }
        let mut p = redis::pipe();
        for m in &v {
            p.publish("p0", m).ignore();
        }
        let _: () = p.query_async(&mut con).await.expect("publish");
    }
}

/// Reads the HTTP head and answers 101. Returns the request target.
async fn handshake(s: &mut TcpStream) -> io::Result<String> {
    let mut buf = Vec::with_capacity(512);
    let mut tmp = [0u8; 512];
    while !buf.windows(4).any(|w| w == b"\r\n\r\n") {
        let n = s.read(&mut tmp).await?;
        if n == 0 || buf.len() > 8192 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buf.extend_from_slice(&tmp[..n]);
    }
    let head = String::from_utf8_lossy(&buf);
    let target = head.split(' ').nth(1).unwrap_or("/").to_string();
    let key = head
        .lines()
        .find_map(|l| {
            l.split_once(':')
                .filter(|(k, _)| k.eq_ignore_ascii_case("sec-websocket-key"))
                .map(|(_, v)| v.trim().to_string())
        })
        .unwrap_or_default();
    let acc = derive_accept_key(key.as_bytes());
    s.write_all(
        format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {acc}\r\n\r\n")
            .as_bytes(),
    )
    .await?;
    Ok(target)
}

fn query(t: &str, k: &str) -> Option<String> {
    t.split_once('?')?
        .1
        .split('&')
        .find_map(|p| p.split_once('=').filter(|(a, _)| *a == k).map(|(_, v)| v.to_string()))
}

async fn run_tung(s: TcpStream, room: String, since: Option<u64>, id: u64, readbuf: usize) {
    let mut cfg = WebSocketConfig::default();
    if readbuf > 0 {
        cfg = cfg.read_buffer_size(readbuf);
    }
    let mut ws = tokio_tungstenite::WebSocketStream::from_raw_socket(s, Role::Server, Some(cfg)).await;
    let (tx, mut rx) = mpsc::unbounded_channel::<Frame>();
    let out = Arc::new(Out::Chan(tx));
    hub().join(&room, id, out.clone(), since);
    out.send(&make_frame("J".into()));
    let mut batch: Vec<Frame> = Vec::new();
    loop {
        tokio::select! {
            biased;
            n = rx.recv_many(&mut batch, 64) => {
                if n == 0 { break }
                let mut bad = false;
                for f in batch.drain(..) {
                    if ws.feed(Message::Text(f.payload)).await.is_err() { bad = true; break }
                }
                if bad || ws.flush().await.is_err() { break }
            }
            m = ws.next() => match m {
                Some(Ok(Message::Text(t))) => hub().on_send(t.as_str(), &out),
                Some(Ok(Message::Close(_))) | None | Some(Err(_)) => break,
                _ => {}
            }
        }
    }
    hub().leave(&room, id);
}

async fn run_direct(s: TcpStream, room: String, since: Option<u64>, id: u64) {
    let d = Arc::new(Direct {
        stream: s,
        pending: Mutex::new(Vec::new()),
        more: Notify::new(),
    });
    let out = Arc::new(Out::Direct(d.clone()));
    hub().join(&room, id, out.clone(), since);
    out.send(&make_frame("J".into()));
    let mut carry: Vec<u8> = Vec::new();
    let mut want_write = false;
    'conn: loop {
        tokio::select! {
            r = d.stream.readable() => {
                if r.is_err() { break }
                let mut tmp = [0u8; 4096];
                loop {
                    match d.stream.try_read(&mut tmp) {
                        Ok(0) => break 'conn,
                        Ok(n) => {
                            carry.extend_from_slice(&tmp[..n]);
                            let mut off = 0;
                            loop {
                                let b = &mut carry[off..];
                                if b.len() < 6 { break }
                                let (len, h) = match b[1] & 0x7f {
                                    126 => { if b.len() < 8 { break } (u16::from_be_bytes([b[2], b[3]]) as usize, 4) }
                                    127 => break 'conn,
                                    n => (n as usize, 2),
                                };
                                if b.len() < h + 4 + len { break }
                                let key = [b[h], b[h + 1], b[h + 2], b[h + 3]];
                                let op = b[0] & 15;
                                let p = &mut b[h + 4..h + 4 + len];
                                for (i, x) in p.iter_mut().enumerate() { *x ^= key[i & 3] }
                                match op {
                                    1 => if let Ok(t) = std::str::from_utf8(p) { hub().on_send(t, &out) },
                                    8 => break 'conn,
                                    _ => {}
                                }
                                off += h + 4 + len;
                            }
                            carry.drain(..off);
                            if n < tmp.len() { break }
                        }
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                        Err(_) => break 'conn,
                    }
                }
                if carry.is_empty() { carry = Vec::new() }
            }
            _ = d.more.notified(), if !want_write => want_write = true,
            r = d.stream.writable(), if want_write => {
                if r.is_err() { break }
                let mut p = d.pending.lock().unwrap();
                match d.stream.try_write(&p) {
                    Ok(n) => { p.drain(..n); }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => break,
                }
                if p.is_empty() { *p = Vec::new(); want_write = false; }
            }
        }
    }
    hub().leave(&room, id);
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// A channel and a task per connection.
    Queued,
    /// Written from the sender's task.
    Direct,
}

/// What tungstenite reads at once; its default costs 128 KiB a connection and the time to clear it.
const READ_BUFFER: usize = 4096;

/// Serves on a free loopback port until the process ends; with a Redis, together with the others that have it.
pub async fn serve(engine: Engine, redis: Option<String>) -> io::Result<()> {
    let (to_redis, sent) = mpsc::unbounded_channel();
    let _ = HUB.set(Hub {
        redis: redis.is_some().then_some(to_redis),
        rooms: (0..64).map(|_| Default::default()).collect(),
        ring: std::env::var("RING").ok().and_then(|v| v.parse().ok()).unwrap_or(0),
    });
    let sock = tokio::net::TcpSocket::new_v4()?;
    sock.bind(([127, 0, 0, 1], 0).into())?;
    let l: TcpListener = sock.listen(4096)?;
    crate::load::say_ready(l.local_addr()?.port())?;
    if let Some(url) = redis {
        tokio::spawn(redis_tasks(url, sent));
    }
    let mut id = 0u64;
    loop {
        let Ok((mut s, _)) = l.accept().await else { continue };
        id += 1;
        tokio::spawn(async move {
            let _ = s.set_nodelay(true);
            let Ok(t) = handshake(&mut s).await else { return };
            let room = query(&t, "room").unwrap_or_default();
            let since = query(&t, "since").and_then(|v| v.parse().ok());
            match engine {
                Engine::Direct => tokio::spawn(run_direct(s, room, since, id)),
                Engine::Queued => tokio::spawn(run_tung(s, room, since, id, READ_BUFFER)),
            };
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load;
    use chat_core::codec::Codec;
    use chat_core::event::{Event, MessageNew};
    use chat_core::frame::{Outcome, Reply, ServerFrame, Stored};
    use chat_core::id::{Seq, Tag, Timestamp};
    use chat_core::message::{Content, Message};

    #[test]
    fn the_bare_frames_are_the_frames_of_ours() {
        let (conversation, id, at, tag) = (
            load::conversation(3),
            load::message(12),
            Timestamp(1_790_000_000_000),
            Tag(0x0123_4567_89ab_cdef),
        );
        let (seq, sender, text) = (Seq(42), load::user(0, 0), load::text(12));
        let message = Message {
            id,
            seq,
            sender: Some(sender.clone()),
            at,
            version: 1,
            changed: seq,
            edited_at: None,
            deleted_at: None,
            content: Some(Content::text(text.clone())),
            reply_to: None,
            reactions: Vec::new(),
        };
        let ours = Codec::Json.encode(&ServerFrame::Event(Event {
            conversation,
            seq,
            tag,
            id: id.into(),
            actor: Some(sender),
            at,
            kind: MessageNew { message }.into(),
        }));
        let (room, id_text) = (conversation.to_string(), id.to_string());
        assert_eq!(event(&room, &id_text, 42, &text).as_bytes(), ours);
        let stored = Stored {
            conversation,
            id: id.into(),
            seq,
            tag,
            at,
            duplicate: false,
        };
        let ours = Codec::Json.encode(&ServerFrame::Reply(Reply {
            req: 1_000_000,
            result: Outcome::Stored(stored),
        }));
        assert_eq!(ack(&room, &id_text, 42).as_bytes(), ours);
    }
}
