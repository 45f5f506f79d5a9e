//! Characters: which text can be stored, and which can be shown as a name.

use serde::Serialize;
use std::io;

/// Whether a text holds NUL or another C0 control but tab and newline: PostgreSQL refuses NUL, SQLite ends at it.
pub(super) fn has_control(text: &str) -> bool {
    text.bytes().any(|byte| byte < 0x20 && byte != b'\t' && byte != b'\n')
}

/// Whether a text holds characters that turn what follows around (UAX #9: embeddings, overrides, isolates), by which
/// `gpj.exe` reads `exe.jpg`. In bodies they are stored as they are.
pub(super) fn has_bidi_override(text: &str) -> bool {
    text.chars()
        .any(|c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
}

/// Whether a text shows nothing: only spaces, controls, and characters without a shape.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|c| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c,
                '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
                | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
                | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
    })
}

/// Whether a text can be shown as a name: something visible, no control, nothing that turns its neighbours around.
pub fn is_name(text: &str) -> bool {
    !is_blank(text) && !has_bidi_override(text) && !text.chars().any(char::is_control)
}

/// Whether a text has the shape of a media type (RFC 6838, 4.2), parameters allowed behind a semicolon.
pub(super) fn is_media_type(text: &str) -> bool {
    let token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let parameters_are_printable = parameters.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    essence
        .trim_end()
        .split_once('/')
        .is_some_and(|(kind, subtype)| token(kind) && token(subtype))
        && parameters_are_printable
}

/// How long a value is as JSON without spaces, without writing it anywhere.
pub(super) fn json_length<T: Serialize>(value: &T) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).expect("a map of strings to values can be written");
    count.0
}
