//! Random APDUs: no panic, and without a key no money moves.

use std::sync::{Mutex, OnceLock};

use super::*;

/// A personalised card's memory, made once.
fn template() -> &'static Mutex<TestCard> {
    static TEMPLATE: OnceLock<Mutex<TestCard>> = OnceLock::new();
    TEMPLATE.get_or_init(|| Mutex::new(card_with(1000, 300, (7, 9), &keys(Algorithm::TripleDes))))
}

#[test]
fn without_keys_no_money_moves() {
    bolero::check!().with_type::<Vec<(u8, u8, u8, u8, Vec<u8>)>>().for_each(|commands| {
        let mut card = template().lock().unwrap().copy();
        card.select(Interface::Contact, PURSE);
        for (class, ins, p1, p2, data) in commands.iter().take(20) {
            let cla = [0x00, 0x04, 0x80, 0x84][usize::from(class % 4)];
            const KNOWN: [u8; 16] = [
                0x50, 0x52, 0x54, 0x58, 0x5A, 0x5C, 0x5E, 0xDC, 0xE2, 0x1E, 0x18, 0x16, 0x20, 0x24, 0xB2,
                0x84,
            ];
            let ins = if ins % 4 == 0 { *ins } else { KNOWN[usize::from(ins % 16)] };
            let data = &data[..data.len().min(255)];
            let command = CommandApdu::new(cla, ins, p1 % 6, p2 % 3).with_data(data).with_any_response();
            card.card.transmit(Interface::Contact, &command.to_bytes().unwrap());
        }
        if reselect(&mut card, PURSE) == OK {
            assert_eq!(balance(&mut card), 1300);
            assert_eq!(counters(&mut card), (7, 9));
        }
    });
}

#[test]
fn raw_bytes_never_break_the_card() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut card = template().lock().unwrap().copy();
        card.select(Interface::Contact, PURSE);
        let answer = card.card.transmit(Interface::Contact, bytes);
        assert!(answer.len() >= 2);
    });
}
