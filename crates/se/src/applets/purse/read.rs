//! READ BINARY and READ RECORD: free, blocked purse or not.

use std::borrow::Cow;

use tsm_epurse::commands::{ReadBinary, ReadRecord, RecordReference};
use tsm_epurse::file::RecordId;
use tsm_iso7816::{ResponseApdu, StatusWord};

use super::files::{self, File};
use super::ledger::Ledger;
use crate::applet::{Answer, AppletContext};

/// READ BINARY.
pub(super) fn binary(context: &AppletContext<'_>, command: ReadBinary) -> Answer {
    let Some(File::Transparent(sfi)) = File::of(command.sfi) else {
        return Err(StatusWord::COMMAND_INCOMPATIBLE_WITH_FILE);
    };
    let content = files::transparent(context, sfi)?;
    let rest = content.get(usize::from(command.offset)..).ok_or(StatusWord::WRONG_P1_P2)?;
    answer(rest, command.length)
}

/// READ RECORD.
pub(super) fn record(context: &AppletContext<'_>, ledger: &Ledger, command: ReadRecord) -> Answer {
    let file = File::of(command.sfi).ok_or(StatusWord::NOT_FOUND)?;
    let content = match (file, command.record) {
        (File::Transparent(_), _) => return Err(StatusWord::COMMAND_INCOMPATIBLE_WITH_FILE),
        (File::Cyclic(file), RecordReference::Number(number)) => {
            Cow::Borrowed(files::record(context, ledger, file, number)?)
        }
        (File::Cyclic(_), RecordReference::Id(_)) => return Err(StatusWord::INCORRECT_P1_P2),
        (File::Transit, RecordReference::Number(number) | RecordReference::Id(number)) => {
            let id = RecordId::new(number).ok_or(StatusWord::RECORD_NOT_FOUND)?;
            files::transit(context, id)
        }
    };
    answer(&content, command.length)
}

/// As many bytes as asked for; 6Cxx with the right number when there are not so many.
fn answer(content: &[u8], length: Option<u8>) -> Answer {
    let available = content.len().min(256);
    match length.map(usize::from) {
        None => Ok(ResponseApdu::success(&content[..available])),
        Some(length) if length <= available => Ok(ResponseApdu::success(&content[..length])),
        Some(_) => Err(StatusWord::wrong_le(available as u8)),
    }
}
