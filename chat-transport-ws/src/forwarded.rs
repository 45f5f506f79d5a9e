//! Who a client is behind proxies, by what they say in headers: `X-Forwarded-For` and `-Host`, and `Forwarded` (RFC 7239).

use http::header::{FORWARDED, HeaderMap, HeaderName};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use thiserror::Error;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Proxies whose word counts: an address, `10.0.0.1`, or a network, `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustedProxy {
    network: IpAddr,
    prefix: u8,
}

/// A trusted proxy cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is no address and no network: write {right}")]
pub struct TrustedProxyError {
    text: String,
    /// What would be right.
    right: String,
}

impl FromStr for TrustedProxy {
    type Err = TrustedProxyError;

    fn from_str(text: &str) -> Result<Self, TrustedProxyError> {
        let error = |right: String| TrustedProxyError {
            text: text.to_owned(),
            right,
        };
        let example = || error("`10.0.0.1`, `10.0.0.0/8` or `fd00::/8`".to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let network: IpAddr = address.parse().map_err(|_| example())?;
        if network != network.to_canonical() {
            return Err(error(format!("IPv4 as it is, `{}`", network.to_canonical())));
        }
        let bits = bits(network);
        let prefix = match prefix {
            None => bits,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                let prefix = digits.parse().ok().filter(|prefix| *prefix <= bits);
                prefix.ok_or_else(|| error(format!("a prefix of at most {bits} bits")))?
            }
            Some(_) => return Err(example()),
        };
        let begin = masked(network, prefix);
        // Whoever wrote it meant one of two things, and one of them trusts many more.
        if begin != network {
            return Err(error(format!(
                "`{begin}/{prefix}` for the network, or `{network}` for the address"
            )));
        }
        Ok(Self { network, prefix })
    }
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.network)?;
        match self.prefix == bits(self.network) {
            true => Ok(()),
            false => write!(f, "/{}", self.prefix),
        }
    }
}

impl TrustedProxy {
    fn holds(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.network.is_ipv4() && masked(address, self.prefix) == self.network
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

pub(crate) fn is_trusted(address: IpAddr, trusted: &[TrustedProxy]) -> bool {
    trusted.iter().any(|proxy| proxy.holds(address))
}

/// The client's address: from the peer backwards through what trusted proxies say, to the first that is not one of them.
///
/// What cannot be read counts as the proxy that said it: so does everything when both headers are there and do not
/// agree, because a proxy that writes one of them lets the other through as the client sent it.
pub(crate) fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[TrustedProxy]) -> IpAddr {
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let by = |chain: Vec<Option<IpAddr>>| {
        let mut client = peer;
        for address in chain.into_iter().rev() {
            match address {
                Some(address) if is_trusted(client, trusted) => client = address,
                _ => break,
            }
        }
        client
    };
    let lines = headers.get_all(FORWARDED_FOR);
    let listed = lines
        .iter()
        .flat_map(|line| line.to_str().unwrap_or("unreadable").split(','));
    let listed: Vec<_> = listed.map(address).collect();
    let lines = headers.get_all(FORWARDED).into_iter();
    let said = lines.flat_map(|line| elements(line.to_str().unwrap_or("unreadable")));
    let said: Vec<_> = said
        .map(|element| parameter(element, "for").as_deref().and_then(address))
        .collect();
    match (listed.is_empty(), said.is_empty()) {
        (_, true) => by(listed),
        (true, false) => by(said),
        (false, false) => {
            let (one, other) = (by(listed), by(said));
            if one == other { one } else { peer }
        }
    }
}

/// The host that the client asked for, where a trusted proxy asks for another and says so. No page can make a browser
/// send these, so the outermost word counts.
pub(crate) fn host(headers: &HeaderMap) -> Option<String> {
    if let Some(line) = headers.get(FORWARDED_HOST) {
        let host = line.to_str().ok()?.split(',').next()?;
        return Some(host.trim().to_owned());
    }
    let lines = headers.get_all(FORWARDED).into_iter();
    let mut said = lines.filter_map(|line| line.to_str().ok()).flat_map(elements);
    said.find_map(|element| parameter(element, "host"))
}

/// An address with or without a port; none for anything else, such as `unknown` or `_hidden`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let text = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text);
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let address = bare.parse().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address| address.to_canonical())
}

/// The value of one `name=value` among those of an element of `Forwarded`.
fn parameter(element: &str, name: &str) -> Option<String> {
    split(element, ';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let value = value.trim();
        let is_named = key.trim().eq_ignore_ascii_case(name);
        is_named.then(|| value.replace(['"', '\\'], ""))
    })
}

/// The elements of a line of `Forwarded`; one that says nothing, if a quote has no end: it would hide who wrote what.
fn elements(line: &str) -> impl Iterator<Item = &str> {
    let mut quotes = Quotes::default();
    line.chars().for_each(|letter| _ = quotes.is_outside(letter));
    split(if quotes.is_quoted { "" } else { line }, ',')
}

/// Splits outside quotes.
fn split(text: &str, between: char) -> impl Iterator<Item = &str> {
    let mut quotes = Quotes::default();
    text.split(move |letter| quotes.is_outside(letter) && letter == between)
}

/// Whether one is inside a quoted string (RFC 9110, 5.6.4).
#[derive(Default)]
struct Quotes {
    is_quoted: bool,
    is_escaped: bool,
}

impl Quotes {
    fn is_outside(&mut self, letter: char) -> bool {
        let was_escaped = std::mem::take(&mut self.is_escaped);
        match letter {
            '"' if !was_escaped => self.is_quoted = !self.is_quoted,
            '\\' if self.is_quoted && !was_escaped => self.is_escaped = true,
            _ => {}
        }
        !self.is_quoted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(list: &[&str]) -> Vec<TrustedProxy> {
        list.iter().map(|text| text.parse().expect("a proxy")).collect()
    }

    fn told(peer: &str, lines: &[(&str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.append(name, value.parse().expect("a value"));
        }
        let trusted = trusted(&["10.0.0.0/8", "192.0.2.1", "fd00::/8"]);
        client(peer.parse().expect("an address"), &headers, &trusted).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let lines = [("x-forwarded-for", "198.51.100.7")];
        assert_eq!(told("10.1.2.3", &lines), "198.51.100.7");
        assert_eq!(told("192.0.2.1", &lines), "198.51.100.7");
        assert_eq!(told("fd00::1", &lines), "198.51.100.7");
        for stranger in ["203.0.113.9", "192.0.2.2", "11.0.0.1", "fe80::1"] {
            assert_eq!(told(stranger, &lines), stranger);
        }
        assert_eq!(told("10.1.2.3", &[]), "10.1.2.3", "a proxy that says nothing");
    }

    #[test]
    fn the_chain_is_read_from_the_right_and_ends_at_the_first_stranger() {
        for (line, client) in [
            ("1.2.3.4, 198.51.100.7", "198.51.100.7"),
            ("1.2.3.4,198.51.100.7 ,10.0.0.9", "198.51.100.7"),
            ("10.0.0.8, 10.0.0.9", "10.0.0.8"),
            ("1.2.3.4, 10.0.0.77, 198.51.100.7, 10.0.0.9", "198.51.100.7"),
            ("198.51.100.7:4711", "198.51.100.7"),
            ("2001:db8::7", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("[2001:db8::7]:4711", "2001:db8::7"),
            ("::ffff:198.51.100.7", "198.51.100.7"),
        ] {
            assert_eq!(told("10.1.2.3", &[("x-forwarded-for", line)]), client, "{line}");
        }
        let two_lines = [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "198.51.100.7")];
        assert_eq!(told("10.1.2.3", &two_lines), "198.51.100.7");
    }

    #[test]
    fn nonsense_counts_as_the_proxy_that_said_it() {
        for (line, client) in [
            ("", "10.1.2.3"),
            ("unknown", "10.1.2.3"),
            ("1.2.3.4, ", "10.1.2.3"),
            ("1.2.3.4, 300.1.1.1", "10.1.2.3"),
            ("1.2.3.4, nonsense, 10.0.0.9", "10.0.0.9"),
            ("1.2.3.4 10.0.0.9", "10.1.2.3"),
        ] {
            assert_eq!(told("10.1.2.3", &[("x-forwarded-for", line)]), client, "{line}");
        }
    }

    #[test]
    fn the_standards_header_says_the_same() {
        for (line, client) in [
            ("for=198.51.100.7", "198.51.100.7"),
            ("For=\"198.51.100.7:4711\";proto=https;by=10.1.2.3", "198.51.100.7"),
            ("proto=https; for=\"[2001:db8::7]:4711\"", "2001:db8::7"),
            (
                "for=1.2.3.4, for=198.51.100.7;host=\"a,b;c\", for=10.0.0.9",
                "198.51.100.7",
            ),
            ("for=_hidden", "10.1.2.3"),
            ("for=unknown", "10.1.2.3"),
            ("proto=https", "10.1.2.3"),
            ("for=1.2.3.4, for=\"198.51.100.7", "10.1.2.3"),
            // A client that leaves a quote open for its proxy to write into.
            ("for=1.2.3.4;x=\", for=198.51.100.7", "10.1.2.3"),
            ("for=1.2.3.4;x=\"\\\", for=\"[2001:db8::7]\"", "10.1.2.3"),
            ("for=1.2.3.4;x=\"\\\"\", for=198.51.100.7", "198.51.100.7"),
        ] {
            assert_eq!(told("10.1.2.3", &[("forwarded", line)]), client, "{line}");
        }
    }

    #[test]
    fn a_client_cannot_speak_through_the_header_that_its_proxy_does_not_write() {
        let proxy = ("x-forwarded-for", "198.51.100.7");
        assert_eq!(
            told("10.1.2.3", &[proxy, ("forwarded", "for=198.51.100.7")]),
            "198.51.100.7"
        );
        assert_eq!(told("10.1.2.3", &[proxy, ("forwarded", "for=1.2.3.4")]), "10.1.2.3");
        let proxy = ("forwarded", "for=198.51.100.7");
        assert_eq!(told("10.1.2.3", &[proxy, ("x-forwarded-for", "1.2.3.4")]), "10.1.2.3");
    }

    #[test]
    fn a_proxy_that_cannot_be_read_is_refused_with_what_would_be_right() {
        for (text, right) in [
            ("", "10.0.0.0/8"),
            ("proxy.example.com", "10.0.0.0/8"),
            ("10.0.0.0/x", "10.0.0.0/8"),
            ("10.0.0.0/", "at most 32"),
            ("10.0.0.0/33", "at most 32"),
            ("10.0.0.0/+8", "10.0.0.0/8"),
            ("fd00::/129", "at most 128"),
            ("10.0.0.1/8", "`10.0.0.0/8` for the network, or `10.0.0.1`"),
            ("::ffff:10.0.0.1", "`10.0.0.1`"),
        ] {
            let error = text.parse::<TrustedProxy>().expect_err(text).to_string();
            assert!(error.contains(right), "{error}");
        }
        for text in [
            "10.0.0.1",
            "10.0.0.0/8",
            "0.0.0.0/0",
            "::/0",
            "fd00::1",
            "2001:db8::/33",
        ] {
            assert_eq!(text.parse::<TrustedProxy>().expect(text).to_string(), text);
        }
        assert!(is_trusted(IpAddr::from([1, 2, 3, 4]), &trusted(&["0.0.0.0/0"])));
        assert!(!is_trusted(IpAddr::from([1, 2, 3, 4]), &trusted(&["::/0"])));
    }
}
