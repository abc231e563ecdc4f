//! Between the wire's words and the rules' types.

use tsm_api::HexBytes;
use tsm_api::StaffRole;
use tsm_api::conversation::ApplicationState;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::SeId;
use tsm_domain::se_application::SeState;
use tsm_domain::staff::Role;
use tsm_iso7816::Aid;

pub(super) const fn state_to_wire(state: SeState) -> ApplicationState {
    match state {
        SeState::Ready => ApplicationState::Ready,
        SeState::Loaded => ApplicationState::Loaded,
        SeState::Instantiated => ApplicationState::Instantiated,
        SeState::Personalized => ApplicationState::Personalized,
        SeState::Useable => ApplicationState::Useable,
        SeState::Locked => ApplicationState::Locked,
    }
}

pub(super) const fn role_to_wire(role: Role) -> StaffRole {
    match role {
        Role::SystemAdministrator => StaffRole::SystemAdministrator,
        Role::BusinessManager => StaffRole::BusinessManager,
        Role::Auditor => StaffRole::Auditor,
        Role::Tester => StaffRole::Tester,
        Role::ReleaseOperator => StaffRole::ReleaseOperator,
        Role::CustomerService => StaffRole::CustomerService,
        Role::Hall => StaffRole::Hall,
        Role::Supervisor => StaffRole::Supervisor,
    }
}

pub(super) const fn role_from_wire(role: StaffRole) -> Role {
    match role {
        StaffRole::SystemAdministrator => Role::SystemAdministrator,
        StaffRole::BusinessManager => Role::BusinessManager,
        StaffRole::Auditor => Role::Auditor,
        StaffRole::Tester => Role::Tester,
        StaffRole::ReleaseOperator => Role::ReleaseOperator,
        StaffRole::CustomerService => Role::CustomerService,
        StaffRole::Hall => Role::Hall,
        StaffRole::Supervisor => Role::Supervisor,
    }
}

pub(super) fn aid(bytes: &HexBytes) -> Result<Aid, Problem> {
    bytes.to_aid().map_err(|error| Problem::because(ProblemCode::ValueRefused, error))
}

pub(super) fn se_id(bytes: &HexBytes) -> Result<SeId, Problem> {
    SeId::new(bytes.as_bytes()).map_err(|error| Problem::because(ProblemCode::ValueRefused, error))
}

pub(super) fn se_to_wire(se: &SeId) -> HexBytes {
    HexBytes(se.as_bytes().to_vec())
}

pub(super) fn domain_bytes(bytes: &HexBytes) -> tsm_domain::bytes::HexBytes {
    tsm_domain::bytes::HexBytes(bytes.0.clone())
}
