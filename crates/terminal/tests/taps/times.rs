//! The typical transaction time of every kind of tap (DB11/T 159.6, 3.9), measured on the software secure
//! element and modelled for the air and for a real card. Run with `--nocapture` to see the table.

use std::time::{Duration, Instant};

use tsm_epurse::commands::PurchaseKind;
use tsm_terminal::{
    TerminalClass,
    timing::{BitRate, Meter, PURCHASE_TARGET, SignalInterface, Tally},
};

use crate::{
    at, fen, gate,
    phone::{Field, Phone},
    pos,
};

fn measured(
    phone: &mut Phone,
    tap: impl FnOnce(
        &mut dyn FnMut(
            &tsm_iso7816::CommandApdu,
        ) -> Result<tsm_iso7816::ResponseApdu, tsm_terminal::ReaderError>,
    ),
) -> Tally {
    let begin = Instant::now();
    let mut meter = Meter::new(Field::of(phone, None), || begin.elapsed());
    tap(&mut |command| tsm_terminal::CardReader::transmit(&mut meter, command));
    meter.take()
}

/// From the card being found to its last answer: everything exchanged, the card's computing included,
/// the terminal's own work and its PSAM left out.
///
/// req: B-3.9.a, B-7.3.2.a
#[test]
fn typical_transaction_times() {
    let mut phone = Phone::new();
    let (mut first, mut last, mut shop) = (gate(1, 0x11), gate(9, 0x91), pos(TerminalClass::A, 0x21));
    let entry = measured(&mut phone, |reader| {
        first.enter(&mut |command: &_| reader(command), at(8, 0, 0)).unwrap();
    });
    let exit = measured(&mut phone, |reader| {
        last.leave(&mut |command: &_| reader(command), at(8, 30, 0)).unwrap();
    });
    let mut sale = |kind, minute| {
        measured(&mut phone, |reader| {
            shop.sell(&mut |command: &_| reader(command), kind, fen(100), at(9, minute, 0)).unwrap();
        })
    };
    let simple = sale(PurchaseKind::Simple, 0);
    let composite = sale(PurchaseKind::Composite, 1);

    println!(
        "tap        commands bytes  soft card   air 106 kbit/s  air 424 kbit/s  real card, in all at 106"
    );
    for (name, tally, commands) in
        [("entry", &entry, 7), ("exit", &exit, 7), ("purchase", &simple, 4), ("composite", &composite, 5)]
    {
        assert_eq!(tally.commands(), commands, "{name}");
        assert!(tally.card_time() > Duration::ZERO, "{name} is measured");
        let air = tally.air_time(SignalInterface::A, BitRate::Kbit106);
        let faster = tally.air_time(SignalInterface::A, BitRate::Kbit424);
        let real = tally.transaction_time(SignalInterface::B, BitRate::Kbit106, tally.published_card_time());
        println!(
            "{name:<10} {commands:>8} {:>5} {:>10.1?} {air:>15.1?} {faster:>15.1?} {real:>15.1?}",
            tally.bytes(),
            tally.card_time(),
        );
        assert!(faster < air);
        assert!(real <= PURCHASE_TARGET, "{name}: {real:?} is beyond the target");
    }
}
