//! The cardholder verification method: one PIN that applications share as a global service
//! (GPC 2.3.1, 8.2).
//!
//! PIN and tries are kept in the memory; whether the PIN was verified is volatile and lost when
//! power goes.

use tsm_globalplatform::primitives;
use tsm_globalplatform::privileges::Privileges;
use tsm_iso7816::StatusWord;

use super::registry::EntryId;
use super::{Open, card_key};
use crate::applet::CvmState;

/// The object that holds try limit, tries left, and PIN.
const OBJECT: u16 = 2;

/// What the card remembers of the last try until power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum LastTry {
    #[default]
    None,
    Wrong,
    Right,
}

/// The bytes of a PIN that the service accepts, at most.
const PIN_MAX: usize = 32;

pub(crate) fn state(open: &Open) -> CvmState {
    match (open.memory.read(card_key(OBJECT)), open.last_cvm_try) {
        (None, _) => CvmState::Unset,
        (Some([_, 0, ..]), _) => CvmState::Blocked,
        (Some(_), LastTry::None) => CvmState::Active,
        (Some(_), LastTry::Wrong) => CvmState::InvalidSubmission,
        (Some(_), LastTry::Right) => CvmState::Validated,
    }
}

pub(crate) fn tries_left(open: &Open) -> u8 {
    open.memory.read(card_key(OBJECT)).and_then(|object| object.get(1)).copied().unwrap_or(0)
}

pub(crate) fn verify(open: &mut Open, pin: &[u8]) -> bool {
    let Some([limit, tries, expected @ ..]) = open.memory.read(card_key(OBJECT)) else {
        return false;
    };
    if *tries == 0 {
        return false;
    }
    let right = primitives::equal(expected, pin);
    let mut object = vec![*limit, if right { *limit } else { tries - 1 }];
    object.extend(expected);
    open.memory.write(card_key(OBJECT), &object);
    open.last_cvm_try = if right { LastTry::Right } else { LastTry::Wrong };
    right
}

pub(crate) fn update(open: &mut Open, by: EntryId, pin: &[u8], try_limit: u8) -> Result<(), StatusWord> {
    require_management(open, by)?;
    if pin.is_empty() || pin.len() > PIN_MAX || try_limit == 0 {
        return Err(StatusWord::WRONG_DATA);
    }
    let mut object = vec![try_limit, try_limit];
    object.extend(pin);
    open.memory.write(card_key(OBJECT), &object);
    open.last_cvm_try = LastTry::None;
    Ok(())
}

pub(crate) fn reset_tries(open: &mut Open, by: EntryId) -> Result<(), StatusWord> {
    require_management(open, by)?;
    let Some([limit, _, pin @ ..]) = open.memory.read(card_key(OBJECT)) else {
        return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
    };
    let mut object = vec![*limit, *limit];
    object.extend(pin);
    open.memory.write(card_key(OBJECT), &object);
    open.last_cvm_try = LastTry::None;
    Ok(())
}

fn require_management(open: &Open, by: EntryId) -> Result<(), StatusWord> {
    if open.registry.entry(by).privileges().contains(Privileges::CVM_MANAGEMENT) {
        Ok(())
    } else {
        Err(StatusWord::SECURITY_STATUS_NOT_SATISFIED)
    }
}
