//! An institution sees and moves only its own.

use tsm_api::HexBytes;
use tsm_api::clearing::settlement as api;
use tsm_api::clearing::{ConsumptionReport, closing};
use tsm_api::client::ClientError;
use tsm_api::endpoint::Nothing;
use tsm_api::ids::OperationId;
use tsm_api::problem::ProblemCode;
use tsm_epurse::commands::PurchaseKind;
use tsm_storage::ClearingStore as _;
use tsm_storage::memory::MemoryClearing;
use uuid::Uuid;

use super::world::{DAY, World, account, day, paid, report};
use crate::purse_card::TERMINAL;

fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> ProblemCode {
    result.unwrap_err().code().unwrap()
}

/// Every endpoint about a card refuses whoever did not issue it.
#[tokio::test]
async fn anothers_card_is_not_for_this_institution() {
    let world = World::on(MemoryClearing::new()).await;
    let mut card = world.card(1).await;
    world.top_up(&mut card, 1, 500).await;
    let before = world.store.totals().await.unwrap();
    let (metro, client) = (world.peer(&world.metro), world.client(&world.metro));
    let operation = OperationId(Uuid::from_u128(5));
    let credit = card.load(9, 100);
    let begin = closing::BeginClosing {
        card: card.wire(),
        se_id: account(&card).se_id,
        purpose: closing::ClosingPurpose::Return,
        operation,
    };
    let release = closing::ReleaseClaim { card: card.wire(), se_id: account(&card).se_id, operation };
    let refund = closing::RefundRequest { card: card.wire(), operation };
    let query = closing::ClosingQuery { card: card.wire(), operation: None };
    for (endpoint, found) in [
        ("open", code(metro.open_account(&account(&card)).await)),
        ("payment", code(metro.payment(&report(2, &card, 500)).await)),
        ("cancellation", code(metro.cancellation(&report(1, &card, 500)).await)),
        ("refund", code(metro.refund(&report(1, &card, 500)).await)),
        ("credit", code(metro.credit(&credit).await)),
        ("account", code(metro.account(&card.wire()).await)),
        ("begin closing", code(client.call(&closing::BEGIN_CLOSING, &[], &begin).await)),
        ("order refund", code(client.call(&closing::ORDER_REFUND, &[], &refund).await)),
        ("release claim", code(client.call(&closing::RELEASE_CLAIM, &[], &release).await)),
        ("closing", code(client.call(&closing::CLOSING, &[], &query).await)),
    ] {
        assert_eq!(found, ProblemCode::NotAllowed, "{endpoint}");
    }
    assert_eq!(world.store.totals().await.unwrap(), before);
    assert_eq!(metro.books().await.unwrap(), Default::default(), "it issued nothing");
    assert_eq!(world.peer(&world.city).books().await.unwrap().purses_fen, 500);
}

/// Terminals report through their operator, and the desk's work is the desk's.
#[tokio::test]
async fn anothers_terminal_and_the_desks_work_are_not_either() {
    let world = World::on(MemoryClearing::new()).await;
    let mut card = world.card(1).await;
    world.top_up(&mut card, 1, 500).await;
    let sale = card.pay(PurchaseKind::Simple, 100);
    let taps = ConsumptionReport { terminal: HexBytes(TERMINAL.to_vec()), transactions: vec![sale] };
    assert_eq!(code(world.peer(&world.city).consumption(&taps).await), ProblemCode::UnknownId);
    world.peer(&world.metro).consumption(&taps).await.unwrap();

    world.clock.set("2026-11-20T16:10:00Z");
    let pay = api::NewPayout { operator: "METRO".into(), note: "as settled".into() };
    for institution in [&world.city, &world.metro] {
        let client = world.client(institution);
        let refused = [
            code(client.call(&api::CLOSE_DAY, &[DAY], &Nothing {}).await),
            code(client.call(&api::RECONCILE_DAY, &[DAY], &Nothing {}).await),
            code(client.call(&api::PROPOSE_PAYOUT, &[DAY], &pay).await),
            code(client.call(&api::WAITING_PAYOUTS, &[], &Nothing {}).await),
        ];
        assert_eq!(refused, [ProblemCode::NotAllowed; 4]);
    }
    world.statements.set(vec![paid(77, 900)]);
    world.centre.settle_day(day()).await.unwrap();
    world.centre.reconcile_day(day()).await.unwrap();
    let (city, metro) = (world.client(&world.city), world.client(&world.metro));
    assert_eq!(city.call(&api::FILES, &[DAY], &Nothing {}).await.unwrap().files, [], "it operates nothing");
    for client in [&city, &metro] {
        assert_eq!(client.call(&api::SETTLEMENTS, &[DAY], &Nothing {}).await.unwrap().settlements.len(), 1);
    }
    // The city sees its card's difference; that of an unknown card is the desk's.
    let list = async |client: &tsm_api::client::Client| {
        let found = client.call(&api::DIFFERENCES, &[], &api::DifferenceQuery::default()).await.unwrap();
        found.differences.into_iter().map(|one| (one.cause, one.difference)).collect::<Vec<_>>()
    };
    assert_eq!(list(&metro).await, []);
    let own = list(&city).await;
    assert_eq!(own.iter().map(|(cause, _)| cause.as_str()).collect::<Vec<_>>(), ["not_in_statement"]);
    let all = list(&world.client(&world.desk)).await;
    assert_eq!(all.len(), 2);
    let unknown = all.iter().find(|(cause, _)| cause == "paid_unknown_to_us").unwrap().1.to_string();
    let own = own[0].1.to_string();
    let proposal = api::NewProposal { action: api::ActionKind::Ignore, card: None, note: "x".into() };
    let (city, metro) = (world.person(&world.city, "eve").await, world.person(&world.metro, "eve").await);
    for (client, id) in [(&city, &unknown), (&metro, &unknown), (&metro, &own)] {
        let refused = [
            code(client.call(&api::DIFFERENCE, &[id], &Nothing {}).await),
            code(client.call(&api::PROPOSE, &[id], &proposal).await),
            code(client.call(&api::APPROVE, &[id], &Nothing {}).await),
            code(client.call(&api::REJECT, &[id], &Nothing {}).await),
        ];
        assert_eq!(refused, [ProblemCode::NotAllowed; 4]);
    }
}
