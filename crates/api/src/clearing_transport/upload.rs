//! The upload: an institution sends, the centre receives.

use super::receiving::Receiving;
use super::sending::Sending;
use super::{FileInfo, Message, Outcome, ReceiverStep, SenderStep, TransportFault, done, unexpected};

/// The institution's half of an upload.
#[derive(Debug)]
pub struct UploadClient {
    organisation: String,
    code: String,
    files: Vec<FileInfo>,
    at: ClientAt,
}

#[derive(Debug)]
enum ClientAt {
    Start,
    Requested,
    Counted,
    Files(Sending),
}

impl UploadClient {
    /// An upload of these files.
    pub fn new(organisation: &str, code: &str, files: Vec<FileInfo>) -> Self {
        let (organisation, code) = (organisation.to_owned(), code.to_owned());
        Self { organisation, code, files, at: ClientAt::Start }
    }

    /// The first message.
    pub fn start(&mut self) -> Message {
        self.at = ClientAt::Requested;
        Message::UploadRequest { organisation: self.organisation.clone(), code: self.code.clone() }
    }

    /// Files that the centre did not take, with its reason.
    pub fn refused(&self) -> &[(usize, Outcome)] {
        match &self.at {
            ClientAt::Files(sending) => sending.refused(),
            ClientAt::Start | ClientAt::Requested | ClientAt::Counted => &[],
        }
    }

    /// A reply came.
    pub fn receive(&mut self, reply: &Message) -> Result<SenderStep, TransportFault> {
        match (&mut self.at, reply) {
            (ClientAt::Requested, Message::Ack(outcome)) => {
                done(*outcome)?;
                self.at = ClientAt::Counted;
                let files = u16::try_from(self.files.len()).unwrap_or(u16::MAX);
                Ok(SenderStep::Send(Message::Count { files, outcome: Outcome::Done }))
            }
            (ClientAt::Counted, Message::Ack(outcome)) => {
                done(*outcome)?;
                let (sending, first) = Sending::begin(std::mem::take(&mut self.files));
                self.at = ClientAt::Files(sending);
                Ok(first)
            }
            (ClientAt::Files(sending), reply) => sending.receive(reply),
            (ClientAt::Start, other) => Err(unexpected(other, "nothing")),
            (ClientAt::Requested | ClientAt::Counted, other) => Err(unexpected(other, "4008")),
        }
    }

    /// The bytes that were asked for.
    pub fn block(&mut self, bytes: Vec<u8>) -> Result<Message, TransportFault> {
        match &mut self.at {
            ClientAt::Files(sending) => sending.block(bytes),
            ClientAt::Start | ClientAt::Requested | ClientAt::Counted => Err(TransportFault::Size),
        }
    }
}

/// The centre's half of an upload.
#[derive(Debug, Default)]
pub struct UploadHost {
    at: HostAt,
}

#[derive(Debug, Default)]
enum HostAt {
    #[default]
    Start,
    Asked,
    Admitted,
    Files(Receiving),
}

impl UploadHost {
    /// A message came.
    pub fn receive(&mut self, message: Message) -> Result<ReceiverStep, TransportFault> {
        match (&mut self.at, message) {
            (HostAt::Start, Message::UploadRequest { organisation, code }) => {
                self.at = HostAt::Asked;
                Ok(ReceiverStep::Who { organisation, code })
            }
            (HostAt::Admitted, Message::Count { files, outcome: _ }) => {
                self.at = HostAt::Files(Receiving::begin(files));
                Ok(ReceiverStep::Send(Message::Ack(Outcome::Done)))
            }
            (HostAt::Files(receiving), message) => receiving.receive(message),
            (HostAt::Start, other) => Err(unexpected(&other, "4001")),
            (HostAt::Asked, other) => Err(unexpected(&other, "nothing")),
            (HostAt::Admitted, other) => Err(unexpected(&other, "4006")),
        }
    }

    /// Whether the organisation may upload.
    pub fn admit(&mut self, outcome: Outcome) -> Message {
        let nothing = HostAt::Files(Receiving::begin(0));
        self.at = if outcome == Outcome::Done { HostAt::Admitted } else { nothing };
        Message::Ack(outcome)
    }

    /// How much of the announced file is there, or why it is not taken.
    pub fn resume(&mut self, held: u64, outcome: Outcome) -> Message {
        match &mut self.at {
            HostAt::Files(receiving) => receiving.resume(held, outcome),
            HostAt::Start | HostAt::Asked | HostAt::Admitted => Message::Resume { held, outcome },
        }
    }

    /// The block is stored, or not.
    pub fn stored(&mut self, outcome: Outcome) -> Message {
        match &mut self.at {
            HostAt::Files(receiving) => receiving.stored(outcome),
            HostAt::Start | HostAt::Asked | HostAt::Admitted => Message::Ack(outcome),
        }
    }

    /// The digest of the whole file was checked.
    pub fn checked(&mut self, outcome: Outcome) -> Message {
        match &mut self.at {
            HostAt::Files(receiving) => receiving.checked(outcome),
            HostAt::Start | HostAt::Asked | HostAt::Admitted => Message::Ack(outcome),
        }
    }

    /// Whether nothing is to come.
    pub fn is_done(&self) -> bool {
        matches!(&self.at, HostAt::Files(receiving) if receiving.is_done())
    }
}
