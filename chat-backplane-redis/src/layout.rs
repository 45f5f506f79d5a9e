//! Which server is the one for a channel: the only one, or in a cluster the one that has the channel's slot.

use redis::{ConnectionAddr, ErrorKind, RedisError, RedisResult, Value};
use std::ops::RangeInclusive;

/// How many slots a cluster has (the Redis cluster specification).
const SLOTS: u16 = 16_384;

/// The slots of one server, in the order in which the cluster tells them.
pub(crate) type Slots = Vec<RangeInclusive<u16>>;

/// All of them, as of a server that is alone.
pub(crate) fn all() -> Slots {
    vec![0..=SLOTS - 1]
}

/// Whether no slot is missing.
pub(crate) fn is_whole<'a>(slots: impl Iterator<Item = &'a Slots>) -> bool {
    slots.flatten().map(ExactSizeIterator::len).sum::<usize>() == usize::from(SLOTS)
}

/// The slot of a channel: CRC16 (XMODEM) of its name, or of what stands between the first braces there.
pub(crate) fn slot(channel: &str) -> u16 {
    let tag = channel.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    let hashed = tag.map(|(tag, _)| tag).filter(|tag| !tag.is_empty()).unwrap_or(channel);
    let crc = hashed.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            }
        })
    });
    crc % SLOTS
}

/// Reads what `CLUSTER SLOTS` answers: lists of a first slot, a last one, the primary and its replicas. A host that the
/// answering server does not know is its own.
pub(crate) fn read(answer: &Value, asked: &ConnectionAddr) -> RedisResult<Vec<(ConnectionAddr, Slots)>> {
    let mut layout: Vec<(ConnectionAddr, Slots)> = Vec::new();
    let odd = || RedisError::from((ErrorKind::Parse, "CLUSTER SLOTS is answered in an unknown way"));
    for row in list(answer).ok_or_else(odd)? {
        let Some([first, last, primary, ..]) = list(row) else {
            return Err(odd());
        };
        let [Value::Int(first), Value::Int(last)] = [first, last] else {
            return Err(odd());
        };
        let (Ok(first), Ok(last)) = (u16::try_from(*first), u16::try_from(*last)) else {
            return Err(odd());
        };
        let Some([host, Value::Int(port), ..]) = list(primary) else {
            return Err(odd());
        };
        let address = elsewhere(asked, host, u16::try_from(*port).map_err(|_| odd())?);
        match layout.iter_mut().find(|(known, _)| *known == address) {
            Some((_, slots)) => slots.push(first..=last),
            None => layout.push((address, vec![first..=last])),
        }
    }
    Ok(layout)
}

fn list(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

/// An address like one that is known, with its way to be reached.
fn elsewhere(known: &ConnectionAddr, told: &Value, at: u16) -> ConnectionAddr {
    let told = match told {
        Value::BulkString(host) => String::from_utf8_lossy(host).into_owned(),
        _ => String::new(),
    };
    let mut address = known.clone();
    if let ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } = &mut address {
        *port = at;
        if !told.is_empty() && told != "?" {
            *host = told;
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(slot("123456789"), 0x31c3);
        assert_eq!(slot("{user1000}.following"), slot("{user1000}.followers"));
        assert_eq!(slot("foo{{bar}}zap"), slot("{bar"));
        assert_ne!(slot("foo{}{bar}"), slot("bar"));
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn row(first: i64, last: i64, host: Value, port: i64) -> Value {
        let primary = Value::Array(vec![host, Value::Int(port), text("id"), Value::Array(vec![])]);
        Value::Array(vec![Value::Int(first), Value::Int(last), primary])
    }

    #[test]
    fn a_server_has_all_its_slots_and_a_host_that_is_not_told_is_the_one_that_was_asked() {
        let asked = ConnectionAddr::Tcp("seed".to_owned(), 1);
        let rows = vec![
            row(0, 99, text("a"), 7),
            row(100, 16_000, Value::Nil, 8),
            row(16_001, 16_383, text("a"), 7),
        ];
        let layout = read(&Value::Array(rows), &asked).unwrap();
        let a = (ConnectionAddr::Tcp("a".to_owned(), 7), vec![0..=99, 16_001..=16_383]);
        let b = (ConnectionAddr::Tcp("seed".to_owned(), 8), vec![100..=16_000]);
        assert_eq!(layout, [a, b]);
        assert!(is_whole(layout.iter().map(|(_, slots)| slots)));
        assert!(!is_whole(layout.iter().take(1).map(|(_, slots)| slots)));
        assert!(read(&Value::Array(vec![Value::Int(1)]), &asked).is_err());
    }
}
