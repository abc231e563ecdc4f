//! STORE DATA: the purse's personalisation data, grouping by grouping, in any order that ends with
//! the purse's start (D001), which makes it usable.
//!
//! Keys and PIN come enciphered under the security domain's data encryption key. Until the first
//! transaction everything may be stored again, so that an interrupted personalisation is simply
//! repeated; afterwards the purse's content changes by transactions and secured updates only.

use tsm_epurse::commands::Pin;
use tsm_epurse::personalization::{DataGrouping, PersonalizationError, PurseGrouping, PurseStart};
use tsm_epurse::select::Directory;
use tsm_epurse::{Key, Sfi};
use tsm_iso7816::StatusWord;

use super::files::{self, Cyclic};
use super::ledger::{Availability, Ledger, Ring};
use super::{keys, pin};
use crate::applet::{Answer, AppletContext, DirectoryEntry, StoreDataBlock};
use crate::applets::grouping;

/// STORE DATA, forwarded by the security domain or taken over the purse's own secure channel.
pub(super) fn store_data(context: &mut AppletContext<'_>, block: &StoreDataBlock<'_>) -> Answer {
    let ledger = Ledger::read(context)?;
    if ledger.personalised && (ledger.revision != 0 || ledger.availability != Availability::Open) {
        return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
    }
    grouping::store_each(context, block, |context, raw| {
        let grouping = DataGrouping { id: raw.id, data: raw.value.to_vec() };
        store(context, PurseGrouping::decode(&grouping).map_err(refusal)?)
    })
}

fn store(context: &mut AppletContext<'_>, grouping: PurseGrouping) -> Result<(), StatusWord> {
    match grouping {
        PurseGrouping::Directory(directory) => show(context, &directory),
        PurseGrouping::PublicInformation(file) => {
            files::write_transparent(context, Sfi::PUBLIC_INFORMATION, &file.encode())
        }
        PurseGrouping::Holder(file) => files::write_transparent(context, Sfi::HOLDER, &file.encode()),
        PurseGrouping::Management(file) => files::write_transparent(context, Sfi::MANAGEMENT, &file.encode()),
        PurseGrouping::Keys(algorithm, sealed) => {
            let set = open(context, |decipher| sealed.open(algorithm, decipher))?;
            keys::store(context, &set)
        }
        PurseGrouping::SecondLoadKey(algorithm, sealed) => {
            let key: Key = open(context, |decipher| sealed.open(algorithm, "second-load", decipher))?;
            keys::store_second_load(context, &key)
        }
        PurseGrouping::Start(start) => begin(context, start),
        PurseGrouping::Log(records) => {
            let records: Vec<_> = records.iter().map(|record| record.encode().to_vec()).collect();
            restore(context, Cyclic::Log, &records)
        }
        PurseGrouping::History(records) => {
            let records: Vec<_> = records.iter().map(|record| record.encode().to_vec()).collect();
            restore(context, Cyclic::History, &records)
        }
        PurseGrouping::Pin(sealed) => {
            let pin: Pin = open(context, |decipher| sealed.open(decipher))?;
            pin::personalise(context, &pin, sealed.tries)
        }
        PurseGrouping::TransitRecord(record) => {
            files::write_transit(context, record.head().id, &record.encode())
        }
    }
}

/// The purse's own entry in the contactless directory; entries of others are not its affair.
fn show(context: &mut AppletContext<'_>, directory: &Directory) -> Result<(), StatusWord> {
    let aid = context.aid();
    if let Some(entry) = directory.entries.iter().find(|entry| entry.aid == aid) {
        let entry = DirectoryEntry { label: entry.label.clone(), priority: entry.priority };
        context.set_directory_entry(Some(entry));
    }
    Ok(())
}

/// Amounts and counters; the keys that the purse will use must be there already.
fn begin(context: &mut AppletContext<'_>, start: PurseStart) -> Result<(), StatusWord> {
    if !keys::has(context, start.algorithm) || files::transparent(context, Sfi::PUBLIC_INFORMATION).is_err() {
        return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
    }
    let mut ledger = Ledger::read(context)?;
    ledger.state = start.state;
    ledger.key_version = start.key_version.0;
    ledger.algorithm = start.algorithm;
    ledger.personalised = true;
    ledger.write(context)
}

/// Fills a cyclic file with records given newest first.
fn restore(context: &mut AppletContext<'_>, file: Cyclic, records: &[Vec<u8>]) -> Result<(), StatusWord> {
    let mut ledger = Ledger::read(context)?;
    *file.ring_mut(&mut ledger) = Ring::default();
    for record in records.iter().rev() {
        files::append(context, &mut ledger, file, record)?;
    }
    ledger.write(context)
}

/// Opens sealed data with the data encryption key of the purse's security domain.
fn open<T>(
    context: &mut AppletContext<'_>,
    open: impl FnOnce(&mut dyn FnMut(&[u8; 16]) -> [u8; 16]) -> Result<T, PersonalizationError>,
) -> Result<T, StatusWord> {
    let mut refused = None;
    let mut decipher = |block: &[u8; 16]| match context.decrypt_sensitive(block) {
        Ok(clear) => clear.as_slice().try_into().unwrap_or_default(),
        Err(status) => {
            refused = Some(status);
            [0; 16]
        }
    };
    let opened = open(&mut decipher);
    match refused {
        Some(status) => Err(status),
        None => opened.map_err(refusal),
    }
}

fn refusal(error: PersonalizationError) -> StatusWord {
    match error {
        PersonalizationError::Unknown(_) => StatusWord::REFERENCED_DATA_NOT_FOUND,
        PersonalizationError::CheckValue(_) => StatusWord::INVALID_KEY_CHECK_VALUE,
        PersonalizationError::Missing(_) | PersonalizationError::Duplicate(_) => {
            StatusWord::CONDITIONS_NOT_SATISFIED
        }
        PersonalizationError::Layout { .. }
        | PersonalizationError::State(_)
        | PersonalizationError::Directory(_)
        | PersonalizationError::Pin => StatusWord::WRONG_DATA,
    }
}
