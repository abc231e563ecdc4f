//! The record of a processed file: LD. Its fields are ours.

use tsm_domain::bytes::Sha256Digest;

use super::Record;
use super::fields::{FormatError, Reader, Writer};

/// A file that the centre has processed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProcessedFile {
    /// Its name [0-50].
    pub name: String,
    /// Its digest [50-114].
    pub digest: Sha256Digest,
    /// Its records [114-120].
    pub records: u32,
    /// Those that were recorded, now or before [120-126].
    pub taken: u32,
    /// Those that were kept aside [126-132].
    pub rejected: u32,
    /// 00 processed; 03 refused as a whole, and the file's FB says why [132-134].
    pub result: u8,
}

impl Record for ProcessedFile {
    const LENGTH: u16 = 134;

    fn encode(&self) -> Result<String, FormatError> {
        let mut writer = Writer::default();
        writer.text("file name", &self.name, 50)?;
        writer.text("digest", &self.digest.to_string(), 64)?;
        writer.number("records", self.records.into(), 6)?;
        writer.number("taken", self.taken.into(), 6)?;
        writer.number("rejected", self.rejected.into(), 6)?;
        writer.number("result", self.result.into(), 2)?;
        Ok(writer.into_text())
    }

    fn decode(line: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(line);
        let name = reader.text("file name", 50)?.to_owned();
        let text = reader.text("digest", 64)?;
        let digest: Sha256Digest = text.parse().map_err(|_| FormatError::Field("digest"))?;
        if digest.to_string() != text {
            return Err(FormatError::Field("digest"));
        }
        let record = Self {
            name,
            digest,
            records: reader.number_as("records", 6)?,
            taken: reader.number_as("taken", 6)?,
            rejected: reader.number_as("rejected", 6)?,
            result: reader.number_as("result", 2)?,
        };
        reader.finish()?;
        Ok(record)
    }
}
