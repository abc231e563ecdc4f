//! Every endpoint of the three roles refuses whoever may not call it, and says so of what it does not know.

use std::net::SocketAddr;

use tsm_api::client::{HttpsTransport, Transport as _, WireRequest};
use tsm_api::endpoint::EndpointInfo;
use tsm_api::ids::{ConversationId, OperationId, OrderId, PaymentId};
use tsm_api::payment::{Pay, PayChoice};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::sp_tsm::wallet::Operation;
use tsm_api::{Access, HexBytes, clearing, payment, pki, sp_tsm};
use tsm_services::server::Routes;

use crate::issuer::city::City;
use crate::issuer::phone::{Phone, uuid};
use crate::support::TIMEOUT;

async fn call_as_nobody(city: &City, at: SocketAddr, endpoint: &EndpointInfo) -> (u16, Vec<u8>) {
    let tls = pki::wallet_config(&city.net.authority.trust().unwrap()).unwrap();
    let transport = HttpsTransport::new(at, "localhost", tls, TIMEOUT).unwrap();
    let id = uuid().to_string();
    let path = endpoint
        .path
        .split('/')
        .map(|part| if part.starts_with('{') { id.as_str() } else { part })
        .collect::<Vec<_>>()
        .join("/");
    let request = WireRequest { verb: endpoint.verb, path, headers: Vec::new(), body: b"{}".to_vec() };
    let reply = transport.send(request).await.unwrap();
    (reply.status, reply.body)
}

#[tokio::test]
async fn nobody_may_call_what_needs_an_identity() {
    let city = City::new().await;
    let [sp, payment, centre] = city.places();
    let roles = [(sp, sp_tsm::endpoints()), (payment, payment::endpoints()), (centre, clearing::endpoints())];
    let mut checked = 0;
    for (at, endpoints) in roles {
        for endpoint in endpoints {
            let (status, body) = call_as_nobody(&city, at, &endpoint).await;
            match endpoint.access {
                Access::Wallet | Access::Peer | Access::Payment => {
                    let problem: Problem = serde_json::from_slice(&body).unwrap();
                    assert_eq!(status, 401, "{} answers {problem:?}", endpoint.path);
                    checked += 1;
                }
                // The unguessable number is the right; this one was guessed.
                Access::Conversation => assert!(status >= 400 || body.starts_with(b"{\"reply\":\"restart\"")),
                Access::Public | Access::Staff(_) | Access::Provider => panic!("{}", endpoint.path),
            }
        }
    }
    assert!(checked > 15);
}

#[tokio::test]
async fn a_wallets_bearer_must_be_signed_and_fresh() {
    let city = City::new().await;
    let phone = Phone::new(&city, 1);
    let order = OrderId(uuid());
    let code = |error: tsm_api::client::ClientError| error.code().unwrap();
    assert_eq!(code(phone.wallet.order(order).await.unwrap_err()), ProblemCode::UnknownId);
    let [sp, ..] = city.places();
    let assertion = |hours: i64| tsm_api::signature::Assertion {
        se_id: HexBytes(phone.se_id.clone()),
        msisdn: None,
        expires_at: jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours),
    };
    let cases = [
        (assertion(1).sign(&city.payment.signer), ProblemCode::SessionRequired),
        (assertion(-1).sign(&city.se_tsm.signer), ProblemCode::SessionExpired),
        ("00.00".to_owned(), ProblemCode::SessionRequired),
        (String::new(), ProblemCode::SessionRequired),
    ];
    for (bearer, expected) in cases {
        let wallet = tsm_api::client::SpTsmWallet::new(city.anonymous(sp).with_bearer(bearer));
        assert_eq!(code(wallet.order(order).await.unwrap_err()), expected);
    }
}

#[tokio::test]
async fn unknown_things_are_told_to_be_unknown() {
    let city = City::new().await;
    let mut phone = Phone::new(&city, 1);
    let code = |error: tsm_api::client::ClientError| error.code().unwrap();
    let wallet = &phone.wallet;
    assert_eq!(code(wallet.order(OrderId(uuid())).await.unwrap_err()), ProblemCode::UnknownId);
    assert_eq!(code(wallet.cancel_order(OrderId(uuid())).await.unwrap_err()), ProblemCode::UnknownId);
    assert_eq!(code(wallet.cancel(ConversationId(uuid())).await.unwrap_err()), ProblemCode::UnknownId);
    for aid in [vec![1, 2, 3, 4, 5], vec![], vec![9; 40]] {
        assert_eq!(code(wallet.card(&HexBytes(aid)).await.unwrap_err()), ProblemCode::UnknownId);
    }
    let mut strange = Phone::start_request(Operation::Synchronise, None);
    strange.aid = crate::issuer::city::MODULE.into();
    assert_eq!(code(wallet.start(&strange).await.unwrap_err()), ProblemCode::UnknownId);
    let without_order = Phone::start_request(Operation::TopUp, None);
    assert_eq!(code(wallet.start(&without_order).await.unwrap_err()), ProblemCode::ValueRefused);
    for operation in [Operation::TopUp, Operation::Lock, Operation::Unlock, Operation::Synchronise] {
        let outcome = phone.operate(operation, Some(OrderId(uuid()))).await;
        assert_eq!(outcome.problem.unwrap().code, ProblemCode::UnknownId, "{operation:?}");
    }
    let kept = phone.pre_operation(
        OperationId(uuid()),
        tsm_api::se_tsm::peer::OperationKind::Lock,
        crate::issuer::city::PURSE,
    );
    let refused = city.sp_peer(&city.se_tsm).pre_operation(&kept).await.unwrap_err();
    assert_eq!(code(refused), ProblemCode::ValueRefused);

    let payment = PaymentId(uuid());
    let pay = Pay { choice: PayChoice::Pay };
    assert_eq!(code(city.payer().pay(payment, &pay).await.unwrap_err()), ProblemCode::UnknownId);
    assert_eq!(code(city.payer().show(payment).await.unwrap_err()), ProblemCode::UnknownId);
    let from_card = crate::issuer::online::request(tsm_api::payment::purse::CardChoice::Pay);
    let refused = city.payer().pay_from_card(payment, &from_card).await.unwrap_err();
    assert_eq!(code(refused), ProblemCode::UnknownId);
    let centre = city.centre_peer(&city.sp_tsm);
    let card = city.card_number("3104999000000000001");
    assert_eq!(code(centre.account(&card).await.unwrap_err()), ProblemCode::UnknownId);
    let report = clearing::OrderReport { order: OrderId(uuid()), card, amount_fen: 1 };
    assert_eq!(code(centre.payment(&report).await.unwrap_err()), ProblemCode::UnknownId);
    assert_eq!(code(centre.cancellation(&report).await.unwrap_err()), ProblemCode::UnknownId);
    assert_eq!(code(centre.refund(&report).await.unwrap_err()), ProblemCode::UnknownId);
}

/// Only the SE-TSM asks and hands over, only the platform notifies, only institutions report.
#[tokio::test]
async fn partners_may_do_their_own_part_only() {
    let city = City::new().await;
    let phone = Phone::new(&city, 1);
    let code = |error: tsm_api::client::ClientError| error.code().unwrap();
    let asked = phone.pre_operation(
        OperationId(uuid()),
        tsm_api::se_tsm::peer::OperationKind::Download,
        crate::issuer::city::PURSE,
    );
    let refused = city.sp_peer(&city.payment).pre_operation(&asked).await.unwrap_err();
    assert_eq!(code(refused), ProblemCode::PeerCertificateRequired);
    // Its terminals take cash for cards; it does not ask in the SE-TSM's place.
    let refused = city.sp_peer(&city.gate_operator).pre_operation(&asked).await.unwrap_err();
    assert_eq!(code(refused), ProblemCode::NotAllowed);
    let refused = city.centre_peer(&city.se_tsm).books().await.unwrap_err();
    assert_eq!(code(refused), ProblemCode::PeerCertificateRequired);
    // The platform is a terminal at the centre, and sees nobody's cards.
    let books = city.centre_peer(&city.payment).books().await.unwrap();
    assert_eq!((books.paid_in_fen, books.purses_fen), (0, 0));
}

/// What a contract declares is served.
#[tokio::test]
async fn every_declared_endpoint_is_routed() {
    fn same<S>(routes: &Routes<S>, declared: Vec<EndpointInfo>)
    where
        S: tsm_services::server::Service,
    {
        let mut routed: Vec<_> = routes.routed().iter().map(|(verb, path)| (verb.name(), *path)).collect();
        let mut declared: Vec<_> = declared.iter().map(|one| (one.verb.name(), one.path)).collect();
        routed.sort_unstable();
        declared.sort_unstable();
        assert_eq!(routed, declared);
    }
    let city = City::new().await;
    same(&city.sp_routes(), sp_tsm::endpoints());
    same(&city.payment_routes(), payment::endpoints());
    same(&city.centre_routes(), clearing::endpoints());
}
