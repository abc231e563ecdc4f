//! The later life of applications, personalisation in three ways, the SE's own data.

use proptest::prelude::*;
use tsm_card::delete::{Deleted, Deleting, Deletion, delete};
use tsm_card::download::{Download, download};
use tsm_card::extradite::{Extradition, extradite};
use tsm_card::install::{NewInstance, install};
use tsm_card::lock::{LockChange, change_locks};
use tsm_card::observe::{Observation, ObservationScope, Observing, Trust, observe};
use tsm_card::personalise::{
    DataGroupTemplate, Personalising, Piece, StoreDataForm, pass_through, personalise_through_domain,
};
use tsm_card::purse::{PurseIssue, purse_keys, read_card};
use tsm_card::registration::{BindingData, TokenForm};
use tsm_card::synchronise::synchronise;
use tsm_card::write_registration::write_registration;
use tsm_card::{ProcedureError, Script, SecureChannel, open_channel};
use tsm_epurse::{Algorithm, KeyRole};
use tsm_globalplatform::life_cycle::{ApplicationLifeCycle, LifeCycle};
use tsm_globalplatform::security_level::SecurityLevel;
use tsm_iso7816::{Aid, CommandApdu, StatusWord};
use tsm_keys::{KeyAlgorithm, KeyPurpose, KeyReference, KeyService, Protocol, SessionRequest};
use tsm_se::Profile;
use zeroize::Zeroizing;

use crate::support::*;

const SECOND: Aid = Aid::constant(&[0xA0, 0, 0, 6, 0x32, 1, 1, 5, 0x10, 0, 0x91, 0x56, 0, 0, 0x14, 0xA2]);

fn opened() -> World {
    let world = World::new();
    run(world.open_card(&mut world.card.channel())).unwrap();
    world.card.restart();
    world
}

/// Runs `with` in a channel with the provider's domain.
fn in_provider_channel<T>(
    world: &World,
    with: impl AsyncFnOnce(&mut SecureChannel, Script) -> Result<T, ProcedureError>,
) -> Result<T, ProcedureError> {
    let card = &mut world.card.channel();
    run(async {
        let mut script = Script::new();
        let mut channel = open_channel(card, &world.provider, &world.provider_session(), &mut script).await?;
        with(&mut channel, script).await
    })
}

fn in_issuer_channel<T>(
    world: &World,
    with: impl AsyncFnOnce(&mut SecureChannel, Script) -> Result<T, ProcedureError>,
) -> Result<T, ProcedureError> {
    let card = &mut world.card.channel();
    run(async {
        let (mut channel, script) = world.open_issuer(card).await?;
        with(&mut channel, script).await
    })
}

fn observation(world: &World) -> Observation {
    run(world.observe_card(&mut world.card.channel())).unwrap()
}

fn add_second_instance(world: &World) {
    in_provider_channel(world, async |channel, script| {
        let second = NewInstance::new(PACKAGE, MODULE, SECOND);
        install(&mut world.card.channel(), channel, &second, script).await
    })
    .unwrap();
}

fn is_locked(world: &World, aid: &Aid) -> bool {
    let life_cycle = observation(world).application(aid).unwrap().life_cycle;
    matches!(life_cycle, LifeCycle::Application(ApplicationLifeCycle::Locked { .. }))
}

/// req: P-5.8.4.3.2.a, P-5.8.4.3.2.b, P-5.8.4.3.1.a, P-5.8.4.3.1.d, B-8.5.1.a
#[test]
fn every_instance_is_locked_and_unlocked_and_keeps_its_data() {
    let world = opened();
    add_second_instance(&world);
    let before = run(read_card(&mut world.card.channel(), PURSE)).unwrap();
    in_issuer_channel(&world, async |channel, script| {
        change_locks(&mut world.card.channel(), channel, LockChange::Lock, &[PURSE, SECOND], script).await
    })
    .unwrap();
    assert!(is_locked(&world, &PURSE) && is_locked(&world, &SECOND));
    assert!(run(read_card(&mut world.card.channel(), PURSE)).is_err(), "a locked purse is not selectable");
    in_provider_channel(&world, async |channel, script| {
        change_locks(&mut world.card.channel(), channel, LockChange::Unlock, &[PURSE, SECOND], script).await
    })
    .unwrap();
    assert!(!is_locked(&world, &PURSE) && !is_locked(&world, &SECOND));
    assert_eq!(run(read_card(&mut world.card.channel(), PURSE)).unwrap(), before);
}

/// req: P-5.8.4.2.1.c, P-5.8.4.2.1.f, P-5.8.4.1.1.h, P-5.8.4.2.1.e, B-8.5.1.a, P-5.4.1.c
#[test]
fn of_several_instances_one_is_deleted_alone() {
    let world = opened();
    add_second_instance(&world);
    let deleted = in_provider_channel(&world, async |channel, script| {
        delete(&mut world.card.channel(), channel, &[Deletion::object(SECOND)], script).await
    });
    assert!(matches!(deleted.unwrap()[..], [Deleted::Now { trust: Trust::Proven, receipt: None }]));
    let seen = observation(&world);
    assert!(seen.proves_absence(&SECOND) && seen.load_file(&PACKAGE).is_some());
    assert!(run(read_card(&mut world.card.channel(), PURSE)).is_ok());

    let deleted = in_issuer_channel(&world, async |channel, script| {
        delete(&mut world.card.channel(), channel, &[Deletion::with_related(PACKAGE)], script).await
    });
    assert!(matches!(deleted.unwrap()[..], [Deleted::Now { trust: Trust::Proven, .. }]));
    let seen = observation(&world);
    assert!(seen.proves_absence(&PURSE) && seen.load_file(&PACKAGE).is_none());
}

/// req: P-5.8.4.2.2.a, P-5.8.7.1.e
#[test]
fn a_deletion_takes_three_round_trips_with_its_observations() {
    let world = opened();
    let mut card = Counted::new(world.card.channel());
    let card = &mut card;
    run(async {
        let mut script = Script::new();
        let mut issuer = open_channel(card, &world.operator, &world.isd, &mut script).await.unwrap();
        let before = Observing::add(&mut issuer, ObservationScope::Card, &mut script).unwrap();
        let deleting = Deleting::add(&mut issuer, &[Deletion::object(PURSE)], &mut script).unwrap();
        let after = Observing::add(&mut issuer, ObservationScope::Card, &mut script).unwrap();
        let mut answers = script.run(card).await.unwrap();
        let before = before.finish(card, &mut issuer, &mut answers).await.unwrap();
        let deleted = deleting.take(&mut issuer, &mut answers).unwrap();
        let after = after.finish(card, &mut issuer, &mut answers).await.unwrap();
        assert!(before.application(&PURSE).is_some() && after.proves_absence(&PURSE));
        assert!(matches!(deleted[..], [Deleted::Now { trust: Trust::Proven, .. }]));
        let free = |observation: Observation| observation.resources.unwrap().value.free_non_volatile;
        assert!(free(after) > free(before));
    });
    assert_eq!(card.exchanges + 1, 3);
}

/// An absent object is only said to be absent: the word carries no MAC.
#[test]
fn deleting_what_is_not_there_proves_nothing() {
    let world = World::new();
    let deleted = in_issuer_channel(&world, async |channel, script| {
        delete(&mut world.card.channel(), channel, &[Deletion::object(PURSE)], script).await
    });
    assert_eq!(deleted.unwrap(), [Deleted::SaidToBeAbsent]);
}

/// req: P-5.8.4.1.1.g
#[test]
fn an_instance_is_extradited_to_the_domain_of_its_application() {
    let world = opened();
    in_issuer_channel(&world, async |channel, script| {
        let card = &mut world.card.channel();
        install(card, channel, &NewInstance::new(PACKAGE, MODULE, SECOND), script).await?;
        let extradition = Extradition { object: SECOND, to: SSD, token: vec![] };
        extradite(card, channel, &extradition, Script::new()).await
    })
    .unwrap();
    assert_eq!(observation(&world).application(&SECOND).unwrap().security_domain, Some(SSD));
}

const PASSWORD_PACKAGE: Aid = Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 0x01, 0x03]);
const PASSWORD_MODULE: Aid = Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 0x01, 0x03, 0x01]);
const PLATFORMS_PASSWORD: Aid = Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 0x01, 0x03, 0x02]);

/// A world whose provider's domain holds the login password applet.
fn with_login_password() -> World {
    let world = opened();
    let cap = tsm_capfile::CapBuilder::new(PASSWORD_PACKAGE).applet(PASSWORD_MODULE).build_cap().unwrap();
    let block = cap.load_file_data_block(tsm_capfile::Descriptor::Omit);
    in_provider_channel(&world, async |channel, script| {
        let card = &mut world.card.channel();
        download(card, channel, &Download::new(PASSWORD_PACKAGE, block.into()), script).await?;
        let instance = NewInstance::new(PASSWORD_PACKAGE, PASSWORD_MODULE, PASSWORD_MODULE);
        install(card, channel, &instance, Script::new()).await
    })
    .unwrap();
    world
}

fn verify_password(world: &World, password: &[u8]) -> StatusWord {
    let verify = CommandApdu::new(0x00, 0x20, 0x00, 0x00).with_data(password);
    let answer = run(pass_through(&mut world.card.channel(), PASSWORD_MODULE, vec![verify]));
    match answer {
        Ok(_) => StatusWord::SUCCESS,
        Err(error) => error.status().unwrap(),
    }
}

// Length in front, 80 00.. behind, one block.
fn padded(password: &[u8]) -> Vec<u8> {
    let mut block = vec![password.len() as u8];
    block.extend(password);
    block.push(0x80);
    block.resize(16, 0);
    block
}

/// req: P-5.8.4.6.c, P-5.8.4.6.1.a, P-5.8.4.6.1.b
#[test]
fn way_one_passes_the_providers_commands_through_byte_for_byte() {
    let world = with_login_password();
    let change = CommandApdu::new(0x00, 0x24, 0x00, 0x00).with_data(*b"\x00\x06secret");
    let mut card = Counted::new(world.card.channel());
    run(pass_through(&mut card, PASSWORD_MODULE, vec![change.clone()])).unwrap();
    assert_eq!(card.exchanges, 1);
    assert_eq!(card.sent.last(), Some(&change));
    assert_eq!(verify_password(&world, b"secret"), StatusWord::SUCCESS);
}

/// req: P-5.8.4.6.d, P-5.8.4.6.2.d, P-5.8.4.6.2.e, P-5.8.4.6.2.g, P-5.8.4.6.2.h, B-6.6.1.b, B-6.6.2.a
#[test]
fn way_two_opens_a_channel_with_the_application_under_its_domains_keys() {
    for level in
        [SecurityLevel::C_MAC, SecurityLevel::C_DECRYPTION_C_MAC, SecurityLevel::C_DECRYPTION_C_MAC_R_MAC]
    {
        let world = opened();
        add_second_instance(&world);
        let card = &mut world.card.channel();
        assert!(run(read_card(card, SECOND)).is_err(), "not personalised yet");
        let session = SessionRequest { application: SECOND, level, ..world.provider_session() };
        let groups = world.personalisation().groups;
        run(async {
            let mut script = Script::new();
            let mut channel = open_channel(card, &world.provider, &session, &mut script).await.unwrap();
            // The channel is with the application, so that STORE DATA goes to it without INSTALL.
            let form = StoreDataForm::default();
            let storing =
                Personalising::through_domain(&mut channel, SECOND, &groups, form, &mut script).unwrap();
            let mut answers = script.run(card).await.unwrap();
            storing.take(&mut channel, &mut answers).unwrap();
        });
        let reading = run(read_card(card, SECOND)).unwrap();
        assert_eq!(reading.public_information, public_information(), "{level}");
    }
}

/// req: P-5.8.4.6.e, P-5.8.4.6.1.e, P-5.8.4.6.3.b, P-5.8.4.6.3.c, P-5.8.4.6.3.d, B-6.6.3.a, B-8.5.1.a
#[test]
fn way_three_goes_through_the_domain() {
    let world = with_login_password();
    let secret = world.provider.wrap_value(&padded(b"secret"), &world.kek).unwrap();
    let sensitive = Piece::Sensitive { value: secret, kek: world.kek.clone() };
    let groups = [
        DataGroupTemplate { identifier: 0xD101, pieces: vec![sensitive] },
        DataGroupTemplate { identifier: 0xD102, pieces: vec![Piece::Clear(vec![3])] },
    ];
    in_provider_channel(&world, async |channel, script| {
        let card = &mut world.card.channel();
        personalise_through_domain(card, channel, PASSWORD_MODULE, &groups, StoreDataForm::default(), script)
            .await
    })
    .unwrap();
    assert_eq!(verify_password(&world, b"secret"), StatusWord::SUCCESS);
}

/// A provider's script under the TK, its secret under the KEK inside; the platform's own domain, and the
/// secret goes from KEK to DEK in the platform's key service.
///
/// req: P-5.8.4.6.3.a, P-5.8.4.6.2.b
#[test]
fn a_script_of_the_provider_is_carried_out_by_the_platforms_domain() {
    let world = with_login_password();
    let tk = name("transport/provider/operator/1");
    let tk_value = Zeroizing::new((0..32u8).map(|byte| byte.wrapping_mul(37) ^ 0x5A).collect::<Vec<u8>>());
    world.provider.import_clear(&tk, KeyAlgorithm::Aes256, tk_value.clone()).unwrap();
    world.operator.import_clear(&tk, KeyAlgorithm::Aes256, tk_value).unwrap();
    let secret = world.provider.wrap_value(&padded(b"secret"), &world.kek).unwrap();
    let script = world.provider.transport_encrypt(&tk, b"order 7", &secret.0).unwrap();

    let opened = world.operator.transport_decrypt(&tk, b"order 7", &script).unwrap();
    let value = tsm_keys::transfer::WrappedValue(opened.to_vec());
    let own = NewInstance::new(PASSWORD_PACKAGE, PASSWORD_MODULE, PLATFORMS_PASSWORD);
    in_issuer_channel(&world, async |channel, script| {
        let card = &mut world.card.channel();
        install(card, channel, &own, script).await?;
        let sensitive = Piece::Sensitive { value, kek: world.kek.clone() };
        let groups = [DataGroupTemplate { identifier: 0xD101, pieces: vec![sensitive] }];
        let form = StoreDataForm::default();
        personalise_through_domain(card, channel, PLATFORMS_PASSWORD, &groups, form, Script::new()).await
    })
    .unwrap();
    let verify = CommandApdu::new(0x00, 0x20, 0x00, 0x00).with_data(*b"secret");
    run(pass_through(&mut world.card.channel(), PLATFORMS_PASSWORD, vec![verify])).unwrap();
}

/// req: P-5.8.4.6.1.c
#[test]
fn the_platform_personalises_with_keys_of_its_own_in_its_own_domain() {
    let world = opened();
    for role in KeyRole::ALL {
        let root = KeyReference::new(KeyPurpose::Purse(role), "operator", "city", 1).unwrap();
        world.operator.generate(&root, KeyAlgorithm::TripleDes).unwrap();
    }
    let root = |role| KeyReference::new(KeyPurpose::Purse(role), "operator", "city", 1).unwrap();
    let keys = purse_keys(&world.operator, root, &public_information()).unwrap();
    let issue = PurseIssue::new_card(public_information(), management(), Algorithm::TripleDes, keys);
    in_issuer_channel(&world, async |channel, script| {
        let card = &mut world.card.channel();
        install(card, channel, &NewInstance::new(PACKAGE, MODULE, SECOND), script).await?;
        let form = StoreDataForm::default();
        personalise_through_domain(card, channel, SECOND, &issue.data_groups(), form, Script::new()).await
    })
    .unwrap();
    let reading = run(read_card(&mut world.card.channel(), SECOND)).unwrap();
    assert_eq!(reading.public_information, public_information());
}

/// req: P-5.8.3.3.2.a
#[test]
fn a_domain_is_deleted_through_the_issuers_and_the_free_space_read_again() {
    let world = opened();
    in_issuer_channel(&world, async |channel, script| {
        delete(&mut world.card.channel(), channel, &[Deletion::with_related(PACKAGE)], script).await
    })
    .unwrap();
    let mut card = Counted::new(world.card.channel());
    let card = &mut card;
    let observation = run(async {
        let (mut issuer, mut script) = world.open_issuer(card).await.unwrap();
        let deleting = Deleting::add(&mut issuer, &[Deletion::object(SSD)], &mut script).unwrap();
        let after = Observing::add(&mut issuer, ObservationScope::Card, &mut script).unwrap();
        let mut answers = script.run(card).await.unwrap();
        deleting.take(&mut issuer, &mut answers).unwrap();
        after.finish(card, &mut issuer, &mut answers).await.unwrap()
    });
    let mut trace = card.instructions.clone();
    trace.dedup();
    assert_eq!(trace, [0xA4, 0x50, 0x82, 0xE4, 0xCA, 0xF2]);
    let free = observation.resources.unwrap();
    assert_eq!(
        (free.value.free_non_volatile, free.trust),
        (world.card.se(|se| se.usage().non_volatile_free()), Trust::Proven,)
    );
}

/// req: P-5.5.2.p
#[test]
fn the_registration_is_written_and_read_back_from_the_card() {
    let world = World::new();
    let key = name("binding-token/operator/main/1");
    world.operator.generate(&key, KeyAlgorithm::Aes256).unwrap();
    let se_id = tsm_domain::SeId::new(&SE_ID).unwrap();
    let token = world.operator.binding_token(&key, &se_id, "20261121").unwrap();
    let binding = BindingData { token: Zeroizing::new(token.to_vec()), imsi_digest: vec![0x5A; 20] };
    let msisdn = "13800001234".parse().unwrap();
    in_issuer_channel(&world, async |channel, script| {
        write_registration(&mut world.card.channel(), channel, &msisdn, &binding, TokenForm::Dgi, script)
            .await
    })
    .unwrap();
    let inventory =
        run(synchronise(&mut world.card.channel(), &world.operator, &world.isd, TokenForm::Dgi)).unwrap();
    assert_eq!(inventory.registration.msisdn.unwrap().value, msisdn);
    let stored = inventory.registration.binding.unwrap();
    assert_eq!((stored.value, stored.trust), (binding.clone(), Trust::Proven));
    assert!(inventory.production.is_some() && inventory.recognition.is_some());

    let plain = SessionRequest { level: SecurityLevel::C_MAC, ..world.isd.clone() };
    let card = &mut world.card.channel();
    let refused = run(async {
        let mut script = Script::new();
        let mut channel = open_channel(card, &world.operator, &plain, &mut script).await?;
        write_registration(card, &mut channel, &msisdn, &binding, TokenForm::Dgi, script).await
    });
    assert!(matches!(refused, Err(ProcedureError::Impossible(_))), "a TOKEN is never written in the clear");
}

/// req: P-5.8.9.2.d, B-6.5.a, P-5.8.2.1.g
#[test]
fn both_protocols_at_every_level_observe_the_card() {
    let levels = SecurityLevel::ALL;
    for (protocol, i, version) in [
        (Protocol::Scp02(0x55), 0x55, 0x20),
        (Protocol::Scp02(0x75), 0x75, 0x20),
        (Protocol::Scp03(0x70), 0x70, 0x30),
        (Protocol::Scp03(0x00), 0x00, 0x30),
        (Protocol::Scp03(0x71), 0x71, 0x30),
    ] {
        for level in levels {
            let mut profile = Profile::development(&SE_ID);
            let algorithm = match protocol {
                Protocol::Scp02(_) => {
                    profile.settings.scp02_i = i;
                    KeyAlgorithm::TripleDes
                }
                Protocol::Scp03(_) => {
                    profile.settings.scp03_i = i;
                    KeyAlgorithm::Aes128
                }
            };
            let world = World::with(Card::with(profile));
            let keys = development_keys(&world.operator, "levels", algorithm);
            let session = SessionRequest { application: ISD, keys, protocol, key_version: version, level };
            let card = &mut world.card.channel();
            let seen = run(async {
                let mut script = Script::new();
                let mut channel = open_channel(card, &world.operator, &session, &mut script).await?;
                observe(card, &mut channel, ObservationScope::Card, script).await
            });
            match seen {
                Ok(seen) => {
                    assert_eq!(seen.se_id.as_ref().unwrap().value.as_bytes(), SE_ID);
                    let trust = if level.has_r_mac() { Trust::Proven } else { Trust::Hint };
                    assert_eq!(seen.resources.unwrap().trust, trust, "{protocol:?} {level}");
                }
                // A level that the protocol does not have is refused before anything is sent.
                Err(ProcedureError::Session(tsm_keys::SessionError::Misuse(_))) => {
                    assert!(level.has_r_mac() || level == SecurityLevel::R_MAC, "{protocol:?} {level}");
                }
                Err(error) => panic!("{protocol:?} {level}: {error}"),
            }
        }
    }
}

/// A registry that does not fit the pages sent ahead is read to its end.
#[test]
fn a_long_registry_is_read_to_its_end() {
    let world = opened();
    let many: Vec<Aid> = (0..25u8)
        .map(|number| Aid::new(&[&PURSE.as_bytes()[..15], &[0xC0 + number]].concat()).unwrap())
        .collect();
    in_provider_channel(&world, async |channel, script| {
        let card = &mut world.card.channel();
        script.run(card).await.and_then(|mut answers| channel.check_authentication(&mut answers))?;
        for aid in &many {
            install(card, channel, &NewInstance::new(PACKAGE, MODULE, *aid), Script::new()).await?;
        }
        Ok(())
    })
    .unwrap();
    let seen = observation(&world);
    assert_eq!(seen.applications.value.len(), 2 + many.len());
    assert!(many.iter().all(|aid| seen.application(aid).is_some()));
    assert_eq!(seen.applications.trust, Trust::Proven);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// req: P-5.8.4.6.2.f
    #[test]
    fn any_secret_of_whole_blocks_arrives_as_it_left(password in "[a-z0-9]{4,14}") {
        let world = with_login_password();
        let secret = world.provider.wrap_value(&padded(password.as_bytes()), &world.kek).unwrap();
        let sensitive = Piece::Sensitive { value: secret, kek: world.kek.clone() };
        let groups = [DataGroupTemplate { identifier: 0xD101, pieces: vec![sensitive] }];
        in_provider_channel(&world, async |channel, script| {
            let card = &mut world.card.channel();
            personalise_through_domain(card, channel, PASSWORD_MODULE, &groups, StoreDataForm::default(), script).await
        })
        .unwrap();
        prop_assert_eq!(verify_password(&world, password.as_bytes()), StatusWord::SUCCESS);
    }
}
