//! Who calls: merchants by certificate and signature, payers by the unguessable number of their payment.

use async_trait::async_trait;
use tsm_api::Access;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::OrderId;
use tsm_storage::payment::PaymentRow;

use super::PaymentSandbox;
use crate::server::{Credentials, Service};
use crate::stored;

/// Who calls.
#[derive(Debug)]
pub enum Caller {
    /// Whoever has a payment's number.
    Payer,
    /// A merchant, by its institution number.
    Merchant(String),
}

impl Caller {
    /// The merchant.
    pub(super) fn merchant(self) -> Result<String, Problem> {
        match self {
            Self::Merchant(merchant) => Ok(merchant),
            Self::Payer => Err(ProblemCode::PeerCertificateRequired.into()),
        }
    }
}

#[async_trait]
impl Service for PaymentSandbox {
    type Caller = Caller;

    async fn authenticate(&self, access: Access, credentials: Credentials<'_>) -> Result<Caller, Problem> {
        match access {
            Access::Conversation => Ok(Caller::Payer),
            Access::Peer => {
                let claimed = self.gate.claimed(&credentials)?;
                let known = self.merchants.iter().find(|merchant| merchant.peer.institution == claimed);
                let merchant = known.ok_or(ProblemCode::PeerCertificateRequired)?;
                self.gate.admit(&credentials, &merchant.peer, self.environment.now())?;
                Ok(Caller::Merchant(merchant.peer.institution.clone()))
            }
            Access::Public | Access::Wallet | Access::Staff(_) | Access::Provider => {
                Err(ProblemCode::NotAllowed.into())
            }
        }
    }
}

impl PaymentSandbox {
    /// A payment.
    pub(super) async fn payment(&self, order: OrderId) -> Result<PaymentRow, Problem> {
        let row = self.store.order(order).await.map_err(|error| stored::problem(&error))?;
        row.ok_or_else(|| ProblemCode::UnknownId.into())
    }

    /// A merchant's own payment; those of others do not exist for it.
    pub(super) async fn own_payment(&self, order: OrderId, merchant: &str) -> Result<PaymentRow, Problem> {
        let row = self.payment(order).await?;
        if row.merchant == merchant { Ok(row) } else { Err(ProblemCode::UnknownId.into()) }
    }
}
