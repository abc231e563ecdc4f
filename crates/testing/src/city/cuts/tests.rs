//! The enumerator itself: it names its places, its share finds nothing, and a bug is found.

use super::sweep::{self, Sweep};
use super::*;
use crate::city::planted::Plant;

/// One place in so many is tried here; `cargo xtask city cuts` tries all of them.
const SHARE: usize = 47;

/// Places at which something was once not in order: a cancelled opening that stayed open, a hand-over that nobody
/// settled, the word of a deletion that was lost, a notice that was refused for ever, an arrival that was given up
/// and of which nobody could prove that it left nothing.
const MENDED: [(Flow, &str, Next); 10] = [
    (Flow::Open, "apdu:9:phone-before", Next::Cancel),
    (Flow::Open, "apdu:29:phone-before", Next::Cancel),
    (Flow::Open, "apdu:39:phone-before", Next::Cancel),
    (Flow::Open, "message:8:request-truncated", Next::Continue),
    (Flow::Open, "commit:sp-tsm:7:before", Next::Cancel),
    (Flow::Open, "commit:sp-tsm:8:before", Next::Continue),
    (Flow::ReturnParked, "commit:sp-tsm:10:after", Next::Continue),
    (Flow::MigrateOut, "message:7:reply-dropped", Next::Cancel),
    (Flow::HallArrive, "apdu:25:phone-before", Next::Cancel),
    (Flow::HallArrive, "apdu:27:command-lost", Next::Cancel),
];

#[test]
fn what_was_mended_stays_so() {
    for (flow, point, next) in MENDED {
        let cut = Cut { flow, points: vec![point.parse().unwrap()], next, planted: None };
        let tried = try_cut(&cut);
        assert!(tried.fired, "{point} of {flow:?} is no place any more");
        if let Some(failure) = tried.failure {
            panic!("{}", sweep::story(&cut, &failure));
        }
    }
}

#[test]
fn places_have_names_that_lead_back() {
    let counted = Counted {
        commands: 2,
        writes: 2,
        messages: vec!["one".into(), "two".into()],
        commits: [1, 2, 0, 1],
        wallet: 3,
    };
    let places = sweep::places(Flow::Ride, &counted);
    assert_eq!(places.len(), 2 * 4 + 2 + 2 * 8 + 4 * 2 + 3 * 2 + 6);
    for place in places {
        assert_eq!(place.to_string().parse(), Ok(place));
    }
    assert!("message:3".parse::<Point>().is_err());
}

/// Whatever breaks, wherever: after one next contact everything is settled and everybody knows it.
///
/// req: W-9.3.b, W-9.3.d
#[test]
fn a_share_of_all_places_converges_by_the_next_contact() {
    let sweep = Sweep { every: SHARE, double: 12, threads: 2, ..Sweep::default() };
    let swept = sweep::run(&sweep, |cut, failure| eprintln!("{}", sweep::story(cut, failure)));
    let numbers = swept.numbers();
    assert_eq!((numbers.failed, swept.broken), (0, Vec::new()));
    assert!(numbers.cuts > 80, "{numbers:?}");
}

/// A payment that is given back because its top-up takes long does no harm while nothing breaks; a phone that
/// dies at the right command shows it.
#[test]
fn a_refund_on_a_timeout_is_found_at_a_place() {
    let commands = count(Flow::TopUp).unwrap().commands;
    let planted = Some(Plant::RefundOnTimeout);
    let cut = |points| Cut { flow: Flow::TopUp, points, next: Next::Continue, planted };
    assert!(try_cut(&cut(Vec::new())).failure.is_none(), "it hides while nothing breaks");
    let places = (0..commands).map(|number| Point::Command(number, CommandFault::PhoneAfter));
    let mut tried = places.map(|place| try_cut(&cut(vec![place])));
    let found = tried.find_map(|tried| Some((tried.cut, tried.failure?)));
    let (cut, failure) = found.expect("a place finds it");
    let told = sweep::story(&cut, &failure);
    assert!(told.contains("again: cargo xtask city cuts --flow top-up --point apdu:"), "{told}");
}
