//! An application as the platform manages it: its structure, its life from submission to archive, its
//! identifiers, and whether it may go to a given SE.

mod aid;
mod eligibility;
mod management;
mod record;
mod version;

pub use aid::{AidAllocator, AidExhausted, AidPurpose, TransportAid, TransportAidError};
pub use eligibility::{Eligibility, Ineligible, SubscriberState, check};
pub use management::{
    ArchiveDeletion, Availability, BatchSupport, ManagementEvent, ManagementRefusal, ManagementState, Right,
    Tested, Verdict,
};
pub use record::{
    Application, ApplicationKind, BatchSelection, ChannelOwner, DeletionMode, InstanceRecord, LoadFileRecord,
    MemoryKind, ModuleRecord, Names, PersonalisationWay, Scope, Space, StructureError, UserSelection,
    ValueBearing, dependency_order,
};
pub use version::{ManagedVersion, VersionError};

#[cfg(test)]
pub(crate) use record::tests as tests_support;
