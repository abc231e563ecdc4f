//! Application providers and their life (P-5.6, B-8.2).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::id::{OperatorId, ProviderId};

/// What a business platform may ask for (P-5.7.1.d).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Capability {
    /// Download of applications.
    Download,
    /// Deletion of applications.
    Delete,
    /// Personalisation.
    Personalise,
    /// Update of personalisation data.
    UpdatePersonalisation,
    /// Creation of security domains.
    CreateDomain,
    /// Deletion of security domains.
    DeleteDomain,
    /// Update of security-domain keys.
    UpdateDomainKeys,
    /// Lock.
    Lock,
    /// Unlock.
    Unlock,
    /// Commands of its own to its application.
    ApplicationCommand,
}

impl Capability {
    /// All ten.
    pub const ALL: [Self; 10] = [
        Self::Download,
        Self::Delete,
        Self::Personalise,
        Self::UpdatePersonalisation,
        Self::CreateDomain,
        Self::DeleteDomain,
        Self::UpdateDomainKeys,
        Self::Lock,
        Self::Unlock,
        Self::ApplicationCommand,
    ];
}

/// Whose a provider is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProviderKind {
    /// The platform's operator itself.
    Operator,
    /// A third party.
    ThirdParty,
}

/// Where a provider stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProviderState {
    /// Registered, awaiting approval.
    InAudit,
    /// Approved: it may connect and serve.
    Approved,
    /// Refused, with the reason.
    Failed(String),
    /// The cooperation ended.
    Cancelled,
}

/// Attributes that administrators alone may change (P-5.6.1.a).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BasicAttributes {
    /// The name.
    pub name: String,
    /// Commercial registration number.
    pub registration_number: String,
    /// Business licence number.
    pub licence_number: String,
    /// Types of applications provided.
    pub application_types: Vec<String>,
    /// Kind of cooperation.
    pub cooperation: String,
}

/// Attributes that the provider itself may change (P-5.6.1.b).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExtendedAttributes {
    /// Address.
    pub address: String,
    /// Postcode.
    pub postcode: String,
    /// Telephone.
    pub telephone: String,
    /// Fax.
    pub fax: String,
    /// Contact.
    pub contact: String,
}

/// A provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// The provider's number (SPID).
    pub id: ProviderId,
    /// The operator or a third party.
    pub kind: ProviderKind,
    /// Where it stands.
    pub state: ProviderState,
    /// Set while it is blacklisted, with the reason (P-5.6.6).
    pub blacklisted: Option<String>,
    /// What it may ask for.
    pub capabilities: BTreeSet<Capability>,
    /// Who registered it.
    pub registered_by: OperatorId,
    /// Attributes that administrators change.
    pub basic: BasicAttributes,
    /// Attributes that it changes itself.
    pub extended: ExtendedAttributes,
    /// The SHA-256 of the client certificate its SP-TSM presents, once it is connected.
    pub certificate: Option<crate::bytes::Sha256Digest>,
    /// The public key of its message signatures, an uncompressed point, once it is connected.
    #[serde(default)]
    pub signature_key: Option<crate::bytes::HexBytes>,
    /// Where its SP-TSM is reached.
    pub address: Option<String>,
}

/// What happens to a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProviderEvent {
    /// Approved.
    Approve,
    /// Refused, with the reason.
    Refuse(String),
    /// Put on the blacklist, with the reason.
    Blacklist(String),
    /// Taken off the blacklist.
    Rehabilitate,
    /// The cooperation ends; so many of its applications are not archived.
    Cancel {
        /// Applications that are not archived.
        unarchived: usize,
    },
}

/// Why something is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderRefusal {
    /// The state does not allow it.
    #[error("the provider's state does not allow this step")]
    State,
    /// Four eyes.
    #[error("who registered a provider cannot approve it")]
    OwnRegistration,
    /// Applications are not archived.
    #[error("{0} of the provider's applications are not archived")]
    Unarchived(usize),
    /// It may not call.
    #[error("the provider is not approved")]
    NotApproved,
    /// It is blacklisted.
    #[error("the provider is blacklisted: {0}")]
    Blacklisted(String),
    /// It lacks the capability.
    #[error("the provider may not ask for {0:?}")]
    Capability(Capability),
}

impl Provider {
    /// Whether it is the operator itself.
    pub fn is_operator(&self) -> bool {
        self.kind == ProviderKind::Operator
    }

    /// The provider after `event`, done by `actor`.
    pub fn apply(self, event: ProviderEvent, actor: &OperatorId) -> Result<Self, ProviderRefusal> {
        match (&self.state, event) {
            (ProviderState::InAudit, ProviderEvent::Approve | ProviderEvent::Refuse(_))
                if self.registered_by == *actor =>
            {
                Err(ProviderRefusal::OwnRegistration)
            }
            (ProviderState::InAudit, ProviderEvent::Approve) => {
                Ok(Self { state: ProviderState::Approved, ..self })
            }
            (ProviderState::InAudit, ProviderEvent::Refuse(reason)) => {
                Ok(Self { state: ProviderState::Failed(reason), ..self })
            }
            (ProviderState::Approved, ProviderEvent::Blacklist(reason)) => {
                Ok(Self { blacklisted: Some(reason), ..self })
            }
            (ProviderState::Approved, ProviderEvent::Rehabilitate) => Ok(Self { blacklisted: None, ..self }),
            (ProviderState::Approved, ProviderEvent::Cancel { unarchived: 0 }) => {
                Ok(Self { state: ProviderState::Cancelled, ..self })
            }
            (ProviderState::Approved, ProviderEvent::Cancel { unarchived }) => {
                Err(ProviderRefusal::Unarchived(unarchived))
            }
            _ => Err(ProviderRefusal::State),
        }
    }

    /// Whether the provider's platform may ask for `capability` now (P-5.7.1).
    ///
    /// A blacklisted provider gets nothing new onto SEs, but what is there can still be deleted and locked
    /// (P-5.6.6.c).
    pub fn may(&self, capability: Capability) -> Result<(), ProviderRefusal> {
        if self.state != ProviderState::Approved {
            return Err(ProviderRefusal::NotApproved);
        }
        let removes = matches!(capability, Capability::Delete | Capability::Lock | Capability::DeleteDomain);
        match &self.blacklisted {
            Some(reason) if !removes => return Err(ProviderRefusal::Blacklisted(reason.clone())),
            _ => {}
        }
        if self.capabilities.contains(&capability) {
            Ok(())
        } else {
            Err(ProviderRefusal::Capability(capability))
        }
    }
}

#[cfg(test)]
impl Provider {
    pub(crate) fn third_party_for_tests(id: &str) -> Self {
        Self {
            id: id.parse().unwrap(),
            kind: ProviderKind::ThirdParty,
            state: ProviderState::Approved,
            blacklisted: None,
            capabilities: Capability::ALL.into(),
            registered_by: "clerk".parse().unwrap(),
            basic: BasicAttributes {
                name: "City card".into(),
                registration_number: "1".into(),
                licence_number: "2".into(),
                application_types: vec!["transport".into()],
                cooperation: "direct".into(),
            },
            extended: ExtendedAttributes::default(),
            certificate: None,
            signature_key: None,
            address: None,
        }
    }

    pub(crate) fn operator_for_tests(id: &str) -> Self {
        Self { kind: ProviderKind::Operator, ..Self::third_party_for_tests(id) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(name: &str) -> OperatorId {
        name.parse().unwrap()
    }

    fn in_audit() -> Provider {
        Provider { state: ProviderState::InAudit, ..Provider::third_party_for_tests("CITY") }
    }

    /// req: B-8.2.b
    #[test]
    fn nothing_is_allowed_before_approval() {
        assert_eq!(in_audit().may(Capability::Download), Err(ProviderRefusal::NotApproved));
        assert_eq!(
            in_audit().apply(ProviderEvent::Approve, &person("clerk")),
            Err(ProviderRefusal::OwnRegistration)
        );
        let approved = in_audit().apply(ProviderEvent::Approve, &person("chief")).unwrap();
        assert_eq!(approved.may(Capability::Download), Ok(()));
        let refused = in_audit().apply(ProviderEvent::Refuse("no licence".into()), &person("chief")).unwrap();
        assert_eq!(refused.state, ProviderState::Failed("no licence".into()));
    }

    /// req: P-5.7.1.c, P-5.7.1.d, P-5.8.4.2.1.b
    #[test]
    fn each_capability_is_granted_by_itself() {
        for granted in Capability::ALL {
            let mut provider = Provider::third_party_for_tests("CITY");
            provider.capabilities = [granted].into();
            for asked in Capability::ALL {
                let expected =
                    if asked == granted { Ok(()) } else { Err(ProviderRefusal::Capability(asked)) };
                assert_eq!(provider.may(asked), expected, "{granted:?} granted");
            }
        }
    }

    /// req: P-5.6.6.c
    #[test]
    fn a_blacklisted_provider_adds_nothing_and_its_applications_can_go() {
        let provider = Provider::third_party_for_tests("CITY");
        let listed = provider.apply(ProviderEvent::Blacklist("fraud".into()), &person("chief")).unwrap();
        for capability in Capability::ALL {
            let removes =
                matches!(capability, Capability::Delete | Capability::Lock | Capability::DeleteDomain);
            assert_eq!(listed.may(capability).is_ok(), removes, "{capability:?}");
        }
        let back = listed.apply(ProviderEvent::Rehabilitate, &person("chief")).unwrap();
        assert_eq!(back.may(Capability::Download), Ok(()));
    }

    /// req: P-5.6.5.b
    #[test]
    fn applications_are_archived_before_a_provider_goes() {
        let cancel = |unarchived| {
            Provider::third_party_for_tests("CITY")
                .apply(ProviderEvent::Cancel { unarchived }, &person("chief"))
        };
        assert_eq!(cancel(1), Err(ProviderRefusal::Unarchived(1)));
        let gone = cancel(0).unwrap();
        assert_eq!(gone.may(Capability::Delete), Err(ProviderRefusal::NotApproved));
    }
}
