//! Migration: a card goes from phone to phone, byte by byte the same, and never spends twice.

use tsm_api::HexBytes;
use tsm_api::clearing::{AccountState, Consumption, ConsumptionVerdict as Verdict};
use tsm_api::conversation::{ConversationReply, Outcome, OutcomeDetail, OutcomeResult, Step, TurnRequest};
use tsm_api::ids::OperationId;
use tsm_api::problem::ProblemCode;
use tsm_api::se_tsm::peer::{OperationKind, OperationResult};
use tsm_api::sp_tsm::migration::{MigrationOrder, MigrationRecord, MigrationState};
use tsm_api::sp_tsm::peer::PreOperationReply;
use tsm_api::sp_tsm::wallet::{Operation, WorkKind};
use tsm_card::delete::{Deleting, Deletion};
use tsm_card::purse::read_proven;
use tsm_card::{Script, open_channel};
use tsm_domain::SeId;
use tsm_epurse::CardImage;
use tsm_keys::{DomainKeySource, DomainPath, KeySetReference};
use tsm_se::SecureElement;
use tsm_se::memory::LoadFileLibrary;
use tsm_storage::memory::Crash;

use crate::issuer::centre::{purchase, report};
use crate::issuer::city::{City, ISD, PACKAGE, PURSE, SSD, scp03};
use crate::issuer::phone::{Lost, Phone, installed, request_id, uuid};

pub const BALANCE: u32 = 4_300;

impl Phone {
    /// Everything that the purse holds, as it proves it.
    pub async fn image(&self, city: &City) -> CardImage {
        self.reset();
        let path = DomainPath { domain: SSD, se_id: SeId::new(&self.se_id).unwrap() };
        let root = "domain-root/provider/domain/1".parse().unwrap();
        let session = scp03(DomainKeySource::TwoLevel { root, path }, SSD, 2);
        *read_proven(&mut self.channel(), &city.provider, &session, PURSE).await.unwrap().1
    }

    pub async fn order_migration(&self) -> MigrationRecord {
        self.try_order_migration().await.unwrap()
    }

    pub async fn try_order_migration(&self) -> Result<MigrationRecord, ProblemCode> {
        let order = MigrationOrder { request: request_id(), aid: PURSE.into(), card_number: None };
        self.wallet.order_migration(&order).await.map_err(|error| error.code().unwrap())
    }

    pub async fn migrate_out(&mut self) -> Outcome {
        self.operate(Operation::MigrateOut, None).await
    }

    /// Opens the card, and pays at a gate as soon as the list that writes it was carried.
    pub async fn open_with_tap(
        &mut self,
        city: &City,
        fen: u32,
        terminal_counter: u32,
    ) -> (Outcome, Consumption) {
        let handed = self.hand_over(city, OperationId(uuid())).await.unwrap();
        let written = self.carry(handed.turn, &handed.steps, Some(&handed.ticket));
        let tap = purchase(city, self, fen, terminal_counter).await;
        let reply = self.wallet.turn(handed.conversation, &written).await.unwrap();
        (self.converse(reply, Some(&handed.ticket)).await, tap)
    }

    /// Opens the card, and what comes after the list that writes it is lost.
    async fn open_unread(&mut self, city: &City) {
        let mut whole = Phone::new(city, 9);
        assert!(installed(&whole.open(city).await.unwrap()));
        (self.sent, self.lost) = (0, Lost::Command(whole.sent));
        let broken = self.open(city).await.unwrap();
        assert_eq!(broken.result, OutcomeResult::Unknown, "{broken:?}");
        self.lost = Lost::Nothing;
    }

    /// Gives an arrival up.
    async fn give_up(&mut self) -> MigrationState {
        self.reset();
        given_up(&self.operate(Operation::GiveUpMigrationIn, None).await)
    }

    /// The same, and the phone says that the purse refuses whatever it is asked.
    async fn give_up_refusing(&mut self) -> MigrationState {
        self.reset();
        let start = Self::start_request(Operation::GiveUpMigrationIn, None);
        let mut reply = self.wallet.start(&start).await.unwrap();
        loop {
            let (conversation, request) = match reply {
                ConversationReply::Outcome { outcome, .. } => return given_up(&outcome),
                ConversationReply::Steps { conversation, turn, steps, .. } => {
                    let refusal = HexBytes(vec![0x6F, 0x00]);
                    let is_to_purse = matches!(&steps[0], Step::Select { aid, .. } if *aid == PURSE.into());
                    let request = match is_to_purse {
                        true => TurnRequest { turn, responses: vec![refusal], ..TurnRequest::default() },
                        false => self.carry(turn, &steps, None),
                    };
                    (conversation, request)
                }
                ConversationReply::Queued { conversation, turn, .. } => {
                    (conversation, TurnRequest { turn, ..TurnRequest::default() })
                }
                other => panic!("{other:?}"),
            };
            reply = self.wallet.turn(conversation, &request).await.unwrap();
        }
    }

    /// Deletes the purse as the SE-TSM has it deleted: consent, DELETE, its word.
    pub async fn delete(&self, city: &City) -> Result<(), ProblemCode> {
        let word = self.delete_untold(city).await?;
        city.sp_peer(&city.se_tsm).result(&word).await.unwrap();
        Ok(())
    }

    /// The same without its word, which is given.
    async fn delete_untold(&self, city: &City) -> Result<OperationResult, ProblemCode> {
        let operation = OperationId(uuid());
        let asked = self.pre_operation(operation, OperationKind::Delete, PURSE);
        let peer = city.sp_peer(&city.se_tsm);
        if let PreOperationReply::Refused { problem } = peer.pre_operation(&asked).await.unwrap() {
            return Err(problem.code);
        }
        self.reset();
        let card = &mut self.channel();
        let isd = KeySetReference::new("operator", "isd", 1).unwrap();
        let isd = scp03(DomainKeySource::Fixed(isd), ISD, 0x30);
        let mut script = Script::new();
        let mut issuer = open_channel(card, &city.operator, &isd, &mut script).await.unwrap();
        let objects = [Deletion::object(PURSE), Deletion::object(PACKAGE)];
        let deleting = Deleting::add(&mut issuer, &objects, &mut script).unwrap();
        let mut answers = script.run(card).await.unwrap();
        deleting.take(&mut issuer, &mut answers).unwrap();
        Ok(OperationResult {
            operation,
            se_id: asked.se_id,
            aid: asked.aid,
            kind: OperationKind::Delete,
            result: OutcomeResult::Done,
            problem: None,
            observation: None,
            moved_from: None,
            number: None,
        })
    }

    /// The software SE as a thief copies it: another chip with the same memory.
    fn copied(&self, city: &City) -> Phone {
        let memory = self.card.lock().unwrap().image();
        let randomness = Box::new(|bytes: &mut [u8]| getrandom::fill(bytes).unwrap());
        let card = SecureElement::open(&memory, LoadFileLibrary::default(), randomness).unwrap();
        let mut copy = Phone::new(city, self.se_id[9]);
        copy.card = std::sync::Arc::new(std::sync::Mutex::new(card));
        copy
    }
}

fn given_up(outcome: &Outcome) -> MigrationState {
    match &outcome.detail {
        OutcomeDetail::MigrationIn { state, .. } => *state,
        other => panic!("{other:?}: {outcome:?}"),
    }
}

/// A card that was topped up and used at gates.
pub async fn used(city: &City, number: u8) -> Phone {
    let mut phone = Phone::new(city, number);
    assert!(installed(&phone.open(city).await.unwrap()));
    assert_eq!(phone.top_up(city, 5_000).await.result, OutcomeResult::Done);
    let taps = vec![purchase(city, &phone, 300, 1).await, purchase(city, &phone, 400, 2).await];
    let gates = city.centre_peer(&city.gate_operator);
    let verdicts = gates.consumption(&report(taps)).await.unwrap().verdicts;
    assert_eq!(verdicts, [Verdict::Recorded, Verdict::Recorded]);
    phone.sent = 0;
    phone
}

/// A used card, parked, with what it held.
pub async fn parked(city: &City, number: u8) -> (Phone, CardImage, HexBytes) {
    let mut phone = used(city, number).await;
    let image = phone.image(city).await;
    let card = city.card_number(&phone.card_number().await);
    let out = phone.migrate_out().await;
    assert_eq!(out.detail, OutcomeDetail::MigratedOut { balance_fen: BALANCE }, "{out:?}");
    (phone, image, card)
}

pub async fn state(city: &City, card: &HexBytes) -> AccountState {
    city.centre_peer(&city.sp_tsm).account(card).await.unwrap().state
}

/// The centre hears of an arrival through the outbox.
pub async fn live(city: &City, card: &HexBytes) {
    for _ in 0..20_000 {
        if state(city, card).await == AccountState::Live {
            return;
        }
    }
    panic!("the card never arrived: {:?}", state(city, card).await);
}

/// The whole way, as the figures show it.
///
/// req: B-7.6.1.a, B-7.6.1.e, B-7.6.1.f, B-7.6.1.h, B-7.6.1.i, P-5.5.4.c
#[tokio::test]
async fn a_card_moves_to_another_phone_and_is_the_same_to_the_last_byte() {
    let city = City::new().await;
    let (old, image, card) = parked(&city, 1).await;
    assert_eq!(state(&city, &card).await, AccountState::Parked);
    old.delete(&city).await.unwrap();
    let mut new = Phone::new(&city, 2);
    let listed = new.wallet.parked_cards().await.unwrap().cards;
    assert_eq!((listed.len(), listed[0].balance_fen), (1, BALANCE));
    assert!(listed[0].card_number.contains('*'), "nobody's list shows a whole number");
    let order = new.order_migration().await;
    assert_eq!(order.state, MigrationState::Claimed);
    let outcome = new.open(&city).await.unwrap();
    assert!(installed(&outcome), "{outcome:?}");
    live(&city, &card).await;
    let arrived = new.image(&city).await;
    assert_eq!(arrived.differences(&image), []);
    assert_eq!(arrived.encode(), image.encode());
    let result = city.told.results.lock().unwrap().last().cloned().unwrap();
    assert_eq!(result.moved_from, Some(HexBytes(old.se_id.clone())));
    assert_eq!(new.wallet.parked_cards().await.unwrap().cards, []);
    // The same card: its keys fit the issuer's and the gates', and its money is all there.
    assert_eq!(new.top_up(&city, 700).await.result, OutcomeResult::Done);
    let tap = purchase(&city, &new, 1_000, 3).await;
    let gates = city.centre_peer(&city.gate_operator);
    assert_eq!(gates.consumption(&report(vec![tap])).await.unwrap().verdicts, [Verdict::Recorded]);
    let books = city.settled(4_000).await;
    assert_eq!((books.paid_in_fen, books.spent_fen), (5_700, 1_700));
    assert_eq!(new.balance().await, 4_000);
}

/// There is no limit on how often, and nothing wears off.
///
/// req: B-7.6.1.a
#[tokio::test]
async fn a_card_goes_to_and_fro_twenty_times() {
    let city = City::new().await;
    let (first, image, card) = parked(&city, 1).await;
    first.delete(&city).await.unwrap();
    let mut phones = [Phone::new(&city, 2), first];
    for round in 0..20 {
        let phone = &mut phones[round % 2];
        phone.order_migration().await;
        let outcome = phone.open(&city).await.unwrap();
        assert!(installed(&outcome), "round {round}: {outcome:?}");
        live(&city, &card).await;
        assert_eq!(phone.image(&city).await.encode(), image.encode(), "round {round}");
        let out = phone.migrate_out().await;
        assert_eq!(out.detail, OutcomeDetail::MigratedOut { balance_fen: BALANCE }, "round {round}");
        phone.delete(&city).await.unwrap();
    }
    assert_eq!(state(&city, &card).await, AccountState::Parked);
}

/// req: P-5.5.4.b
#[tokio::test]
async fn both_phones_belong_to_the_same_number() {
    let city = City::new().await;
    let (_old, _, card) = parked(&city, 1).await;
    let mut stranger = Phone::new(&city, 2);
    stranger.register_to(&city, Some("13900139000"));
    assert_eq!(stranger.wallet.parked_cards().await.unwrap().cards, []);
    assert_eq!(stranger.try_order_migration().await, Err(ProblemCode::UnknownId));
    stranger.register_to(&city, None);
    assert_eq!(stranger.try_order_migration().await, Err(ProblemCode::NotAllowed));
    assert_eq!(state(&city, &card).await, AccountState::Parked);
    // Registered to the number when it was ordered, and to another when it is written.
    let mut changed = Phone::new(&city, 3);
    changed.order_migration().await;
    changed.register_to(&city, Some("13900139000"));
    let asked = changed.pre_operation(OperationId(uuid()), OperationKind::Download, PURSE);
    let reply = city.sp_peer(&city.se_tsm).pre_operation(&asked).await.unwrap();
    let PreOperationReply::Refused { problem } = reply else { panic!("{reply:?}") };
    assert_eq!(problem.code, ProblemCode::NotAllowed);
}

/// Two phones claim one parked card: one gets it, and the other when the first has given it up.
#[tokio::test]
async fn one_of_two_phones_gets_the_card() {
    let city = City::new().await;
    let (_old, image, card) = parked(&city, 1).await;
    let (first, mut second) = (Phone::new(&city, 2), Phone::new(&city, 3));
    let claimed = first.order_migration().await;
    assert_eq!(second.try_order_migration().await, Err(ProblemCode::StateForbids));
    let stolen = second.wallet.cancel_migration(claimed.migration).await.unwrap_err();
    assert_eq!(stolen.code(), Some(ProblemCode::UnknownId), "nobody gives up another's");
    let given_up = first.wallet.cancel_migration(claimed.migration).await.unwrap();
    assert_eq!(given_up.state, MigrationState::Cancelled);
    assert_eq!(first.wallet.cancel_migration(claimed.migration).await.unwrap(), given_up);
    assert_eq!(state(&city, &card).await, AccountState::Parked);
    second.order_migration().await;
    assert!(installed(&second.open(&city).await.unwrap()));
    live(&city, &card).await;
    assert_eq!(second.image(&city).await, image);
    assert_eq!(first.try_order_migration().await, Err(ProblemCode::UnknownId), "it is not parked any more");
}

/// Cut at every APDU, with the command or its answer lost: the next contact goes on, with the same card, and
/// at no moment can two copies spend.
///
/// req: B-7.6.1.a, B-7.6.1.g, B-7.6.1.i
#[tokio::test]
async fn an_arrival_cut_at_every_apdu_goes_on() {
    let city = City::new().await;
    let (mut phone, image, card) = parked(&city, 1).await;
    phone.delete(&city).await.unwrap();
    let mut cuts = 0;
    let mut apdus = usize::MAX;
    let mut at = 0;
    while at < apdus {
        for lost in [Lost::Command(at), Lost::Response(at)] {
            phone.order_migration().await;
            phone.sent = 0;
            phone.lost = lost;
            let broken = phone.open(&city).await.unwrap();
            phone.lost = Lost::Nothing;
            if installed(&broken) {
                apdus = phone.sent;
            } else {
                assert_eq!(broken.result, OutcomeResult::Unknown, "{lost:?}: {broken:?}");
                assert_ne!(state(&city, &card).await, AccountState::Live, "{lost:?}");
                let waiting = phone.wallet.interrupted().await.unwrap().works;
                assert_eq!(waiting[0].kind, WorkKind::MigrationIn, "{lost:?}");
                let again = phone.open(&city).await.unwrap();
                assert!(installed(&again), "{lost:?}: {again:?}");
                cuts += 1;
            }
            live(&city, &card).await;
            assert_eq!(phone.image(&city).await.encode(), image.encode(), "{lost:?}");
            assert_eq!(phone.migrate_out().await.result, OutcomeResult::Done, "{lost:?}");
            phone.delete(&city).await.unwrap();
        }
        at += 1;
    }
    println!("migration in: {cuts} cuts at {apdus} APDUs");
    assert!(cuts > 100);
    assert_eq!(city.settled(0).await.parked_fen, u64::from(BALANCE));
}

/// The server dies at every commit, before and after it.
#[tokio::test]
async fn a_server_that_crashes_at_any_commit_of_an_arrival_converges() {
    let mut city = City::new().await;
    let (mut phone, image, card) = parked(&city, 1).await;
    phone.delete(&city).await.unwrap();
    let mut crashes = 0;
    for commit in 1..=16 {
        for crash in [Crash::BeforeCommit, Crash::AfterCommit] {
            city.faults.crash_at(city.faults.commits() + commit, crash);
            let ordered = phone.try_order_migration().await;
            let opened = match ordered {
                Ok(_) => phone.open(&city).await.ok(),
                Err(_) => None,
            };
            if city.faults.is_down() {
                crashes += 1;
                city.restart_sp_tsm().await;
                phone.reconnect(&city);
                // The order is still there when it was stored, and made anew when it was not.
                let _ = phone.try_order_migration().await;
                let outcome = phone.open(&city).await.unwrap();
                assert!(installed(&outcome), "commit {commit}, {crash:?}: {outcome:?}");
            } else {
                city.faults.restart();
                assert!(opened.is_some_and(|outcome| installed(&outcome)), "commit {commit}, {crash:?}");
            }
            live(&city, &card).await;
            assert_eq!(phone.image(&city).await, image, "commit {commit}, {crash:?}");
            let out = phone.migrate_out().await;
            assert_eq!(out.result, OutcomeResult::Done, "commit {commit}, {crash:?}: {out:?}");
            phone.delete(&city).await.unwrap();
        }
    }
    println!("migration in: {crashes} crashes at commits");
    assert!(crashes >= 12, "an arrival has six commits at least, and only {crashes} crashes happened");
    assert_eq!(city.settled(0).await.parked_fen, u64::from(BALANCE));
}

/// Giving up after the data were sent: the card stays parked only when the phone proved that it holds nothing.
#[tokio::test]
async fn what_was_sent_is_given_up_with_a_proof() {
    let city = City::new().await;
    let (mut phone, image, card) = parked(&city, 1).await;
    phone.delete(&city).await.unwrap();
    phone.order_migration().await;
    assert!(installed(&phone.open(&city).await.unwrap()));
    live(&city, &card).await;
    phone.migrate_out().await;
    phone.delete(&city).await.unwrap();

    let mut cuts = 0;
    let (mut arrived, mut kept) = (0, 0);
    for at in 0.. {
        let order = phone.order_migration().await;
        phone.sent = 0;
        phone.lost = Lost::Response(at);
        let broken = phone.open(&city).await.unwrap();
        phone.lost = Lost::Nothing;
        let whole = installed(&broken);
        if !whole {
            cuts += 1;
            let refused = phone.wallet.cancel_migration(order.migration).await.unwrap_err();
            assert_eq!(refused.code(), Some(ProblemCode::StateForbids), "nothing is believed of the phone");
            assert_eq!(phone.delete(&city).await, Err(ProblemCode::ValueRemains));
            let asked = phone.operate(Operation::GiveUpMigrationIn, None).await;
            let OutcomeDetail::MigrationIn { state: so_far, .. } = asked.detail else { panic!("{asked:?}") };
            if so_far == MigrationState::GivingUp {
                let refused = phone.pre_operation(OperationId(uuid()), OperationKind::Download, PURSE);
                let reply = city.sp_peer(&city.se_tsm).pre_operation(&refused).await.unwrap();
                assert!(matches!(reply, PreOperationReply::Refused { .. }));
                phone.delete(&city).await.unwrap();
            }
            if so_far == MigrationState::Done {
                arrived += 1;
            } else {
                kept += 1;
                assert_eq!(state(&city, &card).await, AccountState::Parked, "cut at {at}");
                continue;
            }
        }
        live(&city, &card).await;
        assert_eq!(phone.image(&city).await, image, "cut at {at}");
        phone.migrate_out().await;
        phone.delete(&city).await.unwrap();
        if whole {
            break;
        }
    }
    println!("migration in given up: {cuts} cuts, {arrived} had arrived, {kept} stayed parked");
    assert!(arrived > 10 && kept > 3);
    assert_eq!(city.settled(0).await.parked_fen, u64::from(BALANCE));
}

/// The last answers are lost, and the card is used before the server hears of it: it has arrived all the same,
/// and what was spent is spent once.
#[tokio::test]
async fn a_card_that_is_used_before_its_arrival_is_known() {
    let city = City::new().await;
    let (old, image, card) = parked(&city, 1).await;
    old.delete(&city).await.unwrap();
    let mut new = Phone::new(&city, 2);
    new.order_migration().await;
    new.open_unread(&city).await;
    let tap = purchase(&city, &new, 300, 3).await;
    let outcome = new.open(&city).await.unwrap();
    assert!(installed(&outcome), "{outcome:?}");
    live(&city, &card).await;
    assert_eq!(new.balance().await, BALANCE - 300);
    assert_ne!(new.image(&city).await, image);
    let gates = city.centre_peer(&city.gate_operator);
    assert_eq!(gates.consumption(&report(vec![tap])).await.unwrap().verdicts, [Verdict::Recorded]);
    assert_eq!(city.settled(u64::from(BALANCE - 300)).await.spent_fen, 1_000);
}

/// A phone spends from a card whose arrival is not known, and then lets its purse refuse to be read while the arrival
/// is given up. What it says is not believed: nothing is deleted, the claim stays, and when the purse shows itself
/// the card has arrived with what is left of it.
///
/// req: B-7.6.1.i
#[tokio::test]
async fn a_copy_that_was_spent_from_is_not_given_up_on_a_refusal() {
    let city = City::new().await;
    let (old, _, card) = parked(&city, 1).await;
    old.delete(&city).await.unwrap();
    let mut new = Phone::new(&city, 2);
    let order = new.order_migration().await;
    new.open_unread(&city).await;
    let tap = purchase(&city, &new, 300, 3).await;

    for _ in 0..2 {
        assert_eq!(new.give_up_refusing().await, MigrationState::GivingUp);
        let refused = new.delete(&city).await;
        assert_eq!(refused, Err(ProblemCode::ValueRemains), "nobody has proved that it is empty");
        assert_eq!(state(&city, &card).await, AccountState::Opening, "the claim stays");
        let waiting = new.wallet.interrupted().await.unwrap().works;
        assert!(!waiting[0].may_continue && waiting[0].may_cancel && waiting[0].needs_card);
    }
    let refused = new.wallet.cancel_migration(order.migration).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::StateForbids));

    assert_eq!(new.give_up().await, MigrationState::Done, "it has arrived after all");
    live(&city, &card).await;
    assert_eq!(new.balance().await, BALANCE - 300);
    let gates = city.centre_peer(&city.gate_operator);
    assert_eq!(gates.consumption(&report(vec![tap])).await.unwrap().verdicts, [Verdict::Recorded]);
    assert_eq!(city.settled(u64::from(BALANCE - 300)).await.spent_fen, 1_000);
}

/// A deletion of the old copy was allowed before the card was written again, and its end is told late: it says
/// nothing of the new one.
#[tokio::test]
async fn the_late_word_of_an_earlier_deletion_frees_nothing() {
    let city = City::new().await;
    let (mut first, _, card) = parked(&city, 1).await;
    let mut second = Phone::new(&city, 2);
    second.order_migration().await;
    assert!(installed(&second.open(&city).await.unwrap()));
    live(&city, &card).await;
    assert_eq!(second.migrate_out().await.result, OutcomeResult::Done);
    second.delete(&city).await.unwrap();
    first.order_migration().await;
    let late = first.delete_untold(&city).await.unwrap();
    first.open_unread(&city).await;
    assert_eq!(first.give_up_refusing().await, MigrationState::GivingUp);
    city.sp_peer(&city.se_tsm).result(&late).await.unwrap();
    assert_eq!(state(&city, &card).await, AccountState::Opening);
    assert_eq!(first.give_up().await, MigrationState::Done);
    live(&city, &card).await;
    assert_eq!(first.balance().await, BALANCE);
}

/// The rider holds his phone to a gate while his card is coming, between the list that writes it and the list that
/// reads it: it has arrived, and nobody freezes it.
#[tokio::test]
async fn a_card_that_is_used_between_its_writing_and_its_reading_has_arrived() {
    let city = City::new().await;
    let (old, _, card) = parked(&city, 1).await;
    old.delete(&city).await.unwrap();
    let mut new = Phone::new(&city, 2);
    new.order_migration().await;
    let (outcome, tap) = new.open_with_tap(&city, 300, 3).await;
    assert!(installed(&outcome), "{outcome:?}");
    live(&city, &card).await;
    assert_eq!(new.balance().await, BALANCE - 300);
    let gates = city.centre_peer(&city.gate_operator);
    assert_eq!(gates.consumption(&report(vec![tap])).await.unwrap().verdicts, [Verdict::Recorded]);
    assert_eq!(new.top_up(&city, 700).await.result, OutcomeResult::Done, "it is not frozen");
    assert_eq!(city.settled(u64::from(BALANCE + 400)).await.spent_fen, 1_000);
}

/// A card comes back to a phone that never deleted what was left of it there, changed since or not: the old
/// copy is not taken for the card, nobody freezes the card for it, and once it is gone the card comes.
#[tokio::test]
async fn a_card_comes_back_to_a_phone_that_kept_its_old_copy() {
    for used_between in [true, false] {
        let city = City::new().await;
        let (mut first, image, card) = parked(&city, 1).await;
        let mut second = Phone::new(&city, 2);
        second.order_migration().await;
        assert!(installed(&second.open(&city).await.unwrap()));
        live(&city, &card).await;
        if used_between {
            let tap = purchase(&city, &second, 300, 3).await;
            let gates = city.centre_peer(&city.gate_operator);
            assert_eq!(gates.consumption(&report(vec![tap])).await.unwrap().verdicts, [Verdict::Recorded]);
        }
        let moved = second.image(&city).await;
        assert_eq!(moved == image, !used_between);
        assert_eq!(second.migrate_out().await.result, OutcomeResult::Done);
        second.delete(&city).await.unwrap();

        first.order_migration().await;
        // The old copy takes no data; what it is shows at the next contact.
        assert!(!installed(&first.open(&city).await.unwrap()));
        let refused = first.open(&city).await.unwrap();
        assert_eq!(refused.problem.unwrap().code, ProblemCode::StateForbids);
        let asked = first.operate(Operation::GiveUpMigrationIn, None).await;
        let OutcomeDetail::MigrationIn { state, .. } = asked.detail else { panic!("{asked:?}") };
        assert_eq!(state, MigrationState::GivingUp);
        first.delete(&city).await.unwrap();

        first.order_migration().await;
        assert!(installed(&first.open(&city).await.unwrap()));
        live(&city, &card).await;
        assert_eq!(first.image(&city).await.encode(), moved.encode());
    }
}

/// A phone that kept the old copy of one card is given another card of the same rider: the old copy is nobody's lie.
/// It is deleted, and then the card comes.
#[tokio::test]
async fn the_old_copy_of_another_card_freezes_nothing() {
    let city = City::new().await;
    let (mut phone, _, moved) = parked(&city, 1).await;
    let mut other = Phone::new(&city, 3);
    other.order_migration().await;
    assert!(installed(&other.open(&city).await.unwrap()));
    live(&city, &moved).await;
    let (_, image, card) = parked(&city, 2).await;

    phone.order_migration().await;
    assert!(!installed(&phone.open(&city).await.unwrap()));
    let refused = phone.open(&city).await.unwrap();
    assert_eq!(refused.problem.unwrap().code, ProblemCode::StateForbids);
    assert_eq!(phone.give_up().await, MigrationState::GivingUp);
    phone.delete(&city).await.unwrap();

    phone.order_migration().await;
    assert!(installed(&phone.open(&city).await.unwrap()));
    live(&city, &card).await;
    assert_eq!(phone.image(&city).await.encode(), image.encode());
}

/// A phone that says that all went well, without its card: nothing is believed, and the card stays claimed.
#[tokio::test]
async fn a_success_without_proof_brings_no_card() {
    let city = City::new().await;
    let (old, _, card) = parked(&city, 1).await;
    old.delete(&city).await.unwrap();
    let mut liar = Phone::new(&city, 2);
    liar.order_migration().await;
    let handed = liar.hand_over(&city, OperationId(uuid())).await.unwrap();
    let responses = vec![HexBytes(vec![0x90, 0x00]); handed.steps.len()];
    let claim = TurnRequest {
        turn: handed.turn,
        responses,
        ticket: Some(handed.ticket.clone()),
        ..TurnRequest::default()
    };
    let reply = liar.wallet.turn(handed.conversation, &claim).await.unwrap();
    let ConversationReply::Outcome { outcome, .. } = reply else { panic!("{reply:?}") };
    assert_eq!(outcome.problem.unwrap().code, ProblemCode::CardUnproven);
    assert_eq!(state(&city, &card).await, AccountState::Opening, "claimed, and not in use");
    assert!(installed(&liar.open(&city).await.unwrap()), "with its card it is brought to use");
    live(&city, &card).await;
}

/// A copy of the old phone's chip, made before the migration: it can fool an offline gate once, and no more
/// than that; the servers refuse it and the centre finds it.
#[tokio::test]
async fn a_card_restored_from_a_copy_is_found() {
    let city = City::new().await;
    let mut old = used(&city, 1).await;
    let mut copy = old.copied(&city);
    let card = city.card_number(&old.card_number().await);
    old.migrate_out().await;
    old.delete(&city).await.unwrap();
    let mut new = Phone::new(&city, 2);
    new.order_migration().await;
    assert!(installed(&new.open(&city).await.unwrap()));
    live(&city, &card).await;
    let refused = copy.operate(Operation::Synchronise, None).await;
    assert_eq!(refused.problem.unwrap().code, ProblemCode::UnknownId, "the card is on another phone");
    let refused = copy.operate(Operation::MigrateOut, None).await;
    assert_eq!(refused.problem.unwrap().code, ProblemCode::UnknownId, "a copy is not parked again");
    let real = purchase(&city, &new, 300, 3).await;
    let forged = purchase(&city, &copy, 300, 4).await;
    assert_eq!(real.offline_counter, forged.offline_counter, "a copy counts from where it was made");
    let gates = city.centre_peer(&city.gate_operator);
    assert_eq!(gates.consumption(&report(vec![real])).await.unwrap().verdicts, [Verdict::Recorded]);
    let verdicts = gates.consumption(&report(vec![forged])).await.unwrap().verdicts;
    assert_ne!(verdicts, [Verdict::Recorded], "one counter is spent once");
    let books = city.settled(u64::from(BALANCE - 300)).await;
    assert_eq!(books.spent_fen, 1_000);
}
