//! The same procedures behind a relay, as behind HTTPS: a conversation hands lists out and answers in.

use std::thread;

use tsm_card::{CardChannel, relay};
use tsm_keys::KeyService;

use crate::support::*;

/// req: P-5.8.2.a
#[test]
fn the_same_text_opens_a_card_behind_a_relay() {
    let world = World::new();
    let (mut channel, mut port) = relay();
    let mut phone = world.card.channel();
    let mut requests = 0;
    let observation = thread::scope(|scope| {
        let world = &world;
        let procedure = scope.spawn(move || wait(world.open_card(&mut channel)));
        while let Some(steps) = wait(port.next_steps()) {
            let responses = run(phone.exchange(steps)).unwrap();
            port.deliver(responses).unwrap();
            requests += 1;
        }
        // The procedure ends once its channel is dropped with it.
        procedure.join().unwrap()
    });
    assert!(observation.unwrap().application(&PURSE).is_some());
    assert_eq!(requests, 5);
}

/// Conversations that wait for their phone are many: each stays small.
#[test]
fn a_parked_conversation_stays_small() {
    let world = World::new();
    let (mut channel, _port) = relay();
    let parked = world.open_card(&mut channel);
    let size = size_of_val(&parked);
    assert!(size <= 8 * 1024, "{size} bytes");
}

/// req: P-5.8.9.3.d
#[test]
fn the_platform_keeps_no_key_of_a_provider() {
    let world = World::new();
    let before = world.operator.list();
    run(world.open_card(&mut world.card.channel())).unwrap();
    assert_eq!(world.operator.list(), before);
    assert!(before.iter().all(|key| key.reference.owner() == "operator" || key.reference == world.kek));
}
