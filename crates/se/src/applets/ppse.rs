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
