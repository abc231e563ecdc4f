//! A list of commands that an issuer sends, carried to the card on a reader by whoever holds the conversation.

use tsm_api::HexBytes;
use tsm_api::conversation::{CardFault, Step};
use tsm_epurse::select;
use tsm_iso7816::{CommandApdu, ResponseApdu};

use crate::reader::{CardReader, ReaderError};

/// Carries steps to the card in order, up to the first unexpected status word or the card's leaving (W-6.6.c).
pub fn carry(reader: &mut impl CardReader, steps: &[Step]) -> (Vec<HexBytes>, Option<CardFault>) {
    let mut responses = Vec::with_capacity(steps.len());
    for step in steps {
        let (command, expected) = match step {
            Step::Select { aid, expected } => match aid.to_aid() {
                Ok(aid) => (select::select(&aid), expected),
                Err(_) => return (responses, Some(CardFault::AccessDenied)),
            },
            Step::Transmit { apdu, expected } => match CommandApdu::parse(apdu.as_bytes()) {
                Ok(command) => (command, expected),
                Err(_) => return (responses, Some(CardFault::AccessDenied)),
            },
        };
        let response: ResponseApdu = match reader.transmit(&command) {
            Ok(response) => response,
            Err(ReaderError::CardLeft | ReaderError::NotAResponse) => {
                return (responses, Some(CardFault::CardLost));
            }
        };
        let fits = expected.iter().any(|pattern| pattern.fits(response.status));
        responses.push(HexBytes(response.to_bytes()));
        if !fits {
            break;
        }
    }
    (responses, None)
}
