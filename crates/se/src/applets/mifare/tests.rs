//! The Mifare card manager, driven over a secure channel of its domain.

use tsm_epurse::mifare::commands::{Activation, ListEntry, ValueOperation};
use tsm_epurse::mifare::image::data_length;
use tsm_epurse::mifare::{
    AccessBits, Block, Condition, KeyUsed, MifareApplication, MifareApplicationId, MifareKey, Sector,
    SectorImage, SectorTrailer, ValueBlock,
};
use tsm_globalplatform::SecurityLevel;
use tsm_globalplatform::scp03::host::Session;

use super::*;
use crate::Interface;
use crate::applets::test_card::{MIFARE, TestCard};

const OK: StatusWord = StatusWord::SUCCESS;
const ID: MifareApplicationId = MifareApplicationId(0x4801);

const KEY_A: MifareKey = MifareKey::new([0xA0, 1, 2, 3, 4, 5]);
const KEY_B: MifareKey = MifareKey::new([0xB0, 1, 2, 3, 4, 5]);

fn block(number: u8) -> Block {
    Block::new(Capacity::OneK, number).unwrap()
}

/// A sector whose first block is a value, the second for all to read and key B to write.
fn image(number: u8) -> SectorImage {
    let sector = Sector::new(Capacity::OneK, number).unwrap();
    let access = AccessBits([0b110, 0b100, 0b010, 0b011].map(Condition::new));
    let mut data = ValueBlock { value: 100, address: 0 }.encode().to_vec();
    data.resize(data_length(sector), number);
    SectorImage { sector, data, trailer: SectorTrailer { key_a: KEY_A, access, user: 0, key_b: KEY_B } }
}

fn application(id: MifareApplicationId, sectors: &[u8]) -> MifareApplication {
    MifareApplication::new(id, "canteen", sectors.iter().map(|sector| image(*sector)).collect()).unwrap()
}

fn open(card: &mut TestCard) -> Session {
    assert_eq!(card.select(Interface::Contact, MIFARE).status, OK);
    card.authenticate(SecurityLevel::C_DECRYPTION_R_ENCRYPTION_C_MAC_R_MAC)
}

fn send(card: &mut TestCard, session: &mut Session, command: &MifareCommand) -> ResponseApdu {
    card.secured(session, &command.to_apdu())
}

fn download(card: &mut TestCard, session: &mut Session, application: &MifareApplication) -> StatusWord {
    let blocks = MifareCommand::download(&application.encode(), 100);
    blocks.iter().fold(OK, |_, block| send(card, session, block).status)
}

fn list(card: &mut TestCard) -> Vec<ListEntry> {
    card.select(Interface::Contact, MIFARE);
    ListEntry::decode_all(&card.send(Interface::Contact, &MifareCommand::List { first: 0 }.to_apdu()).data)
        .unwrap()
}

fn read(number: u8, used: KeyUsed, key: MifareKey) -> MifareCommand {
    MifareCommand::Read { block: block(number), used, key }
}

/// The manager is selected by its AID, and the platform downloads, lists, activates and deletes.
///
/// req: P-5.8.10.1.a, P-5.8.10.1.c, P-5.8.10.2.a, P-5.8.10.3.a, P-5.8.10.4.a
#[test]
fn the_platform_manages_mifare_applications() {
    let mut card = TestCard::new();
    let mut session = open(&mut card);
    assert_eq!(download(&mut card, &mut session, &application(ID, &[3, 2])), OK);
    let other = MifareApplicationId(0x4802);
    let taken = download(&mut card, &mut session, &application(other, &[3, 4]));
    assert_eq!(taken, StatusWord::NOT_ENOUGH_MEMORY);
    let twice = download(&mut card, &mut session, &application(ID, &[5]));
    assert_eq!(twice, StatusWord::FILE_ALREADY_EXISTS);
    let active = MifareCommand::Activate { id: ID, activation: Activation::Active };
    assert_eq!(send(&mut card, &mut session, &active).status, OK);
    let entry =
        ListEntry { id: ID, label: b"canteen".to_vec(), activation: Activation::Active, sectors: vec![2, 3] };
    assert_eq!(list(&mut card), [entry]);

    let mut session = open(&mut card);
    let unknown = send(&mut card, &mut session, &MifareCommand::Delete { id: other });
    assert_eq!(unknown.status, StatusWord::REFERENCED_DATA_NOT_FOUND);
    assert_eq!(send(&mut card, &mut session, &MifareCommand::Delete { id: ID }).status, OK);
    assert_eq!(list(&mut card), []);
    let wiped = card.send(Interface::Contact, &read(8, KeyUsed::A, MifareKey::TRANSPORT).to_apdu());
    assert_eq!((wiped.status, wiped.data), (OK, vec![0; 16]));
    let mut session = open(&mut card);
    assert_eq!(download(&mut card, &mut session, &application(other, &[3, 4])), OK, "the sectors are free");
}

/// Blocks are read and written as keys and access conditions allow.
///
/// req: P-5.8.10.1.b
#[test]
fn blocks_obey_keys_and_access_conditions() {
    let mut card = TestCard::new();
    let mut session = open(&mut card);
    assert_eq!(download(&mut card, &mut session, &application(ID, &[2])), OK);
    let mut status = |command: &MifareCommand| send(&mut card, &mut session, command).status;
    let write = |number, used, key, data| MifareCommand::Write { block: block(number), used, key, data };
    assert_eq!(status(&read(9, KeyUsed::A, MifareKey::TRANSPORT)), StatusWord::AUTHENTICATION_FAILED);
    assert_eq!(status(&read(9, KeyUsed::A, KEY_A)), OK);
    assert_eq!(status(&write(9, KeyUsed::A, KEY_A, [1; 16])), StatusWord::CONDITIONS_NOT_SATISFIED);
    assert_eq!(status(&write(9, KeyUsed::B, KEY_B, [1; 16])), OK);
    assert_eq!(status(&write(10, KeyUsed::B, KEY_B, [1; 16])), StatusWord::CONDITIONS_NOT_SATISFIED);
    assert_eq!(
        status(&write(0, KeyUsed::A, MifareKey::TRANSPORT, [1; 16])),
        StatusWord::CONDITIONS_NOT_SATISFIED
    );
    assert_eq!(status(&write(11, KeyUsed::B, KEY_B, [1; 16])), StatusWord::WRONG_DATA, "no access bits");

    let value = |used, key, operation| MifareCommand::Value {
        block: block(8),
        used,
        key,
        operation,
        destination: block(8),
    };
    assert_eq!(status(&value(KeyUsed::A, KEY_A, ValueOperation::Decrement(30))), OK);
    let increment = value(KeyUsed::A, KEY_A, ValueOperation::Increment(5));
    assert_eq!(status(&increment), StatusWord::CONDITIONS_NOT_SATISFIED);
    assert_eq!(status(&value(KeyUsed::B, KEY_B, ValueOperation::Increment(5))), OK);
    let answer = send(&mut card, &mut session, &read(8, KeyUsed::A, KEY_A));
    assert_eq!(answer.data, ValueBlock { value: 75, address: 0 }.encode());
    let trailer = send(&mut card, &mut session, &read(11, KeyUsed::B, KEY_B));
    assert_eq!(trailer.data[..6], [0; 6], "key A is never read");
}

#[test]
fn changes_need_a_secure_channel() {
    let mut card = TestCard::new();
    card.select(Interface::Contact, MIFARE);
    for command in MifareCommand::download(&application(ID, &[2]).encode(), 100) {
        let refused = card.send(Interface::Contact, &command.to_apdu());
        assert_eq!(refused.status, StatusWord::SECURITY_STATUS_NOT_SATISFIED);
    }
    assert_eq!(list(&mut card), []);
}

/// A download cut by a power failure at any write leaves the whole application or none of it.
#[test]
fn a_torn_download_leaves_all_or_nothing() {
    let card = TestCard::new();
    let blocks = MifareCommand::download(&application(ID, &[2, 3, 9]).encode(), 200);
    for writes in 0.. {
        let mut card = card.copy();
        let mut session = open(&mut card);
        let (last, before) = blocks.split_last().unwrap();
        before.iter().for_each(|block| assert_eq!(send(&mut card, &mut session, block).status, OK));
        let last = session.wrap(&last.to_apdu()).unwrap();
        card.card.power_cut_after(writes);
        let whole = card.try_send(Interface::Contact, &last).is_some();
        card.card.cancel_power_cut();
        card.card.power_on().unwrap();
        let listed = !list(&mut card).is_empty();
        let opens = [8, 12, 36].map(|number| {
            card.send(Interface::Contact, &read(number, KeyUsed::A, KEY_A).to_apdu()).status == OK
        });
        assert_eq!(opens, [listed; 3], "cut after {writes} writes");
        if whole {
            assert!(listed);
            return;
        }
    }
}

#[test]
fn downloads_out_of_order_and_broken_images_are_refused() {
    let mut card = TestCard::new();
    let mut session = open(&mut card);
    let blocks = MifareCommand::download(&application(ID, &[2, 3]).encode(), 50);
    assert_eq!(send(&mut card, &mut session, &blocks[0]).status, OK);
    let skipped = send(&mut card, &mut session, &blocks[2]);
    assert_eq!(skipped.status, StatusWord::CONDITIONS_NOT_SATISFIED);
    let broken = MifareCommand::download(&[1, 2, 3, 4], 50);
    assert_eq!(send(&mut card, &mut session, &broken[0]).status, StatusWord::WRONG_DATA);
}
