//! What terminals reported and the centre did not take is in the reconciliation view with its cause, and two
//! people settle it; what comes after all explains it.

use std::collections::HashSet;

use tsm_api::HexBytes;
use tsm_api::clearing::closing::{ClosingPurpose, RefundRequest};
use tsm_api::clearing::settlement::{self as api, ActionKind, DifferenceRecord};
use tsm_api::clearing::{Consumption, ConsumptionReport};
use tsm_api::endpoint::Nothing;
use tsm_api::ids::OperationId;
use tsm_epurse::commands::PurchaseKind;
use tsm_storage::ClearingStore as _;
use tsm_storage::clearing::Collection as _;
use tsm_storage::memory::MemoryClearing;
use tsm_storage::shared::{IncidentFilter, Incidents as _};

use super::world::{World, account, day};
use crate::centre_closing::parked;
use crate::collection::world::{batch, file_of, row};
use crate::purse_card::{PurseCard, TERMINAL};

type Memory = World<MemoryClearing>;

async fn list(world: &Memory, state: &str) -> Vec<DifferenceRecord> {
    let query = api::DifferenceQuery { state: Some(state.into()), ..Default::default() };
    let mut found = world.client(&world.desk).call(&api::DIFFERENCES, &[], &query).await.unwrap().differences;
    found.sort_by(|a, b| a.cause.cmp(&b.cause));
    found
}

fn causes(all: &[DifferenceRecord]) -> Vec<&str> {
    all.iter().map(|one| one.cause.as_str()).collect()
}

async fn report(world: &Memory, taps: Vec<Consumption>) {
    let taps = ConsumptionReport { terminal: HexBytes(TERMINAL.to_vec()), transactions: taps };
    world.peer(&world.metro).consumption(&taps).await.unwrap();
}

async fn resolve(world: &Memory, one: &DifferenceRecord, action: ActionKind) {
    let id = one.difference.to_string();
    let proposal = api::NewProposal { action, card: None, note: "as agreed".into() };
    let (ann, bob) = (world.person(&world.desk, "ann").await, world.person(&world.desk, "bob").await);
    ann.call(&api::PROPOSE, &[&id], &proposal).await.unwrap();
    let refused = ann.call(&api::APPROVE, &[&id], &Nothing {}).await.unwrap_err();
    assert_eq!(refused.code(), Some(tsm_api::problem::ProblemCode::FourEyes));
    let done = bob.call(&api::APPROVE, &[&id], &Nothing {}).await.unwrap();
    assert_eq!(done.state, "resolved");
}

/// A wrong TAC, an unknown card, a card restored from a copy, a counter that is missing: each is in the view
/// with its cause before any day is reconciled, moved no money, and is dealt with once two people agreed.
#[tokio::test]
async fn each_report_that_was_not_taken_is_in_the_view_with_its_cause() {
    let world = World::on(MemoryClearing::new()).await;
    let mut card = world.card(1).await;
    world.top_up(&mut card, 1, 5_000).await;
    let first = card.pay(PurchaseKind::Simple, 100);
    let skipped = card.pay(PurchaseKind::Simple, 200);
    let third = card.pay(PurchaseKind::Simple, 300);
    let forged = Consumption { tac: Some(HexBytes(vec![0; 4])), ..skipped.clone() };
    let mut copy = PurseCard::new(1);
    copy.load(1, 5_000);
    let copied = copy.pay(PurchaseKind::Simple, 150);
    let mut stranger = PurseCard::new(2);
    stranger.load(9, 900);
    let unknown = stranger.pay(PurchaseKind::Simple, 90);
    report(&world, vec![first.clone(), third, forged, copied, unknown.clone()]).await;
    let mut terminals = row(1, &first);
    terminals.number = 5;
    world.peer(&world.metro).batch(&batch(1, &[terminals])).await.unwrap();
    world.centre.work().await;
    world.centre.work().await;
    let open = list(&world, "open").await;
    assert_eq!(causes(&open), ["card_copied", "wrong_tac"]);
    let waiting = list(&world, "waiting").await;
    assert_eq!(causes(&waiting), ["counter_gap", "counter_gap", "unknown_card"], "what may still come");
    let wrong = &open[1];
    assert_eq!((wrong.card.as_ref(), wrong.theirs_fen), (Some(&card.wire()), Some(200)));
    assert!(wrong.text.contains("METRO") && !wrong.cause_zh.is_empty());
    let totals = world.store.totals().await.unwrap();
    assert_eq!((totals.check(), totals.spent), (Ok(()), 400), "nothing but what the cards proved");

    // A row that is dealt with leaves the quarantine, and its incident is closed with it.
    resolve(&world, wrong, ActionKind::Ignore).await;
    resolve(&world, &open[0], ActionKind::FreezeCard).await;
    assert!(world.store.account(card.number).await.unwrap().unwrap().account.freeze.is_some());
    let kept = world.store.kept_aside(None, None, 10).await.unwrap();
    assert_eq!(kept.len(), 1, "only the stranger's");
    let open = world.store.incidents(IncidentFilter::Open, 10).await.unwrap();
    assert_eq!(open.iter().map(|one| one.kind.as_str()).collect::<Vec<_>>(), Vec::<&str>::new());

    // The missing purchase comes, and the stranger's account is opened: both are explained.
    report(&world, vec![skipped]).await;
    world.peer(&world.city).open_account(&account(&stranger)).await.unwrap();
    world.peer(&world.city).credit(&stranger_credit(&mut PurseCard::new(2))).await.unwrap();
    world.centre.collect().await.unwrap();
    world.centre.work().await;
    let explained = list(&world, "explained").await;
    assert_eq!(causes(&explained), ["counter_gap", "unknown_card"]);
    assert_eq!(causes(&list(&world, "waiting").await), ["counter_gap"], "the terminal's");

    // Two days later the terminal's gap is one that somebody has to ask about.
    world.clock.set("2026-11-22T20:00:00Z");
    world.store.ripen_for(day().plus(2)).await;
    let open = list(&world, "open").await;
    assert_eq!(causes(&open), ["counter_gap", "suspicious_card"], "the examination found the copy, too");
    world.store.compare().await;
}

/// The last purchases of a card that is parked show in no later counter. The card proved how many it made, so what
/// nobody reported is missing, until it comes.
///
/// req: B-7.5.1.b
#[tokio::test]
async fn what_a_parked_card_spent_and_nobody_reported_is_in_the_view() {
    let world = World::on(MemoryClearing::new()).await;
    let mut card = world.card(1).await;
    world.top_up(&mut card, 1, 5_000).await;
    world.spend(&mut card, 100).await;
    let last = [200, 300].map(|fen| card.pay(PurchaseKind::Simple, fen));
    let parking = parked(&card, 7, ClosingPurpose::Return);
    for _ in 0..2 {
        world.peer(&world.city).park(&parking).await.unwrap();
        world.centre.work().await;
    }
    let waiting = list(&world, "waiting").await;
    assert_eq!((causes(&waiting), waiting[0].card.as_ref()), (vec!["counter_gap"], Some(&card.wire())));
    assert!(waiting[0].text.contains("2 to 3 missing"), "{}", waiting[0].text);
    assert_eq!(world.store.totals().await.unwrap().purses, 500, "what was spent is still on the purse");
    world.clock.set("2026-11-22T20:00:00Z");
    world.store.ripen_for(day().plus(2)).await;
    assert_eq!(causes(&list(&world, "open").await), ["counter_gap"]);
    report(&world, last.to_vec()).await;
    world.centre.work().await;
    let (explained, open) = (list(&world, "explained").await, list(&world, "open").await);
    assert!(
        causes(&explained).contains(&"counter_gap") && !causes(&open).contains(&"counter_gap"),
        "{open:?}"
    );
    let totals = world.store.totals().await.unwrap();
    let spent = totals.spent + totals.operator_payable;
    assert_eq!((totals.check(), totals.purses, spent), (Ok(()), 0, 600));
    world.store.compare().await;
}

/// A terminal is lost with what it had not delivered. Once the card is closed for good, two people write off what the
/// books still show on it; a card that may come back keeps it. A terminal that is found after all is paid, once, and
/// what a stranger says of the card takes nothing.
///
/// req: B-7.5.1.b
#[tokio::test]
async fn what_nobody_will_report_is_written_off_and_comes_back() {
    let world = World::on(MemoryClearing::new()).await;
    let mut card = world.card(1).await;
    world.top_up(&mut card, 1, 5_000).await;
    let first = card.pay(PurchaseKind::Simple, 100);
    report(&world, vec![first.clone()]).await;
    let lost = [200, 300].map(|fen| card.pay(PurchaseKind::Simple, fen));
    let parking = parked(&card, 7, ClosingPurpose::Return);
    let issuer = world.peer(&world.city);
    issuer.park(&parking).await.unwrap();
    world.centre.work().await;
    let gap = list(&world, "waiting").await.remove(0);
    let id = gap.difference.to_string();
    let write_off =
        api::NewProposal { action: ActionKind::WriteOff, card: None, note: "the gate has burnt".into() };
    let (ann, bob) = (world.person(&world.desk, "ann").await, world.person(&world.desk, "bob").await);
    let early = ann.call(&api::PROPOSE, &[&id], &write_off).await.unwrap_err();
    assert_eq!(early.code(), Some(tsm_api::problem::ProblemCode::StateForbids), "it is not closed for good");

    let refund = RefundRequest { card: card.wire(), operation: OperationId(uuid::Uuid::from_u128(70)) };
    issuer.order_refund(&refund).await.unwrap();
    ann.call(&api::PROPOSE, &[&id], &write_off).await.unwrap();
    assert_eq!(world.store.totals().await.unwrap().purses, 500, "one person writes nothing off");
    for _ in 0..2 {
        bob.call(&api::APPROVE, &[&id], &Nothing {}).await.unwrap();
        let totals = world.store.totals().await.unwrap();
        assert_eq!((totals.check(), totals.purses, totals.write_offs), (Ok(()), 0, 500));
    }
    world.centre.work().await;
    assert_eq!(causes(&list(&world, "open").await), Vec::<&str>::new());

    // The TAC of another purchase in a missing place, and a wrong one, bring nothing back.
    let again = Consumption { offline_counter: lost[0].offline_counter, ..first };
    let forged = Consumption { tac: Some(HexBytes(vec![0; 4])), ..lost[0].clone() };
    report(&world, vec![again, forged]).await;
    assert_eq!(world.store.totals().await.unwrap().write_offs, 500);
    for _ in 0..2 {
        report(&world, lost.to_vec()).await;
        let totals = world.store.totals().await.unwrap();
        let spent = totals.spent + totals.operator_payable;
        assert_eq!((totals.check(), totals.purses, totals.write_offs, spent), (Ok(()), 0, 0, 600));
    }
    world.centre.work().await;
    world.store.compare().await;
}

/// Rows of a file that cannot be read are one difference, with how many there are and the first of them, line by
/// line; two people deal with all of them at once, and all leave the quarantine.
#[tokio::test]
async fn two_people_deal_with_a_files_unreadable_rows_at_once() {
    use tsm_api::clearing::collection::{FilePiece, FileStage};
    use tsm_domain::bytes::Sha256Digest;
    const BAD: usize = 300;
    let world = World::on(MemoryClearing::new()).await;
    let mut card = world.card(1).await;
    world.top_up(&mut card, 1, 5_000).await;
    let good = row(1, &card.pay(PurchaseKind::Simple, 100));
    let rows: Vec<_> = std::iter::repeat_n(good, BAD + 1).collect();
    let mut file = file_of("UP1", &rows);
    for bad in 1..=BAD {
        // One has a date that is none, the others no card number.
        let (at, odd) = if bad == 1 { (159, &b"20261399"[..]) } else { (109, &b"X"[..]) };
        let begin = 53 + bad * 384 + at;
        file.content[begin..begin + odd.len()].copy_from_slice(odd);
    }
    let piece = FilePiece {
        name: file.name,
        size: file.content.len() as u64,
        digest: HexBytes(Sha256Digest::of(&file.content).0.to_vec()),
        offset: 0,
        content: HexBytes(file.content),
    };
    let taken = world.peer(&world.metro).file_piece(&piece).await.unwrap();
    assert_eq!((taken.stage, taken.rows_taken), (FileStage::Taken, BAD as u64 + 1));
    world.centre.work().await;
    world.centre.work().await;
    let open = list(&world, "open").await;
    assert_eq!(causes(&open), ["malformed"], "one of all");
    let text = &open[0].text;
    assert!(
        text.contains("file UP1 of METRO: 300 of 301 rows cannot be read; line 4: date and time;"),
        "{text}"
    );
    assert!(text.contains("line 5: card number") && text.ends_with('…'), "{text}");
    assert_eq!(world.store.kept_aside(None, None, 999).await.unwrap().len(), BAD);
    resolve(&world, &open[0], ActionKind::Ignore).await;
    world.centre.work().await;
    assert_eq!(world.store.kept_aside(None, None, 999).await.unwrap(), []);
    assert_eq!(causes(&list(&world, "open").await), Vec::<&str>::new());
    assert_eq!(world.store.totals().await.unwrap().spent, 100);
}

/// A purchase whose TAC was changed on its way and whose card has no proof of it any more: one person proposes to
/// book it, another approves, and then it is a purchase like any other, once. The terminal's institution hears
/// how it ended.
#[tokio::test]
async fn two_people_book_what_a_card_cannot_prove_any_more() {
    use tsm_api::clearing::purchases::{CardProof, ProofVerdict, PurchaseQuery, ReportedBy, WantedProof};
    let world = World::on(MemoryClearing::new()).await;
    let mut card = world.card(1).await;
    world.top_up(&mut card, 1, 5_000).await;
    let taps: Vec<_> = [100, 200, 300].map(|fen| card.pay(PurchaseKind::Simple, fen)).into();
    let forged = taps.iter().map(|tap| Consumption { tac: Some(HexBytes(vec![0; 4])), ..tap.clone() });
    report(&world, forged.collect()).await;
    world.centre.work().await;
    let open = list(&world, "open").await;
    assert_eq!(causes(&open), ["wrong_tac"; 3]);
    let of = |fen| open.iter().find(|one| one.theirs_fen == Some(fen)).unwrap();
    let metro = world.peer(&world.metro);
    let query = |counter| PurchaseQuery { card: card.wire(), counter };
    assert_eq!(metro.purchase(&query(1)).await.unwrap().reported, ReportedBy::Nobody);

    resolve(&world, of(100), ActionKind::Book).await;
    resolve(&world, of(200), ActionKind::Ignore).await;
    let purchase = WantedProof { counter: 3, transaction_type: 6 };
    let proof = CardProof { card: card.wire(), purchase, tac: taps[2].tac.clone().unwrap() };
    for verdict in [ProofVerdict::Recorded, ProofVerdict::ProvesNothing] {
        // The second time nothing waits for it any more.
        assert_eq!(world.peer(&world.city).card_proof(&proof).await.unwrap().verdict, verdict);
    }
    for (counter, reported) in [(1, ReportedBy::You), (2, ReportedBy::Dismissed), (3, ReportedBy::You)] {
        assert_eq!(metro.purchase(&query(counter)).await.unwrap().reported, reported, "{counter}");
    }

    let totals = world.store.totals().await.unwrap();
    assert_eq!((totals.check(), totals.spent), (Ok(()), 400));
    assert_eq!(world.store.transactions_of(card.number, 9).await.unwrap().len(), 3, "a load, two purchases");
    world.centre.work().await;
    assert_eq!(causes(&list(&world, "explained").await), ["wrong_tac"], "the one that the card proved");
    assert_eq!(causes(&list(&world, "open").await), Vec::<&str>::new());
    let left = world.store.incidents(IncidentFilter::Open, 10).await.unwrap();
    assert_eq!(left, []);
    // The true record of what was booked comes late, and is the same purchase.
    report(&world, vec![taps[0].clone()]).await;
    assert_eq!(world.store.totals().await.unwrap().spent, 400);
    world.store.compare().await;
}

fn stranger_credit(card: &mut PurseCard) -> tsm_api::clearing::CreditReport {
    card.load(9, 900)
}

pub(super) trait Looks {
    async fn ripen_for(&self, day: tsm_domain::money::settlement::BusinessDay);
    async fn compare(&self);
}

impl Looks for MemoryClearing {
    async fn ripen_for(&self, day: tsm_domain::money::settlement::BusinessDay) {
        tsm_storage::clearing::Settlements::ripen(self, day).await.unwrap();
    }

    async fn compare(&self) {
        let compared = tsm_storage::clearing::replay::compare_all(self).await.unwrap();
        assert_eq!(compared.findings, []);
    }
}

/// The desk sees at one look whether the books hold, the alarms, the differences by cause, the cards counted and
/// the gaps; nobody else does.
#[tokio::test]
async fn the_desk_sees_how_the_centre_stands() {
    use tsm_api::clearing::watch::{self, CardGapQuery};
    use tsm_api::endpoint::Nothing;
    let world = World::on(MemoryClearing::new()).await;
    let mut card = world.card(1).await;
    world.top_up(&mut card, 1, 5_000).await;
    world.card(2).await;
    card.pay(PurchaseKind::Simple, 100);
    let second = card.pay(PurchaseKind::Simple, 200);
    report(&world, vec![second]).await;
    world.centre.sweep_books().await.unwrap();
    world.centre.work().await;
    let desk = world.client(&world.desk);
    let seen = desk.call(&watch::WATCH, &[], &Nothing {}).await.unwrap();
    assert!(seen.holds && seen.gap_fen == 0 && seen.alarms.is_empty(), "{seen:?}");
    assert!(seen.checked_at.is_some() && seen.cards_checked >= 2);
    let of: Vec<_> = seen.differences.iter().map(|one| (one.cause.as_str(), one.open, one.waiting)).collect();
    assert_eq!(of, [("counter_gap", 0, 1)]);
    let counted = desk.call(&watch::CENSUS, &[], &Nothing {}).await.unwrap();
    assert_eq!((counted.cards, counted.frozen), (2, 0));
    let live = counted.states.iter().find(|one| one.state == tsm_api::clearing::AccountState::Live).unwrap();
    assert_eq!((live.cards, live.purses_fen), (2, 4_800));
    for institution in [&world.desk, &world.city] {
        let client = world.client(institution);
        let gaps = client.call(&watch::CARD_GAPS, &[], &CardGapQuery::default()).await.unwrap();
        assert_eq!(gaps.gaps.iter().map(|gap| (gap.from, gap.to)).collect::<Vec<_>>(), [(1, 1)]);
        assert_eq!(gaps.gaps[0].card, card.wire());
        assert!(!gaps.gaps[0].masked.contains(card.number.as_str()));
    }
    let metro = world.client(&world.metro);
    let others = metro.call(&watch::CARD_GAPS, &[], &CardGapQuery::default()).await.unwrap();
    assert_eq!(others.gaps, [], "another's cards");
    for refused in [
        metro.call(&watch::WATCH, &[], &Nothing {}).await.map(drop),
        world.client(&world.city).call(&watch::CENSUS, &[], &Nothing {}).await.map(drop),
    ] {
        assert_eq!(refused.unwrap_err().code(), Some(tsm_api::problem::ProblemCode::NotAllowed));
    }
}

/// A parking that waits for a load's report is listed as waiting, and the report explains it. Without one,
/// somebody has to look at it.
#[tokio::test]
async fn a_parking_that_overtook_a_load_waits_in_the_view() {
    use tsm_api::clearing::closing::{ClosingPurpose, ParkedCard, ParkingProof};
    use tsm_api::ids::OperationId;
    let world = World::on(MemoryClearing::new()).await;
    let mut credits = Vec::new();
    for number in [1, 2] {
        let mut card = world.card(number).await;
        let credit = card.load(number.into(), 700);
        let image = card.image();
        let state = *image.state();
        let parking = ParkedCard {
            card: card.wire(),
            se_id: account(&card).se_id,
            purpose: ClosingPurpose::Migration,
            operation: OperationId(uuid::Uuid::from_u128(number.into())),
            balance_fen: state.purse().fen(),
            online_counter: state.online().value(),
            offline_counter: Some(state.offline().value()),
            proof: ParkingProof::Read,
            image: Some(HexBytes(image.encode())),
        };
        let refused = world.peer(&world.city).park(&parking).await.unwrap_err();
        assert_eq!(refused.code(), Some(tsm_api::problem::ProblemCode::StateForbids));
        credits.push((credit, parking));
    }
    world.centre.work().await;
    assert_eq!(causes(&list(&world, "waiting").await), ["parking_awaits_credit"; 2]);
    assert_eq!(causes(&list(&world, "open").await), Vec::<&str>::new());

    let (credit, parking) = &credits[0];
    world.peer(&world.city).credit(credit).await.unwrap();
    world.peer(&world.city).park(parking).await.unwrap();
    world.centre.work().await;
    assert_eq!(causes(&list(&world, "explained").await), ["parking_awaits_credit"]);

    world.store.ripen_for(day().plus(5)).await;
    assert_eq!(causes(&list(&world, "open").await), ["parking_awaits_credit"], "the other one's");
}

/// A suspicious card that was examined moves value again when two people say so, and leaves the list that terminals
/// have.
#[tokio::test]
async fn two_people_release_a_card_that_was_examined() {
    use tsm_api::clearing::kept::{self, KeptQuery, KeptStanding};
    use tsm_storage::clearing::Books;
    use tsm_storage::shared::Incident;
    let world = World::on(MemoryClearing::new()).await;
    let mut card = world.card(1).await;
    world.top_up(&mut card, 1, 5_000).await;
    let id = tsm_domain::IncidentId::from_uuid(uuid::Uuid::from_u128(9));
    let (kind, text) = ("suspicious-card".to_owned(), "a counter went back".to_owned());
    let at = tsm_domain::environment::Clock::now(&*world.clock);
    let incident =
        Incident { id, se: None, card: Some(card.number), kind, text: text.clone(), at, closed: None };
    world.store.record_incident(incident).await.unwrap();
    world.store.set_frozen(card.number, Some(text), Books::default()).await.unwrap();
    world.centre.work().await;

    let (ann, bob) = (world.person(&world.city, "ann").await, world.person(&world.desk, "bob").await);
    let suspicious = async |client: &tsm_api::client::Client| {
        let query = KeptQuery { standing: KeptStanding::Suspicious, after: None };
        client.call(&kept::KEPT_CARDS, &[], &query).await.unwrap().cards
    };
    for client in [&ann, &bob] {
        let [one] = &suspicious(client).await[..] else { panic!("one card") };
        assert!(one.card == card.wire() && one.listed.is_some(), "{one:?}");
    }
    let query = api::DifferenceQuery { cause: Some("suspicious_card".into()), ..Default::default() };
    let found = ann.call(&api::DIFFERENCES, &[], &query).await.unwrap().differences;
    let id = found[0].difference.to_string();
    let note = "its rider showed it".to_owned();
    let release = api::NewProposal { action: api::ActionKind::ReleaseCard, card: None, note };
    ann.call(&api::PROPOSE, &[&id], &release).await.unwrap();
    assert!(ann.call(&api::APPROVE, &[&id], &Nothing {}).await.is_err(), "another person");
    assert_eq!(suspicious(&ann).await.len(), 1);
    bob.call(&api::APPROVE, &[&id], &Nothing {}).await.unwrap();
    assert_eq!(suspicious(&ann).await, []);
    world.top_up(&mut card, 2, 100).await;
}

/// More differences than one page has: whoever reads the view to its end sees each once, and none that is settled.
#[tokio::test]
async fn the_view_is_read_to_its_end() {
    const CARDS: usize = 21;
    const FORGED: usize = CARDS * 10;
    let world = World::on(MemoryClearing::new()).await;
    for number in 1..=CARDS as u64 {
        let mut card = world.card(number).await;
        world.top_up(&mut card, number.into(), 5_000).await;
        let forged = (0..FORGED / CARDS)
            .map(|_| Consumption { tac: Some(HexBytes(vec![0; 4])), ..card.pay(PurchaseKind::Simple, 1) })
            .collect();
        report(&world, forged).await;
    }
    world.centre.work().await;
    let client = world.client(&world.desk);
    let read = async |most| -> Vec<_> {
        let found = client.open_differences(most).await.unwrap();
        found.into_iter().map(|one| one.difference).collect()
    };
    let all = read(usize::MAX).await;
    let different: HashSet<_> = all.iter().collect();
    assert_eq!((all.len(), different.len()), (FORGED, FORGED));
    assert_eq!(read(7).await, all[..7], "the first ones");
    let one = list(&world, "open").await.into_iter().find(|one| one.difference == all[0]).unwrap();
    resolve(&world, &one, ActionKind::Ignore).await;
    assert_eq!(read(usize::MAX).await, all[1..]);
}
