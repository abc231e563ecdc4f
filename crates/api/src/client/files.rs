//! An institution's half of the clearing transport over a stream: TLS to the centre, or a test's pipe.

use std::io;

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tsm_domain::bytes::Sha256Digest;

use crate::clearing_transport::{
    Decoder, DownloadClient, FileInfo, Frame, FrameError, FrameMac, Message, MessageError, Outcome,
    ReceiverStep, SenderStep, SyncBlock, TransportFault, UploadClient,
};

/// Why a transfer ended early. What was stored stays, and another connection goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum FileTransferError {
    /// The connection broke.
    #[error("the connection to the centre broke: {0}")]
    Io(#[from] io::Error),
    /// The centre closed the connection.
    #[error("the centre closed the connection")]
    Closed,
    /// Bytes are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A body is no message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A reply belongs to another request.
    #[error("a reply belongs to another request")]
    Sync,
    /// The conversation does not go on.
    #[error(transparent)]
    Fault(#[from] TransportFault),
}

/// A file with its content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedFile {
    /// Its name.
    pub name: String,
    /// Its content.
    pub content: Vec<u8>,
}

/// Who transfers.
#[derive(Clone, Copy, Debug)]
pub struct Organisation<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its code at the centre.
    pub code: &'a str,
}

/// A connection to the centre's file server.
pub struct FileClient<'a, S> {
    stream: S,
    mac: &'a dyn FrameMac,
    organisation: Organisation<'a>,
    decoder: Decoder,
    turn: u64,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> FileClient<'a, S> {
    /// A client over a connected stream. Each connection carries one transfer.
    pub fn new(stream: S, mac: &'a dyn FrameMac, organisation: Organisation<'a>) -> Self {
        Self { stream, mac, organisation, decoder: Decoder::default(), turn: 0 }
    }

    /// Uploads files; gives those that the centre did not take, by their place, with its reason.
    pub async fn upload(mut self, files: &[NamedFile]) -> Result<Vec<(usize, Outcome)>, FileTransferError> {
        let info = |file: &NamedFile| FileInfo {
            name: file.name.clone(),
            digest: Sha256Digest::of(&file.content),
            size: file.content.len() as u64,
        };
        self.upload_as(files.iter().map(info).collect(), files).await
    }

    /// Uploads files under the names, digests and sizes that `infos` announce.
    pub async fn upload_as(
        &mut self,
        infos: Vec<FileInfo>,
        files: &[NamedFile],
    ) -> Result<Vec<(usize, Outcome)>, FileTransferError> {
        let mut client = UploadClient::new(self.organisation.name, self.organisation.code, infos);
        let mut message = client.start();
        loop {
            self.send(&message).await?;
            let reply = self.receive().await?;
            message = match client.receive(&reply)? {
                SenderStep::Send(message) => message,
                SenderStep::Read { file, offset, length } => {
                    let content = files.get(file).map(|file| &file.content[..]).unwrap_or_default();
                    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
                    let to = from.saturating_add(length).min(content.len());
                    client.block(content[from..to].to_vec())?
                }
                SenderStep::Done => return Ok(client.refused().to_vec()),
            };
        }
    }

    /// Downloads the files of a date (YYYYMMDD; 0 for all). `held` are files or beginnings of files that are
    /// here already; they come back whole. A file whose digest is wrong is not among them.
    pub async fn download(
        mut self,
        date: u32,
        mut held: Vec<NamedFile>,
    ) -> Result<Vec<NamedFile>, FileTransferError> {
        let mut client = DownloadClient::new(self.organisation.name, self.organisation.code, date);
        let mut wrong = Vec::new();
        let mut current: Option<(usize, FileInfo)> = None;
        let message = client.start();
        self.send(&message).await?;
        while !client.is_done() {
            let message = self.receive().await?;
            let reply = match client.receive(message)? {
                ReceiverStep::Send(reply) => reply,
                ReceiverStep::File(info) => {
                    let index = place_of(&mut held, &info);
                    let bytes = held[index].content.len() as u64;
                    current = Some((index, info));
                    client.resume(bytes, Outcome::Done)
                }
                ReceiverStep::Block { bytes, .. } => {
                    if let Some((index, _)) = &current {
                        held[*index].content.extend(bytes);
                    }
                    client.stored()
                }
                ReceiverStep::Whole => {
                    let Some((index, info)) = current.take() else { return Err(TransportFault::Size.into()) };
                    let found: [u8; 32] = Sha256::digest(&held[index].content).into();
                    let outcome = if found == info.digest.0 { Outcome::Done } else { Outcome::DigestWrong };
                    if outcome == Outcome::DigestWrong {
                        wrong.push(info.name);
                    }
                    client.checked(outcome)
                }
                ReceiverStep::Done | ReceiverStep::Who { .. } => continue,
            };
            self.send(&reply).await?;
        }
        held.retain(|file| !wrong.contains(&file.name));
        Ok(held)
    }

    async fn send(&mut self, message: &Message) -> Result<(), FileTransferError> {
        self.turn += 1;
        let frame = Frame { sync: SyncBlock::numbered(self.turn), body: message.encode()? };
        self.stream.write_all(&frame.encode(self.mac)?).await?;
        Ok(self.stream.flush().await?)
    }

    async fn receive(&mut self) -> Result<Message, FileTransferError> {
        let mut buffer = vec![0; 16 << 10];
        loop {
            if let Some(frame) = self.decoder.next(self.mac)? {
                if frame.sync != SyncBlock::numbered(self.turn) {
                    return Err(FileTransferError::Sync);
                }
                return Ok(Message::decode(&frame.body)?);
            }
            let count = self.stream.read(&mut buffer).await?;
            if count == 0 {
                return Err(FileTransferError::Closed);
            }
            self.decoder.push(&buffer[..count]);
        }
    }
}

/// Where a file is kept. What is longer than the file is not a beginning of it, and is dropped.
fn place_of(held: &mut Vec<NamedFile>, info: &FileInfo) -> usize {
    let index = held.iter().position(|file| file.name == info.name).unwrap_or_else(|| {
        held.push(NamedFile { name: info.name.clone(), content: Vec::new() });
        held.len() - 1
    });
    if held[index].content.len() as u64 > info.size {
        held[index].content.clear();
    }
    index
}
