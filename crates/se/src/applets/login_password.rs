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
