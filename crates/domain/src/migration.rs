//! A migration as it was ordered at the platform (P-5.5.4.d): by the rider for another of his phones, by
//! customer service, or in a hall. The phones carry it out; each application is an order of its own
//! (P-5.5.4.e).
//!
//! ```text
//! ordered --> left --> arrived
//!    |          |
//!    +----------+----> withdrawn
//! ```

use serde::{Deserialize, Serialize};
use tsm_iso7816::Aid;

use crate::id::{Msisdn, OperationId, OperatorId, SeId};

/// Where a migration was ordered. One that its own phone begins needs no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MigrationChannel {
    /// By the rider himself, for another phone of his.
    SelfService,
    /// By customer service.
    CustomerService,
    /// In a hall.
    Hall,
}

/// How far an ordered migration has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MigrationStage {
    /// The phone that has the application is to park it.
    Ordered,
    /// The application's provider has closed it there: the other phone is to fetch it.
    Left,
    /// It is in use on the other phone.
    Arrived,
    /// Nobody is to do anything any more. What has left stays parked.
    Withdrawn,
}

/// An ordered migration of one application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationOrder {
    /// Its number.
    pub id: OperationId,
    /// The application.
    pub application: Aid,
    /// The SE that has it.
    pub from: SeId,
    /// The SE that it goes to.
    pub to: SeId,
    /// The number that both are registered to (P-5.5.4.b).
    pub number: Msisdn,
    /// Where it was ordered.
    pub channel: MigrationChannel,
    /// Who ordered it.
    pub by: OperatorId,
    /// When.
    pub at: jiff::Timestamp,
    /// How far it has come.
    pub stage: MigrationStage,
}

/// What an SE has to do for a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MigrationPart {
    /// Park the application.
    Out,
    /// Fetch it.
    In,
}

impl MigrationStage {
    /// Whether something is still to be done.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Ordered | Self::Left)
    }

    /// Whether `to` may follow. A word that comes late moves nothing back.
    pub const fn may_become(self, to: Self) -> bool {
        match self {
            // The word that it left may come after the word that it arrived.
            Self::Ordered => matches!(to, Self::Left | Self::Arrived | Self::Withdrawn),
            Self::Left => matches!(to, Self::Arrived | Self::Withdrawn),
            Self::Arrived | Self::Withdrawn => false,
        }
    }
}

impl MigrationOrder {
    /// What this SE has to do now.
    pub fn part_of(&self, se: SeId) -> Option<MigrationPart> {
        match self.stage {
            MigrationStage::Ordered if se == self.from => Some(MigrationPart::Out),
            MigrationStage::Left if se == self.to => Some(MigrationPart::In),
            MigrationStage::Ordered
            | MigrationStage::Left
            | MigrationStage::Arrived
            | MigrationStage::Withdrawn => None,
        }
    }

    /// Whether two orders cannot be open at the same time: they move the same application of one SE.
    pub fn excludes(&self, other: &Self) -> bool {
        let places = [other.from, other.to];
        self.stage.is_open()
            && self.application == other.application
            && (places.contains(&self.from) || places.contains(&self.to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(from: u8, to: u8, stage: MigrationStage) -> MigrationOrder {
        MigrationOrder {
            id: OperationId::from_uuid(uuid::Uuid::nil()),
            application: Aid::constant(b"APPLI"),
            from: SeId::new(&[from]).unwrap(),
            to: SeId::new(&[to]).unwrap(),
            number: "13800138000".parse().unwrap(),
            channel: MigrationChannel::Hall,
            by: "clerk".parse().unwrap(),
            at: jiff::Timestamp::UNIX_EPOCH,
            stage,
        }
    }

    #[test]
    fn each_phone_has_its_part_in_its_turn() {
        use MigrationStage::{Arrived, Left, Ordered, Withdrawn};
        let parts = |stage| {
            let order = order(1, 2, stage);
            [1, 2, 3].map(|se| order.part_of(SeId::new(&[se]).unwrap()))
        };
        assert_eq!(parts(Ordered), [Some(MigrationPart::Out), None, None]);
        assert_eq!(parts(Left), [None, Some(MigrationPart::In), None]);
        assert_eq!(parts(Arrived), [None; 3]);
        assert_eq!(parts(Withdrawn), [None; 3]);
    }

    #[test]
    fn nothing_moves_back() {
        use MigrationStage::{Arrived, Left, Ordered, Withdrawn};
        let all = [Ordered, Left, Arrived, Withdrawn];
        let allowed =
            [(Ordered, Left), (Ordered, Arrived), (Ordered, Withdrawn), (Left, Arrived), (Left, Withdrawn)];
        for from in all {
            for to in all {
                assert_eq!(from.may_become(to), allowed.contains(&(from, to)), "{from:?} {to:?}");
            }
        }
    }

    #[test]
    fn one_application_of_one_phone_moves_once_at_a_time() {
        let first = order(1, 2, MigrationStage::Ordered);
        for (from, to, excluded) in [(1, 3, true), (3, 2, true), (2, 1, true), (3, 4, false)] {
            assert_eq!(first.excludes(&order(from, to, MigrationStage::Ordered)), excluded, "{from} {to}");
        }
        let other = MigrationOrder { application: Aid::constant(b"OTHER"), ..first.clone() };
        assert!(!first.excludes(&other), "each application is an order of its own");
        assert!(!order(1, 2, MigrationStage::Arrived).excludes(&first));
    }
}
