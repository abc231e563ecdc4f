//! Commands: recorded ones read and write back, malformed ones get their status words, and what real
//! hosts send differently is understood.

use core::fmt::Debug;

use proptest::{collection::vec, option, prelude::*};
use tsm_globalplatform::{
    Privileges, SecurityLevel,
    commands::{
        BeginRMacSession, CommandError, Delete, EndRMacSession, ExternalAuthenticate, GetData, GetStatus,
        InitializeUpdate, Install, Load, ManageChannel, PutKey, Select, SetStatus, StoreData,
        delete::{DeleteContent, DeleteExtent, DeleteKeys},
        get_status::{Page, RegistryScope, StatusForm},
        install::{
            CombinedProcess, ImplicitSelection, InstallForExtradition, InstallForInstall, InstallForLoad,
            InstallForMakeSelectable, InstallForPersonalization, InstallForRegistryUpdate, InstallParameters,
            PrivilegesForm, Selectability, TokenReference,
        },
        load::{BlockPosition, Cipherment, DapBlock, LoadFileHeader, load_file},
        put_key::KeyField,
        r_mac_session::EndAction,
        select::Occurrence,
        set_status::StatusTarget,
        store_data::{DataEncryption, DataGroup, DataStructure},
    },
    key::KeyType,
    security_level::ResponseProtection,
};
use tsm_iso7816::{Aid, CommandApdu, LogicalChannel};

use crate::vectors::unhex;

/// A command in whole, or its header, a space and its data.
fn command(text: &str) -> CommandApdu {
    let (header, data) = text.split_once(' ').unwrap_or((text, ""));
    let mut command = CommandApdu::parse(&unhex(header)).unwrap();
    command.data.extend(unhex(data));
    command
}

fn parse<C>(text: &str) -> Result<C, CommandError>
where
    C: for<'a> TryFrom<&'a CommandApdu, Error = CommandError>,
{
    C::try_from(&command(text))
}

/// Reads the command, writes it and compares the bytes.
fn check<C>(text: &str, to_apdu: impl Fn(&C) -> CommandApdu) -> C
where
    C: for<'a> TryFrom<&'a CommandApdu, Error = CommandError>,
{
    let command = parse::<C>(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(hex::encode_upper(to_apdu(&command).to_bytes().unwrap()), text);
    command
}

/// The commands of recorded sessions (kaoh/globalplatform scp02Test.c and scp03Test.c, osmocom/pysim).
#[test]
fn recorded_commands_read_and_write_back() {
    let delete = check("80E400800A4F08D0D1D2D3D4D5010100", Delete::to_apdu);
    let Delete::Content(content) = delete else { panic!("an AID is deleted") };
    assert_eq!(content.extent, DeleteExtent::ObjectAndRelated);
    let install =
        check("80E602001E07D0D1D2D3D4D50108A000000003000000000AEF08C6020160C80207D00000", Install::to_apdu);
    let Install::ForLoad(load) = install else { panic!("a load file is announced") };
    let parameters = InstallParameters::parse(&load.parameters).unwrap();
    assert_eq!((parameters.non_volatile_code, parameters.non_volatile_data), (Some(0x160), Some(0x7D0)));
    assert_eq!(parameters.to_bytes(), load.parameters);
    let install = check(
        "80E60C002707D0D1D2D3D4D50108D0D1D2D3D4D5010108D0D1D2D3D4D50101010209C90100EF04C80207D00000",
        Install::to_apdu,
    );
    let Install::ForInstall(install) = install else { panic!("an application is installed") };
    assert_eq!(install.privileges, Privileges::CVM_MANAGEMENT);
    assert_eq!(install.selectability, Selectability::Now);
    check("80F28002024F0000", GetStatus::to_apdu);
    check("80CA006600", GetData::to_apdu);
    check("8050300008FDF38259A1E0DE4400", InitializeUpdate::to_apdu);
    check("84823300108C36F96BCC00724A4E13AD591D7DA3F0", ExternalAuthenticate::to_apdu);
    check("80E2910006BF3E035C015A00", StoreData::to_apdu);
    check("0070000001", ManageChannel::to_apdu);
    check("00708003", ManageChannel::to_apdu);
    check("00A4040000", Select::to_apdu);
}

/// What hosts send differently means the same.
#[test]
fn differences_between_hosts_are_understood() {
    let pairs = [
        // With and without Le.
        ("80E400800A4F08D0D1D2D3D4D5010100", "80E400800A4F08D0D1D2D3D4D50101"),
        // Without the empty parameters and token at the end.
        ("80E60200 07A000000062000108A000000151000000000000", "80E60200 07A000000062000108A000000151000000"),
        (
            "80E60C00 07A000000062000108A00000006200010108A00000006200010201000000",
            "80E60C00 07A000000062000108A00000006200010108A0000000620001020100",
        ),
        ("80E60800 000008A00000006200010101000000", "80E60800 000008A000000062000101"),
        ("80E62000 000007A0000000620001000000", "80E62000 000007A0000000620001"),
        // A search criterion that finds all, and none.
        ("80F24002024F0000", "80F2400200"),
    ];
    for (one, other) in pairs {
        let read = |text: &str| -> Box<dyn Debug> {
            match &text[2..4] {
                "E4" => Box::new(parse::<Delete>(text).unwrap()),
                "E6" => Box::new(parse::<Install>(text).unwrap_or_else(|error| panic!("{text}: {error}"))),
                _ => Box::new(parse::<GetStatus>(text).unwrap()),
            }
        };
        assert_eq!(format!("{:?}", read(one)), format!("{:?}", read(other)));
    }
    // An absent instance AID is the module's.
    let install = parse("80E60C00 07A000000062000108A0000000620001010001000000");
    let Ok(Install::ForInstall(install)) = install else { panic!("{install:?}") };
    assert_eq!(install.application, aid("A000000062000101"));
    // A token of 128 bytes whose length is written 80 or 81 80.
    for length in ["80", "8180"] {
        let data = format!("07A0000000620001000000{length}{}", "AB".repeat(128));
        let command = CommandApdu::new(0x80, 0xE6, 0x02, 0x00).with_data(unhex(&data));
        let Ok(Install::ForLoad(load)) = Install::try_from(&command) else { panic!("{length}") };
        assert_eq!(load.token, [0xAB; 128]);
    }
}

/// Malformed commands and the status words that a card answers to them.
#[test]
fn malformed_commands_get_their_status_words() {
    fn status<C>(text: &str) -> u16
    where
        C: for<'a> TryFrom<&'a CommandApdu, Error = CommandError> + Debug,
    {
        parse::<C>(text).expect_err(text).status_word().0
    }
    let cases = [
        (status::<Install>("80E80200"), 0x6D00),
        (status::<Install>("80E60300"), 0x6A86),
        (status::<Install>("80E60201"), 0x6A86),
        (status::<Install>("80E60200"), 0x6A80),
        // Cut short; an AID of four bytes; bytes behind the end; two bytes of privileges.
        (status::<Install>("80E60200 07A00000"), 0x6A80),
        (status::<Install>("80E60200 04A000000000000000"), 0x6A80),
        (status::<Install>("80E60200 07A000000062000100000000AABBCC"), 0x6A80),
        (status::<Install>("80E60C00 07A0000000620001000007A0000000620001028040"), 0x6A80),
        (status::<Install>("80E62000 0000010000FF"), 0x6A80),
        (status::<Delete>("80E4000000"), 0x6A80),
        (status::<Delete>("80E40000 4F03A00000"), 0x6A80),
        // Two AIDs; a key identifier of two bytes.
        (status::<Delete>("80E40000 4F05A0000000014F05A000000002"), 0x6A80),
        (status::<Delete>("80E40001 D00101"), 0x6A86),
        (status::<Delete>("80E40000 D0020101"), 0x6A80),
        (status::<GetStatus>("80F24102 4F00"), 0x6A86),
        (status::<GetStatus>("80F24002 4F01"), 0x6A80),
        (status::<SetStatus>("80F04080"), 0x6A80),
        (status::<SetStatus>("80F01080"), 0x6A86),
        (status::<Load>("80E88000"), 0x6700),
        (status::<Load>("80E80100 AA"), 0x6A86),
        // No version; no key; a component cut short; version 00; several keys without saying so.
        (status::<PutKey>("80D80081"), 0x6A80),
        (status::<PutKey>("80D80081 30"), 0x6A80),
        (status::<PutKey>("80D80081 308010"), 0x6A80),
        (status::<PutKey>("80D80081 0080010000"), 0x6A80),
        (status::<PutKey>("80D80001 308001410080014100"), 0x6A86),
        (status::<StoreData>("80E24000"), 0x6A86),
        (status::<StoreData>("80E21800"), 0x6A86),
        (status::<InitializeUpdate>("80500000 01020304050607"), 0x6700),
        (status::<ExternalAuthenticate>("84820200 00000000000000000000000000000000"), 0x6A86),
        (status::<ExternalAuthenticate>("84820100 0000000000000000"), 0x6700),
        (status::<Select>("00A40000 3F00"), 0x6A86),
        (status::<ManageChannel>("00708000"), 0x6A86),
        (status::<ManageChannel>("00700014"), 0x6A86),
        (status::<BeginRMacSession>("807A2001"), 0x6A86),
        (status::<BeginRMacSession>("807A1001 05AA"), 0x6A80),
        (status::<EndRMacSession>("80780002"), 0x6A86),
    ];
    for (case, (answered, expected)) in cases.into_iter().enumerate() {
        assert_eq!(answered, expected, "case {case}");
    }
}

/// PUT KEY of the three keys of a set, as GlobalPlatform 11.8.2.3 lays it out.
#[test]
fn several_keys_in_one_put_key() {
    let key = |fill: u8| KeyField::symmetric(KeyType::AES, 16, &[fill; 16], &[1, 2, fill]);
    let command = PutKey {
        replaced_version: 0,
        new_version: 0x31,
        first_identifier: 1,
        position: BlockPosition::Last,
        keys: vec![key(0xE1), key(0xE2), key(0xE3)],
    };
    let expected = format!(
        "80D800814631{}{}{}00",
        format_args!("881110{}030102E1", "E1".repeat(16)),
        format_args!("881110{}030102E2", "E2".repeat(16)),
        format_args!("881110{}030102E3", "E3".repeat(16)),
    );
    let read = check(&expected, PutKey::to_apdu);
    assert_eq!(read, command);
    assert_eq!(read.response_data(), unhex("310102E10102E20102E3"));
    let value = read.keys[1].as_symmetric().unwrap();
    assert_eq!((value.key_type, value.clear_length, value.encrypted), (KeyType::AES, 16, &[0xE2; 16][..]));
    let des = KeyField::symmetric(KeyType::DES, 16, &[7; 16], &[]);
    assert_eq!(des.as_symmetric().unwrap().encrypted, [7; 16]);
}

/// An RSA public key of 1024 bits: modulus and exponent, without a check value.
#[test]
fn an_rsa_key_in_put_key() {
    for length in ["80", "8180"] {
        let data = format!("73A1{length}{}A00301000100", "C5".repeat(128));
        let command = PutKey::try_from(&CommandApdu::new(0x80, 0xD8, 0, 1).with_data(unhex(&data))).unwrap();
        let types: Vec<_> = command.keys[0].components.iter().map(|component| component.key_type).collect();
        assert_eq!(types, [KeyType::RSA_MODULUS, KeyType::RSA_PUBLIC_EXPONENT]);
        assert_eq!(command.keys[0].components[1].value, [1, 0, 1]);
        assert!(command.keys[0].as_symmetric().is_none());
    }
}

#[test]
fn a_load_file_arrives_in_blocks() {
    let signature = DapBlock { security_domain: aid("A000000151000000"), signature: vec![0x5A; 128] };
    let block: Vec<u8> = (0..3000u32).map(|byte| byte as u8).collect();
    let file = load_file(&[signature.clone(), signature.clone()], &block);
    for size in [1, 7, 239, 247, 255] {
        let Some(blocks) = Load::blocks(&file, size) else {
            assert!(file.len() > size * 256, "{size}");
            continue;
        };
        let mut received = Vec::new();
        let mut header = None;
        for (number, load) in blocks.iter().enumerate() {
            let read = Load::try_from(&load.to_apdu()).unwrap();
            assert_eq!((usize::from(read.number), &read), (number, load));
            assert_eq!(read.position == BlockPosition::Last, number + 1 == blocks.len());
            received.extend(read.data);
            header = header.or(LoadFileHeader::parse(&received).unwrap());
        }
        let header = header.unwrap();
        assert_eq!(header.dap_blocks, [signature.clone(), signature.clone()]);
        assert_eq!((header.cipherment, header.data_length), (Cipherment::Plain, 3000));
        assert_eq!(received[header.data_offset..], block);
    }
    assert!(Load::blocks(&[], 10).is_none() && Load::blocks(&file, 0).is_none());
    for damaged in ["4F05A000000001", "C485", "E2054F0101C300", "E2830FFFFF"] {
        assert!(LoadFileHeader::parse(&unhex(damaged)).is_err(), "{damaged}");
    }
}

#[test]
fn data_groups_read_back() {
    let groups = [(0x1047u16, 3usize), (0x8000, 254), (0x8001, 255), (0x8002, 300)]
        .map(|(identifier, length)| DataGroup { identifier, value: vec![0xD9; length] });
    let bytes: Vec<u8> = groups.iter().flat_map(DataGroup::to_bytes).collect();
    assert_eq!(DataGroup::parse_all(&bytes).unwrap(), groups);
    assert!(DataGroup::parse_all(&bytes[..bytes.len() - 1]).is_err());
    assert!(DataGroup::parse_all(&[0x10]).is_err());
    let pieces = vec![vec![1], vec![2], vec![3]];
    let commands = StoreData::sequence(pieces, DataEncryption::Encrypted, DataStructure::Dgi).unwrap();
    let p1: Vec<_> = commands.iter().map(|command| (command.to_apdu().p1, command.number)).collect();
    assert_eq!(p1, [(0x68, 0), (0x68, 1), (0xE8, 2)]);
    assert!(StoreData::sequence([], DataEncryption::Encrypted, DataStructure::Dgi).is_none());
}

fn aid(text: &str) -> Aid {
    text.parse().unwrap()
}

fn any_aid() -> impl Strategy<Value = Aid> {
    vec(any::<u8>(), 5..=16).prop_map(|bytes| Aid::new(&bytes).unwrap())
}

fn any_bytes(maximum: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..maximum)
}

fn any_privileges() -> impl Strategy<Value = Privileges> {
    any::<[u8; 3]>().prop_map(Privileges::from_bytes)
}

fn any_install() -> impl Strategy<Value = Install> {
    let for_load =
        (any_aid(), option::of(any_aid()), any_bytes(64), any_bytes(200), any_bytes(300), any::<bool>())
            .prop_map(|(load_file, security_domain, hash, parameters, token, combined)| {
                let process = if combined { CombinedProcess::Combined } else { CombinedProcess::None };
                Install::ForLoad(InstallForLoad {
                    process,
                    load_file,
                    security_domain,
                    hash,
                    parameters,
                    token,
                })
            });
    let selectability = prop_oneof![
        Just(Selectability::Later),
        Just(Selectability::Now),
        Just(Selectability::NowEndingCombined)
    ];
    let for_install = (
        selectability,
        option::of(any_aid()),
        option::of(any_aid()),
        any_aid(),
        any_privileges(),
        any_bytes(200),
        any_bytes(200),
    )
        .prop_map(|(selectability, load_file, module, application, privileges, parameters, token)| {
            let privileges_form = PrivilegesForm::Three;
            Install::ForInstall(InstallForInstall {
                selectability,
                load_file,
                module,
                application,
                privileges,
                parameters,
                token,
                privileges_form,
            })
        });
    let not_none = any_privileges().prop_filter("none is not written", |set| *set != Privileges::NONE);
    let for_make_selectable = (any_aid(), option::of(not_none), any_bytes(40), any_bytes(200)).prop_map(
        |(application, privileges, parameters, token)| {
            Install::ForMakeSelectable(InstallForMakeSelectable {
                application,
                privileges,
                parameters,
                token,
            })
        },
    );
    let for_extradition = (any_aid(), any_aid(), any_bytes(40), any_bytes(200)).prop_map(
        |(security_domain, object, parameters, token)| {
            Install::ForExtradition(InstallForExtradition { security_domain, object, parameters, token })
        },
    );
    let for_personalization = any_aid()
        .prop_map(|application| Install::ForPersonalization(InstallForPersonalization { application }));
    let for_registry_update = (
        option::of(any_aid()),
        option::of(any_aid()),
        option::of(any_privileges()),
        any_bytes(40),
        any_bytes(200),
    )
        .prop_map(|(security_domain, application, privileges, parameters, token)| {
            Install::ForRegistryUpdate(InstallForRegistryUpdate {
                security_domain,
                application,
                privileges,
                parameters,
                token,
            })
        });
    prop_oneof![
        for_load,
        for_install,
        for_make_selectable,
        for_extradition,
        for_personalization,
        for_registry_update
    ]
}

fn any_position() -> impl Strategy<Value = BlockPosition> {
    prop_oneof![Just(BlockPosition::More), Just(BlockPosition::Last)]
}

fn any_put_key() -> impl Strategy<Value = PutKey> {
    let key_type = prop_oneof![Just(KeyType::DES), Just(KeyType::AES), Just(KeyType::SM4)];
    let key = (key_type, prop_oneof![Just(16usize), Just(32)], any::<[u8; 3]>()).prop_map(
        |(key_type, length, check)| KeyField::symmetric(key_type, length, &vec![7; length], &check),
    );
    (0u8..0x80, 1u8..0x80, 0u8..0x70, any_position(), vec(key, 1..5)).prop_map(
        |(replaced_version, new_version, first_identifier, position, keys)| PutKey {
            replaced_version,
            new_version,
            first_identifier,
            position,
            keys,
        },
    )
}

/// Writes the command, sends it as bytes, reads it and compares.
fn assert_reads_back<C>(command: &C, apdu: &CommandApdu)
where
    C: for<'a> TryFrom<&'a CommandApdu, Error = CommandError> + Debug + PartialEq,
{
    let arrived = CommandApdu::parse(&apdu.to_bytes().unwrap()).unwrap();
    assert_eq!(C::try_from(&arrived).as_ref(), Ok(command));
}

proptest! {
    #[test]
    fn install_reads_back(install in any_install()) {
        assert_reads_back(&install, &install.to_apdu());
    }

    #[test]
    fn put_key_reads_back(put_key in any_put_key()) {
        assert_reads_back(&put_key, &put_key.to_apdu());
        for key in &put_key.keys {
            prop_assert!(key.as_symmetric().is_some());
        }
    }

    #[test]
    fn delete_reads_back(
        target in any_aid(), related: bool, token_data in option::of(any_bytes(40)),
        token in option::of(vec(any::<u8>(), 1..200)), identifier in option::of(any::<u8>()), version: u8,
    ) {
        let extent = if related { DeleteExtent::ObjectAndRelated } else { DeleteExtent::Object };
        let content = Delete::Content(DeleteContent { aid: target, extent, token_data, token });
        assert_reads_back(&content, &content.to_apdu());
        let keys = Delete::Keys(DeleteKeys { identifier, version: Some(version) });
        assert_reads_back(&keys, &keys.to_apdu());
    }

    #[test]
    fn status_commands_read_back(
        prefix in any_bytes(17), tags in any_bytes(10), target in any_aid(), state: u8, which in 0usize..4, next: bool,
    ) {
        let form = if state & 1 == 0 { StatusForm::LengthValue } else { StatusForm::Tlv };
        let page = if next { Page::Next } else { Page::First };
        let scope = RegistryScope::ALL[which];
        let get = GetStatus { scope, form, page, aid_prefix: prefix, tag_list: tags };
        assert_reads_back(&get, &get.to_apdu());
        prop_assert_eq!(get.next().page, Page::Next);
        let target = [
            StatusTarget::IssuerSecurityDomain,
            StatusTarget::Application(target),
            StatusTarget::SecurityDomainAndApplications(target),
            StatusTarget::LoadFile(target),
        ][which];
        let set = SetStatus { target, state };
        assert_reads_back(&set, &set.to_apdu());
    }

    #[test]
    fn the_short_commands_read_back(
        name in any_bytes(17), tag: u16, number in 1u8..20, data in any_bytes(25), challenge: [u8; 16], which in 0usize..7,
        block in vec(any::<u8>(), 1..255), position in any_position(),
    ) {
        let occurrence = if tag & 1 == 0 { Occurrence::Next } else { Occurrence::FirstOrOnly };
        let select = Select { name, occurrence };
        assert_reads_back(&select, &select.to_apdu());
        assert_reads_back(&GetData { tag }, &GetData { tag }.to_apdu());
        let channel = LogicalChannel::new(number).unwrap();
        for manage in [ManageChannel::OpenAny, ManageChannel::Open(channel), ManageChannel::Close(channel)] {
            assert_reads_back(&manage, &manage.to_apdu());
        }
        for protection in [ResponseProtection::Mac, ResponseProtection::EncryptionAndMac] {
            let begin = BeginRMacSession { protection, data: data.clone() };
            assert_reads_back(&begin, &begin.to_apdu());
        }
        for action in [EndAction::ReturnRMac, EndAction::End] {
            assert_reads_back(&EndRMacSession { action }, &EndRMacSession { action }.to_apdu());
        }
        for length in [8, 16] {
            let host_challenge = challenge[..length].to_vec();
            let update = InitializeUpdate { key_version: number, key_identifier: 0, host_challenge };
            assert_reads_back(&update, &update.to_apdu());
            let (host_cryptogram, mac) = (challenge[..length].to_vec(), vec![7; length]);
            let authenticate = ExternalAuthenticate { level: SecurityLevel::ALL[which], host_cryptogram, mac };
            assert_reads_back(&authenticate, &authenticate.to_apdu());
        }
        let load = Load { position, number, data: block };
        assert_reads_back(&load, &load.to_apdu());
    }

    #[test]
    fn install_parameters_read_back(
        application in option::of(any_bytes(40)), sizes: [Option<u32>; 5], global_service in option::of(any_bytes(4)),
        channels in vec((any::<bool>(), any::<bool>(), 0u8..20), 0..3), identification in option::of(any_bytes(9)),
    ) {
        let [code, volatile, non_volatile, volatile_reserved, non_volatile_reserved] = sizes;
        let parameters = InstallParameters {
            application,
            non_volatile_code: code,
            volatile_data: volatile,
            non_volatile_data: non_volatile,
            global_service,
            volatile_reserved,
            non_volatile_reserved,
            implicit_selection: channels
                .into_iter()
                .map(|(contactless, contact, number)| ImplicitSelection {
                    contactless, contact, channel: LogicalChannel::new(number).unwrap(),
                })
                .collect(),
            token: identification.map(|bytes| TokenReference {
                security_domain_identification: Some(bytes.clone()),
                token_identifier: Some(bytes),
                ..TokenReference::default()
            }),
        };
        prop_assert_eq!(InstallParameters::parse(&parameters.to_bytes()).unwrap(), parameters);
    }
}

/// Any command is read by every parser without a panic, and what is read writes back what was meant.
#[test]
fn fuzz_every_command() {
    fn read<C>(command: &CommandApdu, ins: u8, to_apdu: impl Fn(&C) -> CommandApdu)
    where
        C: for<'a> TryFrom<&'a CommandApdu, Error = CommandError> + Debug + PartialEq,
    {
        let command = CommandApdu { ins, ..command.clone() };
        if let Ok(read) = C::try_from(&command) {
            let written = to_apdu(&read);
            assert_eq!(C::try_from(&written).as_ref(), Ok(&read));
        }
    }
    bolero::check!().for_each(|bytes: &[u8]| {
        let Some((&[cla, p1, p2], data)) = bytes.split_first_chunk::<3>() else { return };
        let command = CommandApdu::new(cla, 0, p1, p2).with_data(data);
        read::<Select>(&command, Select::INS, Select::to_apdu);
        read::<InitializeUpdate>(&command, InitializeUpdate::INS, InitializeUpdate::to_apdu);
        read::<ExternalAuthenticate>(&command, ExternalAuthenticate::INS, ExternalAuthenticate::to_apdu);
        read::<GetData>(&command, GetData::INS, GetData::to_apdu);
        read::<GetStatus>(&command, GetStatus::INS, GetStatus::to_apdu);
        read::<SetStatus>(&command, SetStatus::INS, SetStatus::to_apdu);
        read::<Install>(&command, Install::INS, Install::to_apdu);
        read::<Load>(&command, Load::INS, Load::to_apdu);
        read::<Delete>(&command, Delete::INS, Delete::to_apdu);
        read::<PutKey>(&command, PutKey::INS, PutKey::to_apdu);
        read::<StoreData>(&command, StoreData::INS, StoreData::to_apdu);
        read::<ManageChannel>(&command, ManageChannel::INS, ManageChannel::to_apdu);
        read::<BeginRMacSession>(&command, BeginRMacSession::INS, BeginRMacSession::to_apdu);
        read::<EndRMacSession>(&command, EndRMacSession::INS, EndRMacSession::to_apdu);
        let _ = InstallParameters::parse(data);
        let _ = LoadFileHeader::parse(data);
        let _ = DataGroup::parse_all(data);
    });
}
