//! The download: the centre sends, an institution receives.

use super::receiving::Receiving;
use super::sending::Sending;
use super::{FileInfo, Message, Outcome, ReceiverStep, SenderStep, TransportFault, done, unexpected};

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
    /// Acknowledge, then go on as a sender does.
    Then(Option<Message>, SenderStep),
}

/// The most files that one answer can count: four digits.
const MOST_FILES: u16 = 9_999;

/// The centre's half of a download.
#[derive(Debug, Default)]
pub struct DownloadHost {
    at: HostAt,
}

#[derive(Debug, Default)]
enum HostAt {
    #[default]
    Start,
    Asked,
    Counted(Vec<FileInfo>),
    Files(Sending),
}

impl DownloadHost {
    /// A message came.
    pub fn receive(&mut self, message: Message) -> Result<Served, TransportFault> {
        match (&mut self.at, message) {
            (HostAt::Start, Message::DownloadRequest { organisation, code, date }) => {
                self.at = HostAt::Asked;
                Ok(Served::Who { organisation, code, date })
            }
            (HostAt::Counted(files), Message::Ack(outcome)) => {
                done(outcome)?;
                let (sending, first) = Sending::begin(std::mem::take(files));
                self.at = HostAt::Files(sending);
                Ok(Served::Then(None, first))
            }
            (HostAt::Files(sending), message) => {
                let step = sending.receive(&message)?;
                let resumed = matches!(message, Message::Resume { outcome: Outcome::Done, .. });
                Ok(Served::Then(resumed.then_some(Message::Ack(Outcome::Done)), step))
            }
            (HostAt::Start, other) => Err(unexpected(&other, "4002")),
            (HostAt::Asked, other) => Err(unexpected(&other, "nothing")),
            (HostAt::Counted(_), other) => Err(unexpected(&other, "4008")),
        }
    }

    /// The files that there are, or why none is given.
    pub fn offer(&mut self, mut files: Vec<FileInfo>, outcome: Outcome) -> Message {
        files.truncate(MOST_FILES.into());
        let count = files.len() as u16;
        let gives = outcome == Outcome::Done && count > 0;
        self.at = if gives { HostAt::Counted(files) } else { HostAt::Files(Sending::begin(Vec::new()).0) };
        Message::Count { files: count, outcome }
    }

    /// The bytes that were asked for.
    pub fn block(&mut self, bytes: Vec<u8>) -> Result<Message, TransportFault> {
        match &mut self.at {
            HostAt::Files(sending) => sending.block(bytes),
            HostAt::Start | HostAt::Asked | HostAt::Counted(_) => Err(TransportFault::Size),
        }
    }

    /// Whether nothing is left.
    pub fn is_done(&self) -> bool {
        matches!(&self.at, HostAt::Files(sending) if sending.is_done())
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

#[derive(Debug)]
enum ClientAt {
    Start,
    Requested,
    /// The centre has still to acknowledge from where a file goes on.
    Resumed(Receiving),
    Files(Receiving),
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
        match (&mut self.at, message) {
            (ClientAt::Requested, Message::Count { files, outcome }) => {
                done(outcome)?;
                self.at = ClientAt::Files(Receiving::begin(files));
                Ok(match files {
                    0 => ReceiverStep::Done,
                    _ => ReceiverStep::Send(Message::Ack(Outcome::Done)),
                })
            }
            (ClientAt::Resumed(receiving), Message::Ack(outcome)) => {
                done(outcome)?;
                self.at = ClientAt::Files(receiving.clone());
                Ok(ReceiverStep::Done)
            }
            (ClientAt::Files(receiving), message) => receiving.receive(message),
            (ClientAt::Start, other) => Err(unexpected(&other, "nothing")),
            (ClientAt::Requested, other) => Err(unexpected(&other, "4006")),
            (ClientAt::Resumed(_), other) => Err(unexpected(&other, "4008")),
        }
    }

    /// How much of the announced file is here. A file that is not wanted is passed over with an outcome.
    pub fn resume(&mut self, held: u64, outcome: Outcome) -> Message {
        let ClientAt::Files(receiving) = &mut self.at else { return Message::Resume { held, outcome } };
        let taken = receiving.is_announced() && outcome == Outcome::Done;
        let resume = receiving.resume(held, outcome);
        if taken {
            self.at = ClientAt::Resumed(receiving.clone());
        }
        resume
    }

    /// The block is stored.
    pub fn stored(&mut self) -> Message {
        match &mut self.at {
            ClientAt::Files(receiving) => receiving.stored(Outcome::Done),
            ClientAt::Start | ClientAt::Requested | ClientAt::Resumed(_) => Message::Ack(Outcome::Done),
        }
    }

    /// The digest of the whole file was checked.
    pub fn checked(&mut self, outcome: Outcome) -> Message {
        match &mut self.at {
            ClientAt::Files(receiving) => receiving.checked(outcome),
            ClientAt::Start | ClientAt::Requested | ClientAt::Resumed(_) => Message::Ack(outcome),
        }
    }

    /// Whether nothing is to come.
    pub fn is_done(&self) -> bool {
        matches!(&self.at, ClientAt::Files(receiving) if receiving.is_done())
    }
}
