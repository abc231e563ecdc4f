//! The platform's signed word to the merchants, repeated until it is acknowledged.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tsm_api::Verb;
use tsm_api::client::{TransportError, WireRequest};
use tsm_api::payment::PaymentNotification;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::signature::Stamp;
use tsm_api::sp_tsm::peer::PAYMENT_NOTIFICATION;
use tsm_storage::shared::Delivery;

use super::Merchant;
use super::faults::{CurrentFaults, Faults};
use super::platform_keys::OwnKeys;
use crate::outbox::{Carried, delivery, is_final};
use crate::payment::message::RequestParts;
use crate::runtime::Environment;

const KIND: &str = "payment-notification";

/// The messages to a merchant that say the word.
pub(super) fn messages(
    merchant: &str,
    word: &PaymentNotification,
    at: Timestamp,
    faults: &Faults,
) -> Vec<Delivery> {
    let delay = SignedDuration::from_millis(faults.notification_delay_ms.into());
    let due_at = at.saturating_add(delay).unwrap_or(at);
    let copies = 0..faults.notification_copies.max(1);
    let messages = copies.map(|copy| {
        let number = format!("{}/{copy}", word.payment.payment);
        Delivery { due_at, ..delivery(merchant, KIND, &number, word, at) }
    });
    messages.collect()
}

/// Carries the word; each message gets its own nonce and signature.
pub(super) struct Notifications {
    pub merchants: Arc<[Merchant]>,
    pub own_keys: Arc<OwnKeys>,
    pub environment: Environment,
    pub faults: Arc<CurrentFaults>,
}

impl Notifications {
    /// Carries one.
    pub(super) async fn carry(&self, delivery: &Delivery) -> Carried {
        let merchant = self.merchants.iter().find(|merchant| merchant.institution == delivery.to);
        let Some(merchant) = merchant else {
            return Carried::Later(format!("there is no merchant {}", delivery.to));
        };
        match self.send(merchant, delivery.body.as_bytes()).await {
            Ok(carried) => carried,
            Err(reason) => Carried::Later(reason),
        }
    }

    /// The pause before it is sent again.
    pub(super) fn pause(&self, attempts: u32) -> Option<SignedDuration> {
        self.faults.get().retry_after(attempts)
    }

    async fn send(&self, merchant: &Merchant, body: &[u8]) -> Result<Carried, String> {
        let scheme = merchant.scheme().ok_or("the merchant has no key")?;
        let key = self.own_keys.newest(scheme).ok_or("the platform has no key for this merchant")?;
        let path = PAYMENT_NOTIFICATION.path;
        let stamp = Stamp { at: self.environment.now(), serial: self.environment.uuid() };
        let parts = RequestParts { method: Verb::Post.name(), path, stamp, body };
        let mut headers = vec![("content-type", "application/json".to_owned())];
        let sealed = key.seal_request(&merchant.institution, &parts);
        headers.extend(sealed.map_err(|error| error.to_string())?);
        let request = WireRequest { verb: Verb::Post, path: path.to_owned(), headers, body: body.to_vec() };
        let reply = merchant.link.send(request).await.map_err(|error: TransportError| error.to_string())?;
        if (200..300).contains(&reply.status) {
            return Ok(Carried::Delivered);
        }
        let problem = serde_json::from_slice::<Problem>(&reply.body)
            .unwrap_or_else(|_| Problem::new(ProblemCode::Unavailable));
        if is_final(problem.code) { Ok(Carried::Refused(problem)) } else { Err(problem.to_string()) }
    }
}
