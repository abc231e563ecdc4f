//! The transport of files between institutions and the clearing centre (JT/T 978.4-2015): frames 4001 to
//! 4008 over a stream, with resumption at any byte.
//!
//! ```text
//! upload    4001 -> 4008   request                     download  4002 -> 4006   request, number of files
//!           4006 -> 4008   number of files                       4008 -> 4003   next file
//!   file:   4003 -> 4005   name, digest; bytes held        file: 4005 -> 4008, 4004
//!           4004 -> 4008   a block, again and again              4008 -> 4004   again and again
//!           4007 -> 4008   end: the digest is checked            4008 -> 4007   end, digest checked, 4008 is next
//! ```
//!
//! Everything here is bytes in, bytes out: who reads sockets and stores files is somewhere else. The field's
//! text says neither what the synchronisation block holds nor what the result codes beside 00 and 09 mean;
//! here a reply repeats the block of its request, and [`Outcome`] gives the codes. Whatever cannot be read or does
//! not fit is answered by a 4008 with a code before the connection ends ([`TransportFault::outcome`]). The MAC covers everything
//! between length and MAC; without an agreed key it is zeros.

mod download;
mod frame;
mod message;
mod receiving;
mod sending;
mod upload;

pub use download::{DownloadClient, DownloadHost, Served};
pub use frame::{Decoder, Frame, FrameError, FrameMac, MacError, NoMac, SyncBlock};
pub use message::{BlockKind, FileInfo, Message, MessageError, Outcome};
pub use upload::{UploadClient, UploadHost};

/// The longest block that a sender puts into one frame.
pub const BLOCK: usize = 1024;

/// Why a conversation cannot go on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TransportFault {
    /// The other side said something that does not fit here.
    #[error("a message of type {found} came where {expected} was expected")]
    Unexpected {
        /// Its type.
        found: u16,
        /// What was expected.
        expected: &'static str,
    },
    /// The other side refuses.
    #[error("the other side refuses: {0}")]
    Refused(Outcome),
    /// A block goes past the end of its file, or the last one is not where the file ends.
    #[error("the blocks do not add up to the size of the file")]
    Size,
}

/// What a receiver of files has to do next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReceiverStep {
    /// Say who may: answer with `admit`.
    Who {
        /// The name of the organisation.
        organisation: String,
        /// Its code.
        code: String,
    },
    /// Send this.
    Send(Message),
    /// A file is announced: answer with `resume`.
    File(FileInfo),
    /// A block of the file: store it and answer with `stored`.
    Block {
        /// Where it begins.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The file is whole: check its digest and answer with `checked`.
    Whole,
    /// Nothing is to come.
    Done,
}

/// What a sender of files has to do next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SenderStep {
    /// Send this.
    Send(Message),
    /// Read bytes of a file and answer with `block`.
    Read {
        /// Which file, by its place in the list.
        file: usize,
        /// From which byte on.
        offset: u64,
        /// How many bytes.
        length: usize,
    },
    /// Nothing is left.
    Done,
}

fn done(outcome: Outcome) -> Result<(), TransportFault> {
    match outcome {
        Outcome::Done => Ok(()),
        refused => Err(TransportFault::Refused(refused)),
    }
}

/// The other side ends the conversation with a refusal at any time; all else that was not expected is a fault.
fn unexpected(message: &Message, expected: &'static str) -> TransportFault {
    match message {
        Message::Ack(refused) if *refused != Outcome::Done => TransportFault::Refused(*refused),
        other => TransportFault::Unexpected { found: other.number(), expected },
    }
}

impl TransportFault {
    /// What the other side is told; nothing when it is the one that refused.
    pub const fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Unexpected { .. } => Some(Outcome::Malformed),
            Self::Size => Some(Outcome::SizeConflict),
            Self::Refused(_) => None,
        }
    }
}

#[cfg(test)]
mod example;
#[cfg(test)]
mod tests;
