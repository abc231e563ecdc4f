//! The payment platform of a city and its merchant: their keys, and the ways between them. Such platforms show
//! no client certificate; each message is signed.

use std::sync::Arc;

use jiff::SignedDuration;
use tsm_api::client::{HttpsTransport, Transport};
use tsm_api::pki;
use tsm_keys::{KeyReference, KeyService, SoftwareKeyService};
use tsm_services::payment::message::{MessageKey, RegisteredKey};
use tsm_services::payment::{PaymentPlatform, SandboxParts, SandboxPlatform};
use tsm_services::payment_sandbox::{Merchant, Parts, PaymentSandbox};
use tsm_services::runtime::Environment;

use super::plan::{CityPlan, PaymentKeys, Role};
use super::roles::PARTNER_TIMEOUT;
use super::{ceremony, stores};

type Failure = Box<dyn std::error::Error>;

/// How long a payment can be made at most.
const LIFETIME: SignedDuration = SignedDuration::from_mins(30);

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
    Ok(PaymentSandbox::new(Parts {
        store: stores::payment(plan).await?,
        keys: Arc::new(keys),
        key_owner: ceremony::OPERATOR.to_owned(),
        environment: environment.clone(),
        merchants: vec![merchant],
        faults: plan.payment_faults.clone(),
        lifetime: LIFETIME,
    })?)
}

fn registered(plan: &CityPlan) -> Result<&PaymentKeys, Failure> {
    let keys = plan.payment_keys.as_ref();
    keys.ok_or_else(|| "the plan has no keys for payments; it was made by an earlier version".into())
}

fn way(plan: &CityPlan, to: Role) -> Result<Arc<dyn Transport>, Failure> {
    let tls = pki::wallet_config(&plan.trust()?)?;
    Ok(Arc::new(HttpsTransport::new(plan.role(to).address, "localhost", tls, PARTNER_TIMEOUT)?))
}
