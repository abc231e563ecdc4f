//! The greeting card: an application without value, for trying downloads and deletions.
//!
//! SELECT answers its greeting as a label (`6F { 84 AID, A5 { 50 text } }`); `80 10 00 00` answers
//! the bare text. STORE DATA with the data grouping 0001 changes the text. It knows no other
//! command, holds nothing worth anything, and never shows in the contactless directory.

use tsm_iso7816::{CommandApdu, ResponseApdu, StatusWord, tlv};

use super::grouping::{self, DataGrouping};
use crate::applet::{Answer, Applet, AppletContext, ObjectId, StoreDataBlock};

const TEXT: ObjectId = 1;
const GROUPING_TEXT: u16 = 0x0001;
const INS_GREET: u8 = 0x10;
const LONGEST_TEXT: usize = 100;
const FIRST_TEXT: &[u8] = "Hello 你好".as_bytes();

/// The greeting card.
#[derive(Debug, Clone, Copy, Default)]
pub struct GreetingCard;

impl Applet for GreetingCard {
    fn install(&mut self, context: &mut AppletContext<'_>, parameters: &[u8]) -> Result<(), StatusWord> {
        let text = if parameters.is_empty() { FIRST_TEXT } else { parameters };
        write_text(context, text)
    }

    fn select(&mut self, context: &mut AppletContext<'_>) -> Answer {
        let mut content = tlv::encode(0x84, context.aid().as_bytes());
        tlv::write(&mut content, 0xA5, &tlv::encode(0x50, text(context)));
        Ok(ResponseApdu::success(tlv::encode(0x6F, &content)))
    }

    fn process(&mut self, context: &mut AppletContext<'_>, command: &CommandApdu) -> Answer {
        match (command.cla, command.ins) {
            (0x80, INS_GREET) => Ok(ResponseApdu::success(text(context))),
            _ => Err(StatusWord::INSTRUCTION_NOT_SUPPORTED),
        }
    }

    fn store_data(&mut self, context: &mut AppletContext<'_>, block: &StoreDataBlock<'_>) -> Answer {
        grouping::store_each(context, block, |context, grouping: DataGrouping<'_>| match grouping.id {
            GROUPING_TEXT => write_text(context, grouping.value),
            _ => Err(StatusWord::REFERENCED_DATA_NOT_FOUND),
        })
    }
}

fn text<'a>(context: &'a AppletContext<'_>) -> &'a [u8] {
    context.read(TEXT).unwrap_or_default()
}

fn write_text(context: &mut AppletContext<'_>, text: &[u8]) -> Result<(), StatusWord> {
    if text.len() > LONGEST_TEXT {
        return Err(StatusWord::WRONG_DATA);
    }
    context.write(TEXT, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Interface;
    use crate::applets::GREETING_CARD;
    use crate::applets::test_card::TestCard;

    #[test]
    fn greets_and_learns_another_greeting() {
        let mut card = TestCard::new();
        let selected = card.select(Interface::Contact, GREETING_CARD);
        assert!(selected.data.ends_with(FIRST_TEXT));
        assert_eq!(card.apdu("8010000000"), format!("{}9000", hex::encode_upper(FIRST_TEXT)));
        assert_eq!(card.apdu("8012000000"), "6D00");
        assert_eq!(card.personalise(GREETING_CARD, |_| b"\x00\x01\x05again".to_vec()), StatusWord::SUCCESS);
        card.select(Interface::Contact, GREETING_CARD);
        assert_eq!(card.apdu("8010000000"), format!("{}9000", hex::encode_upper("again")));
        let unknown = card.personalise(GREETING_CARD, |_| vec![0, 2, 1, 0]);
        assert_eq!(unknown, StatusWord::REFERENCED_DATA_NOT_FOUND);
    }
}
