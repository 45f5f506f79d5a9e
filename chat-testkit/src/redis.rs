//! A Redis of a test's own, which may be killed, frozen, and told to cut its subscribers; and a cluster of three.

use crate::home::{free_port, random_password};
use crate::server::{Program, Server, ServerError, system};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::ops::Deref;
use std::thread;
use std::time::{Duration, Instant};

static PROGRAM: Program = Program {
    name: "redis-server",
    // Upstream they are one program; Debian's client package has it under the other name.
    files: &["redis-server", "redis-check-rdb"],
    variable: "CHAT_REDIS_SERVER",
    package: "redis-tools",
    flags: &[],
    ready: "Ready to accept connections",
};

/// How many keys' slots a cluster has.
const SLOTS: u32 = 16_384;
const NODES: u32 = 3;

/// How long a server that is not frozen may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// How long three nodes may take to know each other.
const MEETS_WITHIN: Duration = Duration::from_secs(60);

/// A Redis server that belongs to whoever holds this value; what may be done to its process is that of [`Server`].
///
/// ```no_run
/// # fn main() -> Result<(), chat_testkit::server::ServerError> {
/// use chat_testkit::redis::PrivateRedis;
///
/// let redis = PrivateRedis::start()?;
/// let url = redis.url(); // for any client
/// redis.cut_subscribers()?;
/// redis.kill()?;
/// redis.start_again()?; // the same port
/// # drop(url);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PrivateRedis {
    server: Server,
    password: Password,
}

impl PrivateRedis {
    /// Starts a server that keeps nothing on disk.
    ///
    /// # Errors
    /// When the program is missing, or does not start.
    pub fn start() -> Result<Self, ServerError> {
        Self::start_with("")
    }

    /// The same, with further lines as in `redis.conf`; they win over those of this type.
    ///
    /// # Errors
    /// Those of [`start`](Self::start); a line that Redis does not know is one.
    pub fn start_with(settings: &str) -> Result<Self, ServerError> {
        Self::start_as(Password::new()?, settings)
    }

    fn start_as(password: Password, settings: &str) -> Result<Self, ServerError> {
        let lines = format!(
            "bind 127.0.0.1\nrequirepass {}\nsave \"\"\nappendonly no\npidfile pid\n{settings}\n",
            password.0
        );
        Ok(Self {
            server: Server::start(&PROGRAM, move |port| format!("port {port}\n{lines}"))?,
            password,
        })
    }

    /// The URL, password included.
    pub fn url(&self) -> String {
        self.url_through(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port())))
    }

    /// The URL for a client that comes through something else, such as a link that a test cuts.
    pub fn url_through(&self, address: SocketAddr) -> String {
        format!("redis://:{}@{address}", self.password.0)
    }

    /// Closes the connection of everybody who is subscribed to anything, and says how many there were.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn cut_subscribers(&self) -> Result<usize, ServerError> {
        let answer = self.command(&["CLIENT", "KILL", "TYPE", "pubsub"])?;
        answer.parse().map_err(|_| ServerError::Refused(answer))
    }

    /// Gives one command and returns the answer as text; of a list, a line for each element.
    ///
    /// # Errors
    /// When the server does not answer, or with an error.
    pub fn command(&self, words: &[&str]) -> Result<String, ServerError> {
        let mut answers = self.ask(words).map_err(system("the server does not answer"))?;
        let answer = answers.pop().unwrap_or_else(|| Err("nothing".to_owned()));
        answer.map_err(ServerError::Refused)
    }

    /// Logs in and asks; the answers of both.
    fn ask(&self, words: &[&str]) -> io::Result<Vec<Result<String, String>>> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port()))?;
        stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
        let mut request = Vec::new();
        for words in [&["AUTH", &self.password.0][..], words] {
            write!(request, "*{}\r\n", words.len())?;
            for word in words {
                write!(request, "${}\r\n{word}\r\n", word.len())?;
            }
        }
        stream.write_all(&request)?;
        let mut stream = BufReader::new(stream);
        (0..2).map(|_| answer(&mut stream)).collect()
    }
}

impl Deref for PrivateRedis {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// Three Redis servers that are one cluster, each with a third of the slots and without replicas.
#[derive(Debug)]
pub struct PrivateRedisCluster {
    nodes: Vec<PrivateRedis>,
}

impl PrivateRedisCluster {
    /// Starts the nodes, introduces them, and waits until each says that the cluster is whole.
    ///
    /// # Errors
    /// When the program is missing or does not start, or they do not find each other.
    pub fn start() -> Result<Self, ServerError> {
        let password = Password::new()?;
        let mut nodes: Vec<PrivateRedis> = Vec::new();
        for node in 0..NODES {
            let bus = free_port().map_err(system("no free loopback port"))?;
            let settings = format!("cluster-enabled yes\ncluster-port {bus}\ncluster-node-timeout 2000");
            let redis = PrivateRedis::start_as(password.clone(), &settings)?;
            let (first, last) = (SLOTS * node / NODES, SLOTS * (node + 1) / NODES - 1);
            redis.command(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()])?;
            redis.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(node + 1).to_string()])?;
            let to = [redis.port().to_string(), bus.to_string()];
            for other in &nodes {
                other.command(&["CLUSTER", "MEET", "127.0.0.1", &to[0], &to[1]])?;
            }
            nodes.push(redis);
        }
        let cluster = Self { nodes };
        cluster.wait_until_whole()?;
        Ok(cluster)
    }

    /// Its nodes, each a server that may be killed, frozen, and told to cut its subscribers.
    pub fn nodes(&self) -> &[PrivateRedis] {
        &self.nodes
    }

    /// The URLs of all nodes, their one password included, divided by commas.
    pub fn url(&self) -> String {
        let urls: Vec<String> = self.nodes.iter().map(PrivateRedis::url).collect();
        urls.join(",")
    }

    /// Waits until every node says that every slot is served; a killed node that was started again takes a moment.
    ///
    /// # Errors
    /// When one of them does not answer, or a minute was not enough.
    pub fn wait_until_whole(&self) -> Result<(), ServerError> {
        let end = Instant::now() + MEETS_WITHIN;
        for node in &self.nodes {
            loop {
                let info = node.command(&["CLUSTER", "INFO"])?;
                let known = format!("cluster_known_nodes:{NODES}");
                if info.contains("cluster_state:ok") && info.contains(&known) {
                    break;
                }
                if Instant::now() >= end {
                    return Err(ServerError::Refused(info));
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }
}

/// One answer of the server: text, or what it says is wrong.
fn answer(stream: &mut impl BufRead) -> io::Result<Result<String, String>> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let odd = || io::Error::new(io::ErrorKind::InvalidData, "the server says what is not understood");
    let (kind, rest) = line.split_at_checked(1).ok_or_else(odd)?;
    let rest = rest.trim_end();
    let length = || rest.parse::<i64>().map_err(|_| odd());
    Ok(Ok(match kind {
        "+" | ":" => rest.to_owned(),
        "-" => return Ok(Err(rest.to_owned())),
        "$" => {
            let Ok(length) = usize::try_from(length()?) else {
                return Ok(Ok(String::new()));
            };
            let mut text = Vec::new();
            stream.take(length as u64 + 2).read_to_end(&mut text)?;
            text.truncate(length);
            String::from_utf8_lossy(&text).into_owned()
        }
        "*" => {
            let elements: io::Result<Result<Vec<String>, String>> = (0..length()?).map(|_| answer(stream)).collect();
            return Ok(elements?.map(|elements| elements.join("\n")));
        }
        _ => return Err(odd()),
    }))
}

#[derive(Clone)]
struct Password(String);

impl Password {
    fn new() -> Result<Self, ServerError> {
        random_password().map(Self).map_err(system("no random numbers"))
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}
