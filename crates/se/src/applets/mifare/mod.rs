//! The Mifare card manager (AID A0000003964D66344D0002, P-5.8.10): the platform downloads, lists,
//! activates and deletes the Mifare applications of an emulated memory of 1 KiB or 4 KiB, and reads
//! and writes its blocks as their access conditions allow.
//!
//! Commands are those of [`tsm_epurse::mifare::commands`]. What changes something needs a secure
//! channel of the manager's security domain. The radio part is not here.
//!
//! Install parameter: none or 01 for 1 KiB, 04 for 4 KiB.

mod applications;
mod blocks;
mod memory;

use tsm_epurse::mifare::Capacity;
use tsm_epurse::mifare::commands::MifareCommand;
use tsm_iso7816::{CommandApdu, ResponseApdu, StatusWord, tlv};

use super::messaging;
use crate::applet::{Answer, Applet, AppletContext};

/// The Mifare card manager.
#[derive(Debug, Clone, Copy, Default)]
pub struct MifareManager;

impl Applet for MifareManager {
    fn install(&mut self, context: &mut AppletContext<'_>, parameters: &[u8]) -> Result<(), StatusWord> {
        let capacity = match parameters {
            [] | [0x01] => Capacity::OneK,
            [0x04] => Capacity::FourK,
            _ => return Err(StatusWord::WRONG_DATA),
        };
        memory::format(context, capacity)
    }

    fn select(&mut self, context: &mut AppletContext<'_>) -> Answer {
        let name = tlv::encode(0x84, context.aid().as_bytes());
        Ok(ResponseApdu::success(tlv::encode(0x6F, &name)))
    }

    fn process(&mut self, context: &mut AppletContext<'_>, command: &CommandApdu) -> Answer {
        if let Some(answer) = messaging::process(self, context, command) {
            return answer;
        }
        let secured = context.security_level().is_some();
        let plain = if secured { context.unwrap(command)? } else { command.clone() };
        let command = MifareCommand::parse(&plain, memory::capacity(context)?)?;
        if changes(&command) && !secured {
            return Err(StatusWord::SECURITY_STATUS_NOT_SATISFIED);
        }
        match command {
            MifareCommand::List { first } => applications::list(context, first),
            MifareCommand::Download { number, position, data } => {
                applications::download(context, number, position, &data)
            }
            MifareCommand::Delete { id } => applications::delete(context, id),
            MifareCommand::Activate { id, activation } => applications::activate(context, id, activation),
            MifareCommand::Read { block, used, key } => blocks::read(context, block, used, &key),
            MifareCommand::Write { block, used, key, data } => {
                blocks::write(context, block, used, &key, &data)
            }
            MifareCommand::Value { block, used, key, operation, destination } => {
                blocks::value(context, block, used, &key, operation, destination)
            }
        }
    }
}

const fn changes(command: &MifareCommand) -> bool {
    match command {
        MifareCommand::List { .. } | MifareCommand::Read { .. } => false,
        MifareCommand::Download { .. }
        | MifareCommand::Delete { .. }
        | MifareCommand::Activate { .. }
        | MifareCommand::Write { .. }
        | MifareCommand::Value { .. } => true,
    }
}

#[cfg(test)]
mod tests;
