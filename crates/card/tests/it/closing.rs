//! Closing a purse in the software SE: blocked first, then read to the end under R-MAC.

use tsm_card::purse::{
    CreditOutcome, LoadPurpose, PurseClosing, block_and_read, credit, initialise, read_card, read_proven,
};
use tsm_card::{CardChannel, ChannelError, ProcedureError, Step};
use tsm_epurse::commands::PurseAvailability;
use tsm_epurse::file::{HISTORY_RECORDS, LOG_RECORDS, PublicInformation};
use tsm_epurse::{Amount, CardImage, DateTime, KeyIndex, KeyRole, OnlineCounter, TerminalNumber};
use tsm_globalplatform::security_level::SecurityLevel;
use tsm_iso7816::{ResponseApdu, StatusWord};
use tsm_keys::SessionRequest;
use tsm_se::Interface;

use crate::purchase::buy;
use crate::support::*;

const APPLICATION_BLOCK: u8 = 0x1E;
const READ_RECORD: u8 = 0xB2;

fn topped_up() -> World {
    topped_up_with(5_000)
}

fn topped_up_with(fen: u32) -> World {
    let world = World::new();
    run(world.open_card(&mut world.card.channel())).unwrap();
    world.card.restart();
    let (load, tac) = (world.purse_key(KeyRole::Load), world.purse_key(KeyRole::Tac));
    let card = &mut world.card.channel();
    let purpose = LoadPurpose {
        key_index: KeyIndex::FIRST,
        amount: Amount::from_fen(fen),
        terminal: TerminalNumber::new([0x09, 0x99, 0, 0, 0, 1]),
    };
    let at = DateTime::from_bytes([0x20, 0x26, 0x11, 0x21, 0x09, 0x45, 0x00]);
    let attempt = run(initialise(card, &world.provider, &load, PURSE, purpose)).unwrap();
    let done = run(credit(card, &world.provider, &load, &tac, &attempt, at)).unwrap();
    assert!(matches!(done, CreditOutcome::Credited(_)));
    world.card.restart();
    world
}

async fn close(world: &World, card: &mut impl CardChannel) -> Result<PurseClosing, ProcedureError> {
    let block = world.purse_key(KeyRole::ApplicationBlock);
    block_and_read(card, &world.provider, &block, &world.provider_session(), PURSE).await
}

fn image(closing: PurseClosing) -> CardImage {
    match closing {
        PurseClosing::Blocked(image) => *image,
        PurseClosing::Open(status) => panic!("the purse is open: {status:?}"),
    }
}

/// req: B-7.5.1.a, B-7.6.1.b
#[test]
fn a_purse_is_blocked_and_read_to_the_end_in_three_exchanges() {
    let world = topped_up();
    let before = run(read_card(&mut world.card.channel(), PURSE)).unwrap();
    let session = world.provider_session();
    let proven = run(read_proven(&mut world.card.channel(), &world.provider, &session, PURSE)).unwrap();
    assert_eq!(proven.0.availability, PurseAvailability::Open);
    let mut card = Counted::new(world.card.channel());
    let image = image(run(close(&world, &mut card)).unwrap());
    assert_eq!(card.exchanges, 3);
    assert_eq!(image.state().usable(), Amount::from_fen(5000));
    assert_eq!(image.state().online(), OnlineCounter::new(1));
    assert_eq!(image.public_information, before.public_information);
    assert_eq!((&image.log, &image.history), (&before.transactions, &before.history));
    assert_eq!(*proven.1, image, "the block changes nothing but the block");
    let after = run(read_card(&mut world.card.channel(), PURSE)).unwrap();
    assert_eq!(after.select_status, StatusWord::SELECTED_FILE_INVALIDATED);
}

/// Cut at every command, with the command or its answer lost: doing it again gives the same image.
#[test]
fn a_closing_that_was_cut_is_done_again() {
    let world = topped_up();
    let mut counted = Counted::new(world.card.channel());
    let expected = image(run(close(&world, &mut counted)).unwrap());
    let mut cuts = 0;
    for left in 0..counted.commands as u64 {
        for lose in [Lost::Command, Lost::Response] {
            let world = topped_up();
            let card = &mut world.card.channel_breaking_after(left, lose);
            assert!(run(close(&world, card)).is_err(), "{left} {lose:?}");
            world.card.restart();
            let again = image(run(close(&world, &mut world.card.channel())).unwrap());
            assert_eq!(again, expected, "{left} {lose:?}");
            cuts += 1;
        }
    }
    println!("closing a purse: {cuts} cut points");
}

/// A phone that answers some commands itself.
struct Forging<C, F> {
    card: C,
    forge: F,
}

impl<C: CardChannel, F: FnMut(&Step) -> Option<ResponseApdu> + Send> CardChannel for Forging<C, F> {
    async fn exchange(&mut self, steps: Vec<Step>) -> Result<Vec<ResponseApdu>, ChannelError> {
        let mut responses = Vec::new();
        for step in steps {
            let response = match (self.forge)(&step) {
                Some(forged) => forged,
                None => self.card.exchange(vec![step.clone()]).await?.remove(0),
            };
            let stops = !step.expected().accepts(response.status);
            responses.push(response);
            if stops {
                break;
            }
        }
        Ok(responses)
    }
}

#[test]
fn a_block_that_the_phone_kept_to_itself_is_seen() {
    let world = topped_up();
    let forge = |step: &Step| (step.to_apdu().ins == APPLICATION_BLOCK).then(|| ResponseApdu::success([]));
    let card = &mut Forging { card: world.card.channel(), forge };
    let PurseClosing::Open(status) = run(close(&world, card)).unwrap() else {
        panic!("the phone's word blocked the purse");
    };
    assert_eq!(status.availability, PurseAvailability::Open);
    assert_eq!(run(read_card(&mut world.card.channel(), PURSE)).unwrap().select_status, StatusWord::SUCCESS);
}

#[test]
fn a_record_that_the_phone_leaves_out_or_changes_is_missed() {
    for forged in [StatusWord::RECORD_NOT_FOUND.into(), ResponseApdu::success([0; 23])] {
        let world = topped_up();
        let forge = |step: &Step| (step.to_apdu().ins == READ_RECORD).then(|| ResponseApdu::clone(&forged));
        let card = &mut Forging { card: world.card.channel(), forge };
        let refused = run(close(&world, card)).unwrap_err();
        assert!(refused.is_outcome_unknown(), "{refused}");
    }
}

/// A terminal takes money while the purse is read, after it has told what it holds: what was read is of two moments,
/// also where the log is full and a new record pushes the oldest out.
#[test]
fn a_purchase_between_two_commands_is_no_lie_of_the_phone() {
    for bought_before in [0, LOG_RECORDS] {
        for records_before in [0, 5, LOG_RECORDS, LOG_RECORDS + HISTORY_RECORDS] {
            let world = topped_up_with(20_000);
            let (session, key) = (world.provider_session(), world.purse_key(KeyRole::Purchase));
            for _ in 0..bought_before {
                run(buy(&world, &mut world.card.channel(), &key, &mut None)).unwrap();
            }
            world.card.restart();
            let (mut till, mut read) = (Some(world.card.channel_over(Interface::Contactless)), 0);
            let forge = |step: &Step| {
                let is_record = step.to_apdu().ins == READ_RECORD;
                let comes = (is_record && read == records_before).then(|| till.take()).flatten();
                read += usize::from(is_record);
                if let Some(mut till) = comes {
                    run(buy(&world, &mut till, &key, &mut None)).unwrap();
                }
                None
            };
            let card = &mut Forging { card: world.card.channel(), forge };
            let stopped = run(read_proven(card, &world.provider, &session, PURSE)).unwrap_err();
            assert!(
                matches!(stopped, ProcedureError::UsedMeanwhile),
                "{bought_before} {records_before}: {stopped}"
            );
            assert!(till.is_none());
            world.card.restart();
            let (_, image) =
                run(read_proven(&mut world.card.channel(), &world.provider, &session, PURSE)).unwrap();
            let all = 2 + bought_before;
            assert_eq!(image.log.len(), all.min(LOG_RECORDS), "the load and the purchases");
        }
    }
}

#[test]
fn without_r_mac_nothing_is_read_and_nothing_is_blocked() {
    let world = topped_up();
    let session = SessionRequest { level: SecurityLevel::C_DECRYPTION_C_MAC, ..world.provider_session() };
    let block = world.purse_key(KeyRole::ApplicationBlock);
    let card = &mut world.card.channel();
    let refused = run(block_and_read(card, &world.provider, &block, &session, PURSE));
    assert!(matches!(refused, Err(ProcedureError::Impossible(_))));
    assert_eq!(run(read_card(card, PURSE)).unwrap().select_status, StatusWord::SUCCESS);
}

/// What was read is what a new card is personalised with.
#[test]
fn an_image_survives_its_bytes() {
    let world = topped_up();
    let image = image(run(close(&world, &mut world.card.channel())).unwrap());
    assert_eq!(CardImage::decode(&image.encode()), Ok(image.clone()));
    assert_eq!(
        image.encode()[1..].first_chunk::<{ PublicInformation::LENGTH }>(),
        Some(&image.public_information.encode())
    );
}
