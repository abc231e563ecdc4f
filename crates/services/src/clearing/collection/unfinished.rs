//! Files that were announced and do not end, for the reconciliation view: a line broke and nobody went on, or nobody
//! meant to. Nothing is taken of such a file, so its rows are missing without a word until somebody asks for it.
//!
//! Each stands in the view when no byte of it has come for an hour, with how much of it is here. When it ends after
//! all, taken or refused, that ends the difference.

use jiff::SignedDuration;
use tsm_domain::IncidentId;
use tsm_domain::money::reconciliation::{Difference, DifferenceState};
use tsm_storage::Result;
use tsm_storage::clearing::Books;
use tsm_storage::clearing::collection::{FileKey, FileRow};

use super::refusals::FILE_UNFINISHED;
use crate::clearing::Clearing;
use crate::clearing::suspicions::difference_of_incident;
use crate::names;

/// How long no byte comes of a file that is not coming any more.
const IDLE: SignedDuration = SignedDuration::from_hours(1);
/// Files that one round looks at.
const FILES: usize = 10_000;

impl Clearing {
    /// Lists the files that have stopped coming; gives how many are new.
    pub(in crate::clearing) async fn take_unfinished(&self) -> Result<u64> {
        let mut new = 0;
        for file in self.store.unfinished_files(FILES).await? {
            let is_idle = self.now().duration_since(file.idle_since()) >= IDLE;
            if is_idle && !self.is_told_otherwise(&file).await? {
                new += self.list_unfinished(&file).await?;
            }
        }
        Ok(new)
    }

    /// Whether the view has it already, as one that was refused: its bytes were forgotten, or it waits for what its
    /// terminals signed.
    async fn is_told_otherwise(&self, file: &FileRow) -> Result<bool> {
        if file.held == 0 {
            return Ok(file.refusals > 0);
        }
        if file.held == file.size { self.is_told_unsigned(file).await } else { Ok(false) }
    }

    async fn list_unfinished(&self, file: &FileRow) -> Result<u64> {
        let id = incident_of_unfinished(&file.key, file.refusals);
        let why = words(file);
        let Some(known) = self.store.difference(difference_of_incident(id)).await? else {
            // What came under the name before it is forgotten.
            self.end_unfinished_before(file).await?;
            self.report_file(id, FILE_UNFINISHED, file, &why).await?;
            return Ok(1);
        };
        let FileKey { institution, name } = &file.key;
        let text = format!("{FILE_UNFINISHED}: file {name} of {institution}: {why}");
        match known.state {
            DifferenceState::Resolved { .. } | DifferenceState::Explained { .. } => {}
            _ if known.text == text => {}
            // More of it has come, and then it stopped again.
            _ => {
                let now = Difference { text, ..known.clone() };
                self.store.change_difference(&known, now, Books::default()).await?;
            }
        }
        Ok(0)
    }

    /// A file has ended, whatever it is worth: nothing under its name is unfinished.
    pub(super) async fn end_unfinished(&self, file: &FileRow) -> Result<()> {
        self.end_unfinished_before(file).await?;
        self.end_as_arrived(incident_of_unfinished(&file.key, file.refusals)).await
    }

    async fn end_unfinished_before(&self, file: &FileRow) -> Result<()> {
        for number in 0..file.refusals {
            self.end_as_arrived(incident_of_unfinished(&file.key, number)).await?;
        }
        Ok(())
    }
}

fn incident_of_unfinished(file: &FileKey, number: u32) -> IncidentId {
    let words = ["incident", FILE_UNFINISHED, file.institution.as_str(), &file.name, &number.to_string()];
    IncidentId::from_uuid(names::derived(&words))
}

/// How far it is.
fn words(file: &FileRow) -> String {
    let FileRow { held, size, .. } = file;
    let since = file.idle_since();
    if *held == 0 {
        return format!("announced at {since:.0}, and none of its {size} bytes have come");
    }
    let end = if held == size { ", but not its end" } else { "" };
    format!("{held} of {size} bytes have come{end}, and nothing since {since:.0}")
}
