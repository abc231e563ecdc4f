//! A parked card whose data were sent to a phone that is gone: two people give its balance back, on the centre's
//! evidence that no copy of it has spent or can spend.

use tsm_api::HexBytes;
use tsm_api::clearing::AccountState;
use tsm_api::clearing::lists::TerminalStatus;
use tsm_api::conversation::OutcomeResult;
use tsm_api::problem::ProblemCode;
use tsm_api::sp_tsm::desk::{CardMatter, DeskMatterKind, DeskState};
use tsm_api::sp_tsm::wallet::Operation;
use tsm_storage::memory::Crash;

use crate::issuer::centre::{purchase, report};
use crate::issuer::city::{City, GATE};
use crate::issuer::migrating_in::{BALANCE, parked, state};
use crate::issuer::phone::{Lost, Phone, request_id};
use crate::issuer::returning::books_where;

fn matter(card: &HexBytes) -> CardMatter {
    CardMatter { request: request_id(), card: card.clone(), reason: "phone stolen".into() }
}

fn code<T: std::fmt::Debug>(result: Result<T, tsm_api::client::ClientError>) -> ProblemCode {
    result.unwrap_err().code().unwrap()
}

/// A parked card that was being written to a phone when that was lost; a person has refused to release the claim.
async fn claimed_by_a_phone_that_is_gone(city: &City) -> (Phone, HexBytes) {
    let (_old, _, card) = parked(city, 1).await;
    let mut gone = Phone::new(city, 2);
    gone.order_migration().await;
    gone.lost = Lost::Response(20);
    assert_eq!(gone.open(city).await.unwrap().result, OutcomeResult::Unknown);
    (gone.lost, gone.sent) = (Lost::Nothing, 0);
    gone.reset();
    (gone, card)
}

async fn frozen(city: &City) -> (Phone, HexBytes) {
    let (gone, card) = claimed_by_a_phone_that_is_gone(city).await;
    let desk = city.at_desk();
    assert_eq!(code(desk.by("service-1").release_claim(&matter(&card)).await), ProblemCode::SuspiciousCard);
    let centre = city.centre_peer(&city.sp_tsm);
    while centre.standing(&card).await.unwrap().listed.is_none() {
        tokio::task::yield_now().await;
    }
    (gone, card)
}

/// req: B-7.6.1.i
#[tokio::test]
async fn two_people_give_the_balance_back_and_no_copy_can_spend() {
    let city = City::new().await;
    let desk = city.at_desk();
    let (gone, card) = claimed_by_a_phone_that_is_gone(&city).await;
    let early = desk.by("hall-1").propose_claim_return(&matter(&card)).await;
    assert_eq!(code(early), ProblemCode::StateForbids, "the phone may still bring it in");
    assert_eq!(code(desk.by("service-1").release_claim(&matter(&card)).await), ProblemCode::SuspiciousCard);
    let centre = city.centre_peer(&city.sp_tsm);
    while centre.standing(&card).await.unwrap().listed.is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(code(desk.by("root-1").propose_claim_return(&matter(&card)).await), ProblemCode::NotAllowed);
    let proposed = desk.by("service-1").propose_claim_return(&matter(&card)).await.unwrap();
    assert_eq!((proposed.matter, proposed.state), (DeskMatterKind::ClaimReturned, DeskState::Open));
    assert_eq!(
        desk.by("hall-1").propose_claim_return(&matter(&card)).await.unwrap(),
        proposed,
        "one case a claim"
    );
    assert_eq!(code(desk.by("service-1").approve_claim_return(proposed.case).await), ProblemCode::FourEyes);
    for _ in 0..2 {
        let approved = desk.by("hall-1").approve_claim_return(proposed.case).await.unwrap();
        assert_eq!(approved.state, DeskState::Done);
    }
    let books = books_where(&city, |books| books.refunded_fen == u64::from(BALANCE)).await;
    assert_eq!((books.parked_fen, books.refund_payable_fen, books.purses_fen), (0, 0, 0));
    assert_eq!(state(&city, &card).await, AccountState::Refunded);

    // Nobody gets the card any more, and the phone that is gone gets nothing when it comes back.
    assert!(Phone::new(&city, 3).try_order_migration().await.is_err());
    let back = gone.wallet.start(&Phone::start_request(Operation::Synchronise, None)).await;
    if let Ok(reply) = back {
        let mut gone = gone;
        assert_ne!(gone.converse(reply, None).await.result, OutcomeResult::Done);
    }
    assert!(centre.standing(&card).await.unwrap().listed.is_some(), "its number stays on the list");
}

/// While a terminal has an older list, or anybody has reported a purchase since the card was parked, nothing is
/// given back.
///
/// req: B-7.6.1.i
#[tokio::test]
async fn without_the_evidence_nothing_is_given_back() {
    let city = City::new().await;
    let desk = city.at_desk();
    let gates = city.centre_peer(&city.gate_operator);
    let mut spender = crate::issuer::migrating_in::used(&city, 7).await;
    let (_gone, card) = frozen(&city).await;
    let version = gates.whole_list().await.unwrap().head.version;
    let status = |list_version| TerminalStatus {
        terminal: HexBytes(GATE.to_vec()),
        list_version,
        fare_version: 0,
        undelivered: 0,
        fares_held: 0,
    };
    gates.terminal_status(&status(version - 1)).await.unwrap();
    assert_eq!(code(desk.by("hall-1").propose_claim_return(&matter(&card)).await), ProblemCode::StateForbids);
    gates.terminal_status(&status(version)).await.unwrap();
    let proposed = desk.by("hall-1").propose_claim_return(&matter(&card)).await.unwrap();

    // A purchase is reported: whatever it is worth, a copy may have been at work.
    let tap = purchase(&city, &spender, 100, 9).await;
    spender.reset();
    let claimed = tsm_api::clearing::Consumption { card: card.clone(), offline_counter: 99, ..tap };
    gates.consumption(&report(vec![claimed])).await.unwrap();
    let late = desk.by("hall-2").approve_claim_return(proposed.case).await;
    assert_eq!(code(late), ProblemCode::StateForbids);
    let rejected = desk.by("hall-2").reject_claim_return(proposed.case).await.unwrap();
    assert_eq!(rejected.state, DeskState::Refused);
    assert_eq!(city.centre_peer(&city.sp_tsm).books().await.unwrap().parked_fen, u64::from(BALANCE));
    spender.lost = Lost::Nothing;
}

/// The server dies at each commit of the approval: asked again, the balance goes back once.
#[tokio::test]
async fn an_approval_survives_a_crash_at_every_commit() {
    let mut crashes = 0;
    for commit in 1..=6 {
        for crash in [Crash::BeforeCommit, Crash::AfterCommit] {
            let mut city = City::new().await;
            let (_gone, card) = frozen(&city).await;
            let proposed = city.at_desk().by("hall-1").propose_claim_return(&matter(&card)).await.unwrap();
            city.faults.crash_at(city.faults.commits() + commit, crash);
            let _ = city.at_desk().by("hall-2").approve_claim_return(proposed.case).await;
            if city.faults.is_down() {
                crashes += 1;
                city.restart_sp_tsm().await;
            }
            city.faults.restart();
            let approved = city.at_desk().by("hall-2").approve_claim_return(proposed.case).await.unwrap();
            assert_eq!(approved.state, DeskState::Done, "{commit} {crash:?}");
            let books = books_where(&city, |books| books.refunded_fen == u64::from(BALANCE)).await;
            assert_eq!((books.parked_fen, books.refund_payable_fen), (0, 0), "{commit} {crash:?}");
        }
    }
    println!("{crashes} crashes at commits of a return of a claimed card");
    assert!(crashes >= 8, "{crashes}");
}
