//! Who sends files, whichever side that is: each is announced, goes out in blocks from where the receiver has
//! got to, and ends.

use super::{BLOCK, BlockKind, FileInfo, Message, Outcome, SenderStep, TransportFault, done, unexpected};

/// The sender of these files, one after the other.
#[derive(Debug)]
pub(super) struct Sending {
    files: Vec<FileInfo>,
    refused: Vec<(usize, Outcome)>,
    at: At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Announced(usize),
    Reading { file: usize, offset: u64 },
    Sent { file: usize, offset: u64 },
    Ended(usize),
    Done,
}

impl Sending {
    /// Begins with the first file; what to do first.
    pub(super) fn begin(files: Vec<FileInfo>) -> (Self, SenderStep) {
        let mut sending = Self { files, refused: Vec::new(), at: At::Done };
        let first = sending.announce(0);
        (sending, first)
    }

    /// Files that the receiver did not take, with its reason. One whose digest was wrong is asked for again
    /// another time.
    pub(super) fn refused(&self) -> &[(usize, Outcome)] {
        &self.refused
    }

    /// A reply came.
    pub(super) fn receive(&mut self, reply: &Message) -> Result<SenderStep, TransportFault> {
        match (self.at, reply) {
            (At::Announced(file), Message::Resume { held, outcome: Outcome::Done }) => {
                self.go_on(file, *held)
            }
            (At::Announced(file), Message::Resume { outcome, .. })
            | (At::Ended(file), Message::Ack(outcome)) => {
                if *outcome != Outcome::Done {
                    self.refused.push((file, *outcome));
                }
                Ok(self.announce(file + 1))
            }
            (At::Sent { file, offset }, Message::Ack(outcome)) => {
                done(*outcome)?;
                self.go_on(file, offset)
            }
            (at, other) => Err(unexpected(
                other,
                match at {
                    At::Announced(_) => "4005",
                    At::Sent { .. } | At::Ended(_) => "4008",
                    At::Reading { .. } | At::Done => "nothing",
                },
            )),
        }
    }

    /// The bytes that were asked for.
    pub(super) fn block(&mut self, bytes: Vec<u8>) -> Result<Message, TransportFault> {
        let At::Reading { file, offset } = self.at else { return Err(TransportFault::Size) };
        let (end, size) = (offset + bytes.len() as u64, self.files[file].size);
        if bytes.is_empty() || end > size {
            return Err(TransportFault::Size);
        }
        let kind = if end == size { BlockKind::Last } else { BlockKind::More };
        self.at = At::Sent { file, offset: end };
        Ok(Message::Data { kind, block: bytes })
    }

    /// Whether nothing is left.
    pub(super) fn is_done(&self) -> bool {
        self.at == At::Done
    }

    fn announce(&mut self, file: usize) -> SenderStep {
        match self.files.get(file) {
            Some(info) => {
                self.at = At::Announced(file);
                SenderStep::Send(Message::File(info.clone()))
            }
            None => {
                self.at = At::Done;
                SenderStep::Done
            }
        }
    }

    fn go_on(&mut self, file: usize, offset: u64) -> Result<SenderStep, TransportFault> {
        let left = self.files[file].size.checked_sub(offset).ok_or(TransportFault::Size)?;
        if left == 0 {
            self.at = At::Ended(file);
            return Ok(SenderStep::Send(Message::End));
        }
        self.at = At::Reading { file, offset };
        let length = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        Ok(SenderStep::Read { file, offset, length })
    }
}
