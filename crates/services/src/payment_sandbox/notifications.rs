//! The platform's signed word to the merchants, repeated until it arrives.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use tsm_api::payment::PaymentNotification;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_storage::shared::Delivery;

use super::Merchant;
use crate::outbox::{Carried, Carrier, delivery};

const KIND: &str = "payment-notification";

/// One copy of the word to a merchant.
pub(super) fn message(merchant: &str, copy: u8, word: &PaymentNotification, at: Timestamp) -> Delivery {
    delivery(merchant, KIND, &format!("{}/{copy}", word.payment.payment), word, at)
}

/// Carries the word; the client signs each message.
pub(super) struct Notifications {
    pub merchants: Arc<[Merchant]>,
}

#[async_trait]
impl Carrier for Notifications {
    async fn carry(&self, delivery: &Delivery) -> Carried {
        let merchant = self.merchants.iter().find(|merchant| merchant.peer.institution == delivery.to);
        let Some(merchant) = merchant else {
            return Carried::Later(format!("there is no merchant {}", delivery.to));
        };
        match serde_json::from_str::<PaymentNotification>(&delivery.body) {
            Ok(word) => Carried::of(merchant.link.payment_notification(&word).await),
            Err(error) => Carried::Refused(Problem::because(ProblemCode::MalformedRequest, error)),
        }
    }
}
