//! The roles of the operator's people, and the rights that each brings (P-7.1.a).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::application::Right;

/// A role. Each reaches what its business needs and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Enters people and batches.
    SystemAdministrator,
    /// Enters providers, security domains and application definitions.
    BusinessManager,
    /// Approves providers, audits security domains and applications.
    Auditor,
    /// Tests audited applications.
    Tester,
    /// Publishes, suspends and archives.
    ReleaseOperator,
    /// Helps users.
    CustomerService,
    /// A staffed hall.
    Hall,
    /// Reads the audit trail.
    Supervisor,
}

impl Role {
    /// All eight.
    pub const ALL: [Self; 8] = [
        Self::SystemAdministrator,
        Self::BusinessManager,
        Self::Auditor,
        Self::Tester,
        Self::ReleaseOperator,
        Self::CustomerService,
        Self::Hall,
        Self::Supervisor,
    ];

    /// The rights over applications that the role brings.
    pub const fn rights(self) -> &'static [Right] {
        match self {
            Self::BusinessManager => &[Right::Define],
            Self::Auditor => &[Right::Audit, Right::Confirm],
            Self::Tester => &[Right::Test],
            Self::ReleaseOperator => &[Right::Publish, Right::Confirm],
            Self::SystemAdministrator | Self::CustomerService | Self::Hall | Self::Supervisor => &[],
        }
    }
}

/// The rights that several roles bring together.
pub fn rights_of(roles: &BTreeSet<Role>) -> BTreeSet<Right> {
    roles.iter().flat_map(|role| role.rights()).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_right_but_the_providers_has_a_role() {
        let all = rights_of(&Role::ALL.into_iter().collect());
        for right in [Right::Audit, Right::Define, Right::Test, Right::Confirm, Right::Publish] {
            assert!(all.contains(&right), "{right:?}");
        }
        assert!(!all.contains(&Right::Submit), "only providers submit");
        assert!(rights_of(&BTreeSet::from([Role::Hall])).is_empty());
    }
}
