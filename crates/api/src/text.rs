//! Text from outside: names, subjects, reasons. It is shown on terminals and pages, so it may not carry what moves
//! a cursor, changes colours, begins a line of its own or turns the reading direction around.
//!
//! A server checks every text of every request with [`check_json`]; what is written on one line is read with
//! [`line()`]. Whoever prints a text that came from elsewhere prints [`shown`] of it all the same.

use std::borrow::Cow;

use serde::{Deserialize as _, Deserializer};

/// A text holds a character that is not text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a text holds the character U+{:04X}, which is not text", *.0 as u32)]
pub struct NotText(pub char);

/// Whether a character does something to the screen instead of standing on it. Line breaks and tabs do not.
pub const fn is_hostile(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' => false,
        // C0, DEL, C1.
        '\0'..='\u{1F}' | '\u{7F}'..='\u{9F}' => true,
        // Line and paragraph separator; bidirectional embeddings, overrides and isolates.
        '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => true,
        _ => false,
    }
}

/// Whether a character has no place in a text of one line.
const fn leaves_line(c: char) -> bool {
    is_hostile(c) || matches!(c, '\t' | '\n' | '\r')
}

/// Checks every text of a JSON message as it came, whatever field it is in. What is no JSON passes: reading it says so.
pub fn check_json(message: &[u8]) -> Result<(), NotText> {
    let Ok(text) = std::str::from_utf8(message) else { return Ok(()) };
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        let meant = if c == '\\' { escaped(&mut characters) } else { Some(c) };
        if let Some(c) = meant.filter(|c| is_hostile(*c)) {
            return Err(NotText(c));
        }
    }
    Ok(())
}

/// The character that an escape stands for. Halves of surrogate pairs stand for none of those that are looked for.
fn escaped(rest: &mut std::str::Chars<'_>) -> Option<char> {
    match rest.next()? {
        'b' => Some('\u{8}'),
        'f' => Some('\u{C}'),
        'u' => {
            let digits = rest.as_str().get(..4)?;
            let code = u32::from_str_radix(digits, 16).ok()?;
            rest.nth(3);
            char::from_u32(code)
        }
        _ => None,
    }
}

/// Reads a text of one line.
pub fn line<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.chars().find(|c| leaves_line(*c)) {
        Some(c) => Err(serde::de::Error::custom(NotText(c))),
        None => Ok(text),
    }
}

/// A text as it is printed: what is not text, or not on this line, is written out.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(leaves_line) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if leaves_line(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Order {
        #[serde(deserialize_with = "line")]
        subject: String,
    }

    #[test]
    fn what_is_not_text_is_found_however_it_is_written() {
        let hostile = [
            ("{\"a\":\"tea\\u001b[31mRED\"}", '\u{1B}'),
            ("{\"a\":{\"b\":[\"\\b\"]}}", '\u{8}'),
            ("{\"a\":\"\u{202E}live\"}", '\u{202E}'),
            ("{\"a\":\"\\u202Elive\"}", '\u{202E}'),
            ("{\"\\u2066\":1}", '\u{2066}'),
            ("\"\u{9B}31m\"", '\u{9B}'),
            ("\"\\u007f\"", '\u{7F}'),
        ];
        for (message, found) in hostile {
            assert_eq!(check_json(message.as_bytes()), Err(NotText(found)), "{message}");
        }
        let plain = [
            "{\"a\":\"公交充值 – Éé 😀 \\ud83d\\ude00\"}",
            "{\"a\":\"two\\nlines\\r\\n\\tand a tab\"}",
            // Backslashes that are text.
            "{\"a\":\"\\\\u001b\"}",
            "{\"a\":\"\\u00",
            "\\",
        ];
        for message in plain {
            assert_eq!(check_json(message.as_bytes()), Ok(()), "{message}");
        }
        assert_eq!(check_json(&[0xFF, 0x1B]), Ok(()), "no JSON at all");
    }

    #[test]
    fn one_line_is_one_line() {
        let order = |subject: &str| {
            serde_json::from_value::<Order>(serde_json::json!({ "subject": subject }))
                .map(|order| order.subject)
        };
        assert_eq!(order("tea 茶").unwrap(), "tea 茶");
        for subject in ["tea\nfake line: paid", "tea\r", "a\tb", "\u{1b}[2J", "a\u{2028}b", "\u{202e}diap"] {
            assert!(order(subject).is_err(), "{subject:?}");
        }
    }

    #[test]
    fn what_is_printed_stays_on_its_line() {
        assert_eq!(shown("tea 茶"), "tea 茶");
        assert_eq!(shown("tea\u{1b}[31m\nfake"), "tea\\u{1b}[31m\\u{a}fake");
    }

    #[test]
    fn fuzz_texts() {
        bolero::check!().with_type::<String>().for_each(|text| {
            assert!(!shown(text).contains(leaves_line));
            let message = serde_json::to_vec(text).unwrap();
            assert_eq!(check_json(&message).is_err(), text.contains(is_hostile), "{text:?}");
        });
    }

    #[test]
    fn fuzz_messages() {
        bolero::check!().for_each(|message| {
            let _ = check_json(message);
        });
    }
}
