//! The life of an application at the platform (P-5.4.4, D-2):
//! initial, audited, defined, tested, published (or suspended), archive started, archive finished.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::record::{BatchSelection, UserSelection};
use crate::id::{BatchId, Msisdn, OperatorId};

/// How archiving removes an application from SEs (P-5.4.4.5.d).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ArchiveDeletion {
    /// The platform deletes it, after notice and with the user's consent.
    BySystem,
    /// Users are told to delete it.
    NotifyUsers,
}

/// A batch on which an application passed its tests (P-5.4.4.3.b).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BatchSupport {
    /// The batch.
    pub batch: BatchId,
    /// The SE version that was tested.
    pub version: String,
}

/// What a test left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tested {
    /// Who tested.
    pub tester: OperatorId,
    /// On which batches it works.
    pub supported: BTreeSet<BatchSupport>,
}

/// Whether a published application can be had now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Availability {
    /// It can be downloaded.
    Available,
    /// Suspended (暂停): those who have it keep it, nobody else gets it.
    Suspended,
}

/// Where an application stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ManagementState {
    /// Submitted.
    Initial,
    /// It failed the audit, for this reason.
    Rejected(String),
    /// It passed the audit, by this person.
    Audited(OperatorId),
    /// All AIDs and the structure are entered; it can be tested with test numbers.
    Defined,
    /// The tester is done; an administrator has not confirmed it.
    TestAwaitsConfirmation(Tested),
    /// Tested.
    Tested(Tested),
    /// Published.
    Published(Availability),
    /// Deregistered; being removed from SEs.
    ArchiveStarted,
    /// Gone from every SE, or all that remain are accounted for.
    ArchiveFinished,
}

/// A right that a person may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Right {
    /// Submit applications: the provider.
    Submit,
    /// Audit applications.
    Audit,
    /// Enter AIDs and structures.
    Define,
    /// Test applications.
    Test,
    /// Confirm tests and archives.
    Confirm,
    /// Publish, suspend and deregister.
    Publish,
}

/// Pass or fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Pass.
    Pass,
    /// Fail, with the reason.
    Fail(String),
}

/// What happens to an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ManagementEvent {
    /// The auditor decided. The person who submitted it cannot.
    Audit {
        /// The verdict.
        verdict: Verdict,
        /// Who submitted it.
        submitted_by: OperatorId,
    },
    /// A rejected application was corrected and submitted again.
    Resubmit,
    /// All AIDs and the structure are entered and checked.
    Define,
    /// The tester decided.
    Test {
        /// The verdict.
        verdict: Verdict,
        /// The batches it works on.
        supported: BTreeSet<BatchSupport>,
    },
    /// An administrator confirms the test.
    ConfirmTest,
    /// It is published.
    Publish,
    /// It is suspended.
    Suspend,
    /// It is available again.
    Resume,
    /// It is deregistered.
    Deregister,
    /// So many SEs still hold it and are not accounted for.
    FinishArchive {
        /// SEs that hold it.
        holders: u64,
    },
}

/// Why an event is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManagementRefusal {
    /// No right.
    #[error("this needs the right to {0:?}")]
    NoRight(Right),
    /// Four eyes.
    #[error("who submitted an application cannot audit it")]
    OwnSubmission,
    /// The state does not allow it.
    #[error("an application that is {0} cannot take this step")]
    State(&'static str),
    /// SEs still hold it.
    #[error("{0} SEs still hold the application")]
    StillHeld(u64),
    /// No batch passed.
    #[error("a passed test names at least one SE batch")]
    NoBatch,
}

impl ManagementEvent {
    /// The right that the event needs.
    pub const fn right(&self) -> Right {
        match self {
            Self::Audit { .. } => Right::Audit,
            Self::Resubmit => Right::Submit,
            Self::Define => Right::Define,
            Self::Test { .. } => Right::Test,
            Self::ConfirmTest | Self::FinishArchive { .. } => Right::Confirm,
            Self::Publish | Self::Suspend | Self::Resume | Self::Deregister => Right::Publish,
        }
    }
}

impl ManagementState {
    /// The state in words.
    pub const fn words(&self) -> &'static str {
        match self {
            Self::Initial => "submitted",
            Self::Rejected(_) => "rejected",
            Self::Audited(_) => "audited",
            Self::Defined => "defined",
            Self::TestAwaitsConfirmation(_) => "tested and not confirmed",
            Self::Tested(_) => "tested",
            Self::Published(Availability::Available) => "published",
            Self::Published(Availability::Suspended) => "suspended",
            Self::ArchiveStarted => "being archived",
            Self::ArchiveFinished => "archived",
        }
    }

    /// The state after `event`, done by `actor` with `rights`.
    pub fn apply(
        self,
        event: ManagementEvent,
        actor: &OperatorId,
        rights: &BTreeSet<Right>,
    ) -> Result<Self, ManagementRefusal> {
        use Availability::{Available, Suspended};
        use ManagementEvent as Event;
        if !rights.contains(&event.right()) {
            return Err(ManagementRefusal::NoRight(event.right()));
        }
        match (self, event) {
            (Self::Initial, Event::Audit { submitted_by, .. }) if submitted_by == *actor => {
                Err(ManagementRefusal::OwnSubmission)
            }
            (Self::Initial, Event::Audit { verdict: Verdict::Pass, .. }) => Ok(Self::Audited(actor.clone())),
            (Self::Initial, Event::Audit { verdict: Verdict::Fail(reason), .. }) => {
                Ok(Self::Rejected(reason))
            }
            (Self::Rejected(_), Event::Resubmit) => Ok(Self::Initial),
            (Self::Audited(_), Event::Define) => Ok(Self::Defined),
            (Self::Defined, Event::Test { verdict: Verdict::Pass, supported }) if supported.is_empty() => {
                Err(ManagementRefusal::NoBatch)
            }
            (Self::Defined, Event::Test { verdict: Verdict::Pass, supported }) => {
                Ok(Self::TestAwaitsConfirmation(Tested { tester: actor.clone(), supported }))
            }
            (Self::Defined, Event::Test { verdict: Verdict::Fail(reason), .. }) => Ok(Self::Rejected(reason)),
            (Self::TestAwaitsConfirmation(tested), Event::ConfirmTest) => Ok(Self::Tested(tested)),
            (Self::Tested(_), Event::Publish) => Ok(Self::Published(Available)),
            (Self::Published(Available), Event::Suspend) => Ok(Self::Published(Suspended)),
            (Self::Published(Suspended), Event::Resume) => Ok(Self::Published(Available)),
            (Self::Published(_), Event::Deregister) => Ok(Self::ArchiveStarted),
            (Self::ArchiveStarted, Event::FinishArchive { holders: 0 }) => Ok(Self::ArchiveFinished),
            (Self::ArchiveStarted, Event::FinishArchive { holders }) => {
                Err(ManagementRefusal::StillHeld(holders))
            }
            (state, _) => Err(ManagementRefusal::State(state.words())),
        }
    }

    /// Whether `number` may see and download the application now.
    ///
    /// Before publication only test numbers may (P-5.4.4.3.d).
    pub fn admits(
        &self,
        number: Option<&Msisdn>,
        test_numbers: &BTreeSet<Msisdn>,
        users: &UserSelection,
    ) -> bool {
        match self {
            Self::Defined | Self::TestAwaitsConfirmation(_) | Self::Tested(_) => {
                number.is_some_and(|number| test_numbers.contains(number))
            }
            Self::Published(Availability::Available) => match users {
                UserSelection::Everybody => true,
                UserSelection::These(chosen) => number.is_some_and(|number| chosen.contains(number)),
            },
            Self::Initial
            | Self::Rejected(_)
            | Self::Audited(_)
            | Self::Published(Availability::Suspended)
            | Self::ArchiveStarted
            | Self::ArchiveFinished => false,
        }
    }
}

impl BatchSelection {
    /// Whether the selection has this batch.
    pub fn has(&self, batch: &BatchId) -> bool {
        match self {
            Self::All => true,
            Self::These(batches) => batches.contains(batch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(name: &str) -> OperatorId {
        name.parse().unwrap()
    }

    fn all_rights() -> BTreeSet<Right> {
        [Right::Submit, Right::Audit, Right::Define, Right::Test, Right::Confirm, Right::Publish].into()
    }

    fn audit(verdict: Verdict) -> ManagementEvent {
        ManagementEvent::Audit { verdict, submitted_by: person("provider") }
    }

    fn pass() -> ManagementEvent {
        let batch = BatchSupport { batch: "B1".parse().unwrap(), version: "1".into() };
        ManagementEvent::Test { verdict: Verdict::Pass, supported: [batch].into() }
    }

    fn tested() -> Tested {
        let batch = BatchSupport { batch: "B1".parse().unwrap(), version: "1".into() };
        Tested { tester: person("someone"), supported: [batch].into() }
    }

    fn states() -> Vec<ManagementState> {
        use ManagementState as State;
        vec![
            State::Initial,
            State::Rejected("no".into()),
            State::Audited(person("someone")),
            State::Defined,
            State::TestAwaitsConfirmation(tested()),
            State::Tested(tested()),
            State::Published(Availability::Available),
            State::Published(Availability::Suspended),
            State::ArchiveStarted,
            State::ArchiveFinished,
        ]
    }

    /// Every state with every event; what is not listed is refused.
    ///
    /// req: P-5.4.2.i, P-5.4.4.a, P-5.4.4.2.a, P-5.4.4.3.c, P-5.4.4.5.b, B-8.3.1.a
    #[test]
    fn only_legal_transitions_succeed() {
        let events = [
            ("pass audit", audit(Verdict::Pass)),
            ("fail audit", audit(Verdict::Fail("no".into()))),
            ("resubmit", ManagementEvent::Resubmit),
            ("define", ManagementEvent::Define),
            ("pass test", pass()),
            ("confirm", ManagementEvent::ConfirmTest),
            ("publish", ManagementEvent::Publish),
            ("suspend", ManagementEvent::Suspend),
            ("resume", ManagementEvent::Resume),
            ("deregister", ManagementEvent::Deregister),
            ("finish", ManagementEvent::FinishArchive { holders: 0 }),
        ];
        let legal = [
            ("submitted", "pass audit", "audited"),
            ("submitted", "fail audit", "rejected"),
            ("rejected", "resubmit", "submitted"),
            ("audited", "define", "defined"),
            ("defined", "pass test", "tested and not confirmed"),
            ("tested and not confirmed", "confirm", "tested"),
            ("tested", "publish", "published"),
            ("published", "suspend", "suspended"),
            ("suspended", "resume", "published"),
            ("published", "deregister", "being archived"),
            ("suspended", "deregister", "being archived"),
            ("being archived", "finish", "archived"),
        ];
        for state in states() {
            for (name, event) in &events {
                let expected =
                    legal.iter().find(|row| row.0 == state.words() && row.1 == *name).map(|row| row.2);
                let found = state.clone().apply(event.clone(), &person("someone"), &all_rights());
                assert_eq!(found.as_ref().ok().map(ManagementState::words), expected, "{state:?}, {name}");
            }
        }
    }

    /// req: P-5.4.4.2.a, P-5.4.4.3.a, P-5.4.4.4.a
    #[test]
    fn each_step_needs_its_right_and_four_eyes() {
        let steps = [
            (ManagementState::Initial, audit(Verdict::Pass), Right::Audit),
            (ManagementState::Defined, pass(), Right::Test),
            (ManagementState::TestAwaitsConfirmation(tested()), ManagementEvent::ConfirmTest, Right::Confirm),
            (ManagementState::Tested(tested()), ManagementEvent::Publish, Right::Publish),
        ];
        for (state, event, right) in steps {
            let mut others = all_rights();
            others.remove(&right);
            let refused = state.clone().apply(event.clone(), &person("someone"), &others);
            assert_eq!(refused, Err(ManagementRefusal::NoRight(right)));
            assert!(state.apply(event, &person("someone"), &[right].into()).is_ok());
        }
        let own = ManagementState::Initial.apply(audit(Verdict::Pass), &person("provider"), &all_rights());
        assert_eq!(own, Err(ManagementRefusal::OwnSubmission));
    }

    #[test]
    fn an_archive_ends_when_no_se_holds_the_application() {
        let finish = |holders| {
            ManagementState::ArchiveStarted.apply(
                ManagementEvent::FinishArchive { holders },
                &person("someone"),
                &all_rights(),
            )
        };
        assert_eq!(finish(2), Err(ManagementRefusal::StillHeld(2)));
        assert_eq!(finish(0), Ok(ManagementState::ArchiveFinished));
    }

    /// req: P-5.4.4.3.d, P-5.4.4.4.a, P-5.4.4.4.c, P-5.4.4.5.a
    #[test]
    fn who_may_have_it_in_each_state() {
        let tester: Msisdn = "13900000001".parse().unwrap();
        let other: Msisdn = "13900000002".parse().unwrap();
        let tests = BTreeSet::from([tester.clone()]);
        let expected = [
            // tester, other
            (false, false),
            (false, false),
            (false, false),
            (true, false),
            (true, false),
            (true, false),
            (true, true),
            (false, false),
            (false, false),
            (false, false),
        ];
        for (state, (for_tester, for_other)) in states().into_iter().zip(expected) {
            let everybody = UserSelection::Everybody;
            assert_eq!(state.admits(Some(&tester), &tests, &everybody), for_tester, "{state:?}");
            assert_eq!(state.admits(Some(&other), &tests, &everybody), for_other, "{state:?}");
        }
        let published = ManagementState::Published(Availability::Available);
        let chosen = UserSelection::These([other.clone()].into());
        assert!(published.admits(Some(&other), &tests, &chosen));
        assert!(!published.admits(Some(&tester), &tests, &chosen));
        assert!(!published.admits(None, &tests, &chosen));
    }
}
