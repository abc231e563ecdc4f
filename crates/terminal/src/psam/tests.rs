use tsm_epurse::{IssuerFactor, KeyVersion, psam::select_directory};

use super::*;

/// The invented roots of `epurse`'s worked example.
fn roots() -> RootKeys {
    let key = |text: &str| Key::new(Algorithm::TripleDes, hex::decode(text).unwrap().try_into().unwrap());
    RootKeys {
        purchase: vec![(KeyVersion(1), key("00112233445566778899AABBCCDDEEFF"))],
        block: Some(key("C1C2C3C4C5C6C7C8D1D2D3D4D5D6D7D8")),
    }
}

fn psam(state: PsamState) -> Psam<RootKeys> {
    let profile = PsamProfile {
        terminal: TerminalNumber::new([0x09, 0x99, 0x00, 0x00, 0x00, 0x42]),
        serial: [0x11; 10],
        purchase_key_index: 1,
        wrong_mac2_limit: 3,
    };
    let mut psam = Psam::new(profile, roots(), state);
    assert!(psam.transmit(&select_directory()).status.is_success());
    psam
}

fn send(psam: &mut Psam<RootKeys>, text: &str) -> String {
    let answer = psam.transmit(&CommandApdu::parse(&hex::decode(text).unwrap()).unwrap());
    hex::encode_upper(answer.to_bytes())
}

const INIT: &str = "807000002499AABBCC042D000001F409202412291417400100499900000001234509990000FFFFFFFF08";

/// Source: the project's worked example of a composite purchase, and command forms of real terminals.
#[test]
fn the_worked_purchase() {
    let mut psam = psam(PsamState { last_sequence: 0x1234, wrong_mac2: 2 });
    assert_eq!(send(&mut psam, "00B0960006"), "0999000000429000");
    assert_eq!(send(&mut psam, "00B0970001"), "019000");
    assert_eq!(send(&mut psam, INIT), "000012356BBE4DB29000");
    assert_eq!(send(&mut psam, "80720000040F38DD80"), "9000");
    assert_eq!(psam.state(), PsamState { last_sequence: 0x1235, wrong_mac2: 0 });
    assert_eq!(send(&mut psam, "80720000040F38DD80"), "6985", "one verification for each purchase");
}

/// Source: the project's worked example of APPLICATION BLOCK.
#[test]
fn the_worked_lock() {
    let mut psam = psam(PsamState::default());
    assert_eq!(send(&mut psam, "801A450210499900000001234509990000FFFFFFFF"), "9000");
    assert_eq!(send(&mut psam, "80FA0500101122334400000000841E00000480000004"), "CD38F5299000");
    assert_eq!(send(&mut psam, "80FA0500101122334400000000841E00000480000004"), "6985");
    assert_eq!(send(&mut psam, "801A440210499900000001234509990000FFFFFFFF"), "9403");
}

#[test]
fn wrong_mac2s_block_it_at_their_limit() {
    let mut psam = psam(PsamState::default());
    for _ in 0..3 {
        assert_eq!(send(&mut psam, INIT).len(), 20);
        assert_eq!(send(&mut psam, "807200000400000000"), "9302");
    }
    assert_eq!(send(&mut psam, INIT), "6983");
    assert_eq!(psam.state().wrong_mac2, 3);
}

#[test]
fn it_refuses_what_it_does_not_have() {
    let mut psam = psam(PsamState { last_sequence: u32::MAX, wrong_mac2: 0 });
    assert_eq!(send(&mut psam, INIT), "9402");
    assert_eq!(send(&mut psam, &INIT.replace("400100", "400200")), "9403", "another key version");
    assert_eq!(send(&mut psam, &INIT.replace("400100", "400101")), "9403", "no SM4 root");
    assert_eq!(send(&mut psam, &INIT.replace("400100", "400107")), "9484", "no such algorithm");
    assert_eq!(send(&mut psam, "80990000"), "6D00");
    assert_eq!(send(&mut psam, "A0700000"), "6E00");
    assert_eq!(send(&mut psam, "00B0980001"), "6A82");
    assert_eq!(send(&mut psam, "00B0960007"), "6C06");
    let profile = psam.profile.clone();
    let mut fresh = Psam::new(profile, roots(), PsamState::default());
    assert_eq!(send(&mut fresh, INIT), "6985", "nothing is selected");
    let none = RootKeys { purchase: vec![], block: None };
    assert!(none.block_key(IssuerFactor::default(), tsm_epurse::CardFactor::default()).is_none());
}
