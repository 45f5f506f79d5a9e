use super::*;

const MASK: [u8; 4] = [7, 33, 129, 250];
const TEXT: u8 = 0x01;
const BINARY: u8 = 0x02;
const FINAL: u8 = 0x80;

/// A frame as a client sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ ..=125 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

const BOUNDS: ReaderBounds = ReaderBounds {
    first_message_max: 1000,
    message_max: 1000,
    fragments_max: 8,
};

fn steps(reader: &mut Reader, bytes: &[u8]) -> Vec<Step> {
    let mut input = BytesMut::from(bytes);
    let mut steps = Vec::new();
    loop {
        match reader.step(&mut input) {
            Step::More => return steps,
            violation @ Step::Violation(..) => {
                steps.push(violation);
                return steps;
            }
            step => steps.push(step),
        }
    }
}

fn read(bytes: &[u8]) -> Vec<Step> {
    steps(&mut Reader::new(true, BOUNDS), bytes)
}

fn code(bytes: &[u8]) -> Option<CloseCode> {
    match read(bytes).pop() {
        Some(Step::Violation(code, _)) => Some(code),
        _ => None,
    }
}

fn message(text: &str) -> Step {
    Step::Message(Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn frames_come_out_whole_and_in_order_however_they_arrive() {
    let mut bytes = Vec::new();
    for text in ["one", "", "three and a good deal more than eight bytes"] {
        bytes.extend(frame(FINAL | TEXT, text.as_bytes()));
    }
    let expected = read(&bytes);
    assert_eq!(expected[..2], [message("one"), message("")]);
    let mut reader = Reader::new(true, BOUNDS);
    let mut input = BytesMut::new();
    let mut dribbled = Vec::new();
    for byte in bytes {
        input.extend_from_slice(&[byte]);
        match reader.step(&mut input) {
            Step::More => {}
            step => dribbled.push(step),
        }
    }
    assert_eq!(dribbled, expected);
}

#[test]
fn fragments_are_joined_and_control_frames_between_them_stand_alone() {
    let bytes = [
        frame(TEXT, "gr".as_bytes()),
        frame(FINAL | 0x9, b"ping"),
        frame(0, &"ü".as_bytes()[..1]),
        frame(FINAL, &["ü".as_bytes()[1..].to_vec(), b"n".to_vec()].concat()),
    ]
    .concat();
    assert_eq!(read(&bytes), [Step::Ping(Bytes::from_static(b"ping")), message("grün")]);
}

#[test]
fn a_message_is_being_assembled_from_the_header_of_its_first_fragment_on() {
    let mut reader = Reader::new(true, BOUNDS);
    assert!(!reader.is_assembling());
    steps(&mut reader, &frame(TEXT, b"abc")[..6]);
    assert!(reader.is_assembling(), "only the header has come");
    let mut whole = Reader::new(true, BOUNDS);
    steps(&mut whole, &frame(FINAL | TEXT, b"abc")[..6]);
    assert!(!whole.is_assembling(), "a single frame is the heartbeat's business");
    steps(&mut whole, &frame(TEXT, b"abc")[6..]);
    steps(&mut whole, &frame(TEXT, b"abc"));
    assert!(whole.is_assembling());
    steps(&mut whole, &frame(FINAL, b"def"));
    assert!(!whole.is_assembling());
}

#[test]
fn broken_frames_are_1002() {
    let mut unmasked = frame(FINAL | TEXT, b"a");
    unmasked[1] &= 0x7f;
    let table: [(&str, Vec<u8>); 12] = [
        ("unmasked", unmasked),
        ("first reserved bit", frame(FINAL | 0x40 | TEXT, b"a")),
        ("last reserved bit", frame(FINAL | 0x10 | TEXT, b"a")),
        ("reserved data opcode", frame(FINAL | 0x3, b"a")),
        ("reserved control opcode", frame(FINAL | 0xb, b"a")),
        ("fragmented ping", frame(0x9, b"a")),
        ("long ping", frame(FINAL | 0x9, &[0; 126])),
        ("one-byte close", frame(FINAL | 0x8, &[3])),
        ("close code that is never sent", frame(FINAL | 0x8, &[3, 0xed])),
        ("close reason that is not UTF-8", frame(FINAL | 0x8, &[3, 0xe8, 0xff])),
        ("continuation of nothing", frame(FINAL, b"a")),
        (
            "message inside a message",
            [frame(TEXT, b"a"), frame(FINAL | TEXT, b"b")].concat(),
        ),
    ];
    for (name, bytes) in table {
        assert_eq!(code(&bytes), Some(CloseCode::Protocol), "{name}");
    }
    let long_form = [vec![FINAL | TEXT, 0x80 | 126, 0, 1], MASK.to_vec()].concat();
    assert_eq!(code(&long_form), Some(CloseCode::Protocol));
}

#[test]
fn who_speaks_something_else_is_told_after_two_bytes() {
    assert_eq!(code(b"\xff\xff"), Some(CloseCode::Protocol));
    assert_eq!(code(b"GE"), Some(CloseCode::Protocol));
    assert_eq!(code(b"\x81\xff"), None, "the rest may be well");
}

#[test]
fn text_that_is_not_utf8_is_1007() {
    assert_eq!(code(&frame(FINAL | TEXT, &[0xff])), Some(CloseCode::InvalidUtf8));
    let cut = [frame(TEXT, "ü".as_bytes()), frame(FINAL, &"ü".as_bytes()[..1])].concat();
    assert_eq!(code(&cut), Some(CloseCode::InvalidUtf8));
}

#[test]
fn the_other_kind_of_frame_is_1003() {
    assert_eq!(code(&frame(FINAL | BINARY, b"{}")), Some(CloseCode::Unsupported));
    let steps = steps(&mut Reader::new(false, BOUNDS), &frame(FINAL | TEXT, b"{}"));
    assert!(matches!(steps[..], [Step::Violation(CloseCode::Unsupported, _)]));
}

#[test]
fn too_much_is_1009_at_the_header() {
    let mut declared = vec![FINAL | TEXT, 0x80 | 127];
    declared.extend(u64::MAX.to_be_bytes());
    declared.extend(MASK);
    let mut input = BytesMut::from(&declared[..]);
    let capacity = input.capacity();
    let step = Reader::new(true, BOUNDS).step(&mut input);
    assert!(matches!(step, Step::Violation(CloseCode::TooBig, _)));
    assert_eq!(input.capacity(), capacity, "nothing was reserved");
    let fragments = [frame(TEXT, &[b'a'; 600]), frame(0, &[b'a'; 400]), frame(0, b"a")].concat();
    assert_eq!(code(&fragments[..fragments.len() - 1]), Some(CloseCode::TooBig));
    let fits = [frame(TEXT, &[b'a'; 600]), frame(FINAL, &[b'a'; 400])].concat();
    assert_eq!(read(&fits).len(), 1);
}

#[test]
fn the_first_message_has_a_bound_of_its_own() {
    let bounds = ReaderBounds {
        first_message_max: 10,
        ..BOUNDS
    };
    let long = frame(FINAL | TEXT, &[b'a'; 11]);
    let fragments = [frame(TEXT, &[b'a'; 6]), frame(FINAL, &[b'a'; 5])].concat();
    for bytes in [&long[..6], &fragments[..18]] {
        let last = steps(&mut Reader::new(true, bounds), bytes).pop();
        assert!(matches!(last, Some(Step::Violation(CloseCode::TooBig, _))), "{last:?}");
    }
    let fits = [frame(FINAL | 0x9, &[0; 20]), frame(FINAL | TEXT, &[b'a'; 10]), long].concat();
    assert_eq!(steps(&mut Reader::new(true, bounds), &fits).len(), 3);
}

#[test]
fn a_message_comes_in_so_many_fragments_and_no_more() {
    let empty = frame(0, b"");
    let fits = [frame(TEXT, b"a"), empty.repeat(6), frame(FINAL, b"b")].concat();
    assert_eq!(read(&fits.repeat(2)), [message("ab"), message("ab")]);
    let more = [frame(TEXT, b"a"), empty.repeat(8)].concat();
    assert_eq!(code(&more), Some(CloseCode::TooBig));
}

#[test]
fn what_is_in_no_message_is_counted() {
    let mut reader = Reader::new(true, BOUNDS);
    let bytes = [frame(TEXT, b"abc"), frame(FINAL | 0x9, b"ping"), frame(FINAL, b"")].concat();
    steps(&mut reader, &bytes);
    assert_eq!(reader.take_overhead(), bytes.len() - 3);
    assert_eq!(reader.take_overhead(), 0);
}

#[test]
fn a_close_is_told_with_its_number() {
    assert_eq!(read(&frame(FINAL | 0x8, &[])), [Step::Close(None)]);
    assert_eq!(read(&frame(FINAL | 0x8, &[3, 0xe8, b'b'])), [Step::Close(Some(1000))]);
    assert_eq!(
        read(&frame(FINAL | 0x8, &4001u16.to_be_bytes())),
        [Step::Close(Some(4001))]
    );
}

#[test]
fn random_bytes_never_panic_and_never_hold_more_than_came() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..20_000 {
        let mut bytes = Vec::new();
        for _ in 0..24 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            bytes.push((state >> 33) as u8);
        }
        bytes[1] |= 0x80;
        let _ = read(&bytes);
    }
}
