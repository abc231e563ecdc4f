//! The signatures between merchants and the payment platform, both ways: who signs nothing, something else, or
//! something old is refused, and a reply that is not the platform's own says nothing.

use jiff::SignedDuration;
use tsm_api::Access;
use tsm_api::client::{Transport as _, WireRequest};
use tsm_api::payment::{self, PaymentNotification, PaymentSignature, StatementFile};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::Fen;
use tsm_domain::environment::Clock as _;
use tsm_domain::money::StatementKind;
use tsm_domain::money::statement::day_of;
use tsm_services::payment::message::{RequestParts, SIGNATURE};
use tsm_services::payment::{
    NotificationError, PaymentError, PaymentPlatform as _, PlatformState, StatementFailure,
};
use tsm_services::payment_sandbox::Faults;
use tsm_services::payment_sandbox::faults::Raced;

use crate::merchants::{Signer, Tampering, stamp};
use crate::payment::{SM2, World, order_id, payment_id, refund};

async fn refusal(world: &World, request: WireRequest) -> ProblemCode {
    let reply = world.to_platform.send(request).await.unwrap();
    let problem: Problem = serde_json::from_slice(&reply.body).unwrap();
    problem.code
}

/// Merchants' endpoints are closed to whoever does not sign as a registered merchant.
#[tokio::test]
async fn nobody_asks_in_a_merchants_name() {
    let world = World::new().await;
    let now = world.time.now();
    let stranger = Signer::merchant("STRANGER", SM2);
    let rsa = Signer::merchant("CITY", PaymentSignature::RsaSha256);
    let signed = |signer: &Signer, name: &str, verb: tsm_api::Verb, path: &str, at| {
        let parts = RequestParts { method: verb.name(), path, stamp: stamp(at), body: b"{}" };
        let headers = signer.key().seal_request(name, &parts).unwrap();
        WireRequest { verb, path: path.into(), headers, body: b"{}".to_vec() }
    };
    for endpoint in payment::endpoints().iter().filter(|endpoint| endpoint.access == Access::Payment) {
        let id = payment_id(1).to_string();
        let path = endpoint.path.replace("{payment}", &id);
        let request = |signer, name, at| signed(signer, name, endpoint.verb, &path, at);
        let good = request(&world.city, "CITY", now);
        let unsigned = WireRequest { headers: Vec::new(), ..good.clone() };
        let elsewhere = WireRequest { path: format!("{path}?a=1"), ..good.clone() };
        let mut bent = request(&world.city, "CITY", now);
        for (name, value) in &mut bent.headers {
            if *name == SIGNATURE {
                value.replace_range(0..1, if value.starts_with('0') { "1" } else { "0" });
            }
        }
        let old = now - SignedDuration::from_secs(301);
        let wrong = ProblemCode::SignatureWrong;
        for (case, request, expected) in [
            ("nothing at all", unsigned, wrong),
            ("an unknown merchant", request(&stranger, "STRANGER", now), wrong),
            ("another's key", request(&stranger, "CITY", now), wrong),
            ("a key of another kind", request(&rsa, "CITY", now), wrong),
            ("another merchant's name", request(&world.city, "CINEMA", now), wrong),
            ("another path", elsewhere, wrong),
            ("a bent signature", bent, wrong),
            ("an old message", request(&world.city, "CITY", old), ProblemCode::SignatureStale),
        ] {
            assert_eq!(refusal(&world, request).await, expected, "{path} with {case}");
        }
        drop(world.to_platform.send(good.clone()).await.unwrap());
        assert_eq!(refusal(&world, good).await, ProblemCode::SignatureReplayed, "{path} again");
    }
}

/// A request that was altered or sent twice on its way does nothing, or nothing twice.
#[tokio::test]
async fn an_altered_or_doubled_request_moves_nothing() {
    let world = World::new().await;
    let merchant = world.merchant();
    merchant.create_order(&world.new_order(1, 500)).await.unwrap();
    world.pays(1).await;
    world.to_platform.tamper(Tampering::Request("\"amount_fen\":100", "\"amount_fen\":500"));
    let altered = merchant.refund(&refund(1, 1, 100)).await.unwrap_err();
    assert_eq!(altered.code(), Some(ProblemCode::SignatureWrong));
    world.to_platform.tamper(Tampering::Replay);
    let doubled = merchant.refund(&refund(1, 1, 100)).await.unwrap_err();
    assert_eq!(doubled.code(), Some(ProblemCode::SignatureReplayed), "the second of two");
    assert_eq!(merchant.query(order_id(1)).await.unwrap().held(), Fen::new(400), "refunded once");
}

/// A reply counts only when the platform signed it, for this request and these words.
#[tokio::test]
async fn a_reply_that_is_not_the_platforms_says_nothing() {
    let world = World::new().await;
    let merchant = world.merchant();
    merchant.create_order(&world.new_order(1, 500)).await.unwrap();
    merchant.create_order(&world.new_order(2, 500)).await.unwrap();
    world.pays(2).await;
    merchant.query(order_id(2)).await.unwrap();
    for tampering in [
        Tampering::Reply("\"open\"", "\"paid\""),
        Tampering::Status(202),
        Tampering::Status(500),
        Tampering::OldReply,
        Tampering::Unsigned,
    ] {
        world.to_platform.tamper(tampering.clone());
        let answer = merchant.query(order_id(1)).await;
        assert!(matches!(answer, Err(PaymentError::Unknown(_))), "{tampering:?}: {answer:?}");
        merchant.query(order_id(2)).await.unwrap();
    }
    world.to_platform.tamper(Tampering::Cut);
    assert!(matches!(merchant.query(order_id(1)).await, Err(PaymentError::NotSent(_))));
    assert_eq!(merchant.query(order_id(1)).await.unwrap().state, PlatformState::Open);
}

/// Forged, old, repeated and misdirected notifications are told apart and refused.
#[tokio::test]
async fn a_notification_that_is_not_the_platforms_is_refused() {
    let mut world = World::new().await;
    let merchant = world.merchant();
    merchant.create_order(&world.new_order(1, 500)).await.unwrap();
    let record = world.person().show(payment_id(1)).await.unwrap();
    let word = PaymentNotification { payment: record };
    let misdirected = {
        let mut word = word.clone();
        word.payment.merchant = "CINEMA".into();
        word
    };
    let now = world.time.now();
    let stranger = Signer::platform(SM2);
    let old = now - SignedDuration::from_secs(301);
    let good = world.platform.notification("CITY", &word, stamp(now));
    let mut altered = good.clone();
    altered.body = String::from_utf8(altered.body).unwrap().replace("500", "900").into_bytes();
    let stale = world.platform.notification("CITY", &word, stamp(old));
    let elsewhere = world.platform.notification("CITY", &misdirected, stamp(now));
    world.to_shop.send(good.clone()).await.unwrap();
    world.hears().await;
    for request in [
        stranger.notification("CITY", &word, stamp(now)),
        altered,
        stale,
        good,
        elsewhere,
        WireRequest { headers: Vec::new(), ..world.platform.notification("CITY", &word, stamp(now)) },
    ] {
        assert_eq!(world.to_shop.send(request).await.unwrap().status, 401);
    }
    let mut told = Vec::new();
    while let Ok(error) = world.refused.try_recv() {
        told.push(error);
    }
    assert!(
        matches!(
            told.as_slice(),
            [
                NotificationError::Forged(_),
                NotificationError::Forged(_),
                NotificationError::Stale,
                NotificationError::Replayed,
                NotificationError::AnotherMerchant(_),
                NotificationError::Forged(_),
            ]
        ),
        "{told:?}"
    );
    assert!(world.hears_nothing());
}

/// The platform changes its key: the merchant hears a serial that it does not know, asks for the keys under the
/// one that it has, and goes on; also after the next change.
#[tokio::test]
async fn the_platform_changes_its_keys() {
    let mut world = World::new().await;
    for (order, rotate) in [(1, false), (2, true), (3, true), (4, true)] {
        if rotate {
            world.sandbox.rotate_key(SM2).unwrap();
        }
        world.merchant_keeps_up(order).await;
    }
    // A restarted platform still has its newest keys.
    let names = tsm_keys::KeyService::list(&world.platform.keys);
    assert_eq!(names.len(), 4);
    assert!(world.refused.try_recv().is_err());
}

impl World {
    async fn merchant_keeps_up(&mut self, order: u128) {
        self.keeping.create_order(&self.new_order(order, 500)).await.unwrap();
        self.pays(order).await;
        assert_eq!(self.hears().await.order, order_id(order));
        assert_eq!(self.keeping.query(order_id(order)).await.unwrap().state, PlatformState::Paid);
    }
}

async fn statement(world: &World) -> StatementFile {
    let path = format!("/merchant/v1/statements?day={}", day_of(world.time.now()).yesterday().unwrap());
    let parts = RequestParts { method: "GET", path: &path, stamp: stamp(world.time.now()), body: b"" };
    let headers = world.city.key().seal_request("CITY", &parts).unwrap();
    let request = WireRequest { verb: tsm_api::Verb::Get, path, headers, body: Vec::new() };
    serde_json::from_slice(&world.to_platform.send(request).await.unwrap().body).unwrap()
}

/// A day's statement has a line for each payment and each refund of the merchant and nothing else; it is
/// there when the day is over.
#[tokio::test]
async fn a_statement_has_a_line_for_each_payment_and_refund() {
    let world = World::failing(Faults { raced: Raced::TakenAndGivenBack, ..Faults::default() }).await;
    let (merchant, other) = (world.merchant(), world.other_merchant());
    let day = day_of(world.time.now());
    for order in 1..=4 {
        merchant.create_order(&world.new_order(order, 500 + order as u64)).await.unwrap();
    }
    other.create_order(&world.new_order(9, 900)).await.unwrap();
    for order in [1, 2, 9] {
        world.time.pass(SignedDuration::from_secs(1));
        world.pays(order).await;
    }
    world.time.pass(SignedDuration::from_secs(1));
    merchant.refund(&refund(1, 1, 100)).await.unwrap();
    merchant.refund(&refund(2, 1, 50)).await.unwrap();
    merchant.close(order_id(3)).await.unwrap();
    world.pays(3).await;
    let early = merchant.statement(day).await;
    assert!(
        matches!(&early, Err(StatementFailure::Platform(error)) if error.code() == Some(ProblemCode::StateForbids))
    );
    world.time.pass(SignedDuration::from_hours(24));
    let found = merchant.statement(day).await.unwrap();
    let lines: Vec<_> = found
        .lines
        .iter()
        .map(|line| (line.order, line.amount.get(), matches!(line.kind, StatementKind::Refunded { .. })))
        .collect();
    let of = |order: u128, fen, back| (order_id(order), fen, back);
    let mut expected = [
        of(1, 501, false),
        of(2, 502, false),
        of(1, 100, true),
        of(1, 50, true),
        of(3, 503, false),
        of(3, 503, true),
    ];
    let mut sorted = lines.clone();
    sorted.sort_unstable();
    expected.sort_unstable();
    assert_eq!(sorted, expected);
    let totals = found.totals().unwrap();
    assert_eq!((totals.paid, totals.refunded), (Fen::new(501 + 502 + 503), Fen::new(100 + 50 + 503)));
    assert_eq!(other.statement(day).await.unwrap().lines.len(), 1);
    assert_eq!(merchant.statement(day.tomorrow().unwrap().yesterday().unwrap()).await.unwrap(), found);
    assert_eq!(statement(&world).await.text.lines().count(), 6 + 3);
}

/// The statement in pieces has the lines of the whole one, wherever the pieces end, and its digest is signed.
#[tokio::test]
async fn a_statement_comes_in_pieces_too() {
    let world = World::new().await;
    let merchant = world.merchant();
    let day = day_of(world.time.now());
    for order in 1..=5 {
        merchant.create_order(&world.new_order(order, 500)).await.unwrap();
        world.time.pass(SignedDuration::from_secs(1));
        world.pays(order).await;
    }
    merchant.refund(&refund(1, 1, 100)).await.unwrap();
    assert!(merchant.statement_pieces(day).await.unwrap().next().await.is_err(), "the day is not over");
    world.time.pass(SignedDuration::from_hours(24));
    let whole = merchant.statement(day).await.unwrap();
    let mut pieces = merchant.statement_pieces(day).await.unwrap();
    let mut lines = Vec::new();
    while let Some(more) = pieces.next().await.unwrap() {
        lines.extend(more);
    }
    assert_eq!(lines, whole.lines);
    assert!(pieces.next().await.unwrap().is_none());
    let empty = day.tomorrow().unwrap();
    world.time.pass(SignedDuration::from_hours(24));
    let mut pieces = merchant.statement_pieces(empty).await.unwrap();
    assert_eq!(pieces.next().await.unwrap(), Some(Vec::new()), "a day without payments is signed, too");
    assert_eq!(pieces.next().await.unwrap(), None);

    // From the middle on, without what came before: the platform makes it again from its books.
    let from = (lines[3].at).to_string();
    let path = format!("/merchant/v1/statements/pieces?day={day}&from={}", from.replace(':', "%3A"));
    let parts = RequestParts { method: "GET", path: &path, stamp: stamp(world.time.now()), body: b"" };
    let headers = world.city.key().seal_request("CITY", &parts).unwrap();
    let request = WireRequest { verb: tsm_api::Verb::Get, path, headers, body: Vec::new() };
    let piece: tsm_api::payment::StatementPiece =
        serde_json::from_slice(&world.to_platform.send(request).await.unwrap().body).unwrap();
    let text = payment::statement::write(&whole).unwrap();
    assert!(text.ends_with(&piece.text) && !piece.text.is_empty());
    assert_eq!(piece.seal.unwrap().sha256.0, payment::statement::digest(&text));
}

/// A file of which a line is missing, doubled or altered is found out, whether the digest was made to fit or not.
#[tokio::test]
async fn an_altered_statement_is_found_out() {
    let world = World::new().await;
    let merchant = world.merchant();
    let day = day_of(world.time.now());
    merchant.create_order(&world.new_order(1, 500)).await.unwrap();
    merchant.create_order(&world.new_order(2, 700)).await.unwrap();
    world.pays(1).await;
    world.pays(2).await;
    world.time.pass(SignedDuration::from_hours(24));
    let file = statement(&world).await;
    assert_eq!(merchant.open_statement(day, &file).unwrap().lines.len(), 2);
    let altered = |text: String, fits: bool| {
        let sha256 = if fits { payment::statement::digest(&text).to_vec() } else { file.sha256.0.clone() };
        StatementFile { text, sha256: sha256.into(), ..file.clone() }
    };
    let lines: Vec<_> = file.text.lines().map(|line| format!("{line}\n")).collect();
    for fits in [true, false] {
        for line in 0..lines.len() {
            let mut without = lines.clone();
            without.remove(line);
            let mut doubled = lines.clone();
            doubled.insert(line, lines[line].clone());
            for text in [without.concat(), doubled.concat(), file.text.replace("500", "501")] {
                let found = merchant.open_statement(day, &altered(text, fits));
                assert!(matches!(found, Err(StatementFailure::Altered(_))), "{line} {fits}: {found:?}");
            }
        }
    }
    let stranger = Signer::platform(SM2);
    let signed = payment::statement::signed_bytes("CITY", day, &file.sha256.0);
    let forged = StatementFile { signature: stranger.key().sign(&signed).unwrap().into(), ..file.clone() };
    assert!(matches!(merchant.open_statement(day, &forged), Err(StatementFailure::Altered(_))));
    let another = StatementFile { day: day.tomorrow().unwrap(), ..file.clone() };
    assert!(matches!(merchant.open_statement(day, &another), Err(StatementFailure::Altered(_))));
}
