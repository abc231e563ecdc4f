//! A hostile card, or a hostile phone in front of an honest one: nothing that is not the card's own
//! word is believed.

use proptest::prelude::*;
use tsm_card::channel::{CardChannel, ChannelError};
use tsm_card::delete::{Deleted, Deletion, delete};
use tsm_card::observe::{ObservationScope, observe};
use tsm_card::purse::{CreditOutcome, LoadPurpose, credit, initialise};
use tsm_card::{ProcedureError, Script, Step, open_channel};
use tsm_epurse::{Amount, DateTime, KeyIndex, KeyRole, TerminalNumber};
use tsm_iso7816::{ResponseApdu, StatusWord};
use tsm_keys::SessionError;

use crate::support::*;

/// What a phone does to the list of responses of the exchange number `at`.
struct Phone<C, F> {
    channel: C,
    at: usize,
    exchange: usize,
    change: F,
}

impl<C, F> Phone<C, F> {
    fn new(channel: C, at: usize, change: F) -> Self {
        Self { channel, at, exchange: 0, change }
    }
}

impl<C, F> CardChannel for Phone<C, F>
where
    C: CardChannel,
    F: FnMut(&[Step], &mut Vec<ResponseApdu>) + Send,
{
    async fn exchange(&mut self, steps: Vec<Step>) -> Result<Vec<ResponseApdu>, ChannelError> {
        let mut responses = self.channel.exchange(steps.clone()).await?;
        if self.exchange == self.at {
            (self.change)(&steps, &mut responses);
        }
        self.exchange += 1;
        Ok(responses)
    }
}

fn opened() -> World {
    let world = World::new();
    run(world.open_card(&mut world.card.channel())).unwrap();
    world.card.restart();
    world
}

fn observe_through(
    world: &World,
    at: usize,
    change: impl FnMut(&[Step], &mut Vec<ResponseApdu>) + Send,
) -> Result<tsm_card::observe::Observation, ProcedureError> {
    run(world.observe_card(&mut Phone::new(world.card.channel(), at, change)))
}

/// req: P-5.8.9.1.b
#[test]
fn a_card_that_does_not_hold_the_keys_is_told_nothing() {
    let world = opened();
    let result = observe_through(&world, 0, |_, responses| responses[1].data[20] ^= 1);
    assert!(matches!(result, Err(ProcedureError::Session(_))), "{result:?}");
}

/// The recorded answers of an earlier session, played again.
#[test]
fn a_replayed_session_is_refused() {
    let world = opened();
    let mut recorded = Vec::new();
    observe_through(&world, 0, |_, responses| recorded.clone_from(responses)).unwrap();
    let replayed = observe_through(&world, 0, |_, responses| responses.clone_from(&recorded));
    assert!(matches!(replayed, Err(ProcedureError::Session(SessionError::CardCryptogram))), "{replayed:?}");

    let mut list = Vec::new();
    observe_through(&world, 1, |_, responses| list.clone_from(responses)).unwrap();
    let replayed = observe_through(&world, 1, |_, responses| responses.clone_from(&list));
    assert!(
        matches!(replayed, Err(ProcedureError::Session(SessionError::ResponseMac { .. }))),
        "{replayed:?}"
    );
}

/// req: P-5.8.9.1.c
#[test]
fn every_byte_of_a_proven_observation_counts() {
    let world = opened();
    let honest = run(world.observe_card(&mut world.card.channel())).unwrap();
    let mut lengths = Vec::new();
    observe_through(&world, 1, |_, responses| {
        lengths = responses.iter().map(|response| response.data.len()).collect();
    })
    .unwrap();
    for (index, length) in lengths.into_iter().enumerate() {
        for byte in (0..length).step_by(7) {
            let changed = observe_through(&world, 1, |_, responses| responses[index].data[byte] ^= 0x40);
            assert!(changed.is_err(), "response {index}, byte {byte}");
        }
        // An answer taken away, cut, lengthened, or replaced by a bare 9000.
        let bare = observe_through(&world, 1, |_, responses| {
            if !responses[index].data.is_empty() {
                responses[index] = ResponseApdu::success([]);
            }
        });
        assert!(bare.is_err() || bare.unwrap() == honest, "response {index}");
        let long = observe_through(&world, 1, |_, responses| responses[index].data.push(0));
        assert!(long.is_err() || index == 0, "response {index}");
        let cut = observe_through(&world, 1, |_, responses| responses.truncate(index));
        assert!(matches!(cut, Err(ProcedureError::Channel(_))));
    }
}

/// A phone may hide an empty-looking registry behind 6A88; the hint is marked as one.
#[test]
fn a_forged_nothing_found_is_a_hint_and_never_a_proof() {
    let world = opened();
    let forged = observe_through(&world, 1, |steps, responses| {
        for (step, response) in steps.iter().zip(responses) {
            if step.to_apdu().ins == 0xF2 && step.expected().accepts(StatusWord::REFERENCED_DATA_NOT_FOUND) {
                *response = ResponseApdu::new([], StatusWord::REFERENCED_DATA_NOT_FOUND);
            }
        }
    });
    if let Ok(forged) = forged {
        assert!(!forged.proves_absence(&PURSE), "an error status word carries no MAC");
    }
}

/// req: P-5.8.9.1.a
#[test]
fn a_forged_deletion_is_not_believed() {
    let world = opened();
    // The phone drops DELETE and says 9000, or says 6A88.
    for (status, data) in [
        (StatusWord::SUCCESS, vec![0]),
        (StatusWord::SUCCESS, vec![]),
        (StatusWord::REFERENCED_DATA_NOT_FOUND, vec![]),
    ] {
        let forge = |_: &[Step], responses: &mut Vec<ResponseApdu>| {
            let last = responses.last_mut().unwrap();
            *last = ResponseApdu::new(data.clone(), status);
        };
        let card = &mut Phone::new(DropsDelete(world.card.channel()), 1, forge);
        let outcome = run(async {
            let mut script = Script::new();
            let mut channel = open_channel(card, &world.operator, &world.isd, &mut script).await?;
            delete(card, &mut channel, &[Deletion::object(PURSE)], script).await
        });
        match outcome {
            Ok(deleted) => assert_eq!(deleted, [Deleted::SaidToBeAbsent], "{status}"),
            Err(error) => assert!(matches!(error, ProcedureError::Session(_)), "{error:?}"),
        }
        world.card.restart();
        assert!(run(world.observe_card(&mut world.card.channel())).unwrap().application(&PURSE).is_some());
    }
}

/// Answers DELETE itself, without the card.
struct DropsDelete<C>(C);

impl<C: CardChannel> CardChannel for DropsDelete<C> {
    async fn exchange(&mut self, steps: Vec<Step>) -> Result<Vec<ResponseApdu>, ChannelError> {
        let count = steps.len();
        let kept: Vec<Step> = steps.into_iter().filter(|step| step.to_apdu().ins != 0xE4).collect();
        let mut responses = self.0.exchange(kept).await?;
        responses.resize(count, ResponseApdu::success([]));
        Ok(responses)
    }
}

fn purpose(attempt: u8) -> LoadPurpose {
    LoadPurpose {
        key_index: KeyIndex::FIRST,
        amount: Amount::from_fen(5000),
        terminal: TerminalNumber::new([0x09, 0x99, 0, 0, 0, attempt]),
    }
}

#[test]
fn a_forged_replayed_or_inflated_load_answer_gets_no_mac2() {
    let world = opened();
    let (load, tac) = (world.purse_key(KeyRole::Load), world.purse_key(KeyRole::Tac));
    let at = DateTime::from_bytes([0x20, 0x26, 0x11, 0x21, 0x09, 0x45, 0x00]);
    let mut old = Vec::new();
    let card = &mut Phone::new(world.card.channel(), 0, |_: &[Step], responses: &mut Vec<ResponseApdu>| {
        old.clone_from(responses);
    });
    run(initialise(card, &world.provider, &load, PURSE, purpose(1))).unwrap();

    for byte in 0..16 {
        let card =
            &mut Phone::new(world.card.channel(), 0, |_: &[Step], responses: &mut Vec<ResponseApdu>| {
                responses[1].data[byte] ^= 1;
            });
        let refused = run(initialise(card, &world.provider, &load, PURSE, purpose(2)));
        // The key version is the card's own affair and stands under no MAC; everything else counts.
        assert!(refused.is_err() || byte == 6, "byte {byte}");
    }
    let card = &mut Phone::new(world.card.channel(), 0, |_: &[Step], responses: &mut Vec<ResponseApdu>| {
        responses.clone_from(&old);
    });
    let replayed = run(initialise(card, &world.provider, &load, PURSE, purpose(3)));
    assert!(matches!(replayed, Err(ProcedureError::Key(_))), "an old answer to a new terminal number");

    // A phone that withholds MAC2 and says that the card credited.
    let card = &mut world.card.channel();
    let attempt = run(initialise(card, &world.provider, &load, PURSE, purpose(4))).unwrap();
    for forged in [vec![], vec![0; 4], vec![1, 2, 3, 4], vec![0; 40]] {
        let card = &mut Withholds(forged);
        let outcome = run(credit(card, &world.provider, &load, &tac, &attempt, at)).unwrap();
        assert_eq!(outcome, CreditOutcome::Unproven);
    }
}

/// Never reaches the card; answers everything with these data and 9000.
struct Withholds(Vec<u8>);

impl CardChannel for Withholds {
    async fn exchange(&mut self, steps: Vec<Step>) -> Result<Vec<ResponseApdu>, ChannelError> {
        Ok(steps.iter().map(|_| ResponseApdu::success(self.0.clone())).collect())
    }
}

/// Answers with whatever it was told, in turn.
struct Scripted(Vec<(Vec<u8>, u16)>);

impl CardChannel for Scripted {
    async fn exchange(&mut self, steps: Vec<Step>) -> Result<Vec<ResponseApdu>, ChannelError> {
        let mut answers = self.0.iter().cycle();
        Ok(steps
            .iter()
            .map(|_| {
                let (data, status) = answers.next().unwrap();
                ResponseApdu::new(data.clone(), StatusWord(*status))
            })
            .collect())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Random, short, long and contradictory answers end every procedure with an error.
    #[test]
    fn random_answers_are_refused(
        answers in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..300), prop_oneof![Just(0x9000u16), any::<u16>()]),
            1..6,
        ),
    ) {
        let world = World::new();
        let card = &mut Scripted(answers.clone());
        prop_assert!(run(world.open_card(card)).is_err());
        prop_assert!(run(world.observe_card(card)).is_err());
        let load = world.purse_key(KeyRole::Load);
        prop_assert!(run(initialise(card, &world.provider, &load, PURSE, purpose(1))).is_err());
    }

    /// An honest handshake, then one answer of the proven list replaced by random bytes.
    #[test]
    fn a_random_answer_inside_a_session_is_refused(
        index in 1usize..4,
        data in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let world = World::new();
        let result = observe_through(&world, 1, |_, responses| responses[index].data = data.clone());
        prop_assert!(result.is_err());
    }
}

/// Without R-MAC the phone can say what it likes, and the observation says so.
#[test]
fn an_observation_without_r_mac_is_marked_as_a_hint() {
    let world = opened();
    let level = tsm_globalplatform::security_level::SecurityLevel::C_MAC;
    let session = tsm_keys::SessionRequest { level, ..world.isd.clone() };
    let card = &mut world.card.channel();
    let seen = run(async {
        let mut script = Script::new();
        let mut channel = open_channel(card, &world.operator, &session, &mut script).await?;
        observe(card, &mut channel, ObservationScope::Card, script).await
    })
    .unwrap();
    assert_eq!(seen.applications.trust, tsm_card::observe::Trust::Hint);
    assert!(!seen.proves_absence(&PACKAGE));
}
