//! A shop on the network, whose orders riders pay from their transit cards through the payment platform (B-7.3).
//! The platform is a terminal that the clearing centre knows.

use std::sync::Arc;

use async_trait::async_trait;
use tsm_api::client::{ClearingPeer, Transport, TransportError, WireReply, WireRequest};
use tsm_domain::{Fen, OrderId, TerminalNumber};
use tsm_services::clearing;
use tsm_services::conversation::Limits;
use tsm_services::payment::message::MessageKey;
use tsm_services::payment::{
    NewOrder, PaymentError, PaymentMeans, PaymentPlatform as _, SandboxParts, SandboxPlatform,
};
use tsm_services::payment_sandbox::{CardAcceptance, Merchant};

use super::executor::{MachineClock, Process};
use super::keys;
use super::network::Role;
use super::random::Stream;
use super::servers::Servers;
use super::world::World;

/// The terminal number of the payment platform. Invented.
pub(super) const ONLINE: [u8; 6] = [0x09, 0x99, 0, 0, 0x91, 0x01];
/// How long an order of the shop can be paid.
const LIFETIME: jiff::SignedDuration = jiff::SignedDuration::from_mins(25);
/// How long an attempt stays open before the centre hears of it. Shorter than in the field, so that it is over within a
/// city's days.
const UNPROVEN_AFTER: jiff::SignedDuration = jiff::SignedDuration::from_hours(8);

fn online() -> TerminalNumber {
    TerminalNumber::from_bcd(ONLINE).expect("the number is decimal")
}

impl Servers {
    /// What the platform needs to take the city's cards.
    pub(super) fn card_acceptance(&self) -> CardAcceptance {
        let platform = &self.organisations.payment;
        CardAcceptance {
            terminal: online(),
            issuers: vec![(keys::NUMBER_PREFIX.into(), keys::purse_keys())],
            centre: ClearingPeer::new(self.link(platform, Role::Payment, Role::Clearing)),
            limits: Limits::default(),
            unproven_after: UNPROVEN_AFTER,
        }
    }

    /// The platform's terminal, as the centre knows it.
    pub(super) fn online_terminal(&self) -> clearing::Terminals {
        clearing::Terminals::of(&self.organisations.payment.peer().institution, [online()])
    }

    /// The shop, as the platform knows it.
    pub(super) fn shop(&self) -> Merchant {
        Merchant {
            institution: keys::SHOP.into(),
            keys: vec![self.keys.shop_key.clone()],
            link: Arc::new(AsksItself),
        }
    }
}

impl World {
    /// The shop asks a rider for money. Gives the number with which it is paid.
    pub(super) async fn ask_for_money(&self, amount: u32) -> Result<OrderId, PaymentError> {
        let process = Arc::new(Process::new(self.executor.clone(), self.executor.owner()));
        let environment = tsm_services::runtime::Environment {
            clock: Arc::new(MachineClock::new(self.executor.clone())),
            entropy: Arc::new(Stream::new(self.plan.seed, 460)),
            spawner: process.clone(),
            timer: process,
        };
        let key = MessageKey::open(Arc::new(self.servers.keys.shop.clone()), keys::shop_key());
        let platform = SandboxPlatform::new(SandboxParts {
            transport: self.network.way(Role::Payment, None),
            merchant: keys::SHOP.into(),
            key: key.expect("the shop's key was drawn"),
            platform_keys: vec![self.servers.keys.platform.to_wire()],
            environment,
        });
        let order = NewOrder {
            order: OrderId::from_uuid(self.uuid()),
            amount: Fen::new(amount.into()),
            subject: "an umbrella".into(),
            expires_at: self.executor.now().saturating_add(LIFETIME).unwrap_or(jiff::Timestamp::MAX),
            means: PaymentMeans::AccountOrCard,
            payer: None,
        };
        let made = platform.expect("the platform's keys were drawn").create_order(&order).await?;
        Ok(made.order)
    }
}

/// A merchant without a server: it asks how its orders stand, and takes every word as heard.
struct AsksItself;

#[async_trait]
impl Transport for AsksItself {
    async fn send(&self, _request: WireRequest) -> Result<WireReply, TransportError> {
        Ok(WireReply { status: 204, headers: Vec::new(), body: Vec::new(), server_timing: None })
    }
}
