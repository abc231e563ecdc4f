//! Files between institutions and the clearing centre (JT/T 978.4-2015): fixed-length text records.
//!
//! ```text
//! 01                                                      line 1: version
//! count 6 | date 8 | receiver 11 | record length 4 | F*20 line 2: header
//! record
//! record                                                  each record a line of the stated length
//! ```
//!
//! The positions of CL (cleared consumption) and FB (rejects) are those that the centre's files have in the
//! field. The record of an upload was never published; ours ([`Kind::Upload`]) is the CL record with what the
//! centre decides left empty, so that one row has the same shape on its way in and out.
//!
//! Parsers are strict: what they take, the writers write again byte for byte. They decide nothing: whether a
//! card or terminal exists is the centre's to say.

mod fields;
mod listed;
mod processed;
mod reject;
mod signatures;
mod transaction;

pub use fields::FormatError;
pub use listed::ListedRecord;
pub use processed::ProcessedFile;
pub use reject::RejectRecord;
pub use signatures::SignedRows;
pub use transaction::{LOCK, TransactionRecord, row_line, rows_digest};

use fields::{Reader, Writer};

/// Whether a file may have this name: the letters of its kind, then letters, digits, points, hyphens and underlines,
/// fifty characters in all and never two points in a row. So a name is one on any file system, and never a path.
pub fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    name.len() <= 50 && name.bytes().all(fits) && !name.contains("..") && Kind::of_name(name).is_some()
}

/// The bytes before the first record: both header lines with their line ends.
pub const RECORDS_BEGIN: usize = 53;

const VERSION: &str = "01";

/// The kinds of files, by the letters that their names begin with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// UP: an institution's consumption, on its way to the centre.
    Upload,
    /// CL: consumption that the centre cleared.
    Cleared,
    /// FB: consumption that the centre did not take, with the reason.
    Rejects,
    /// LD: the files that the centre has processed.
    Processed,
    /// UC: the black and grey list.
    Listed,
    /// SG: what terminals signed of an upload. Ours.
    Signatures,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Upload, Self::Cleared, Self::Rejects, Self::Processed, Self::Listed, Self::Signatures];

    /// The two letters.
    pub const fn letters(self) -> &'static str {
        match self {
            Self::Upload => "UP",
            Self::Cleared => "CL",
            Self::Rejects => "FB",
            Self::Processed => "LD",
            Self::Listed => "UC",
            Self::Signatures => "SG",
        }
    }

    /// The kind of a file with this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| name.starts_with(kind.letters()))
    }

    /// The name of the file of this kind that belongs to an upload; none where `upload` names no upload.
    pub fn beside(self, upload: &str) -> Option<String> {
        let rest = upload.strip_prefix(Self::Upload.letters())?;
        Some(format!("{}{rest}", self.letters()))
    }

    /// The length of its records.
    pub const fn record_length(self) -> u16 {
        match self {
            Self::Upload | Self::Cleared => TransactionRecord::LENGTH,
            Self::Rejects => RejectRecord::LENGTH,
            Self::Processed => ProcessedFile::LENGTH,
            Self::Listed => ListedRecord::LENGTH,
            Self::Signatures => SignedRows::LENGTH,
        }
    }
}

/// The header of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileHeader {
    /// How many records follow.
    pub records: u32,
    /// The date of the file, YYYYMMDD.
    pub date: u32,
    /// The code of the institution that receives it.
    pub receiver: String,
    /// The length of each record without its line end.
    pub record_length: u16,
}

impl FileHeader {
    /// The largest number of records that the field can carry.
    pub const MOST_RECORDS: u32 = 999_999;

    /// Both lines.
    pub fn encode(&self) -> Result<String, FormatError> {
        let mut writer = Writer::default();
        writer.text("version", VERSION, 2)?;
        writer.end_line();
        writer.number("record count", self.records.into(), 6)?;
        writer.number("date", self.date.into(), 8)?;
        writer.text("receiver", &self.receiver, 11)?;
        writer.number("record length", self.record_length.into(), 4)?;
        writer.fill('F', 20);
        writer.end_line();
        Ok(writer.into_text())
    }

    /// Reads both lines.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        if reader.text("version", 2)? != VERSION {
            return Err(FormatError::Field("version"));
        }
        reader.end_line()?;
        let header = Self {
            records: reader.number_as("record count", 6)?,
            date: reader.number_as("date", 8)?,
            receiver: reader.text("receiver", 11)?.to_owned(),
            record_length: reader.number_as("record length", 4)?,
        };
        reader.filled("reserved", 'F', 20)?;
        reader.end_line()?;
        reader.finish()?;
        Ok(header)
    }

    /// The size that a file with this header has.
    pub fn file_size(&self) -> u64 {
        RECORDS_BEGIN as u64 + u64::from(self.records) * (u64::from(self.record_length) + 1)
    }
}

/// A record that fills a line.
pub trait Record: Sized {
    /// The length of the line without its end.
    const LENGTH: u16;

    /// The line, without its end.
    fn encode(&self) -> Result<String, FormatError>;

    /// Reads a line without its end.
    fn decode(line: &[u8]) -> Result<Self, FormatError>;
}

/// Writes a whole file.
pub fn write_file<R: Record>(date: u32, receiver: &str, records: &[R]) -> Result<String, FormatError> {
    let count = u32::try_from(records.len()).map_err(|_| FormatError::TooLong("record count"))?;
    let header = FileHeader { records: count, date, receiver: receiver.to_owned(), record_length: R::LENGTH };
    let mut text = header.encode()?;
    text.reserve(records.len() * (usize::from(R::LENGTH) + 1));
    for record in records {
        text.push_str(&record.encode()?);
        text.push('\n');
    }
    Ok(text)
}

/// Reads a whole file. One record that cannot be read refuses it all: use [`records`] to keep the others.
pub fn read_file<R: Record>(bytes: &[u8]) -> Result<(FileHeader, Vec<R>), FormatError> {
    let (header, lines) = records(bytes, R::LENGTH)?;
    let records: Result<Vec<R>, _> = lines.map(R::decode).collect();
    Ok((header, records?))
}

/// The header of a file, and its lines without their ends. The frame of the file is checked: count, length
/// and line ends; the lines are not.
pub fn records(bytes: &[u8], length: u16) -> Result<(FileHeader, impl Iterator<Item = &[u8]>), FormatError> {
    let head = bytes.get(..RECORDS_BEGIN).ok_or(FormatError::Ends)?;
    let header = FileHeader::decode(head)?;
    if header.record_length != length {
        return Err(FormatError::RecordLength { expected: length, found: header.record_length });
    }
    if header.file_size() != bytes.len() as u64 {
        return Err(FormatError::Size { expected: header.file_size(), found: bytes.len() as u64 });
    }
    let lines = split(&bytes[RECORDS_BEGIN..], length)?;
    Ok((header, lines))
}

/// Splits whole lines of `length` bytes, each with its line end.
pub fn split(bytes: &[u8], length: u16) -> Result<impl Iterator<Item = &[u8]>, FormatError> {
    let whole = usize::from(length) + 1;
    let lines = bytes.chunks_exact(whole);
    if !lines.remainder().is_empty() {
        return Err(FormatError::Ends);
    }
    if lines.clone().any(|line| line[whole - 1] != b'\n') {
        return Err(FormatError::LineEnd);
    }
    Ok(lines.map(move |line| &line[..whole - 1]))
}

#[cfg(test)]
mod tests;
