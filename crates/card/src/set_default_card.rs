//! Choosing the card that a reader finds first: the order of the contactless directory (JT/T 978.2,
//! B-6.7).
//!
//! `80 F0 02 01 4F AID` to the directory puts an application first, `80 F0 02 81` takes the choice back
//! (the shape of GlobalPlatform amendment C, 3.11.3). Only the cardholder's own side of the card may
//! say so, which is why no secure channel is needed.

use tsm_iso7816::{Aid, CommandApdu, tlv};

use crate::channel::CardChannel;
use crate::error::ProcedureError;
use crate::script::{Command, Script};
use crate::step::ExpectedStatus;

/// The contactless directory, "2PAY.SYS.DDF01".
pub const PPSE: Aid = Aid::constant(b"2PAY.SYS.DDF01");

/// Which change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultCard {
    /// This application first.
    First(Aid),
    /// This application back to its own place.
    Unchosen(Aid),
}

/// Sets the order in one exchange; gives what the directory answers to SELECT afterwards.
pub async fn set_default_card(
    card: &mut impl CardChannel,
    change: DefaultCard,
) -> Result<Vec<u8>, ProcedureError> {
    let (p2, aid) = match change {
        DefaultCard::First(aid) => (0x01, aid),
        DefaultCard::Unchosen(aid) => (0x81, aid),
    };
    let command = CommandApdu::new(0x80, 0xF0, 0x02, p2).with_data(tlv::encode(0x4F, aid.as_bytes()));
    let mut script = Script::new();
    script.select(PPSE, ExpectedStatus::success());
    script.transmit(Command::new("SET STATUS of the priority", command));
    let again = script.select(PPSE, ExpectedStatus::success());
    let mut answers = script.run(card).await?;
    Ok(answers.take_one(&again)?.data)
}
