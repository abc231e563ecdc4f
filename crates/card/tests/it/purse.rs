//! Top-up of a real purse in the software SE, and what is known after a break.

use tsm_card::purse::{
    ApplicationLock, CreditOutcome, LoadIntention, LoadObservation, LoadPurpose, change_application_lock,
    credit, initialise, observe_load, read_card,
};
use tsm_card::set_default_card::{DefaultCard, PPSE, set_default_card};
use tsm_card::{CardChannel, ProcedureError};
use tsm_epurse::{Amount, DateTime, KeyIndex, KeyRole, TerminalNumber};
use tsm_iso7816::StatusWord;
use tsm_keys::{KeyError, KeyHandle};

use crate::support::*;

const REPORT: usize = 1;

fn opened() -> World {
    let world = World::new();
    run(world.open_card(&mut world.card.channel())).unwrap();
    world.card.restart();
    world
}

fn at() -> DateTime {
    DateTime::from_bytes([0x20, 0x26, 0x11, 0x21, 0x09, 0x45, 0x00])
}

fn purpose(fen: u32, attempt: u8) -> LoadPurpose {
    LoadPurpose {
        key_index: KeyIndex::FIRST,
        amount: Amount::from_fen(fen),
        terminal: TerminalNumber::new([0x09, 0x99, 0, 0, 0, attempt]),
    }
}

fn keys(world: &World) -> (KeyHandle, KeyHandle) {
    (world.purse_key(KeyRole::Load), world.purse_key(KeyRole::Tac))
}

fn balance(world: &World) -> Amount {
    run(read_card(&mut world.card.channel(), PURSE)).unwrap().balance
}

async fn top_up(world: &World, card: &mut impl CardChannel) -> Result<CreditOutcome, ProcedureError> {
    let (load, tac) = keys(world);
    let attempt = initialise(card, &world.provider, &load, PURSE, purpose(5000, 1)).await?;
    credit(card, &world.provider, &load, &tac, &attempt, at()).await
}

/// The keys and data that the card was personalised with are those that its provider has.
///
/// req: P-5.8.4.6.a
#[test]
fn a_top_up_takes_three_round_trips_and_is_proven_by_the_tac() {
    let world = opened();
    let mut card = Counted::new(world.card.channel());
    assert!(matches!(run(top_up(&world, &mut card)).unwrap(), CreditOutcome::Credited(_)));
    assert_eq!(card.exchanges + REPORT, 3);
    let reading = run(read_card(&mut world.card.channel(), PURSE)).unwrap();
    assert_eq!(reading.balance, Amount::from_fen(5000));
    assert_eq!(reading.transactions[0].amount, Amount::from_fen(5000));
}

#[test]
fn another_cards_answer_is_not_believed() {
    let world = opened();
    let root = tsm_keys::KeyService::derive(
        &world.provider,
        &purse_root(KeyRole::Load),
        &tsm_keys::Derivation::Purse(tsm_keys::PursePath {
            issuer: public_information().issuer,
            card: tsm_epurse::CardFactor::new([0x49, 0x99, 0, 0, 0, 0x01, 0x23, 0x46]),
        }),
    );
    let card = &mut world.card.channel();
    let refused = run(initialise(card, &world.provider, &root.unwrap(), PURSE, purpose(1, 1)));
    assert_eq!(refused, Err(ProcedureError::Key(KeyError::CardMac("MAC1"))));
    let wrong_purpose = world.purse_key(KeyRole::Tac);
    let refused = run(initialise(card, &world.provider, &wrong_purpose, PURSE, purpose(1, 1)));
    assert!(matches!(refused, Err(ProcedureError::Key(KeyError::Purpose { .. }))));
}

/// Torn at each command, with the command or the response lost: the counter tells what happened, the
/// money in the purse agrees, and nothing is credited twice.
#[test]
fn after_a_break_the_card_itself_says_whether_it_credited() {
    for (left, lose, credited) in [(2, Lost::Command, false), (2, Lost::Response, true)] {
        let world = opened();
        let (load, tac) = keys(&world);
        let card = &mut world.card.channel_breaking_after(left, lose);
        let attempt = run(initialise(card, &world.provider, &load, PURSE, purpose(5000, 1))).unwrap();
        let intention = LoadIntention::new(&attempt, at());
        let lost = run(credit(card, &world.provider, &load, &tac, &attempt, at())).unwrap_err();
        assert!(lost.is_outcome_unknown());
        world.card.restart();

        let card = &mut world.card.channel();
        let observe = observe_load(card, &world.provider, &load, &tac, PURSE, &intention, purpose(5000, 2));
        match run(observe).unwrap() {
            LoadObservation::NotCredited { attempt } => {
                assert!(!credited);
                assert_eq!(balance(&world), Amount::ZERO);
                // Reading selected the purse again, so the attempt is void: begin a third.
                let stale = run(credit(card, &world.provider, &load, &tac, &attempt, at())).unwrap();
                assert!(matches!(stale, CreditOutcome::SaidToBeRefused(_)));
                let again = run(initialise(card, &world.provider, &load, PURSE, purpose(5000, 3))).unwrap();
                let done = run(credit(card, &world.provider, &load, &tac, &again, at())).unwrap();
                assert!(matches!(done, CreditOutcome::Credited(_)));
            }
            LoadObservation::Credited { tac, .. } => {
                assert!(credited);
                assert!(tac.is_some(), "the card still has the proof");
            }
            LoadObservation::Suspicious { .. } => panic!("nothing suspicious happened"),
        }
        assert_eq!(balance(&world), Amount::from_fen(5000));
    }
}

/// A withheld MAC2 is worth nothing once the card was observed with a fresh terminal number.
#[test]
fn an_observation_voids_a_mac2_that_is_still_on_its_way() {
    let world = opened();
    let (load, tac) = keys(&world);
    let card = &mut world.card.channel();
    let attempt = run(initialise(card, &world.provider, &load, PURSE, purpose(5000, 1))).unwrap();
    let intention = LoadIntention::new(&attempt, at());
    let withheld = tsm_keys::KeyService::credit_for_load(&world.provider, &load, &attempt, at()).unwrap();
    let observe = observe_load(card, &world.provider, &load, &tac, PURSE, &intention, purpose(5000, 2));
    assert!(matches!(run(observe).unwrap(), LoadObservation::NotCredited { .. }));
    let spent_later =
        world.card.se(|se| se.transmit(tsm_se::Interface::Contact, &withheld.to_apdu().to_bytes().unwrap()));
    assert_ne!(spent_later[spent_later.len() - 2..], [0x90, 0x00]);
    assert_eq!(balance(&world), Amount::ZERO);
}

/// Old proofs go when a later load overwrites them: then counter and balance decide.
#[test]
fn a_card_that_went_on_elsewhere_is_suspicious() {
    let world = opened();
    let (load, tac) = keys(&world);
    let card = &mut world.card.channel();
    let first = run(initialise(card, &world.provider, &load, PURSE, purpose(100, 1))).unwrap();
    let intention = LoadIntention::new(&first, at());
    run(credit(card, &world.provider, &load, &tac, &first, at())).unwrap();
    let second = run(initialise(card, &world.provider, &load, PURSE, purpose(100, 2))).unwrap();
    run(credit(card, &world.provider, &load, &tac, &second, at())).unwrap();
    let observe = observe_load(card, &world.provider, &load, &tac, PURSE, &intention, purpose(100, 3));
    assert!(matches!(run(observe).unwrap(), LoadObservation::Suspicious { .. }));
}

/// req: P-5.8.4.3.1.a, P-5.8.4.3.1.d
#[test]
fn a_blocked_purse_loads_nothing_and_keeps_its_content() {
    let world = opened();
    run(top_up(&world, &mut world.card.channel())).unwrap();
    let before = run(read_card(&mut world.card.channel(), PURSE)).unwrap();
    let card = &mut world.card.channel();
    let block = world.purse_key(KeyRole::ApplicationBlock);
    run(change_application_lock(card, &world.provider, &block, PURSE, ApplicationLock::Block)).unwrap();
    let reading = run(read_card(card, PURSE)).unwrap();
    assert_eq!(reading.select_status, StatusWord::SELECTED_FILE_INVALIDATED);
    assert_eq!((reading.balance, &reading.transactions), (before.balance, &before.transactions));
    assert!(run(top_up(&world, card)).is_err());
    let unblock = world.purse_key(KeyRole::ApplicationUnblock);
    run(change_application_lock(card, &world.provider, &unblock, PURSE, ApplicationLock::Unblock)).unwrap();
    assert_eq!(run(read_card(card, PURSE)).unwrap(), before);
}

#[test]
fn a_wrong_key_blocks_nothing() {
    let world = opened();
    let card = &mut world.card.channel();
    let wrong = world.purse_key(KeyRole::Pin);
    let refused = run(change_application_lock(card, &world.provider, &wrong, PURSE, ApplicationLock::Block));
    assert!(refused.unwrap_err().status().is_some());
    assert_eq!(run(read_card(card, PURSE)).unwrap().select_status, StatusWord::SUCCESS);
}

/// req: B-6.7.a
#[test]
fn the_chosen_card_stands_first_in_the_contactless_directory() {
    use tsm_card::install::{NewInstance, install};
    use tsm_card::{Script, open_channel};
    use tsm_epurse::select::Directory;
    let world = opened();
    let ppse_package = "F04F54534D0102".parse().unwrap();
    let ppse_module = "F04F54534D010201".parse().unwrap();
    let second = "A000000632010105100091560000BBBB".parse().unwrap();
    let card = &mut world.card.channel();
    run(async {
        let mut script = Script::new();
        let mut provider =
            open_channel(card, &world.provider, &world.provider_session(), &mut script).await.unwrap();
        let another = NewInstance::new(PACKAGE, MODULE, second);
        install(card, &mut provider, &another, script).await.unwrap();
        let cap = tsm_capfile::CapBuilder::new(ppse_package).applet(ppse_module).build_cap().unwrap();
        let block = cap.load_file_data_block(tsm_capfile::Descriptor::Omit);
        let (mut issuer, script) = world.open_issuer(card).await.unwrap();
        let load = tsm_card::download::Download::new(ppse_package, block.into());
        tsm_card::download::download(card, &mut issuer, &load, script).await.unwrap();
        let ppse = NewInstance::new(ppse_package, ppse_module, PPSE);
        install(card, &mut issuer, &ppse, Script::new()).await.unwrap();
    });
    for chosen in [second, PURSE] {
        let answer = run(set_default_card(card, DefaultCard::First(chosen))).unwrap();
        let directory = Directory::decode(&answer).unwrap();
        assert_eq!(directory.by_priority()[0].aid, chosen);
    }
}
