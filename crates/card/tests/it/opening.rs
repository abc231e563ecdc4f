//! Opening a card: the trace, the round trips, what the card holds afterwards.

use tsm_card::create_domain::{DomainMode, DomainSpace, Management, NewDomain};
use tsm_card::observe::{ObservationScope, Trust, observe};
use tsm_card::opening::{
    NextSession, create_and_open_domain, fill_domain, load_and_go_on, replace_keys_and_go_on,
};
use tsm_card::plan::{ResiduePolicy, plan};
use tsm_card::purse::read_card;
use tsm_card::{OpeningChannel, Script};
use tsm_epurse::Amount;
use tsm_globalplatform::life_cycle::{CardLifeCycle, LifeCycle, SecurityDomainLifeCycle};
use tsm_globalplatform::privileges::Privileges;

use crate::support::*;

const REPORT: usize = 1;

/// Through the application's own domain; the next but one test goes through the issuer's.
///
/// req: P-5.8.3.1.1.a, P-5.8.3.1.1.d, P-5.8.4.1.1.i, P-5.8.4.1.2.a, B-8.4.2.d, B-8.5.1.a
#[test]
fn an_amsd_domain_is_opened_in_six_round_trips() {
    let world = World::new();
    let mut card = Counted::new(world.card.channel());
    let observation = run(world.open_card(&mut card)).unwrap();
    assert_eq!(card.exchanges + REPORT, 6);

    let instance = observation.application(&PURSE).unwrap();
    assert_eq!((instance.load_file, instance.security_domain), (Some(PACKAGE), Some(SSD)));
    assert_eq!(observation.applications.trust, Trust::Proven);
    assert_eq!(observation.load_file(&PACKAGE).unwrap().security_domain, Some(SSD));

    let all = run(world.observe_card(&mut world.card.channel())).unwrap();
    let domain = all.application(&SSD).unwrap();
    assert_eq!(domain.life_cycle, LifeCycle::SecurityDomain(SecurityDomainLifeCycle::Personalized));
    assert_eq!(domain.privileges, Privileges::AMSD);
    assert!(plan(&all, &world.wanted(), ResiduePolicy::Resume).is_complete());

    let reading = run(read_card(&mut world.card.channel(), PURSE)).unwrap();
    assert_eq!(reading.public_information, public_information());
    assert_eq!(reading.balance, Amount::ZERO);
}

/// req: P-5.8.3.1.2.a, P-5.8.4.1.1.d, P-5.8.4.1.1.e, P-5.8.4.1.2.b, P-5.8.4.1.2.c, P-5.8.7.1.d
#[test]
fn the_commands_go_in_the_order_of_the_platform_text() {
    let world = World::new();
    let mut card = Counted::new(world.card.channel());
    run(world.open_card(&mut card)).unwrap();
    let mut trace = card.instructions;
    trace.dedup();
    let expected = [
        0xA4, 0x50, // SELECT ISD, INITIALIZE UPDATE
        0x82, 0xCA, 0xF2, // EXTERNAL AUTHENTICATE, GET DATA, GET STATUS
        0xE6, 0xA4, 0x50, // INSTALL of the domain, SELECT, INITIALIZE UPDATE
        0x82, 0xD8, 0xF0, 0xA4,
        0x50, // EXTERNAL AUTHENTICATE, PUT KEY, SET STATUS, SELECT, INITIALIZE UPDATE
        0x82, 0xE6, 0xE8, 0xE6, 0xE2, // EXTERNAL AUTHENTICATE, INSTALL, LOAD.., INSTALL.., STORE DATA..
        0xCA, 0xF2, // GET DATA, GET STATUS
    ];
    assert_eq!(trace, expected);
}

/// req: P-5.8.4.1.2.a
#[test]
fn a_domain_filled_by_the_issuer_is_opened_in_seven_round_trips() {
    let world = World::new();
    let mut card = Counted::new(world.card.channel());
    let card = &mut card;
    let domain = NewDomain::new(SSD, DomainMode::Two(Management::Issuer), DomainSpace::Shared);
    run(async {
        let (mut issuer, script) = world.open_issuer(card).await.unwrap();
        let seen = observe(card, &mut issuer, ObservationScope::Card, script).await.unwrap();
        let plan = plan(&seen, &world.wanted(), ResiduePolicy::Resume);
        let (mut channel, script) =
            create_and_open_domain(card, &world.operator, &mut issuer, &domain, &world.initial())
                .await
                .unwrap();

        // The issuer goes on in its own domain, which loads for the new one.
        let mut opening = Script::new();
        let again = OpeningChannel::begin(&world.operator, &world.isd, &mut opening).unwrap();
        let next = NextSession { application: ISD, initialize_update: again.initialize_update() };
        let answer =
            replace_keys_and_go_on(card, &mut channel, script, &world.put_key(), next).await.unwrap();
        let mut script = Script::new();
        let mut issuer = again.answered(&answer, &mut script).unwrap();
        let mut content = world.content(&plan);
        content.downloads[0].security_domain = Some(SSD);
        content.extraditions.push(tsm_card::extradite::Extradition { object: PURSE, to: SSD, token: vec![] });
        let pending = tsm_keys::KeyService::begin_session(&world.provider, world.provider_session()).unwrap();
        let next = NextSession { application: SSD, initialize_update: pending.initialize_update() };
        let answer = load_and_go_on(card, &mut issuer, script, &content, next).await.unwrap();

        let mut script = Script::new();
        let mut provider = OpeningChannel::handed_over(pending, SSD, &answer, &mut script).unwrap();
        let seen = fill_domain(card, &mut provider, script, &Default::default(), &[world.personalisation()])
            .await
            .unwrap();
        assert_eq!(seen.application(&PURSE).unwrap().security_domain, Some(SSD));
    });
    assert_eq!(card.exchanges + REPORT, 7);
    assert_eq!(
        run(read_card(&mut world.card.channel(), PURSE)).unwrap().public_information,
        public_information()
    );
}

/// req: P-5.8.7.1.e, P-5.8.4.5.a
#[test]
fn the_observation_is_the_cards_own_word() {
    let world = World::new();
    let before = run(world.observe_card(&mut world.card.channel())).unwrap();
    assert_eq!(before.se_id.as_ref().unwrap().value.as_bytes(), SE_ID);
    assert_eq!(before.card_life_cycle.as_ref().unwrap().value, CardLifeCycle::OpReady);
    let resources = before.resources.as_ref().unwrap();
    assert_eq!(resources.trust, Trust::Proven);
    let free = |observation: &tsm_card::observe::Observation| {
        observation.resources.as_ref().unwrap().value.free_non_volatile
    };
    assert_eq!(free(&before), world.card.se(|se| se.usage().non_volatile_free()));
    run(world.open_card(&mut world.card.channel())).unwrap();
    let after = run(world.observe_card(&mut world.card.channel())).unwrap();
    assert_eq!(free(&after), world.card.se(|se| se.usage().non_volatile_free()));
    assert!(free(&after) + world.data_block.len() as u32 <= free(&before));
}

/// req: P-5.8.4.1.1.f, B-8.4.1.a
#[test]
fn what_is_there_is_not_sent_again() {
    let world = World::new();
    run(world.open_card(&mut world.card.channel())).unwrap();
    let mut card = Counted::new(world.card.channel());
    run(world.open_card(&mut card)).unwrap();
    assert!(!card.instructions.contains(&0xE8), "no LOAD");
    assert!(!card.instructions.contains(&0xD8), "no PUT KEY");
}
