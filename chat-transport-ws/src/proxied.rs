//! The header that a proxy writes before anything else: version 2 of the PROXY protocol, in binary, by HAProxy's
//! specification of 2020, section 2.2.

use crate::socket::Socket;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::AsyncReadExt;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// What follows the fixed part: the addresses, at most 36 bytes of them here, and extras that are skipped.
const REST_MAX: usize = 2048;

/// Why a header is no good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Broken(&'static str);

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        Self::new(io::ErrorKind::InvalidData, broken.0)
    }
}

/// Reads the header if the peer, who is trusted, begins with one: whom it stands for, if it says so. Nothing that
/// follows the header is touched.
pub(crate) async fn read(socket: &Socket) -> io::Result<Option<SocketAddr>> {
    // HTTP and TLS begin with other bytes.
    if socket.first().await? != Some(SIGNATURE[0]) {
        return Ok(None);
    }
    let mut socket = socket.clone();
    let mut fixed = [0; 16];
    socket.read_exact(&mut fixed).await?;
    let kind = Kind::parse(&fixed)?;
    let mut rest = [0; REST_MAX];
    let rest = &mut rest[..kind.length];
    socket.read_exact(rest).await?;
    Ok(kind.source(rest)?)
}

/// What the fixed part says of the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    /// The proxy speaks for itself, as when it looks whether the server is well.
    is_local: bool,
    /// Family and protocol.
    family: u8,
    length: usize,
}

impl Kind {
    fn parse(fixed: &[u8; 16]) -> Result<Self, Broken> {
        if fixed[..12] != SIGNATURE {
            return Err(Broken("no signature of the PROXY protocol, version 2"));
        }
        let is_local = match fixed[12] {
            0x20 => true,
            0x21 => false,
            _ => return Err(Broken("neither LOCAL nor PROXY of version 2")),
        };
        let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
        if length > REST_MAX {
            return Err(Broken("longer than 2048 bytes"));
        }
        Ok(Self {
            is_local,
            family: fixed[13],
            length,
        })
    }

    /// The client's address; none where the connection is the proxy's own, or the header does not say.
    fn source(self, rest: &[u8]) -> Result<Option<SocketAddr>, Broken> {
        let short = Broken("shorter than its addresses");
        match self.family {
            _ if self.is_local => Ok(None),
            // Unspecified, and what cannot be a client's of ours, UDP and Unix sockets: the specification has the
            // connection's own address count.
            0x00 | 0x12 | 0x22 | 0x31 | 0x32 => Ok(None),
            0x11 => {
                let (source, _) = rest.split_first_chunk::<4>().ok_or(short)?;
                let port = rest.get(8..12).ok_or(short)?;
                let address = Ipv4Addr::from(*source);
                Ok(Some(SocketAddr::from((
                    address,
                    u16::from_be_bytes([port[0], port[1]]),
                ))))
            }
            0x21 => {
                let (source, _) = rest.split_first_chunk::<16>().ok_or(short)?;
                let port = rest.get(32..36).ok_or(short)?;
                let address = Ipv6Addr::from(*source).to_canonical();
                Ok(Some(SocketAddr::from((
                    address,
                    u16::from_be_bytes([port[0], port[1]]),
                ))))
            }
            _ => Err(Broken("an unknown family of addresses")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &[u8]) -> Result<Option<SocketAddr>, Broken> {
        let (fixed, rest) = header.split_first_chunk::<16>().expect("16 bytes");
        let kind = Kind::parse(fixed)?;
        assert_eq!(kind.length, rest.len());
        kind.source(rest)
    }

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    const FOUR: [u8; 12] = [198, 51, 100, 7, 10, 0, 0, 1, 0x12, 0x34, 0, 80];

    #[test]
    fn the_source_is_read_and_extras_are_skipped() {
        let four = Ok(Some(SocketAddr::from(([198, 51, 100, 7], 0x1234))));
        assert_eq!(read(&header(0x21, 0x11, &FOUR)), four);
        assert_eq!(read(&header(0x21, 0x11, &[&FOUR[..], &[4, 0, 1, 0]].concat())), four);
        let mut six = [0; 36];
        six[..16].copy_from_slice(&Ipv6Addr::LOCALHOST.octets());
        six[32..34].copy_from_slice(&[0x12, 0x34]);
        assert_eq!(
            read(&header(0x21, 0x21, &six)),
            Ok(Some(SocketAddr::from((Ipv6Addr::LOCALHOST, 0x1234))))
        );
        six[..16].copy_from_slice(&Ipv4Addr::new(198, 51, 100, 7).to_ipv6_mapped().octets());
        assert_eq!(read(&header(0x21, 0x21, &six)), four);
    }

    #[test]
    fn a_proxy_may_speak_for_itself() {
        assert_eq!(read(&header(0x20, 0x11, &FOUR)), Ok(None));
        assert_eq!(read(&header(0x20, 0x00, &[])), Ok(None));
        assert_eq!(read(&header(0x21, 0x00, &[1, 2, 3])), Ok(None));
        assert_eq!(read(&header(0x21, 0x12, &FOUR)), Ok(None));
        assert_eq!(read(&header(0x21, 0x31, &[0; 216])), Ok(None));
    }

    #[test]
    fn what_is_no_such_header_is_refused() {
        for broken in [
            header(0x11, 0x11, &FOUR),
            header(0x22, 0x11, &FOUR),
            header(0x21, 0x41, &FOUR),
            header(0x21, 0x11, &FOUR[..11]),
            header(0x21, 0x21, &FOUR),
            header(0x21, 0x11, &[0; REST_MAX + 1]),
            [&b"\r\n\r\n\0\r\nQUIT\r"[..], &[0x21, 0x11, 0, 0]].concat(),
        ] {
            assert!(read(&broken).is_err(), "{broken:?}");
        }
    }
}
