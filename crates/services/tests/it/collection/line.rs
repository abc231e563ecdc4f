//! The file line and clients that are not ours: what is malformed is answered with its reason, and silent
//! strangers keep nobody out.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tsm_api::clearing_transport::{
    BlockKind, Decoder, FileInfo, Frame, FrameMac, Message, NoMac, Outcome, SyncBlock,
};
use tsm_api::client::files::FileClient;
use tsm_domain::bytes::Sha256Digest;
use tsm_services::clearing::{FileServer, Protection};

use super::world::{CITY, CityMac, World, connect, file_of, trips};
use crate::manual_time::ManualTime;

/// A client that says whatever it likes.
pub struct Raw {
    stream: TcpStream,
    mac: CityMac,
    decoder: Decoder,
    turn: u64,
}

impl Raw {
    pub async fn to(world: &World, server: &FileServer) -> Self {
        let (stream, mac) = (connect(server).await, world.mac());
        Self { stream, mac, decoder: Decoder::default(), turn: 0 }
    }

    async fn send(&mut self, body: Vec<u8>, mac: &dyn FrameMac) {
        self.turn += 1;
        let frame = Frame { sync: SyncBlock::numbered(self.turn), body };
        self.stream.write_all(&frame.encode(mac).unwrap()).await.unwrap();
    }

    /// The next message under this MAC; none when the line has ended.
    async fn receive(&mut self, mac: &dyn FrameMac) -> Option<Message> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(frame) = self.decoder.next(mac).unwrap() {
                assert_eq!(frame.sync, SyncBlock::numbered(self.turn), "the block of its request");
                return Some(Message::decode(&frame.body).unwrap());
            }
            match self.stream.read(&mut buffer).await.unwrap() {
                0 => return None,
                count => self.decoder.push(&buffer[..count]),
            }
        }
    }

    pub async fn say(&mut self, message: &Message) -> Option<Message> {
        self.say_body(message.encode().unwrap()).await
    }

    async fn say_body(&mut self, body: Vec<u8>) -> Option<Message> {
        let mac = CityMac(self.mac.0.clone());
        self.send(body, &mac).await;
        self.receive(&mac).await
    }

    pub async fn announce(&mut self, count: u16) {
        let request = Message::UploadRequest { organisation: CITY.name.into(), code: CITY.code.into() };
        assert_eq!(self.say(&request).await, Some(Message::Ack(Outcome::Done)));
        let count = Message::Count { files: count, outcome: Outcome::Done };
        assert_eq!(self.say(&count).await, Some(Message::Ack(Outcome::Done)));
    }

    async fn is_closed(&mut self) -> bool {
        self.receive(&NoMac).await.is_none()
    }
}

pub fn info(name: &str, content: &[u8]) -> FileInfo {
    FileInfo { name: name.into(), digest: Sha256Digest::of(content), size: content.len() as u64 }
}

/// Each ends with a 4008 that says what was wrong, under the block of the request, and then the line ends.
#[tokio::test]
async fn what_is_malformed_is_answered_before_the_line_ends() {
    let world = World::new().await;
    let server = world.file_server(Protection::MacOnly).await;
    let content = b"0123456789";
    let data = |kind, block: &[u8]| Message::Data { kind, block: block.to_vec() }.encode().unwrap();
    let mut padded = Message::File(info("UP1", content)).encode().unwrap();
    padded[120..312].fill(b'F');
    // After the request and the count.
    for (wrong, outcome) in [
        (padded, Outcome::Malformed),
        (b"014999".to_vec(), Outcome::Malformed),
        (Message::End.encode().unwrap(), Outcome::Malformed),
        (data(BlockKind::Last, content), Outcome::Malformed),
    ] {
        let mut line = Raw::to(&world, &server).await;
        line.announce(1).await;
        assert_eq!(line.say_body(wrong).await, Some(Message::Ack(outcome)));
        assert!(line.is_closed().await);
    }
    // After the announcement of a file.
    for (number, wrong) in [
        Message::End.encode().unwrap(),
        data(BlockKind::Last, &content[..9]),
        data(BlockKind::More, content),
        data(BlockKind::Last, b"0123456789x"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut line = Raw::to(&world, &server).await;
        line.announce(1).await;
        let resumed = line.say(&Message::File(info(&format!("UP{number}"), content))).await;
        assert_eq!(resumed, Some(Message::Resume { held: 0, outcome: Outcome::Done }));
        assert_eq!(line.say_body(wrong).await, Some(Message::Ack(Outcome::SizeConflict)), "{number}");
        assert!(line.is_closed().await);
    }
    // Before anything: who has no key is told so without one.
    let mut line = Raw::to(&world, &server).await;
    let request = Message::UploadRequest { organisation: CITY.name.into(), code: CITY.code.into() };
    line.send(request.encode().unwrap(), &NoMac).await;
    assert_eq!(line.receive(&NoMac).await, Some(Message::Ack(Outcome::NotAdmitted)));
    assert!(line.is_closed().await);
    let mut line = Raw::to(&world, &server).await;
    line.stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(line.receive(&NoMac).await, Some(Message::Ack(Outcome::Malformed)));
    assert!(line.is_closed().await);
}

/// The digest as Python and Java print it.
#[tokio::test]
async fn a_digest_in_small_letters_is_one() {
    let world = World::new().await;
    let server = world.file_server(Protection::MacOnly).await;
    let mut card = world.card(1, 5_000).await;
    let file = file_of("UP1", &trips(&mut card, 1, &[100]));
    let mut line = Raw::to(&world, &server).await;
    line.announce(1).await;
    let mut body = Message::File(info("UP1", &file.content)).encode().unwrap();
    let digest = body[56..120].to_owned();
    body[56..120].make_ascii_lowercase();
    assert_ne!(body[56..120], digest[..]);
    let resumed = line.say_body(body).await;
    assert_eq!(resumed, Some(Message::Resume { held: 0, outcome: Outcome::Done }));
    let data = Message::Data { kind: BlockKind::Last, block: file.content };
    assert_eq!(line.say(&data).await, Some(Message::Ack(Outcome::Done)));
    assert_eq!(line.say(&Message::End).await, Some(Message::Ack(Outcome::Done)));
}

/// Three hundred connections that never say a word, on a clock that never moves, so that none of them times out: an
/// institution gets in beside them, and the one that has waited longest is gone.
#[tokio::test]
async fn silent_strangers_keep_no_institution_out() {
    let world = World::in_environment(ManualTime::new().environment()).await;
    let trust = world.net.authority.trust().unwrap();
    let tls = world.net.authority.issue("files").unwrap().server_config(&trust).unwrap();
    let server = world.file_server(Protection::Tls(tls)).await;
    let mut strangers = Vec::new();
    for _ in 0..300 {
        strangers.push(connect(&server).await);
    }
    let mut card = world.card(1, 5_000).await;
    let file = [file_of("UP1", &trips(&mut card, 1, &[100]))];
    let config = world.city.identity.client_config(&trust).unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let line = tokio_rustls::TlsConnector::from(config).connect(name, connect(&server).await).await.unwrap();
    assert_eq!(FileClient::new(line, &NoMac, CITY).upload(&file).await.unwrap(), []);
    let mut byte = [0];
    let ended = strangers[0].read(&mut byte).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "it made room");
}

/// An institution has so many lines at once; one more is told to come again.
#[tokio::test]
async fn an_institution_has_so_many_lines() {
    let world = World::new().await;
    let server = world.file_server(Protection::MacOnly).await;
    let mut lines = Vec::new();
    for _ in 0..32 {
        let mut line = Raw::to(&world, &server).await;
        line.announce(1).await;
        lines.push(line);
    }
    let request = Message::UploadRequest { organisation: CITY.name.into(), code: CITY.code.into() };
    let mut more = Raw::to(&world, &server).await;
    assert_eq!(more.say(&request).await, Some(Message::Ack(Outcome::Unavailable)));
    assert!(more.is_closed().await);
    lines.pop();
    // The server hears of the end a moment later.
    while Raw::to(&world, &server).await.say(&request).await != Some(Message::Ack(Outcome::Done)) {}
}
