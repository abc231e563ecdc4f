//! The opening of a card, torn at every APDU and at every write of the card's memory: the next
//! session goes on and ends where an untorn one does.

use tsm_card::plan::{ResiduePolicy, plan};
use tsm_card::purse::read_card;

use crate::support::*;

fn converges(world: &World, torn_at: &str) {
    world.card.restart();
    let observation = run(world.open_card(&mut world.card.channel()));
    assert!(observation.is_ok(), "{torn_at}: {observation:?}");
    let all = run(world.observe_card(&mut world.card.channel())).unwrap();
    assert!(plan(&all, &world.wanted(), ResiduePolicy::Resume).is_complete(), "{torn_at}");
    assert_eq!(all.applications.value.len(), 2, "{torn_at}: the domain and the purse, once each");
    let reading = run(read_card(&mut world.card.channel(), PURSE)).unwrap();
    assert_eq!(reading.public_information, public_information(), "{torn_at}");
}

fn commands_of_an_opening() -> u64 {
    let world = World::new();
    let mut card = Counted::new(world.card.channel());
    run(world.open_card(&mut card)).unwrap();
    card.commands as u64
}

/// req: P-5.8.7.2.a, P-5.8.3.2.1.d
#[test]
fn at_every_apdu_whether_the_command_or_its_response_is_lost() {
    for lose in [Lost::Command, Lost::Response] {
        for left in 0..commands_of_an_opening() {
            let world = World::new();
            let torn = run(world.open_card(&mut world.card.channel_breaking_after(left, lose)));
            assert!(torn.unwrap_err().is_outcome_unknown());
            converges(&world, &format!("{lose:?} {left}"));
        }
    }
}

/// req: P-5.8.7.2.a, B-6.1.6.c
#[test]
fn at_every_write_of_the_cards_memory() {
    let writes = {
        let world = World::new();
        let before = world.card.se(|se| se.writes());
        run(world.open_card(&mut world.card.channel())).unwrap();
        world.card.se(|se| se.writes()) - before
    };
    assert!(writes > 20);
    for left in 0..writes {
        let world = World::new();
        world.card.se(|se| se.power_cut_after(left));
        let torn = run(world.open_card(&mut world.card.channel()));
        assert!(torn.is_err(), "write {left}");
        converges(&world, &format!("write {left} of {writes}"));
    }
}

/// Torn twice: at one APDU, and again at another one of the session that goes on.
#[test]
fn twice_in_a_row() {
    let commands = commands_of_an_opening();
    for first in (0..commands).step_by(3) {
        for second in (0..commands).step_by(5) {
            let world = World::new();
            run(world.open_card(&mut world.card.channel_breaking_after(first, Lost::Response))).unwrap_err();
            world.card.restart();
            drop(run(world.open_card(&mut world.card.channel_breaking_after(second, Lost::Command))));
            converges(&world, &format!("{first}, then {second}"));
        }
    }
}
