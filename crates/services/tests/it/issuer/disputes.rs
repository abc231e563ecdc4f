//! A phone that changes the TAC of a payment on its way: MAC2 holds, so the shop is paid, and the centre refuses what
//! it is told. The card is asked again at its next contact, and what it says counts.

use tsm_api::HexBytes;
use tsm_api::clearing::ConsumptionReport;
use tsm_api::clearing::lists::LostCard;
use tsm_api::clearing::purchases::{CardProof, CardQuery, ProofVerdict, WantedProof};
use tsm_api::conversation::{ConversationReply, OutcomeResult, TurnRequest};
use tsm_api::ids::PaymentId;
use tsm_api::payment::purse::CardChoice;
use tsm_api::problem::ProblemCode;
use tsm_api::sp_tsm::wallet::Operation;
use tsm_domain::money::PurseStage;
use tsm_iso7816::{ResponseApdu, StatusWord};
use tsm_storage::memory::Crash;
use tsm_storage::shared::IncidentFilter;
use tsm_storage::{Incidents as _, PaymentStore as _};

use crate::issuer::city::{City, GATE};
use crate::issuer::online::{
    PRICE, booked, bought_elsewhere, converse, loaded, order_of, ordered, paid, pays, request, to_the_debit,
};
use crate::issuer::phone::{Lost, Phone, command_of};

const GET_TRANSACTION_PROOF: u8 = 0x5A;
const FULL: u32 = 10_000;

/// Pays, and changes the TAC that the card answers.
async fn falsified(phone: &mut Phone, city: &City, payment: PaymentId) {
    let platform = city.payer();
    let reply = platform.pay_from_card(payment, &request(CardChoice::Pay)).await.unwrap();
    let (conversation, turn, debit) = to_the_debit(phone, &platform, reply).await;
    let honest = phone.carry(turn, &debit, None);
    let mut answer = honest.responses[0].0.clone();
    answer[0] ^= 0x55;
    let lied = TurnRequest { responses: vec![HexBytes(answer)], ..honest };
    let reply = platform.turn(conversation, &lied).await.unwrap();
    let outcome = converse(phone, &platform, reply).await.unwrap();
    assert_eq!(outcome.result, OutcomeResult::Done, "MAC2 proves the debit: {outcome:?}");
    while !matches!(stage(city, payment).await, PurseStage::Disputed(_)) {
        tokio::task::yield_now().await;
    }
    phone.reset();
}

async fn stage(city: &City, payment: PaymentId) -> PurseStage {
    loop {
        if let Ok(row) = city.payment_store.order(order_of(payment)).await {
            return row.unwrap().debited().unwrap().stage;
        }
    }
}

/// Waits until the platform knows that the centre has it, and that nobody has to look any more.
async fn told(city: &City, payment: PaymentId) {
    while !matches!(stage(city, payment).await, PurseStage::Told(_)) {
        tokio::task::yield_now().await;
    }
    while !city.payment_store.incidents(IncidentFilter::Open, 9).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
}

/// At the platform: the next payment of the card begins with the old one's proof.
///
/// req: B-7.3.1.a
#[tokio::test]
async fn the_next_payment_reads_the_proof_again() {
    let city = City::new().await;
    let mut phone = loaded(&city, FULL).await;
    let payment = ordered(&city, PRICE).await;
    falsified(&mut phone, &city, payment).await;
    let open = city.payment_store.incidents(IncidentFilter::Open, 9).await.unwrap();
    assert_eq!(open.iter().map(|one| one.kind.as_str()).collect::<Vec<_>>(), ["disputed-debit"]);
    booked(&city, FULL.into(), 0).await;
    let next = ordered(&city, 300).await;
    assert_eq!(pays(&mut phone, &city, next).await.detail, paid(300, FULL - PRICE - 300, 2));
    told(&city, payment).await;
    assert_eq!(phone.balance().await, FULL - PRICE - 300);
    booked(&city, (FULL - PRICE - 300).into(), (PRICE + 300).into()).await;
}

/// With its issuer: any session does, and the platform learns it from the centre.
///
/// req: B-7.3.1.a
#[tokio::test]
async fn any_session_with_the_issuer_reads_the_proof_again() {
    let city = City::new().await;
    let mut phone = loaded(&city, FULL).await;
    let mut spent = 0;
    for operation in [Operation::Synchronise, Operation::Lock, Operation::Unlock] {
        let payment = ordered(&city, PRICE).await;
        if operation == Operation::Unlock {
            // A blocked purse gives no proof; it is asked before it is blocked.
            assert_eq!(phone.operate(Operation::Unlock, None).await.result, OutcomeResult::Done);
            phone.reset();
        }
        falsified(&mut phone, &city, payment).await;
        assert_eq!(phone.operate(operation, None).await.result, OutcomeResult::Done);
        phone.reset();
        spent += PRICE;
        booked(&city, (FULL - spent).into(), spent.into()).await;
        told(&city, payment).await;
    }
    // A card that is returned is asked before it is blocked for good.
    let payment = ordered(&city, PRICE).await;
    falsified(&mut phone, &city, payment).await;
    assert_eq!(phone.operate(Operation::Return, None).await.result, OutcomeResult::Done);
    spent += PRICE;
    booked(&city, 0, spent.into()).await;
    told(&city, payment).await;
}

/// The phone lies again, and again: nothing is booked by it, and the truth is asked for at each contact.
///
/// req: B-7.3.1.a
#[tokio::test]
async fn a_phone_that_goes_on_lying_books_nothing() {
    let city = City::new().await;
    let mut phone = loaded(&city, FULL).await;
    let payment = ordered(&city, PRICE).await;
    falsified(&mut phone, &city, payment).await;
    let lies = [
        HexBytes(ResponseApdu::new([0xA5; 8], StatusWord::SUCCESS).to_bytes()),
        HexBytes(ResponseApdu::new([1, 2], StatusWord::SUCCESS).to_bytes()),
        HexBytes(vec![0x94, 0x06]),
    ];
    for lie in lies {
        let start = Phone::start_request(Operation::Synchronise, None);
        let mut reply = phone.wallet.start(&start).await.unwrap();
        let mut asked = 0;
        let outcome = loop {
            reply = match reply {
                ConversationReply::Outcome { outcome, .. } => break outcome,
                ConversationReply::Steps { conversation, turn, steps, .. } => {
                    let mut answer = phone.carry(turn, &steps, None);
                    if steps.iter().any(|step| command_of(step).0.ins == GET_TRANSACTION_PROOF) {
                        assert_eq!(answer.responses.len(), 2, "SELECT, GET TRANSACTION PROOF");
                        answer.responses[1] = lie.clone();
                        asked += 1;
                    }
                    phone.wallet.turn(conversation, &answer).await.unwrap()
                }
                other => panic!("{other:?}"),
            };
        };
        assert_eq!(asked, 1, "each contact asks");
        assert_eq!(outcome.result, OutcomeResult::Done, "the lie stops nothing else: {outcome:?}");
        booked(&city, FULL.into(), 0).await;
        phone.reset();
    }
    // Nor does another card's issuer, nor a stranger's guess.
    let card = city.card_number(&phone.card_number().await);
    phone.reset();
    let query = CardQuery { card: card.clone() };
    assert_eq!(city.centre_peer(&city.gate_operator).wanted_proofs(&query).await.unwrap().proofs, []);
    let wanted = city.centre_peer(&city.payment).wanted_proofs(&query).await.unwrap().proofs;
    let purchase = WantedProof { counter: 1, transaction_type: 6 };
    assert_eq!(wanted, [purchase]);
    let guess = CardProof { card, purchase, tac: HexBytes(vec![7; 4]) };
    for organisation in [&city.payment, &city.sp_tsm, &city.gate_operator] {
        let reply = city.centre_peer(organisation).card_proof(&guess).await.unwrap();
        assert_eq!(reply.verdict, ProofVerdict::ProvesNothing);
    }
    assert_eq!(phone.operate(Operation::Synchronise, None).await.result, OutcomeResult::Done);
    told(&city, payment).await;
    booked(&city, (FULL - PRICE).into(), PRICE.into()).await;
}

/// The card was used at a till since, and its proof is of that purchase. What it cannot prove any more stays in
/// the reconciliation, and is neither booked nor forgotten.
///
/// req: B-7.3.1.a
#[tokio::test]
async fn a_proof_that_is_gone_leaves_it_to_two_people() {
    let city = City::new().await;
    let mut phone = loaded(&city, FULL).await;
    let payment = ordered(&city, PRICE).await;
    falsified(&mut phone, &city, payment).await;
    let tap = bought_elsewhere(&city, &phone, 300).await;
    let report = ConsumptionReport { terminal: HexBytes(GATE.to_vec()), transactions: vec![tap] };
    city.centre_peer(&city.gate_operator).consumption(&report).await.unwrap();
    phone.reset();
    assert_eq!(phone.operate(Operation::Synchronise, None).await.result, OutcomeResult::Done);
    phone.reset();
    let next = ordered(&city, 200).await;
    assert_eq!(pays(&mut phone, &city, next).await.detail, paid(200, FULL - PRICE - 500, 3));
    booked(&city, (FULL - 500).into(), 500).await;
    assert!(matches!(stage(&city, payment).await, PurseStage::Disputed(_)));
    let card = city.card_number(&phone.card_number().await);
    let wanted = city.centre_peer(&city.sp_tsm).wanted_proofs(&CardQuery { card }).await.unwrap();
    assert_eq!(wanted.proofs, [WantedProof { counter: 1, transaction_type: 6 }]);
}

/// The next contact is cut at every command, with the platform and with the issuer; the one after it settles.
///
/// req: B-7.3.1.a
#[tokio::test]
async fn the_next_contact_may_break_anywhere() {
    let city = City::new().await;
    let mut phone = loaded(&city, FULL).await;
    let (mut spent, mut cuts) = (0, 0);
    for at in 0..4 {
        for lost in [Lost::Command(at), Lost::Response(at)] {
            for issuer in [true, false] {
                cuts += 1;
                let payment = ordered(&city, 100).await;
                falsified(&mut phone, &city, payment).await;
                let next = ordered(&city, 50).await;
                (phone.lost, phone.sent) = (lost, 0);
                if issuer {
                    phone.operate(Operation::Synchronise, None).await;
                } else {
                    pays(&mut phone, &city, next).await;
                }
                phone.lost = Lost::Nothing;
                phone.reset();
                assert_eq!(pays(&mut phone, &city, next).await.result, OutcomeResult::Done, "{lost:?}");
                spent += 150;
                phone.reset();
                told(&city, payment).await;
                booked(&city, (FULL - spent).into(), spent.into()).await;
            }
        }
    }
    assert_eq!(phone.balance().await, FULL - spent);
    println!("{cuts} cut points at the contact that reads a proof again");
}

/// The centre dies before and after each commit of taking the proof: it is booked once.
///
/// req: B-7.3.1.a
#[tokio::test]
async fn a_centre_that_dies_over_a_proof_books_once() {
    let city = City::new().await;
    let mut phone = loaded(&city, FULL).await;
    let (mut spent, mut crashes) = (0, 0);
    let faults = city.centre_store.faults().clone();
    for commit in 1..=3 {
        for crash in [Crash::BeforeCommit, Crash::AfterCommit] {
            let payment = ordered(&city, 100).await;
            falsified(&mut phone, &city, payment).await;
            faults.crash_at(faults.commits() + commit, crash);
            phone.operate(Operation::Synchronise, None).await;
            crashes += usize::from(faults.is_down());
            faults.restart();
            phone.reset();
            assert_eq!(phone.operate(Operation::Synchronise, None).await.result, OutcomeResult::Done);
            phone.reset();
            spent += 100;
            told(&city, payment).await;
            booked(&city, (FULL - spent).into(), spent.into()).await;
        }
    }
    assert!(crashes >= 4, "only {crashes} crashes happened");
    println!("{crashes} crashes of the centre over a proof");
}

/// A card on the black list pays nothing over the network, and nothing is asked of it; found, it pays again. When
/// the centre cannot be asked, nothing is debited either.
#[tokio::test]
async fn a_listed_card_pays_nothing() {
    let city = City::new().await;
    let mut phone = loaded(&city, FULL).await;
    let payment = ordered(&city, PRICE).await;
    let card = city.card_number(&phone.card_number().await);
    phone.reset();
    let lost = LostCard { card, change: 1 };
    let centre = city.centre_peer(&city.sp_tsm);
    centre.report_lost(&lost).await.unwrap();
    let refused = pays(&mut phone, &city, payment).await;
    assert_eq!(
        (refused.result, refused.problem.unwrap().code),
        (OutcomeResult::Refused, ProblemCode::CardListed)
    );
    let row = city.payment_store.order(order_of(payment)).await.unwrap().unwrap();
    assert!(row.purse.unwrap().attempts().is_empty(), "no MAC1 was ever made");
    centre.report_found(&LostCard { change: 2, ..lost }).await.unwrap();
    city.payment_to_centre.leads_nowhere();
    phone.reset();
    assert_eq!(pays(&mut phone, &city, payment).await.result, OutcomeResult::Refused);
    city.restore_payments_way_to_centre();
    phone.reset();
    assert_eq!(pays(&mut phone, &city, payment).await.detail, paid(PRICE, FULL - PRICE, 1));
    booked(&city, (FULL - PRICE).into(), PRICE.into()).await;
}
