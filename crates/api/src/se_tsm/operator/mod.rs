//! SE-TSM, as the operator's staff sees it: who may do what, batches, providers, security domains,
//! applications, secure elements, tasks, the audit trail.

mod applications;
mod desk;
mod elements;

pub use applications::*;
pub use desk::*;
pub use elements::*;

use super::wallet::TaskList;
use crate::conversation::{ConversationReply, StartOptions};
use crate::endpoint::{Access, Endpoint, EndpointInfo, Nothing, StaffRole};

use StaffRole::{
    Auditor, BusinessManager, CustomerService, Hall, ReleaseOperator, Supervisor, SystemAdministrator, Tester,
};

const ADMINISTRATION: Access = Access::Staff(&[SystemAdministrator]);
const BUSINESS: Access = Access::Staff(&[BusinessManager]);
const AUDIT: Access = Access::Staff(&[Auditor]);
const TEST: Access = Access::Staff(&[Tester]);
const RELEASE: Access = Access::Staff(&[ReleaseOperator]);
const READ: Access =
    Access::Staff(&[SystemAdministrator, BusinessManager, Auditor, Tester, ReleaseOperator, Supervisor]);
const SUPPORT: Access = Access::Staff(&[SystemAdministrator, CustomerService, Hall]);
const SUPERVISION: Access = Access::Staff(&[Supervisor]);
const ANYONE: Access = Access::Staff(&[
    SystemAdministrator,
    BusinessManager,
    Auditor,
    Tester,
    ReleaseOperator,
    CustomerService,
    Hall,
    Supervisor,
]);

/// Staff login.
pub const LOGIN: Endpoint<StaffLogin, StaffSession> =
    Endpoint::post("/operator/v1/login", Access::Public, "Opens a session of the operator's staff.");
/// Staff logout.
pub const LOGOUT: Endpoint<Nothing, Nothing> =
    Endpoint::post("/operator/v1/logout", ANYONE, "Ends the session.");
/// Own password.
pub const PASSWORD: Endpoint<PasswordChange, Nothing> =
    Endpoint::post("/operator/v1/password", ANYONE, "Changes one's own password.");
/// New staff.
pub const ADD_STAFF: Endpoint<NewStaff, StaffRecord> =
    Endpoint::post("/operator/v1/staff", ADMINISTRATION, "Adds a member of staff with a first password.");
/// New batch.
pub const ADD_BATCH: Endpoint<NewBatch, BatchRecord> =
    Endpoint::post("/operator/v1/batches", ADMINISTRATION, "Enters a number segment of secure elements.");
/// All batches.
pub const BATCHES: Endpoint<Nothing, BatchList> =
    Endpoint::get("/operator/v1/batches", READ, "The batches of secure elements.");
/// New provider.
pub const ADD_PROVIDER: Endpoint<NewProvider, ProviderRecord> = Endpoint::post(
    "/operator/v1/providers",
    BUSINESS,
    "Registers a provider; it stays in audit until approved.",
);
/// All providers.
pub const PROVIDERS: Endpoint<ProviderQuery, ProviderList> =
    Endpoint::get("/operator/v1/providers", READ, "The providers, by state.");
/// Approval of a provider.
pub const AUDIT_PROVIDER: Endpoint<Decision, ProviderApproval> = Endpoint::post(
    "/operator/v1/providers/{provider}/audit",
    AUDIT,
    "Approves or refuses a provider; approval assigns its institution number and account.",
);
/// Blacklisting of a provider.
pub const BLACKLIST: Endpoint<BlacklistEntry, ProviderRecord> = Endpoint::post(
    "/operator/v1/providers/{provider}/blacklist",
    BUSINESS,
    "Puts a provider on the blacklist or takes it off.",
);
/// New domain.
pub const ADD_DOMAIN: Endpoint<NewDomain, DomainRecord> =
    Endpoint::post("/operator/v1/domains", BUSINESS, "Defines a security domain and assigns its AID.");
/// All domains.
pub const DOMAINS: Endpoint<Nothing, DomainList> =
    Endpoint::get("/operator/v1/domains", READ, "The security-domain definitions.");
/// Audit of a domain.
pub const AUDIT_DOMAIN: Endpoint<Decision, DomainRecord> = Endpoint::post(
    "/operator/v1/domains/{domain}/audit",
    AUDIT,
    "Passes or fails a security-domain definition.",
);
/// Change of a domain.
pub const CHANGE_DOMAIN: Endpoint<DomainChange, DomainRecord> =
    Endpoint::post("/operator/v1/domains/{domain}", BUSINESS, "Changes a security-domain definition.");
/// Removal of a domain definition.
pub const REMOVE_DOMAIN: Endpoint<Nothing, Nothing> = Endpoint::post(
    "/operator/v1/domains/{domain}/removal",
    BUSINESS,
    "Removes a security-domain definition that no secure element holds.",
);
/// All applications.
pub const APPLICATIONS: Endpoint<Nothing, ApplicationList> =
    Endpoint::get("/operator/v1/applications", READ, "The application records.");
/// Audit of an application.
pub const AUDIT_APPLICATION: Endpoint<Decision, ApplicationRecord> =
    Endpoint::post("/operator/v1/applications/{application}/audit", AUDIT, "Passes or fails an application.");
/// Assignment of AIDs.
pub const ASSIGN_AIDS: Endpoint<Nothing, ApplicationRecord> = Endpoint::post(
    "/operator/v1/applications/{application}/aids",
    BUSINESS,
    "Assigns package, module and instance AIDs.",
);
/// Definition of an application.
pub const DEFINE: Endpoint<ApplicationDefinition, ApplicationRecord> = Endpoint::post(
    "/operator/v1/applications/{application}/definition",
    BUSINESS,
    "Enters domain, flags, personalisation and what the catalogue shows.",
);
/// Test result of an application.
pub const TEST_APPLICATION: Endpoint<TestResult, ApplicationRecord> = Endpoint::post(
    "/operator/v1/applications/{application}/test",
    TEST,
    "Records a test and the batches it supports.",
);
/// Confirmation of the test.
pub const CONFIRM_TEST: Endpoint<Decision, ApplicationRecord> = Endpoint::post(
    "/operator/v1/applications/{application}/test/confirmation",
    AUDIT,
    "Confirms or rejects a recorded test.",
);
/// Publication.
pub const PUBLISH: Endpoint<Publication, ApplicationRecord> = Endpoint::post(
    "/operator/v1/applications/{application}/publication",
    RELEASE,
    "Publishes a tested application.",
);
/// Suspension and resumption.
pub const SUSPEND: Endpoint<Suspension, ApplicationRecord> = Endpoint::post(
    "/operator/v1/applications/{application}/suspension",
    RELEASE,
    "Suspends or resumes an application.",
);
/// Archive.
pub const ARCHIVE: Endpoint<Nothing, ApplicationRecord> = Endpoint::post(
    "/operator/v1/applications/{application}/archive",
    RELEASE,
    "Starts the archive, and finishes it when no secure element holds the application.",
);
/// One secure element.
pub const ELEMENT: Endpoint<Nothing, ElementRecord> =
    Endpoint::get("/operator/v1/elements/{se_id}", SUPPORT, "The record of a secure element.");
/// Its tasks.
pub const ELEMENT_TASKS: Endpoint<Nothing, TaskList> = Endpoint::get(
    "/operator/v1/elements/{se_id}/tasks",
    SUPPORT,
    "Running, waiting and past tasks of a secure element, each explained.",
);
/// Loss list.
pub const REPORT_LOSS: Endpoint<LossReport, ElementRecord> = Endpoint::post(
    "/operator/v1/elements/{se_id}/loss",
    SUPPORT,
    "Puts a secure element on the loss list or takes it off.",
);
/// State of the bound number.
pub const NUMBER_STATE: Endpoint<NumberState, ElementRecord> = Endpoint::post(
    "/operator/v1/elements/{se_id}/number",
    SUPPORT,
    "Records that the bound number was cancelled, or is in the network.",
);
/// Change of the bound number.
pub const CHANGE_NUMBER: Endpoint<NumberChange, ElementRecord> = Endpoint::post(
    "/operator/v1/elements/{se_id}/number-change",
    SUPPORT,
    "Records that the user has another number; the binding follows once the card shows the new one.",
);
/// The card's part of a change of number, at the hall's own terminal.
pub const WRITE_NUMBER: Endpoint<StartOptions, ConversationReply> = Endpoint::post(
    "/operator/v1/elements/{se_id}/number-change/conversations",
    SUPPORT,
    "Starts writing the new number into the card at the hall's terminal, which answers the turns.",
);
/// Termination of a task.
pub const TERMINATE: Endpoint<Nothing, Nothing> =
    Endpoint::post("/operator/v1/tasks/{task}/termination", SUPPORT, "Stops a running or waiting task.");
/// The audit trail.
pub const AUDIT_TRAIL: Endpoint<AuditQuery, AuditPage> =
    Endpoint::get("/operator/v1/audit", SUPERVISION, "The audit trail, oldest first.");

/// Every endpoint for the staff.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![
        LOGIN.describe(),
        LOGOUT.describe(),
        PASSWORD.describe(),
        ADD_STAFF.describe(),
        ADD_BATCH.describe(),
        BATCHES.describe(),
        ADD_PROVIDER.describe(),
        PROVIDERS.describe(),
        AUDIT_PROVIDER.describe(),
        BLACKLIST.describe(),
        ADD_DOMAIN.describe(),
        DOMAINS.describe(),
        AUDIT_DOMAIN.describe(),
        CHANGE_DOMAIN.describe(),
        REMOVE_DOMAIN.describe(),
        APPLICATIONS.describe(),
        AUDIT_APPLICATION.describe(),
        ASSIGN_AIDS.describe(),
        DEFINE.describe(),
        TEST_APPLICATION.describe(),
        CONFIRM_TEST.describe(),
        PUBLISH.describe(),
        SUSPEND.describe(),
        ARCHIVE.describe(),
        ELEMENT.describe(),
        ELEMENT_TASKS.describe(),
        REPORT_LOSS.describe(),
        NUMBER_STATE.describe(),
        CHANGE_NUMBER.describe(),
        WRITE_NUMBER.describe(),
        TERMINATE.describe(),
        AUDIT_TRAIL.describe(),
    ]
}
