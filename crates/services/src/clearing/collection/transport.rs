//! The clearing transport over TCP: one conversation on each connection, upload or download.
//!
//! A connection is protected by TLS with the institution's certificate, or, on a private line, by the MAC of
//! an agreed key alone; an institution without either is not admitted. Until it is, a connection only waits
//! ([`WaitingRoom`]) and must speak soon; then it counts among those of its institution.
//!
//! Whatever cannot be read or does not fit is answered by a 4008 before the connection ends.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};
use tsm_api::clearing_transport::{
    Decoder, DownloadHost, FileInfo, Frame, FrameError, FrameMac, MacError, Message, MessageError, NoMac,
    Outcome, ReceiverStep, SenderStep, Served, SyncBlock, TransportFault, UploadHost,
};
use tsm_api::{HexBytes, pki};
use tsm_domain::InstitutionId;
use tsm_keys::{KeyReference, KeyService};
use tsm_storage::StorageError;
use tsm_storage::clearing::collection::{FileKey, FileStage};

use super::incoming::Incoming;
use crate::clearing::Clearing;
use crate::server::waiting_room::{Seats, Waiting, WaitingRoom};

/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a connection may take to say who it is, from its first byte on.
const OPENING: Duration = Duration::from_secs(10);
/// Connections that have not said it yet.
const SEATS: Seats = Seats { all: 512, of_one_address: 128 };
/// Connections of one institution at once.
const OF_ONE_INSTITUTION: usize = 32;
/// How long a refused connection may still send what nobody reads, so that it gets to read the refusal.
const LINGER: Duration = Duration::from_secs(2);
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
    let carried = Session::new(centre, line, &settings, None, Admissions::default()).run(None).await;
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
    let (room, admissions) = (WaitingRoom::new(SEATS), Admissions::default());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => return,
        };
        let Ok((stream, from)) = accepted else {
            centre.environment.timer.sleep(Duration::from_millis(20)).await;
            continue;
        };
        let limit = centre.environment.timer.sleep(OPENING);
        let opening = Opening { waiting: room.enter(from.ip()), limit };
        let admissions = admissions.clone();
        let (centre, settings, mut stopped) = (centre.clone(), settings.clone(), stopped.clone());
        let spawner = centre.environment.spawner.clone();
        spawner.spawn(
            async move {
                let ended = tokio::select! {
                    ended = connection(&centre, stream, &settings, admissions, opening) => ended,
                    _ = stopped.changed() => Ok(()),
                };
                if let Err(error) = ended {
                    let told = error.outcome().map(Outcome::code);
                    warn!(%from, %error, told, "a file transfer ended early");
                }
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
    Store(#[from] StorageError),
    #[error("nothing came for too long")]
    Silence,
    #[error("it did not say who it is, and others want to")]
    SentAway,
}

impl SessionError {
    /// What the other side is told; nothing when it does not listen.
    fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Io(_) | Self::Silence | Self::SentAway => None,
            Self::Frame(error) => Some(error.outcome()),
            Self::Message(_) => Some(Outcome::Malformed),
            Self::Fault(fault) => fault.outcome(),
            Self::Store(_) => Some(Outcome::Unavailable),
        }
    }
}

/// A connection that has not said yet who it is.
struct Opening {
    waiting: Waiting,
    limit: BoxFuture<'static, ()>,
}

impl Opening {
    async fn within<T>(
        &mut self,
        work: impl Future<Output = Result<T, SessionError>>,
    ) -> Result<T, SessionError> {
        tokio::select! {
            done = work => done,
            () = &mut self.limit => Err(SessionError::Silence),
            () = self.waiting.sent_away() => Err(SessionError::SentAway),
        }
    }
}

/// How many connections each institution has.
#[derive(Clone, Default)]
struct Admissions(Arc<Mutex<BTreeMap<String, usize>>>);

/// One connection of an institution; dropping it ends it.
struct Admission {
    all: Admissions,
    institution: String,
}

impl Admissions {
    fn take(&self, institution: &str) -> Option<Admission> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(institution.to_owned()).or_default();
        if *count >= OF_ONE_INSTITUTION {
            return None;
        }
        *count += 1;
        Some(Admission { all: self.clone(), institution: institution.to_owned() })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut counts = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.institution) {
            *count -= 1;
        }
    }
}

async fn connection(
    centre: &Arc<Clearing>,
    stream: TcpStream,
    settings: &TransportSettings,
    admissions: Admissions,
    mut opening: Opening,
) -> Result<(), SessionError> {
    stream.set_nodelay(true)?;
    match &settings.protection {
        Protection::Tls(config) => {
            let acceptor = TlsAcceptor::from(config.clone());
            let tls = opening.within(async { Ok(acceptor.accept(stream).await?) }).await?;
            let certificate = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let certificate = certificate.map(|leaf| pki::fingerprint(leaf));
            Session::new(centre, tls, settings, certificate, admissions).run(Some(opening)).await
        }
        Protection::MacOnly => {
            Session::new(centre, stream, settings, None, admissions).run(Some(opening)).await
        }
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
    admissions: Admissions,
    admission: Option<Admission>,
    /// The block of the frame that is being answered.
    sync: SyncBlock,
    /// The file that is being received.
    file: Option<Incoming>,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Session<'a, S> {
    fn new(
        centre: &'a Arc<Clearing>,
        stream: S,
        settings: &'a TransportSettings,
        certificate: Option<HexBytes>,
        admissions: Admissions,
    ) -> Self {
        let mac = SessionMac { keys: &*centre.keys, agreed: &settings.keys, chosen: Mutex::new(None) };
        let (decoder, sync) = (Decoder::default(), SyncBlock::numbered(0));
        let (admission, file) = (None, None);
        Self { centre, stream, settings, certificate, mac, decoder, admissions, admission, sync, file }
    }

    async fn run(mut self, opening: Option<Opening>) -> Result<(), SessionError> {
        let ended = self.conversation(opening).await;
        // What came before the connection broke need not come again.
        let stored = match &mut self.file {
            Some(file) => file.store(self.centre).await,
            None => Ok(()),
        };
        let ended = ended.and(stored.map_err(SessionError::from));
        match &ended {
            Ok(()) => drop(self.stream.shutdown().await),
            Err(error) => self.refuse(error).await,
        }
        ended
    }

    async fn conversation(&mut self, opening: Option<Opening>) -> Result<(), SessionError> {
        let first = match opening {
            Some(mut opening) => opening.within(self.read()).await?,
            None => self.read().await?,
        };
        match first {
            Some((sync, first @ Message::UploadRequest { .. })) => self.upload(sync, first).await,
            Some((sync, first)) => self.download(sync, first).await,
            None => Ok(()),
        }
    }

    /// Says why the conversation ends, as far as the other side listens.
    async fn refuse(&mut self, error: &SessionError) {
        let Some(outcome) = error.outcome() else { return };
        let Ok(body) = Message::Ack(outcome).encode() else { return };
        // Who shows no MAC is given none.
        let mac: &dyn FrameMac = if matches!(error, SessionError::Frame(_)) { &NoMac } else { &self.mac };
        let Ok(frame) = (Frame { sync: self.sync, body }).encode(mac) else { return };
        let told = async {
            self.stream.write_all(&frame).await?;
            self.stream.shutdown().await?;
            // Closing over bytes that were not read would take the refusal back.
            let mut unread = [0; 4 << 10];
            while self.stream.read(&mut unread).await? > 0 {}
            Ok::<(), io::Error>(())
        };
        tokio::select! {
            _ = told => {}
            () = self.centre.environment.timer.sleep(LINGER) => {}
        }
    }

    async fn read(&mut self) -> Result<Option<(SyncBlock, Message)>, SessionError> {
        let mut buffer = vec![0; 16 << 10];
        loop {
            self.sync = self.decoder.sync().unwrap_or(self.sync);
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

    /// The institution, if it is one, proves it, and has not too many connections.
    fn admit(&mut self, code: &str) -> Result<InstitutionId, Outcome> {
        let institution = self.proven(code).ok_or(Outcome::NotAdmitted)?;
        self.admission = Some(self.admissions.take(code).ok_or(Outcome::Unavailable)?);
        Ok(institution)
    }

    fn proven(&self, code: &str) -> Option<InstitutionId> {
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
                    let admitted = self.admit(&code);
                    if let Err(outcome) = &admitted {
                        warn!(code, %outcome, "an upload is not admitted");
                    }
                    let outcome = admitted.as_ref().err().copied().unwrap_or(Outcome::Done);
                    institution = admitted.ok();
                    host.admit(outcome)
                }
                ReceiverStep::Send(reply) => reply,
                ReceiverStep::File(info) => {
                    let (held, outcome) = self.announced(institution.as_ref(), &info).await?;
                    host.resume(held, outcome)
                }
                ReceiverStep::Block { bytes, .. } => {
                    if let Some(file) = &mut self.file {
                        file.push(self.centre, bytes).await?;
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
                let held = row.held;
                self.file = Some(Incoming::new(row, self.centre.now()));
                Ok((held, Outcome::Done))
            }
            Err(outcome) => Ok((0, outcome)),
        }
    }

    async fn whole(&mut self) -> Result<Outcome, SessionError> {
        let Some(mut file) = self.file.take() else { return Ok(Outcome::FileRefused) };
        match file.store(self.centre).await {
            Ok(()) => {}
            // Its bytes were forgotten, or another file has its place.
            Err(StorageError::Conflict { .. }) => return Ok(Outcome::Unavailable),
            Err(error) => return Err(error.into()),
        }
        let outcome = self.centre.check_whole(file.file()).await?;
        let key = file.file().key.clone();
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
                Served::Who { code, date, .. } => match self.admit(&code) {
                    Ok(institution) => {
                        let (keys, infos) = self.offered(&institution, date).await?;
                        files = keys;
                        vec![host.offer(infos, Outcome::Done)]
                    }
                    Err(outcome) => {
                        warn!(code, %outcome, "a download is not admitted");
                        vec![host.offer(Vec::new(), outcome)]
                    }
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
