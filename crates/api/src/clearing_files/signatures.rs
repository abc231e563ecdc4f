//! The record of a signature: SG, a file beside an upload.
//!
//! JT/T 978.4-2015 has no place for a terminal's signature: neither frame nor file header nor record has a field that
//! is free for it, and a record of another shape within a file would be no record to whoever reads it. It forbids no
//! further kind of file, so that the signatures stand beside the upload in a file of their own, and the upload stays
//! byte for byte what it is without them. Whoever has no terminals with keys never needs one.

use tsm_domain::TerminalNumber;
use tsm_domain::bytes::Sha256Digest;

use super::Record;
use super::fields::{FormatError, Reader, Writer};
use crate::HexBytes;
use crate::clearing::collection::BatchHeader;

/// What a terminal says of rows of its own that stand in the upload of the same name, in their order there: the
/// header of a batch, signed. Several batches of a terminal follow each other as their rows do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedRows {
    /// The terminal [0-12].
    pub terminal: TerminalNumber,
    /// The batch's number at this terminal [12-32].
    pub sequence: u64,
    /// How many rows [32-38].
    pub rows: u32,
    /// The sum of their amounts [38-58].
    pub sum_fen: u64,
    /// The digest of their lines [58-122].
    pub digest: Sha256Digest,
    /// The terminal's signature [122-250].
    pub signature: [u8; 64],
}

impl SignedRows {
    /// The record of a batch that its terminal has signed; none of one that it has not.
    pub fn of_header(header: &BatchHeader) -> Option<Self> {
        let signature = header.signature.as_ref()?;
        Some(Self {
            terminal: TerminalNumber::from_bcd(header.terminal.as_bytes().try_into().ok()?).ok()?,
            sequence: header.sequence,
            rows: header.count,
            sum_fen: header.sum_fen,
            digest: Sha256Digest(header.digest.as_bytes().try_into().ok()?),
            signature: signature.as_bytes().try_into().ok()?,
        })
    }

    /// The header that the terminal has signed.
    pub fn to_header(&self) -> BatchHeader {
        BatchHeader {
            terminal: HexBytes(self.terminal.to_bcd().to_vec()),
            sequence: self.sequence,
            count: self.rows,
            sum_fen: self.sum_fen,
            digest: HexBytes(self.digest.0.to_vec()),
            signature: Some(HexBytes(self.signature.to_vec())),
        }
    }
}

impl Record for SignedRows {
    const LENGTH: u16 = 250;

    fn encode(&self) -> Result<String, FormatError> {
        let mut writer = Writer::default();
        writer.text("terminal", &self.terminal.to_string(), 12)?;
        writer.number("batch", self.sequence, 20)?;
        writer.number("rows", self.rows.into(), 6)?;
        writer.number("sum", self.sum_fen, 20)?;
        writer.text("digest", &self.digest.to_string(), 64)?;
        writer.text("signature", &hex::encode_upper(self.signature), 128)?;
        Ok(writer.into_text())
    }

    fn decode(line: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(line);
        let terminal = reader.text("terminal", 12)?.parse().map_err(|_| FormatError::Field("terminal"))?;
        let sequence = reader.number("batch", 20)?;
        let rows = reader.number_as("rows", 6)?;
        let sum_fen = reader.number("sum", 20)?;
        let text = reader.text("digest", 64)?;
        let digest: Sha256Digest = text.parse().map_err(|_| FormatError::Field("digest"))?;
        if digest.to_string() != text {
            return Err(FormatError::Field("digest"));
        }
        let text = reader.text("signature", 128)?;
        let signature = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        let signature: [u8; 64] = signature.ok_or(FormatError::Field("signature"))?;
        if hex::encode_upper(signature) != text {
            return Err(FormatError::Field("signature"));
        }
        reader.finish()?;
        Ok(Self { terminal, sequence, rows, sum_fen, digest, signature })
    }
}
