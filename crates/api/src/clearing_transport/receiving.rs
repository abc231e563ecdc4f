//! Who receives files, whichever side that is: each is announced, taken up where it stands here, stored block
//! by block, and checked when it is whole.

use super::{BlockKind, Message, Outcome, ReceiverStep, TransportFault, unexpected};

/// The receiver of so many files, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Receiving {
    left: u16,
    at: At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Next,
    Announced { size: u64 },
    Data { size: u64, offset: u64 },
    Storing { size: u64, offset: u64 },
    End,
    Checking,
    Done,
}

impl Receiving {
    /// So many files are to come.
    pub(super) const fn begin(files: u16) -> Self {
        Self { left: files, at: if files == 0 { At::Done } else { At::Next } }
    }

    /// A message came.
    pub(super) fn receive(&mut self, message: Message) -> Result<ReceiverStep, TransportFault> {
        match (self.at, message) {
            (At::Next, Message::File(info)) => {
                self.at = At::Announced { size: info.size };
                Ok(ReceiverStep::File(info))
            }
            (At::Data { size, offset }, Message::Data { kind, block }) => {
                let end = offset + block.len() as u64;
                let fits = !block.is_empty() && end <= size && (end == size) == (kind == BlockKind::Last);
                if !fits {
                    return Err(TransportFault::Size);
                }
                self.at = At::Storing { size, offset: end };
                Ok(ReceiverStep::Block { offset, bytes: block })
            }
            // The end before the whole file, or more than it.
            (At::Data { .. }, Message::End) | (At::End, Message::Data { .. }) => Err(TransportFault::Size),
            (At::End, Message::End) => {
                self.at = At::Checking;
                Ok(ReceiverStep::Whole)
            }
            (at, other) => Err(unexpected(
                &other,
                match at {
                    At::Next => "4003",
                    At::Data { .. } => "4004",
                    At::End => "4007",
                    At::Announced { .. } | At::Storing { .. } | At::Checking | At::Done => "nothing",
                },
            )),
        }
    }

    /// How much of the announced file is here, or why it is not taken; then it is passed over.
    pub(super) fn resume(&mut self, held: u64, outcome: Outcome) -> Message {
        if let At::Announced { size } = self.at {
            match outcome {
                Outcome::Done if held >= size => self.at = At::End,
                Outcome::Done => self.at = At::Data { size, offset: held },
                _ => self.next(),
            }
        }
        Message::Resume { held, outcome }
    }

    /// The block is stored; or not, and the conversation is over.
    pub(super) fn stored(&mut self, outcome: Outcome) -> Message {
        if let At::Storing { size, offset } = self.at {
            self.at = match outcome {
                Outcome::Done if offset == size => At::End,
                Outcome::Done => At::Data { size, offset },
                _ => At::Done,
            };
        }
        Message::Ack(outcome)
    }

    /// The digest of the whole file was checked.
    pub(super) fn checked(&mut self, outcome: Outcome) -> Message {
        if self.at == At::Checking {
            self.next();
        }
        Message::Ack(outcome)
    }

    /// Whether a file is announced, and not yet taken up.
    pub(super) fn is_announced(&self) -> bool {
        matches!(self.at, At::Announced { .. })
    }

    /// Whether nothing is to come.
    pub(super) fn is_done(&self) -> bool {
        self.at == At::Done
    }

    fn next(&mut self) {
        *self = Self::begin(self.left.saturating_sub(1));
    }
}
