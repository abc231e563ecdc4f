//! Login (W-6.2.a, P-5.5.2, table S.5): one request.

use std::sync::Arc;

use futures_util::FutureExt as _;
use jiff::tz::TimeZone;
use subtle::ConstantTimeEq as _;
use tsm_api::conversation::{ConversationReply, IfBusy};
use tsm_api::endpoint::Nothing;
use tsm_api::ids::{RequestId, TaskId};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::se_tsm::wallet::{InstalledApplication, LoginReply, LoginRequest, SessionRights, UpdateMark};
use tsm_api::signature::Assertion;
use tsm_domain::se::{SeRecord, SeStanding};
use tsm_domain::se_application::{SeApplication, SeState};
use tsm_domain::user::{Login, LoginQuestion, Lost, Matched, TokenCheck, TokenRecord, decide_login};
use tsm_domain::{Msisdn, SessionId};
use tsm_storage::se_tsm::ApplicationOnSe;
use tsm_storage::shared::{Session, SessionHolder, WalletRights};

use super::SeTsm;
use super::access::Caller;
use super::convert::{se_id, se_to_wire, state_to_wire};
use super::locks::{self, Lockdown};
use super::number_change;
use super::registration::{binding_seen_from, stop_to_problem};
use super::stop::{Stop, field, keyed, stored};
use super::token_renewal;
use super::work::{Known, note};
use crate::conversation::Start;
use crate::server::Call;

/// POST /wallet/v1/login
pub(super) async fn login(tsm: Arc<SeTsm>, call: Call<Caller, LoginRequest>) -> Result<LoginReply, Problem> {
    let request = call.request;
    let se = se_id(&request.se_id)?;
    let number: Option<Msisdn> = request.msisdn.as_deref().map(str::parse).transpose().map_err(field)?;
    // An unknown element and a wrong token are told apart by nobody.
    let wrong = || Problem::new(ProblemCode::WrongCredentials);
    let record = tsm.store.se(se).await.map_err(stored)?.ok_or_else(wrong)?;
    let tokens = tsm.store.token(se).await.map_err(stored)?.ok_or_else(wrong)?;
    let matched = tsm.match_token(&record, &tokens, request.token.as_bytes())?;
    let today = tsm.now().to_zoned(TimeZone::UTC).date();
    let check = tokens.check(matched, today, tsm.settings.policy.token_validity);
    if check == TokenCheck::Refused {
        return Err(wrong());
    }
    if tokens.renewal.is_some() {
        // The card presented one of the two: that one alone counts from now on.
        tsm.store.put_token(se, tokens.confirmed(matched)).await.map_err(stored)?;
    }
    tsm.reply(record, number, check).await.map_err(stop_to_problem)
}

/// POST /wallet/v1/logout
pub(super) async fn logout(tsm: Arc<SeTsm>, call: Call<Caller, Nothing>) -> Result<Nothing, Problem> {
    let wallet = call.caller.wallet()?;
    tsm.store.end_session(wallet.session).await.map_err(stored)?;
    Ok(Nothing {})
}

impl SeTsm {
    fn match_token(
        &self,
        record: &SeRecord,
        tokens: &TokenRecord,
        presented: &[u8],
    ) -> Result<Matched, Problem> {
        let is = |sealed: &tsm_domain::user::SealedToken| -> Result<bool, Problem> {
            let sealed = tsm_keys::transfer::SealedValue(sealed.sealed.0.clone());
            let token =
                self.keys.unseal(&self.settings.sealing_key, record.se.as_bytes(), &sealed).map_err(keyed)?;
            Ok(bool::from(token.as_slice().ct_eq(presented)))
        };
        if is(&tokens.current)? {
            return Ok(Matched::Current);
        }
        match &tokens.renewal {
            Some(renewal) if is(renewal)? => Ok(Matched::Renewal),
            Some(_) | None => Ok(Matched::Neither),
        }
    }

    async fn reply(
        self: &Arc<Self>,
        record: SeRecord,
        number: Option<Msisdn>,
        check: TokenCheck,
    ) -> Result<LoginReply, Stop> {
        let known = Known::of(self, record).await?;
        // Without a number from the bearer the wallet stands for the bound one (D-24).
        let bound = known.record.binding.as_ref().map(|binding| &binding.number);
        // The number that it is about to be bound to is the same user's (P-5.5.5).
        let next = known.record.number_change.as_ref().map(|change| &change.to);
        let seen_from = number.as_ref().filter(|number| Some(*number) != next).or(bound);
        let question = LoginQuestion {
            lost: if known.record.standing == SeStanding::Lost { Lost::Yes } else { Lost::No },
            kind: known.batch.kind,
            binding: binding_seen_from(self, &known.record, seen_from).await?,
        };
        let decision = decide_login(question);
        // A loss report counts even for the bound number: the phone is not trusted to say whose it is.
        let lost = known.record.standing == SeStanding::Lost;
        let (rights, pending, prompts) = match decision {
            _ if lost => (SessionRights::LockOnly, Vec::new(), vec![ProblemCode::OnLossList.into()]),
            Login::LockAndRefuse => {
                (SessionRights::LockOnly, Vec::new(), vec![ProblemCode::OnLossList.into()])
            }
            Login::Complete { delete } => (SessionRights::Full, delete, Vec::new()),
            Login::QueryOnly { prompt_deletion } => {
                let prompt = Problem::new(ProblemCode::BoundElsewhere);
                (SessionRights::QueryOnly, prompt_deletion, vec![prompt])
            }
            // A registered element without a binding, and one whose number has left the network, register.
            Login::Register if known.record.binding.is_none() && number.is_none() => {
                (SessionRights::Full, Vec::new(), Vec::new())
            }
            Login::Register | Login::RegisterOver { .. } => return Err(ProblemCode::NotRegistered.into()),
            Login::StickOnRefused => return Err(ProblemCode::StateForbids.into()),
        };
        let stored_rights = match rights {
            SessionRights::Full => WalletRights::Full,
            SessionRights::QueryOnly | SessionRights::LockOnly => WalletRights::QueryOnly,
        };
        let session = self.open_wallet_session(&known.record, stored_rights).await?;
        let first = self.first(&known, rights, check).await?;
        let migrations = match rights {
            SessionRights::Full => self.due_migrations(&known.record).await?,
            SessionRights::QueryOnly | SessionRights::LockOnly => Vec::new(),
        };
        let detail = serde_json::json!({ "rights": format!("{rights:?}") });
        self.store.append(note(known.record.se, "wallet", "login", &detail, self.now())).await?;
        Ok(LoginReply {
            assertion: (rights == SessionRights::Full)
                .then(|| self.assertion(&known.record, session.expires_at)),
            session: session.id.to_string(),
            expires_at: session.expires_at,
            rights,
            prompts,
            installed: installed(&known),
            pending_deletions: pending.into_iter().map(Into::into).collect(),
            first: first.map(Box::new),
            migrations,
        })
    }

    /// What must be done on the card before anything else.
    async fn first(
        self: &Arc<Self>,
        known: &Known,
        rights: SessionRights,
        check: TokenCheck,
    ) -> Result<Option<ConversationReply>, Stop> {
        let se = known.record.se;
        let tsm = self.clone();
        let (operation, flow): (_, crate::conversation::Flow) = match (rights, check) {
            (SessionRights::LockOnly, _) => match locks::lockable(known) {
                instances if instances.is_empty() => return Ok(None),
                _ => (
                    "lock",
                    Box::new(move |session| locks::run_all(tsm, session, se, Lockdown::Loss).boxed()),
                ),
            },
            (SessionRights::Full, _) if known.record.number_change.is_some() => {
                ("change number", Box::new(move |session| number_change::run(tsm, session, se).boxed()))
            }
            (SessionRights::Full, _) if self.is_found(known) => {
                ("unlock", Box::new(move |session| locks::run_found(tsm, session, se).boxed()))
            }
            (SessionRights::Full, TokenCheck::RenewFirst) => {
                ("renew token", Box::new(move |session| token_renewal::run(tsm, session, se).boxed()))
            }
            (SessionRights::Full, TokenCheck::Valid | TokenCheck::Refused)
            | (SessionRights::QueryOnly, _) => {
                return Ok(None);
            }
        };
        let start = Start {
            se,
            request: RequestId(self.environment.uuid()),
            task: TaskId(self.environment.uuid()),
            operation,
            if_busy: IfBusy::Replace,
            flow,
        };
        Ok(Some(self.engine.start(start).await?))
    }

    /// Whether the phone was lost, and what that has locked is still locked.
    fn is_found(&self, known: &Known) -> bool {
        !locks::locked_for_loss(known, self.settings.policy.unlock_after_loss).is_empty()
    }

    /// Opens a session of a wallet.
    pub(super) async fn open_wallet_session(
        &self,
        record: &SeRecord,
        rights: WalletRights,
    ) -> Result<Session, Stop> {
        let now = self.now();
        let session = Session {
            id: SessionId::generate(&*self.environment.entropy),
            holder: SessionHolder::Wallet {
                se: record.se,
                number: record.binding.as_ref().map(|binding| binding.number.clone()),
                rights,
            },
            created_at: now,
            expires_at: now.checked_add(self.settings.session_lifetime).unwrap_or(now),
        };
        self.store.put_session(session.clone()).await?;
        Ok(session)
    }

    fn assertion(&self, record: &SeRecord, expires_at: jiff::Timestamp) -> String {
        let assertion = Assertion {
            se_id: se_to_wire(&record.se),
            msisdn: record.binding.as_ref().map(|binding| binding.number.as_str().to_owned()),
            expires_at,
        };
        assertion.sign(&*self.signer)
    }
}

/// The applications on a card, as the wallet's first interface shows them (W-6.3.1).
pub(super) fn installed(known: &Known) -> Vec<InstalledApplication> {
    let on_card = known.applications.iter().filter(|on_se| is_installed(&on_se.record));
    on_card
        .filter_map(|on_se| {
            let application =
                known.catalogue.iter().find(|application| application.aid == on_se.application)?;
            Some(InstalledApplication {
                aid: on_se.application.into(),
                name: application.names.en.clone(),
                version: on_se.version.clone(),
                state: state_to_wire(on_se.record.state),
                update: update_mark(on_se, &application.version.software),
                companion: None,
            })
        })
        .collect()
}

/// Whether an application counts as installed for its user.
pub(super) const fn is_installed(record: &SeApplication) -> bool {
    match record.state {
        SeState::Personalized | SeState::Useable | SeState::Locked => true,
        SeState::Ready | SeState::Loaded | SeState::Instantiated => false,
    }
}

fn update_mark(on_se: &ApplicationOnSe, newest: &str) -> UpdateMark {
    if on_se.version == newest { UpdateMark::Current } else { UpdateMark::Updatable }
}
