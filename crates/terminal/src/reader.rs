//! What a terminal needs of a card reader.

use tsm_iso7816::{CommandApdu, ResponseApdu, StatusWord};

/// Carries a command to the card in the field and its answer back.
pub trait CardReader {
    /// Sends `command`. An error means that the answer is not known: the card may or may not have carried
    /// the command out.
    fn transmit(&mut self, command: &CommandApdu) -> Result<ResponseApdu, ReaderError>;
}

impl<F: FnMut(&CommandApdu) -> Result<ResponseApdu, ReaderError>> CardReader for F {
    fn transmit(&mut self, command: &CommandApdu) -> Result<ResponseApdu, ReaderError> {
        self(command)
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReaderError {
    /// The card left the field or does not answer.
    #[error("the card left the field")]
    CardLeft,
    /// What came back is not a response.
    #[error("the card's answer is not a response")]
    NotAResponse,
}

/// Why a command did not get the answer that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// No answer.
    #[error("{command} has no answer")]
    NoAnswer {
        /// The command.
        command: &'static str,
        /// Why.
        source: ReaderError,
    },
    /// The card refused.
    #[error("the card refuses {command} with {status}: {}", status.meaning())]
    Refused {
        /// The command.
        command: &'static str,
        /// What the card answered.
        status: StatusWord,
    },
    /// The card's data are not what the command answers with.
    #[error("the card's answer to {command} makes no sense")]
    Answer {
        /// The command.
        command: &'static str,
    },
}

impl ExchangeError {
    /// The status word with which the card refused.
    pub const fn status(&self) -> Option<StatusWord> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::NoAnswer { .. } | Self::Answer { .. } => None,
        }
    }
}

/// Sends `apdu` and gives the data of an answer with 9000. A card that answers 61xx or 6Cxx is asked again as
/// it wants (ISO/IEC 7816-4, 5.1.5: T=0 habits that some cards keep).
pub(crate) fn exchange(
    reader: &mut impl CardReader,
    command: &'static str,
    apdu: &CommandApdu,
) -> Result<Vec<u8>, ExchangeError> {
    let answer = whole(reader, command, apdu)?;
    if answer.status.is_success() {
        return Ok(answer.data);
    }
    Err(ExchangeError::Refused { command, status: answer.status })
}

/// The same, and the answer to a SELECT of a blocked application, 6283, is one too.
pub(crate) fn exchange_warned(
    reader: &mut impl CardReader,
    command: &'static str,
    apdu: &CommandApdu,
) -> Result<ResponseApdu, ExchangeError> {
    let answer = whole(reader, command, apdu)?;
    if answer.status.is_success() || answer.status == StatusWord::SELECTED_FILE_INVALIDATED {
        return Ok(answer);
    }
    Err(ExchangeError::Refused { command, status: answer.status })
}

fn whole(
    reader: &mut impl CardReader,
    command: &'static str,
    apdu: &CommandApdu,
) -> Result<ResponseApdu, ExchangeError> {
    let mut answer = transmit(reader, command, apdu)?;
    if answer.status.sw1() == 0x6C {
        let available = answer.status.sw2();
        let again = apdu.clone().with_ne(if available == 0 { 256 } else { u32::from(available) });
        answer = transmit(reader, command, &again)?;
    }
    if answer.status.sw1() == 0x61 {
        let available = answer.status.sw2();
        let more = CommandApdu::new(0x00, 0xC0, 0x00, 0x00);
        let more = more.with_ne(if available == 0 { 256 } else { u32::from(available) });
        answer = transmit(reader, command, &more)?;
    }
    Ok(answer)
}

fn transmit(
    reader: &mut impl CardReader,
    command: &'static str,
    apdu: &CommandApdu,
) -> Result<ResponseApdu, ExchangeError> {
    reader.transmit(apdu).map_err(|source| ExchangeError::NoAnswer { command, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_with_t0_habits_are_asked_as_they_want() {
        let mut asked = Vec::new();
        let mut card = |apdu: &CommandApdu| {
            asked.push(apdu.to_bytes().unwrap());
            Ok(match (apdu.ins, apdu.ne) {
                (0xC0, _) => ResponseApdu::success([1, 2]),
                (_, Some(2)) => StatusWord(0x6102).into(),
                _ => StatusWord(0x6C02).into(),
            })
        };
        let apdu = CommandApdu::new(0x80, 0x5C, 0, 2).with_ne(4);
        assert_eq!(exchange(&mut card, "GET BALANCE", &apdu), Ok(vec![1, 2]));
        assert_eq!(
            asked.iter().map(hex::encode).collect::<Vec<_>>(),
            ["805c000204", "805c000202", "00c0000002"]
        );
    }
}
