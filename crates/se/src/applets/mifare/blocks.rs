//! READ BLOCK, WRITE BLOCK and VALUE OPERATION, under the sector's keys and access conditions.

use tsm_epurse::mifare::commands::ValueOperation;
use tsm_epurse::mifare::{
    BLOCK_LENGTH, Block, Condition, KeyUsed, MifareKey, Operation, SectorTrailer, ValueBlock,
};
use tsm_iso7816::{ResponseApdu, StatusWord};

use super::memory::Content;
use crate::applet::{Answer, AppletContext};

/// READ BLOCK. A trailer shows what its condition lets be seen, and key A never.
pub(super) fn read(context: &AppletContext<'_>, block: Block, used: KeyUsed, key: &MifareKey) -> Answer {
    let (content, trailer) = open(context, block, used, key)?;
    if block.is_trailer() {
        return Ok(ResponseApdu::success(trailer.readable(used)));
    }
    allow(condition(&trailer, block), Operation::Read, used)?;
    Ok(ResponseApdu::success(content.block(block)))
}

/// WRITE BLOCK. Block 0 is the manufacturer's.
pub(super) fn write(
    context: &mut AppletContext<'_>,
    block: Block,
    used: KeyUsed,
    key: &MifareKey,
    data: &[u8; BLOCK_LENGTH],
) -> Answer {
    let (mut content, trailer) = open(context, block, used, key)?;
    if block.is_trailer() {
        let new = SectorTrailer::decode(data).map_err(|_| StatusWord::WRONG_DATA)?;
        let new = trailer.rewritten(&new, used).ok_or(StatusWord::CONDITIONS_NOT_SATISFIED)?;
        content.set_block(block, &new.encode());
    } else {
        writable(block)?;
        allow(condition(&trailer, block), Operation::Write, used)?;
        content.set_block(block, data);
    }
    content.write(context)?;
    Ok(ResponseApdu::success([]))
}

/// VALUE OPERATION: the value of one block is changed or copied, and written to a block of the
/// same sector.
pub(super) fn value(
    context: &mut AppletContext<'_>,
    block: Block,
    used: KeyUsed,
    key: &MifareKey,
    operation: ValueOperation,
    destination: Block,
) -> Answer {
    let (mut content, trailer) = open(context, block, used, key)?;
    if destination.sector() != block.sector() || block.is_trailer() || destination.is_trailer() {
        return Err(StatusWord::WRONG_DATA);
    }
    writable(destination)?;
    let needed = match operation {
        ValueOperation::Increment(_) => Operation::Increment,
        ValueOperation::Decrement(_) | ValueOperation::Restore => Operation::Decrement,
    };
    allow(condition(&trailer, block), needed, used)?;
    allow(condition(&trailer, destination), Operation::Decrement, used)?;
    let before = ValueBlock::decode(content.block(block)).map_err(|_| StatusWord::WRONG_DATA)?;
    let after = match operation {
        ValueOperation::Increment(amount) => before.incremented(amount),
        ValueOperation::Decrement(amount) => before.decremented(amount),
        ValueOperation::Restore => Some(before),
    };
    content.set_block(destination, &after.ok_or(StatusWord::WRONG_DATA)?.encode());
    content.write(context)?;
    Ok(ResponseApdu::success([]))
}

/// The block's sector, when the key opens it.
fn open(
    context: &AppletContext<'_>,
    block: Block,
    used: KeyUsed,
    key: &MifareKey,
) -> Result<(Content, SectorTrailer), StatusWord> {
    let content = Content::read(context, block.sector());
    let trailer = content.trailer()?;
    if !trailer.opens(used, key) {
        return Err(StatusWord::AUTHENTICATION_FAILED);
    }
    Ok((content, trailer))
}

fn condition(trailer: &SectorTrailer, block: Block) -> Condition {
    trailer.access.group(block.access_group())
}

fn allow(condition: Condition, operation: Operation, used: KeyUsed) -> Result<(), StatusWord> {
    if condition.allows(operation, used) { Ok(()) } else { Err(StatusWord::CONDITIONS_NOT_SATISFIED) }
}

fn writable(block: Block) -> Result<(), StatusWord> {
    if block == Block::MANUFACTURER { Err(StatusWord::CONDITIONS_NOT_SATISFIED) } else { Ok(()) }
}
