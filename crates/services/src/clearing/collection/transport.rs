//! The clearing transport over TCP: one conversation on each connection, upload or download.
//!
//! A connection is protected by TLS with the institution's certificate, or, on a private line, by the MAC of
//! an agreed key alone; an institution without either is not admitted.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};
use tsm_api::clearing_transport::{
    Decoder, DownloadHost, FileInfo, Frame, FrameError, FrameMac, MacError, Message, MessageError, Outcome,
    ReceiverStep, SenderStep, Served, SyncBlock, TransportFault, UploadHost,
};
use tsm_api::{HexBytes, pki};
use tsm_domain::InstitutionId;
use tsm_keys::{KeyReference, KeyService};
use tsm_storage::clearing::collection::{FileKey, FileStage};

use crate::clearing::Clearing;

/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(60);
/// Connections at once.
const CONNECTIONS: usize = 256;
/// Bytes of a file that are put into the store at once.
const PART: usize = 64 << 10;
/// Results in one download.
const MOST: usize = 9_999;

/// How connections are protected.
#[derive(Clone)]
pub enum Protection {
    /// TLS with client certificates.
    Tls(Arc<ServerConfig>),
    /// None but the MAC of each institution's key: for private lines.
    MacOnly,
}

/// How the transport is served.
#[derive(Clone)]
pub struct TransportSettings {
    /// How connections are protected.
    pub protection: Protection,
    /// The key of each institution with which one is agreed.
    pub keys: BTreeMap<String, KeyReference>,
}

/// A file server that is running; dropping it stops it.
pub struct FileServer {
    address: SocketAddr,
    _stop: watch::Sender<()>,
}

impl FileServer {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves the clearing transport on `listener` until the server is dropped.
pub fn serve_files(
    centre: Arc<Clearing>,
    listener: TcpListener,
    settings: TransportSettings,
) -> io::Result<FileServer> {
    let address = listener.local_addr()?;
    let (stop, stopped) = watch::channel(());
    let spawner = centre.environment.spawner.clone();
    spawner.spawn(accept(centre, listener, Arc::new(settings), stopped).boxed());
    info!(%address, "serving the clearing transport");
    Ok(FileServer { address, _stop: stop })
}

/// Carries one conversation over a line that is open already: a leased line, a modem, a pipe. The MAC of each
/// institution's agreed key is all that protects it.
pub async fn serve_line<S: AsyncRead + AsyncWrite + Unpin>(
    centre: &Arc<Clearing>,
    line: S,
    keys: BTreeMap<String, KeyReference>,
) -> io::Result<()> {
    let settings = TransportSettings { protection: Protection::MacOnly, keys };
    let carried = Session::new(centre, line, &settings, None).run().await;
    carried.map_err(|error| match error {
        SessionError::Io(error) => error,
        other => io::Error::other(other),
    })
}

async fn accept(
    centre: Arc<Clearing>,
    listener: TcpListener,
    settings: Arc<TransportSettings>,
    mut stopped: watch::Receiver<()>,
) {
    let running = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = running.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => return,
        };
        let Ok((stream, from)) = accepted else {
            centre.environment.timer.sleep(Duration::from_millis(20)).await;
            continue;
        };
        let (centre, settings, mut stopped) = (centre.clone(), settings.clone(), stopped.clone());
        let spawner = centre.environment.spawner.clone();
        spawner.spawn(
            async move {
                let ended = tokio::select! {
                    ended = connection(&centre, stream, &settings) => ended,
                    _ = stopped.changed() => Ok(()),
                };
                if let Err(error) = ended {
                    warn!(%from, %error, "a file transfer ended early");
                }
                drop(permit);
            }
            .boxed(),
        );
    }
}

/// Why a conversation ended early.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error(transparent)]
    Fault(#[from] TransportFault),
    #[error(transparent)]
    Store(#[from] tsm_storage::StorageError),
    #[error("nothing came for too long")]
    Silence,
}

async fn connection(
    centre: &Arc<Clearing>,
    stream: TcpStream,
    settings: &TransportSettings,
) -> Result<(), SessionError> {
    stream.set_nodelay(true)?;
    match &settings.protection {
        Protection::Tls(config) => {
            let acceptor = TlsAcceptor::from(config.clone());
            let tls = tokio::select! {
                tls = acceptor.accept(stream) => tls?,
                () = centre.environment.timer.sleep(SILENCE) => return Err(SessionError::Silence),
            };
            let certificate = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let certificate = certificate.map(|leaf| pki::fingerprint(leaf));
            Session::new(centre, tls, settings, certificate).run().await
        }
        Protection::MacOnly => Session::new(centre, stream, settings, None).run().await,
    }
}

/// The MAC of a conversation: the key is that of the institution which the first frame names.
struct SessionMac<'a> {
    keys: &'a dyn KeyService,
    agreed: &'a BTreeMap<String, KeyReference>,
    chosen: Mutex<Option<Option<KeyReference>>>,
}

/// Where the code of the organisation stands in what the MAC of a request covers: after synchronisation
/// block, flags, version, type and name.
const CODE: std::ops::Range<usize> = 60..71;

impl FrameMac for SessionMac<'_> {
    fn mac(&self, covered: &[u8]) -> Result<[u8; 8], MacError> {
        let mut chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        let key = chosen.get_or_insert_with(|| {
            let code = covered.get(CODE).and_then(|code| std::str::from_utf8(code).ok());
            self.agreed.get(code.unwrap_or_default().trim_end()).cloned()
        });
        match key {
            Some(key) => self.keys.frame_mac(key, covered).map_err(|error| MacError(error.to_string())),
            None => Ok([0; 8]),
        }
    }
}

/// One conversation.
struct Session<'a, S> {
    centre: &'a Arc<Clearing>,
    stream: S,
    settings: &'a TransportSettings,
    certificate: Option<HexBytes>,
    mac: SessionMac<'a>,
    decoder: Decoder,
    /// The file that is being received, and bytes of it that are not stored yet.
    file: Option<(FileKey, u64)>,
    unstored: Vec<u8>,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Session<'a, S> {
    fn new(
        centre: &'a Arc<Clearing>,
        stream: S,
        settings: &'a TransportSettings,
        certificate: Option<HexBytes>,
    ) -> Self {
        let mac = SessionMac { keys: &*centre.keys, agreed: &settings.keys, chosen: Mutex::new(None) };
        let (decoder, unstored) = (Decoder::default(), Vec::new());
        Self { centre, stream, settings, certificate, mac, decoder, file: None, unstored }
    }

    async fn run(mut self) -> Result<(), SessionError> {
        let result = match self.read().await? {
            Some((sync, first @ Message::UploadRequest { .. })) => self.upload(sync, first).await,
            Some((sync, first)) => self.download(sync, first).await,
            None => Ok(()),
        };
        // What came before the connection broke need not come again.
        self.store().await?;
        result
    }

    async fn read(&mut self) -> Result<Option<(SyncBlock, Message)>, SessionError> {
        let mut buffer = vec![0; 16 << 10];
        loop {
            if let Some(frame) = self.decoder.next(&self.mac)? {
                return Ok(Some((frame.sync, Message::decode(&frame.body)?)));
            }
            let count = tokio::select! {
                count = self.stream.read(&mut buffer) => count?,
                () = self.centre.environment.timer.sleep(SILENCE) => return Err(SessionError::Silence),
            };
            if count == 0 {
                return Ok(None);
            }
            self.decoder.push(&buffer[..count]);
        }
    }

    async fn write(&mut self, sync: SyncBlock, messages: &[Message]) -> Result<(), SessionError> {
        let mut bytes = Vec::new();
        for message in messages {
            bytes.extend(Frame { sync, body: message.encode()? }.encode(&self.mac)?);
        }
        self.stream.write_all(&bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// The institution, if it is one and proves it.
    fn admitted(&self, code: &str) -> Option<InstitutionId> {
        let peer = self.centre.institutions.iter().find(|peer| peer.institution == code)?;
        let proven = match self.settings.protection {
            Protection::Tls(_) => self.certificate.as_ref() == Some(&peer.certificate),
            Protection::MacOnly => self.settings.keys.contains_key(code),
        };
        proven.then(|| peer.institution.parse().ok()).flatten()
    }

    async fn upload(&mut self, sync: SyncBlock, first: Message) -> Result<(), SessionError> {
        let mut host = UploadHost::default();
        let mut institution = None;
        let mut turn = (sync, first);
        loop {
            let (sync, message) = turn;
            let reply = match host.receive(message)? {
                ReceiverStep::Who { code, .. } => {
                    institution = self.admitted(&code);
                    host.admit(institution.as_ref().map_or(Outcome::NotAdmitted, |_| Outcome::Done))
                }
                ReceiverStep::Send(reply) => reply,
                ReceiverStep::File(info) => {
                    let (held, outcome) = self.announced(institution.as_ref(), &info).await?;
                    host.resume(held, outcome)
                }
                ReceiverStep::Block { bytes, .. } => {
                    self.unstored.extend(bytes);
                    if self.unstored.len() >= PART {
                        self.store().await?;
                    }
                    host.stored(Outcome::Done)
                }
                ReceiverStep::Whole => {
                    let outcome = self.whole().await?;
                    host.checked(outcome)
                }
                ReceiverStep::Done => return Ok(()),
            };
            self.write(sync, &[reply]).await?;
            if host.is_done() {
                return Ok(());
            }
            match self.read().await? {
                Some(next) => turn = next,
                None => return Ok(()),
            }
        }
    }

    async fn announced(
        &mut self,
        institution: Option<&InstitutionId>,
        info: &FileInfo,
    ) -> Result<(u64, Outcome), SessionError> {
        let Some(institution) = institution else { return Ok((0, Outcome::NotAdmitted)) };
        match self.centre.announce(institution, info).await? {
            Ok(row) => {
                self.file = Some((row.key, row.held));
                Ok((row.held, Outcome::Done))
            }
            Err(outcome) => Ok((0, outcome)),
        }
    }

    /// Puts the bytes that have come into the store.
    async fn store(&mut self) -> Result<(), SessionError> {
        let Some((key, held)) = &mut self.file else { return Ok(()) };
        if self.unstored.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.unstored);
        let expected = *held + bytes.len() as u64;
        let row = self.centre.store.append_file(key.clone(), *held, bytes).await?;
        *held = row.held;
        // Another connection brings the same file; its bytes are the same, and this one has to ask again.
        if row.held != expected {
            return Err(TransportFault::Size.into());
        }
        Ok(())
    }

    async fn whole(&mut self) -> Result<Outcome, SessionError> {
        self.store().await?;
        let Some((key, _)) = self.file.take() else { return Ok(Outcome::FileRefused) };
        let outcome = self.centre.check_whole(&key).await?;
        if outcome == Outcome::Done {
            // It is recorded; its rows are taken while the institution goes on.
            let (centre, spawner) = (self.centre.clone(), self.centre.environment.spawner.clone());
            spawner.spawn(
                async move {
                    if let Err(error) = centre.take_file(&key).await {
                        warn!(%error, name = key.name, "a file is recorded and not taken yet");
                    }
                }
                .boxed(),
            );
        }
        Ok(outcome)
    }

    async fn download(&mut self, sync: SyncBlock, first: Message) -> Result<(), SessionError> {
        let mut host = DownloadHost::default();
        let mut files: Vec<FileKey> = Vec::new();
        let mut turn = (sync, first);
        loop {
            let (sync, message) = turn;
            let replies = match host.receive(message)? {
                Served::Who { code, date, .. } => match self.admitted(&code) {
                    Some(institution) => {
                        let (keys, infos) = self.offered(&institution, date).await?;
                        files = keys;
                        vec![host.offer(infos, Outcome::Done)]
                    }
                    None => vec![host.offer(Vec::new(), Outcome::NotAdmitted)],
                },
                Served::Then(before, step) => {
                    let mut replies: Vec<Message> = before.into_iter().collect();
                    match step {
                        SenderStep::Send(message) => replies.push(message),
                        SenderStep::Read { file, offset, length } => {
                            let key = files[file].clone();
                            let bytes = self.centre.store.file_bytes(key, offset, length).await?;
                            replies.push(host.block(bytes)?);
                        }
                        SenderStep::Done => return Ok(()),
                    }
                    replies
                }
            };
            self.write(sync, &replies).await?;
            if host.is_done() {
                return Ok(());
            }
            match self.read().await? {
                Some(next) => turn = next,
                None => {
                    debug!("a download ended before its last file");
                    return Ok(());
                }
            }
        }
    }

    /// The files made for an institution, of one day or of all.
    async fn offered(
        &self,
        institution: &InstitutionId,
        date: u32,
    ) -> Result<(Vec<FileKey>, Vec<FileInfo>), SessionError> {
        if let Err(error) = self.centre.make_list_file(institution).await {
            warn!(%error, "the list of refused cards is not offered as a file");
        }
        let rows = self.centre.store.files_of(institution, "", usize::MAX).await?;
        let made = rows.into_iter().filter(|row| row.stage == FileStage::Made);
        let day = |at| hex::encode(crate::purse::card_time(at).date.to_bytes()).parse().unwrap_or(0);
        let of_day = made.filter(|row| date == 0 || day(row.begun_at) == date).take(MOST);
        let info = |row: tsm_storage::clearing::collection::FileRow| {
            let name = row.key.name.clone();
            (row.key, FileInfo { name, digest: row.digest, size: row.size })
        };
        Ok(of_day.map(info).unzip())
    }
}
