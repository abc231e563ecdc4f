//! Everything that a purse holds, read in a secure channel with the purse, and written to another card.

use tsm_card::opening::{Content, Personalisation, fill_domain};
use tsm_card::personalise::StoreDataForm;
use tsm_card::purse::{AskingCounters, PurseIssue, ReadingFiles, purse_keys};
use tsm_card::script::Command;
use tsm_card::{CardChannel, ProcedureError, Script, open_channel};
use tsm_epurse::card::PurseState;
use tsm_epurse::commands::{ApplicationBlock, BlockKind, GetChallenge};
use tsm_epurse::file::{HistoryRecord, LogRecord, RecordId, TransitRecord};
use tsm_epurse::personalization::PurseStart;
use tsm_epurse::{
    Algorithm, Amount, CardImage, Challenge, KeyRole, KeyVersion, OfflineCounter, OnlineCounter,
    OverdraftLimit, TerminalNumber,
};
use tsm_iso7816::StatusWord;
use tsm_keys::{KeyService, SessionRequest};

use crate::support::*;

const TERMINAL: TerminalNumber = TerminalNumber::new([0x09, 0x99, 0, 0, 0, 1]);

fn purse_session(world: &World) -> SessionRequest {
    SessionRequest { application: PURSE, ..world.provider_session() }
}

/// A card that was used for years: every cyclic record, overdraft, transit records.
fn used_image() -> CardImage {
    let transit = |number: u8| {
        let mut bytes = TransitRecord::empty(RecordId::new(number).unwrap()).encode();
        bytes[3..].fill(0x30 + number);
        TransitRecord::decode(&bytes).unwrap()
    };
    let state = PurseState::new(
        Amount::ZERO,
        OverdraftLimit::from_fen(800).unwrap(),
        OverdraftLimit::from_fen(200).unwrap(),
        OnlineCounter::new(0x2A),
        OfflineCounter::new(0x042E),
    );
    let start =
        PurseStart { state: state.unwrap(), key_version: KeyVersion(7), algorithm: Algorithm::TripleDes };
    CardImage::new(
        public_information(),
        tsm_epurse::file::Holder { staff: 1, name: [0x41; 20], ..tsm_epurse::file::Holder::ANONYMOUS },
        management(),
        start,
        (0..10).map(|fill| LogRecord::decode(&[fill; 23]).unwrap()).collect(),
        (0..30).map(|fill| HistoryRecord::decode(&[fill; 48]).unwrap()).collect(),
        (1..=18).map(transit),
    )
}

async fn read(world: &World, card: &mut impl CardChannel) -> Result<CardImage, ProcedureError> {
    let mut script = Script::new();
    let mut channel = open_channel(card, &world.provider, &purse_session(world), &mut script).await?;
    let counters = AskingCounters::add(&mut channel, TERMINAL, &mut script)?;
    let files = ReadingFiles::add(&mut channel, &mut script)?;
    let mut answers = script.run(card).await?;
    let counters = counters.take(&mut channel, &mut answers)?;
    let files = files.take(&mut channel, &mut answers)?;
    Ok(files.image(&counters).expect("nothing happened in between"))
}

async fn restore(world: &World, image: &CardImage) -> Result<(), ProcedureError> {
    let card = &mut world.card.channel();
    world.open_card(card).await?;
    let mut script = Script::new();
    let mut channel = open_channel(card, &world.provider, &world.provider_session(), &mut script).await?;
    let keys = purse_keys(&world.provider, purse_root, &image.public_information)?;
    let groups = PurseIssue::restored(image, keys).data_groups();
    let personalisation = Personalisation { application: PURSE, groups, form: StoreDataForm::default() };
    fill_domain(card, &mut channel, script, &Content::default(), &[personalisation]).await.map(drop)
}

/// req: B-7.6.1.a
#[test]
fn a_restored_card_holds_the_same_to_the_last_byte() {
    let world = World::new();
    let image = used_image();
    run(restore(&world, &image)).unwrap();
    world.card.restart();
    let mut card = Counted::new(world.card.channel());
    let seen = run(read(&world, &mut card)).unwrap();
    assert_eq!(seen.differences(&image), []);
    assert_eq!(seen.encode(), image.encode());
    assert_eq!(card.exchanges, 2, "one to open, one for everything");
}

#[test]
fn a_new_card_reads_as_it_was_issued() {
    let world = World::new();
    run(world.open_card(&mut world.card.channel())).unwrap();
    let seen = run(read(&world, &mut world.card.channel())).unwrap();
    assert!(seen.log.is_empty() && seen.history.is_empty() && seen.transit_records().is_empty());
    assert_eq!(seen.start, PurseStart::empty(Algorithm::TripleDes));
}

/// The block is proven by the session's MAC on its answer, and the files behind it are read all the same.
#[test]
fn a_purse_is_blocked_and_read_in_one_session() {
    let world = World::new();
    let image = used_image();
    run(restore(&world, &image)).unwrap();
    let card = &mut world.card.channel();
    let seen = run(async {
        let mut script = Script::new();
        let mut channel = open_channel(card, &world.provider, &purse_session(&world), &mut script).await?;
        let counters = AskingCounters::add(&mut channel, TERMINAL, &mut script)?;
        let challenge = Command::new("GET CHALLENGE", GetChallenge::Four.to_apdu());
        // In clear: a protected answer has no length that the command could name.
        let challenge = script.transmit(challenge);
        let mut answers = script.run(card).await?;
        let counters = counters.take(&mut channel, &mut answers)?;
        let random: [u8; 4] = answers.take_one(&challenge)?.data.try_into().expect("four bytes");
        let block = ApplicationBlock { kind: BlockKind::Temporary }.to_apdu();
        let key = world.purse_key(KeyRole::ApplicationBlock);
        let block = world.provider.secure_messaging(&key, Challenge::new(random), &block)?;
        let mut script = Script::new();
        let block = channel.add(&mut script, vec![Command::new("APPLICATION BLOCK", block)])?;
        let files = ReadingFiles::add(&mut channel, &mut script)?;
        let mut answers = script.run(card).await?;
        channel.take_one(&mut answers, &block)?;
        Ok::<_, ProcedureError>(files.take(&mut channel, &mut answers)?.image(&counters))
    });
    assert_eq!(seen.unwrap(), Some(image));
    let selected = world.card.se(|se| {
        let select = [&[0x00, 0xA4, 0x04, 0x00, 0x10][..], PURSE.as_bytes()].concat();
        se.transmit(tsm_se::Interface::Contact, &select)
    });
    assert!(selected.ends_with(&StatusWord::SELECTED_FILE_INVALIDATED.0.to_be_bytes()));
}

/// Whoever changes a byte of what the card says, or leaves a command out, is found out by the MAC.
#[test]
fn no_answer_can_be_changed_on_its_way() {
    let world = World::new();
    run(restore(&world, &used_image())).unwrap();
    let mut card = Counted::new(world.card.channel());
    run(read(&world, &mut card)).unwrap();
    let total = card.commands;
    let mut tried = 0;
    // From the first answer behind EXTERNAL AUTHENTICATE on.
    for at in 3..total {
        let mut card = Forging { channel: world.card.channel(), left: at };
        assert!(run(read(&world, &mut card)).is_err(), "the answer to command {at} was changed");
        tried += 1;
    }
    println!("{tried} answers changed, none believed");
    assert!(tried > 60);
}

/// A phone that changes one byte of one answer.
struct Forging<C> {
    channel: C,
    left: usize,
}

impl<C: CardChannel> CardChannel for Forging<C> {
    async fn exchange(
        &mut self,
        steps: Vec<tsm_card::Step>,
    ) -> Result<Vec<tsm_iso7816::ResponseApdu>, tsm_card::channel::ChannelError> {
        let mut responses = self.channel.exchange(steps).await?;
        if let Some(response) = responses.get_mut(self.left) {
            if let Some(first) = response.data.first_mut() {
                *first ^= 1;
            }
            self.left = usize::MAX;
        } else {
            self.left = self.left.saturating_sub(responses.len());
        }
        Ok(responses)
    }
}
