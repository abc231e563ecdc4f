//! An APDU in words, for `demo --trace` and `opentsm se --trace`.
//!
//! Data fields are shown by length only: they may carry keys, PINs or card numbers.

use tsm_iso7816::channel::Class;
use tsm_iso7816::{Aid, CommandApdu, StatusWord};

/// One line: what the command asks, on which channel, and what the card answered.
pub fn describe(command: &[u8], response: &[u8]) -> String {
    let asked = match CommandApdu::parse(command) {
        Ok(command) => describe_command(&command),
        Err(error) => format!("not a command ({error})"),
    };
    let answered = match response {
        [data @ .., sw1, sw2] => {
            let status = StatusWord(u16::from_be_bytes([*sw1, *sw2]));
            let length = if data.is_empty() { String::new() } else { format!(" with {} bytes", data.len()) };
            if status.is_success() {
                format!("{status}{length}")
            } else {
                format!("{status} {}{length}", status.meaning())
            }
        }
        _ => "no answer".to_owned(),
    };
    format!("{asked}  ->  {answered}")
}

fn describe_command(command: &CommandApdu) -> String {
    let (channel, secured, proprietary) = match Class::parse(command.cla) {
        Ok(class) => (class.channel.number(), class.secured, class.proprietary),
        Err(_) => return format!("class {:02X}, which is reserved", command.cla),
    };
    let mut words = name(command, proprietary);
    if !command.data.is_empty() && command.ins != 0xA4 {
        words.push_str(&format!(", {} bytes", command.data.len()));
    }
    if secured {
        words.push_str(", secured");
    }
    if channel > 0 {
        words.push_str(&format!(", channel {channel}"));
    }
    words
}

fn name(command: &CommandApdu, proprietary: bool) -> String {
    let (p1, p2) = (command.p1, command.p2);
    match (command.ins, proprietary) {
        (0xA4, _) => match Aid::new(&command.data) {
            Ok(aid) => format!("SELECT {aid}"),
            Err(_) if command.data.is_empty() => "SELECT the default application".to_owned(),
            Err(_) => "SELECT a file".to_owned(),
        },
        (0x50, true) => match (p1, p2) {
            (0x00, 0x01 | 0x02) => "INITIALIZE FOR LOAD".to_owned(),
            (0x01, 0x01 | 0x02) => "INITIALIZE FOR PURCHASE".to_owned(),
            (0x03, 0x02) => "INITIALIZE FOR CAPP PURCHASE".to_owned(),
            (0x04, 0x01 | 0x02) => "INITIALIZE FOR UPDATE".to_owned(),
            (0x05, 0x01 | 0x02) => "INITIALIZE FOR UNLOAD".to_owned(),
            _ => format!("INITIALIZE UPDATE, key version {p1:02X}"),
        },
        (0x82, true) => format!("EXTERNAL AUTHENTICATE, level {p1:02X}"),
        (0x82, false) => "EXTERNAL AUTHENTICATE".to_owned(),
        (0x88, false) => "INTERNAL AUTHENTICATE".to_owned(),
        (0xE6, true) => format!("INSTALL [{}]", install_purpose(p1)),
        (0xE8, true) => format!("LOAD block {p2}{}", if p1 & 0x80 != 0 { ", the last" } else { "" }),
        (0xE4, true) => {
            format!("DELETE {}", if p2 & 0x80 != 0 { "with what belongs to it" } else { "one object" })
        }
        (0xF2, true) => format!("GET STATUS {}", status_scope(p1)),
        (0xF0, true) => format!("SET STATUS {} to {p2:02X}", status_scope(p1)),
        (0xD8, true) => "PUT KEY".to_owned(),
        (0xE2, true) => format!("STORE DATA block {p2}{}", if p1 & 0x80 != 0 { ", the last" } else { "" }),
        (0xE2, false) => "APPEND RECORD".to_owned(),
        (0xCA, _) => format!("GET DATA {p1:02X}{p2:02X}"),
        (0x70, false) => {
            if p1 & 0x80 == 0 { "MANAGE CHANNEL open" } else { "MANAGE CHANNEL close" }.to_owned()
        }
        (0x70, true) => "INIT SAM FOR PURCHASE".to_owned(),
        (0x72, true) => "CREDIT SAM FOR PURCHASE".to_owned(),
        (0x7A, true) => "BEGIN R-MAC SESSION".to_owned(),
        (0x78, true) => "END R-MAC SESSION".to_owned(),
        (0x52, true) => "CREDIT FOR LOAD".to_owned(),
        (0x54, true) => if p1 == 3 { "DEBIT FOR UNLOAD" } else { "DEBIT FOR PURCHASE" }.to_owned(),
        (0x58, true) => "UPDATE OVERDRAW LIMIT".to_owned(),
        (0x5A, true) => "GET TRANSACTION PROOF".to_owned(),
        (0x5C, true) => "GET BALANCE".to_owned(),
        (0xDC, true) => "UPDATE CAPP DATA CACHE".to_owned(),
        (0xB0, false) => format!("READ BINARY, file {:02X}", p1 & 0x1F),
        (0xB2, false) => format!("READ RECORD {p1} of file {:02X}", p2 >> 3),
        (0xD6, false) => format!("UPDATE BINARY, file {:02X}", p1 & 0x1F),
        (0xDC, false) => format!("UPDATE RECORD {p1} of file {:02X}", p2 >> 3),
        (0x84, false) => "GET CHALLENGE".to_owned(),
        (0x20, false) => "VERIFY PIN".to_owned(),
        (0x1E, true) => "APPLICATION BLOCK".to_owned(),
        (0x18, true) => "APPLICATION UNBLOCK".to_owned(),
        (0x16, true) => "CARD BLOCK".to_owned(),
        (ins, _) => format!("instruction {ins:02X}, P1 {p1:02X}, P2 {p2:02X}"),
    }
}

fn install_purpose(p1: u8) -> &'static str {
    match p1 & 0x7E {
        0x02 => "for load",
        0x04 => "for install",
        0x08 => "make selectable",
        0x0C => "for install and make selectable",
        0x0E => "for load, install and make selectable",
        0x10 => "for extradition",
        0x20 => "for personalization",
        0x40 => "for registry update",
        _ => "for an unknown purpose",
    }
}

fn status_scope(p1: u8) -> &'static str {
    match p1 {
        0x80 => "issuer security domain",
        0x40 => "applications and security domains",
        0x20 => "load files",
        0x10 => "load files and modules",
        0x60 => "a security domain and its applications",
        _ => "of an unknown scope",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_asked_and_answered() {
        let cases = [
            ("00A4040008A000000151000000", "9000", "SELECT A000000151000000  ->  9000"),
            (
                "8450300008000000000000000000",
                "6982",
                "INITIALIZE UPDATE, key version 30, 8 bytes, secured  ->  6982 ",
            ),
            ("805000020B0100001388099900000042", "6985", "INITIALIZE FOR LOAD, 11 bytes  ->  6985 "),
            (
                "81E88003020102",
                "00009000",
                "LOAD block 3, the last, 2 bytes, channel 1  ->  9000 with 2 bytes",
            ),
            ("00", "6700", "not a command"),
        ];
        for (command, response, expected) in cases {
            let words = describe(&hex::decode(command).unwrap(), &hex::decode(response).unwrap());
            assert!(words.starts_with(expected), "{words}");
        }
    }

    #[test]
    fn never_shows_command_data() {
        let words = describe(&hex::decode("0020000003123456").unwrap(), &[0x90, 0]);
        assert!(!words.contains("123456"), "{words}");
    }
}
