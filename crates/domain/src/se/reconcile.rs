//! Bringing the record and the card together (S.1 row 19, D-42). The card is believed; each difference
//! is an incident that someone can look at.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tsm_iso7816::Aid;

use super::inventory::{Inventory, MirrorEntry, MirrorKind};
use crate::application::Application;
use crate::se_application::{PersoOnSe, SeApplication, SeState};

/// How much of an application a registry shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Presence {
    /// Nothing of it.
    Absent,
    /// Some load files, or some instances without the rest: residue.
    Partial,
    /// All load files and no instance.
    Loaded,
    /// All load files and all instances.
    Instantiated,
    /// All of it, and every instance is locked.
    Locked,
}

/// One difference between record and card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Difference {
    /// The card has something the record does not.
    OnlyOnCard(MirrorEntry),
    /// The record has something the card does not.
    OnlyInRecord(MirrorEntry),
    /// Both have it and it differs.
    Changed {
        /// The record's.
        record: MirrorEntry,
        /// The card's.
        card: MirrorEntry,
    },
    /// An application is in another state than the record said.
    ApplicationState {
        /// The application.
        application: Aid,
        /// The record's state.
        record: SeState,
        /// The state after reconciliation.
        card: SeState,
    },
}

/// An application's record after reconciliation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciled {
    /// The application as the card shows it.
    pub application: SeApplication,
    /// The incident, when the record had to change.
    pub incident: Option<Difference>,
}

// GPC 2.3.1 11.1.1: the highest bit of an application's life cycle says that it is locked.
const LOCKED: u8 = 0x80;

/// How much of `application` the registry shows.
pub fn presence(application: &Application, card: &Inventory) -> Presence {
    let has = |aid: Aid, kind| card.entry(&aid).filter(|entry| entry.kind == kind);
    let files =
        application.load_files.iter().filter(|file| has(file.aid, MirrorKind::LoadFile).is_some()).count();
    let found: Vec<_> =
        application.instances().filter_map(|instance| has(instance.aid, MirrorKind::Application)).collect();
    let all_instances = application.instances().count();
    if files == 0 && found.is_empty() {
        return Presence::Absent;
    }
    if files < application.load_files.len() || (!found.is_empty() && found.len() < all_instances) {
        return Presence::Partial;
    }
    if found.is_empty() {
        return Presence::Loaded;
    }
    if found.iter().all(|entry| entry.life_cycle & LOCKED != 0) {
        return Presence::Locked;
    }
    Presence::Instantiated
}

/// The application's record after its card was seen.
///
/// Instantiated, Personalized and Useable look the same in a registry, so the record is kept where the card
/// does not contradict it. Partial presence is residue: the state falls back to what is complete.
pub fn reconcile_application(aid: Aid, record: SeApplication, seen: Presence) -> Reconciled {
    use SeState::{Instantiated, Loaded, Locked, Personalized, Ready, Useable};
    let (state, perso) = match (seen, record.state) {
        (Presence::Absent | Presence::Partial, Ready) => (Ready, record.perso_on_se),
        (Presence::Loaded, Loaded) => (Loaded, record.perso_on_se),
        (Presence::Instantiated, kept @ (Instantiated | Personalized | Useable)) => {
            (kept, record.perso_on_se)
        }
        (Presence::Locked, Locked) => (Locked, record.perso_on_se),
        // Some instances are missing while all files are there, or files are missing: residue either way.
        (Presence::Partial, Loaded) => (Ready, PersoOnSe::None),
        (Presence::Absent | Presence::Partial, _) => (Ready, PersoOnSe::None),
        (Presence::Loaded, _) => (Loaded, PersoOnSe::None),
        // A lock or unlock whose answer was lost: only the lock differs, the data are still there.
        (Presence::Instantiated, Locked) => (Useable, record.perso_on_se),
        (Presence::Locked, Useable) => (Locked, record.perso_on_se),
        // An installation whose answer was lost: what it holds is unknown, so it is personalised anew.
        (Presence::Instantiated, Ready | Loaded) => (Instantiated, PersoOnSe::None),
        (Presence::Locked, _) => (Locked, PersoOnSe::Void),
    };
    let after = record.reconciled(state, perso).after;
    let incident = (state != record.state).then_some(Difference::ApplicationState {
        application: aid,
        record: record.state,
        card: state,
    });
    Reconciled { application: after, incident }
}

/// What differs between the recorded registry and the card's, in order of AID.
pub fn registry_differences(record: &Inventory, card: &Inventory) -> Vec<Difference> {
    let index = |inventory: &Inventory| -> BTreeMap<Aid, MirrorEntry> {
        inventory.entries.iter().map(|entry| (entry.aid, entry.clone())).collect()
    };
    let (recorded, mut seen) = (index(record), index(card));
    let mut differences: Vec<(Aid, Difference)> = Vec::new();
    for (aid, entry) in recorded {
        match seen.remove(&aid) {
            None => differences.push((aid, Difference::OnlyInRecord(entry))),
            Some(found) if found != entry => {
                differences.push((aid, Difference::Changed { record: entry, card: found }));
            }
            Some(_) => {}
        }
    }
    differences.extend(seen.into_iter().map(|(aid, entry)| (aid, Difference::OnlyOnCard(entry))));
    differences.sort_by_key(|(aid, _)| *aid);
    differences.into_iter().map(|(_, difference)| difference).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::se_application::{OpeningNeed, PersonalisationNeed};

    fn aid(last: u8) -> Aid {
        Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, last])
    }

    fn entry(last: u8, kind: MirrorKind, life_cycle: u8) -> MirrorEntry {
        MirrorEntry {
            aid: aid(last),
            kind,
            life_cycle,
            privileges: [0; 3],
            load_file: None,
            domain: None,
            modules: vec![],
        }
    }

    fn card(entries: &[MirrorEntry]) -> Inventory {
        Inventory { entries: entries.to_vec(), ..Inventory::default() }
    }

    fn two_files_two_instances() -> Application {
        use crate::application::tests_support::{application, load_file, module};
        application(vec![
            load_file(0x10, &[], vec![module(0x20, &[0x30, 0x31])]),
            load_file(0x11, &[], vec![]),
        ])
    }

    #[test]
    fn how_much_a_registry_shows() {
        let file = |last| entry(last, MirrorKind::LoadFile, 0x01);
        let instance = |last, life_cycle| entry(last, MirrorKind::Application, life_cycle);
        let rows = [
            (vec![], Presence::Absent),
            (vec![file(0x77)], Presence::Absent),
            (vec![file(0x10)], Presence::Partial),
            (vec![file(0x10), file(0x11)], Presence::Loaded),
            (vec![file(0x10), file(0x11), instance(0x30, 7)], Presence::Partial),
            (vec![file(0x10), file(0x11), instance(0x30, 7), instance(0x31, 7)], Presence::Instantiated),
            (vec![file(0x10), file(0x11), instance(0x30, 0x87), instance(0x31, 7)], Presence::Instantiated),
            (vec![file(0x10), file(0x11), instance(0x30, 0x87), instance(0x31, 0x83)], Presence::Locked),
        ];
        for (entries, expected) in rows {
            assert_eq!(presence(&two_files_two_instances(), &card(&entries)), expected, "{entries:?}");
        }
    }

    /// Row 19 of table S.1: every recorded state against every presence.
    #[test]
    fn s_1_row_19_the_card_is_believed_and_incidents_are_recorded() {
        use SeState::{Instantiated, Loaded, Locked, Personalized, Ready, Useable};
        let expected = [
            // Record:     Ready,        Loaded,       Instantiated, Personalized, Useable,      Locked
            (Presence::Absent, [Ready, Ready, Ready, Ready, Ready, Ready]),
            (Presence::Partial, [Ready, Ready, Ready, Ready, Ready, Ready]),
            (Presence::Loaded, [Loaded, Loaded, Loaded, Loaded, Loaded, Loaded]),
            (
                Presence::Instantiated,
                [Instantiated, Instantiated, Instantiated, Personalized, Useable, Useable],
            ),
            (Presence::Locked, [Locked, Locked, Locked, Locked, Locked, Locked]),
        ];
        for (seen, states) in expected {
            for (before, after) in SeState::ALL.into_iter().zip(states) {
                let absent = SeApplication::absent(PersonalisationNeed::Needed, OpeningNeed::Needed);
                let record = SeApplication { state: before, ..absent };
                let reconciled = reconcile_application(aid(0x30), record, seen);
                assert_eq!(reconciled.application.state, after, "{before:?}, {seen:?}");
                assert_eq!(reconciled.incident.is_some(), before != after, "{before:?}, {seen:?}");
            }
        }
    }

    #[test]
    fn drift_is_found_both_ways() {
        let kept = entry(1, MirrorKind::LoadFile, 1);
        let lost = entry(2, MirrorKind::Application, 7);
        let locked = entry(3, MirrorKind::Application, 0x87);
        let unlocked = entry(3, MirrorKind::Application, 7);
        let stranger = entry(4, MirrorKind::Application, 7);
        let record = card(&[kept.clone(), lost.clone(), unlocked.clone()]);
        let seen = card(&[stranger.clone(), locked.clone(), kept]);
        assert_eq!(
            registry_differences(&record, &seen),
            [
                Difference::OnlyInRecord(lost),
                Difference::Changed { record: unlocked, card: locked },
                Difference::OnlyOnCard(stranger),
            ]
        );
        assert_eq!(registry_differences(&seen, &seen), []);
    }
}
