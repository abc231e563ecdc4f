//! The contactless directory, "2PAY.SYS.DDF01" (EMV contactless book B, 3.3; JT/T 978.2): what a
//! reader selects first to learn which applications the card has, best first.
//!
//! The entries are those of the card's selectable and unlocked instances that asked to be shown.
//! Their order is that of their own priorities (tag 87) until the cardholder chooses a default:
//! then the chosen ones come first and all are numbered anew. The choice is made on the contact
//! interface only, so that no reader on the way makes it: `80 F0 02 01` with `4F AID` puts an
//! application first and `80 F0 02 81` puts it back (the shape of SET STATUS for the priority
//! order in GlobalPlatform amendment C). An issuer sets a whole order by STORE DATA with the data
//! grouping 0100, as real personalisation files hold it.

use tsm_epurse::select::{Directory, DirectoryEntry as Listed};
use tsm_iso7816::{Aid, CommandApdu, ResponseApdu, StatusWord, tlv};

use super::grouping;
use crate::Interface;
use crate::applet::{Answer, Applet, AppletContext, ObjectId, StoreDataBlock};

/// The chosen order: AIDs, each with its length in front.
const ORDER: ObjectId = 1;
const GROUPING_DIRECTORY: u16 = 0x0100;
const INS_SET_STATUS: u8 = 0xF0;
const P1_PRIORITY_ORDER: u8 = 0x02;
const P2_FIRST: u8 = 0x01;
const P2_UNCHOSEN: u8 = 0x81;
/// How many applications the chosen order remembers, and priorities (tag 87, low nibble) go up to.
const LONGEST_ORDER: usize = 15;
/// A short response must hold the answer.
const LONGEST_ANSWER: usize = 255;

/// The contactless directory.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ppse;

impl Applet for Ppse {
    fn select(&mut self, context: &mut AppletContext<'_>) -> Answer {
        Ok(ResponseApdu::success(answer(listed(context))))
    }

    fn process(&mut self, context: &mut AppletContext<'_>, command: &CommandApdu) -> Answer {
        match (command.cla, command.ins) {
            (0x80, INS_SET_STATUS) => choose(context, command),
            _ => Err(StatusWord::INSTRUCTION_NOT_SUPPORTED),
        }
    }

    fn store_data(&mut self, context: &mut AppletContext<'_>, block: &StoreDataBlock<'_>) -> Answer {
        grouping::store_each(context, block, |context, grouping| {
            if grouping.id != GROUPING_DIRECTORY {
                return Err(StatusWord::REFERENCED_DATA_NOT_FOUND);
            }
            let directory = Directory::decode_grouping(grouping.value).map_err(|_| StatusWord::WRONG_DATA)?;
            let order: Vec<Aid> = directory.by_priority().iter().map(|entry| entry.aid).collect();
            write_order(context, &order)
        })
    }
}

/// The entries in the order and with the priorities that a reader shall see.
fn listed(context: &AppletContext<'_>) -> Vec<Listed> {
    let order = order(context);
    let mut entries: Vec<Listed> = context
        .directory()
        .into_iter()
        .map(|(aid, entry)| Listed { aid, label: entry.label, priority: entry.priority })
        .collect();
    let place = |aid: &Aid| order.iter().position(|chosen| chosen == aid);
    if entries.iter().all(|entry| place(&entry.aid).is_none()) {
        return entries;
    }
    // A stable sort: those not chosen keep their own order behind the chosen ones.
    entries.sort_by_key(|entry| place(&entry.aid).unwrap_or(usize::MAX));
    for (entry, priority) in entries.iter_mut().zip(1..) {
        entry.priority = priority.min(LONGEST_ORDER as u8);
    }
    entries
}

/// The file control information of as many entries as a short response holds.
fn answer(mut entries: Vec<Listed>) -> Vec<u8> {
    loop {
        let answer = Directory { entries: entries.clone() }.encode();
        if answer.len() <= LONGEST_ANSWER || entries.pop().is_none() {
            return answer;
        }
    }
}

fn choose(context: &mut AppletContext<'_>, command: &CommandApdu) -> Answer {
    if context.interface() != Interface::Contact {
        return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
    }
    if command.p1 != P1_PRIORITY_ORDER {
        return Err(StatusWord::INCORRECT_P1_P2);
    }
    let aid = tlv::find_one(&command.data, 0x4F).ok().and_then(|bytes| Aid::new(bytes).ok());
    let aid = aid.ok_or(StatusWord::WRONG_DATA)?;
    let mut order = order(context);
    order.retain(|chosen| *chosen != aid);
    match command.p2 {
        P2_FIRST if context.directory().iter().any(|(listed, _)| *listed == aid) => order.insert(0, aid),
        P2_FIRST => return Err(StatusWord::REFERENCED_DATA_NOT_FOUND),
        P2_UNCHOSEN => {}
        _ => return Err(StatusWord::INCORRECT_P1_P2),
    }
    write_order(context, &order)?;
    Ok(ResponseApdu::success([]))
}

fn order(context: &AppletContext<'_>) -> Vec<Aid> {
    let mut rest = context.read(ORDER).unwrap_or_default();
    let mut order = Vec::new();
    while let Some((length, after)) = rest.split_first()
        && let Some((aid, after)) = after.split_at_checked(usize::from(*length))
        && let Ok(aid) = Aid::new(aid)
    {
        order.push(aid);
        rest = after;
    }
    order
}

fn write_order(context: &mut AppletContext<'_>, order: &[Aid]) -> Result<(), StatusWord> {
    let mut bytes = Vec::new();
    for aid in order.iter().take(LONGEST_ORDER) {
        bytes.push(aid.as_bytes().len() as u8);
        bytes.extend(aid.as_bytes());
    }
    context.write(ORDER, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::applets::test_card::{CITY_PURSE, DIRECTORY, PURSE, TestCard};

    fn directory(card: &mut TestCard, interface: Interface) -> Vec<Listed> {
        let answer = card.select(interface, DIRECTORY);
        assert_eq!(answer.status, StatusWord::SUCCESS);
        Directory::decode(&answer.data).unwrap().entries
    }

    fn order(card: &mut TestCard) -> Vec<(Aid, u8)> {
        directory(card, Interface::Contactless).iter().map(|entry| (entry.aid, entry.priority)).collect()
    }

    /// A reader finds the selectable applications that asked to be shown, in the order of their
    /// priorities.
    ///
    /// req: B-6.7.a
    #[test]
    fn a_reader_finds_the_purses() {
        let mut card = TestCard::new();
        let entries = directory(&mut card, Interface::Contactless);
        assert_eq!(entries.iter().map(|entry| entry.aid).collect::<Vec<_>>(), [PURSE, CITY_PURSE]);
        assert!(entries.iter().all(|entry| entry.label == b"MOT_T_EP" && entry.priority == 2));
        for (aid, priority) in [(CITY_PURSE, 1), (PURSE, 3)] {
            let entry = Listed { aid, label: b"city".to_vec(), priority };
            let grouping = Directory { entries: vec![entry] }.encode_grouping();
            let data = [&[0x01, 0x00, grouping.len() as u8][..], &grouping].concat();
            assert_eq!(card.personalise(aid, |_| data), StatusWord::SUCCESS);
        }
        assert_eq!(order(&mut card), [(CITY_PURSE, 1), (PURSE, 3)]);
    }

    /// The wallet's client selects the purse itself, without the directory.
    ///
    /// req: B-6.7.b
    #[test]
    fn a_client_selects_the_purse_directly() {
        let mut card = TestCard::new();
        assert_eq!(card.select(Interface::Contact, CITY_PURSE).status, StatusWord::SUCCESS);
    }

    /// req: B-9.2.7.a
    #[test]
    fn the_cardholder_chooses_the_default() {
        let mut card = TestCard::new();
        let set = |p2: &str, aid: &Aid| {
            let aid = aid.as_bytes();
            format!("80F002{p2}{:02X}4F{:02X}{}", aid.len() + 2, aid.len(), hex::encode_upper(aid))
        };
        card.select(Interface::Contact, DIRECTORY);
        assert_eq!(card.apdu(&set("01", &CITY_PURSE)), "9000");
        assert_eq!(order(&mut card), [(CITY_PURSE, 1), (PURSE, 2)]);
        assert_eq!(card.apdu(&set("01", &PURSE)), "9000");
        assert_eq!(order(&mut card), [(PURSE, 1), (CITY_PURSE, 2)]);
        assert_eq!(card.apdu(&set("81", &PURSE)), "9000");
        assert_eq!(order(&mut card), [(CITY_PURSE, 1), (PURSE, 2)]);
        assert_eq!(card.apdu(&set("01", &DIRECTORY)), "6A88");
        assert_eq!(card.apdu("80F002010100"), "6A80");
        assert_eq!(card.apdu(&set("02", &PURSE)), "6A86");
        let mut card = card.copy();
        assert_eq!(order(&mut card)[0], (CITY_PURSE, 1), "the choice outlives the power");
        card.select(Interface::Contactless, DIRECTORY);
        let from_outside = card.apdu_on(Interface::Contactless, &set("01", &PURSE));
        assert_eq!(from_outside, "6985", "no reader on the way changes the choice");
    }

    #[test]
    fn an_issuer_sets_the_order() {
        let mut card = TestCard::new();
        let entry = |aid, priority| Listed { aid, label: b"MOT_T_EP".to_vec(), priority };
        let grouping = Directory { entries: vec![entry(PURSE, 2), entry(CITY_PURSE, 1)] }.encode_grouping();
        let data = [&[0x01, 0x00, grouping.len() as u8][..], &grouping].concat();
        assert_eq!(card.personalise(DIRECTORY, |_| data), StatusWord::SUCCESS);
        assert_eq!(order(&mut card), [(CITY_PURSE, 1), (PURSE, 2)]);
    }

    #[test]
    fn the_answer_fits_a_short_response() {
        let entry = |number: u8| Listed {
            aid: Aid::new(&[number; 16]).unwrap(),
            label: vec![b'x'; 16],
            priority: number,
        };
        let answer = answer((1..=15).map(entry).collect());
        assert!(answer.len() <= LONGEST_ANSWER);
        assert_eq!(Directory::decode(&answer).unwrap().entries[0].priority, 1);
    }
}
