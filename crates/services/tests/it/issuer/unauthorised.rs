//! Whoever may not call an endpoint is refused with the right problem, and nothing changes. Each endpoint of
//! SP-TSM, centre and payment platform has a row here that says whose it is: a new one without a row fails.

use std::sync::Arc;

use serde_json::{Value, json};
use tsm_api::HexBytes;
use tsm_api::client::{Client, ClientError, Signing};
use tsm_api::endpoint::{Endpoint, EndpointInfo, Verb};
use tsm_api::ids::{ConversationId, OrderId};
use tsm_api::problem::ProblemCode;
use tsm_api::sp_tsm::desk::LostCard;
use tsm_api::sp_tsm::migration::ParkedReturn;
use tsm_api::sp_tsm::wallet::{Operation, TopUpOrder};
use tsm_api::{Access, clearing, payment, sp_tsm};

use crate::issuer::city::{City, Organisation, PURSE};
use crate::issuer::phone::{Phone, installed, request_id, uuid};

/// Whose an endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// The SE-TSM's.
    SeTsm,
    /// The institutions' whose terminals take cash.
    Terminals,
    /// The issuer's own tools', of which this city has none.
    OwnTools,
    /// The issuer's desk's: a person's who is logged in there.
    Desk,
    /// The issuer's desk's: whoever knows a person's password.
    DeskLogin,
    /// At the centre: the card's issuer's.
    Issuer,
    /// At the centre: the issuers' and the desk's.
    Keepers,
    /// At the centre: its own desk's, which this city has not.
    CentreDesk,
    /// At the centre: a person's who is logged in, with the role for it.
    Clerk,
    /// At the centre: whoever knows a person's password.
    ClerkLogin,
    /// At the centre: each institution's, which sees its own and nothing else.
    Institutions,
    /// A wallet's, a payer's or the payment platform's: refused to every institution as to anybody.
    Others,
}

use Owner::{
    CentreDesk, Clerk, ClerkLogin, Desk, DeskLogin, Institutions, Issuer, Keepers, Others, OwnTools, SeTsm,
    Terminals,
};

const ID: &str = "00000000-0000-4000-8000-00000000002a";

/// The rows: method and path, whose it is, and a request that could be answered.
fn sp_tsm_rows(card: &str) -> Vec<(&'static str, Owner, Value)> {
    let (se, aid) = ("01234567890000000001", HexBytes::from(PURSE).to_string());
    let matter = json!({ "request": ID, "card": card, "clerk": "hall-1", "reason": "why" });
    // A name in a request is nobody's.
    let clerk = json!({ "clerk": "hall-1" });
    let added = json!({ "person": "one", "roles": ["hall"], "first_password": "from the first day" });
    let result = json!({ "operation": ID, "se_id": se, "aid": aid, "kind": "download", "result": "done" });
    let asked = json!({ "operation": ID, "kind": "download", "se_id": se, "aid": aid, "domain_aid": aid });
    let answer = json!({
        "operation": ID, "initialize_update": "9000", "progress": { "stage": "loading", "percent": 1 },
        "observation": { "load_files": [], "applications": [] },
    });
    let cash = json!({ "operation": ID, "request": ID, "terminal": "099900000042", "card": card, "amount_fen": 100 });
    vec![
        ("POST /wallet/v1/orders/cards", Others, json!({})),
        ("POST /wallet/v1/orders/top-ups", Others, json!({})),
        ("GET /wallet/v1/orders/{order}", Others, json!({})),
        ("POST /wallet/v1/orders/{order}/cancellation", Others, json!({})),
        ("POST /wallet/v1/conversations", Others, json!({})),
        ("POST /wallet/v1/conversations/{conversation}", Others, json!({})),
        ("POST /wallet/v1/conversations/{conversation}/cancellation", Others, json!({})),
        ("GET /wallet/v1/cards/{aid}", Others, json!({})),
        ("GET /wallet/v1/interrupted", Others, json!({})),
        ("GET /wallet/v1/parked-cards", Others, json!({})),
        ("POST /wallet/v1/orders/migrations", Others, json!({})),
        ("POST /wallet/v1/orders/migrations/{migration}/cancellation", Others, json!({})),
        ("POST /wallet/v1/orders/returns", Others, json!({})),
        ("POST /wallet/v1/lost-cards", Others, json!({})),
        ("GET /wallet/v1/cards/{aid}/receipts", Others, json!({})),
        ("POST /peer/v1/payment-notifications", Others, json!({})),
        ("POST /peer/v1/pre-operations", SeTsm, asked),
        ("POST /peer/v1/handovers", SeTsm, answer),
        ("POST /peer/v1/results", SeTsm, result),
        (
            "POST /peer/v1/number-changes",
            SeTsm,
            json!({ "se_id": se, "msisdn": "13800138000", "formerly": [] }),
        ),
        ("POST /peer/v1/losses", SeTsm, json!({ "se_id": se, "standing": "lost", "change": 1 })),
        ("POST /peer/v1/explanations", OwnTools, json!({ "card": card })),
        ("GET /peer/v1/flows", OwnTools, json!({})),
        ("POST /peer/v1/cash-top-ups", Terminals, cash.clone()),
        ("GET /peer/v1/cash-top-ups/{operation}", Terminals, json!({})),
        ("POST /peer/v1/cash-cancellations", Terminals, cash),
        ("POST /desk/v1/payouts", Desk, matter.clone()),
        ("POST /desk/v1/payouts/{payout}/approval", Desk, clerk.clone()),
        ("POST /desk/v1/payouts/{payout}/rejection", Desk, clerk.clone()),
        ("GET /desk/v1/payouts/{payout}", Desk, json!({})),
        ("POST /desk/v1/lost-cards", Desk, matter.clone()),
        ("POST /desk/v1/unlocks", Desk, matter.clone()),
        ("POST /desk/v1/claims/release", Desk, matter.clone()),
        ("POST /desk/v1/claims/returns", Desk, matter.clone()),
        ("POST /desk/v1/claims/returns/{case}/approval", Desk, clerk.clone()),
        ("POST /desk/v1/claims/returns/{case}/rejection", Desk, clerk),
        ("POST /desk/v1/sessions", Desk, json!({ "matter": matter, "work": "return" })),
        ("GET /desk/v1/cases", Desk, json!({ "card": card })),
        ("POST /desk/v1/clerks/login", DeskLogin, json!({ "person": "one", "password": "a guess at it" })),
        ("POST /desk/v1/clerks/logout", Desk, json!({})),
        ("POST /desk/v1/clerks/password", Desk, json!({ "old": "from the first day", "new": "my own one" })),
        ("GET /desk/v1/clerks/self", Desk, json!({})),
        ("POST /desk/v1/clerks", Desk, added),
        ("POST /desk/v1/clerks/{person}/decision", Desk, json!({ "decision": "approve" })),
        ("GET /desk/v1/clerks", Desk, json!({})),
    ]
}

fn centre_rows(card: &str) -> Vec<(&'static str, Owner, Value)> {
    let se = "01234567890000000001";
    let order = json!({ "order": ID, "card": card, "amount_fen": 100 });
    let closing = json!({ "card": card, "se_id": se, "purpose": "return", "operation": ID });
    let undo = json!({ "card": card, "operation": ID, "evidence": { "kind": "never_sent" } });
    let unloaded =
        json!({ "kind": "unloaded", "terminal": "099900000042", "date": "20261121", "time": "101500" });
    let park = json!({
        "card": card, "se_id": se, "purpose": "return", "operation": ID, "balance_fen": 0, "online_counter": 0,
        "proof": unloaded,
    });
    let refund = json!({ "card": card, "operation": ID });
    let proof =
        json!({ "card": card, "purchase": { "counter": 1, "transaction_type": 6 }, "tac": "00000000" });
    let hall = json!({ "kind": "hall", "clerk": "hall-1" });
    let paid = json!({ "card": card, "operation": ID, "refund": ID, "amount_fen": 1, "way": hall });
    let claim = json!({ "card": card, "se_id": se, "operation": ID });
    let credit = json!({
        "order": ID, "card": card, "amount_fen": 1, "balance_fen": 0, "counter": 0, "terminal": "099900000042",
        "date": "20261121", "time": "101500",
    });
    let batch = json!({
        "header": { "terminal": "099900000042", "sequence": 1, "count": 0, "sum_fen": 0, "digest": "00" }, "rows": [],
    });
    let incident =
        json!({ "incident": ID, "kind": "payment-odd", "text": "odd", "at": "2026-11-21T10:00:00Z" });
    let piece = json!({ "name": "odd", "size": 1, "digest": "00", "offset": 0, "content": "00" });
    let locked = json!({
        "card": card, "terminal": "099900000042", "number": 1, "list_version": 0, "date": "20261121", "time": "101500",
    });
    let proposal = json!({ "proposal": ID, "card": card, "listed": "black", "why": "why" });
    let status =
        json!({ "terminal": "099900000042", "list_version": 0, "fare_version": 0, "undelivered": 0 });
    let action = json!({ "action": "ignore", "note": "why" });
    let login = json!({ "person": "one", "password": "a guess at it" });
    let clerk = json!({ "person": "one", "roles": ["approver"], "first_password": "from the first day" });
    vec![
        ("POST /peer/v1/accounts", Issuer, json!({ "card": card, "se_id": se, "aid": "A000000632" })),
        ("POST /peer/v1/payments", Issuer, order.clone()),
        ("POST /peer/v1/cancellations", Issuer, order.clone()),
        ("POST /peer/v1/refunds", Issuer, order),
        ("POST /peer/v1/credits", Issuer, credit),
        (
            "POST /peer/v1/consumptions",
            Institutions,
            json!({ "terminal": "099900000042", "transactions": [] }),
        ),
        ("GET /peer/v1/accounts/{card}", Issuer, json!({})),
        ("GET /peer/v1/books", Institutions, json!({})),
        ("POST /peer/v1/closings", Issuer, closing),
        ("POST /peer/v1/closings/undo", Issuer, undo),
        ("POST /peer/v1/parked-cards", Issuer, park),
        ("POST /peer/v1/parked-cards/refund", Issuer, refund.clone()),
        ("POST /peer/v1/parked-cards/refund/payments", Issuer, paid),
        ("POST /peer/v1/parked-cards/claims", Issuer, claim.clone()),
        ("POST /peer/v1/parked-cards/claims/release", Issuer, claim),
        ("GET /peer/v1/closings", Issuer, json!({ "card": card })),
        ("GET /peer/v1/parked-cards/claims/evidence", Issuer, json!({ "card": card })),
        ("POST /peer/v1/issuer-freezes", Issuer, json!({ "freeze": ID, "card": card, "reason": "why" })),
        (
            "POST /peer/v1/card-incidents",
            Issuer,
            json!({
                "incident": ID, "kind": "proof_missing", "card": card, "text": "why",
                "at": "2026-11-20T04:00:00Z",
            }),
        ),
        ("POST /peer/v1/payment-incidents", Keepers, incident),
        (
            "POST /peer/v1/stray-payments",
            Issuer,
            json!({ "order": ID, "card": card, "payment": "P1", "amount_fen": 100 }),
        ),
        ("GET /peer/v1/purchases", Institutions, json!({ "card": card, "counter": 1 })),
        ("GET /peer/v1/purchases/proofs/wanted", Institutions, json!({ "card": card })),
        ("POST /peer/v1/purchases/proofs", Institutions, proof),
        ("POST /peer/v1/batches", Institutions, batch),
        ("GET /peer/v1/batches/{batch}", Institutions, json!({})),
        ("POST /peer/v1/files", Institutions, piece),
        ("GET /peer/v1/files/{name}", Institutions, json!({})),
        ("GET /peer/v1/results/{name}", Institutions, json!({ "offset": 0 })),
        ("GET /peer/v1/results", Institutions, json!({})),
        ("GET /peer/v1/quarantine", Institutions, json!({})),
        ("GET /peer/v1/gaps", Institutions, json!({})),
        ("GET /peer/v1/lists/changes", Institutions, json!({ "since": 0 })),
        ("GET /peer/v1/lists/whole", Institutions, json!({})),
        ("GET /peer/v1/lists/key", Institutions, json!({})),
        ("POST /peer/v1/terminals/status", Institutions, status),
        ("GET /peer/v1/terminals", Institutions, json!({})),
        ("POST /peer/v1/lists/lost", Issuer, json!({ "card": card, "change": 1 })),
        ("POST /peer/v1/lists/found", Issuer, json!({ "card": card, "change": 1 })),
        ("POST /peer/v1/lists/locked", Institutions, locked),
        ("GET /peer/v1/lists/cards/{card}", Institutions, json!({})),
        ("POST /peer/v1/lists/proposals", Clerk, proposal),
        ("POST /peer/v1/lists/proposals/{proposal}/decision", Clerk, json!({ "decision": "approve" })),
        ("GET /peer/v1/lists/proposals", Institutions, json!({})),
        ("POST /peer/v1/receipts", Keepers, json!({ "card": card, "after": 0 })),
        ("POST /peer/v1/explanations", Keepers, json!({ "card": card })),
        ("GET /peer/v1/cards", Keepers, json!({})),
        ("GET /peer/v1/activity", Keepers, json!({})),
        ("GET /peer/v1/journal/comparison", Keepers, json!({})),
        ("POST /peer/v1/journal/seals", Keepers, json!({})),
        ("GET /peer/v1/journal/seals", Institutions, json!({ "after": 0 })),
        ("POST /peer/v1/days/{day}/close", CentreDesk, json!({})),
        ("POST /peer/v1/days/{day}/reconcile", CentreDesk, json!({})),
        ("GET /peer/v1/days", Institutions, json!({})),
        ("GET /peer/v1/days/{day}/settlements", Institutions, json!({})),
        ("GET /peer/v1/days/{day}/files", Institutions, json!({})),
        ("GET /peer/v1/days/{day}/files/{number}", Institutions, json!({})),
        (
            "POST /peer/v1/days/{day}/payouts",
            CentreDesk,
            json!({ "operator": "GATES", "note": "as settled" }),
        ),
        (
            "POST /peer/v1/days/{day}/payouts/decision",
            CentreDesk,
            json!({ "operator": "GATES", "amount_fen": 1, "decision": "approve" }),
        ),
        ("GET /peer/v1/days/{day}/payouts", CentreDesk, json!({})),
        ("GET /peer/v1/payouts", CentreDesk, json!({})),
        ("GET /peer/v1/differences", Institutions, json!({})),
        ("GET /peer/v1/differences/{difference}", Institutions, json!({})),
        ("POST /peer/v1/differences/{difference}/proposals", Clerk, action),
        ("POST /peer/v1/differences/{difference}/approvals", Clerk, json!({})),
        ("POST /peer/v1/differences/{difference}/rejections", Clerk, json!({})),
        ("GET /peer/v1/watch", CentreDesk, json!({})),
        ("GET /peer/v1/census", CentreDesk, json!({})),
        ("GET /peer/v1/card-gaps", Institutions, json!({})),
        ("POST /peer/v1/fares", Clerk, json!({ "valid_from": "2026-11-21T16:00:00Z", "text": "{}" })),
        ("POST /peer/v1/fares/{version}/decision", Clerk, json!({ "digest": "00", "decision": "approve" })),
        ("GET /peer/v1/fares", Institutions, json!({})),
        ("GET /peer/v1/fares/{version}/proposal", Institutions, json!({})),
        ("GET /peer/v1/fares/{version}", Institutions, json!({})),
        ("GET /peer/v1/kept-cards", Clerk, json!({ "standing": "parked" })),
        ("GET /peer/v1/kept-cards/{card}", Clerk, json!({})),
        ("POST /peer/v1/clerks/login", ClerkLogin, login),
        ("POST /peer/v1/clerks/logout", Clerk, json!({})),
        ("POST /peer/v1/clerks/password", Clerk, json!({ "old": "from the first day", "new": "my own one" })),
        ("GET /peer/v1/clerks/self", Clerk, json!({})),
        ("POST /peer/v1/clerks", Clerk, clerk),
        ("POST /peer/v1/clerks/{person}/decision", Clerk, json!({ "decision": "approve" })),
        ("GET /peer/v1/clerks", Clerk, json!({})),
    ]
}

/// The endpoints with their rows, in order; none without a row, and no row without one.
fn decided(
    endpoints: Vec<EndpointInfo>,
    rows: Vec<(&'static str, Owner, Value)>,
) -> Vec<(EndpointInfo, Owner, Value)> {
    assert_eq!(endpoints.len(), rows.len(), "each endpoint has one row");
    let row = |endpoint: EndpointInfo| {
        let name = format!("{} {}", endpoint.verb.name(), endpoint.path);
        let found = rows.iter().find(|(path, ..)| *path == name);
        let (_, owner, request) = found.unwrap_or_else(|| panic!("nobody has decided whose {name} is"));
        (endpoint, *owner, request.clone())
    };
    endpoints.into_iter().map(row).collect()
}

async fn ask(
    client: &Client,
    info: &EndpointInfo,
    parameter: &str,
    request: &Value,
) -> Result<Value, ClientError> {
    let endpoint: Endpoint<Value, Value> = match info.verb {
        Verb::Get => Endpoint::get(info.path, info.access, ""),
        Verb::Post => Endpoint::post(info.path, info.access, ""),
    };
    let parameters = info.path.matches('{').count();
    client.call(&endpoint, &vec![parameter; parameters], request).await
}

async fn refusal(
    client: &Client,
    info: &EndpointInfo,
    parameter: &str,
    request: &Value,
) -> Option<ProblemCode> {
    match ask(client, info, parameter, request).await {
        Ok(_) => None,
        Err(error) => Some(error.code().unwrap_or_else(|| panic!("{}: {error}", info.path))),
    }
}

/// What goes where a path has a parameter.
fn parameter(info: &EndpointInfo, card: &str) -> String {
    let text = match info.path {
        path if path.contains("{card}") => card,
        path if path.contains("{day}") => "2026-11-20",
        path if path.contains("{name}") => "odd",
        path if path.contains("{version}") => "1",
        path if path.contains("{batch}") => "099900000042-1",
        path if path.contains("{aid}") => "A000000632",
        _ => ID,
    };
    text.to_owned()
}

/// The callers who are nobody, whatever they show, and what each is told.
fn nobodies(
    city: &City,
    at: std::net::SocketAddr,
    known: &Organisation,
) -> Vec<(&'static str, Client, ProblemCode)> {
    let stranger = city.stranger();
    let anonymous = city.anonymous(at);
    let forged = Signing { signer: Arc::new(stranger.signer.clone()), ..known.signing() };
    let own_way = || Client::new(city.identified_way(at, known));
    let strange_way = || Client::new(city.identified_way(at, &stranger));
    vec![
        ("nothing at all", anonymous.clone(), ProblemCode::PeerCertificateRequired),
        ("no certificate", anonymous.signing(known.signing()), ProblemCode::PeerCertificateRequired),
        ("no signature", own_way(), ProblemCode::SignatureWrong),
        ("another's key", own_way().signing(forged), ProblemCode::SignatureWrong),
        (
            "another's certificate",
            strange_way().signing(known.signing()),
            ProblemCode::PeerCertificateRequired,
        ),
        (
            "a strange institution",
            strange_way().signing(stranger.signing()),
            ProblemCode::PeerCertificateRequired,
        ),
    ]
}

/// req: P-7.1.a
#[tokio::test]
async fn the_sp_tsm_serves_each_caller_its_own() {
    let city = City::new().await;
    let [sp, ..] = city.places();
    let mut phone = Phone::new(&city, 1);
    assert!(installed(&phone.open(&city).await.unwrap()));
    city.settled(0).await;
    let card = city.card_number(&phone.card_number().await).to_string();
    let callers = [(&city.se_tsm, SeTsm), (&city.gate_operator, Terminals), (&city.desk, Desk)];
    let mut refused = 0;
    for (info, owner, request) in decided(sp_tsm::endpoints(), sp_tsm_rows(&card)) {
        let parameter = parameter(&info, &card);
        if info.access == Access::Peer {
            for (what, client, expected) in nobodies(&city, sp, &city.se_tsm) {
                let found = refusal(&client, &info, &parameter, &request).await;
                assert_eq!(found, Some(expected), "{} for {what}", info.path);
                refused += 1;
            }
        }
        for (caller, own) in callers {
            let client = city.client(sp, caller);
            let found = refusal(&client, &info, &parameter, &request).await;
            let expected = match info.access {
                Access::Peer if own == Desk && matches!(owner, Desk | DeskLogin) => {
                    let shown = client.with_bearer(ID);
                    let (nobody, gone) = match owner {
                        Desk => (ProblemCode::SessionRequired, ProblemCode::SessionExpired),
                        _ => (ProblemCode::WrongCredentials, ProblemCode::SessionExpired),
                    };
                    let expired = refusal(&shown, &info, &parameter, &request).await;
                    assert_eq!(expired, Some(gone), "{}", info.path);
                    nobody
                }
                Access::Peer if own == owner => continue,
                Access::Peer => ProblemCode::NotAllowed,
                Access::Wallet => ProblemCode::SessionRequired,
                Access::Payment => ProblemCode::SignatureWrong,
                Access::Conversation => continue,
                Access::Public | Access::Staff(_) | Access::Provider => panic!("{}", info.path),
            };
            assert_eq!(found, Some(expected), "{} for {}", info.path, caller.name);
            refused += 1;
        }
    }
    println!("SP-TSM: {refused} refusals");
}

/// Before any refused call and after it the stores have made the same number of commits.
#[tokio::test]
async fn who_is_refused_changes_nothing_at_the_sp_tsm() {
    let city = City::new().await;
    let [sp, ..] = city.places();
    let mut phone = Phone::new(&city, 1);
    assert!(installed(&phone.open(&city).await.unwrap()));
    city.settled(0).await;
    let card = city.card_number(&phone.card_number().await).to_string();
    // The outbox has come to rest: what the opening left behind is delivered.
    phone.top_up(&city, 100).await;
    city.settled(100).await;
    let wallet = phone.wallet.client.clone();
    let mut last = 0;
    for _ in 0..2_000 {
        phone.wallet.interrupted().await.unwrap();
        last = city.faults.commits();
    }
    for (info, owner, request) in decided(sp_tsm::endpoints(), sp_tsm_rows(&card)) {
        // A forged notification leaves an incident for the reconciliation, by design, and nothing else.
        if info.access == Access::Payment {
            continue;
        }
        let parameter = parameter(&info, &card);
        for (caller, own) in [(&city.se_tsm, SeTsm), (&city.gate_operator, Terminals), (&city.desk, Desk)] {
            // The desk's system without a person is nobody.
            if (own != owner || own == Desk) && info.access != Access::Conversation {
                refusal(&city.client(sp, caller), &info, &parameter, &request).await.unwrap();
            }
        }
        if info.access == Access::Peer {
            // A wallet's word opens nothing that is an institution's.
            let found = refusal(&wallet, &info, &parameter, &request).await;
            assert_eq!(found, Some(ProblemCode::PeerCertificateRequired), "{}", info.path);
        }
        assert_eq!(city.faults.commits(), last, "{} changed something", info.path);
    }
}

/// What is another rider's does not exist for a wallet.
#[tokio::test]
async fn a_wallet_sees_its_own_riders_things_only() {
    let city = City::new().await;
    let mut phone = Phone::new(&city, 1);
    assert!(installed(&phone.open(&city).await.unwrap()));
    let order = TopUpOrder { request: request_id(), aid: PURSE.into(), amount_fen: 100 };
    let order = phone.wallet.order_top_up(&order).await.unwrap().order;
    let started = phone.wallet.start(&Phone::start_request(Operation::Synchronise, None)).await.unwrap();
    let conversation = match started {
        tsm_api::conversation::ConversationReply::Steps { conversation, .. } => conversation,
        other => panic!("{other:?}"),
    };
    let mut other = Phone::new(&city, 2);
    other.register_to(&city, Some("13900139000"));
    let wallet = &other.wallet;
    let lost = LostCard { request: request_id(), aid: PURSE.into(), card_number: None };
    let aid = HexBytes::from(PURSE);
    let code = |error: ClientError| error.code().unwrap();
    assert_eq!(code(wallet.order(order).await.unwrap_err()), ProblemCode::UnknownId);
    assert_eq!(code(wallet.cancel_order(order).await.unwrap_err()), ProblemCode::UnknownId);
    assert_eq!(code(wallet.cancel(conversation).await.unwrap_err()), ProblemCode::UnknownId);
    assert_eq!(code(wallet.card(&aid).await.unwrap_err()), ProblemCode::UnknownId);
    assert_eq!(code(wallet.report_lost(&lost).await.unwrap_err()), ProblemCode::UnknownId);
    assert_eq!(wallet.parked_cards().await.unwrap().cards, []);
    let back = ParkedReturn { request: request_id(), aid: PURSE.into(), card_number: None };
    assert_eq!(code(wallet.return_parked(&back).await.unwrap_err()), ProblemCode::UnknownId);
    assert_eq!(wallet.interrupted().await.unwrap().works, []);
    let unknown = (OrderId(uuid()), ConversationId(uuid()));
    assert_eq!(code(wallet.order(unknown.0).await.unwrap_err()), ProblemCode::UnknownId, "told alike");
    assert_eq!(code(wallet.cancel(unknown.1).await.unwrap_err()), ProblemCode::UnknownId);
    other.register_to(&city, None);
    assert_eq!(code(other.wallet.report_lost(&lost).await.unwrap_err()), ProblemCode::NotAllowed);
}

/// An institution that did not issue the card neither moves nor reads what is the issuer's.
///
/// req: P-7.1.a
#[tokio::test]
async fn the_centre_serves_each_institution_its_own() {
    let city = City::new().await;
    let [.., centre] = city.places();
    let mut phone = Phone::new(&city, 1);
    assert!(installed(&phone.open(&city).await.unwrap()));
    phone.top_up(&city, 100).await;
    city.settled(100).await;
    let card = city.card_number(&phone.card_number().await).to_string();
    let before = city.centre_faults.commits();
    let mut refused = 0;
    for (info, owner, request) in decided(clearing::endpoints(), centre_rows(&card)) {
        let parameter = parameter(&info, &card);
        for (what, client, expected) in nobodies(&city, centre, &city.sp_tsm) {
            let found = refusal(&client, &info, &parameter, &request).await;
            assert_eq!(found, Some(expected), "{} for {what}", info.path);
            refused += 1;
        }
        let foreign = city.client(centre, &city.gate_operator);
        let issuer = city.client(centre, &city.sp_tsm);
        let not_allowed = Some(ProblemCode::NotAllowed);
        match owner {
            Issuer | Keepers => {
                assert_eq!(
                    refusal(&foreign, &info, &parameter, &request).await,
                    not_allowed,
                    "{}",
                    info.path
                );
                refused += 1;
            }
            CentreDesk => {
                for client in [&foreign, &issuer] {
                    let found = refusal(client, &info, &parameter, &request).await;
                    assert_eq!(found, not_allowed, "{}", info.path);
                    refused += 1;
                }
            }
            Clerk | ClerkLogin => {
                let expected =
                    if owner == Clerk { ProblemCode::SessionRequired } else { ProblemCode::WrongCredentials };
                for client in [&foreign, &issuer] {
                    let found = refusal(client, &info, &parameter, &request).await;
                    assert_eq!(found, Some(expected), "{}", info.path);
                    let shown = client.clone().with_bearer(ID);
                    let found = refusal(&shown, &info, &parameter, &request).await;
                    assert_eq!(found, Some(ProblemCode::SessionExpired), "{}", info.path);
                    refused += 2;
                }
            }
            Institutions => {}
            SeTsm | Terminals | OwnTools | Desk | DeskLogin | Others => panic!("{}", info.path),
        }
        assert_eq!(city.centre_faults.commits(), before, "{} changed something", info.path);
    }
    println!("centre: {refused} refusals");
    let books = city.centre_peer(&city.sp_tsm).books().await.unwrap();
    assert_eq!((books.paid_in_fen, books.purses_fen, books.refunded_fen), (100, 100, 0));
}

/// The payment platform takes a merchant's own signature and nothing else.
#[tokio::test]
async fn the_payment_platform_serves_signed_merchants_only() {
    let city = City::new().await;
    let [_, at, _] = city.places();
    for info in payment::endpoints() {
        match info.access {
            Access::Payment => {}
            Access::Conversation => continue,
            other => panic!("nobody has decided whose {} is: {other:?}", info.path),
        }
        let request = json!({});
        let callers = [city.anonymous(at), city.client(at, &city.sp_tsm), city.client(at, &city.stranger())];
        for (number, client) in callers.iter().enumerate() {
            let found = refusal(client, &info, ID, &request).await;
            assert_eq!(found, Some(ProblemCode::SignatureWrong), "{} for caller {number}", info.path);
        }
    }
}
