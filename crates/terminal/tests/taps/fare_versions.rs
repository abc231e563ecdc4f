//! Fare tables from the centre: learnt, fetched, verified, kept, and in force from their own time on, online or not;
//! and what a gate does whose fares are out of date.

use jiff::Timestamp;
use tsm_api::{
    clearing::fares::{FaresError, PublishedFares, SignedFares},
    pki::SigningIdentity,
    signature::{MessageSigner as _, MessageVerifier, SoftwareSigner},
};
use tsm_domain::{
    amount::Fen,
    bytes::Sha256Digest,
    money::fare::{FareBook, FareHead, FareRule, FareTable},
};
use tsm_terminal::{
    FileStore, Gate, Passage, Receipt, Refusal, RootKeys, Terminal, TerminalClass, TerminalState,
    centre_fares::{CentreFares, FaresUpdateError},
    state::Limits,
    store::{Cut, MemoryMedium, OnLoss, Opened, Remark, StoreKey},
};

use crate::{
    FARE_FEN, at, fen, gate_profile,
    hostile::refused,
    phone::{Field, Phone},
    pos, psam_profile, root_keys, terminal,
};

type StoredGate = Gate<RootKeys, FileStore<MemoryMedium>>;

struct Publisher {
    signer: SoftwareSigner,
    centre: MessageVerifier,
}

impl Publisher {
    fn new() -> Self {
        let signer = SigningIdentity::generate().unwrap().signer().unwrap();
        let centre = MessageVerifier::from_point(signer.public_key().as_bytes()).unwrap();
        Self { signer, centre }
    }

    fn publish(&self, version: u32, price: u32, from: &str, until: Option<&str>) -> PublishedFares {
        let table = FareTable::new(version, FareRule::Flat(Fen::new(price.into()))).unwrap();
        let text = serde_json::to_string(&table).unwrap();
        let digest = Sha256Digest::of(text.as_bytes());
        let valid_until = until.map(moment);
        let head = FareHead { version, valid_from: moment(from), valid_until, digest };
        let signature = self.signer.sign(&SignedFares::signed_bytes("METRO", &head));
        let head = SignedFares {
            operator: "METRO".into(),
            version,
            valid_from: head.valid_from,
            valid_until,
            digest: digest.0.to_vec().into(),
            signature: signature.to_vec().into(),
        };
        PublishedFares { head, text }
    }
}

/// The tests' day, in the time of China.
fn moment(clock: &str) -> Timestamp {
    format!("2026-03-14T{clock}:00+08:00").parse().unwrap()
}

fn opened(medium: &MemoryMedium, number: u8) -> Opened<MemoryMedium> {
    let terminal = psam_profile(number).terminal;
    FileStore::open(medium.clone(), StoreKey::new([0x5A; 32]), terminal, OnLoss::Refuse).unwrap()
}

/// A gate with what its store kept, as after each start.
fn gate(medium: &MemoryMedium, station: u16, number: u8) -> StoredGate {
    let Opened { store, state, fares, .. } = opened(medium, number);
    let (class, profile) = (TerminalClass::A, psam_profile(number));
    let terminal = Terminal::start(class, profile, root_keys(), state, store, Limits::default()).unwrap();
    let book: FareBook = fares.unwrap_or_default();
    Gate::new(gate_profile(station), terminal.with_fares(CentreFares { operator: "METRO".into(), book }))
}

fn learn(gate: &mut StoredGate, publisher: &Publisher, fares: &[PublishedFares], fetch: bool) -> Vec<u32> {
    let heads: Vec<_> = fares.iter().map(|one| one.head.clone()).collect();
    let now = moment("06:00");
    let terminal = gate.terminal_mut();
    let wanted = terminal.announce_fares(&heads, &publisher.centre, now).unwrap();
    for one in fares.iter().filter(|one| fetch && wanted.contains(&one.head.version)) {
        terminal.take_fares(one, &publisher.centre, now).unwrap();
    }
    wanted
}

/// Both versions are there long before; each trip costs what the table of its time says, and its record names it.
#[test]
fn a_gate_switches_at_the_time_that_was_published() {
    let publisher = Publisher::new();
    let fares = [publisher.publish(8, 250, "09:00", None), publisher.publish(9, 350, "10:00", None)];
    let (entry, exit) = (MemoryMedium::default(), MemoryMedium::default());
    for (medium, station, number) in [(&entry, 1, 0x11), (&exit, 9, 0x91)] {
        let mut gate = gate(medium, station, number);
        assert_eq!(learn(&mut gate, &publisher, &fares, true), [8, 9]);
        assert_eq!(learn(&mut gate, &publisher, &fares, true), [0; 0], "nothing is fetched twice");
    }
    let mut phone = Phone::new();
    let trips = [(8, 7, FARE_FEN), (9, 8, 250), (10, 9, 350), (11, 9, 350)];
    for (hour, version, price) in trips {
        // The gates are started again each time, and hear nothing more of the centre.
        let (mut entry, mut exit) = (gate(&entry, 1, 0x11), gate(&exit, 9, 0x91));
        entry.enter(&mut Field::of(&mut phone, None), at(hour, 0, 0)).unwrap();
        let left = exit.leave(&mut Field::of(&mut phone, None), at(hour, 30, 0)).unwrap();
        assert!(matches!(left, Passage::Left { fare, .. } if fare == fen(price)), "{hour}: {left:?}");
        for gate in [&entry, &exit] {
            assert_eq!(gate.terminal().state().records().last().unwrap().fare_version, version);
        }
    }
    let book = gate(&exit, 9, 0x91).terminal().fare_book().cloned().unwrap();
    assert_eq!(book.highest_held(), 9);
}

/// A version that has ended, and one that was told and never came: nobody is let in, and whoever is inside gets out
/// for what the last table says. The next version opens the gate again.
#[test]
fn a_gate_whose_fares_are_out_of_date_lets_nobody_in() {
    let publisher = Publisher::new();
    let fares = [publisher.publish(8, 250, "07:00", Some("09:00")), publisher.publish(9, 350, "10:00", None)];
    let (entry, exit) = (MemoryMedium::default(), MemoryMedium::default());
    for (medium, station, number) in [(&entry, 1, 0x11), (&exit, 9, 0x91)] {
        let mut gate = gate(medium, station, number);
        learn(&mut gate, &publisher, &fares[..1], true);
        learn(&mut gate, &publisher, &fares, false);
    }
    for (entered, left, due) in [((8, 50), (9, 10), 8), ((8, 55), (10, 10), 9)] {
        let mut phone = Phone::new();
        let mut inside = gate(&entry, 1, 0x11);
        inside.enter(&mut Field::of(&mut phone, None), at(entered.0, entered.1, 0)).unwrap();
        let mut other = Phone::new();
        let now = at(left.0, left.1, 0);
        let refusal = refused(inside.enter(&mut Field::of(&mut other, None), now));
        assert_eq!(refusal, Refusal::FaresOutOfDate { due });
        let mut exit = gate(&exit, 9, 0x91);
        let out = exit.leave(&mut Field::of(&mut phone, None), now).unwrap();
        assert!(matches!(out, Passage::Left { fare, .. } if fare == fen(250)), "{out:?}");
        assert_eq!(exit.terminal().state().records().last().unwrap().fare_version, 8);
    }
    let mut inside = gate(&entry, 1, 0x11);
    assert_eq!(inside.terminal().fare_version(moment("10:10")), 0);
    assert_eq!(learn(&mut inside, &publisher, &fares, true), [9]);
    let mut phone = Phone::new();
    inside.enter(&mut Field::of(&mut phone, None), at(10, 20, 0)).unwrap();
    assert_eq!(inside.terminal().fare_version(moment("10:20")), 9);
}

/// A bus takes the centre's fare of its time, before the first version the one that it was installed with, and nobody
/// while its fares are out of date.
#[test]
fn a_bus_charges_by_the_version_in_force() {
    let publisher = Publisher::new();
    let installed = FareTable::new(1, FareRule::Flat(Fen::new(200))).unwrap();
    let mut bus = pos(TerminalClass::B, 0x21);
    let fares = CentreFares { operator: "METRO".into(), book: FareBook::default() };
    let inside = bus.terminal_mut();
    *inside = terminal(TerminalClass::B, 0x21, TerminalState::default()).with_fares(fares);
    let fares = publisher.publish(8, 250, "09:00", Some("10:00"));
    inside.announce_fares(std::slice::from_ref(&fares.head), &publisher.centre, moment("06:00")).unwrap();
    inside.take_fares(&fares, &publisher.centre, moment("06:00")).unwrap();
    let mut phone = Phone::new();
    for (hour, version, price) in [(8, 1, 200), (9, 8, 250)] {
        let paid = bus.ride(&mut Field::of(&mut phone, None), &installed, at(hour, 30, 0)).unwrap();
        let (Receipt::Paid(record), Some(fare)) = paid else { panic!("{hour}: {paid:?}") };
        assert_eq!((record.amount_fen, record.fare_version), (price, version));
        assert_eq!(fare.amount, Fen::new(price.into()));
    }
    let late = bus.ride(&mut Field::of(&mut phone, None), &installed, at(10, 30, 0));
    assert_eq!(refused(late), Refusal::FaresOutOfDate { due: 8 });
}

/// Forged heads, changed tables, another operator's fares: none is taken, and what was in force stays. A power
/// failure at any write leaves the old versions or the new ones, and a damaged file is noticed.
#[test]
fn a_gate_takes_and_keeps_what_the_centre_signed() {
    let publisher = Publisher::new();
    let medium = MemoryMedium::default();
    let first = publisher.publish(8, 250, "07:00", None);
    learn(&mut gate(&medium, 1, 0x11), &publisher, std::slice::from_ref(&first), true);
    let now = moment("07:30");
    let kept = gate(&medium, 1, 0x11).terminal().fare_book().cloned().unwrap();
    let second = publisher.publish(9, 350, "08:00", None);
    let stranger = Publisher::new().publish(9, 1, "08:00", None);
    let cheaper = PublishedFares { text: second.text.replace("350", "1"), ..second.clone() };
    let mut sooner = second.clone();
    sooner.head.valid_from = moment("07:00");
    for forged in [&stranger, &cheaper, &sooner] {
        let mut gate = gate(&medium, 1, 0x11);
        let error = gate.terminal_mut().take_fares(forged, &publisher.centre, now).unwrap_err();
        let of = matches!(error, FaresUpdateError::Fares(FaresError::Signature(_) | FaresError::Digest));
        assert!(of, "{error}");
        assert_eq!(gate.terminal().fare_book(), Some(&kept));
    }
    let terminal = gate(&medium, 1, 0x11);
    let foreign = CentreFares { operator: "BUS".into(), book: FareBook::default() };
    let Opened { store, state, .. } = opened(&medium, 0x11);
    let profile = psam_profile(0x11);
    let bus = Terminal::start(TerminalClass::A, profile, root_keys(), state, store, Limits::default());
    let refused = bus.unwrap().with_fares(foreign).take_fares(&second, &publisher.centre, now).unwrap_err();
    assert!(matches!(refused, FaresUpdateError::Fares(FaresError::Operator { .. })), "{refused}");
    drop(terminal);

    let mut outcomes = [0, 0];
    for write in 0..3 {
        for torn in [0, 10] {
            let mut gate_now = gate(&medium, 1, 0x11);
            medium.cut(Cut { at: medium.writes() + write, torn });
            let taken = gate_now.terminal_mut().take_fares(&second, &publisher.centre, now);
            medium.restart();
            let held = gate(&medium, 1, 0x11).terminal().fare_book().unwrap().highest_held();
            assert!(held == 8 || held == 9);
            assert!(taken.is_err() || held == 9, "what was taken is kept");
            outcomes[usize::from(held == 9)] += 1;
        }
    }
    assert!(outcomes[0] > 0 && outcomes[1] > 0, "{outcomes:?}");
    let mut damaged = medium.file("fares").unwrap();
    let last = damaged.len() - 3;
    damaged[last] ^= 1;
    medium.put("fares", Some(damaged));
    let opened = opened(&medium, 0x11);
    assert_eq!((opened.remarks, opened.fares), (vec![Remark::FaresDamaged], None));
}
