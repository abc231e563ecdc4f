//! GET DATA, GET STATUS and STORE DATA.

use tsm_globalplatform::commands::get_status::{GetStatus, RegistryScope, StatusForm};
use tsm_globalplatform::commands::install::{InstallForPersonalization, InstallParameters};
use tsm_globalplatform::commands::load::BlockPosition;
use tsm_globalplatform::commands::store_data::{DataAnswer, DataEncryption, DataGroup, DataStructure};
use tsm_globalplatform::commands::{GetData, StoreData};
use tsm_globalplatform::extended_resources::ExtendedResources;
use tsm_globalplatform::recognition::CardRecognitionData;
use tsm_globalplatform::registry::RegistryEntry;
use tsm_globalplatform::{Privileges, SecurityLevel};
use tsm_iso7816::{CommandApdu, StatusWord};

use super::host::*;
use crate::profile::{ISSUER_DOMAIN, Protocol};

fn store(structure: DataStructure, data: &[u8]) -> CommandApdu {
    let (position, encryption) = (BlockPosition::Last, DataEncryption::NoInformation);
    let answer = DataAnswer::None;
    StoreData { position, encryption, structure, answer, number: 0, data: data.to_vec() }.to_apdu()
}

/// The objects that a card answers to anybody.
///
/// req: P-5.8.4.5.a, B-5.2.1.c
#[test]
fn get_data() {
    let mut card = Card::new();
    card.script(
        CONTACT,
        ">> 80CA004200
         << 4204624100009000
         >> 00CA004500
         << 450A860102030405060708099000
         >> 80CA004400
         << 440A860102030405060708099000
         >> 80CA00E000
         << E024C00401208010C00402208010C00403208010C00401308810C00402308810C004033088109000
         >> 80CA00C100
         << C1030000009000
         >> 80CA9F7F00
         << 9F7F2A..9000
         >> 80CA006700
         << 67..9000
         >> 80CA104700
         << 6A88
         >> 80CA2F1400
         << 6A88
         >> 80CAFF2100
         << FF210F8101008204..9000",
    );
    let recognition = card.send(CONTACT, &GetData::CARD_RECOGNITION_DATA.to_apdu());
    let recognition = CardRecognitionData::parse(&recognition.data).unwrap();
    let protocols: Vec<_> =
        recognition.protocols.iter().map(|protocol| (protocol.number, protocol.implementation)).collect();
    assert_eq!(protocols, [(0x02, 0x55), (0x03, 0x70)]);
    let resources = card.send(CONTACT, &GetData::EXTENDED_RESOURCES.to_apdu()).data;
    let other = card.send(CONTACT, &GetData::EXTENDED_RESOURCES_FF20.to_apdu()).data;
    assert_eq!(resources[2..], other[2..]);
    let usage = card.se.usage();
    assert_eq!(
        ExtendedResources::parse(&resources).unwrap(),
        ExtendedResources {
            applications: 0,
            free_non_volatile: usage.non_volatile_free(),
            free_volatile: usage.volatile_free(),
        }
    );
    let short = card.send(CONTACT, &GetData::ISSUER_IDENTIFICATION_NUMBER.to_apdu().with_ne(2));
    assert_eq!(short.status, StatusWord(0x6C06));
}

/// Registration data, identification numbers: in data groups and in data objects.
///
/// req: P-5.5.2.q
#[test]
fn store_data_in_a_domain() {
    let mut card = Card::new();
    let mut session = card.open_issuer(Protocol::Scp03, FULL);
    let token = [&[0x01, 0x02, 0xAA, 0xBB][..], &[0x02, 0x01, 0xCC]].concat();
    let msisdn = b"\x01\x03\x08\x00\x01\x03\x08\x00\x00\x00\x00";
    let groups = [
        DataGroup { identifier: 0x1047, value: token.clone() }.to_bytes(),
        DataGroup { identifier: 0x2F14, value: msisdn.to_vec() }.to_bytes(),
    ];
    session.ok(&mut card, &store(DataStructure::Dgi, &groups.concat()));
    session.ok(&mut card, &store(DataStructure::BerTlv, &hex::decode("4203112233450105").unwrap()));
    card.script(
        CONTACT,
        ">> 80CA104700
         << 1047070102AABB0201CC9000
         >> 80CA2F1400
         << 2F140B01030800010308000000009000
         >> 80CA004200
         << 42031122339000
         >> 80CA004500
         << 4501059000",
    );
    let group = DataGroup { identifier: 0x0070, value: hex::decode("4502ABCD").unwrap() }.to_bytes();
    session.ok(&mut card, &store(DataStructure::Dgi, &group));
    card.script(CONTACT, ">> 80CA004500\n<< 4502ABCD9000");
    // The SE-ID is not for anybody to change; malformed data change nothing.
    let se_id = DataGroup { identifier: 0x0044, value: vec![1] }.to_bytes();
    session.expect(&mut card, &store(DataStructure::Dgi, &se_id), 0x6A88);
    session.expect(&mut card, &store(DataStructure::Dgi, &[0x10, 0x47, 0x05, 0x01]), 0x6A80);
    session.expect(&mut card, &store(DataStructure::BerTlv, &[0x42, 0x05, 0x01]), 0x6A80);
    let half = [DataGroup { identifier: 0x1047, value: vec![9] }.to_bytes(), se_id].concat();
    session.expect(&mut card, &store(DataStructure::Dgi, &half), 0x6A88);
    card.script(CONTACT, ">> 80CA104700\n<< 1047070102AABB0201CC9000");
}

/// Blocks are numbered; a gap is refused.
#[test]
fn store_data_blocks_are_in_order() {
    let mut card = Card::new();
    let mut session = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    let block = |number, position| StoreData {
        position,
        encryption: DataEncryption::NoInformation,
        structure: DataStructure::Dgi,
        answer: DataAnswer::None,
        number,
        data: DataGroup { identifier: 0x2F14, value: vec![number] }.to_bytes(),
    };
    session.ok(&mut card, &block(0, BlockPosition::More).to_apdu());
    session.expect(&mut card, &block(2, BlockPosition::More).to_apdu(), 0x6A86);
    session.ok(&mut card, &block(1, BlockPosition::Last).to_apdu());
    session.expect(&mut card, &block(2, BlockPosition::Last).to_apdu(), 0x6A86);
}

/// The keys of a new domain, stored by the domain above it.
///
/// req: P-5.8.4.6.3.f
#[test]
fn a_domain_is_personalised_by_the_one_above() {
    let mut card = Card::new();
    let mut session = card.open_issuer(Protocol::Scp03, FULL);
    session.ok(&mut card, &install_domain(DOMAIN, Privileges::AMSD, InstallParameters::default()));
    let keys = test_keys(0x40, Protocol::Scp03, 0x11);
    let description = hex::decode("B90C950110800188810110830140").unwrap();
    let groups = [
        DataGroup { identifier: 0x00B9, value: description }.to_bytes(),
        DataGroup { identifier: 0x8113, value: session.encrypt(&keys.2.concat()) }.to_bytes(),
    ];
    session.ok(&mut card, &InstallForPersonalization { application: DOMAIN }.to_apdu());
    session.ok(&mut card, &store(DataStructure::Dgi, &groups.concat()));
    card.open(CONTACT, &DOMAIN, &keys, FULL);
    // Only what belongs to the selected domain is personalised through it.
    let mut domain = card.open(CONTACT, &DOMAIN, &keys, SecurityLevel::C_MAC);
    domain.expect(&mut card, &InstallForPersonalization { application: ISSUER_DOMAIN }.to_apdu(), 0x6985);
    domain.expect(&mut card, &InstallForPersonalization { application: INSTANCE }.to_apdu(), 0x6A88);
}

/// GET STATUS: both forms, prefix, tag list, pages, and what an empty answer is.
///
/// req: B-6.2.5.b
#[test]
fn get_status() {
    let mut card = Card::new();
    let mut session = card.open_issuer(Protocol::Scp03, FULL);
    let issuer = session.ok(&mut card, &GetStatus::all(RegistryScope::IssuerSecurityDomain).to_apdu());
    let issuer = RegistryEntry::parse_all(RegistryScope::IssuerSecurityDomain, &issuer).unwrap();
    assert_eq!((issuer[0].aid(), issuer[0].life_cycle().value()), (&ISSUER_DOMAIN, 0x01));
    session.expect(&mut card, &GetStatus::all(RegistryScope::Applications).to_apdu(), 0x6A88);
    session.expect(&mut card, &GetStatus::all(RegistryScope::Applications).next().to_apdu(), 0x6985);
    session.load(&mut card, &Package::new());
    for number in 0..30u8 {
        let aid = [INSTANCE.as_bytes(), &[number]].concat();
        session.ok(&mut card, &install(aid.as_slice().try_into().unwrap()));
    }
    let first = session.expect(&mut card, &GetStatus::all(RegistryScope::Applications).to_apdu(), 0x6310);
    assert!(first.len() <= 239);
    assert_eq!(session.registry(&mut card, RegistryScope::Applications).len(), 30);
    let whole = session.ok(&mut card, &GetStatus::all(RegistryScope::Applications).to_apdu().with_ne(65_536));
    assert_eq!(RegistryEntry::parse_all(RegistryScope::Applications, &whole).unwrap().len(), 30);
    let mut one = GetStatus::all(RegistryScope::Applications);
    one.aid_prefix = [INSTANCE.as_bytes(), &[7]].concat();
    one.tag_list = vec![0x4F, 0x9F, 0x70];
    assert_eq!(
        hex::encode_upper(session.ok(&mut card, &one.to_apdu())),
        "E30F4F09D276000085010102079F700107"
    );
    one.form = StatusForm::LengthValue;
    assert_eq!(hex::encode_upper(session.ok(&mut card, &one.to_apdu())), "09D276000085010102070700");
    let mut modules = GetStatus::all(RegistryScope::LoadFilesAndModules);
    modules.form = StatusForm::LengthValue;
    modules.aid_prefix = PACKAGE.as_bytes().to_vec();
    // Length and AID, state, no privileges, one module.
    let listed = hex::encode_upper(session.ok(&mut card, &modules.to_apdu()));
    assert_eq!(listed, "07D276000085010101000108D276000085010101");
}
