//! Table S.1, row by row, and everything it does not allow.

use proptest::prelude::*;

use super::*;
use OpeningNeed::{Needed as Open, NotNeeded as NoOpen};
use PersonalisationNeed::{Needed as Perso, NotNeeded as NoPerso};
use SeState::{Instantiated, Loaded, Locked, Personalized, Ready, Useable};

const HELD: HeldValue = HeldValue::Settled;
const FIRST: DeletionPolicy = DeletionPolicy::UnlockFirst;

fn at(state: SeState, personalisation: PersonalisationNeed, opening: OpeningNeed) -> SeApplication {
    SeApplication { state, ..SeApplication::absent(personalisation, opening) }
}

fn after(application: SeApplication, event: SeEvent) -> (SeState, SeOperation, Vec<u8>) {
    let done =
        application.apply(event).unwrap_or_else(|refusal| panic!("{application:?} {event:?}: {refusal}"));
    (done.application.state, done.operation, done.rows)
}

/// req: P-5.8.7.2.f, P-5.8.7.2.i
#[test]
fn s_1_rows_1_and_2_every_download_passes_loaded_and_instantiated() {
    for (perso, open) in [(Perso, Open), (Perso, NoOpen)] {
        let absent = SeApplication::absent(perso, open);
        assert_eq!(after(absent, SeEvent::AllLoaded), (Loaded, SeOperation::Done, vec![1]));
        assert_eq!(
            after(at(Loaded, perso, open), SeEvent::AllInstancesCreated),
            (Instantiated, SeOperation::Done, vec![2])
        );
    }
    for open in [Open, NoOpen] {
        let instances_first = SeApplication::absent(NoPerso, open).apply(SeEvent::AllInstancesCreated);
        assert!(instances_first.is_err(), "no instance without its load file");
        let passed = after(at(Loaded, NoPerso, open), SeEvent::AllInstancesCreated).2;
        assert_eq!(passed[0], 2, "row 2 leads to Instantiated before rows 3 and 4");
    }
}

/// req: P-5.8.7.2.c, P-5.8.7.2.e, P-5.8.7.2.g
#[test]
fn s_1_rows_3_and_4_without_personalisation() {
    let created = SeEvent::AllInstancesCreated;
    assert_eq!(after(at(Loaded, NoPerso, Open), created), (Personalized, SeOperation::Done, vec![2, 3]));
    assert_eq!(after(at(Loaded, NoPerso, NoOpen), created), (Useable, SeOperation::Done, vec![2, 4]));
}

/// req: P-5.8.7.2.d, P-5.8.7.2.j, P-5.8.7.2.l, P-5.8.7.2.o
#[test]
fn s_1_rows_5_and_6_personalisation_complete() {
    let complete = SeEvent::PersonalisationComplete;
    assert_eq!(after(at(Instantiated, Perso, Open), complete), (Personalized, SeOperation::Done, vec![5]));
    assert_eq!(after(at(Instantiated, Perso, NoOpen), complete), (Useable, SeOperation::Done, vec![6]));
    assert_eq!(at(Instantiated, NoPerso, Open).apply(complete), Err(Refusal::NeedsNoPersonalisation));
}

/// req: P-5.8.7.2.m
#[test]
fn s_1_rows_7_and_8_the_open_notice_or_its_absence() {
    for perso in [Perso, NoPerso] {
        let waiting = at(Personalized, perso, Open);
        assert_eq!(after(waiting, SeEvent::OpenNotice), (Useable, SeOperation::None, vec![7]));
        assert_eq!(after(waiting, SeEvent::OpeningExpired), (Instantiated, SeOperation::None, vec![8]));
    }
    assert_eq!(at(Personalized, Perso, NoOpen).apply(SeEvent::OpenNotice), Err(Refusal::NeedsNoOpening));
}

/// req: P-5.8.7.2.t
#[test]
fn s_1_row_9_the_second_download_only_changes_the_record() {
    let expired = at(Personalized, NoPerso, Open).apply(SeEvent::OpeningExpired).unwrap().application;
    assert_eq!(after(expired, SeEvent::DownloadChosen), (Personalized, SeOperation::None, vec![9]));
    assert!(super::super::shown_in(Instantiated, Open).deletion, "and the user may choose deletion instead");
}

/// req: P-5.8.7.2.k
#[test]
fn s_1_row_10_unsubscribing_sends_no_apdu() {
    for (perso, open) in [(Perso, Open), (Perso, NoOpen), (NoPerso, Open), (NoPerso, NoOpen)] {
        let used = at(Useable, perso, open);
        assert_eq!(after(used, SeEvent::Unsubscribed), (Instantiated, SeOperation::None, vec![10]));
    }
}

/// req: P-5.8.7.2.p
#[test]
fn s_1_rows_11_and_12_only_a_useable_application_is_locked() {
    for state in SeState::ALL {
        let locked = at(state, Perso, NoOpen).apply(SeEvent::Locked);
        assert_eq!(locked.is_ok(), state == Useable, "{state:?}");
    }
    let unlock = SeEvent::Unlocked(Actor::Hall, UnlockPolicy::HallOnly);
    assert_eq!(after(at(Locked, Perso, NoOpen), unlock), (Useable, SeOperation::Done, vec![12]));
}

/// req: P-5.8.4.3.1.b
#[test]
fn s_1_row_12_the_unlock_policy_names_who_may() {
    use UnlockPolicy::{ClientOnly, HallOnly, HallOrClient};
    let cases = [
        (Actor::User, HallOnly, Err(Refusal::UnlockAtHall)),
        (Actor::User, ClientOnly, Ok(())),
        (Actor::User, HallOrClient, Ok(())),
        (Actor::Hall, HallOnly, Ok(())),
        (Actor::Hall, ClientOnly, Err(Refusal::UnlockWithClient)),
        (Actor::Hall, HallOrClient, Ok(())),
    ];
    for (actor, policy, expected) in cases {
        let unlocked = at(Locked, Perso, NoOpen).apply(SeEvent::Unlocked(actor, policy)).map(|_| ());
        assert_eq!(unlocked, expected, "{actor:?} {policy:?}");
    }
}

/// req: P-5.8.7.2.b, P-5.8.7.2.h
#[test]
fn s_1_rows_13_and_14_deletion() {
    for state in [Instantiated, Useable] {
        let there = at(state, Perso, NoOpen);
        let instance = SeEvent::InstanceDeleted(Actor::User, HELD, FIRST);
        let file = SeEvent::FileDeleted(Actor::User, HELD, FIRST);
        assert_eq!(after(there, instance), (Loaded, SeOperation::Done, vec![13]));
        assert_eq!(after(there, file), (Ready, SeOperation::Done, vec![14]));
        assert_eq!(there.apply(file).unwrap().application.perso_on_se, PersoOnSe::None);
        assert_eq!(there.apply(SeEvent::RomFileDeleted), Err(Refusal::RomPreset));
    }
}

/// An application that still holds value is not deleted, and neither is one whose value nobody knows.
///
/// req: B-8.5.3.b
#[test]
fn s_1_rows_13_and_14_value_is_settled_first() {
    for state in [Instantiated, Useable] {
        for deletion in [SeEvent::InstanceDeleted, SeEvent::FileDeleted] {
            let with = |held| at(state, Perso, NoOpen).apply(deletion(Actor::User, held, FIRST)).map(|_| ());
            assert_eq!(with(HeldValue::Unsettled(Fen::new(5))), Err(Refusal::HoldsValue(Fen::new(5))));
            assert_eq!(with(HeldValue::Unknown), Err(Refusal::ValueUnknown));
            assert_eq!(with(HeldValue::Unsettled(Fen::ZERO)), Ok(()));
            assert_eq!(with(HeldValue::None), Ok(()));
        }
    }
}

/// Decisions D-7 and D-9.
#[test]
fn s_1_deletion_from_locked_and_personalized() {
    let policy = DeletionPolicy::WhileLocked;
    let actors = [
        (Actor::User, false, false),
        (Actor::Hall, false, false),
        (Actor::Operator, false, true),
        (Actor::Archive, true, true),
        (Actor::Loss, true, false),
        (Actor::Return, true, false),
        (Actor::Migration, true, false),
    ];
    for (actor, from_locked, from_personalized) in actors {
        let event = SeEvent::FileDeleted(actor, HELD, policy);
        assert_eq!(at(Locked, Perso, Open).apply(event).is_ok(), from_locked, "{actor:?} from Locked");
        assert_eq!(at(Personalized, Perso, Open).apply(event).is_ok(), from_personalized, "{actor:?} from P");
        let strict = SeEvent::FileDeleted(actor, HELD, FIRST);
        assert_eq!(at(Locked, Perso, Open).apply(strict), Err(Refusal::UnlockFirst));
    }
    let unsubscribe_first = SeEvent::FileDeleted(Actor::User, HELD, FIRST);
    assert_eq!(at(Useable, Perso, Open).apply(unsubscribe_first), Err(Refusal::UnsubscribeFirst));
}

#[test]
fn s_1_row_15_residue() {
    assert_eq!(after(at(Loaded, Perso, Open), SeEvent::ResidueDeleted), (Ready, SeOperation::Done, vec![15]));
    assert_eq!(after(at(Ready, Perso, Open), SeEvent::ResidueDeleted), (Ready, SeOperation::Done, vec![15]));
    assert!(at(Useable, Perso, Open).apply(SeEvent::ResidueDeleted).is_err());
}

#[test]
fn s_1_rows_16_and_17_an_interrupted_download_stays_and_resumes() {
    for state in [Ready, Loaded, Instantiated] {
        let broken = at(state, Perso, NoOpen);
        assert_eq!(after(broken, SeEvent::DownloadInterrupted).0, state);
    }
    let missing = SeOperation::MissingStepsOnly;
    for state in [Loaded, Instantiated] {
        assert_eq!(after(at(state, Perso, NoOpen), SeEvent::DownloadChosen), (state, missing, vec![17]));
    }
    let nothing_missing = at(Instantiated, NoPerso, NoOpen);
    assert_eq!(after(nothing_missing, SeEvent::DownloadChosen), (Useable, SeOperation::None, vec![17]));
}

#[test]
fn s_1_row_18_preset_applications() {
    assert_eq!(after(at(Ready, Perso, Open), SeEvent::FoundPreset(Preset::Code)).0, Loaded);
    assert_eq!(after(at(Ready, Perso, Open), SeEvent::FoundPreset(Preset::Instances)).0, Instantiated);
    let whole = after(at(Ready, NoPerso, NoOpen), SeEvent::FoundPreset(Preset::Instances));
    assert_eq!((whole.0, whole.2), (Useable, vec![18, 4]));
}

#[test]
fn s_1_row_19_the_card_is_believed() {
    let repaired = at(Useable, Perso, NoOpen).reconciled(Ready, PersoOnSe::None);
    assert_eq!((repaired.before.state, repaired.after.state), (Useable, Ready));
}

/// Decision D-28: an application that was personalised once is personalised anew.
#[test]
fn d_28_old_personalisation_becomes_void() {
    let open = at(Instantiated, Perso, Open);
    let begun = open.apply(SeEvent::PersonalisationBegun(HeldValue::None)).unwrap().application;
    assert_eq!((begun.state, begun.perso_on_se), (Instantiated, PersoOnSe::Partial));
    let complete = begun.apply(SeEvent::PersonalisationComplete).unwrap().application;
    assert_eq!(complete.perso_on_se, PersoOnSe::Complete);
    let expired = complete.apply(SeEvent::OpeningExpired).unwrap().application;
    assert_eq!((expired.state, expired.perso_on_se), (Instantiated, PersoOnSe::Void));
    let unread = expired.apply(SeEvent::PersonalisationBegun(HeldValue::Unknown));
    assert_eq!(unread, Err(Refusal::ValueUnknown), "the purse is checked and settled first");
}

fn any_event() -> impl Strategy<Value = SeEvent> {
    let actor = prop::sample::select(vec![
        Actor::User,
        Actor::Hall,
        Actor::Operator,
        Actor::Archive,
        Actor::Loss,
        Actor::Return,
        Actor::Migration,
    ]);
    let held = prop::sample::select(vec![
        HeldValue::None,
        HeldValue::Settled,
        HeldValue::Unsettled(Fen::new(1)),
        HeldValue::Unknown,
    ]);
    let deletion = prop::sample::select(vec![DeletionPolicy::UnlockFirst, DeletionPolicy::WhileLocked]);
    let unlock = prop::sample::select(vec![
        UnlockPolicy::HallOnly,
        UnlockPolicy::ClientOnly,
        UnlockPolicy::HallOrClient,
    ]);
    (0..18u8, actor, held, deletion, unlock).prop_map(|(which, actor, held, deletion, unlock)| match which {
        0 => SeEvent::AllLoaded,
        1 | 2 => SeEvent::AllInstancesCreated,
        3 => SeEvent::PersonalisationBegun(held),
        4 | 5 => SeEvent::PersonalisationComplete,
        6 => SeEvent::OpenNotice,
        7 => SeEvent::OpeningExpired,
        8 => SeEvent::DownloadChosen,
        9 => SeEvent::Unsubscribed,
        10 => SeEvent::Locked,
        11 => SeEvent::Unlocked(actor, unlock),
        12 => SeEvent::InstanceDeleted(actor, held, deletion),
        13 => SeEvent::FileDeleted(actor, held, deletion),
        14 => SeEvent::RomFileDeleted,
        15 => SeEvent::ResidueDeleted,
        16 => SeEvent::DownloadInterrupted,
        _ => SeEvent::FoundPreset(Preset::Code),
    })
}

proptest! {
    /// The pairs (state, state) that table S.1 has are the only ones that any history of events takes.
    #[test]
    fn s_1_no_history_leaves_the_table(
        events in prop::collection::vec(any_event(), 0..60),
        needs in (any::<bool>(), any::<bool>()),
    ) {
        let allowed = [
            (Ready, Loaded), (Ready, Instantiated), (Loaded, Instantiated), (Loaded, Personalized),
            (Loaded, Useable), (Instantiated, Personalized), (Instantiated, Useable), (Personalized, Useable),
            (Personalized, Instantiated), (Useable, Instantiated), (Useable, Locked), (Locked, Useable),
            (Instantiated, Loaded), (Useable, Loaded), (Instantiated, Ready), (Useable, Ready), (Loaded, Ready),
            (Personalized, Loaded), (Personalized, Ready), (Locked, Loaded), (Locked, Ready),
        ];
        let mut application = SeApplication::absent(
            if needs.0 { Perso } else { NoPerso },
            if needs.1 { Open } else { NoOpen },
        );
        for event in events {
            let Ok(done) = application.apply(event) else { continue };
            let step = (application.state, done.application.state);
            prop_assert!(step.0 == step.1 || allowed.contains(&step), "{step:?} by {event:?}");
            if done.application.state == Personalized {
                prop_assert_eq!(done.application.opening, Open);
            }
            application = done.application;
        }
    }
}
