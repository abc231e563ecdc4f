//! What the centre can prove over its public interface: receipts that only it can sign, a card explained from
//! facts, a journal that gives the books again, and seals that follow each other.

use tsm_api::clearing::evidence::{
    CardQuery, CardsQuery, ComparisonQuery, CounterGap, ProofWord, ReceiptQuery, SealsQuery, TransactionWord,
};
use tsm_api::client::ClientError;
use tsm_api::problem::ProblemCode;
use tsm_api::receipt::ReceiptKind;
use tsm_api::signature::MessageVerifier;
use tsm_domain::money::journal::{Seal, SignedSeal};
use tsm_epurse::commands::PurchaseKind;
use tsm_services::explain::{Language, Weight, sentences};
use tsm_storage::Chains as _;
use tsm_storage::clearing::Seals as _;
use tsm_storage::memory::MemoryClearing;
use tsm_storage::shared::{ChainKey, Entry};

use crate::clearing::{Centre, order};
use crate::purse_card::PurseCard;

/// A card with one load and two rides, of which the second reached the centre and the first did not.
async fn a_card(centre: &Centre<MemoryClearing>) -> PurseCard {
    let mut card = centre.card(1).await;
    centre.peer.payment(&order(7, &card, 5_000)).await.unwrap();
    let credit = card.load(7, 5_000);
    centre.peer.credit(&credit).await.unwrap();
    let (lost, taken) = (card.pay(PurchaseKind::Composite, 300), card.pay(PurchaseKind::Composite, 400));
    drop(lost);
    centre.consume(&[taken]).await;
    card
}

fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> ProblemCode {
    result.unwrap_err().code().expect("the centre refused")
}

#[tokio::test]
async fn each_step_of_money_has_a_receipt_that_the_centre_signed() {
    let centre = Centre::on(MemoryClearing::new()).await;
    let card = a_card(&centre).await;
    let ask = async |after| centre.peer.receipts(&ReceiptQuery { card: card.wire(), after }).await.unwrap();
    let page = ask(0).await;
    let verifier = MessageVerifier::from_point(page.key.as_bytes()).unwrap();
    let entries = centre.store.chain(ChainKey::Card(card.number), 0, 100).await.unwrap();
    let found: Vec<_> = page
        .receipts
        .iter()
        .map(|signed| {
            let receipt = signed.verify(&verifier).unwrap();
            let entry: &Entry = &entries[receipt.entry as usize - 1];
            assert_eq!(receipt.hash.as_bytes(), entry.hash.0, "the receipt names its entry");
            assert_eq!(receipt.card, card.number.to_string(), "masked");
            (receipt.kind, receipt.amount_fen, receipt.balance_fen, receipt.counter)
        })
        .collect();
    let expected = [
        (ReceiptKind::Opened, 0, Some(0), None),
        (ReceiptKind::ToppedUp, 5_000, Some(5_000), Some(1)),
        (ReceiptKind::Spent, 400, Some(4_300), Some(2)),
    ];
    assert_eq!(found, expected);
    assert_eq!(ask(0).await.receipts.len(), 3, "asked again, the same");
    let last = page.receipts[1].receipt.entry;
    assert_eq!(ask(last).await.receipts, page.receipts[2..]);
    let mut changed = page.receipts[1].clone();
    changed.receipt.amount_fen = 50_000;
    assert!(changed.verify(&verifier).is_err());
    let stranger = PurseCard::new(99);
    let query = ReceiptQuery { card: stranger.wire(), after: 0 };
    assert_eq!(code(centre.peer.receipts(&query).await), ProblemCode::UnknownId);
}

#[tokio::test]
async fn a_card_is_explained_from_what_the_centre_has() {
    let centre = Centre::on(MemoryClearing::new()).await;
    let card = a_card(&centre).await;
    centre.peer.payment(&order(8, &card, 1_000)).await.unwrap();
    let facts = centre.peer.explanation(&CardQuery { card: card.wire() }).await.unwrap();
    assert_eq!(facts.card, card.number.to_string());
    assert_eq!((facts.money.paid_in_fen, facts.money.in_flight_fen), (6_000, 1_000));
    assert_eq!(facts.in_flight.len(), 1);
    assert_eq!(facts.gaps, [CounterGap { online: false, first: 1, last: 1 }], "the first ride has not come");
    let newest = &facts.transactions[0];
    assert_eq!((newest.kind, newest.proof), (TransactionWord::Transit, ProofWord::Tac));
    assert!(facts.journal.holds && facts.journal.sealed.is_none());
    let said = sentences(&facts, Language::English);
    assert!(said.iter().all(|sentence| sentence.weight != Weight::Alarm), "{said:?}");
    centre.peer.seal().await.unwrap();
    let facts = centre.peer.explanation(&CardQuery { card: card.wire() }).await.unwrap();
    assert_eq!(facts.journal.sealed.map(|fact| fact.entry), Some(facts.journal.entries));
    let stranger = PurseCard::new(99);
    assert_eq!(
        code(centre.peer.explanation(&CardQuery { card: stranger.wire() }).await),
        ProblemCode::UnknownId
    );
    let page = centre.peer.cards(&CardsQuery::default()).await.unwrap();
    assert_eq!((page.cards.len(), page.next), (1, None));
    assert_eq!((page.cards[0].purse_fen, page.cards[0].in_flight_fen), (4_600, 1_000));
    assert_eq!(centre.peer.activity().await.unwrap().last.len(), 2);
    // Seals over others' chains do not hide what a card did before them.
    for number in 2..5 {
        centre.card(number).await;
        centre.peer.seal().await.unwrap();
    }
    assert_eq!(centre.peer.activity().await.unwrap().last.len(), 2);
}

#[tokio::test]
async fn the_journal_gives_the_books_and_its_seals_follow_each_other() {
    let mut centre = Centre::on(MemoryClearing::new()).await;
    let card = a_card(&centre).await;
    let first = centre.peer.seal().await.unwrap();
    assert_eq!(first.seals.iter().map(|seal| (seal.number, seal.heads)).collect::<Vec<_>>(), [(1, 1)]);
    assert_eq!(centre.peer.seal().await.unwrap().seals, [], "nothing grew");
    centre.peer.payment(&order(8, &card, 1_000)).await.unwrap();
    centre.restart().await;
    centre.peer.seal().await.unwrap();
    let all = centre.peer.seals(&SealsQuery::default()).await.unwrap();
    assert_eq!(all.key, first.key, "a restarted centre signs with the same key");
    let verifier = MessageVerifier::from_point(all.key.as_bytes()).unwrap();
    let mut last: Option<Seal> = None;
    for signed in centre.store.seals(0, 10).await.unwrap() {
        let SignedSeal { seal, signature, .. } = signed;
        let heads = centre.store.sealed_heads(seal.number).await.unwrap();
        assert_eq!(seal.check(last.as_ref(), &heads), Ok(()));
        verifier.verify(&seal.signed_bytes(), &hex::decode(&signature).unwrap()).unwrap();
        let on_the_wire = &all.seals[seal.number as usize - 1];
        assert_eq!(on_the_wire.root.as_bytes(), seal.root.0);
        last = Some(seal);
    }
    assert_eq!(last.map(|seal| seal.number), Some(2));
    let compared = centre.peer.comparison(&ComparisonQuery::default()).await.unwrap();
    assert_eq!(compared.findings, [""; 0]);
    assert_eq!((compared.chains, compared.paid_in_fen, compared.transactions), (1, 6_000, 2));
    let unreadable = ComparisonQuery { after: Some("card".into()) };
    assert_eq!(code(centre.peer.comparison(&unreadable).await), ProblemCode::UnknownId);
}
