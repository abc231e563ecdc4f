//! Batches of terminals.

use tsm_api::HexBytes;
use tsm_api::clearing::collection::{
    BatchHeader, BatchRow, FileStage, Gap, GapSubject, PageQuery, RowVerdict as Verdict, TerminalBatch,
};
use tsm_api::problem::ProblemCode;
use tsm_api::signature::MessageSigner as _;
use tsm_domain::money::reconciliation::Cause;
use tsm_storage::clearing::settlement::DifferenceQuery;
use tsm_storage::clearing::{Collection as _, Settlements as _};
use tsm_storage::memory::Crash;

use super::world::{FOREIGN, SIGNING, World, batch, batch_of, code, lock, trips};
use crate::purse_card::{PurseCard, TERMINAL};

/// A batch is recorded whole and taken once, however often it is delivered; what its header does not say of
/// it is refused before anything is recorded.
///
/// req: B-7.3.1.a
#[tokio::test]
async fn a_batch_is_taken_once() {
    let world = World::new().await;
    let mut card = world.card(1, 5_000).await;
    let delivered = batch(1, &trips(&mut card, 1, &[0, 300, 450]));
    let receipt = world.peer.batch(&delivered).await.unwrap();
    assert_eq!((receipt.stage, &receipt.verdicts[..]), (FileStage::Taken, &[Verdict::Recorded; 3][..]));
    assert_eq!(world.peer.batch(&delivered).await.unwrap(), receipt, "again");
    assert_eq!(world.peer.batch_state("099900000042-1").await.unwrap(), receipt);
    assert_eq!(world.spent().await, 750);

    let next = batch(2, &trips(&mut card, 4, &[100]));
    let header = |header| TerminalBatch { header, ..next.clone() };
    let of = next.header.clone();
    let mut foreign = of.clone();
    foreign.terminal = HexBytes(FOREIGN.to_vec());
    let refused = [
        ("count", header(BatchHeader { count: 2, ..of.clone() }), ProblemCode::ValueRefused),
        ("sum", header(BatchHeader { sum_fen: 101, ..of.clone() }), ProblemCode::ValueRefused),
        (
            "digest",
            header(BatchHeader { digest: HexBytes(vec![0; 32]), ..of.clone() }),
            ProblemCode::ValueRefused,
        ),
        ("number zero", header(BatchHeader { sequence: 0, ..of.clone() }), ProblemCode::ValueRefused),
        ("number taken", header(BatchHeader { sequence: 1, ..of.clone() }), ProblemCode::Duplicate),
        ("another's terminal", header(foreign), ProblemCode::UnknownId),
        (
            "unreadable row",
            TerminalBatch {
                rows: vec![BatchRow { date: HexBytes(vec![1]), ..next.rows[0].clone() }],
                ..next.clone()
            },
            ProblemCode::ValueRefused,
        ),
    ];
    for (case, wrong, expected) in refused {
        assert_eq!(code(world.peer.batch(&wrong).await), expected, "{case}");
    }
    assert_eq!(code(world.other_peer().batch(&next).await), ProblemCode::UnknownId, "not its terminal");
    assert_eq!(code(world.peer.batch_state("099900000042-2").await), ProblemCode::UnknownId);
    assert_eq!(world.spent().await, 750);
    assert_eq!(world.peer.batch(&next).await.unwrap().verdicts, [Verdict::Recorded]);
    assert_eq!(world.spent().await, 850);
}

#[tokio::test]
async fn a_terminal_with_a_key_signs_its_batches() {
    let world = World::new().await;
    let mut card = world.card(1, 5_000).await;
    let told = trips(&mut card, 1, &[0]);
    let delivered = batch_of(SIGNING, 1, &told);
    assert_eq!(code(world.peer.batch(&delivered).await), ProblemCode::SignatureWrong);
    let sign = |signer: &tsm_api::signature::SoftwareSigner, of: &TerminalBatch| {
        let mut signed = of.clone();
        signed.header.signature = Some(HexBytes(signer.sign(&of.header.signed_bytes()).to_vec()));
        signed
    };
    let forged = sign(&world.city.signer, &delivered);
    assert_eq!(code(world.peer.batch(&forged).await), ProblemCode::SignatureWrong);
    let mut moved = sign(&world.store_key, &delivered);
    moved.header.sequence = 2;
    assert_eq!(code(world.peer.batch(&moved).await), ProblemCode::SignatureWrong);
    // Rows that were altered and signed for as they were; and altered with the header, by somebody without the key.
    let mut altered = sign(&world.store_key, &delivered);
    altered.rows[0].amount_fen += 1;
    assert_eq!(code(world.peer.batch(&altered).await), ProblemCode::ValueRefused);
    let mut whole = batch_of(SIGNING, 1, &altered.rows);
    whole.header.signature = sign(&world.store_key, &delivered).header.signature;
    assert_eq!(code(world.peer.batch(&whole).await), ProblemCode::SignatureWrong);
    assert_eq!(world.spent().await, 0, "nothing of them was taken");
    // Each stands in the reconciliation view with its reason, once.
    world.centre.work().await;
    world.centre.work().await;
    let query = DifferenceQuery { cause: Some(Cause::BatchRefused), ..DifferenceQuery::default() };
    let mut found: Vec<_> = world.store.differences(&query, 100).await.unwrap();
    found.sort_by(|one, other| one.text.cmp(&other.text));
    let texts: Vec<_> = found.iter().map(|one| one.text.as_str()).collect();
    let [one, two, three] = texts[..] else { panic!("{texts:?}") };
    assert!(one.contains("batch 1 of terminal 099900000043 of CITY") && one.contains("sum"), "{one}");
    assert!(two.contains("batch 1 of") && two.contains("signed"), "{two}");
    assert!(three.contains("batch 2 of") && three.contains("signature"), "{three}");
    let signed = sign(&world.store_key, &delivered);
    // The purchase was made at another terminal, so its TAC does not fit here.
    assert_eq!(world.peer.batch(&signed).await.unwrap().verdicts, [Verdict::TacWrong]);
}

/// Each row is judged by itself; what is wrong is kept aside with its reason, and what only came too early is
/// taken when the report that it needs has come.
#[tokio::test]
async fn rows_are_kept_aside_with_their_reasons_and_taken_when_they_can_be() {
    let world = World::new().await;
    let mut card = world.card(1, 500).await;
    let mut unknown = PurseCard::new(2);
    let early = unknown.load(2_000, 900);
    let late_credit = card.load(1_001, 2_000);
    let good = trips(&mut card, 1, &[400, 900]);
    let wrong = BatchRow { number: 3, tac: Some(HexBytes(vec![0; 4])), ..good[0].clone() };
    let unproven = BatchRow { number: 4, tac: None, offline_counter: 9, ..good[0].clone() };
    let contradicting = BatchRow { number: 5, offline_counter: 7, ..good[0].clone() };
    let odd_type = BatchRow { number: 6, transaction_type: 2, ..good[0].clone() };
    let unknown_rows = trips(&mut unknown, 7, &[100]);
    let mut rows = good.clone();
    rows.extend([wrong, unproven, contradicting, odd_type]);
    rows.extend(unknown_rows);
    rows.push(lock(8, &card));
    let receipt = world.peer.batch(&batch(1, &rows)).await.unwrap();
    let expected = [
        Verdict::Recorded,
        Verdict::NotYet,
        Verdict::TacWrong,
        Verdict::Unproven,
        Verdict::Contradicts,
        Verdict::Malformed,
        Verdict::UnknownCard,
        Verdict::LockRecorded,
    ];
    assert_eq!(receipt.verdicts, expected);
    assert_eq!(world.spent().await, 400);
    let page = world.peer.quarantine(&PageQuery::default()).await.unwrap();
    let mut reasons: Vec<_> = page.entries.iter().map(|entry| entry.reason).collect();
    reasons.sort_unstable();
    let mut kept: Vec<_> = expected
        .into_iter()
        .filter(|verdict| !matches!(verdict, Verdict::Recorded | Verdict::LockRecorded))
        .collect();
    kept.sort_unstable();
    assert_eq!(reasons, kept);
    let forged = page.entries.iter().find(|entry| entry.reason == Verdict::TacWrong).unwrap();
    assert_eq!(forged.row.as_ref().unwrap().number, 3);
    assert_eq!(forged.terminal, Some(HexBytes(TERMINAL.to_vec())));
    assert!(forged.file.is_some());
    let none = world.other_peer().quarantine(&PageQuery::default()).await.unwrap();
    assert_eq!(none.entries, [], "another institution's");
    let incidents = world.incidents().await;
    assert!(incidents.contains(&"wrong-tac".into()) && incidents.contains(&"repeated-tac".into()));

    // What came too early is taken when its reports come.
    world.peer.credit(&late_credit).await.unwrap();
    world.open(&unknown).await;
    world.peer.credit(&early).await.unwrap();
    for _ in 0..2 {
        world.centre.collect().await.unwrap();
        assert_eq!(world.spent().await, 400 + 900 + 100);
    }
    let page = world.peer.quarantine(&PageQuery::default()).await.unwrap();
    let mut left: Vec<_> = page.entries.iter().map(|entry| entry.reason).collect();
    left.sort_unstable();
    assert_eq!(left, [Verdict::TacWrong, Verdict::Contradicts, Verdict::Unproven, Verdict::Malformed]);
    assert_eq!(world.frozen(&card).await, None, "nothing here is suspicious");
}

/// Batches in any order: what is missing is listed with the time since when, and goes when it comes.
///
/// req: B-7.3.1.a
#[tokio::test]
async fn missing_batches_and_records_are_listed_until_they_come() {
    let world = World::new().await;
    let mut card = world.card(1, 5_000).await;
    let rows = trips(&mut card, 1, &[100, 100, 100, 100, 100, 100]);
    let batches = [batch(1, &rows[..1]), batch(2, &rows[1..3]), batch(3, &rows[3..5]), batch(4, &rows[5..])];
    let gaps = async || {
        let page = world.peer.gaps(&PageQuery::default()).await.unwrap();
        page.gaps.into_iter().map(|Gap { subject, from, to, .. }| (subject, from, to)).collect::<Vec<_>>()
    };
    let number = || HexBytes(TERMINAL.to_vec());
    assert_eq!(world.peer.batch(&batches[3]).await.unwrap().verdicts, [Verdict::Recorded]);
    assert_eq!(gaps().await, [(GapSubject::Terminal(number()), 1, 5), (GapSubject::Batches(number()), 1, 3)]);
    let since = world.peer.gaps(&PageQuery::default()).await.unwrap().gaps[0].since;
    world.peer.batch(&batches[1]).await.unwrap();
    assert_eq!(
        gaps().await,
        [
            (GapSubject::Terminal(number()), 1, 1),
            (GapSubject::Terminal(number()), 4, 5),
            (GapSubject::Batches(number()), 1, 1),
            (GapSubject::Batches(number()), 3, 3),
        ]
    );
    let later = world.peer.gaps(&PageQuery::default()).await.unwrap().gaps[0].since;
    assert_eq!(later, since, "since when it is missing stays");
    world.centre.collect().await.unwrap();
    assert_eq!(world.frozen(&card).await, None, "a card with missing purchases is not suspected");
    for batch in [&batches[0], &batches[2], &batches[0]] {
        let verdicts = world.peer.batch(batch).await.unwrap().verdicts;
        assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Recorded));
    }
    assert_eq!(gaps().await, []);
    assert_eq!(world.spent().await, 600);
    assert_eq!(
        world.store.doubts(None, 10).await.unwrap().len(),
        1,
        "the last gap closed: the card is looked at"
    );
    world.centre.collect().await.unwrap();
    assert_eq!(world.store.doubts(None, 10).await.unwrap(), [], "and its balance follows");
    assert_eq!(world.frozen(&card).await, None);
    assert!(world.other_peer().gaps(&PageQuery::default()).await.unwrap().gaps.is_empty());
}

/// The centre dies before or after each of its commits while it takes a batch of several chunks; the terminal
/// delivers again, or nobody does and the centre goes on by itself: every row is taken exactly once.
#[tokio::test]
async fn a_crash_at_any_commit_takes_every_row_once() {
    let mut world = World::new().await;
    let (mut runs, mut spent) = (0u64, 0u64);
    for crash in [Crash::BeforeCommit, Crash::AfterCommit] {
        for commit in 1.. {
            runs += 1;
            let mut rows = Vec::new();
            // More rows than one chunk has.
            for own in 0..9 {
                let mut card = world.card(runs * 10 + own, 5_000).await;
                rows.extend(trips(&mut card, 1 + own * 25, &[100; 25]));
            }
            let delivered = batch(runs, &rows);
            let began = world.faults.commits();
            world.faults.crash_at(began + commit, crash);
            let first = world.peer.batch(&delivered).await;
            let died = world.faults.is_down();
            if died {
                world.restart().await;
                if runs % 2 == 0 && first.is_err() {
                    // Nobody heard of it: the terminal delivers again.
                    world.peer.batch(&delivered).await.unwrap();
                }
                world.centre.collect().await.unwrap();
            }
            let state = world.peer.batch_state(&format!("099900000042-{runs}")).await;
            let receipt = match state {
                Ok(receipt) => receipt,
                // It died before the batch was recorded, and nobody was told otherwise.
                Err(error) => {
                    assert_eq!(error.code(), Some(ProblemCode::UnknownId));
                    assert!(first.is_err() && commit == 1 && crash == Crash::BeforeCommit);
                    world.peer.batch(&delivered).await.unwrap()
                }
            };
            assert_eq!(receipt.verdicts, vec![Verdict::Recorded; 225], "{crash:?} {commit}");
            spent += 22_500;
            assert_eq!(world.spent().await, spent, "{crash:?} {commit}");
            if !died {
                assert!(commit > 4, "a batch is recorded, taken in chunks and closed");
                world.faults.restart();
                break;
            }
        }
    }
    println!("{runs} crashes while a batch was taken");
}
