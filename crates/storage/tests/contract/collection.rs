//! The collection of terminal transactions.

use tsm_domain::bytes::Sha256Digest;
use tsm_domain::money::{
    AccountKind, CardTransaction, Doubt, ListKind, ListReason, LoadProof, MissingNumbers, Tac,
    TransactionKey, TransactionType, Transfer, TransferCode,
};
use tsm_domain::{AsideId, Fen, InstitutionId, TerminalNumber, TransferId};
use tsm_storage::clearing::collection::*;
use tsm_storage::clearing::{Books, LockRow};
use tsm_storage::shared::{ChainKey, Note};
use tsm_storage::{ClearingStore, StorageError};

use crate::on_clearing;
use crate::sample::{at, card_number, se, uuid};

fn city() -> InstitutionId {
    "CITY".parse().unwrap()
}

fn key(name: &str) -> FileKey {
    FileKey { institution: city(), name: name.into() }
}

fn gate() -> TerminalNumber {
    "099900000042".parse().unwrap()
}

fn file(name: &str, content: &[u8]) -> FileRow {
    FileRow {
        key: key(name),
        batch: None,
        size: content.len() as u64,
        digest: Sha256Digest::of(content),
        held: 0,
        stage: FileStage::Receiving,
        rows: 0,
        taken: 0,
        begun_at: at(1),
        refusals: 0,
        last_byte_at: None,
    }
}

fn received(name: &str, rows: u64) -> FileRow {
    FileRow { held: 4, stage: FileStage::Received, rows, ..file(name, b"abcd") }
}

fn reported(n: u128) -> ReportedRow {
    ReportedRow {
        id: AsideId::from_uuid(uuid(n)),
        institution: city(),
        terminal: Some(gate()),
        card: Some(card_number(1)),
        file: None,
        text: format!("row {n}"),
        misread: None,
        at: at(n as i64),
    }
}

fn spent(n: u128, counter: u16, fen: u64, balance: u64) -> RowStep {
    let transaction = CardTransaction {
        key: TransactionKey { card: card_number(1), counter, kind: TransactionType::CompositePurchase },
        amount: Fen::new(fen),
        balance_after: Some(Fen::new(balance)),
        terminal: gate(),
        at: at(n as i64),
        proof: LoadProof::Tac(Tac([n as u8; 4])),
    };
    let id = TransferId::from_uuid(uuid(1_000 + n));
    let transfer: Transfer = TransferCode::Spent.transfer(id, card_number(1), Fen::new(fen), at(n as i64));
    let note = Note {
        chain: ChainKey::Card(card_number(1)),
        at: at(n as i64),
        actor: "CITY".into(),
        event: "purchase-recorded".into(),
        detail: "{}".into(),
    };
    let transfer = (fen > 0).then_some(transfer);
    RowStep {
        reported: reported(n),
        number: Some(n as u64),
        judged: Judged::Purchase { transaction, transfer, note },
    }
}

fn kept(n: u128, reason: AsideReason) -> RowStep {
    RowStep {
        reported: reported(n),
        number: Some(n as u64),
        judged: Judged::Aside { reason, transaction: None },
    }
}

/// An account with this much in its purse.
async fn card_with(store: &dyn ClearingStore, fen: u64) {
    store.open_account(card_number(1), se(1), at(0), Books::default()).await.unwrap();
    credit(store, 1, fen).await;
}

async fn credit(store: &dyn ClearingStore, n: u128, fen: u64) {
    let transfer = |n, code: TransferCode| {
        code.transfer(TransferId::from_uuid(uuid(n)), card_number(1), Fen::new(fen), at(0))
    };
    let transfers = vec![
        transfer(10_000 + n * 2, TransferCode::PaymentConfirmed),
        transfer(10_001 + n * 2, TransferCode::Loaded),
    ];
    store.transfer(Books { transfers, ..Books::default() }).await.unwrap();
}

async fn take(store: &dyn ClearingStore, rows: &[RowStep]) -> Vec<RowOutcome> {
    store.take_rows(TakeStep { file: None, rows: rows.to_vec() }).await.unwrap()
}

async fn purse(store: &dyn ClearingStore) -> u64 {
    store.balance(card_number(1), AccountKind::Purse).await.unwrap().posted.get()
}

async fn begin(store: &dyn ClearingStore, row: FileRow) -> Result<FileRow, StorageError> {
    match store.begin_file(row, None).await? {
        FileBegun::Here(row) => Ok(row),
        FileBegun::Busy => panic!("another content is coming"),
    }
}

fn part(offset: u64, bytes: &[u8]) -> FilePart {
    FilePart { offset, bytes: bytes.to_vec(), at: at(5) }
}

#[tokio::test]
async fn a_file_comes_in_pieces_and_only_in_order() {
    on_clearing(async |store| {
        let content = b"0123456789";
        let one = file("UP1", content);
        let begun = begin(store, one.clone()).await.unwrap();
        assert_eq!(begin(store, one.clone()).await, Ok(begun.clone()));
        let nobodys = store.append_file(&file("UP9", content), part(0, b"0")).await;
        assert!(matches!(nobodys, Err(StorageError::Unknown { .. })));

        let piece = async |offset: u64, bytes: &[u8]| {
            store.append_file(&one, part(offset, bytes)).await.unwrap().held
        };
        assert_eq!(piece(0, b"012").await, 3);
        assert_eq!(piece(0, b"012").await, 3, "again");
        assert_eq!(piece(5, b"5").await, 3, "a piece is missing before it");
        assert_eq!(piece(3, b"3456789X").await, 3, "longer than the file");
        let early = store.move_file(&one, FileStage::Received, 1).await;
        assert!(matches!(early, Err(StorageError::Conflict { .. })), "bytes are missing");
        assert_eq!(piece(3, b"345").await, 6);
        assert_eq!(piece(6, b"6789").await, 10);
        for from in 0..=10u64 {
            for length in 0..=11usize {
                let to = (from as usize + length).min(10);
                let found = store.file_bytes(key("UP1"), from, length).await.unwrap();
                assert_eq!(found, content[from as usize..to], "{from} {length}");
            }
        }
        let restarted = store.restart_file(&one).await.unwrap();
        assert_eq!((restarted.held, restarted.last_byte_at), (0, None));
        assert_eq!(store.file_bytes(key("UP1"), 0, 100).await.unwrap(), b"");
        assert_eq!(piece(0, content).await, 10);
        assert_eq!(store.files_to_take(10).await, Ok(vec![]));
        let open = store.unfinished_files(10).await.unwrap();
        assert_eq!(
            open.iter().map(|row| (row.held, row.last_byte_at)).collect::<Vec<_>>(),
            [(10, Some(at(5)))]
        );
        let whole = store.move_file(&one, FileStage::Received, 3).await.unwrap();
        assert_eq!(store.move_file(&one, FileStage::Received, 3).await, Ok(whole.clone()));
        assert_eq!(store.files_to_take(10).await, Ok(vec![whole]));
        assert_eq!(store.unfinished_files(10).await, Ok(vec![]));
        assert!(store.restart_file(&one).await.is_err(), "it is received");
        let early = store.move_file(&one, FileStage::Taken, 0).await;
        assert!(matches!(early, Err(StorageError::Conflict { .. })), "rows are to be taken");

        let zero = begin(store, FileRow { begun_at: at(3), ..file("UP0", content) }).await.unwrap();
        let later = begin(store, FileRow { begun_at: at(2), ..file("UP2", content) }).await.unwrap();
        assert_eq!(store.unfinished_files(10).await, Ok(vec![later.clone(), zero.clone()]), "oldest first");
        assert_eq!(store.unfinished_files(1).await, Ok(vec![later]));
        let names = async |after: &str| {
            let files = store.files_of(&city(), after, 10).await.unwrap();
            files.into_iter().map(|file| file.key.name).collect::<Vec<_>>()
        };
        assert_eq!(names("").await, ["UP0", "UP1", "UP2"]);
        assert_eq!(names("UP1").await, ["UP2"]);
        let refused = FileStage::Refused("odd".into());
        assert!(store.move_file(&zero, refused.clone(), 0).await.is_err(), "it has not come");
        store.append_file(&zero, part(0, content)).await.unwrap();
        assert_eq!(store.move_file(&zero, refused.clone(), 0).await.unwrap().stage, refused);
        let looked_at_again = store.move_file(&zero, FileStage::Received, 2).await.unwrap();
        assert_eq!((looked_at_again.stage, looked_at_again.rows), (FileStage::Received, 2));
        assert!(store.move_file(&zero, refused, 0).await.is_err(), "it is received");
    })
    .await;
}

/// A name is not burnt by what came under it and was worth nothing: the right file comes under it after all, while
/// one that is coming, or that was received, stays.
#[tokio::test]
async fn a_name_is_free_again_after_a_refusal() {
    on_clearing(async |store| {
        let (wrong, right) = (file("UP1", b"01234567"), file("UP1", b"the right file"));
        begin(store, wrong.clone()).await.unwrap();
        let begun = begin(store, FileRow { refusals: 0, ..right.clone() }).await.unwrap();
        assert!(begun.is_same(&right), "no byte had come");
        begin(store, wrong.clone()).await.unwrap();
        let whole = part(0, b"01234567");
        store.append_file(&wrong, whole.clone()).await.unwrap();
        let refused = FileStage::Refused("odd".into());
        store.move_file(&wrong, refused.clone(), 0).await.unwrap();
        let again = begin(store, wrong.clone()).await.unwrap();
        assert_eq!((again.stage, again.refusals), (refused, 0), "the same stays refused");

        let anew = FileRow { begun_at: at(9), ..right.clone() };
        let begun = begin(store, anew.clone()).await.unwrap();
        assert_eq!(begun, FileRow { refusals: 1, ..anew });
        assert_eq!(store.file(key("UP1")).await, Ok(Some(begun.clone())));
        assert_eq!(store.file_bytes(key("UP1"), 0, 100).await.unwrap(), b"", "none of the old bytes");
        store.append_file(&right, part(0, b"the right file")).await.unwrap();
        assert_eq!(store.restart_file(&right).await.unwrap().refusals, 2);
        let third = begin(store, wrong.clone()).await.unwrap();
        assert_eq!((third.held, third.size, third.refusals), (0, 8, 2), "its bytes were forgotten");
        store.append_file(&wrong, whole).await.unwrap();
        let received = store.move_file(&wrong, FileStage::Received, 1).await.unwrap();
        assert_eq!((received.refusals, received.rows), (2, 1));
        let late = store.begin_file(right, None).await;
        assert!(matches!(late, Err(StorageError::Conflict { .. })), "it is received");
    })
    .await;
}

/// What was begun under a name keeps another content from it only while its bytes come. Once that has its place, no
/// late byte and no late word of the first is taken for it.
#[tokio::test]
async fn a_content_that_is_not_going_on_gives_way() {
    on_clearing(async |store| {
        let (first, second) = (file("UP1", b"01234567"), file("UP1", b"another"));
        begin(store, first.clone()).await.unwrap();
        let came_at = FilePart { at: at(1_000), ..part(0, b"0123") };
        store.append_file(&first, came_at.clone()).await.unwrap();
        let announced = |seconds| FileRow { begun_at: at(seconds), ..second.clone() };
        for seconds in [999, 1_000, 1_119] {
            assert_eq!(store.begin_file(announced(seconds), None).await, Ok(FileBegun::Busy), "{seconds}");
        }
        let kept = store.file(key("UP1")).await.unwrap().unwrap();
        assert_eq!((kept.held, kept.is_same(&first)), (4, true));
        let begun = begin(store, announced(1_120)).await.unwrap();
        assert_eq!(begun, FileRow { refusals: 1, ..announced(1_120) });
        assert_eq!(store.file_bytes(key("UP1"), 0, 100).await.unwrap(), b"");

        for late in [
            store.append_file(&first, came_at).await,
            store.append_file(&first, part(4, b"4567")).await,
            store.restart_file(&first).await,
            store.move_file(&first, FileStage::Received, 1).await,
        ] {
            assert!(matches!(late, Err(StorageError::Conflict { .. })), "{late:?}");
        }
        assert_eq!(store.file(key("UP1")).await, Ok(Some(begun)));
        // A clock that was far ahead when the last byte came keeps nothing out.
        store.append_file(&second, FilePart { at: at(9_000), ..part(0, b"ano") }).await.unwrap();
        let back = begin(store, FileRow { begun_at: at(1_200), ..first.clone() }).await.unwrap();
        assert_eq!((back.held, back.refusals), (0, 2));
        // The size that was announced is part of what the content is.
        store.append_file(&first, FilePart { at: at(1_200), ..part(0, b"01") }).await.unwrap();
        let longer = FileRow { size: 9, begun_at: at(1_201), ..first };
        assert_eq!(store.begin_file(longer, None).await, Ok(FileBegun::Busy));
    })
    .await;
}

/// What terminals signed gives way to something better until the upload that needs it is received.
#[tokio::test]
async fn signatures_give_way_until_their_upload_is_received() {
    on_clearing(async |store| {
        let forged = [&b"forged"[..], b"again", b"and again"];
        let upload = begin(store, file("UP1", b"rows")).await.unwrap();
        let good = file("SG1", b"signed");
        let take = async |row: FileRow, bytes: &[u8]| {
            let begun = store.begin_file(row.clone(), Some(key("UP1"))).await.unwrap();
            assert!(matches!(begun, FileBegun::Here(_)), "{begun:?}");
            store.append_file(&row, part(0, bytes)).await.unwrap();
            store.move_file(&row, FileStage::Received, 0).await.unwrap();
            store.move_file(&row, FileStage::Taken, 0).await.unwrap();
        };
        take(file("SG1", forged[0]), forged[0]).await;
        take(file("SG1", forged[1]), forged[1]).await;
        store.append_file(&upload, part(0, b"rows")).await.unwrap();
        store.move_file(&upload, FileStage::Refused("signatures".into()), 0).await.unwrap();
        let no_signatures = store.begin_file(good.clone(), None).await;
        assert!(matches!(no_signatures, Err(StorageError::Conflict { .. })), "of another kind");
        take(good, b"signed").await;
        store.move_file(&upload, FileStage::Received, 0).await.unwrap();
        let late = store.begin_file(file("SG1", forged[2]), Some(key("UP1"))).await;
        assert!(matches!(late, Err(StorageError::Conflict { .. })), "its upload is received");
        let alone = store.begin_file(file("SG2", b"signed"), Some(key("UP2"))).await;
        assert!(matches!(alone, Ok(FileBegun::Here(_))));
    })
    .await;
}

#[tokio::test]
async fn a_batch_is_recorded_whole_and_counted() {
    on_clearing(async |store| {
        let batch = |sequence| FileRow {
            batch: Some(BatchOf { terminal: gate(), sequence }),
            ..received(&format!("B{sequence}"), 1)
        };
        let stored = store.record_file(batch(1), b"abcd".to_vec()).await.unwrap();
        assert_eq!(store.record_file(batch(1), b"abcd".to_vec()).await, Ok(stored.clone()));
        let other = FileRow { digest: Sha256Digest::of(b"x"), ..batch(1) };
        assert!(matches!(store.record_file(other, b"x".to_vec()).await, Err(StorageError::Conflict { .. })));
        assert_eq!(store.file_bytes(key("B1"), 1, 2).await.unwrap(), b"bc");
        assert_eq!(store.file(key("B1")).await, Ok(Some(stored)));
        store.record_file(batch(4), b"abcd".to_vec()).await.unwrap();
        let counted = Counted::Batches(gate());
        let numbering = store.numbering(counted).await.unwrap();
        assert_eq!((numbering.highest(), numbering.whole_up_to()), (4, 1));
        assert_eq!(store.gaps(None, 10).await.unwrap(), [(counted, numbering)]);
        assert_eq!(store.gaps(Some(counted), 10).await.unwrap(), []);
        for late in [3, 2] {
            store.record_file(batch(late), b"abcd".to_vec()).await.unwrap();
        }
        assert_eq!(store.gaps(None, 10).await.unwrap(), []);
        for number in [4, 6, 5] {
            store.expect_number(counted, number, at(number as i64)).await.unwrap();
        }
        let numbering = store.numbering(counted).await.unwrap();
        assert_eq!(numbering.missing(), [MissingNumbers { from: 5, to: 6, since: at(6) }]);
        assert_eq!(store.gaps(None, 10).await.unwrap(), [(counted, numbering)]);
        for late in [6, 5] {
            store.record_file(batch(late), b"abcd".to_vec()).await.unwrap();
        }
        assert_eq!(store.gaps(None, 10).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn rows_are_taken_once_with_an_outcome_each() {
    on_clearing(async |store| {
        card_with(store, 100).await;
        let rows = [
            spent(1, 1, 30, 70),
            kept(2, AsideReason::TacWrong),
            spent(3, 2, 0, 70),
            spent(4, 3, 500, 0),
            spent(5, 1, 20, 50),
        ];
        let expected = [
            RowOutcome::Recorded,
            RowOutcome::Aside(AsideReason::TacWrong),
            RowOutcome::Recorded,
            RowOutcome::Aside(AsideReason::NotYet),
            RowOutcome::Aside(AsideReason::Contradicts),
        ];
        assert_eq!(take(store, &rows).await, expected);
        assert_eq!(purse(store).await, 70);
        let journal = store.chain(ChainKey::Card(card_number(1)), 0, 100).await.unwrap();
        let again = take(store, &rows).await;
        assert_eq!(again[0], RowOutcome::Duplicate);
        assert_eq!(again[1..3], [expected[1], RowOutcome::Duplicate]);
        assert_eq!(again[3..], expected[3..]);
        assert_eq!(purse(store).await, 70);
        assert_eq!(store.chain(ChainKey::Card(card_number(1)), 0, 100).await.unwrap(), journal);
        assert_eq!(store.transactions_of(card_number(1), 10).await.unwrap().len(), 2);

        let aside = store.kept_aside(None, None, 10).await.unwrap();
        let reasons: Vec<_> = aside.iter().map(|row| row.reason).collect();
        assert_eq!(reasons, [AsideReason::TacWrong, AsideReason::NotYet, AsideReason::Contradicts]);
        assert_eq!(store.kept_aside(Some(&city()), Some(aside[0].place()), 1).await.unwrap(), aside[1..2]);
        assert_eq!(store.waiting_aside(None, 10).await.unwrap(), aside[1..2], "one waits for its credit");
        assert_eq!(store.waiting_aside(Some(aside[1].place()), 10).await.unwrap(), []);
        assert_eq!(store.waiting_aside(None, 0).await.unwrap(), []);
        let other: InstitutionId = "OTHER".parse().unwrap();
        assert_eq!(store.kept_aside(Some(&other), None, 10).await.unwrap(), []);
        assert_eq!(store.aside_of(card_number(1), 10).await.unwrap(), aside);
        assert_eq!(store.aside_of(card_number(1), 1).await.unwrap(), aside[..1]);
        assert_eq!(store.aside_of(card_number(2), 10).await.unwrap(), []);

        // The credit comes, and the row is taken after all.
        credit(store, 2, 1_000).await;
        assert_eq!(take(store, &rows[3..4]).await, [RowOutcome::Recorded]);
        assert_eq!(purse(store).await, 570);
        let healed = store.aside(aside[1].reported.id).await.unwrap().unwrap();
        assert_eq!(healed.closed.unwrap().how, "taken");
        let closed = AsideClosed { at: at(9), how: "looked at".into() };
        for _ in 0..2 {
            let row = store.close_aside(aside[0].reported.id, closed.clone(), Books::default()).await;
            assert_eq!(row.unwrap().closed, Some(closed.clone()));
        }
        let later = AsideClosed { at: at(10), how: "again".into() };
        let row = store.close_aside(aside[0].reported.id, later, Books::default()).await.unwrap();
        assert_eq!(row.closed, Some(closed), "what was done first stays");
        assert_eq!(store.kept_aside(None, None, 10).await.unwrap().len(), 1);
        assert_eq!(store.aside_of(card_number(1), 10).await.unwrap().len(), 3, "closed rows stay known");
        let unknown = AsideId::from_uuid(uuid(99));
        assert!(
            store
                .close_aside(unknown, AsideClosed { at: at(1), how: "x".into() }, Books::default())
                .await
                .is_err()
        );
    })
    .await;
}

#[tokio::test]
async fn a_chunk_and_the_progress_of_its_file_are_one_step() {
    on_clearing(async |store| {
        card_with(store, 100).await;
        store.record_file(received("UP1", 3), b"abcd".to_vec()).await.unwrap();
        let chunk =
            |before, rows: &[RowStep]| TakeStep { file: Some((key("UP1"), before)), rows: rows.to_vec() };
        let first = chunk(0, &[spent(1, 1, 10, 90), kept(2, AsideReason::Malformed)]);
        assert_eq!(store.take_rows(first.clone()).await.unwrap().len(), 2);
        let again = store.take_rows(first).await;
        assert!(matches!(again, Err(StorageError::Conflict { .. })), "taken before: {again:?}");
        let too_many = chunk(2, &[spent(3, 2, 5, 85), spent(4, 3, 5, 80)]);
        assert!(matches!(store.take_rows(too_many).await, Err(StorageError::Conflict { .. })));
        assert_eq!(purse(store).await, 90);
        store.take_rows(chunk(2, &[spent(3, 2, 5, 85)])).await.unwrap();
        let expected =
            [RowOutcome::Recorded, RowOutcome::Aside(AsideReason::Malformed), RowOutcome::Recorded];
        assert_eq!(store.outcomes(key("UP1")).await.unwrap(), expected);
        let taken = store.move_file(&received("UP1", 3), FileStage::Taken, 0).await.unwrap();
        assert_eq!((taken.rows, taken.taken, &taken.stage), (3, 3, &FileStage::Taken));
        assert_eq!(store.files_to_take(10).await, Ok(vec![]));
        assert!(store.take_rows(chunk(3, &[])).await.is_err(), "it is taken");
    })
    .await;
}

#[tokio::test]
async fn missing_numbers_of_cards_and_terminals_are_seen() {
    on_clearing(async |store| {
        card_with(store, 100).await;
        take(store, &[spent(1, 1, 10, 90)]).await;
        take(store, &[spent(4, 3, 10, 70)]).await;
        let gaps = store.gaps(None, 10).await.unwrap();
        let missing: Vec<_> = gaps
            .iter()
            .map(|(counted, numbering)| {
                let gap = numbering.missing()[0];
                (*counted, gap.from, gap.to, gap.since)
            })
            .collect();
        let card = Counted::Card(card_number(1));
        assert_eq!(missing, [(card, 2, 2, at(4)), (Counted::Terminal(gate()), 2, 3, at(4))]);
        take(store, &[spent(2, 2, 10, 80), kept(3, AsideReason::Malformed)]).await;
        assert_eq!(store.gaps(None, 10).await.unwrap(), []);
        assert_eq!(store.numbering(card).await.unwrap().highest(), 3);
    })
    .await;
}

#[tokio::test]
async fn a_card_in_doubt_is_examined_and_may_be_frozen() {
    on_clearing(async |store| {
        card_with(store, 100).await;
        take(store, &[spent(1, 1, 10, 90)]).await;
        assert_eq!(store.doubts(None, 10).await.unwrap(), [], "its balance follows");
        take(store, &[spent(2, 2, 10, 95)]).await;
        let balance = DoubtRow { card: card_number(1), doubt: Doubt::Balance, since: at(2) };
        assert_eq!(store.doubts(None, 10).await.unwrap(), [balance]);
        take(store, &[spent(3, 2, 20, 60)]).await;
        let copy = DoubtRow { card: card_number(1), doubt: Doubt::SameCounter, since: at(3) };
        assert_eq!(store.doubts(None, 10).await.unwrap(), [copy], "a proof outweighs a balance");
        assert_eq!(store.doubts(Some(balance), 10).await.unwrap(), [copy], "later than the first doubt");
        assert_eq!(store.doubts(Some(copy), 10).await.unwrap(), [], "there is none after it");
        store.settle_doubt(balance, Some("x".into()), Books::default()).await.unwrap();
        assert_eq!(store.doubts(None, 10).await.unwrap(), [copy], "it was another doubt");
        let reason = "copied: two purchases have counter 2".to_owned();
        for _ in 0..2 {
            store.settle_doubt(copy, Some(reason.clone()), Books::default()).await.unwrap();
        }
        assert_eq!(store.doubts(None, 10).await.unwrap(), []);
        let account = store.account(card_number(1)).await.unwrap().unwrap().account;
        assert_eq!(account.freeze.unwrap().reason, reason);
        let listing = store.listing(card_number(1)).await.unwrap().unwrap();
        assert_eq!((listing.listed.kind, listing.listed.reason), (ListKind::Grey, ListReason::Copied));
        take(store, &[spent(4, 3, 10, 1)]).await;
        let again = store.doubts(None, 10).await.unwrap()[0];
        store.settle_doubt(again, None, Books::default()).await.unwrap();
        assert_eq!(store.doubts(None, 10).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_lock_among_the_rows_marks_the_listed_card() {
    on_clearing(async |store| {
        let action = tsm_domain::money::ListAction::Put(ListKind::Black, ListReason::Lost);
        store.edit_list(card_number(1), action, at(1), Books::default()).await.unwrap();
        let lock = LockRow {
            card: card_number(1),
            terminal: gate(),
            number: 7,
            institution: city(),
            list_version: tsm_domain::money::ListVersion(1),
            at: at(5),
        };
        let row = RowStep { reported: reported(7), number: Some(7), judged: Judged::Lock(lock) };
        for _ in 0..2 {
            assert_eq!(take(store, std::slice::from_ref(&row)).await, [RowOutcome::LockRecorded]);
        }
        let listing = store.listing(card_number(1)).await.unwrap().unwrap();
        assert_eq!(listing.locked.unwrap().terminal, gate());
        assert_eq!(listing.version, store.list_version().await.unwrap(), "a lock makes no version");
    })
    .await;
}
