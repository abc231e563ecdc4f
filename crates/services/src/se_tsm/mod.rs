//! The SE-TSM: the secure-element issuer's trusted service manager (B-5.2.2, P-5, B-8).
//!
//! | file | does |
//! | --- | --- |
//! | [`access`], `tickets` | who calls, and what shows that it may |
//! | `registration`, `login`, `catalogue`, `lists` | the wallet's way in |
//! | `conversations`, `work`, `record` | operations on a card: their durable story |
//! | `download`, `deletion`, `locks`, `synchronisation`, `token_renewal`, `number_change` | one flow each |
//! | `peers`, `sp_tsms`, `notices` | the SP-TSMs: what they tell, how they are asked, what they are told |
//! | `staff`, `batches`, `providers`, `domains`, `applications`, `elements`, `audit` | the operator's desk |
//!
//! A flow begins with an observation and ends with one; what the card says under its MAC is what gets
//! recorded. Intentions are durable before commands leave, and while one is unknown the next contact
//! settles it.

pub mod access;
mod applications;
mod audit;
mod batches;
mod card_access;
mod catalogue;
mod conversations;
mod convert;
mod deletion;
mod domains;
mod download;
mod elements;
mod eligibility;
mod lists;
mod locks;
mod login;
mod migration;
mod notices;
mod number_change;
mod ordered_migrations;
mod peers;
mod provider_portal;
mod providers;
mod record;
mod registration;
mod sp_tsms;
mod staff;
mod stop;
mod store_leases;
mod synchronisation;
mod tickets;
mod token_renewal;
mod words;
mod work;

use std::sync::Arc;

use jiff::SignedDuration;
use tsm_api::se_tsm::{migrations, operator, peer, provider, wallet};
use tsm_api::signature::MessageSigner;
use tsm_card::registration::TokenForm;
use tsm_domain::policy::Policy;
use tsm_keys::{KeyReference, KeyService};
use tsm_storage::SeTsmStore;

use crate::conversation::{Engine, Limits};
use crate::outbox::Dispatcher;
use crate::runtime::Environment;
use crate::server::{PeerGate, Routes};
use crate::siblings::Siblings;

pub use sp_tsms::{HttpsSpTsms, SpTsms};
pub use staff::FirstAdministrator;

use notices::Notices;
use store_leases::StoreLeases;

/// What an operator sets.
#[derive(Clone)]
pub struct Settings {
    /// The operator's own provider number: what it provides asks nobody.
    pub operator: tsm_domain::ProviderId,
    /// The utilisation protocol.
    pub agreement: wallet::Agreement,
    /// How long a wallet's session lasts.
    pub session_lifetime: SignedDuration,
    /// How long a session of staff lasts.
    pub staff_session_lifetime: SignedDuration,
    /// How long a ticket counts.
    pub ticket_lifetime: SignedDuration,
    /// The switches that the texts leave open.
    pub policy: Policy,
    /// The key that tokens are derived with.
    pub token_key: KeyReference,
    /// The key that stored values are sealed with.
    pub sealing_key: KeyReference,
    /// The registered identifier under which AIDs are assigned.
    pub rid: [u8; 5],
    /// Entries on a page of the catalogue.
    pub page_size: usize,
    /// How long conversations are kept.
    pub limits: Limits,
}

/// What the SE-TSM is built from.
pub struct Parts {
    /// Its store.
    pub store: Arc<dyn SeTsmStore>,
    /// Its keys.
    pub keys: Arc<dyn KeyService>,
    /// Time, randomness, tasks, timers.
    pub environment: Environment,
    /// Signs its word about sessions.
    pub signer: Arc<dyn MessageSigner>,
    /// Reaches the SP-TSMs.
    pub sp_tsms: Arc<dyn SpTsms>,
    /// What the operator sets.
    pub settings: Settings,
}

/// The SE-TSM.
pub struct SeTsm {
    store: Arc<dyn SeTsmStore>,
    keys: Arc<dyn KeyService>,
    environment: Environment,
    signer: Arc<dyn MessageSigner>,
    sp_tsms: Arc<dyn SpTsms>,
    settings: Settings,
    engine: Engine,
    outbox: Dispatcher,
    gate: PeerGate,
    siblings: Option<Arc<dyn Siblings>>,
}

impl SeTsm {
    /// Builds the role.
    pub fn new(parts: Parts) -> Arc<Self> {
        Self::among(parts, None)
    }

    /// Builds one of several processes of the role, which share its store.
    pub fn among(parts: Parts, siblings: Option<Arc<dyn Siblings>>) -> Arc<Self> {
        let Parts { store, keys, environment, signer, sp_tsms, settings } = parts;
        let here = siblings.as_ref().map(|siblings| siblings.here().to_owned());
        let leases = Arc::new(StoreLeases::new(store.clone(), environment.clone(), here));
        let engine = Engine::new(environment.clone(), leases, settings.limits);
        let gate = PeerGate::open(environment.now());
        let notices = Notices { store: store.clone(), sp_tsms: sp_tsms.clone() };
        let outbox = Dispatcher::start(store.clone(), Arc::new(notices), environment.clone());
        Arc::new(Self { store, keys, environment, signer, sp_tsms, settings, engine, outbox, gate, siblings })
    }

    fn now(&self) -> jiff::Timestamp {
        self.environment.now()
    }

    const fn token_form(&self) -> TokenForm {
        match self.settings.policy.token_coding {
            tsm_domain::user::TokenCoding::Dgi => TokenForm::Dgi,
            tsm_domain::user::TokenCoding::StrictTable => TokenForm::StrictTable,
        }
    }
}

/// The role's routes.
pub fn routes(tsm: Arc<SeTsm>) -> Routes<SeTsm> {
    let routes = Routes::new(tsm);
    peer_routes(provider_routes(application_routes(operator_routes(wallet_routes(routes)))))
}

fn wallet_routes(routes: Routes<SeTsm>) -> Routes<SeTsm> {
    routes
        .on(&wallet::AGREEMENT, registration::agreement)
        .on(&wallet::REGISTER, registration::register)
        .on(&wallet::LOGIN, login::login)
        .on(&wallet::LOGOUT, login::logout)
        .on(&wallet::APPLICATIONS, catalogue::page)
        .on(&wallet::APPLICATION, catalogue::details)
        .on(&wallet::LISTS, lists::lists)
        .on(&wallet::ELEMENT, elements::own)
        .on(&wallet::START, conversations::start)
        .on(&wallet::TURN, conversations::turn)
        .on(&wallet::CANCEL, conversations::cancel)
        .on(&wallet::TASKS, conversations::tasks)
        .on(&migrations::ORDER_OWN_MIGRATION, ordered_migrations::order_own)
        .on(&migrations::OWN_MIGRATIONS, ordered_migrations::own)
        .on(&migrations::WITHDRAW_OWN_MIGRATION, ordered_migrations::withdraw_own)
}

fn operator_routes(routes: Routes<SeTsm>) -> Routes<SeTsm> {
    routes
        .on(&operator::LOGIN, staff::login)
        .on(&operator::LOGOUT, staff::logout)
        .on(&operator::PASSWORD, staff::change_password)
        .on(&operator::ADD_STAFF, staff::add)
        .on(&operator::ADD_BATCH, batches::add)
        .on(&operator::BATCHES, batches::list)
        .on(&operator::ADD_PROVIDER, providers::add)
        .on(&operator::PROVIDERS, providers::list)
        .on(&operator::AUDIT_PROVIDER, providers::audit)
        .on(&operator::BLACKLIST, providers::blacklist)
        .on(&operator::ADD_DOMAIN, domains::add)
        .on(&operator::DOMAINS, domains::list)
        .on(&operator::AUDIT_DOMAIN, domains::audit)
        .on(&operator::CHANGE_DOMAIN, domains::change)
        .on(&operator::REMOVE_DOMAIN, domains::remove)
        .on(&operator::ELEMENT, elements::record)
        .on(&operator::ELEMENT_TASKS, elements::tasks)
        .on(&operator::REPORT_LOSS, elements::report_loss)
        .on(&operator::NUMBER_STATE, elements::number_state)
        .on(&operator::CHANGE_NUMBER, number_change::change)
        .on(&operator::WRITE_NUMBER, number_change::write)
        .on(&operator::TERMINATE, elements::terminate)
        .on(&migrations::ORDER_MIGRATION, ordered_migrations::order)
        .on(&migrations::MIGRATIONS, ordered_migrations::of_element)
        .on(&migrations::WITHDRAW_MIGRATION, ordered_migrations::withdraw)
        .on(&operator::AUDIT_TRAIL, audit::trail)
}

fn application_routes(routes: Routes<SeTsm>) -> Routes<SeTsm> {
    routes
        .on(&operator::APPLICATIONS, applications::list)
        .on(&operator::AUDIT_APPLICATION, applications::audit)
        .on(&operator::ASSIGN_AIDS, applications::assign_aids)
        .on(&operator::DEFINE, applications::define)
        .on(&operator::TEST_APPLICATION, applications::test)
        .on(&operator::CONFIRM_TEST, applications::confirm_test)
        .on(&operator::PUBLISH, applications::publish)
        .on(&operator::SUSPEND, applications::suspend)
        .on(&operator::ARCHIVE, applications::archive)
}

fn provider_routes(routes: Routes<SeTsm>) -> Routes<SeTsm> {
    routes
        .on(&provider::LOGIN, provider_portal::login)
        .on(&provider::PASSWORD, provider_portal::change_password)
        .on(&provider::SELF, provider_portal::own_record)
        .on(&provider::UPLOAD, provider_portal::upload)
        .on(&provider::APPLICATIONS, provider_portal::own_applications)
        .on(&provider::APPLICATION, provider_portal::own_application)
        .on(&provider::DOMAINS, provider_portal::own_domains)
}

fn peer_routes(routes: Routes<SeTsm>) -> Routes<SeTsm> {
    routes
        .on(&peer::RESULT, peers::result)
        .on(&peer::OPEN_NOTICE, peers::open_notice)
        .on(&peer::UNSUBSCRIBE_NOTICE, peers::unsubscribe_notice)
        .on(&peer::STATE, peers::state)
        .on(&peer::PING, peers::whoami)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_flow<A, B, C, D, E, F>(_: impl FnOnce(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    /// A parked conversation stays small, so that many thousands fit (aim: 8 KiB).
    #[test]
    fn a_parked_flow_is_small() {
        let sizes = [("download", size_of_flow(download::run)), ("deletion", size_of_flow(deletion::run))];
        for (flow, size) in sizes {
            assert!(size <= 8 << 10, "{flow} takes {size} bytes");
        }
    }
}
