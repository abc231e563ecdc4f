//! The download: the centre sends, an institution receives.

use super::upload::{done, unexpected};
use super::{BLOCK, BlockKind, FileInfo, Message, Outcome, ReceiverStep, SenderStep, TransportFault};

/// What the centre has to do next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Served {
    /// Say which files there are: answer with `offer`.
    Who {
        /// The name of the organisation.
        organisation: String,
        /// Its code.
        code: String,
        /// Of which date; 0 for all.
        date: u32,
    },
    /// Send these, in order.
    Send(Vec<Message>),
    /// Acknowledge, then go on as a sender does.
    Then(Option<Message>, SenderStep),
}

/// The centre's half of a download.
#[derive(Debug)]
pub struct DownloadHost {
    files: Vec<FileInfo>,
    at: HostAt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HostAt {
    Start,
    Asked,
    Counted,
    Announced(usize),
    Reading { file: usize, offset: u64 },
    Sent { file: usize, offset: u64 },
    Ended(usize),
    Done,
}

impl Default for DownloadHost {
    fn default() -> Self {
        Self { files: Vec::new(), at: HostAt::Start }
    }
}

impl DownloadHost {
    /// A message came.
    pub fn receive(&mut self, message: Message) -> Result<Served, TransportFault> {
        match (self.at, message) {
            (HostAt::Start, Message::DownloadRequest { organisation, code, date }) => {
                self.at = HostAt::Asked;
                Ok(Served::Who { organisation, code, date })
            }
            (HostAt::Counted, Message::Ack(outcome)) => {
                done(outcome)?;
                Ok(self.announce(0))
            }
            (HostAt::Announced(file), Message::Resume { held, outcome: Outcome::Done }) => {
                let step = self.go_on(file, held)?;
                Ok(Served::Then(Some(Message::Ack(Outcome::Done)), step))
            }
            (HostAt::Announced(file), Message::Resume { .. }) => Ok(self.announce(file + 1)),
            (HostAt::Sent { file, offset }, Message::Ack(outcome)) => {
                done(outcome)?;
                Ok(Served::Then(None, self.go_on(file, offset)?))
            }
            // A receiver that found the digest wrong asks for the file again another time.
            (HostAt::Ended(file), Message::Ack(_)) => Ok(self.announce(file + 1)),
            (at, other) => Err(unexpected(
                &other,
                match at {
                    HostAt::Start => "4002",
                    HostAt::Announced(_) => "4005",
                    HostAt::Counted | HostAt::Sent { .. } | HostAt::Ended(_) => "4008",
                    HostAt::Asked | HostAt::Reading { .. } | HostAt::Done => "nothing",
                },
            )),
        }
    }

    /// The files that there are, or why none is given.
    pub fn offer(&mut self, files: Vec<FileInfo>, outcome: Outcome) -> Message {
        let count = u16::try_from(files.len()).unwrap_or(9_999).min(9_999);
        self.files = files;
        self.files.truncate(count.into());
        self.at = if outcome == Outcome::Done && count > 0 { HostAt::Counted } else { HostAt::Done };
        Message::Count { files: count, outcome }
    }

    /// The bytes that were asked for.
    pub fn block(&mut self, bytes: Vec<u8>) -> Result<Message, TransportFault> {
        let HostAt::Reading { file, offset } = self.at else { return Err(TransportFault::Size) };
        let end = offset + bytes.len() as u64;
        if bytes.is_empty() || end > self.files[file].size {
            return Err(TransportFault::Size);
        }
        let kind = if end == self.files[file].size { BlockKind::Last } else { BlockKind::More };
        self.at = HostAt::Sent { file, offset: end };
        Ok(Message::Data { kind, block: bytes })
    }

    /// Whether nothing is left.
    pub fn is_done(&self) -> bool {
        self.at == HostAt::Done
    }

    fn announce(&mut self, file: usize) -> Served {
        match self.files.get(file) {
            Some(info) => {
                self.at = HostAt::Announced(file);
                Served::Send(vec![Message::File(info.clone())])
            }
            None => {
                self.at = HostAt::Done;
                Served::Then(None, SenderStep::Done)
            }
        }
    }

    fn go_on(&mut self, file: usize, offset: u64) -> Result<SenderStep, TransportFault> {
        let left = self.files[file].size.checked_sub(offset).ok_or(TransportFault::Size)?;
        if left == 0 {
            self.at = HostAt::Ended(file);
            return Ok(SenderStep::Send(Message::End));
        }
        self.at = HostAt::Reading { file, offset };
        let length = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        Ok(SenderStep::Read { file, offset, length })
    }
}

/// The institution's half of a download.
#[derive(Debug)]
pub struct DownloadClient {
    organisation: String,
    code: String,
    date: u32,
    at: ClientAt,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum ClientAt {
    Start,
    Requested,
    Next { left: u16 },
    Announced { left: u16, size: u64 },
    Resumed { left: u16, size: u64, offset: u64 },
    Data { left: u16, size: u64, offset: u64 },
    Storing { left: u16, size: u64, offset: u64 },
    End { left: u16 },
    Checking { left: u16 },
    Done,
}

impl DownloadClient {
    /// A download of the files of a date; 0 for all.
    pub fn new(organisation: &str, code: &str, date: u32) -> Self {
        Self { organisation: organisation.to_owned(), code: code.to_owned(), date, at: ClientAt::Start }
    }

    /// The first message.
    pub fn start(&mut self) -> Message {
        self.at = ClientAt::Requested;
        let (organisation, code) = (self.organisation.clone(), self.code.clone());
        Message::DownloadRequest { organisation, code, date: self.date }
    }

    /// A message came.
    pub fn receive(&mut self, message: Message) -> Result<ReceiverStep, TransportFault> {
        match (self.at.clone(), message) {
            (ClientAt::Requested, Message::Count { files, outcome }) => {
                done(outcome)?;
                if files == 0 {
                    self.at = ClientAt::Done;
                    return Ok(ReceiverStep::Done);
                }
                self.at = ClientAt::Next { left: files };
                Ok(ReceiverStep::Send(Message::Ack(Outcome::Done)))
            }
            (ClientAt::Next { left }, Message::File(info)) => {
                self.at = ClientAt::Announced { left, size: info.size };
                Ok(ReceiverStep::File(info))
            }
            (ClientAt::Resumed { left, size, offset }, Message::Ack(outcome)) => {
                done(outcome)?;
                self.at = if offset == size {
                    ClientAt::End { left }
                } else {
                    ClientAt::Data { left, size, offset }
                };
                Ok(ReceiverStep::Done)
            }
            (ClientAt::Data { left, size, offset }, Message::Data { kind, block }) => {
                let end = offset + block.len() as u64;
                let fits = !block.is_empty() && end <= size && (end == size) == (kind == BlockKind::Last);
                if !fits {
                    return Err(TransportFault::Size);
                }
                self.at = ClientAt::Storing { left, size, offset: end };
                Ok(ReceiverStep::Block { offset, bytes: block })
            }
            (ClientAt::End { left }, Message::End) => {
                self.at = ClientAt::Checking { left };
                Ok(ReceiverStep::Whole)
            }
            (at, other) => Err(unexpected(
                &other,
                match at {
                    ClientAt::Requested => "4006",
                    ClientAt::Next { .. } => "4003",
                    ClientAt::Resumed { .. } => "4008",
                    ClientAt::Data { .. } => "4004",
                    ClientAt::End { .. } => "4007",
                    ClientAt::Start
                    | ClientAt::Announced { .. }
                    | ClientAt::Storing { .. }
                    | ClientAt::Checking { .. }
                    | ClientAt::Done => "nothing",
                },
            )),
        }
    }

    /// How much of the announced file is here. A file that is not wanted is passed over with an outcome.
    pub fn resume(&mut self, held: u64, outcome: Outcome) -> Message {
        if let ClientAt::Announced { left, size } = self.at {
            self.at = match outcome {
                Outcome::Done => ClientAt::Resumed { left, size, offset: held },
                _ => next(left),
            };
        }
        Message::Resume { held, outcome }
    }

    /// The block is stored.
    pub fn stored(&mut self) -> Message {
        if let ClientAt::Storing { left, size, offset } = self.at {
            self.at =
                if offset == size { ClientAt::End { left } } else { ClientAt::Data { left, size, offset } };
        }
        Message::Ack(Outcome::Done)
    }

    /// The digest of the whole file was checked.
    pub fn checked(&mut self, outcome: Outcome) -> Message {
        if let ClientAt::Checking { left } = self.at {
            self.at = next(left);
        }
        Message::Ack(outcome)
    }

    /// Whether nothing is to come.
    pub fn is_done(&self) -> bool {
        self.at == ClientAt::Done
    }
}

const fn next(left: u16) -> ClientAt {
    if left <= 1 { ClientAt::Done } else { ClientAt::Next { left: left - 1 } }
}
