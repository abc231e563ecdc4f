//! The clearing centre: accounts, credits, consumption, the journal and the equation.

use tsm_api::HexBytes;
use tsm_api::clearing::{
    Consumption, ConsumptionReport, ConsumptionVerdict as Verdict, CreditReport, NewAccount, OrderReport,
};
use tsm_api::client::ClientError;
use tsm_api::ids::OrderId;
use tsm_api::problem::ProblemCode;
use tsm_domain::CardNumber;
use tsm_epurse::commands::{
    DebitForPurchase, DebitForPurchaseResponse, InitializeForPurchase, InitializeForPurchaseResponse,
    PurchaseKind,
};
use tsm_epurse::host::purchase::PurchaseFacts;
use tsm_epurse::{Amount, DateTime, KeyIndex, KeyRole, TerminalSequence};
use tsm_iso7816::{Aid, CommandApdu};
use tsm_keys::KeyService as _;
use tsm_keys::purse::PurchaseAttempt;
use tsm_storage::shared::{ChainKey, Chains as _, Entry, IncidentFilter, Incidents as _};

use crate::issuer::city::{City, GATE, PURSE, purse_keys};
use crate::issuer::phone::{Phone, uuid};
use crate::issuer::top_up::opened;

fn code(error: ClientError) -> ProblemCode {
    error.code().unwrap_or_else(|| panic!("{error}"))
}

fn select(aid: Aid) -> CommandApdu {
    CommandApdu::new(0x00, 0xA4, 0x04, 0x00).with_data(aid.as_bytes()).with_any_response()
}

/// A purchase at the gate, with a PSAM's part done by the provider's key service.
pub async fn purchase(city: &City, phone: &Phone, fen: u32, terminal_counter: u32) -> Consumption {
    let number = phone.card_number().await;
    let card: CardNumber = number.parse().unwrap();
    phone.reset();
    assert!(phone.transmit(&select(PURSE)).status.is_success());
    let (kind, key_index) = (PurchaseKind::Simple, KeyIndex::FIRST);
    let (amount, terminal) = (Amount::from_fen(fen), GATE.into());
    let initialize = InitializeForPurchase { kind, key_index, amount, terminal };
    let answer = phone.transmit(&initialize.to_apdu());
    let answer = InitializeForPurchaseResponse::decode(&answer.data).unwrap();
    let at = DateTime::from_bytes([0x20, 0x26, 0x11, 0x21, 0x10, 0x15, 0x00]);
    let terminal_sequence = TerminalSequence::new(terminal_counter);
    let facts =
        PurchaseFacts { amount, transaction_type: kind.transaction_type(), terminal, terminal_sequence, at };
    let key = purse_keys().of_card(&city.provider, KeyRole::Purchase, card).unwrap();
    let attempt = PurchaseAttempt { facts, counter: answer.counter, random: answer.random };
    let mac1 = city.provider.purchase_mac1(&key, &attempt).unwrap();
    let debit = DebitForPurchase { terminal_sequence, at, mac1 };
    let debited = phone.transmit(&debit.to_apdu());
    let tac = DebitForPurchaseResponse::decode(&debited.data).unwrap().tac;
    Consumption {
        card: city.card_number(&number),
        amount_fen: fen,
        balance_fen: answer.balance.fen() - fen,
        offline_counter: answer.counter.value() + 1,
        terminal_counter,
        transaction_type: kind.transaction_type().into(),
        date: HexBytes(at.date.to_bytes().to_vec()),
        time: HexBytes(at.time.to_bytes().to_vec()),
        tac: Some(HexBytes(tac.to_bytes().to_vec())),
    }
}

pub fn report(transactions: Vec<Consumption>) -> ConsumptionReport {
    ConsumptionReport { terminal: HexBytes(GATE.to_vec()), transactions }
}

#[tokio::test]
async fn consumption_is_verified_recorded_once_and_kept_aside_when_wrong() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    phone.top_up(&city, 5000).await;
    city.settled(5000).await;
    let gates = city.centre_peer(&city.gate_operator);
    let first = purchase(&city, &phone, 300, 1).await;
    let second = purchase(&city, &phone, 200, 2).await;

    let change = |change: &dyn Fn(&mut Consumption)| {
        let mut changed = first.clone();
        change(&mut changed);
        changed
    };
    let unknown = city.card_number("3104999000000000001");
    let batch = vec![
        change(&|wrong| wrong.tac.as_mut().unwrap().0[0] ^= 1),
        change(&|wrong| wrong.amount_fen = 3),
        change(&|wrong| wrong.terminal_counter = 9),
        change(&|wrong| wrong.card = unknown.clone()),
        change(&|wrong| wrong.card = HexBytes(vec![1])),
        change(&|wrong| wrong.transaction_type = 0x02),
        change(&|wrong| wrong.date = HexBytes(vec![0x20])),
        first.clone(),
        first.clone(),
        second.clone(),
    ];
    let verdicts = gates.consumption(&report(batch)).await.unwrap().verdicts;
    let expected = [
        Verdict::TacWrong,
        Verdict::TacWrong,
        Verdict::TacWrong,
        Verdict::UnknownCard,
        Verdict::UnknownCard,
        Verdict::Malformed,
        Verdict::Malformed,
        Verdict::Recorded,
        Verdict::Duplicate,
        Verdict::Recorded,
    ];
    assert_eq!(verdicts, expected);
    let again = gates.consumption(&report(vec![first.clone(), second])).await.unwrap();
    assert_eq!(again.verdicts, [Verdict::Duplicate, Verdict::Duplicate]);
    // The TAC does not cover the card's counter: one proof under another counter, taken or never used, is
    // still one purchase.
    for counter in [2, 77] {
        let moved = change(&|moved| moved.offline_counter = counter);
        let verdict = gates.consumption(&report(vec![moved])).await.unwrap();
        assert_eq!(verdict.verdicts, [Verdict::Contradicts], "counter {counter}");
    }

    let books = city.centre_peer(&city.sp_tsm).books().await.unwrap();
    assert_eq!((books.paid_in_fen, books.purses_fen, books.spent_fen), (5000, 4500, 500));
    assert_eq!(phone.balance().await, 4500);
    let account = city.centre_peer(&city.sp_tsm).account(&first.card).await.unwrap();
    assert_eq!((account.spent_fen, account.proven_balance_fen), (500, 4500));
    let incidents = city.centre_store.incidents(IncidentFilter::Open, 10).await.unwrap();
    assert!(incidents.len() >= 3, "wrong TACs and contradictions are looked at by a person");

    let strange = ConsumptionReport { terminal: HexBytes(vec![9; 6]), transactions: vec![first] };
    assert_eq!(code(gates.consumption(&strange).await.unwrap_err()), ProblemCode::UnknownId);
}

/// The gate may be faster than the report of the credit: then it reports again.
#[tokio::test]
async fn consumption_before_its_credit_is_taken_later() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    let order = phone.paid_order(&city, 5000).await;
    (phone.lost, phone.sent) = (crate::issuer::phone::Lost::Response(2), 0);
    phone.operate(tsm_api::sp_tsm::wallet::Operation::TopUp, Some(order)).await;
    phone.lost = crate::issuer::phone::Lost::Nothing;
    let spent = purchase(&city, &phone, 300, 1).await;
    let gates = city.centre_peer(&city.gate_operator);
    let early = gates.consumption(&report(vec![spent.clone()])).await.unwrap();
    assert_eq!(early.verdicts, [Verdict::NotYet]);
    // A purchase has lowered the balance since, and the top-up is still found credited.
    let found = phone.operate(tsm_api::sp_tsm::wallet::Operation::TopUp, Some(order)).await;
    assert_eq!(found.result, tsm_api::conversation::OutcomeResult::Done, "{found:?}");
    city.settled(5000).await;
    let later = gates.consumption(&report(vec![spent])).await.unwrap();
    assert_eq!(later.verdicts, [Verdict::Recorded]);
    assert_eq!(city.centre_peer(&city.sp_tsm).books().await.unwrap().purses_fen, 4700);
}

/// Reports that do not fit the books move nothing.
///
/// req: B-7.4.1.c, B-7.2.1.c
#[tokio::test]
async fn contradicting_reports_of_credits_and_accounts_move_nothing() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    phone.top_up(&city, 5000).await;
    city.settled(5000).await;
    let card = city.card_number(&phone.card_number().await);
    let issuer = city.centre_peer(&city.sp_tsm);
    let forged = CreditReport {
        order: OrderId(uuid()),
        card: card.clone(),
        amount_fen: 100_000,
        balance_fen: 105_000,
        counter: 2,
        terminal: HexBytes(GATE.to_vec()),
        date: HexBytes(vec![0x20, 0x26, 0x11, 0x21]),
        time: HexBytes(vec![0x10, 0x00, 0x00]),
        tac: Some(HexBytes(vec![1, 2, 3, 4])),
        means: tsm_api::clearing::CreditMeans::Payment,
    };
    assert_eq!(code(issuer.credit(&forged).await.unwrap_err()), ProblemCode::CardUnproven);
    let unknown_card = CreditReport { card: city.card_number("3104999000000000001"), ..forged.clone() };
    assert_eq!(code(issuer.credit(&unknown_card).await.unwrap_err()), ProblemCode::UnknownId);
    for wrong in [
        CreditReport { amount_fen: 0, ..forged.clone() },
        CreditReport { counter: 0, ..forged.clone() },
        CreditReport { date: HexBytes(vec![]), ..forged.clone() },
        CreditReport { terminal: HexBytes(vec![0xAA; 6]), ..forged.clone() },
        CreditReport { tac: Some(HexBytes(vec![1])), ..forged.clone() },
    ] {
        assert_eq!(code(issuer.credit(&wrong).await.unwrap_err()), ProblemCode::ValueRefused, "{wrong:?}");
    }
    // Another credit with a counter that is recorded.
    let second = CreditReport { counter: 1, tac: None, ..forged.clone() };
    assert_eq!(code(issuer.credit(&second).await.unwrap_err()), ProblemCode::Duplicate);

    let back = OrderReport { order: OrderId(uuid()), card: card.clone(), amount_fen: 5000 };
    assert_eq!(code(issuer.cancellation(&back).await.unwrap_err()), ProblemCode::StateForbids);
    assert_eq!(code(issuer.refund(&back).await.unwrap_err()), ProblemCode::StateForbids);

    let account = NewAccount { card: card.clone(), se_id: HexBytes(phone.se_id.clone()), aid: PURSE.into() };
    let again = issuer.open_account(&account).await.unwrap();
    assert_eq!(again, issuer.account(&card).await.unwrap(), "the same account, however often it is opened");
    let elsewhere = NewAccount { se_id: HexBytes(vec![7]), ..account.clone() };
    assert_eq!(code(issuer.open_account(&elsewhere).await.unwrap_err()), ProblemCode::StateForbids);
    let strange = NewAccount { card: city.card_number("9999999000000000001"), ..account };
    assert_eq!(code(issuer.open_account(&strange).await.unwrap_err()), ProblemCode::UnknownId);
    let books = issuer.books().await.unwrap();
    assert_eq!((books.paid_in_fen, books.purses_fen), (5000, 5000));
}

/// The journal of a card is a chain in which nothing can be changed unseen.
#[tokio::test]
async fn the_journal_of_a_card_is_chained_at_issuer_and_centre() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    phone.top_up(&city, 5000).await;
    city.settled(5000).await;
    let card: CardNumber = phone.card_number().await.parse().unwrap();
    let events = |entries: &[Entry]| {
        Entry::check_chain(None, entries).unwrap();
        entries.iter().map(|entry| entry.note.event.clone()).collect::<Vec<_>>()
    };
    let issuer = city.store.chain(ChainKey::Card(card), 0, 100).await.unwrap();
    let expected = [
        "card-ordered",
        "personalisation-intended",
        "card-opened",
        "payment-confirmed",
        "load-intended",
        "loaded",
    ];
    assert_eq!(events(&issuer), expected);
    let centre = city.centre_store.chain(ChainKey::Card(card), 0, 100).await.unwrap();
    let events = events(&centre);
    assert!(events.contains(&"account-opened".to_owned()) && events.contains(&"credit-recorded".to_owned()));
    let text = format!("{issuer:?}{centre:?}");
    assert!(!text.contains(card.as_str()), "no full card number in a journal's entries");
}
