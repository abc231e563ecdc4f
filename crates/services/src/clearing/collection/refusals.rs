//! What of a file cannot be taken, for the reconciliation view and for the institution: a file that was refused
//! as a whole, and rows that cannot be read.
//!
//! Each stands in the view as one difference, however many rows it is about. That of a refused file ends when the
//! right file comes under the same name; that of unreadable rows when two people have dealt with it, and then the
//! rows leave the quarantine with it.

use std::fmt;

use tsm_api::clearing_files::{FileHeader, FormatError, Kind, RECORDS_BEGIN};
use tsm_domain::money::reconciliation::{Cause, DifferenceState, Explanation};
use tsm_domain::money::settlement::BusinessDay;
use tsm_domain::{DifferenceId, IncidentId};
use tsm_storage::clearing::Books;
use tsm_storage::clearing::collection::{AsideClosed, AsideReason, AsideRow, FileKey, FileRow};
use tsm_storage::shared::{Incident, IncidentClosed};
use tsm_storage::{Result, StorageError};

use crate::clearing::Clearing;
use crate::clearing::suspicions::difference_of_incident;
use crate::names;

/// The kind of the incident of a refused file.
const FILE_REFUSED: &str = "file-refused";
/// The kind of the incident of a file that was announced and does not end.
pub(super) const FILE_UNFINISHED: &str = "file-unfinished";
/// Lines that an incident names one by one.
const NAMED: usize = 5;

/// Why a file is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flaw {
    /// The line, from 1, where it is one.
    pub line: Option<u64>,
    /// What is wrong, in words that fit a record.
    pub short: String,
    /// The whole sentence.
    pub text: String,
}

impl Flaw {
    fn of(line: u64, error: FormatError) -> Self {
        Self { line: Some(line), short: error.field().to_owned(), text: error.to_string() }
    }

    /// Terminals have not signed the file as it is.
    pub(super) fn of_signatures(text: String) -> Self {
        Self { line: None, short: "signatures".into(), text }
    }

    /// What the institution's record says.
    pub(super) fn words(&self) -> String {
        match self.line {
            Some(line) => format!("line {line}: {}", self.short),
            None => self.short.clone(),
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// How a file is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// What came is worth nothing.
    Refused,
    /// It waits for what its terminals signed.
    Unsigned,
}

/// The header of an upload of `size` bytes that begins with `head`, if it is one for `receiver`.
pub(super) fn read_header(head: &[u8], size: u64, receiver: &str) -> std::result::Result<FileHeader, Flaw> {
    let header = FileHeader::decode(head).map_err(|error| {
        let line = if head.starts_with(b"01\n") { 2 } else { 1 };
        Flaw::of(line, error)
    })?;
    let expected = Kind::Upload.record_length();
    if header.record_length != expected {
        return Err(Flaw::of(2, FormatError::RecordLength { expected, found: header.record_length }));
    }
    if header.receiver != receiver {
        let text = format!("the receiver is {:?}, and this is {receiver}", header.receiver);
        return Err(Flaw { line: Some(2), short: "receiver".into(), text });
    }
    let promised = header.file_size();
    if promised == size {
        return Ok(header);
    }
    let records = header.records;
    let (line, how) = if size < promised {
        let whole = size.saturating_sub(RECORDS_BEGIN as u64) / (u64::from(expected) + 1);
        (3 + whole, "the file ends early")
    } else {
        (3 + u64::from(records), "the file goes on after its last record")
    };
    let text = format!("the header promises {records} records, {promised} bytes, and {size} came: {how}");
    Err(Flaw { line: Some(line), short: "size".into(), text })
}

fn incident_of_refusal(file: &FileKey, refusal: Refusal, number: u32) -> IncidentId {
    let kind = match refusal {
        Refusal::Refused => FILE_REFUSED,
        Refusal::Unsigned => "file-unsigned",
    };
    let words = ["incident", kind, file.institution.as_str(), &file.name, &number.to_string()];
    IncidentId::from_uuid(names::derived(&words))
}

fn incident_of_rows(institution: &str, file: &str) -> IncidentId {
    IncidentId::from_uuid(names::derived(&["incident", Cause::UNREADABLE_ROWS, institution, file]))
}

/// The difference as which the unreadable rows of a file stand, for a row of one.
pub(in crate::clearing) fn difference_of_unreadable(row: &AsideRow) -> Option<DifferenceId> {
    row.reported.misread.as_ref().filter(|_| row.reason == AsideReason::Malformed)?;
    let file = row.reported.file.as_ref()?;
    Some(difference_of_incident(incident_of_rows(row.reported.institution.as_str(), file)))
}

impl Clearing {
    /// A file is refused as a whole, whose bytes are all here. Reported again, it is the same.
    pub(super) async fn report_refusal(&self, file: &FileRow, refusal: Refusal, why: &str) -> Result<()> {
        let FileKey { institution, name } = &file.key;
        tracing::warn!(%institution, name, why, "a file is refused");
        self.report_file(incident_of_refusal(&file.key, refusal, file.refusals), FILE_REFUSED, file, why)
            .await?;
        self.end_unfinished(file).await
    }

    /// Whether it is told of this file that it waits for what its terminals signed.
    pub(super) async fn is_told_unsigned(&self, file: &FileRow) -> Result<bool> {
        let told = incident_of_refusal(&file.key, Refusal::Unsigned, file.refusals);
        Ok(self.store.difference(difference_of_incident(told)).await?.is_some())
    }

    /// Rows of a file cannot be read; each line with the field.
    pub(super) async fn report_unreadable(&self, file: &FileRow, lines: &[(u64, String)]) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let named: Vec<_> =
            lines.iter().take(NAMED).map(|(line, field)| format!("line {line}: {field}")).collect();
        let more = if lines.len() > NAMED { "; …" } else { "" };
        let why = format!("{} of {} rows cannot be read; {}{more}", lines.len(), file.rows, named.join("; "));
        let id = incident_of_rows(file.key.institution.as_str(), &file.key.name);
        self.report_file(id, Cause::UNREADABLE_ROWS, file, &why).await
    }

    pub(super) async fn report_file(
        &self,
        id: IncidentId,
        kind: &str,
        file: &FileRow,
        why: &str,
    ) -> Result<()> {
        let FileKey { institution, name } = &file.key;
        let incident = Incident {
            id,
            se: None,
            card: None,
            kind: kind.into(),
            text: format!("file {name} of {institution}: {why}"),
            at: self.now(),
            closed: None,
        };
        self.list_incident(incident).await
    }

    /// The right file has come: whatever was told of refused ones of its name is over.
    pub(super) async fn file_has_come(&self, file: &FileRow) -> Result<()> {
        for number in 0..=file.refusals {
            for refusal in [Refusal::Refused, Refusal::Unsigned] {
                self.end_as_arrived(incident_of_refusal(&file.key, refusal, number)).await?;
            }
        }
        self.end_unfinished(file).await
    }

    /// What was told of a file is over.
    pub(super) async fn end_as_arrived(&self, incident: IncidentId) -> Result<()> {
        if let Some(known) = self.store.difference(difference_of_incident(incident)).await? {
            let explained = known.clone().explained(BusinessDay::of(self.now()), Explanation::Arrived);
            if explained != known {
                self.store.change_difference(&known, explained, Books::default()).await?;
            }
        }
        let centre = "centre".parse().expect("a short word is a name");
        let closed = IncidentClosed { by: centre, at: self.now(), note: "the file has come".into() };
        match self.store.close_incident(incident, closed).await {
            // Two people have ended it, or it was never told.
            Ok(()) | Err(StorageError::Unknown { .. } | StorageError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A row that cannot be read leaves the quarantine when two people have dealt with its file.
    pub(in crate::clearing) async fn follow_its_file(&self, row: &AsideRow) -> Result<()> {
        let Some(id) = difference_of_unreadable(row) else { return Ok(()) };
        let known = self.store.difference(id).await?;
        let Some(DifferenceState::Resolved { at, .. }) = known.map(|known| known.state) else {
            return Ok(());
        };
        let closed = AsideClosed { at, how: "refused".into() };
        self.store.close_aside(row.reported.id, closed, Books::default()).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(records: u32, receiver: &str, length: u16) -> Vec<u8> {
        let receiver = receiver.to_owned();
        let header = FileHeader { records, date: 20_261_120, receiver, record_length: length };
        header.encode().unwrap().into_bytes()
    }

    #[test]
    fn a_file_that_is_none_says_where() {
        let whole = head(2, "CENTRE", 383);
        let size = 53 + 2 * 384;
        assert_eq!(read_header(&whole, size, "CENTRE").unwrap().records, 2);
        let flaw = |head: &[u8], size| {
            let flaw = read_header(head, size, "CENTRE").unwrap_err();
            (flaw.line.unwrap(), flaw.short)
        };
        let at = |line, short: &str| (line, short.to_owned());
        for cut in 0..53 {
            let expected = if cut < 3 { 1 } else { 2 };
            assert_eq!(flaw(&whole[..cut], cut as u64).0, expected, "cut at {cut}");
        }
        assert_eq!(flaw(&whole, 53), at(3, "size"));
        assert_eq!(flaw(&whole, size - 1), at(4, "size"));
        assert_eq!(flaw(&whole, size - 384), at(4, "size"));
        assert_eq!(flaw(&whole, size + 1), at(5, "size"));
        assert_eq!(flaw(&head(2, "ELSEWHERE", 383), size), at(2, "receiver"));
        assert_eq!(flaw(&head(2, "", 383), size), at(2, "receiver"));
        assert_eq!(flaw(&head(2, "CENTRE", 321), size), at(2, "record length"));
        let mut odd = whole.clone();
        odd[4] = b'x';
        assert_eq!(flaw(&odd, size), at(2, "record count"));
        odd[0] = b'9';
        assert_eq!(flaw(&odd, size), at(1, "version"));
    }
}
