//! The payment platform of a city and its merchant: their keys, and the ways between them. Such platforms show
//! no client certificate; each message is signed.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::SignedDuration;
use tsm_api::client::{ClearingPeer, HttpsTransport, Transport, TransportError, WireReply, WireRequest};
use tsm_api::pki;
use tsm_domain::money::PayerToken;
use tsm_domain::{Fen, OrderId, TerminalNumber};
use tsm_keys::{KeyReference, KeyService, SoftwareKeyService};
use tsm_services::conversation::Limits;
use tsm_services::payment::message::{MessageKey, RegisteredKey};
use tsm_services::payment::{NewOrder, PaymentMeans, PaymentPlatform, SandboxParts, SandboxPlatform};
use tsm_services::payment_sandbox::{CardAcceptance, Merchant, Parts, PaymentSandbox};
use tsm_services::runtime::Environment;
use tsm_services::siblings::Siblings;

use super::plan::{CityPlan, PaymentKeys, Role};
use super::roles::PARTNER_TIMEOUT;
use super::{ceremony, roles, stores};

type Failure = Box<dyn std::error::Error>;

/// How long a payment can be made at most.
const LIFETIME: SignedDuration = SignedDuration::from_mins(30);
/// How long an attempt to pay from a card stays open before the clearing centre hears of it.
const UNPROVEN_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// The platform as the card issuer sees it.
pub fn platform(
    plan: &CityPlan,
    keys: &SoftwareKeyService,
    environment: &Environment,
) -> Result<Arc<dyn PaymentPlatform>, Failure> {
    platform_with(plan, keys, ceremony::merchant_key(), environment)
}

/// The platform as the clearing centre sees it, which fetches the card issuer's statements there.
pub fn statements(
    plan: &CityPlan,
    keys: &SoftwareKeyService,
    environment: &Environment,
) -> Result<Arc<dyn PaymentPlatform>, Failure> {
    platform_with(plan, keys, ceremony::statement_key(), environment)
}

fn platform_with(
    plan: &CityPlan,
    keys: &SoftwareKeyService,
    key: KeyReference,
    environment: &Environment,
) -> Result<Arc<dyn PaymentPlatform>, Failure> {
    let keys: Arc<dyn KeyService> = Arc::new(keys.clone());
    let platform = SandboxPlatform::new(SandboxParts {
        transport: way(plan, Role::Payment)?,
        merchant: plan.sp_tsm.institution.clone(),
        key: MessageKey::open(keys, key)?,
        platform_keys: registered(plan)?.platform.clone(),
        environment: environment.clone(),
    })?;
    Ok(Arc::new(platform))
}

/// The platform itself.
pub async fn sandbox(
    plan: &CityPlan,
    keys: SoftwareKeyService,
    siblings: Option<Arc<dyn Siblings>>,
    environment: &Environment,
) -> Result<Arc<PaymentSandbox>, Failure> {
    let merchant = Merchant {
        institution: plan.sp_tsm.institution.clone(),
        keys: vec![
            RegisteredKey::from_wire(&registered(plan)?.statements)?,
            RegisteredKey::from_wire(&registered(plan)?.merchant)?,
        ],
        link: way(plan, Role::SpTsm)?,
    };
    let mut merchants = vec![merchant];
    if let Some(shop) = &registered(plan)?.shop {
        merchants.push(Merchant {
            institution: shop.institution.clone(),
            keys: vec![RegisteredKey::from_wire(&shop.key)?],
            link: Arc::new(AsksItself),
        });
    }
    let parts = Parts {
        store: stores::payment(plan).await?,
        keys: Arc::new(keys),
        key_owner: ceremony::OPERATOR.to_owned(),
        environment: environment.clone(),
        merchants,
        faults: plan.payment_faults.clone(),
        lifetime: LIFETIME,
        cards: cards(plan, environment)?,
    };
    Ok(PaymentSandbox::among(parts, siblings)?)
}

/// What the platform needs to take the city's transit cards: it is a terminal that the centre knows.
fn cards(plan: &CityPlan, environment: &Environment) -> Result<Option<CardAcceptance>, Failure> {
    // The keys of a city of an earlier version have no purchase root for it.
    if registered(plan)?.shop.is_none() {
        return Ok(None);
    }
    Ok(Some(CardAcceptance {
        terminal: TerminalNumber::from_bcd(roles::ONLINE)?,
        issuers: vec![(roles::CARD_NUMBER_PREFIX.to_owned(), roles::purse_keys())],
        centre: ClearingPeer::new(roles::partner(plan, Role::Payment, Role::Clearing, environment)?),
        limits: Limits::default(),
        unproven_after: UNPROVEN_AFTER,
    }))
}

/// The platform as the city's shop sees it.
pub fn shop(plan: &CityPlan, environment: &Environment) -> Result<SandboxPlatform, Failure> {
    let shop = registered(plan)?.shop.as_ref();
    let shop = shop.ok_or("the city was set up by an earlier version and has no shop; start a new one")?;
    let keys = ceremony::open_key_file(plan, &shop.keys, environment.entropy.clone())?;
    Ok(SandboxPlatform::new(SandboxParts {
        transport: way(plan, Role::Payment)?,
        merchant: shop.institution.clone(),
        key: MessageKey::open(Arc::new(keys), ceremony::shop_key())?,
        platform_keys: registered(plan)?.platform.clone(),
        environment: environment.clone(),
    })?)
}

/// An order of the shop, which a rider may pay from a transit card.
pub fn order(
    environment: &Environment,
    amount_fen: u32,
    subject: &str,
    payer: Option<PayerToken>,
) -> NewOrder {
    let now = environment.now();
    NewOrder {
        // The number is the right to pay, so it is drawn.
        order: OrderId::generate(&*environment.entropy),
        amount: Fen::new(amount_fen.into()),
        subject: subject.to_owned(),
        expires_at: now.saturating_add(LIFETIME).unwrap_or(now),
        means: PaymentMeans::AccountOrCard,
        payer,
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

fn registered(plan: &CityPlan) -> Result<&PaymentKeys, Failure> {
    let keys = plan.payment_keys.as_ref();
    keys.ok_or_else(|| "the plan has no keys for payments; it was made by an earlier version".into())
}

fn way(plan: &CityPlan, to: Role) -> Result<Arc<dyn Transport>, Failure> {
    let tls = pki::wallet_config(&plan.trust()?)?;
    Ok(Arc::new(HttpsTransport::new(plan.role(to).address, "localhost", tls, PARTNER_TIMEOUT)?))
}
