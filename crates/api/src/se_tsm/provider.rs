//! SE-TSM, as a provider's person sees it in the portal: own applications, own records.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::operator::{
    ApplicationList, ApplicationRecord, DomainList, PasswordChange, ProviderRecord, StaffLogin, StaffSession,
};
use crate::HexBytes;
use crate::endpoint::{Access, Endpoint, EndpointInfo, Nothing};

/// Provider login.
pub const LOGIN: Endpoint<StaffLogin, StaffSession> =
    Endpoint::post("/provider/v1/login", Access::Public, "Opens a session of an approved provider.");
/// Own password.
pub const PASSWORD: Endpoint<PasswordChange, Nothing> =
    Endpoint::post("/provider/v1/password", Access::Provider, "Changes the provider's password.");
/// Own record.
pub const SELF: Endpoint<Nothing, ProviderRecord> =
    Endpoint::get("/provider/v1/self", Access::Provider, "The provider's own record.");
/// Upload.
pub const UPLOAD: Endpoint<Upload, ApplicationRecord> =
    Endpoint::post("/provider/v1/applications", Access::Provider, "Uploads an application as a CAP file.");
/// Own applications.
pub const APPLICATIONS: Endpoint<Nothing, ApplicationList> =
    Endpoint::get("/provider/v1/applications", Access::Provider, "The provider's own applications.");
/// One own application.
pub const APPLICATION: Endpoint<Nothing, ApplicationRecord> = Endpoint::get(
    "/provider/v1/applications/{application}",
    Access::Provider,
    "One of the provider's own applications.",
);
/// Own domains.
pub const DOMAINS: Endpoint<Nothing, DomainList> =
    Endpoint::get("/provider/v1/domains", Access::Provider, "The provider's audited security domains.");

/// Every endpoint for providers.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![
        LOGIN.describe(),
        PASSWORD.describe(),
        SELF.describe(),
        UPLOAD.describe(),
        APPLICATIONS.describe(),
        APPLICATION.describe(),
        DOMAINS.describe(),
    ]
}

/// An application as its provider submits it (P-5.4.4.1).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Upload {
    /// Its name.
    #[serde(deserialize_with = "crate::text::line")]
    pub name: String,
    /// The provider's software version.
    pub version: String,
    /// The CAP file.
    pub cap: HexBytes,
    /// Its SHA-1, as the standard text asks.
    pub sha1: HexBytes,
    /// The main module, needed when there is more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main_module: Option<HexBytes>,
    /// The instance AID the provider must keep (a card scheme's own), if any; else one is assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_aid: Option<HexBytes>,
}
