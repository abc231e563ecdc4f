//! The login password of the wallet (QB-E-019, 6.11), kept and counted inside the card.
//!
//! Commands are those of ISO/IEC 7816-4, 11.5, P2 00:
//!
//! | command | data | |
//! | --- | --- | --- |
//! | VERIFY 00 20 00 | password | 9000, 63Cx, 6983; without data it asks for the state |
//! | CHANGE REFERENCE DATA 00 24 00 | LV old, LV new | old is empty where none is set |
//! | ENABLE 00 28 00 | password | the wallet asks for it from now on |
//! | DISABLE 00 26 00 | password | the wallet asks no more |
//! | GET DATA 80 CA 00 D1 | | set 1, asked for 1, tries left 1, try limit 1 |
//!
//! A password that is forgotten or blocked is replaced through the applet's security domain:
//! STORE DATA with grouping D101 (a new password, encrypted under the domain's data encryption
//! key, with its length in front and padding 80 00.. behind) or D102 (try limit). The password
//! never leaves the card. A change is one write: after a power cut the old one counts or the new.

use subtle::ConstantTimeEq;
use tsm_iso7816::{CommandApdu, ResponseApdu, StatusWord};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::grouping;
use crate::applet::{Answer, Applet, AppletContext, ObjectId, StoreDataBlock};

const RECORD: ObjectId = 1;
const GROUPING_PASSWORD: u16 = 0xD101;
const GROUPING_TRY_LIMIT: u16 = 0xD102;
const DEFAULT_TRY_LIMIT: u8 = 5;
/// 63Cx tells of at most 15 tries.
const HIGHEST_TRY_LIMIT: u8 = 15;
const PASSWORD_LENGTHS: std::ops::RangeInclusive<usize> = 4..=32;

/// The login password applet.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoginPassword;

/// Whether the password was verified on this channel since it was selected.
#[derive(Default)]
struct Session {
    verified: bool,
}

/// What the card keeps, in one object.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
struct Record {
    asked_for: bool,
    tries_left: u8,
    try_limit: u8,
    /// Empty where none is set.
    password: Vec<u8>,
}

/// What is to be done with the requirement to enter the password.
#[derive(Clone, Copy)]
enum Requirement {
    Enable,
    Disable,
}

impl Applet for LoginPassword {
    fn install(&mut self, context: &mut AppletContext<'_>, parameters: &[u8]) -> Result<(), StatusWord> {
        let try_limit = match parameters {
            [] => DEFAULT_TRY_LIMIT,
            [limit @ 1..=HIGHEST_TRY_LIMIT] => *limit,
            _ => return Err(StatusWord::WRONG_DATA),
        };
        Record { asked_for: false, tries_left: try_limit, try_limit, password: Vec::new() }.write(context)
    }

    fn process(&mut self, context: &mut AppletContext<'_>, command: &CommandApdu) -> Answer {
        let record = Record::read(context)?;
        match (command.cla, command.ins, command.p1, command.p2) {
            (0x00, 0x20, 0x00, 0x00) if command.data.is_empty() => Ok(state(context, &record)),
            (0x00, 0x20, 0x00, 0x00) => verify(context, record, &command.data),
            (0x00, 0x24, 0x00, 0x00) => change(context, record, &command.data),
            (0x00, 0x28, 0x00, 0x00) => require(context, record, &command.data, Requirement::Enable),
            (0x00, 0x26, 0x00, 0x00) => require(context, record, &command.data, Requirement::Disable),
            (0x80, 0xCA, 0x00, 0xD1) => Ok(ResponseApdu::success(record.summary())),
            (0x00, 0x20 | 0x24 | 0x26 | 0x28, _, _) | (0x80, 0xCA, _, _) => Err(StatusWord::INCORRECT_P1_P2),
            (0x00 | 0x80, _, _, _) => Err(StatusWord::INSTRUCTION_NOT_SUPPORTED),
            _ => Err(StatusWord::CLASS_NOT_SUPPORTED),
        }
    }

    fn store_data(&mut self, context: &mut AppletContext<'_>, block: &StoreDataBlock<'_>) -> Answer {
        grouping::store_each(context, block, |context, grouping| {
            let mut record = Record::read(context)?;
            match (grouping.id, grouping.value) {
                (GROUPING_PASSWORD, encrypted) => {
                    let clear = context.decrypt_sensitive(encrypted)?;
                    record.password = unpadded(&clear)?.to_vec();
                }
                (GROUPING_TRY_LIMIT, [limit @ 1..=HIGHEST_TRY_LIMIT]) => record.try_limit = *limit,
                (GROUPING_TRY_LIMIT, _) => return Err(StatusWord::WRONG_DATA),
                _ => return Err(StatusWord::REFERENCED_DATA_NOT_FOUND),
            }
            record.tries_left = record.try_limit;
            record.write(context)
        })
    }
}

/// Whether a password must be entered now: 9000 when not, else the tries left.
fn state(context: &mut AppletContext<'_>, record: &Record) -> ResponseApdu {
    let status = if record.password.is_empty() {
        StatusWord::REFERENCED_DATA_INVALIDATED
    } else if !record.asked_for || context.volatile::<Session>().verified {
        StatusWord::SUCCESS
    } else if record.tries_left == 0 {
        StatusWord::AUTHENTICATION_METHOD_BLOCKED
    } else {
        StatusWord::tries_left(record.tries_left)
    };
    ResponseApdu::new([], status)
}

fn verify(context: &mut AppletContext<'_>, record: Record, password: &[u8]) -> Answer {
    match record.attempt(context, password)? {
        Attempt::Right(_) => Ok(ResponseApdu::success([])),
        Attempt::Wrong(answer) => Ok(answer),
    }
}

fn change(context: &mut AppletContext<'_>, record: Record, data: &[u8]) -> Answer {
    let (old, new) = old_and_new(data)?;
    if !PASSWORD_LENGTHS.contains(&new.len()) {
        return Err(StatusWord::WRONG_DATA);
    }
    let mut record = if record.password.is_empty() {
        if !old.is_empty() {
            return Err(StatusWord::REFERENCED_DATA_INVALIDATED);
        }
        record
    } else {
        match record.attempt(context, old)? {
            Attempt::Right(record) => record,
            Attempt::Wrong(answer) => return Ok(answer),
        }
    };
    record.password.zeroize();
    record.password = new.to_vec();
    record.write(context)?;
    Ok(ResponseApdu::success([]))
}

fn require(
    context: &mut AppletContext<'_>,
    record: Record,
    password: &[u8],
    requirement: Requirement,
) -> Answer {
    if record.password.is_empty() {
        return Err(StatusWord::REFERENCED_DATA_INVALIDATED);
    }
    match record.attempt(context, password)? {
        Attempt::Wrong(answer) => Ok(answer),
        Attempt::Right(mut record) => {
            record.asked_for = match requirement {
                Requirement::Enable => true,
                Requirement::Disable => false,
            };
            record.write(context)?;
            Ok(ResponseApdu::success([]))
        }
    }
}

/// What came of comparing a password.
enum Attempt {
    /// It was right; the record has all its tries again.
    Right(Record),
    /// It was wrong; the try is spent, and this is the answer.
    Wrong(ResponseApdu),
}

impl Record {
    fn read(context: &AppletContext<'_>) -> Result<Self, StatusWord> {
        let Some(&[asked_for, tries_left, try_limit, ref password @ ..]) = context.read(RECORD) else {
            return Err(StatusWord::MEMORY_FAILURE);
        };
        Ok(Self { asked_for: asked_for != 0, tries_left, try_limit, password: password.to_vec() })
    }

    fn write(&self, context: &mut AppletContext<'_>) -> Result<(), StatusWord> {
        let mut bytes = Zeroizing::new(vec![u8::from(self.asked_for), self.tries_left, self.try_limit]);
        bytes.extend_from_slice(&self.password);
        context.write(RECORD, &bytes)
    }

    /// Spends a try, compares, and gives the tries back when the password is right.
    fn attempt(mut self, context: &mut AppletContext<'_>, password: &[u8]) -> Result<Attempt, StatusWord> {
        if self.password.is_empty() {
            return Err(StatusWord::REFERENCED_DATA_INVALIDATED);
        }
        if self.tries_left == 0 {
            return Err(StatusWord::AUTHENTICATION_METHOD_BLOCKED);
        }
        let right = bool::from(self.password.as_slice().ct_eq(password));
        context.volatile::<Session>().verified = right;
        self.tries_left = if right { self.try_limit } else { self.tries_left - 1 };
        self.write(context)?;
        Ok(match (right, self.tries_left) {
            (true, _) => Attempt::Right(self),
            (false, 0) => Attempt::Wrong(ResponseApdu::new([], StatusWord::AUTHENTICATION_METHOD_BLOCKED)),
            (false, left) => Attempt::Wrong(ResponseApdu::new([], StatusWord::tries_left(left))),
        })
    }

    fn summary(&self) -> [u8; 4] {
        [u8::from(!self.password.is_empty()), u8::from(self.asked_for), self.tries_left, self.try_limit]
    }
}

/// LV old, LV new.
fn old_and_new(data: &[u8]) -> Result<(&[u8], &[u8]), StatusWord> {
    let (old, rest) = length_value(data).ok_or(StatusWord::WRONG_DATA)?;
    match length_value(rest) {
        Some((new, [])) => Ok((old, new)),
        _ => Err(StatusWord::WRONG_DATA),
    }
}

fn length_value(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// The password inside its length and padding.
fn unpadded(clear: &[u8]) -> Result<&[u8], StatusWord> {
    let (password, padding) = length_value(clear).ok_or(StatusWord::WRONG_DATA)?;
    let padded_rightly = matches!(padding, [] | [0x80, ..]) && padding.iter().skip(1).all(|byte| *byte == 0);
    if !padded_rightly || !PASSWORD_LENGTHS.contains(&password.len()) {
        return Err(StatusWord::WRONG_DATA);
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Interface;
    use crate::applets::LOGIN_PASSWORD;
    use crate::applets::test_card::TestCard;

    const FIRST: &str = "31323334";
    const SECOND: &str = "3534333231";

    fn lv(text: &str) -> String {
        format!("{:02X}{text}", text.len() / 2)
    }

    fn command(ins: &str, data: &str) -> String {
        format!("00{ins}0000{}", lv(data))
    }

    fn change(old: &str, new: &str) -> String {
        command("24", &format!("{}{}", lv(old), lv(new)))
    }

    fn card() -> TestCard {
        let mut card = TestCard::new();
        card.select(Interface::Contact, LOGIN_PASSWORD);
        card
    }

    /// A card whose password is set and asked for.
    fn card_in_use() -> TestCard {
        let mut card = card();
        assert_eq!(card.apdu(&change("", FIRST)), "9000");
        assert_eq!(card.apdu(&command("28", FIRST)), "9000");
        card.select(Interface::Contact, LOGIN_PASSWORD);
        card
    }

    /// The password is optional; whoever knows it switches it on and off.
    ///
    /// req: W-6.11.a
    #[test]
    fn the_password_is_the_users_choice() {
        let mut card = card();
        assert_eq!(card.apdu("00200000"), "6984", "none is set");
        assert_eq!(card.apdu(&command("28", FIRST)), "6984");
        assert_eq!(card.apdu(&change("", FIRST)), "9000");
        assert_eq!(card.apdu("80CA00D100"), "010005059000");
        card.select(Interface::Contact, LOGIN_PASSWORD);
        assert_eq!(card.apdu("00200000"), "9000", "it is not asked for");
        assert_eq!(card.apdu(&command("28", SECOND)), "63C4");
        assert_eq!(card.apdu(&command("28", FIRST)), "9000");
        card.select(Interface::Contact, LOGIN_PASSWORD);
        assert_eq!(card.apdu("00200000"), "63C5", "it is asked for");
        assert_eq!(card.apdu(&command("26", FIRST)), "9000");
        card.select(Interface::Contact, LOGIN_PASSWORD);
        assert_eq!(card.apdu("00200000"), "9000");
    }

    /// Verified inside the card, once for each selection.
    ///
    /// req: W-6.11.b
    #[test]
    fn the_card_verifies_the_password() {
        let mut card = card_in_use();
        assert_eq!(card.apdu("00200000"), "63C5");
        assert_eq!(card.apdu(&command("20", FIRST)), "9000");
        assert_eq!(card.apdu("00200000"), "9000");
        card.select(Interface::Contact, LOGIN_PASSWORD);
        assert_eq!(card.apdu("00200000"), "63C5", "a new selection asks again");
        for read in ["00B0950000", "80CA00D200", "00B2010C00"] {
            assert!(!card.apdu(read).contains(FIRST), "nothing reads the password");
        }
    }

    /// Wrong tries are counted inside the card and outlive its power; at the limit even the right
    /// password is refused.
    ///
    /// req: W-6.11.d
    #[test]
    fn wrong_tries_block_the_password() {
        let mut card = card_in_use();
        assert_eq!(card.apdu(&command("20", SECOND)), "63C4");
        let mut card = card.copy();
        card.select(Interface::Contact, LOGIN_PASSWORD);
        for left in ["63C3", "63C2", "63C1", "6983"] {
            assert_eq!(card.apdu(&command("20", SECOND)), left);
        }
        assert_eq!(card.apdu(&command("20", FIRST)), "6983");
        assert_eq!(card.apdu(&change(FIRST, SECOND)), "6983");
        assert_eq!(card.apdu("00200000"), "6983");
    }

    /// The security domain replaces a forgotten password and gives the tries back.
    #[test]
    fn the_domain_replaces_a_blocked_password() {
        let mut card = card_in_use();
        (0..5).for_each(|_| drop(card.apdu(&command("20", SECOND))));
        let replaced = card.personalise(LOGIN_PASSWORD, |seal| {
            let mut block = vec![5];
            block.extend(hex::decode(SECOND).unwrap());
            block.push(0x80);
            block.resize(16, 0);
            [vec![0xD1, 0x01, 0x10], seal(&block)].concat()
        });
        assert_eq!(replaced, StatusWord::SUCCESS);
        card.select(Interface::Contact, LOGIN_PASSWORD);
        assert_eq!(card.apdu(&command("20", SECOND)), "9000");
        let limit = card.personalise(LOGIN_PASSWORD, |_| vec![0xD1, 0x02, 0x01, 0x03]);
        assert_eq!(limit, StatusWord::SUCCESS);
        card.select(Interface::Contact, LOGIN_PASSWORD);
        assert_eq!(card.apdu("80CA00D100"), "010103039000");
        let refused = card.personalise(LOGIN_PASSWORD, |_| vec![0xD1, 0x02, 0x01, 0x10]);
        assert_eq!(refused, StatusWord::WRONG_DATA);
    }

    /// A change needs the old password, and a power cut at any of its writes leaves one that works.
    ///
    /// req: W-6.11.f
    #[test]
    fn a_change_is_atomic() {
        let mut card = card_in_use();
        assert_eq!(card.apdu(&change(SECOND, FIRST)), "63C4");
        assert_eq!(card.apdu(&change(FIRST, "3132")), "6A80", "too short");
        for writes in 0.. {
            let mut card = card.copy();
            card.select(Interface::Contact, LOGIN_PASSWORD);
            card.card.power_cut_after(writes);
            let whole = card.apdu(&change(FIRST, SECOND)) == "9000";
            card.card.cancel_power_cut();
            card.card.power_on().unwrap();
            card.select(Interface::Contact, LOGIN_PASSWORD);
            let old = card.apdu(&command("20", FIRST)) == "9000";
            let new = card.apdu(&command("20", SECOND)) == "9000";
            assert!(old != new && (new || !whole), "cut after {writes} writes");
            if whole {
                return;
            }
        }
    }

    #[test]
    fn malformed_commands_are_refused() {
        let mut card = card_in_use();
        assert_eq!(card.apdu("002000010431323334"), "6A86");
        assert_eq!(card.apdu("00240000050531323334"), "6A80");
        assert_eq!(card.apdu("0024000000"), "6A80");
        assert_eq!(card.apdu("00FF000000"), "6D00");
        assert_eq!(card.apdu("0420000000"), "6E00");
        let template = std::sync::Mutex::new(card);
        bolero::check!().for_each(|data: &[u8]| {
            let mut card = template.lock().unwrap().copy();
            card.select(Interface::Contact, LOGIN_PASSWORD);
            let command = CommandApdu::new(0x00, 0x24, 0x00, 0x00).with_data(&data[..data.len().min(255)]);
            assert_ne!(card.send(Interface::Contact, &command).status, StatusWord::SUCCESS);
        });
    }
}
