//! What a login does (table S.5, P-5.5.2) and when a binding may be released (P-5.5.3).

use serde::{Deserialize, Serialize};
use tsm_iso7816::Aid;

use crate::id::Msisdn;
use crate::se::SeKind;

/// The state of the number that an SE is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NumberState {
    /// In the network.
    InNetwork,
    /// Cancelled.
    Cancelled,
}

/// Another number to which the SE is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherNumber {
    /// Its state.
    pub state: NumberState,
    /// Its applications on the SE whose subscriptions live.
    pub subscribed: Vec<Aid>,
    /// Its applications on the SE whose subscriptions are cancelled.
    pub leftovers: Vec<Aid>,
}

/// To whom the SE is bound, as seen from the number that logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeBinding {
    /// Nobody.
    Nobody,
    /// This number; these applications were unsubscribed by the business side and are still there.
    ThisNumber {
        /// What is left to delete.
        leftovers: Vec<Aid>,
    },
    /// Another number.
    Other(OtherNumber),
}

/// All that the decision looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginQuestion {
    /// Whether the SE is on the loss list.
    pub lost: Lost,
    /// The kind of SE.
    pub kind: SeKind,
    /// To whom it is bound.
    pub binding: SeBinding,
}

/// Whether the SE is on the loss list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lost {
    /// It is not.
    No,
    /// It is; these applications can be locked.
    Yes,
}

/// Why an application is not available to the number that logs in.
pub type Blocked = Vec<Aid>;

/// What a login does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// Lock all lockable applications first; no other function.
    LockAndRefuse,
    /// Case 1: done. Delete these leftovers.
    Complete {
        /// Unsubscribed applications that are still on the SE.
        delete: Vec<Aid>,
    },
    /// Case 2: register, then done.
    Register,
    /// Case 3(a): only queries. Prompt, and prompt to delete these.
    QueryOnly {
        /// Applications of the other number whose subscriptions are cancelled.
        prompt_deletion: Vec<Aid>,
    },
    /// Case 3(b): register to the new number; these stay blocked until customer service or a hall has
    /// cancelled the old subscriptions.
    RegisterOver {
        /// What the new user cannot download yet.
        blocked: Blocked,
    },
    /// A stick-on card is never registered (P-5.5.2.f).
    StickOnRefused,
}

/// Table S.5.
pub fn decide_login(question: LoginQuestion) -> Login {
    match (question.lost, question.kind, question.binding) {
        // Bound to the very number that logs in, a found phone is served again.
        (Lost::Yes, _, SeBinding::Nobody | SeBinding::Other(_)) => Login::LockAndRefuse,
        (_, SeKind::StickOn, SeBinding::Nobody | SeBinding::Other(_)) => Login::StickOnRefused,
        (_, _, SeBinding::ThisNumber { leftovers }) => Login::Complete { delete: leftovers },
        (Lost::No, _, SeBinding::Nobody) => Login::Register,
        (Lost::No, _, SeBinding::Other(other)) => match other.state {
            NumberState::InNetwork => Login::QueryOnly { prompt_deletion: other.leftovers },
            NumberState::Cancelled => Login::RegisterOver { blocked: other.subscribed },
        },
    }
}

/// Why a binding is not released.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnbindRefusal {
    /// It is not bound to this number.
    #[error("the SE is not bound to this number")]
    NotBound,
    /// A stick-on card has no log-off.
    #[error("a stick-on card has no log-off")]
    StickOn,
    /// Businesses live.
    #[error("{} applications on the SE are still subscribed", .0.len())]
    Subscribed(Vec<Aid>),
}

/// Whether `number` may log the SE off: it is bound, and every business on it is cancelled.
pub fn may_unbind(
    number: &Msisdn,
    bound_to: Option<&Msisdn>,
    kind: SeKind,
    subscribed: Vec<Aid>,
) -> Result<(), UnbindRefusal> {
    if kind == SeKind::StickOn {
        return Err(UnbindRefusal::StickOn);
    }
    if bound_to != Some(number) {
        return Err(UnbindRefusal::NotBound);
    }
    if subscribed.is_empty() { Ok(()) } else { Err(UnbindRefusal::Subscribed(subscribed)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aid(last: u8) -> Aid {
        Aid::constant(&[0xF0, 0, 0, 0, last])
    }

    fn other(state: NumberState, subscribed: &[u8], leftovers: &[u8]) -> SeBinding {
        let list = |last: &[u8]| last.iter().map(|last| aid(*last)).collect();
        SeBinding::Other(OtherNumber { state, subscribed: list(subscribed), leftovers: list(leftovers) })
    }

    /// The rows of table S.5, in its order.
    ///
    /// req: P-5.5.2.j, P-5.5.2.f
    #[test]
    fn s_5_every_row() {
        use NumberState::{Cancelled, InNetwork};
        let this = |leftovers: &[u8]| SeBinding::ThisNumber {
            leftovers: leftovers.iter().map(|last| aid(*last)).collect(),
        };
        let embedded = SeKind::Embedded;
        let rows = [
            (Lost::Yes, embedded, SeBinding::Nobody, Login::LockAndRefuse),
            (Lost::Yes, embedded, other(InNetwork, &[1], &[2]), Login::LockAndRefuse),
            (Lost::Yes, embedded, other(Cancelled, &[], &[]), Login::LockAndRefuse),
            (Lost::Yes, embedded, this(&[]), Login::Complete { delete: vec![] }),
            (Lost::No, embedded, this(&[]), Login::Complete { delete: vec![] }),
            (Lost::No, embedded, this(&[3]), Login::Complete { delete: vec![aid(3)] }),
            (Lost::No, embedded, SeBinding::Nobody, Login::Register),
            (Lost::No, embedded, other(InNetwork, &[1], &[]), Login::QueryOnly { prompt_deletion: vec![] }),
            (
                Lost::No,
                embedded,
                other(InNetwork, &[1], &[2]),
                Login::QueryOnly { prompt_deletion: vec![aid(2)] },
            ),
            (Lost::No, embedded, other(Cancelled, &[], &[2]), Login::RegisterOver { blocked: vec![] }),
            (Lost::No, embedded, other(Cancelled, &[1], &[2]), Login::RegisterOver { blocked: vec![aid(1)] }),
            (Lost::No, SeKind::StickOn, SeBinding::Nobody, Login::StickOnRefused),
        ];
        for (lost, kind, binding, expected) in rows {
            let question = LoginQuestion { lost, kind, binding };
            assert_eq!(decide_login(question.clone()), expected, "{question:?}");
        }
    }

    /// req: P-5.5.2.k, P-5.5.3.b, P-5.5.3.e
    #[test]
    fn a_binding_is_released_when_nothing_is_subscribed() {
        let mine: Msisdn = "13800138000".parse().unwrap();
        let theirs: Msisdn = "13800138001".parse().unwrap();
        let embedded = SeKind::Embedded;
        assert_eq!(may_unbind(&mine, Some(&mine), embedded, vec![]), Ok(()));
        assert_eq!(
            may_unbind(&mine, Some(&mine), embedded, vec![aid(1)]),
            Err(UnbindRefusal::Subscribed(vec![aid(1)]))
        );
        assert_eq!(may_unbind(&mine, Some(&theirs), embedded, vec![]), Err(UnbindRefusal::NotBound));
        assert_eq!(may_unbind(&mine, None, embedded, vec![]), Err(UnbindRefusal::NotBound));
        assert_eq!(may_unbind(&mine, Some(&mine), SeKind::StickOn, vec![]), Err(UnbindRefusal::StickOn));
    }
}
