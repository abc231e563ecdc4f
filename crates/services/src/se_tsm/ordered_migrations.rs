//! Migrations that are ordered where the phone is not: by the rider for another phone of his, at customer
//! service, and in a hall (P-5.5.4.d). The phones are told at their next login, and go on by themselves; each
//! application is an order of its own (P-5.5.4.e).
//!
//! The order moves nothing. What an SP-TSM then reports of the two phones moves the order along.

use std::sync::Arc;

use serde_json::json;
use tsm_api::endpoint::{Nothing, StaffRole};
use tsm_api::ids::{OperationId as WireOperation, RequestId};
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_api::se_tsm::migrations::{
    DueMigration, MigrationChannel as WireChannel, MigrationDesk, MigrationPart as WirePart,
    MigrationStage as WireStage, NewMigration, OrderedMigration, OrderedMigrations, OwnMigration, Withdrawal,
};
use tsm_domain::migration::{MigrationChannel, MigrationOrder, MigrationPart, MigrationStage};
use tsm_domain::se::{SeRecord, SeStanding};
use tsm_domain::{Msisdn, OperationId, OperatorId, SeId};
use tsm_iso7816::Aid;
use tsm_storage::StorageError;
use tsm_storage::se_tsm::MigrationOrdered;

use super::SeTsm;
use super::access::Caller;
use super::convert::{aid, se_id, se_to_wire};
use super::login::is_installed;
use super::stop::{Stop, field, stored};
use super::work::note;
use crate::names;
use crate::server::Call;

/// How a rider's own orders are signed in the journal.
const RIDER: &str = "rider";

/// POST /operator/v1/elements/{se_id}/migrations
pub(super) async fn order(
    tsm: Arc<SeTsm>,
    call: Call<Caller, NewMigration>,
) -> Result<OrderedMigration, Problem> {
    let from = tsm.found_element(&call).await?;
    let person = call.caller.person()?;
    let NewMigration { request, aid: application, to, desk, clerk } = call.request;
    let clerk = clerk_of(clerk)?;
    let (channel, role) = match desk {
        MigrationDesk::CustomerService => (MigrationChannel::CustomerService, StaffRole::CustomerService),
        MigrationDesk::Hall => (MigrationChannel::Hall, StaffRole::Hall),
    };
    if !person.has_one_of(&[role]) {
        return Err(ProblemCode::NotAllowed.into());
    }
    let to = tsm.known_element(se_id(&to)?).await?;
    let by = person.id().clone();
    let wanted =
        Wanted { request, application: aid(&application)?, from, to, channel, by, clerk: clerk.clone() };
    let ordered = tsm.order_migration(wanted, None).await?;
    let detail = json!({
        "migration": ordered.id, "channel": channel, "from": ordered.from.to_string(), "clerk": clerk,
    });
    tsm.audit(person.id(), "migration-ordered", &detail).await?;
    Ok(record(&ordered))
}

/// GET /operator/v1/elements/{se_id}/migrations
pub(super) async fn of_element(
    tsm: Arc<SeTsm>,
    call: Call<Caller, Nothing>,
) -> Result<OrderedMigrations, Problem> {
    let se = tsm.found_element(&call).await?.se;
    tsm.ordered_migrations(se).await
}

/// POST /operator/v1/migrations/{migration}/withdrawal
pub(super) async fn withdraw(
    tsm: Arc<SeTsm>,
    call: Call<Caller, Withdrawal>,
) -> Result<OrderedMigration, Problem> {
    let known = tsm.found_migration(&call).await?;
    let person = call.caller.person()?;
    let clerk = clerk_of(call.request.clerk.clone())?;
    let withdrawn = tsm.withdraw_migration(&known, person.id(), &call.request.reason).await?;
    let detail = json!({ "migration": known.id, "reason": call.request.reason, "clerk": clerk });
    tsm.audit(person.id(), "migration-withdrawn", &detail).await?;
    Ok(record(&withdrawn))
}

/// POST /wallet/v1/migrations
pub(super) async fn order_own(
    tsm: Arc<SeTsm>,
    call: Call<Caller, OwnMigration>,
) -> Result<OrderedMigration, Problem> {
    let wallet = call.caller.full_wallet()?;
    let OwnMigration { request, aid: application, from, to } = call.request;
    let element = |named: Option<tsm_api::HexBytes>| named.map_or(Ok(wallet.se), |named| se_id(&named));
    // To a rider, phones that are not his are unknown.
    let own = async |se: SeId| -> Result<SeRecord, Problem> {
        let record = tsm.known_element(se).await?;
        let is_own = number_of(&record).is_some_and(|number| Some(number) == wallet.number.as_ref());
        if is_own { Ok(record) } else { Err(ProblemCode::UnknownId.into()) }
    };
    let (from, to) = (own(element(from)?).await?, own(element(to)?).await?);
    let channel = MigrationChannel::SelfService;
    let wanted =
        Wanted { request, application: aid(&application)?, from, to, channel, by: rider(), clerk: None };
    tsm.order_migration(wanted, Some(wallet.se)).await.map(|ordered| record(&ordered))
}

/// GET /wallet/v1/migrations
pub(super) async fn own(tsm: Arc<SeTsm>, call: Call<Caller, Nothing>) -> Result<OrderedMigrations, Problem> {
    let wallet = call.caller.full_wallet()?;
    tsm.ordered_migrations(wallet.se).await
}

/// POST /wallet/v1/migrations/{migration}/withdrawal
pub(super) async fn withdraw_own(
    tsm: Arc<SeTsm>,
    call: Call<Caller, Nothing>,
) -> Result<OrderedMigration, Problem> {
    let known = tsm.found_migration(&call).await?;
    let wallet = call.caller.full_wallet()?;
    let takes_part =
        [known.from, known.to].contains(&wallet.se) && wallet.number == Some(known.number.clone());
    if !takes_part {
        return Err(ProblemCode::UnknownId.into());
    }
    tsm.withdraw_migration(&known, &rider(), "the rider wishes so").await.map(|known| record(&known))
}

/// What is ordered.
struct Wanted {
    request: RequestId,
    application: Aid,
    from: SeRecord,
    to: SeRecord,
    channel: MigrationChannel,
    by: OperatorId,
    /// For whom of another house.
    clerk: Option<OperatorId>,
}

/// The name of a person of another house.
fn clerk_of(named: Option<String>) -> Result<Option<OperatorId>, Problem> {
    let read = named.map(|name| name.parse()).transpose();
    read.map_err(|error| Problem::because(ProblemCode::ValueRefused, format_args!("In detail: {error}.")))
}

impl SeTsm {
    async fn known_element(&self, se: SeId) -> Result<SeRecord, Problem> {
        self.store.se(se).await.map_err(stored)?.ok_or_else(|| ProblemCode::UnknownId.into())
    }

    async fn found_migration<Q>(&self, call: &Call<Caller, Q>) -> Result<MigrationOrder, Problem> {
        let id: WireOperation = call.parameter()?;
        let known = self.store.migration(OperationId::from_uuid(id.0)).await.map_err(stored)?;
        known.ok_or_else(|| ProblemCode::UnknownId.into())
    }

    async fn ordered_migrations(&self, se: SeId) -> Result<OrderedMigrations, Problem> {
        let known = self.store.migrations_of(se).await.map_err(stored)?;
        Ok(OrderedMigrations { migrations: known.iter().map(record).collect() })
    }

    async fn order_migration(&self, wanted: Wanted, asker: Option<SeId>) -> Result<MigrationOrder, Problem> {
        let asker = asker.map_or_else(|| wanted.by.to_string(), |se| se.to_string());
        let id = names::derived(&["migration-order", &asker, &wanted.request.to_string()]);
        let id = OperationId::from_uuid(id);
        if let Some(known) = self.store.migration(id).await.map_err(stored)? {
            return Ok(known);
        }
        let number = self.check_migration(&wanted).await?;
        let Wanted { application, from, to, channel, by, clerk, .. } = wanted;
        let at = self.now();
        let stage = MigrationStage::Ordered;
        let order =
            MigrationOrder { id, application, from: from.se, to: to.se, number, channel, by, at, stage };
        let application = application.to_string();
        let detail =
            json!({ "migration": id, "application": application, "channel": channel, "clerk": clerk });
        let notes = [order.from, order.to];
        let notes = notes.map(|se| note(se, order.by.as_str(), "migration-ordered", &detail, at));
        match self.store.order_migration(order, notes.into()).await.map_err(stored)? {
            MigrationOrdered::Accepted(order) => Ok(order),
            MigrationOrdered::Busy(_) => Err(Problem::because(
                ProblemCode::StateForbids,
                both(
                    "Another migration of this application is ordered for one of the two phones.",
                    "其中一部手机已有该应用的另一项迁移。",
                ),
            )),
        }
    }

    /// Both phones belong to one number and are not lost; the one has the application, the other has not.
    async fn check_migration(&self, wanted: &Wanted) -> Result<Msisdn, Problem> {
        let Wanted { application, from, to, .. } = wanted;
        if from.se == to.se {
            return Err(field("A migration is between two phones."));
        }
        if [from, to].iter().any(|record| record.standing == SeStanding::Lost) {
            return Err(ProblemCode::OnLossList.into());
        }
        let number = number_of(from).filter(|number| number_of(to) == Some(number));
        let number = number.ok_or_else(|| {
            let reason =
                both("The two phones are not registered to the same number.", "两部手机未注册在同一号码下。");
            Problem::because(ProblemCode::NotAllowed, reason)
        })?;
        let holds = async |se: SeId| -> Result<bool, Problem> {
            let on_se = self.store.applications_on(se).await.map_err(stored)?;
            Ok(on_se.iter().any(|on_se| on_se.application == *application && is_installed(&on_se.record)))
        };
        if !holds(from.se).await? {
            return Err(ProblemCode::NotInstalled.into());
        }
        if holds(to.se).await? {
            let reason = both("The other phone has the application already.", "另一部手机已有该应用。");
            return Err(Problem::because(ProblemCode::StateForbids, reason));
        }
        Ok(number.clone())
    }

    async fn withdraw_migration(
        &self,
        known: &MigrationOrder,
        by: &OperatorId,
        reason: &str,
    ) -> Result<MigrationOrder, Problem> {
        let detail = json!({ "migration": known.id, "reason": reason });
        let notes = [known.from, known.to];
        let notes = notes.map(|se| note(se, by.as_str(), "migration-withdrawn", &detail, self.now()));
        let moved = self.store.move_migration(known.id, MigrationStage::Withdrawn, notes.into()).await;
        moved.map_err(|error| match error {
            StorageError::Conflict { .. } => Problem::because(
                ProblemCode::StateForbids,
                both("The application has arrived on the other phone.", "应用已迁入另一部手机。"),
            ),
            other => stored(other),
        })
    }

    /// What a phone has to do now, told at its login.
    pub(super) async fn due_migrations(&self, record: &SeRecord) -> Result<Vec<DueMigration>, Stop> {
        let Some(binding) = &record.binding else { return Ok(Vec::new()) };
        let known = self.store.migrations_of(record.se).await?;
        // An order of somebody who had the phone before is none of this rider's.
        let own = |order: &&MigrationOrder| {
            binding.number == order.number || binding.formerly.contains(&order.number)
        };
        let due = known.iter().rev().filter(own).filter_map(|order| {
            let part = match order.part_of(record.se)? {
                MigrationPart::Out => WirePart::Out,
                MigrationPart::In => WirePart::In,
            };
            Some(DueMigration {
                migration: WireOperation(order.id.as_uuid()),
                aid: order.application.into(),
                part,
            })
        });
        Ok(due.collect())
    }

    /// The provider has closed an application on a phone. When it was ordered to leave, it has left.
    pub(super) async fn migration_left(&self, se: SeId, application: Aid) -> Result<(), Stop> {
        let known = self.store.migrations_of(se).await?;
        let leaving = known.iter().find(|order| {
            order.from == se && order.application == application && order.stage == MigrationStage::Ordered
        });
        self.step_migration(leaving, MigrationStage::Left, "migration-left").await
    }

    /// The card was returned: nobody parks or fetches it any more, whichever of the two phones had it.
    pub(super) async fn migration_ended(&self, se: SeId, application: Aid) -> Result<(), Stop> {
        let known = self.store.migrations_of(se).await?;
        let open = known.iter().find(|order| order.application == application && order.stage.is_open());
        self.step_migration(open, MigrationStage::Withdrawn, "migration-ended-by-return").await
    }

    /// An application came from another phone.
    pub(super) async fn migration_arrived(&self, from: SeId, to: SeId, application: Aid) -> Result<(), Stop> {
        let known = self.store.migrations_of(to).await?;
        let arrived = known.iter().find(|order| {
            (order.from, order.to, order.application) == (from, to, application) && order.stage.is_open()
        });
        self.step_migration(arrived, MigrationStage::Arrived, "migration-arrived").await
    }

    async fn step_migration(
        &self,
        order: Option<&MigrationOrder>,
        to: MigrationStage,
        event: &str,
    ) -> Result<(), Stop> {
        let Some(order) = order else { return Ok(()) };
        let detail = json!({ "migration": order.id });
        let notes = [order.from, order.to];
        let notes = notes.map(|se| note(se, "sp-tsm", event, &detail, self.now()));
        match self.store.move_migration(order.id, to, notes.into()).await {
            // It was withdrawn meanwhile, which moves nothing on the phones.
            Ok(_) | Err(StorageError::Conflict { .. }) => Ok(()),
            Err(other) => Err(other.into()),
        }
    }
}

fn rider() -> OperatorId {
    RIDER.parse().expect("a short word is a name")
}

fn number_of(record: &SeRecord) -> Option<&Msisdn> {
    record.binding.as_ref().map(|binding| &binding.number)
}

fn record(order: &MigrationOrder) -> OrderedMigration {
    OrderedMigration {
        migration: WireOperation(order.id.as_uuid()),
        aid: order.application.into(),
        from: se_to_wire(&order.from),
        to: se_to_wire(&order.to),
        channel: match order.channel {
            MigrationChannel::SelfService => WireChannel::SelfService,
            MigrationChannel::CustomerService => WireChannel::CustomerService,
            MigrationChannel::Hall => WireChannel::Hall,
        },
        stage: match order.stage {
            MigrationStage::Ordered => WireStage::Ordered,
            MigrationStage::Left => WireStage::Left,
            MigrationStage::Arrived => WireStage::Arrived,
            MigrationStage::Withdrawn => WireStage::Withdrawn,
        },
        ordered_at: order.at,
    }
}
