//! Bells in the payload of a notification: as many as fit, each behind its topic and its length.

use bytes::Bytes;
use chat_core::backplane::Topic;

/// Of a notification, below 8,000; in hexadecimal digits.
const PAYLOAD_BYTES_MAX: usize = 7_999 / 2;

/// A topic's kind and number, and the length of the bell.
const HEAD: usize = 1 + 2 + 2;

/// The longest bell.
pub(super) const BELL_BYTES_MAX: usize = PAYLOAD_BYTES_MAX - HEAD;

/// In as few payloads as keep the order; and how many were left out because they are too long.
pub(super) fn packed(bells: &[(Topic, Bytes)]) -> (Vec<Vec<u8>>, usize) {
    let (mut payloads, mut too_long) = (Vec::<Vec<u8>>::new(), 0);
    for (topic, bell) in bells {
        let Some(length) = u16::try_from(bell.len()).ok().filter(|_| bell.len() <= BELL_BYTES_MAX) else {
            too_long += 1;
            continue;
        };
        let has_room = |payload: &Vec<u8>| payload.len() + HEAD + bell.len() <= PAYLOAD_BYTES_MAX;
        if !payloads.last().is_some_and(has_room) {
            payloads.push(Vec::new());
        }
        let payload = payloads.last_mut().expect("one with room is the last");
        let (kind, number) = match topic {
            Topic::Nodes => (b'n', 0),
            Topic::Conversations(number) => (b'c', *number),
            Topic::Users(number) => (b'u', *number),
        };
        payload.push(kind);
        payload.extend(number.to_be_bytes());
        payload.extend(length.to_be_bytes());
        payload.extend(bell);
    }
    (payloads, too_long)
}

/// What is no bell, and all behind it, is left out: whoever may connect to the database may notify.
pub(super) fn unpacked(payload: &str) -> impl Iterator<Item = (Topic, Bytes)> + use<> {
    let mut rest = Bytes::from(bytes_of(payload).unwrap_or_default());
    std::iter::from_fn(move || {
        let [kind, number @ .., high, low] = *rest.first_chunk::<HEAD>()?;
        let end = HEAD + usize::from(u16::from_be_bytes([high, low]));
        if rest.len() < end {
            return None;
        }
        let number = u16::from_be_bytes(number);
        let topic = match kind {
            b'n' => Topic::Nodes,
            b'c' => Topic::Conversations(number),
            b'u' => Topic::Users(number),
            _ => return None,
        };
        let bell = rest.split_to(end).split_off(HEAD);
        Some((topic, bell))
    })
}

fn bytes_of(hexadecimal: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let (pairs, rest) = hexadecimal.as_bytes().as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok();
    if rest.is_empty() {
        pairs.iter().map(byte).collect()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    fn written(payload: &[u8]) -> String {
        payload.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("into a string");
            text
        })
    }

    #[test]
    fn bells_of_one_call_go_in_as_few_notifications_as_hold_them_and_keep_their_order() {
        let topics = [Topic::Nodes, Topic::Conversations(u16::MAX), Topic::Users(7)];
        let bells: Vec<(Topic, Bytes)> = (0..100_u8)
            .map(|number| (topics[usize::from(number) % 3], Bytes::from(vec![number; 100])))
            .collect();
        let (payloads, too_long) = packed(&bells);
        assert_eq!((payloads.len(), too_long), (3, 0), "105 bytes each of 3,999");
        assert!(payloads.iter().all(|payload| written(payload).len() < 8_000));
        let heard: Vec<_> = payloads
            .iter()
            .flat_map(|payload| unpacked(&written(payload)))
            .collect();
        assert_eq!(heard, bells);
    }

    #[test]
    fn the_longest_bell_fits_and_a_longer_one_keeps_no_other_from_being_rung() {
        let bell = |length: usize| (Topic::Nodes, Bytes::from(vec![0xff; length]));
        let bells = [
            bell(BELL_BYTES_MAX),
            bell(BELL_BYTES_MAX + 1),
            bell(1),
            bell(100_000),
            bell(0),
        ];
        let (payloads, too_long) = packed(&bells);
        assert_eq!((payloads.len(), too_long), (2, 2));
        assert_eq!(written(&payloads[0]).len(), 7_998);
        let heard: Vec<_> = payloads
            .iter()
            .flat_map(|payload| unpacked(&written(payload)))
            .collect();
        assert_eq!(heard, [bell(BELL_BYTES_MAX), bell(1), bell(0)]);
    }

    #[test]
    fn what_is_no_bell_is_left_out() {
        let bell = (Topic::Users(1), Bytes::from_static(b"bell"));
        let (payloads, _) = packed(std::slice::from_ref(&bell));
        let good = written(&payloads[0]);
        for bad in [
            "",
            "6",
            "zz",
            "é",
            "+1+1+1+1+1",
            "6e0000",
            "6e0000ffff00",
            "000000000100",
        ] {
            assert_eq!(unpacked(bad).next(), None, "{bad}");
        }
        assert_eq!(unpacked(&format!("{good}6e0000ffff00")).collect::<Vec<_>>(), [bell]);
    }
}
