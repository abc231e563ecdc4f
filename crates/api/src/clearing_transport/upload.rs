//! The upload: an institution sends, the centre receives.

use super::{BLOCK, BlockKind, FileInfo, Message, Outcome, ReceiverStep, SenderStep, TransportFault};

/// The institution's half of an upload.
#[derive(Debug)]
pub struct UploadClient {
    organisation: String,
    code: String,
    files: Vec<FileInfo>,
    refused: Vec<(usize, Outcome)>,
    at: ClientAt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientAt {
    Start,
    Requested,
    Counted,
    Announced(usize),
    Reading { file: usize, offset: u64 },
    Sent { file: usize, offset: u64 },
    Ended(usize),
    Done,
}

impl UploadClient {
    /// An upload of these files.
    pub fn new(organisation: &str, code: &str, files: Vec<FileInfo>) -> Self {
        let (organisation, code) = (organisation.to_owned(), code.to_owned());
        Self { organisation, code, files, refused: Vec::new(), at: ClientAt::Start }
    }

    /// The first message.
    pub fn start(&mut self) -> Message {
        self.at = ClientAt::Requested;
        Message::UploadRequest { organisation: self.organisation.clone(), code: self.code.clone() }
    }

    /// Files that the centre did not take, with its reason.
    pub fn refused(&self) -> &[(usize, Outcome)] {
        &self.refused
    }

    /// A reply came.
    pub fn receive(&mut self, reply: &Message) -> Result<SenderStep, TransportFault> {
        match (self.at, reply) {
            (ClientAt::Requested, Message::Ack(outcome)) => {
                done(*outcome)?;
                self.at = ClientAt::Counted;
                let files = u16::try_from(self.files.len()).unwrap_or(u16::MAX);
                Ok(SenderStep::Send(Message::Count { files, outcome: Outcome::Done }))
            }
            (ClientAt::Counted, Message::Ack(outcome)) => {
                done(*outcome)?;
                Ok(self.announce(0))
            }
            (ClientAt::Announced(file), Message::Resume { held, outcome: Outcome::Done }) => {
                self.go_on(file, *held)
            }
            (ClientAt::Announced(file), Message::Resume { outcome, .. }) => {
                self.refused.push((file, *outcome));
                Ok(self.announce(file + 1))
            }
            (ClientAt::Sent { file, offset }, Message::Ack(outcome)) => {
                done(*outcome)?;
                self.go_on(file, offset)
            }
            (ClientAt::Ended(file), Message::Ack(outcome)) => {
                if *outcome != Outcome::Done {
                    self.refused.push((file, *outcome));
                }
                Ok(self.announce(file + 1))
            }
            (at, other) => Err(unexpected(
                other,
                match at {
                    ClientAt::Announced(_) => "4005",
                    ClientAt::Start | ClientAt::Reading { .. } | ClientAt::Done => "nothing",
                    ClientAt::Requested | ClientAt::Counted | ClientAt::Sent { .. } | ClientAt::Ended(_) => {
                        "4008"
                    }
                },
            )),
        }
    }

    /// The bytes that were asked for.
    pub fn block(&mut self, bytes: Vec<u8>) -> Result<Message, TransportFault> {
        let ClientAt::Reading { file, offset } = self.at else { return Err(TransportFault::Size) };
        let end = offset + bytes.len() as u64;
        if bytes.is_empty() || end > self.files[file].size {
            return Err(TransportFault::Size);
        }
        let kind = if end == self.files[file].size { BlockKind::Last } else { BlockKind::More };
        self.at = ClientAt::Sent { file, offset: end };
        Ok(Message::Data { kind, block: bytes })
    }

    fn announce(&mut self, file: usize) -> SenderStep {
        match self.files.get(file) {
            Some(info) => {
                self.at = ClientAt::Announced(file);
                SenderStep::Send(Message::File(info.clone()))
            }
            None => {
                self.at = ClientAt::Done;
                SenderStep::Done
            }
        }
    }

    fn go_on(&mut self, file: usize, offset: u64) -> Result<SenderStep, TransportFault> {
        let left = self.files[file].size.checked_sub(offset).ok_or(TransportFault::Size)?;
        if left == 0 {
            self.at = ClientAt::Ended(file);
            return Ok(SenderStep::Send(Message::End));
        }
        self.at = ClientAt::Reading { file, offset };
        let length = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        Ok(SenderStep::Read { file, offset, length })
    }
}

/// The centre's half of an upload.
#[derive(Debug)]
pub struct UploadHost {
    at: HostAt,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostAt {
    Start,
    Asked,
    Admitted,
    Next { left: u16 },
    Announced { left: u16, size: u64 },
    Data { left: u16, size: u64, offset: u64 },
    Storing { left: u16, size: u64, offset: u64 },
    End { left: u16 },
    Checking { left: u16 },
    Done,
}

impl Default for UploadHost {
    fn default() -> Self {
        Self { at: HostAt::Start }
    }
}

impl UploadHost {
    /// A message came.
    pub fn receive(&mut self, message: Message) -> Result<ReceiverStep, TransportFault> {
        match (self.at.clone(), message) {
            (HostAt::Start, Message::UploadRequest { organisation, code }) => {
                self.at = HostAt::Asked;
                Ok(ReceiverStep::Who { organisation, code })
            }
            (HostAt::Admitted, Message::Count { files, outcome: _ }) => {
                self.at = if files == 0 { HostAt::Done } else { HostAt::Next { left: files } };
                Ok(ReceiverStep::Send(Message::Ack(Outcome::Done)))
            }
            (HostAt::Next { left }, Message::File(info)) => {
                self.at = HostAt::Announced { left, size: info.size };
                Ok(ReceiverStep::File(info))
            }
            (HostAt::Data { left, size, offset }, Message::Data { kind, block }) => {
                let end = offset + block.len() as u64;
                let fits = !block.is_empty() && end <= size && (end == size) == (kind == BlockKind::Last);
                if !fits {
                    return Err(TransportFault::Size);
                }
                self.at = HostAt::Storing { left, size, offset: end };
                Ok(ReceiverStep::Block { offset, bytes: block })
            }
            (HostAt::End { left }, Message::End) => {
                self.at = HostAt::Checking { left };
                Ok(ReceiverStep::Whole)
            }
            (at, other) => Err(unexpected(
                &other,
                match at {
                    HostAt::Start => "4001",
                    HostAt::Admitted => "4006",
                    HostAt::Next { .. } => "4003",
                    HostAt::Data { .. } => "4004",
                    HostAt::End { .. } => "4007",
                    HostAt::Asked
                    | HostAt::Announced { .. }
                    | HostAt::Storing { .. }
                    | HostAt::Checking { .. }
                    | HostAt::Done => "nothing",
                },
            )),
        }
    }

    /// Whether the organisation may upload.
    pub fn admit(&mut self, outcome: Outcome) -> Message {
        self.at = if outcome == Outcome::Done { HostAt::Admitted } else { HostAt::Done };
        Message::Ack(outcome)
    }

    /// How much of the announced file is there, or why it is not taken.
    pub fn resume(&mut self, held: u64, outcome: Outcome) -> Message {
        if let HostAt::Announced { left, size } = self.at {
            self.at = match outcome {
                Outcome::Done if held >= size => HostAt::End { left },
                Outcome::Done => HostAt::Data { left, size, offset: held },
                _ => next(left),
            };
        }
        Message::Resume { held, outcome }
    }

    /// The block is stored, or not.
    pub fn stored(&mut self, outcome: Outcome) -> Message {
        if let HostAt::Storing { left, size, offset } = self.at {
            self.at = match outcome {
                Outcome::Done if offset == size => HostAt::End { left },
                Outcome::Done => HostAt::Data { left, size, offset },
                _ => HostAt::Done,
            };
        }
        Message::Ack(outcome)
    }

    /// The digest of the whole file was checked.
    pub fn checked(&mut self, outcome: Outcome) -> Message {
        if let HostAt::Checking { left } = self.at {
            self.at = next(left);
        }
        Message::Ack(outcome)
    }

    /// Whether nothing is to come.
    pub fn is_done(&self) -> bool {
        self.at == HostAt::Done
    }
}

const fn next(left: u16) -> HostAt {
    if left <= 1 { HostAt::Done } else { HostAt::Next { left: left - 1 } }
}

pub(super) fn done(outcome: Outcome) -> Result<(), TransportFault> {
    match outcome {
        Outcome::Done => Ok(()),
        refused => Err(TransportFault::Refused(refused)),
    }
}

pub(super) fn unexpected(message: &Message, expected: &'static str) -> TransportFault {
    TransportFault::Unexpected { found: message.number(), expected }
}
