//! The messages 4001 to 4008.

use std::fmt;

use tsm_domain::bytes::Sha256Digest;

/// The version before every type.
const VERSION: &[u8; 2] = b"01";
/// What a 4007 says.
const END: &[u8; 8] = b"**TEOF**";

/// A result code. The field's text explains 00 and 09; the others are ours. What cannot be answered otherwise is
/// answered by a 4008 with one of them, and the connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// 00: done.
    Done,
    /// 01: the organisation is not known here, or does not prove who it is.
    NotAdmitted,
    /// 02: the bytes do not have the digest that was announced; they are forgotten.
    DigestWrong,
    /// 03: the file is refused: its name, its size or its content is none that is taken here.
    FileRefused,
    /// 04: the store, or the signatures that the file needs, are not there; try again.
    Unavailable,
    /// 05: the frame or message cannot be read, or does not belong here.
    Malformed,
    /// 09: a file of this name with another size or content is here, or the blocks do not add up to the size.
    SizeConflict,
}

impl Outcome {
    const ALL: [Self; 7] = [
        Self::Done,
        Self::NotAdmitted,
        Self::DigestWrong,
        Self::FileRefused,
        Self::Unavailable,
        Self::Malformed,
        Self::SizeConflict,
    ];

    /// The two digits.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Done => "00",
            Self::NotAdmitted => "01",
            Self::DigestWrong => "02",
            Self::FileRefused => "03",
            Self::Unavailable => "04",
            Self::Malformed => "05",
            Self::SizeConflict => "09",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::NotAdmitted => "the organisation is not admitted",
            Self::DigestWrong => "the digest of the file is wrong",
            Self::FileRefused => "the file is refused",
            Self::Unavailable => "the centre cannot do it now",
            Self::Malformed => "the request cannot be read, or does not belong here",
            Self::SizeConflict => "another file has this name, or the blocks do not add up to its size",
        })
    }
}

/// A file that is announced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileInfo {
    /// Its name, up to fifty characters.
    pub name: String,
    /// SHA-256 of its content.
    pub digest: Sha256Digest,
    /// Its size, up to ten digits.
    pub size: u64,
}

/// Whether more blocks follow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BlockKind {
    /// More follow.
    More,
    /// It is the last.
    Last,
}

/// A message.
#[derive(Clone, PartialEq, Eq)]
pub enum Message {
    /// 4001: an organisation wants to upload.
    UploadRequest {
        /// Its name.
        organisation: String,
        /// Its code.
        code: String,
    },
    /// 4002: an organisation wants to download.
    DownloadRequest {
        /// Its name.
        organisation: String,
        /// Its code.
        code: String,
        /// Of which date, YYYYMMDD; 0 for all that it has not fetched.
        date: u32,
    },
    /// 4003: a file.
    File(FileInfo),
    /// 4004: a block of a file.
    Data {
        /// Whether more follow.
        kind: BlockKind,
        /// The bytes.
        block: Vec<u8>,
    },
    /// 4005: how much of the file is there already.
    Resume {
        /// Bytes.
        held: u64,
        /// Whether the file is taken at all.
        outcome: Outcome,
    },
    /// 4006: how many files.
    Count {
        /// Files.
        files: u16,
        /// Whether they are given.
        outcome: Outcome,
    },
    /// 4007: the end of a file.
    End,
    /// 4008: an acknowledgement.
    Ack(Outcome),
}

// Blocks hold card numbers.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data { kind, block } => write!(f, "4004 {kind:?} {} bytes", block.len()),
            Self::File(info) => write!(f, "4003 {info:?}"),
            Self::Resume { held, outcome } => write!(f, "4005 {held} {outcome:?}"),
            Self::Count { files, outcome } => write!(f, "4006 {files} {outcome:?}"),
            Self::Ack(outcome) => write!(f, "4008 {outcome:?}"),
            Self::UploadRequest { code, .. } => write!(f, "4001 {code}"),
            Self::DownloadRequest { code, date, .. } => write!(f, "4002 {code} {date}"),
            Self::End => f.write_str("4007"),
        }
    }
}

/// Why a body is not a message, or a message not a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MessageError {
    /// Another version.
    #[error("the message has another version")]
    Version,
    /// An unknown type.
    #[error("no message has this type")]
    Type,
    /// Another length than the type has.
    #[error("a message of type {0} has another length")]
    Length(u16),
    /// A field cannot be read or written.
    #[error("the field {0} cannot be read")]
    Field(&'static str),
}

impl Message {
    /// The type.
    pub const fn number(&self) -> u16 {
        match self {
            Self::UploadRequest { .. } => 4001,
            Self::DownloadRequest { .. } => 4002,
            Self::File(_) => 4003,
            Self::Data { .. } => 4004,
            Self::Resume { .. } => 4005,
            Self::Count { .. } => 4006,
            Self::End => 4007,
            Self::Ack(_) => 4008,
        }
    }

    /// The body.
    pub fn encode(&self) -> Result<Vec<u8>, MessageError> {
        let mut body = VERSION.to_vec();
        body.extend_from_slice(self.number().to_string().as_bytes());
        match self {
            Self::UploadRequest { organisation, code } => {
                text(&mut body, "organisation", organisation, 40)?;
                text(&mut body, "code", code, 11)?;
                body.extend_from_slice(&[b'F'; 256]);
            }
            Self::DownloadRequest { organisation, code, date } => {
                text(&mut body, "organisation", organisation, 40)?;
                text(&mut body, "code", code, 11)?;
                number(&mut body, "date", (*date).into(), 8)?;
                body.extend_from_slice(&[b'F'; 256]);
            }
            Self::File(info) => {
                text(&mut body, "file name", &info.name, 50)?;
                text(&mut body, "digest", &info.digest.to_string(), 256)?;
                number(&mut body, "size", info.size, 10)?;
                body.extend_from_slice(&[b'F'; 256]);
            }
            Self::Data { kind, block } => {
                body.push(match kind {
                    BlockKind::More => b'0',
                    BlockKind::Last => b'1',
                });
                body.extend_from_slice(block);
            }
            Self::Resume { held, outcome } => {
                number(&mut body, "bytes held", *held, 10)?;
                body.extend_from_slice(outcome.code().as_bytes());
            }
            Self::Count { files, outcome } => {
                number(&mut body, "number of files", (*files).into(), 4)?;
                body.extend_from_slice(outcome.code().as_bytes());
            }
            Self::End => body.extend_from_slice(END),
            Self::Ack(outcome) => body.extend_from_slice(outcome.code().as_bytes()),
        }
        Ok(body)
    }

    /// Reads a body.
    pub fn decode(body: &[u8]) -> Result<Self, MessageError> {
        let (head, mut rest) = body.split_at_checked(6).ok_or(MessageError::Type)?;
        if &head[..2] != VERSION {
            return Err(MessageError::Version);
        }
        let kind: u16 = match &head[2..] {
            [b'4', b'0', b'0', last @ b'1'..=b'8'] => 4000 + u16::from(last - b'0'),
            _ => return Err(MessageError::Type),
        };
        let length = match kind {
            4001 => 307,
            4002 => 315,
            4003 => 572,
            4005 => 12,
            4006 => 6,
            4007 => 8,
            4008 => 2,
            _ => rest.len().max(1),
        };
        if rest.len() != length {
            return Err(MessageError::Length(kind));
        }
        let rest = &mut rest;
        let message = match kind {
            4001 => Self::UploadRequest {
                organisation: read_text(rest, "organisation", 40)?,
                code: read_text(rest, "code", 11)?,
            },
            4002 => Self::DownloadRequest {
                organisation: read_text(rest, "organisation", 40)?,
                code: read_text(rest, "code", 11)?,
                date: read_number(rest, "date", 8)? as u32,
            },
            4003 => Self::File(FileInfo {
                name: read_text(rest, "file name", 50)?,
                digest: read_digest(rest)?,
                size: read_number(rest, "size", 10)?,
            }),
            4004 => {
                let kind = match take(rest, 1) {
                    b"0" => BlockKind::More,
                    b"1" => BlockKind::Last,
                    _ => return Err(MessageError::Field("last")),
                };
                Self::Data { kind, block: take(rest, rest.len()).to_vec() }
            }
            4005 => Self::Resume { held: read_number(rest, "bytes held", 10)?, outcome: read_outcome(rest)? },
            4006 => Self::Count {
                files: read_number(rest, "number of files", 4)? as u16,
                outcome: read_outcome(rest)?,
            },
            4007 if take(rest, 8) == END => Self::End,
            4007 => return Err(MessageError::Field("end")),
            _ => Self::Ack(read_outcome(rest)?),
        };
        match (kind, take(rest, rest.len())) {
            (4001..=4003, reserved) if reserved.iter().all(|byte| *byte == b'F') => Ok(message),
            (4001..=4003, _) => Err(MessageError::Field("reserved")),
            _ => Ok(message),
        }
    }
}

fn text(body: &mut Vec<u8>, name: &'static str, value: &str, width: usize) -> Result<(), MessageError> {
    if value.len() > width || !is_text(value.as_bytes()) {
        return Err(MessageError::Field(name));
    }
    body.extend_from_slice(value.as_bytes());
    body.extend(std::iter::repeat_n(b' ', width - value.len()));
    Ok(())
}

fn number(body: &mut Vec<u8>, name: &'static str, value: u64, width: usize) -> Result<(), MessageError> {
    let digits = value.to_string();
    let zeros = width.checked_sub(digits.len()).ok_or(MessageError::Field(name))?;
    body.extend(std::iter::repeat_n(b'0', zeros));
    body.extend_from_slice(digits.as_bytes());
    Ok(())
}

fn is_text(text: &[u8]) -> bool {
    let printable = text.iter().all(|byte| (b' '..=b'~').contains(byte));
    printable && text.first() != Some(&b' ') && text.last() != Some(&b' ')
}

/// The next bytes. The length of the body was checked, so they are there.
fn take<'a>(rest: &mut &'a [u8], width: usize) -> &'a [u8] {
    let (field, after) = rest.split_at(width.min(rest.len()));
    *rest = after;
    field
}

fn read_text(rest: &mut &[u8], name: &'static str, width: usize) -> Result<String, MessageError> {
    let field = take(rest, width);
    let end = field.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    let text = &field[..end];
    let readable = is_text(text).then(|| std::str::from_utf8(text).ok()).flatten();
    readable.map(str::to_owned).ok_or(MessageError::Field(name))
}

fn read_number(rest: &mut &[u8], name: &'static str, width: usize) -> Result<u64, MessageError> {
    let field = take(rest, width);
    if !field.iter().all(u8::is_ascii_digit) {
        return Err(MessageError::Field(name));
    }
    Ok(field.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0')))
}

/// The field's text says no more than that the digest is padded: 64 hexadecimal digits of either case, then what
/// clients fill a text field with, spaces or zero bytes.
fn read_digest(rest: &mut &[u8]) -> Result<Sha256Digest, MessageError> {
    const NAME: MessageError = MessageError::Field("digest");
    let (digits, padding) = take(rest, 256).split_at(64);
    if !padding.iter().all(|byte| matches!(byte, b' ' | 0)) {
        return Err(NAME);
    }
    let mut digest = [0; 32];
    hex::decode_to_slice(digits, &mut digest).map_err(|_| NAME)?;
    Ok(Sha256Digest(digest))
}

fn read_outcome(rest: &mut &[u8]) -> Result<Outcome, MessageError> {
    let code = take(rest, 2);
    let found = Outcome::ALL.into_iter().find(|outcome| outcome.code().as_bytes() == code);
    found.ok_or(MessageError::Field("result"))
}
