//! The profile a server is started in. The production profile starts with nothing that is there for
//! development only, and says what it found.

use std::fmt;

use serde::{Deserialize, Serialize};
use tsm_keys::{KeyService as _, SoftwareKeyService};

use crate::city::plan::{CityPlan, Role};

/// What a server is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// A machine of its developers: published keys and the payment sandbox are welcome.
    #[default]
    Development,
    /// Riders' money: whatever is there for tests only keeps the server from starting.
    Production,
}

/// Something that is there for development only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TestOnly {
    /// The plan is a throw-away one.
    ThrowAwayPlan,
    /// The role itself.
    PaymentSandbox,
    /// The role's key file holds keys that anybody can look up.
    DevelopmentKeys,
}

impl fmt::Display for TestOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ThrowAwayPlan => {
                "the plan is that of a throw-away city: one program drew every organisation's keys"
            }
            Self::PaymentSandbox => "the payment role is a sandbox: it confirms payments that nobody made",
            Self::DevelopmentKeys => "the key file holds development keys: anybody can look them up",
        })
    }
}

/// Everything about this role that is there for development only.
pub fn test_only(plan: &CityPlan, role: Role, keys: &SoftwareKeyService) -> Vec<TestOnly> {
    let mut found = Vec::new();
    if plan.profile == Profile::Development {
        found.push(TestOnly::ThrowAwayPlan);
    }
    if role == Role::Payment {
        found.push(TestOnly::PaymentSandbox);
    }
    if keys.is_development() {
        found.push(TestOnly::DevelopmentKeys);
    }
    found
}
