//! Files over lines that break, and what somebody else began under their names: an honest file is taken under its
//! own name in the end, and one that does not end is in the view.

use jiff::SignedDuration;
use tsm_api::HexBytes;
use tsm_api::clearing::collection::{FilePiece, FileStage};
use tsm_api::clearing_files::{SignedRows, TransactionRecord, write_file};
use tsm_api::clearing_transport::{BlockKind, FileInfo, Message, Outcome};
use tsm_api::client::files::NamedFile;
use tsm_api::signature::MessageSigner as _;
use tsm_domain::bytes::Sha256Digest;
use tsm_domain::money::reconciliation::Cause;
use tsm_services::clearing::{FileServer, Protection};
use tsm_storage::clearing::Settlements as _;
use tsm_storage::clearing::settlement::DifferenceQuery;

use super::files::{refusals, signed_files, taken};
use super::line::{Raw, info};
use super::world::{SIGNING, World, batch_of, file_of, terminal, trips, upload};
use crate::manual_time::ManualTime;
use crate::purse_card::TERMINAL;

const DONE: Option<Message> = Some(Message::Ack(Outcome::Done));

/// A line on which this file is announced, which begins at its first byte.
async fn begun(world: &World, server: &FileServer, info: FileInfo) -> Raw {
    let mut line = Raw::to(world, server).await;
    line.announce(1).await;
    let resumed = line.say(&Message::File(info)).await;
    assert_eq!(resumed, Some(Message::Resume { held: 0, outcome: Outcome::Done }));
    line
}

async fn send(line: &mut Raw, kind: BlockKind, block: &[u8]) -> Option<Message> {
    line.say(&Message::Data { kind, block: block.to_vec() }).await
}

/// The line ends, and the centre has put what came over it into the store.
async fn break_off(world: &World, line: Raw, name: &str, held: usize) {
    drop(line);
    while world.peer.file(name).await.unwrap().held != held as u64 {}
}

fn one(file: &NamedFile) -> &[NamedFile] {
    std::slice::from_ref(file)
}

fn piece(file: &NamedFile, from: usize, to: usize) -> FilePiece {
    FilePiece {
        name: file.name.clone(),
        size: file.content.len() as u64,
        digest: HexBytes(Sha256Digest::of(&file.content).0.to_vec()),
        offset: from as u64,
        content: HexBytes(file.content[from..to].to_vec()),
    }
}

/// The last bytes of a line that broke reach the store when the next line has been told already where to go on. They
/// are the same bytes, so that line is not told that they contradict it, wherever the first one broke.
///
/// req: B-7.3.1.a
#[tokio::test]
async fn a_line_that_ends_late_contradicts_nobody() {
    let world = World::new().await;
    let server = world.file_server(Protection::MacOnly).await;
    let mut card = world.card(1, 5_000).await;
    let rows = trips(&mut card, 1, &[100]);
    let whole = file_of("UP", &rows).content.len();
    for came in [1, 300, whole - 1, whole] {
        let file = file_of(&format!("UP{came}"), &rows);
        let announced = || info(&file.name, &file.content);
        let kind = if came == whole { BlockKind::Last } else { BlockKind::More };
        let mut first = begun(&world, &server, announced()).await;
        assert_eq!(send(&mut first, kind, &file.content[..came]).await, DONE);
        let mut second = begun(&world, &server, announced()).await;
        assert_eq!(send(&mut second, BlockKind::More, &file.content[..200]).await, DONE);
        break_off(&world, first, &file.name, came).await;
        assert_eq!(send(&mut second, BlockKind::Last, &file.content[200..]).await, DONE, "{came}");
        assert_eq!(second.say(&Message::End).await, DONE, "{came}");
        assert_eq!(taken(&world, &file.name).await.rows_taken, 1, "{came}");
        assert_eq!(upload(&world, &server, one(&file)).await, [], "as before");
    }
    assert_eq!(world.spent().await, 100);
    assert_eq!(refusals(&world, "open").await, Vec::<String>::new());
}

/// An announcement that was altered, in its digest or in its size, keeps its name for as long as its bytes come and
/// two minutes longer. Until then the honest file is told to come again, and then it is taken.
#[tokio::test]
async fn an_altered_announcement_does_not_keep_an_honest_file_out() {
    let time = ManualTime::new();
    let world = World::in_environment(time.environment()).await;
    let server = world.file_server(Protection::MacOnly).await;
    let mut card = world.card(1, 5_000).await;
    let rows = trips(&mut card, 1, &[100]);
    let honest = |number: usize| file_of(&format!("UP{number}"), &rows);
    let altered = |number: usize| {
        let file = honest(number);
        let info = info(&file.name, &file.content);
        match number {
            0 => FileInfo { size: info.size + 1, ..info },
            1 => FileInfo { size: info.size - 1, ..info },
            _ => FileInfo { digest: Sha256Digest::of(b"something else"), ..info },
        }
    };
    for number in 0..3 {
        let file = honest(number);
        let mut line = begun(&world, &server, altered(number)).await;
        assert_eq!(send(&mut line, BlockKind::More, &file.content[..300]).await, DONE);
        break_off(&world, line, &file.name, 300).await;
        assert_eq!(upload(&world, &server, one(&file)).await, [(0, Outcome::Unavailable)]);
        time.pass(SignedDuration::from_secs(119));
        assert_eq!(upload(&world, &server, one(&file)).await, [(0, Outcome::Unavailable)]);
        time.pass(SignedDuration::from_secs(1));
        assert_eq!(upload(&world, &server, one(&file)).await, []);
        assert_eq!(taken(&world, &file.name).await.rows_taken, 1, "{number}");
    }
    // One of which no byte is stored yet gives way at once, and what it still says is not taken for the file.
    let file = honest(4);
    let mut line = begun(&world, &server, altered(4)).await;
    assert_eq!(send(&mut line, BlockKind::More, &[b'x'; 300]).await, DONE);
    assert_eq!(upload(&world, &server, one(&file)).await, []);
    assert_eq!(send(&mut line, BlockKind::Last, &file.content[300..]).await, DONE);
    let told = line.say(&Message::End).await;
    assert_eq!(told, Some(Message::Ack(Outcome::Unavailable)));
    assert_eq!(taken(&world, &file.name).await.rows_taken, 1);
    assert_eq!(world.spent().await, 100);
    assert_eq!(refusals(&world, "open").await, Vec::<String>::new());
}

/// The files of three entries that a terminal with a key signed and of a purchase of one without: what the terminal
/// signed, what somebody else signed in its place, and the rows.
async fn forged_and_signed(world: &World, ending: &str) -> (NamedFile, NamedFile, NamedFile) {
    let mut card = world.card(1, 5_000).await;
    let batch = batch_of(SIGNING, 1, &trips(&mut card, 1, &[0, 0, 0]));
    let [signed, _] = signed_files(world, &batch, ending);
    let mut header = batch.header.clone();
    header.signature = Some(HexBytes(world.city.signer.sign(&header.signed_bytes()).to_vec()));
    let forged = write_file(20_261_120, "CENTRE", &[SignedRows::of_header(&header).unwrap()]).unwrap();
    let forged = NamedFile { name: signed.name.clone(), content: forged.into_bytes() };
    let of = |number, row| TransactionRecord::of_row(terminal(number), row).unwrap();
    let mut records: Vec<_> = batch.rows.iter().map(|row| of(SIGNING, row)).collect();
    records.extend(trips(&mut card, 1, &[100]).iter().map(|row| of(TERMINAL, row)));
    let rows = write_file(20_261_120, "CENTRE", &records).unwrap().into_bytes();
    (forged, signed, NamedFile { name: format!("UP{ending}"), content: rows })
}

/// A file that was refused for its signatures comes again under its name, with others, over the line and over HTTPS.
/// Nothing of it was taken before; it is taken once, and what is taken stays as it was signed.
#[tokio::test]
async fn a_file_refused_for_its_signatures_comes_again_under_its_name() {
    let world = World::new().await;
    let server = world.file_server(Protection::MacOnly).await;
    let (forged, signed, rows) = forged_and_signed(&world, "1").await;
    let pair = |signatures: &NamedFile| [signatures.clone(), rows.clone()];
    assert_eq!(upload(&world, &server, &pair(&forged)).await, [(1, Outcome::FileRefused)]);
    assert_eq!(upload(&world, &server, &pair(&forged)).await, [(1, Outcome::FileRefused)], "with the same");
    world.centre.work().await;
    assert_eq!(refusals(&world, "open").await.len(), 1, "once");
    assert_eq!(world.spent().await, 0);

    assert_eq!(upload(&world, &server, &pair(&signed)).await, []);
    let record = taken(&world, "UP1").await;
    assert_eq!((record.stage, record.rows_taken), (FileStage::Taken, 4));
    assert_eq!(world.spent().await, 100);
    world.centre.work().await;
    assert_eq!(refusals(&world, "open").await, Vec::<String>::new());
    assert_eq!(refusals(&world, "explained").await.len(), 1);
    // It is taken: its signatures stay, and the file is answered as before.
    assert_eq!(upload(&world, &server, &pair(&forged)).await, [(0, Outcome::SizeConflict)]);
    assert_eq!(upload(&world, &server, &pair(&signed)).await, []);

    // The same rows under another name, over HTTPS: refused, signed, and each a duplicate.
    let named = |file: &NamedFile| NamedFile { name: file.name.replace('1', "2"), ..file.clone() };
    let (forged, signed, rows) = (named(&forged), named(&signed), named(&rows));
    let bring = async |file: &NamedFile, from: usize| {
        world.peer.file_piece(&piece(file, from, file.content.len())).await.unwrap().stage
    };
    assert_eq!(bring(&forged, 0).await, FileStage::Taken);
    assert_eq!(bring(&rows, 0).await, FileStage::Refused);
    assert_eq!(bring(&signed, 0).await, FileStage::Taken);
    assert_eq!(bring(&rows, rows.content.len()).await, FileStage::Taken, "its bytes are here");
    assert_eq!(world.spent().await, 100);
}

/// What somebody brought without signatures does not keep the terminal's own file from its name.
#[tokio::test]
async fn rows_that_nobody_signed_give_way_to_signed_ones() {
    let time = ManualTime::new();
    let world = World::in_environment(time.environment()).await;
    let server = world.file_server(Protection::MacOnly).await;
    let (_, signed, rows) = forged_and_signed(&world, "1").await;
    let content = [&b"01\n000003"[..], &rows.content[9..53 + 3 * 384]].concat();
    let cut = NamedFile { content, ..rows.clone() };
    assert_eq!(upload(&world, &server, one(&cut)).await, [(0, Outcome::Unavailable)], "it waits for them");
    let own = [signed, rows];
    assert_eq!(upload(&world, &server, &own).await, [(1, Outcome::Unavailable)]);
    time.pass(SignedDuration::from_mins(2));
    assert_eq!(upload(&world, &server, &own).await, []);
    assert_eq!(taken(&world, "UP1").await.rows_taken, 4);
    assert_eq!(world.spent().await, 100);
}

async fn unfinished(world: &World, state: &str) -> Vec<String> {
    let query = DifferenceQuery {
        cause: Some(Cause::FileUnfinished),
        state: Some(state.into()),
        ..DifferenceQuery::default()
    };
    let found = world.store.differences(&query, 1_000).await.unwrap();
    let mut texts: Vec<_> = found.into_iter().map(|one| one.text).collect();
    texts.sort();
    texts
}

/// A file of which no byte has come for an hour is in the view with how much of it is here, once, and not any more
/// when it has ended, taken or refused.
#[tokio::test]
async fn a_file_that_does_not_end_is_in_the_view() {
    let time = ManualTime::new();
    let world = World::in_environment(time.environment()).await;
    let server = world.file_server(Protection::MacOnly).await;
    let mut card = world.card(1, 5_000).await;
    let rows = trips(&mut card, 1, &[100]);
    let (begun_one, ended_one) = (file_of("UP1", &rows), file_of("UP3", &rows));
    let odd = NamedFile { name: "UP2".into(), content: begun_one.content[1..].to_vec() };
    let size = begun_one.content.len();
    let mut line = begun(&world, &server, info("UP1", &begun_one.content)).await;
    assert_eq!(send(&mut line, BlockKind::More, &begun_one.content[..300]).await, DONE);
    break_off(&world, line, "UP1", 300).await;
    let line = begun(&world, &server, info("UP2", &odd.content)).await;
    break_off(&world, line, "UP2", 0).await;
    let mut line = begun(&world, &server, info("UP3", &ended_one.content)).await;
    assert_eq!(send(&mut line, BlockKind::Last, &ended_one.content).await, DONE);
    break_off(&world, line, "UP3", size).await;

    let look = async |minutes| {
        time.pass(SignedDuration::from_mins(minutes));
        world.centre.work().await;
        world.centre.work().await;
        unfinished(&world, "open").await
    };
    assert_eq!(look(59).await, Vec::<String>::new());
    let since = "2026-11-20T08:00:00Z";
    let first = |held: usize, since: &str| {
        format!(
            "file-unfinished: file UP1 of CITY: {held} of {size} bytes have come, and nothing since {since}"
        )
    };
    let second = format!(
        "file-unfinished: file UP2 of CITY: announced at {since}, and none of its {} bytes have come",
        size - 1
    );
    let third = format!(
        "file-unfinished: file UP3 of CITY: {size} of {size} bytes have come, but not its end, and nothing since \
         {since}"
    );
    assert_eq!(look(1).await, [first(300, since), second.clone(), third.clone()]);
    // More of it comes, and then it stops again.
    assert_eq!(world.peer.file_piece(&piece(&begun_one, 300, 310)).await.unwrap().held, 310);
    assert_eq!(look(59).await, [first(300, since), second.clone(), third.clone()]);
    assert_eq!(look(1).await, [first(310, "2026-11-20T09:00:00Z"), second.clone(), third]);

    assert_eq!(upload(&world, &server, &[begun_one, ended_one]).await, []);
    taken(&world, "UP1").await;
    taken(&world, "UP3").await;
    assert_eq!(look(0).await, [second]);
    assert_eq!(upload(&world, &server, one(&odd)).await, [(0, Outcome::FileRefused)]);
    assert_eq!(look(120).await, Vec::<String>::new());
    assert_eq!(unfinished(&world, "explained").await.len(), 3);
    assert_eq!(refusals(&world, "open").await.len(), 1, "it is refused instead");
    assert_eq!(world.incidents().await, ["file-refused"]);
    assert_eq!(world.spent().await, 100);
}
