//! A domain of each mode, managed end to end: mode two, three with DAP signatures, four with tokens and
//! receipts (P-5.8.3.1.1.b, D-16).

use tsm_card::authorise::Signer;
use tsm_card::create_domain::{CreatingDomain, DomainMode, DomainSpace, Management, NewDomain};
use tsm_card::delete::{Deleted, Deletion, delete};
use tsm_card::download::{Download, download};
use tsm_card::install::{NewInstance, install};
use tsm_card::observe::{Observation, ObservationScope, Trust, observe};
use tsm_card::open_channel;
use tsm_card::put_signature_key::{PuttingSignatureKey, SignatureKey, SignatureKeyUse};
use tsm_card::replace_domain_keys::{AfterReplacement, replace_domain_keys};
use tsm_card::{ProcedureError, Script, SecureChannel};
use tsm_domain::SeId;
use tsm_globalplatform::dap::HashAlgorithm;
use tsm_globalplatform::life_cycle::{LifeCycle, SecurityDomainLifeCycle};
use tsm_globalplatform::privileges::Privileges;
use tsm_globalplatform::receipt::{Confirmed, Receipt};
use tsm_iso7816::StatusWord;
use tsm_keys::{
    Derivation, DomainKey, DomainPath, KeyAlgorithm, KeyHandle, KeyReference, KeyService, NewKeys,
    PutKeyRequest, SessionRequest, SignatureScheme,
};

use crate::support::*;

/// A world whose card has a domain of `mode`, with the provider's keys in force.
fn world_with_domain(mode: DomainMode, space: DomainSpace) -> World {
    let world = World::new();
    let card = &mut world.card.channel();
    run(async {
        let (mut issuer, mut script) = world.open_issuer(card).await.unwrap();
        let creating =
            CreatingDomain::add(&mut issuer, &NewDomain::new(SSD, mode, space), &mut script).unwrap();
        let mut answers = script.run(card).await.unwrap();
        creating.take(&mut issuer, &mut answers).unwrap();
        let mut script = Script::new();
        let mut domain = open_channel(card, &world.operator, &world.initial(), &mut script).await.unwrap();
        replace_domain_keys(card, &mut domain, &world.put_key(), AfterReplacement::Personalized, script)
            .await
            .unwrap();
    });
    world
}

fn provider_channel(world: &World) -> SecureChannel {
    let card = &mut world.card.channel();
    run(async {
        let mut script = Script::new();
        let mut channel =
            open_channel(card, &world.provider, &world.provider_session(), &mut script).await.unwrap();
        let mut answers = script.run(card).await.unwrap();
        channel.check_authentication(&mut answers).unwrap();
        channel
    })
}

fn issuer_channel(world: &World) -> SecureChannel {
    let card = &mut world.card.channel();
    run(async {
        let (mut issuer, script) = world.open_issuer(card).await.unwrap();
        let mut answers = script.run(card).await.unwrap();
        issuer.check_authentication(&mut answers).unwrap();
        issuer
    })
}

fn put_key(world: &World, channel: &mut SecureChannel, purpose: SignatureKeyUse, key: &SignatureKey) {
    let card = &mut world.card.channel();
    run(async {
        let mut script = Script::new();
        let putting = PuttingSignatureKey::add(channel, purpose, key, None, &mut script).unwrap();
        let mut answers = script.run(card).await.unwrap();
        putting.take(channel, &mut answers).unwrap();
    });
}

fn observation(world: &World) -> Observation {
    run(world.observe_card(&mut world.card.channel())).unwrap()
}

fn signing_key(keys: &dyn KeyService, text: &str) -> KeyReference {
    let key = name(text);
    keys.generate(&key, KeyAlgorithm::EcdsaP256).unwrap();
    key
}

const SCHEME: SignatureScheme = SignatureScheme::EcdsaP256Sha256;

/// req: P-5.8.3.1.1.b, P-5.8.3.1.1.e
#[test]
fn mode_two_loads_by_itself_once_it_is_personalised() {
    let world = World::new();
    let card = &mut world.card.channel();
    run(async {
        let (mut issuer, script) = world.open_issuer(card).await.unwrap();
        tsm_card::create_domain::create_domain(card, &mut issuer, &world.domain(), script).await.unwrap();
        let mut script = Script::new();
        let mut early = open_channel(card, &world.operator, &world.initial(), &mut script).await.unwrap();
        let refused = download(card, &mut early, &world.download(), script).await.unwrap_err();
        assert_eq!(refused.status(), Some(StatusWord::CONDITIONS_NOT_SATISFIED));
    });
    let world = world_with_domain(DomainMode::Two(Management::Own), DomainSpace::Shared);
    let mut provider = provider_channel(&world);
    let card = &mut world.card.channel();
    run(async {
        download(card, &mut provider, &world.download(), Script::new()).await.unwrap();
        install(card, &mut provider, &world.instance(), Script::new()).await.unwrap();
    });
    assert_eq!(observation(&world).application(&SSD).unwrap().privileges, Privileges::AMSD);
    assert_eq!(observation(&world).application(&PURSE).unwrap().security_domain, Some(SSD));
}

/// An operator's own domain: its initial keys are replaced by keys of the platform, and are dead then.
///
/// req: P-5.8.3.1.1.c
#[test]
fn the_initial_keys_of_an_own_domain_are_dead_once_it_is_personalised() {
    let world = World::new();
    let root = name("domain-root/operator/own/1");
    world.operator.generate(&root, KeyAlgorithm::Aes128).unwrap();
    let own = tsm_keys::DomainKeySource::TwoLevel { root, path: domain_path() };
    let request = PutKeyRequest { replaces: INITIAL_VERSION, version: 0x10, keys: NewKeys::Own(own.clone()) };
    let card = &mut world.card.channel();
    run(async {
        let (mut issuer, script) = world.open_issuer(card).await.unwrap();
        tsm_card::create_domain::create_domain(card, &mut issuer, &world.domain(), script).await.unwrap();
        let mut script = Script::new();
        let mut domain = open_channel(card, &world.operator, &world.initial(), &mut script).await.unwrap();
        replace_domain_keys(card, &mut domain, &request, AfterReplacement::Personalized, script)
            .await
            .unwrap();

        let dead = open_channel(card, &world.operator, &world.initial(), &mut Script::new()).await;
        assert_eq!(dead.map(drop).unwrap_err().status(), Some(StatusWord::REFERENCED_DATA_NOT_FOUND));
        let session = SessionRequest { keys: own, key_version: 0x10, ..world.initial() };
        open_channel(card, &world.operator, &session, &mut Script::new()).await.unwrap();
    });
    let life_cycle = observation(&world).application(&SSD).unwrap().life_cycle;
    assert_eq!(life_cycle, LifeCycle::SecurityDomain(SecurityDomainLifeCycle::Personalized));
}

/// A domain that the issuer manages cannot load by itself.
#[test]
fn mode_two_managed_by_the_issuer_refuses_to_load() {
    let world = world_with_domain(DomainMode::Two(Management::Issuer), DomainSpace::Shared);
    let mut provider = provider_channel(&world);
    let refused = run(download(&mut world.card.channel(), &mut provider, &world.download(), Script::new()));
    assert_eq!(refused.unwrap_err().status(), Some(StatusWord::CONDITIONS_NOT_SATISFIED));
}

/// req: P-5.8.3.1.1.b, P-5.8.9.3.e
#[test]
fn mode_three_loads_only_what_its_provider_signed() {
    let mode = DomainMode::Three(Management::Own);
    for (sign, loads) in [(Signing::Right, true), (Signing::WrongKey, false), (Signing::Missing, false)] {
        let world = world_with_domain(mode, DomainSpace::Shared);
        let key = signing_key(&world.provider, "dap/provider/main/1");
        let other = signing_key(&world.provider, "dap/provider/other/1");
        let public = world.provider.public_key(&key).unwrap();
        put_key(&world, &mut provider_channel(&world), SignatureKeyUse::Dap, &SignatureKey::Public(public));
        let mut load = world.download();
        let signer = |key| Signer { keys: &world.provider, key, scheme: SCHEME };
        match sign {
            Signing::Right => signer(&key).sign_download(&mut load, SSD, HashAlgorithm::Sha256).unwrap(),
            Signing::WrongKey => signer(&other).sign_download(&mut load, SSD, HashAlgorithm::Sha256).unwrap(),
            Signing::Missing => {}
        }
        let mut provider = provider_channel(&world);
        let loaded = run(download(&mut world.card.channel(), &mut provider, &load, Script::new()));
        assert_eq!(loaded.is_ok(), loads, "{sign:?}: {loaded:?}");
        assert_eq!(observation(&world).load_file(&PACKAGE).is_some(), loads);
    }
}

#[derive(Debug, Clone, Copy)]
enum Signing {
    Right,
    WrongKey,
    Missing,
}

/// The issuer's keys for mode four: a token key in the card, a receipt key in the card and in the
/// operator's key service.
fn delegated() -> (World, KeyReference, KeyHandle) {
    let world = world_with_domain(DomainMode::Four, DomainSpace::Shared);
    let token = signing_key(&world.operator, "delegated-token/operator/main/1");
    let receipt_root = name("receipt/operator/main/1");
    world.operator.generate(&receipt_root, KeyAlgorithm::Aes128).unwrap();
    let path = DomainPath { domain: ISD, se_id: SeId::new(&SE_ID).unwrap() };
    let receipt =
        world.operator.derive(&receipt_root, &Derivation::Domain { path, key: DomainKey::Mac }).unwrap();
    let public = world.operator.public_key(&token).unwrap();
    let mut issuer = issuer_channel(&world);
    put_key(&world, &mut issuer, SignatureKeyUse::Token, &SignatureKey::Public(public));
    put_key(&world, &mut issuer, SignatureKeyUse::Receipt, &SignatureKey::Secret(receipt.clone()));
    (world, token, receipt)
}

fn verify(world: &World, key: &KeyHandle, receipt: Option<Receipt>, confirmed: Confirmed) {
    let receipt = receipt.expect("delegated management answers with receipts");
    let confirmation = receipt.confirmation.clone().expect("the card says its counter");
    let covered = confirmed.signed_data(&confirmation);
    world.operator.verify_receipt(key, &covered, &receipt.signature).unwrap();
    let mut forged = receipt.signature;
    forged[0] ^= 1;
    assert!(world.operator.verify_receipt(key, &covered, &forged).is_err());
}

/// req: P-5.8.3.1.1.b, P-5.8.9.3.f
#[test]
fn mode_four_acts_with_the_issuers_tokens_and_proves_it_with_receipts() {
    let (world, token, receipt) = delegated();
    let signer = Signer { keys: &world.operator, key: &token, scheme: SCHEME };
    let card = &mut world.card.channel();

    let mut load = world.download();
    let mut instance = world.instance();
    let mut deletion = Deletion::object(PURSE);
    signer.authorise_download(&mut load, HashAlgorithm::Sha256).unwrap();
    signer.authorise_instance(&mut instance).unwrap();
    signer.authorise_deletion(&mut deletion, vec![0x93, 0x01, 0x07]).unwrap();

    let mut provider = provider_channel(&world);
    let loaded = run(download(card, &mut provider, &load, Script::new())).unwrap();
    verify(&world, &receipt, loaded.receipt, Confirmed::Load { load_file: PACKAGE, security_domain: SSD });
    let installed = run(install(card, &mut provider, &instance, Script::new())).unwrap();
    verify(
        &world,
        &receipt,
        installed.receipt,
        Confirmed::Install { load_file: PACKAGE, application: PURSE },
    );
    let deleted = run(delete(card, &mut provider, &[deletion], Script::new())).unwrap();
    let [Deleted::Now { trust: Trust::Proven, receipt: delete_receipt }] = &deleted[..] else {
        panic!("{deleted:?}")
    };
    verify(&world, &receipt, delete_receipt.clone(), Confirmed::Delete { object: PURSE });
}

type Spoil = fn(&mut Download, &mut NewInstance);

/// req: P-5.8.9.3.f
#[test]
fn mode_four_refuses_missing_wrong_and_foreign_tokens() {
    let (world, token, _) = delegated();
    let other = signing_key(&world.operator, "delegated-token/operator/other/1");
    let authorised = |key: &KeyReference| {
        let signer = Signer { keys: &world.operator, key, scheme: SCHEME };
        let (mut load, mut instance) = (world.download(), world.instance());
        signer.authorise_download(&mut load, HashAlgorithm::Sha256).unwrap();
        signer.authorise_instance(&mut instance).unwrap();
        (load, instance)
    };
    let load_refused = |load: &Download| -> ProcedureError {
        let mut provider = provider_channel(&world);
        run(download(&mut world.card.channel(), &mut provider, load, Script::new())).unwrap_err()
    };
    let spoils: [Spoil; 3] = [
        |load, instance| {
            load.token.clear();
            instance.token.clear();
        },
        |load, instance| {
            load.token[10] ^= 1;
            instance.token[10] ^= 1;
        },
        |load, instance| {
            load.code_bytes = Some(1);
            instance.parameters = vec![1];
        },
    ];
    for spoil in spoils {
        let (mut load, mut instance) = authorised(&token);
        spoil(&mut load, &mut instance);
        assert_eq!(load_refused(&load).status(), Some(StatusWord::CONDITIONS_NOT_SATISFIED));
    }
    let (foreign, _) = authorised(&other);
    assert_eq!(load_refused(&foreign).status(), Some(StatusWord::CONDITIONS_NOT_SATISFIED));
    assert!(observation(&world).load_file(&PACKAGE).is_none());

    let (load, instance) = authorised(&token);
    let mut provider = provider_channel(&world);
    run(download(&mut world.card.channel(), &mut provider, &load, Script::new())).unwrap();
    for spoil in spoils {
        let (mut load, mut instance) = (load.clone(), instance.clone());
        spoil(&mut load, &mut instance);
        let mut provider = provider_channel(&world);
        let refused = run(install(&mut world.card.channel(), &mut provider, &instance, Script::new()));
        assert_eq!(refused.unwrap_err().status(), Some(StatusWord::CONDITIONS_NOT_SATISFIED));
    }
    assert!(observation(&world).application(&PURSE).is_none());
}

/// req: P-5.8.3.1.1.f, P-5.8.7.1.b, P-5.8.3.3.1.a
#[test]
fn a_domain_of_fixed_space_takes_it_from_the_card_and_gives_it_back() {
    let free = |world: &World| observation(world).resources.unwrap().value.free_non_volatile;
    let shared = free(&world_with_domain(DomainMode::Two(Management::Own), DomainSpace::Shared));
    let space = DomainSpace::Fixed { non_volatile: 20_000, volatile: 500 };
    let world = world_with_domain(DomainMode::Two(Management::Own), space);
    let fixed = free(&world);
    assert!(shared - fixed >= 19_000 && shared - fixed <= 20_000, "{shared} {fixed}");

    let mut provider = provider_channel(&world);
    let own = run(observe(&mut world.card.channel(), &mut provider, ObservationScope::Domain, Script::new()))
        .unwrap();
    assert!(own.resources.unwrap().value.free_non_volatile <= 20_000);

    let empty = free(&World::new());
    let deleted = run(delete(
        &mut world.card.channel(),
        &mut issuer_channel(&world),
        &[Deletion::object(SSD)],
        Script::new(),
    ));
    assert!(matches!(deleted.unwrap()[..], [Deleted::Now { trust: Trust::Proven, .. }]));
    assert_eq!(free(&world), empty);
}

/// req: P-5.8.3.3.1.b, P-5.8.3.3.1.d
#[test]
fn a_domain_with_applications_and_the_issuers_domain_are_not_deleted() {
    let world = World::new();
    run(world.open_card(&mut world.card.channel())).unwrap();
    for aid in [SSD, ISD] {
        let mut issuer = issuer_channel(&world);
        let refused =
            run(delete(&mut world.card.channel(), &mut issuer, &[Deletion::object(aid)], Script::new()));
        assert_eq!(refused.unwrap_err().status(), Some(StatusWord::CONDITIONS_NOT_SATISFIED), "{aid}");
    }
}

/// req: P-5.8.3.2.1.a, P-5.8.3.2.1.b, P-5.8.3.2.2.a, P-5.8.3.2.2.b
#[test]
fn keys_of_the_issuers_domain_and_of_a_domain_are_replaced() {
    let world = world_with_domain(DomainMode::Two(Management::Own), DomainSpace::Shared);
    let root = name("domain-root/operator/isd/1");
    world.operator.generate(&root, KeyAlgorithm::Aes128).unwrap();
    let path = DomainPath { domain: ISD, se_id: SeId::new(&SE_ID).unwrap() };
    let own = tsm_keys::DomainKeySource::TwoLevel { root, path };
    let request = PutKeyRequest { replaces: 0x30, version: 0x31, keys: NewKeys::Own(own.clone()) };
    let card = &mut world.card.channel();
    run(async {
        let (mut issuer, script) = world.open_issuer(card).await.unwrap();
        replace_domain_keys(card, &mut issuer, &request, AfterReplacement::Unchanged, script).await.unwrap();
        let old = world.open_issuer(card).await.map(drop).unwrap_err();
        assert_eq!(old.status(), Some(StatusWord::REFERENCED_DATA_NOT_FOUND));
        let new = SessionRequest { keys: own, key_version: 0x31, ..world.isd.clone() };
        let mut script = Script::new();
        let mut issuer = open_channel(card, &world.operator, &new, &mut script).await.unwrap();
        let seen = observe(card, &mut issuer, ObservationScope::Card, script).await.unwrap();
        assert!(seen.application(&SSD).is_some());
    });

    let next = world.provider_root.at_version(2);
    world.provider.generate(&next, KeyAlgorithm::Aes128).unwrap();
    let source = tsm_keys::DomainKeySource::TwoLevel { root: next, path: domain_path() };
    let request = PutKeyRequest { replaces: SP_VERSION, version: 0x03, keys: NewKeys::Own(source.clone()) };
    let mut provider = provider_channel(&world);
    run(replace_domain_keys(card, &mut provider, &request, AfterReplacement::Unchanged, Script::new()))
        .unwrap();
    let session = SessionRequest { keys: source, key_version: 0x03, ..world.provider_session() };
    let mut script = Script::new();
    let channel = run(open_channel(card, &world.provider, &session, &mut script)).unwrap();
    assert_eq!(channel.key_version(), 0x03);
}
