//! A payment statement that comes after two people have let its day go on without it.
//!
//! ```text
//! each night    the days that went on without one are asked for again, oldest first, also while no later day can be
//!               reconciled
//! it comes      its lines count from then on, and the whole day is compared again
//!               what was only for want of it is explained; what is so stays, or is raised
//! ```
//!
//! What people have decided meanwhile stays decided. Where they took money for lost that the statement has, the
//! money is a difference of its own, which two people settle as any other.

use jiff::SignedDuration;
use tsm_domain::OrderId;
use tsm_domain::money::reconciliation::{Cause, Explanation, Judgement};
use tsm_domain::money::settlement::BusinessDay;
use tsm_storage::StorageError;
use tsm_storage::clearing::Books;
use tsm_storage::clearing::settlement::DayRow;

use super::Clearing;
use super::reconciliation::{Reconciled, identity};

/// How long a platform is asked for a day's statement: platforms keep them for months.
const KEPT: SignedDuration = SignedDuration::from_hours(180 * 24);

impl Clearing {
    /// Asks for the statements that days went on without, oldest day first. One that cannot be had holds up none of
    /// the others.
    pub(super) async fn ask_for_late_statements(
        &self,
        days: impl Iterator<Item = DayRow>,
    ) -> Result<(), StorageError> {
        let now = self.now();
        for row in days {
            let lacks_one = row.statement.as_ref().is_some_and(|head| !head.absent.is_empty());
            if lacks_one && row.reconciled_at.is_some() && now.duration_since(row.day.cut()) <= KEPT {
                self.ask_again(row).await?;
            }
        }
        Ok(())
    }

    /// What a day shows about a reference with a statement that came late, after what was found without it is
    /// settled.
    pub(super) async fn settle_late(
        &self,
        day: BusinessDay,
        reference: OrderId,
        mut judgement: Judgement,
        done: &mut Reconciled,
    ) -> Result<Judgement, StorageError> {
        let known = self.store.differences_of(reference).await?;
        let own = known.iter().filter(|known| known.day == day);
        let reappeared: Vec<_> = own.filter_map(|known| known.reappears(&judgement.arrivals)).collect();
        for reappeared in reappeared {
            judgement = judgement.with_reappeared(reappeared);
        }
        let is_found = |judgement: &Judgement, id| {
            let mut found = judgement.findings.iter();
            found.any(|finding| identity(day, finding.cause, &reference.to_string()) == id)
        };
        let of_statement = judgement.arrivals.of_statement();
        for known in known.iter().filter(|known| known.day >= day && is_of_statement(known.cause)) {
            let by = if known.day > day {
                known.explanation(&of_statement)
            } else {
                (!is_found(&judgement, known.id)).then_some(Explanation::LaterStatement)
            };
            let Some(by) = by else { continue };
            let explained = known.clone().explained(day, by);
            if explained != *known {
                self.store.change_difference(known, explained, Books::default()).await?;
                done.explained += 1;
            }
        }
        judgement.findings.retain(|finding| {
            !known.iter().any(|known| match known.day.cmp(&day) {
                std::cmp::Ordering::Less => false,
                std::cmp::Ordering::Equal => known.stands_for(finding),
                std::cmp::Ordering::Greater => known.accounts_for(finding),
            })
        });
        Ok(judgement)
    }
}

/// Whether a difference of this cause can be due to a statement that is missing.
const fn is_of_statement(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::NotInStatement
            | Cause::StatementMissing
            | Cause::CreditWithoutPayment
            | Cause::PaidUnknownToUs
            | Cause::AmountDiffers
            | Cause::PaidTwice
            | Cause::RefundMissing
            | Cause::RefundExtra
            | Cause::RefundAmountDiffers
    )
}
