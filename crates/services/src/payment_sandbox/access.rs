//! Who calls: merchants by their signatures, payers by the unguessable number of their payment.

use async_trait::async_trait;
use tracing::{error, warn};
use tsm_api::Access;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::signature::{SignatureError, Stamp};
use tsm_domain::OrderId;
use tsm_storage::payment::PaymentRow;

use super::PaymentSandbox;
use crate::payment::message::{REPLY_SERIAL, ReplyParts, RequestParts, SignedHead};
use crate::server::{Asked, Credentials, ReplySeal, Service};
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
            Self::Payer => Err(ProblemCode::SignatureWrong.into()),
        }
    }
}

#[async_trait]
impl Service for PaymentSandbox {
    type Caller = Caller;

    async fn authenticate(&self, access: Access, credentials: Credentials<'_>) -> Result<Caller, Problem> {
        match access {
            Access::Conversation => Ok(Caller::Payer),
            Access::Payment => self.merchant_of(&credentials).map(Caller::Merchant).map_err(|error| {
                warn!(%error, "a merchant's message was refused");
                Problem::new(code_of(error))
            }),
            Access::Public | Access::Wallet | Access::Staff(_) | Access::Provider | Access::Peer => {
                Err(ProblemCode::NotAllowed.into())
            }
        }
    }

    fn seal(&self, asked: &Asked<'_>, status: u16, body: &[u8]) -> ReplySeal {
        if asked.access != Access::Payment {
            return ReplySeal::Plain;
        }
        if self.faults.loses_reply() {
            return ReplySeal::Lost;
        }
        self.sealed(asked, status, body).map_or(ReplySeal::Plain, ReplySeal::Headers)
    }
}

/// What a merchant whose message was refused is told.
const fn code_of(error: SignatureError) -> ProblemCode {
    match error {
        SignatureError::Header(_) | SignatureError::Key | SignatureError::Wrong => {
            ProblemCode::SignatureWrong
        }
        SignatureError::Stale => ProblemCode::SignatureStale,
        SignatureError::Replayed => ProblemCode::SignatureReplayed,
        SignatureError::Crowded => ProblemCode::TooManyRequests,
    }
}

impl PaymentSandbox {
    /// The merchant whose registered key signed the message, which is fresh and taken once.
    fn merchant_of(&self, credentials: &Credentials<'_>) -> Result<String, SignatureError> {
        let head = SignedHead::of_headers(credentials.headers)?;
        let merchant = self.merchants.iter().find(|merchant| merchant.institution == head.merchant);
        let merchant = merchant.ok_or(SignatureError::Wrong)?;
        let key = merchant.keys.iter().find(|key| key.serial() == head.serial);
        let key = key.ok_or(SignatureError::Wrong)?;
        let parts = RequestParts {
            method: credentials.verb.name(),
            path: credentials.path,
            stamp: head.stamp,
            body: credentials.body,
        };
        key.verify_request(&head, &parts)?;
        self.window.take(head.stamp, self.now())?;
        Ok(merchant.institution.clone())
    }

    /// The platform's signature over a reply. Whoever is no merchant gets none.
    fn sealed(&self, asked: &Asked<'_>, status: u16, body: &[u8]) -> Option<Vec<(&'static str, String)>> {
        let head = SignedHead::of_headers(asked.headers).ok()?;
        let merchant = self.merchants.iter().find(|merchant| merchant.institution == head.merchant)?;
        let scheme = merchant.scheme()?;
        let wanted = asked.headers.get(REPLY_SERIAL).and_then(|serial| serial.to_str().ok());
        let known = wanted.and_then(|serial| self.own_keys.of_serial(serial));
        let key = known.filter(|key| key.scheme() == scheme).or_else(|| self.own_keys.newest(scheme))?;
        let stamp = Stamp { at: self.now(), serial: head.stamp.serial };
        let parts = ReplyParts { status, path: asked.path, stamp, body };
        key.seal_reply(&head.merchant, &parts)
            .inspect_err(|error| error!(%error, "a reply could not be signed"))
            .ok()
    }

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
