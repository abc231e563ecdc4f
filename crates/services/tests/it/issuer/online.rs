//! A merchant is paid from a transit card over the network: through the phone to the payment platform, and from
//! there to the merchant and to the centre's books.

use tsm_api::HexBytes;
use tsm_api::clearing::{Consumption, ConsumptionReport, ConsumptionVerdict};
use tsm_api::client::PaymentUser;
use tsm_api::conversation::{
    CardFault, ConversationReply, IfBusy, Outcome, OutcomeDetail, OutcomeResult, StartOptions, Step,
    TurnRequest, UnpaidOrder,
};
use tsm_api::ids::PaymentId;
use tsm_api::payment::purse::{CardChoice, CardOffer, CardPayment};
use tsm_api::payment::{Pay, PayChoice, PaymentState};
use tsm_api::problem::ProblemCode;
use tsm_api::sp_tsm::wallet::Operation;
use tsm_card::purse::{DebitOutcome, PurchaseTerms, begin_purchase, debit};
use tsm_domain::money::{PayerToken, PurseStage};
use tsm_domain::{CardNumber, Fen, OrderId, TransferId};
use tsm_epurse::{KeyIndex, KeyRole, TerminalSequence};
use tsm_services::payment::{
    IncomingMessage, NewOrder, NewRefund, PaymentMeans, PaymentPlatform as _, PlatformState,
};
use tsm_storage::shared::IncidentFilter;
use tsm_storage::{Incidents as _, PaymentStore as _};

use crate::issuer::city::{City, PURSE};
use crate::issuer::phone::{Lost, Phone, request_id, uuid};
use crate::issuer::top_up::opened;

/// What the tests' orders cost.
pub const PRICE: u32 = 1_200;

/// A phone whose card holds this much, which the centre has booked.
pub async fn loaded(city: &City, fen: u32) -> Phone {
    let mut phone = opened(city).await;
    assert_eq!(phone.top_up(city, fen).await.result, OutcomeResult::Done);
    city.settled(fen.into()).await;
    (phone.lost, phone.sent) = (Lost::Nothing, 0);
    phone
}

/// The shop asks for money.
pub async fn ordered(city: &City, fen: u32) -> PaymentId {
    ordered_with(city, fen, PaymentMeans::AccountOrCard, None).await
}

async fn ordered_with(city: &City, fen: u32, means: PaymentMeans, payer: Option<PayerToken>) -> PaymentId {
    let order = NewOrder {
        order: OrderId::from_uuid(uuid()),
        amount: Fen::new(fen.into()),
        subject: "umbrella".into(),
        expires_at: jiff::Timestamp::now() + jiff::SignedDuration::from_mins(10),
        means,
        payer,
    };
    let made = city.shop_platform().create_order(&order).await.unwrap();
    assert_eq!(city.shop_platform().create_order(&order).await.unwrap(), made, "the same order again");
    PaymentId(made.order.as_uuid())
}

pub fn order_of(payment: PaymentId) -> OrderId {
    OrderId::from_uuid(payment.0)
}

pub fn request(choice: CardChoice) -> CardPayment {
    let options = StartOptions { request: request_id(), if_busy: IfBusy::Replace };
    CardPayment { options, aid: PURSE.into(), choice }
}

/// Holds a conversation with the payment platform to its outcome; none when the wallet is told to begin anew.
pub async fn converse(
    phone: &mut Phone,
    platform: &PaymentUser,
    mut reply: ConversationReply,
) -> Option<Outcome> {
    loop {
        let (conversation, request) = match reply {
            ConversationReply::Outcome { outcome, .. } => return Some(outcome),
            ConversationReply::Restart { .. } => return None,
            ConversationReply::Steps { conversation, turn, steps, .. } => {
                (conversation, phone.carry(turn, &steps, None))
            }
            ConversationReply::Queued { conversation, turn, .. } => {
                (conversation, TurnRequest { turn, ..TurnRequest::default() })
            }
            other @ ConversationReply::Handover { .. } => panic!("{other:?}"),
        };
        reply = platform.turn(conversation, &request).await.ok()?;
    }
}

/// Pays, or gives up, to the end.
pub async fn chosen(phone: &mut Phone, city: &City, payment: PaymentId, choice: CardChoice) -> Outcome {
    let platform = city.payer();
    let reply = platform.pay_from_card(payment, &request(choice)).await.unwrap();
    converse(phone, &platform, reply).await.unwrap()
}

pub async fn pays(phone: &mut Phone, city: &City, payment: PaymentId) -> Outcome {
    chosen(phone, city, payment, CardChoice::Pay).await
}

pub fn paid(amount_fen: u32, balance_fen: u32, counter: u16) -> OutcomeDetail {
    OutcomeDetail::PaidFromCard { amount_fen, balance_fen, counter }
}

/// Waits until the books say that this much is on cards and spent. Every round is a request.
pub async fn booked(city: &City, purses_fen: u64, spent_fen: u64) {
    let centre = city.centre_peer(&city.sp_tsm);
    let mut last = None;
    for _ in 0..20_000 {
        let books = centre.books().await.unwrap();
        if (books.purses_fen, books.spent_fen, books.in_flight_fen) == (purses_fen, spent_fen, 0) {
            return;
        }
        last = Some(books);
    }
    panic!("the books stay at {last:?}");
}

/// Why a payment was refused.
fn refusal(outcome: &Outcome) -> ProblemCode {
    assert_eq!(outcome.result, OutcomeResult::Refused, "{outcome:?}");
    let problem = outcome.problem.as_ref().unwrap();
    assert!(!problem.message_zh.is_ascii() && problem.message_en.is_ascii(), "{problem:?}");
    problem.code
}

async fn stage(city: &City, payment: PaymentId) -> Option<PurseStage> {
    let row = city.payment_store.order(order_of(payment)).await.unwrap().unwrap();
    row.purse.unwrap().attempts().last().map(|attempt| attempt.stage)
}

/// The whole way: order, three requests, the merchant's signed word, the notice at the centre, the books.
///
/// req: B-7.3.1.a
#[tokio::test]
async fn a_merchant_is_paid_from_a_card_and_the_centre_hears_of_it() {
    let city = City::new().await;
    let mut phone = loaded(&city, 5_000).await;
    let payer = PayerToken::new([0xA5; 16]);
    let payment = ordered_with(&city, PRICE, PaymentMeans::AccountOrCard, Some(payer)).await;
    let platform = city.payer();
    let listed = platform.addressed(&HexBytes(payer.to_bytes().to_vec())).await.unwrap();
    assert_eq!(listed.payments.iter().map(|one| one.payment).collect::<Vec<_>>(), [payment]);
    assert_eq!(listed.payments[0].card, Some(CardOffer::Offered));

    let before = platform.client.counters().read().requests;
    let reply = platform.pay_from_card(payment, &request(CardChoice::Pay)).await.unwrap();
    let outcome = converse(&mut phone, &platform, reply).await.unwrap();
    assert_eq!(platform.client.counters().read().requests - before, 3);
    assert_eq!((outcome.result, outcome.detail), (OutcomeResult::Done, paid(PRICE, 3_800, 1)));
    assert_eq!(phone.balance().await, 3_800);
    phone.reset();
    assert_eq!(pays(&mut phone, &city, payment).await.detail, paid(PRICE, 3_800, 1), "it hears it again");
    assert_eq!(phone.balance().await, 3_800);

    let shop = city.shop_platform();
    assert_eq!(shop.query(order_of(payment)).await.unwrap().state, PlatformState::Paid);
    let shown = city.payer().show(payment).await.unwrap();
    assert_eq!((shown.state, shown.card), (PaymentState::Paid, Some(CardOffer::Paid)));
    assert!(platform.addressed(&HexBytes(payer.to_bytes().to_vec())).await.unwrap().payments.is_empty());
    booked(&city, 3_800, PRICE.into()).await;
    while stage(&city, payment).await.is_some_and(|stage| !matches!(stage, PurseStage::Told(_))) {
        tokio::task::yield_now().await;
    }
    let words = loop {
        let words = city.shop_inbox.0.lock().unwrap().clone();
        if !words.is_empty() {
            break words;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(words.len(), 1);
    let mut headers = hyper::HeaderMap::new();
    for (name, value) in &words[0].headers {
        headers.insert(*name, value.parse().unwrap());
    }
    let message =
        IncomingMessage { method: "POST", path: &words[0].path, headers: &headers, body: &words[0].body };
    let word = shop.verify_notification(&message).await.unwrap();
    assert_eq!((word.order.order, word.order.state), (order_of(payment), PlatformState::Paid));

    // The money is in the centre's books, and not the platform's to give back.
    let refund = NewRefund {
        order: order_of(payment),
        payment: word.order.payment,
        refund: TransferId::from_uuid(uuid()),
        amount: Fen::new(PRICE.into()),
        reason: "broken".into(),
    };
    assert_eq!(shop.refund(&refund).await.unwrap_err().code(), Some(ProblemCode::StateForbids));
}

/// A card that holds too little, one that is locked, one of a stranger, an order that takes no cards: refused
/// with the reason, and nothing is taken.
///
/// req: B-7.3.1.a
#[tokio::test]
async fn what_cannot_be_paid_is_refused_with_its_reason() {
    let city = City::new().await;
    let mut phone = loaded(&city, 1_000).await;
    let dear = ordered(&city, 1_001).await;
    let refused = pays(&mut phone, &city, dear).await;
    assert_eq!(refusal(&refused), ProblemCode::BalanceTooLow);
    assert_eq!(refused.card_error.unwrap().status, HexBytes(vec![0x94, 0x01]));
    let plain = ordered_with(&city, 500, PaymentMeans::Account, None).await;
    let refused = city.payer().pay_from_card(plain, &request(CardChoice::Pay)).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::StateForbids));
    let nowhere = city.payer().pay_from_card(PaymentId(uuid()), &request(CardChoice::Pay)).await;
    assert_eq!(nowhere.unwrap_err().code(), Some(ProblemCode::UnknownId));

    let payment = ordered(&city, 500).await;
    assert_eq!(phone.operate(Operation::Lock, None).await.result, OutcomeResult::Done);
    phone.reset();
    assert_eq!(refusal(&pays(&mut phone, &city, payment).await), ProblemCode::CardLocked);
    phone.reset();
    assert_eq!(phone.operate(Operation::Unlock, None).await.result, OutcomeResult::Done);
    phone.reset();
    let mut empty = Phone::new(&city, 9);
    assert_eq!(refusal(&pays(&mut empty, &city, payment).await), ProblemCode::NotInstalled);
    assert_eq!(pays(&mut phone, &city, payment).await.detail, paid(500, 500, 1));
    booked(&city, 500, 500).await;
}

/// An order is paid once: from an account or from a card, in whatever order it is tried, and by one card.
///
/// req: B-7.3.1.a
#[tokio::test]
async fn an_order_is_paid_once() {
    let city = City::new().await;
    let mut phone = loaded(&city, 5_000).await;
    let by_account = ordered(&city, PRICE).await;
    city.payer().pay(by_account, &Pay { choice: PayChoice::Pay }).await.unwrap();
    assert_eq!(refusal(&pays(&mut phone, &city, by_account).await), ProblemCode::OrderUsed);
    assert_eq!(phone.sent, 0, "the card was not even asked");
    let closed = ordered(&city, PRICE).await;
    city.shop_platform().close(order_of(closed)).await.unwrap();
    assert_eq!(refusal(&pays(&mut phone, &city, closed).await), ProblemCode::OrderUsed);

    // While nobody knows whether the card has paid, neither an account nor a close decides.
    let payment = ordered(&city, PRICE).await;
    (phone.lost, phone.sent) = (Lost::Response(2), 0);
    assert_eq!(pays(&mut phone, &city, payment).await.result, OutcomeResult::Unknown);
    let twice = city.payer().pay(payment, &Pay { choice: PayChoice::Pay }).await.unwrap_err();
    assert_eq!(twice.code(), Some(ProblemCode::OutcomeUnknown));
    let declined = city.payer().pay(payment, &Pay { choice: PayChoice::Decline }).await.unwrap_err();
    assert_eq!(declined.code(), Some(ProblemCode::OutcomeUnknown));
    assert!(city.shop_platform().close(order_of(payment)).await.is_err());
    let shown = city.payer().show(payment).await.unwrap();
    assert_eq!((shown.state, shown.card), (PaymentState::Open, Some(CardOffer::Unknown)));
    // Another card says nothing about it.
    let mut other = second(&city, 2_000).await;
    assert_eq!(refusal(&pays(&mut other, &city, payment).await), ProblemCode::AnotherCard);
    assert_eq!(other.balance().await, 2_000);
    // The same card at another order is settled first.
    phone.lost = Lost::Nothing;
    let next = ordered(&city, 800).await;
    assert_eq!(pays(&mut phone, &city, next).await.detail, paid(800, 3_000, 2));
    assert_eq!(pays(&mut phone, &city, payment).await.detail, paid(PRICE, 3_800, 1), "it was settled");
    let again = city.payer().pay(payment, &Pay { choice: PayChoice::Pay }).await.unwrap();
    assert_eq!((again.state, again.card), (PaymentState::Paid, Some(CardOffer::Paid)), "it is paid, once");
    assert_eq!(phone.balance().await, 3_000);
    booked(&city, 5_000, 2_000).await;
}

/// A second rider's phone.
async fn second(city: &City, fen: u32) -> Phone {
    let mut phone = Phone::new(city, 2);
    phone.register_to(city, Some("13900139000"));
    assert!(crate::issuer::phone::installed(&phone.open(city).await.unwrap()));
    assert_eq!(phone.top_up(city, fen).await.result, OutcomeResult::Done);
    city.settled(u64::from(fen) + 3_800 + 1_200).await;
    (phone.lost, phone.sent) = (Lost::Nothing, 0);
    phone
}

/// The rider gives a payment up: nothing reached the card, the card was not debited, or it was.
///
/// req: B-7.3.1.a, W-9.3.b
#[tokio::test]
async fn giving_up_closes_the_order_unless_the_card_has_paid() {
    let city = City::new().await;
    let mut phone = loaded(&city, 5_000).await;
    let closed = OutcomeDetail::NotPaidFromCard { order: UnpaidOrder::Closed };
    for (lost, expected, balance) in [
        (None, closed.clone(), 5_000),
        (Some(Lost::Command(2)), closed.clone(), 5_000),
        (Some(Lost::Response(2)), paid(PRICE, 3_800, 1), 3_800),
    ] {
        let payment = ordered(&city, PRICE).await;
        if let Some(lost) = lost {
            (phone.lost, phone.sent) = (lost, 0);
            assert_eq!(pays(&mut phone, &city, payment).await.result, OutcomeResult::Unknown, "{lost:?}");
            phone.lost = Lost::Nothing;
        }
        for _ in 0..2 {
            let outcome = chosen(&mut phone, &city, payment, CardChoice::GiveUp).await;
            assert_eq!(outcome.detail, expected, "{lost:?}");
            phone.reset();
        }
        let state = city.payer().show(payment).await.unwrap().state;
        let is_paid = balance == 3_800;
        assert_eq!(state, if is_paid { PaymentState::Paid } else { PaymentState::Closed });
        assert_eq!(phone.balance().await, balance, "{lost:?}");
        phone.reset();
    }
    booked(&city, 3_800, PRICE.into()).await;
}

/// A phone that answers with what it likes: with another order's proof, with a forged one, with an old one.
/// Nothing is paid by it, and the card says what was.
///
/// req: B-7.3.1.a
#[tokio::test]
async fn a_phone_that_lies_pays_nothing() {
    let city = City::new().await;
    let mut phone = loaded(&city, 5_000).await;
    let first = ordered(&city, PRICE).await;
    let platform = city.payer();
    let reply = platform.pay_from_card(first, &request(CardChoice::Pay)).await.unwrap();
    let (conversation, turn, debit) = to_the_debit(&mut phone, &platform, reply).await;
    let honest = phone.carry(turn, &debit, None);
    let stolen = honest.responses[0].clone();
    platform.turn(conversation, &honest).await.unwrap();
    let expected = paid(PRICE, 3_800, 1);
    phone.reset();
    assert_eq!(pays(&mut phone, &city, first).await.detail, expected);

    for lie in [stolen, HexBytes([&[0xAB; 8][..], &[0x90, 0x00]].concat()), HexBytes(vec![0x93, 0x02])] {
        let payment = ordered(&city, PRICE).await;
        phone.reset();
        let reply = platform.pay_from_card(payment, &request(CardChoice::Pay)).await.unwrap();
        let (conversation, turn, _) = to_the_debit(&mut phone, &platform, reply).await;
        // MAC1 is withheld, and the answer is somebody else's.
        let lied = TurnRequest { turn, responses: vec![lie], ..TurnRequest::default() };
        let reply = platform.turn(conversation, &lied).await.unwrap();
        let outcome = converse(&mut phone, &platform, reply).await.unwrap();
        let open = OutcomeDetail::NotPaidFromCard { order: UnpaidOrder::Open };
        assert_eq!((outcome.result, outcome.detail), (OutcomeResult::Done, open));
        assert_eq!(city.payer().show(payment).await.unwrap().state, PaymentState::Open);
        // The MAC1 that was withheld is worth nothing any more.
        phone.reset();
        assert_eq!(phone.balance().await, 3_800);
    }
    // A phone that says that the card stands where it stood, after it had paid.
    let payment = ordered(&city, PRICE).await;
    phone.reset();
    let reply = platform.pay_from_card(payment, &request(CardChoice::Pay)).await.unwrap();
    let ConversationReply::Steps { conversation, turn, steps, .. } = reply else { panic!("{reply:?}") };
    let mut old = phone.carry(turn, &steps, None);
    let initialise = &mut old.responses[1].0;
    initialise[4..6].copy_from_slice(&[0, 0]);
    let reply = platform.turn(conversation, &old).await.unwrap();
    let ConversationReply::Outcome { outcome, .. } = reply else { panic!("{reply:?}") };
    assert_eq!(refusal(&outcome), ProblemCode::CardUnproven);
    let seen = city.payment_store.incidents(IncidentFilter::Open, 9).await.unwrap();
    assert_eq!(seen.iter().map(|one| one.kind.as_str()).collect::<Vec<_>>(), ["suspicious-card"]);
    booked(&city, 3_800, PRICE.into()).await;
}

/// Where an attempt begins is said without a MAC. A phone that said once that its card was further than it is does
/// not keep its rider from paying: the card is asked twice, and an incident tells of it.
#[tokio::test]
async fn a_counter_that_was_said_too_high_keeps_nobody_from_paying() {
    for choice in [CardChoice::Pay, CardChoice::GiveUp] {
        let city = City::new().await;
        let mut phone = loaded(&city, 5_000).await;
        let payment = ordered(&city, PRICE).await;
        let platform = city.payer();
        let reply = platform.pay_from_card(payment, &request(CardChoice::Pay)).await.unwrap();
        let ConversationReply::Steps { conversation, turn, steps, .. } = reply else { panic!("{reply:?}") };
        let mut said = phone.carry(turn, &steps, None);
        said.responses[1].0[4] ^= 0x04;
        let reply = platform.turn(conversation, &said).await.unwrap();
        let outcome = converse(&mut phone, &platform, reply).await.unwrap();
        let open = OutcomeDetail::NotPaidFromCard { order: UnpaidOrder::Open };
        assert_eq!((outcome.result, outcome.detail), (OutcomeResult::Done, open));
        let seen = city.payment_store.incidents(IncidentFilter::Open, 9).await.unwrap();
        assert_eq!(seen.iter().map(|one| one.kind.as_str()).collect::<Vec<_>>(), ["suspicious-card"]);
        phone.reset();
        let outcome = chosen(&mut phone, &city, payment, choice).await;
        let (expected, spent) = match choice {
            CardChoice::Pay => (paid(PRICE, 3_800, 1), PRICE),
            CardChoice::GiveUp => (OutcomeDetail::NotPaidFromCard { order: UnpaidOrder::Closed }, 0),
        };
        assert_eq!(outcome.detail, expected);
        booked(&city, 5_000 - u64::from(spent), spent.into()).await;
    }
}

/// Carries the first list, and gives the second.
pub async fn to_the_debit(
    phone: &mut Phone,
    platform: &PaymentUser,
    reply: ConversationReply,
) -> (tsm_api::ids::ConversationId, u32, Vec<Step>) {
    let ConversationReply::Steps { conversation, turn, steps, .. } = reply else { panic!("{reply:?}") };
    let answers = phone.carry(turn, &steps, None);
    let reply = platform.turn(conversation, &answers).await.unwrap();
    let ConversationReply::Steps { conversation, turn, steps, .. } = reply else { panic!("{reply:?}") };
    (conversation, turn, steps)
}

/// A notice that comes again books nothing; one with another amount or another card's is refused; the
/// platform's terminal is nobody else's.
///
/// req: B-7.3.1.a
#[tokio::test]
async fn a_notice_books_once() {
    let city = City::new().await;
    let mut phone = loaded(&city, 5_000).await;
    let payment = ordered(&city, PRICE).await;
    assert_eq!(pays(&mut phone, &city, payment).await.detail, paid(PRICE, 3_800, 1));
    booked(&city, 3_800, PRICE.into()).await;
    let row = city.payment_store.order(order_of(payment)).await.unwrap().unwrap();
    let attempt = *row.debited().unwrap();
    let at = tsm_services::purse::card_time(attempt.at);
    let told = Consumption {
        card: city.card_number(&phone.card_number().await),
        amount_fen: PRICE,
        balance_fen: 3_800,
        offline_counter: 1,
        terminal_counter: attempt.sequence,
        transaction_type: 6,
        date: HexBytes(at.date.to_bytes().to_vec()),
        time: HexBytes(at.time.to_bytes().to_vec()),
        tac: Some(HexBytes(attempt.tac().unwrap().0.to_vec())),
    };
    let terminal = HexBytes(crate::issuer::city::ONLINE.to_vec());
    let dearer = Consumption { amount_fen: PRICE + 1, ..told.clone() };
    let later = Consumption { offline_counter: 2, ..told.clone() };
    let report = ConsumptionReport { terminal, transactions: vec![told, dearer, later] };
    let receipt = city.centre_peer(&city.payment).consumption(&report).await.unwrap();
    let expected =
        [ConsumptionVerdict::Duplicate, ConsumptionVerdict::TacWrong, ConsumptionVerdict::Contradicts];
    assert_eq!(receipt.verdicts, expected);
    let others = city.centre_peer(&city.gate_operator).consumption(&report).await;
    assert!(others.is_err(), "the terminal is not theirs: {others:?}");
    booked(&city, 3_800, PRICE.into()).await;
}

/// The wallet dies in the middle and its card is used at another terminal before it comes back. The card
/// cannot say any more whose purchase was next; the centre can, once that terminal has reported.
///
/// req: B-7.3.1.a
#[tokio::test]
async fn a_tap_in_between_leaves_it_unknown_until_it_is_reported() {
    let city = City::new().await;
    let mut phone = loaded(&city, 5_000).await;
    let payment = ordered(&city, PRICE).await;
    (phone.lost, phone.sent) = (Lost::Command(2), 0);
    assert_eq!(pays(&mut phone, &city, payment).await.result, OutcomeResult::Unknown);
    phone.lost = Lost::Nothing;
    let tap = bought_elsewhere(&city, &phone, 300).await;
    for choice in [CardChoice::Pay, CardChoice::GiveUp] {
        phone.reset();
        let outcome = chosen(&mut phone, &city, payment, choice).await;
        assert_eq!(outcome.result, OutcomeResult::Unknown, "{outcome:?}");
        assert_eq!(outcome.problem.unwrap().code, ProblemCode::OutcomeUnknown);
    }
    assert_eq!(city.payer().show(payment).await.unwrap().card, Some(CardOffer::Unknown));
    let terminal = HexBytes(crate::issuer::city::GATE.to_vec());
    let report = ConsumptionReport { terminal, transactions: vec![tap] };
    let receipt = city.centre_peer(&city.gate_operator).consumption(&report).await.unwrap();
    assert_eq!(receipt.verdicts, [ConsumptionVerdict::Recorded]);
    phone.reset();
    assert_eq!(pays(&mut phone, &city, payment).await.detail, paid(PRICE, 3_500, 2));
    booked(&city, 3_500, 1_500).await;
}

/// A purchase at a till, which has not reported it yet.
pub async fn bought_elsewhere(city: &City, phone: &Phone, fen: u32) -> Consumption {
    phone.reset();
    let terminal = tsm_epurse::TerminalNumber::new(crate::issuer::city::GATE);
    let amount = tsm_epurse::Amount::from_fen(fen);
    let terms = PurchaseTerms { key_index: KeyIndex::FIRST, amount, terminal };
    let channel = &mut phone.channel();
    let begun = begin_purchase(channel, PURSE, terms).await.unwrap();
    let card = CardNumber::from_application_serial(&begun.card.serial.0).unwrap();
    let key = crate::issuer::city::purse_keys().of_card(&city.provider, KeyRole::Purchase, card).unwrap();
    let at = tsm_services::purse::card_time(jiff::Timestamp::now());
    let attempt = terms.attempt(&begun.answer, TerminalSequence::new(77), at);
    let outcome = debit(channel, &city.provider, &key, &attempt).await.unwrap();
    let DebitOutcome::Debited(tac) = outcome else { panic!("{outcome:?}") };
    Consumption {
        card: tsm_services::purse::card_to_wire(card),
        amount_fen: fen,
        balance_fen: begun.answer.balance.fen() - fen,
        offline_counter: begun.answer.counter.value() + 1,
        terminal_counter: 77,
        transaction_type: 6,
        date: HexBytes(at.date.to_bytes().to_vec()),
        time: HexBytes(at.time.to_bytes().to_vec()),
        tac: Some(HexBytes(tac.to_bytes().to_vec())),
    }
}

/// A conversation is its holder's: one that is not known begins anew, and a card that is gone leaves nothing
/// decided.
#[tokio::test]
async fn a_conversation_that_is_lost_is_begun_anew() {
    let mut city = City::new().await;
    let mut phone = loaded(&city, 5_000).await;
    let payment = ordered(&city, PRICE).await;
    let platform = city.payer();
    let reply = platform.pay_from_card(payment, &request(CardChoice::Pay)).await.unwrap();
    let (conversation, turn, steps) = to_the_debit(&mut phone, &platform, reply).await;
    let debit = phone.carry(turn, &steps, None);
    city.restart_payment().await;
    let platform = city.payer();
    let reply = platform.turn(conversation, &debit).await.unwrap();
    assert!(matches!(reply, ConversationReply::Restart { .. }), "{reply:?}");
    phone.reset();
    assert_eq!(pays(&mut phone, &city, payment).await.detail, paid(PRICE, 3_800, 1));
    let gone = ordered(&city, 100).await;
    let reply = platform.pay_from_card(gone, &request(CardChoice::Pay)).await.unwrap();
    let ConversationReply::Steps { conversation, turn, .. } = reply else { panic!("{reply:?}") };
    let fault = TurnRequest { turn, fault: Some(CardFault::CardLost), ..TurnRequest::default() };
    let reply = platform.turn(conversation, &fault).await.unwrap();
    let ConversationReply::Outcome { outcome, .. } = reply else { panic!("{reply:?}") };
    assert_ne!(outcome.result, OutcomeResult::Done);
    booked(&city, 3_800, PRICE.into()).await;
}
