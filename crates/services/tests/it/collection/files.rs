//! Files over the clearing transport and over HTTPS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tsm_api::HexBytes;
use tsm_api::clearing::collection::{
    FileContentQuery, FilePiece, FileRecord, FileStage, PageQuery, RowVerdict as Verdict, TerminalBatch,
    VerdictCount,
};
use tsm_api::clearing_files::{
    Kind, ProcessedFile, RejectRecord, SignedRows, TransactionRecord, read_file, write_file,
};
use tsm_api::clearing_transport::{FileInfo, NoMac, Outcome, TransportFault};
use tsm_api::client::files::{FileClient, FileTransferError, NamedFile, Organisation};
use tsm_api::problem::ProblemCode;
use tsm_api::signature::MessageSigner as _;
use tsm_domain::bytes::Sha256Digest;
use tsm_domain::money::reconciliation::Cause;
use tsm_services::clearing::Protection;
use tsm_storage::clearing::Settlements as _;
use tsm_storage::clearing::settlement::DifferenceQuery;

use super::world::{CITY, SIGNING, World, batch_of, code, connect, file_of, terminal, trips, upload};
use crate::purse_card::TERMINAL;

/// A line that breaks after so many bytes, both ways counted.
struct Cut {
    stream: TcpStream,
    left: usize,
}

impl Cut {
    fn broken() -> io::Error {
        io::Error::from(io::ErrorKind::ConnectionReset)
    }
}

impl AsyncRead for Cut {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Cut {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.left == 0 {
            return Poll::Ready(Err(Self::broken()));
        }
        let most = bytes.len().min(self.left);
        let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, &bytes[..most]))?;
        self.left -= written;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The file when every row has its verdict. The rows are taken beside the transfer; every round here asks.
pub async fn taken(world: &World, name: &str) -> FileRecord {
    world.centre.collect().await.unwrap();
    loop {
        let record = world.peer.file(name).await.unwrap();
        if record.stage != FileStage::Received {
            return record;
        }
    }
}

fn recorded(record: &FileRecord) -> u64 {
    let counts = record.counts.iter().filter(|count| count.verdict == Verdict::Recorded);
    counts.map(|count| count.rows).sum()
}

/// The line breaks after every single byte that the institution sends; each time another connection goes on,
/// and every transaction of every file is taken exactly once.
///
/// req: B-7.3.1.a
#[tokio::test]
async fn an_upload_cut_at_any_byte_is_resumed_and_taken_once() {
    let world = World::new().await;
    let server = world.file_server(Protection::MacOnly).await;
    let mac = world.mac();
    let mut spent = 0;
    let mut card = world.card(1, 50_000).await;
    let rows = trips(&mut card, 1, &[100, 100]);
    for cut in 1.. {
        // The same transactions under a new name: taken from the first file, duplicates in the others.
        let file = [file_of(&format!("UP{cut}"), &rows)];
        let line = Cut { stream: connect(&server).await, left: cut };
        let first = FileClient::new(line, &mac, CITY).upload(&file).await;
        match &first {
            Ok(refused) => assert_eq!(*refused, []),
            Err(FileTransferError::Io(_)) => {}
            Err(other) => panic!("{other}"),
        }
        if first.is_err() {
            assert_eq!(upload(&world, &server, &file).await, [], "cut after {cut} bytes");
        }
        let record = taken(&world, &file[0].name).await;
        assert_eq!((record.stage, record.rows_taken), (FileStage::Taken, 2), "cut after {cut} bytes");
        spent += recorded(&record);
        assert_eq!(spent, 2, "cut after {cut} bytes");
        if first.is_ok() {
            println!("an upload was cut at each of {} bytes", cut - 1);
            break;
        }
    }
    assert_eq!(world.spent().await, 200);
}

/// The same over HTTPS: a file in two pieces, cut at every byte.
#[tokio::test]
async fn a_file_in_pieces_is_taken_once() {
    let world = World::new().await;
    let mut card = world.card(1, 50_000).await;
    let rows = trips(&mut card, 1, &[100]);
    let whole = file_of("UP", &rows).content;
    let piece = |name: &str, from: usize, to: usize| FilePiece {
        name: name.to_owned(),
        size: whole.len() as u64,
        digest: HexBytes(Sha256Digest::of(&whole).0.to_vec()),
        offset: from as u64,
        content: HexBytes(whole[from..to].to_vec()),
    };
    for cut in 1..whole.len() {
        let name = format!("UP-{cut}");
        let first = world.peer.file_piece(&piece(&name, 0, cut)).await.unwrap();
        assert_eq!((first.held, first.stage), (cut as u64, FileStage::Receiving));
        let second = world.peer.file_piece(&piece(&name, cut, whole.len())).await.unwrap();
        assert_eq!(second.stage, FileStage::Taken, "cut at {cut}");
        let verdict = if cut == 1 { Verdict::Recorded } else { Verdict::Duplicate };
        assert_eq!(second.counts, [VerdictCount { verdict, rows: 1 }]);
    }
    assert_eq!(world.spent().await, 100);
    let again = world.peer.file_piece(&piece("UP-1", 0, 10)).await.unwrap();
    assert_eq!(again.stage, FileStage::Taken, "a piece of a file that is taken");
    let mut longer = piece("UP-1", 0, 10);
    longer.size += 1;
    assert_eq!(code(world.peer.file_piece(&longer).await), ProblemCode::Duplicate);
    let other_kind = piece("CL-1", 0, 10);
    assert_eq!(code(world.peer.file_piece(&other_kind).await), ProblemCode::ValueRefused);
    assert_eq!(code(world.other_peer().file("UP-1").await), ProblemCode::UnknownId, "another's file");
}

/// The files of a batch of the terminal with a key: what it signed, and the rows.
pub fn signed_files(world: &World, batch: &TerminalBatch, ending: &str) -> [NamedFile; 2] {
    let mut header = batch.header.clone();
    header.signature = Some(HexBytes(world.store_key.sign(&header.signed_bytes()).to_vec()));
    let number = terminal(SIGNING);
    let rows = batch.rows.iter().map(|row| TransactionRecord::of_row(number, row).unwrap());
    let signed = [SignedRows::of_header(&header).unwrap()];
    let named = |kind: Kind, text: String| NamedFile {
        name: format!("{}{ending}", kind.letters()),
        content: text.into_bytes(),
    };
    [
        named(Kind::Signatures, write_file(20_261_120, "CENTRE", &signed).unwrap()),
        named(Kind::Upload, write_file(20_261_120, "CENTRE", &rows.collect::<Vec<_>>()).unwrap()),
    ]
}

/// Rows of a terminal with a key are taken from a file only when what the terminal signed stands beside it, and is
/// true: all of its rows, these, and no others. What is refused stands in the reconciliation view. A file of another
/// terminal goes without, and so does one whose signatures come late, as soon as they are there.
#[tokio::test]
async fn a_file_of_a_terminal_with_a_key_is_taken_as_it_was_signed() {
    let world = World::new().await;
    let server = world.file_server(Protection::MacOnly).await;
    let mut card = world.card(1, 5_000).await;
    // Entries take nothing, and their TAC is that of another terminal, so that each is kept aside when it is taken.
    let batch = batch_of(SIGNING, 1, &trips(&mut card, 1, &[0, 0, 0]));
    let one_less = batch_of(SIGNING, 1, &batch.rows[..2]);
    let one_more = batch_of(SIGNING, 1, &[&batch.rows[..], &batch.rows[..1]].concat());
    let mut other = batch_of(SIGNING, 1, &batch.rows);
    other.rows[1].balance_fen += 1;
    let files = |ending: &str| signed_files(&world, &batch, ending);
    let taken = async |ending: &str| world.peer.file(&format!("UP{ending}")).await.unwrap();

    let altered = [("less", &one_less), ("more", &one_more), ("other", &other)];
    for (ending, rows) in altered {
        let [signatures, _] = files(ending);
        let [_, upload_of] = signed_files(&world, rows, ending);
        let refused = upload(&world, &server, &[signatures, upload_of]).await;
        assert_eq!(refused, [(1, Outcome::FileRefused)], "{ending}");
        let record = taken(ending).await;
        assert_eq!((record.stage, record.rows_taken), (FileStage::Refused, 0), "{ending}");
    }
    // Somebody else's key.
    let mut header = batch.header.clone();
    header.signature = Some(HexBytes(world.city.signer.sign(&header.signed_bytes()).to_vec()));
    let forged = write_file(20_261_120, "CENTRE", &[SignedRows::of_header(&header).unwrap()]).unwrap();
    let [_, rows] = files("forged");
    let forged = NamedFile { name: "SGforged".into(), content: forged.into_bytes() };
    assert_eq!(upload(&world, &server, &[forged, rows]).await, [(1, Outcome::FileRefused)]);
    let [_, unreadable] = files("bad");
    let unreadable = NamedFile { name: "SGbad".into(), ..unreadable };
    assert_eq!(upload(&world, &server, &[unreadable]).await, [(0, Outcome::FileRefused)]);

    // Without signatures the file waits for them.
    let [signatures, rows] = files("late");
    assert_eq!(upload(&world, &server, std::slice::from_ref(&rows)).await, [(0, Outcome::Unavailable)]);
    assert_eq!(taken("late").await.stage, FileStage::Receiving);
    assert_eq!(upload(&world, &server, &[signatures, rows]).await, []);
    world.centre.collect().await.unwrap();
    let record = taken("late").await;
    assert_eq!((record.stage, record.rows_taken), (FileStage::Taken, 3));
    // A terminal without a key has nothing to sign with.
    let plain = [file_of("UPplain", &trips(&mut card, 1, &[100]))];
    assert_eq!(upload(&world, &server, &plain).await, []);
    world.centre.collect().await.unwrap();
    assert_eq!(world.spent().await, 100);

    world.centre.work().await;
    let query = DifferenceQuery { cause: Some(Cause::BatchRefused), ..DifferenceQuery::default() };
    let listed = world.store.differences(&query, 100).await.unwrap();
    for name in ["UPless", "UPmore", "UPother", "UPforged", "UPlate"] {
        assert!(
            listed.iter().any(|one| one.text.contains(&format!("file {name} of CITY"))),
            "{name}: {listed:?}"
        );
    }
    assert!(listed.iter().any(|one| one.text.contains("file SGbad of CITY")), "{listed:?}");
    assert_eq!(listed.len(), 6, "{listed:?}");
}

/// Batches of several terminals may stand in one file, and several of one terminal.
#[tokio::test]
async fn a_file_may_hold_many_batches() {
    let world = World::new().await;
    let mut card = world.card(1, 5_000).await;
    let rows = trips(&mut card, 1, &[0, 0, 0]);
    let batches = [batch_of(SIGNING, 4, &rows[..1]), batch_of(SIGNING, 5, &rows[1..])];
    let signed: Vec<_> = batches
        .iter()
        .map(|batch| {
            let mut header = batch.header.clone();
            header.signature = Some(HexBytes(world.store_key.sign(&header.signed_bytes()).to_vec()));
            SignedRows::of_header(&header).unwrap()
        })
        .collect();
    let of = |number, row| TransactionRecord::of_row(terminal(number), row).unwrap();
    let paid = trips(&mut card, 1, &[100]);
    let records =
        [of(SIGNING, &rows[0]), of(TERMINAL, &paid[0]), of(SIGNING, &rows[1]), of(SIGNING, &rows[2])];
    let whole = [
        ("SG-all", write_file(20_261_120, "CENTRE", &signed).unwrap()),
        ("UP-all", write_file(20_261_120, "CENTRE", &records).unwrap()),
    ];
    for (name, text) in whole {
        let piece = FilePiece {
            name: name.into(),
            size: text.len() as u64,
            digest: HexBytes(Sha256Digest::of(text.as_bytes()).0.to_vec()),
            offset: 0,
            content: HexBytes(text.into_bytes()),
        };
        assert_eq!(world.peer.file_piece(&piece).await.unwrap().stage, FileStage::Taken, "{name}");
    }
    assert_eq!(world.peer.file("UP-all").await.unwrap().rows_taken, 4);
    assert_eq!(world.spent().await, 100);
}

#[tokio::test]
async fn a_wrong_digest_or_another_content_is_refused() {
    let world = World::new().await;
    let server = world.file_server(Protection::MacOnly).await;
    let mac = world.mac();
    let mut card = world.card(1, 5_000).await;
    let rows = trips(&mut card, 1, &[100, 200]);
    let file = file_of("UP1", &rows);
    let announced = FileInfo {
        name: "UP1".into(),
        digest: Sha256Digest::of(&file.content),
        size: file.content.len() as u64,
    };
    let again = announced.clone();
    // The bytes on the way are not those that were announced.
    let mut changed = file.clone();
    changed.content[400] ^= 1;
    let mut client = FileClient::new(connect(&server).await, &mac, CITY);
    let refused = client.upload_as(vec![again], &[changed]).await.unwrap();
    assert_eq!(refused, [(0, Outcome::DigestWrong)]);
    let record = world.peer.file("UP1").await.unwrap();
    assert_eq!((record.stage, record.held), (FileStage::Receiving, 0), "its bytes are forgotten");
    assert_eq!(world.spent().await, 0);
    // Nothing is here under the name, so it can be announced anew, with another digest, too.
    let wrong = FileInfo { digest: Sha256Digest::of(b"something else"), ..announced };
    let mut client = FileClient::new(connect(&server).await, &mac, CITY);
    let refused = client.upload_as(vec![wrong], std::slice::from_ref(&file)).await.unwrap();
    assert_eq!(refused, [(0, Outcome::DigestWrong)]);
    world.centre.work().await;
    assert_eq!(refusals(&world, "open").await.len(), 2, "each stands in the view");
    // The right bytes come after all; a second time they are known, and other files go on.
    let second = file_of("UP2", &rows[..1]);
    assert_eq!(upload(&world, &server, &[file.clone(), second]).await, []);
    assert_eq!(upload(&world, &server, std::slice::from_ref(&file)).await, []);
    assert_eq!(recorded(&taken(&world, "UP1").await) + recorded(&taken(&world, "UP2").await), 2);
    assert_eq!(world.spent().await, 300);
    world.centre.work().await;
    assert_eq!(refusals(&world, "open").await, Vec::<String>::new(), "the right file has come");
    assert_eq!(refusals(&world, "explained").await.len(), 2);
    // A file of another size or content under a name that is known.
    let other = NamedFile { name: "UP1".into(), content: file_of("UP1", &rows[..1]).content };
    assert_eq!(upload(&world, &server, &[other]).await, [(0, Outcome::SizeConflict)]);
    // What is no file of records is refused as a whole, and stays refused.
    let odd = NamedFile { name: "UP3".into(), content: file.content[..file.content.len() - 1].to_vec() };
    for _ in 0..2 {
        let refused = upload(&world, &server, std::slice::from_ref(&odd)).await;
        assert_eq!(refused, [(0, Outcome::FileRefused)]);
    }
    let record = world.peer.file("UP3").await.unwrap();
    assert_eq!(record.stage, FileStage::Refused);
    assert!(record.refused.unwrap().contains("the file ends early"));
}

/// What the reconciliation view says of refused files.
pub async fn refusals(world: &World, state: &str) -> Vec<String> {
    let query = DifferenceQuery {
        cause: Some(Cause::BatchRefused),
        state: Some(state.into()),
        ..DifferenceQuery::default()
    };
    let found = world.store.differences(&query, 1_000).await.unwrap();
    found.into_iter().map(|one| one.text).collect()
}

/// A file that was cut before it was announced, at any byte, or that says of itself what is not so: refused as a
/// whole with line and reason, in the view and to the institution, and no money moves. The right file under the same
/// name ends it, and is taken once.
#[tokio::test]
async fn a_refused_file_is_in_the_view_until_the_right_one_comes() {
    let world = World::new().await;
    let server = world.file_server(Protection::MacOnly).await;
    let mac = world.mac();
    let mut card = world.card(1, 5_000).await;
    let rows = trips(&mut card, 1, &[100, 200]);
    let whole = file_of("UP", &rows).content;
    let altered = |at: usize, with: &[u8]| {
        let mut content = whole.clone();
        content[at..at + with.len()].copy_from_slice(with);
        content
    };
    let mut wrong: Vec<Vec<u8>> = (1..whole.len()).step_by(7).map(|cut| whole[..cut].to_vec()).collect();
    wrong.push(altered(3, b"000003"));
    wrong.push(altered(17, b"ELSEWHERE  "));
    wrong.push(altered(0, b"02"));
    let file =
        |number: usize, content: &[u8]| NamedFile { name: format!("UP{number}"), content: content.to_vec() };
    let cut: Vec<_> = wrong.iter().enumerate().map(|(number, content)| file(number, content)).collect();
    let refused = upload(&world, &server, &cut).await;
    assert_eq!(refused, (0..cut.len()).map(|place| (place, Outcome::FileRefused)).collect::<Vec<_>>());
    world.centre.work().await;
    world.centre.work().await;
    let mut told = refusals(&world, "open").await;
    assert_eq!(told.len(), cut.len(), "each, and once");
    assert!(told.iter().all(|text| text.contains(" of CITY: line ")), "{told:?}");
    told.sort();
    assert!(told.iter().any(|text| text.contains("the receiver is \"ELSEWHERE\", and this is CENTRE")));
    assert!(told.iter().any(|text| text.contains("line 5: the header promises 3 records")), "{told:?}");
    assert_eq!(world.spent().await, 0);

    // The institution reads the same in an LD and an FB.
    let got = FileClient::new(connect(&server).await, &mac, CITY).download(0, Vec::new()).await.unwrap();
    assert_eq!(got.len(), 2 * cut.len());
    let digest = Sha256Digest::of(&cut[1].content).to_string();
    let of = |kind: &str| {
        let name = format!("{kind}1~{}", &digest[..8]);
        &got.iter().find(|file| file.name == name).unwrap_or_else(|| panic!("{name}")).content
    };
    let (_, processed) = read_file::<ProcessedFile>(of("LD")).unwrap();
    assert_eq!((processed[0].name.as_str(), processed[0].result, processed[0].taken), ("UP1", 3, 0));
    let (_, why) = read_file::<RejectRecord>(of("FB")).unwrap();
    assert_eq!((why[0].centre_serial, why[0].error, why[0].text.as_str()), (0, 8, "line 2: ends early"));

    // The same again is still refused, and is no second difference; the right file ends it.
    assert_eq!(upload(&world, &server, &cut[..1]).await, [(0, Outcome::FileRefused)]);
    let right: Vec<_> = (0..cut.len()).map(|number| file(number, &whole)).collect();
    assert_eq!(upload(&world, &server, &right).await, []);
    world.centre.collect().await.unwrap();
    world.centre.work().await;
    assert_eq!(refusals(&world, "open").await, Vec::<String>::new());
    assert_eq!(refusals(&world, "explained").await.len(), cut.len());
    assert_eq!(world.incidents().await, Vec::<String>::new());
    assert_eq!(world.spent().await, 300, "the transactions of all of them, once");
}

/// A name is never a path, in or out.
#[tokio::test]
async fn a_name_that_is_a_path_is_refused() {
    let world = World::new().await;
    let server = world.file_server(Protection::MacOnly).await;
    let mut card = world.card(1, 5_000).await;
    let rows = trips(&mut card, 1, &[100]);
    for name in ["UP/../../../tmp/x", "UP..", "UP\\x", "UP a", "UP~1"] {
        assert_eq!(
            upload(&world, &server, &[file_of(name, &rows)]).await,
            [(0, Outcome::FileRefused)],
            "{name}"
        );
    }
    world.centre.collect().await.unwrap();
    assert_eq!(world.peer.results().await.unwrap().files, []);
    assert_eq!(world.spent().await, 0);
}

#[tokio::test]
async fn nobody_transfers_without_proof_of_who_it_is() {
    let world = World::new().await;
    let server = world.file_server(Protection::MacOnly).await;
    let mac = world.mac();
    let mut card = world.card(1, 5_000).await;
    let file = [file_of("UP1", &trips(&mut card, 1, &[100]))];
    // Another institution has no key on this line; the city's name without its key is no frame at all.
    let other = Organisation { name: "Other", code: "OTHER" };
    let refused = FileClient::new(connect(&server).await, &NoMac, other).upload(&file).await;
    assert!(matches!(refused, Err(FileTransferError::Fault(_))), "{refused:?}");
    let forged = FileClient::new(connect(&server).await, &NoMac, CITY).upload(&file).await;
    let not_admitted = TransportFault::Refused(Outcome::NotAdmitted);
    assert!(matches!(forged, Err(FileTransferError::Fault(told)) if told == not_admitted));
    let download = FileClient::new(connect(&server).await, &NoMac, other).download(0, Vec::new()).await;
    assert!(matches!(download, Err(FileTransferError::Fault(_))), "{download:?}");
    assert_eq!(code(world.peer.file("UP1").await), ProblemCode::UnknownId);
    assert_eq!(FileClient::new(connect(&server).await, &mac, CITY).upload(&file).await.unwrap(), []);

    // Over TLS the certificate says who it is, and no key is needed.
    let trust = world.net.authority.trust().unwrap();
    let tls = world.net.authority.issue("files").unwrap().server_config(&trust).unwrap();
    let server = world.file_server(Protection::Tls(tls)).await;
    let dial = async |of: &crate::institution::Institution| {
        let config = of.identity.client_config(&trust).unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        tokio_rustls::TlsConnector::from(config).connect(name, connect(&server).await).await.unwrap()
    };
    let second = [file_of("UP2", &trips(&mut card, 2, &[100]))];
    let stolen = FileClient::new(dial(&world.other).await, &NoMac, CITY).upload(&second).await;
    assert!(matches!(stolen, Err(FileTransferError::Fault(_))), "{stolen:?}");
    let own = FileClient::new(dial(&world.city).await, &NoMac, CITY).upload(&second).await;
    assert_eq!(own.unwrap(), []);
    taken(&world, "UP2").await;
    assert_eq!(world.spent().await, 200);
}

/// For each file the institution gets back what was cleared, what was not and why, and that it was processed;
/// over the transport, from any byte on, and over HTTPS.
#[tokio::test]
async fn an_institution_gets_back_what_became_of_its_file() {
    let world = World::new().await;
    let server = world.file_server(Protection::MacOnly).await;
    let mac = world.mac();
    let mut card = world.card(1, 5_000).await;
    let mut rows = trips(&mut card, 1, &[100, 200]);
    rows[0].tac = Some(HexBytes(vec![0; 4]));
    let mut file = file_of("UP7", &rows);
    // A line that cannot be read counts as rejected and hinders no other.
    let broken = file_of("UP7", &rows[..1]).content.split_off(53);
    file.content.extend(broken);
    file.content[3..9].copy_from_slice(b"000003");
    let at = file.content.len() - 200;
    file.content[at] = b'?';
    assert_eq!(upload(&world, &server, std::slice::from_ref(&file)).await, []);
    let record = taken(&world, "UP7").await;
    assert_eq!((record.rows_taken, record.counts.len()), (3, 3), "{record:?}");
    let page = world.peer.quarantine(&PageQuery::default()).await.unwrap();
    assert_eq!(page.entries.len(), 2);
    let unread = page.entries.iter().find(|entry| entry.row.is_none()).unwrap();
    assert_eq!(
        (unread.reason, unread.line, unread.field.as_deref()),
        (Verdict::Malformed, Some(5), Some("error text"))
    );

    let client = || async { FileClient::new(connect(&server).await, &mac, CITY) };
    let got = client().await.download(0, Vec::new()).await.unwrap();
    let names: Vec<_> = got.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["CL7", "FB7", "LD7"]);
    let (_, cleared) = read_file::<TransactionRecord>(&got[0].content).unwrap();
    assert_eq!((cleared.len(), cleared[0].amount_fen, cleared[0].centre_serial), (1, 200, 2));
    let (_, rejected) = read_file::<RejectRecord>(&got[1].content).unwrap();
    let why: Vec<_> = rejected.iter().map(|one| (one.centre_serial, one.error, one.text.as_str())).collect();
    assert_eq!(why, [(1, 1, "the TAC is wrong"), (3, 7, "line 5: error text")]);
    let (_, processed) = read_file::<ProcessedFile>(&got[2].content).unwrap();
    assert_eq!((processed[0].records, processed[0].taken, processed[0].rejected), (3, 1, 2));
    assert_eq!(processed[0].digest, Sha256Digest::of(&file.content));

    for held in [0, 1, 52, 53, 300, got[0].content.len()] {
        let begun = NamedFile { name: "CL7".into(), content: got[0].content[..held].to_vec() };
        let again = client().await.download(0, vec![begun]).await.unwrap();
        assert_eq!(again[0], got[0], "from byte {held}");
    }
    let wrong = NamedFile { name: "CL7".into(), content: vec![b'x'; 10] };
    let again = client().await.download(0, vec![wrong]).await.unwrap();
    assert!(again.iter().all(|file| file.name != "CL7"), "its beginning was of something else");
    assert_eq!(client().await.download(19_990_101, Vec::new()).await.unwrap(), [], "nothing of that day");

    let listed = world.peer.results().await.unwrap().files;
    assert_eq!(listed.len(), 3);
    let content = world.peer.file_content("LD7", &FileContentQuery { offset: 10 }).await.unwrap();
    assert_eq!(content.content.as_bytes(), &got[2].content[10..]);
    assert_eq!(world.other_peer().results().await.unwrap().files, []);
    let foreign = world.other_peer().file_content("LD7", &FileContentQuery { offset: 0 }).await;
    assert_eq!(code(foreign), ProblemCode::UnknownId);
    assert_eq!(
        code(world.peer.file_content("UP7", &FileContentQuery { offset: 0 }).await),
        ProblemCode::UnknownId
    );
}
