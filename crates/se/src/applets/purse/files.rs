//! The files of a purse, as they lie in its memory: transparent files, the cyclic EF18 and EF1E
//! whose record 1 is the newest, and the numbered transit records of EF1A.

use std::borrow::Cow;

use tsm_epurse::Sfi;
use tsm_epurse::file::{
    HISTORY_RECORDS, HistoryRecord, Holder, LOG_RECORDS, LogRecord, Management, PublicInformation, RecordId,
    TransitRecord,
};
use tsm_iso7816::StatusWord;

use super::ledger::{Ledger, Ring};
use super::objects;
use crate::applet::{AppletContext, ObjectId};

/// The longest transparent file that an issuer defines for itself (EF05 to EF08, EF19).
const LONGEST_ISSUER_FILE: usize = 512;

/// A cyclic file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cyclic {
    /// EF18, the transaction log.
    Log,
    /// EF1E, the transit history.
    History,
}

/// What a short file identifier leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum File {
    /// A file of bytes.
    Transparent(Sfi),
    /// A file whose oldest record makes room for the newest.
    Cyclic(Cyclic),
    /// EF1A.
    Transit,
}

impl File {
    /// The file that `sfi` names, if a purse has such a file.
    pub(super) fn of(sfi: Sfi) -> Option<Self> {
        match sfi.value() {
            0x05..=0x08 | 0x15..=0x17 | 0x19 => Some(Self::Transparent(sfi)),
            0x18 => Some(Self::Cyclic(Cyclic::Log)),
            0x1A => Some(Self::Transit),
            0x1E => Some(Self::Cyclic(Cyclic::History)),
            _ => None,
        }
    }
}

impl Cyclic {
    const fn capacity(self) -> u8 {
        match self {
            Self::Log => LOG_RECORDS as u8,
            Self::History => HISTORY_RECORDS as u8,
        }
    }

    /// The length of its records.
    pub(super) const fn record_length(self) -> usize {
        match self {
            Self::Log => LogRecord::LENGTH,
            Self::History => HistoryRecord::LENGTH,
        }
    }

    const fn slot(self, slot: u8) -> ObjectId {
        match self {
            Self::Log => objects::log(slot),
            Self::History => objects::history(slot),
        }
    }

    const fn ring(self, ledger: &Ledger) -> Ring {
        match self {
            Self::Log => ledger.log,
            Self::History => ledger.history,
        }
    }

    /// Its place in the ledger.
    pub(super) fn ring_mut(self, ledger: &mut Ledger) -> &mut Ring {
        match self {
            Self::Log => &mut ledger.log,
            Self::History => &mut ledger.history,
        }
    }

    /// The object of record `number`, 1 the newest.
    fn object(self, ledger: &Ledger, number: u8) -> Option<ObjectId> {
        let ring = self.ring(ledger);
        if number == 0 || number > ring.filled {
            return None;
        }
        let capacity = self.capacity();
        Some(self.slot((ring.next + capacity - number) % capacity))
    }
}

/// The content of a transparent file; 6A82 when the purse has none.
pub(super) fn transparent<'a>(context: &'a AppletContext<'_>, sfi: Sfi) -> Result<&'a [u8], StatusWord> {
    context.read(objects::transparent(sfi)).ok_or(StatusWord::NOT_FOUND)
}

/// Replaces a transparent file as a whole, as personalisation does.
pub(super) fn write_transparent(
    context: &mut AppletContext<'_>,
    sfi: Sfi,
    content: &[u8],
) -> Result<(), StatusWord> {
    let fits = match sfi {
        Sfi::PUBLIC_INFORMATION => content.len() == PublicInformation::LENGTH,
        Sfi::HOLDER => content.len() == Holder::LENGTH,
        Sfi::MANAGEMENT => content.len() == Management::LENGTH,
        _ => content.len() <= LONGEST_ISSUER_FILE,
    };
    if !fits {
        return Err(StatusWord::WRONG_DATA);
    }
    context.write(objects::transparent(sfi), content)
}

/// Changes part of a transparent file.
pub(super) fn patch_transparent(
    context: &mut AppletContext<'_>,
    sfi: Sfi,
    offset: usize,
    bytes: &[u8],
) -> Result<(), StatusWord> {
    let mut content = transparent(context, sfi)?.to_vec();
    let end = offset.checked_add(bytes.len()).filter(|end| *end <= content.len());
    let end = end.ok_or(StatusWord::WRONG_P1_P2)?;
    content[offset..end].copy_from_slice(bytes);
    context.write(objects::transparent(sfi), &content)
}

/// Record `number` of a cyclic file, 1 the newest; 6A83 when it was never written.
pub(super) fn record<'a>(
    context: &'a AppletContext<'_>,
    ledger: &Ledger,
    file: Cyclic,
    number: u8,
) -> Result<&'a [u8], StatusWord> {
    let object = file.object(ledger, number).ok_or(StatusWord::RECORD_NOT_FOUND)?;
    context.read(object).ok_or(StatusWord::MEMORY_FAILURE)
}

/// Puts a new record into a cyclic file, in the place of the oldest when it is full. The caller
/// writes the ledger.
pub(super) fn append(
    context: &mut AppletContext<'_>,
    ledger: &mut Ledger,
    file: Cyclic,
    record: &[u8],
) -> Result<(), StatusWord> {
    if record.len() != file.record_length() {
        return Err(StatusWord::WRONG_LENGTH);
    }
    let capacity = file.capacity();
    let ring = file.ring_mut(ledger);
    let slot = ring.next;
    ring.next = (slot + 1) % capacity;
    ring.filled = (ring.filled + 1).min(capacity);
    context.write(file.slot(slot), record)
}

/// Replaces record `number` of a cyclic file.
pub(super) fn replace(
    context: &mut AppletContext<'_>,
    ledger: &Ledger,
    file: Cyclic,
    number: u8,
    record: &[u8],
) -> Result<(), StatusWord> {
    if record.len() != file.record_length() {
        return Err(StatusWord::WRONG_LENGTH);
    }
    let object = file.object(ledger, number).ok_or(StatusWord::RECORD_NOT_FOUND)?;
    context.write(object, record)
}

/// A transit record. A card has all of them from its beginning; those never written hold nothing,
/// and take no memory.
pub(super) fn transit<'a>(context: &'a AppletContext<'_>, record: RecordId) -> Cow<'a, [u8]> {
    context
        .read(objects::transit(record.number()))
        .map_or_else(|| TransitRecord::empty(record).encode().into(), Cow::Borrowed)
}

/// Whether bytes can be written to a transit record: not too long, and beginning with its own id.
pub(super) fn check_transit(record: RecordId, bytes: &[u8]) -> Result<(), StatusWord> {
    if bytes.len() > record.length() {
        return Err(StatusWord::WRONG_LENGTH);
    }
    if !bytes.starts_with(&record.to_bytes()) {
        return Err(StatusWord::WRONG_DATA);
    }
    Ok(())
}

/// Writes a transit record from its beginning; what is not given stays.
pub(super) fn write_transit(
    context: &mut AppletContext<'_>,
    record: RecordId,
    bytes: &[u8],
) -> Result<(), StatusWord> {
    check_transit(record, bytes)?;
    let mut content = transit(context, record).into_owned();
    content[..bytes.len()].copy_from_slice(bytes);
    context.write(objects::transit(record.number()), &content)
}
