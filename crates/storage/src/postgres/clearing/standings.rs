//! Accounts that somebody has to look at, on PostgreSQL: found by their documents, without walking over all of them.

use crate::clearing::Standing;

/// The indices. A query has to name the same condition.
pub(in crate::postgres) const STANDINGS_4: &str = r"
CREATE INDEX accounts_parked ON accounts (card) WHERE (body::jsonb #> '{account,state,Parked}') IS NOT NULL;
CREATE INDEX accounts_refund_payable ON accounts (card)
    WHERE (body::jsonb #> '{account,state,RefundPayable}') IS NOT NULL;
CREATE INDEX accounts_frozen ON accounts (card) WHERE jsonb_typeof(body::jsonb #> '{account,freeze}') = 'object';
";

/// When an account stands so.
pub(super) const fn condition(standing: Standing) -> &'static str {
    match standing {
        Standing::Parked => "(body::jsonb #> '{account,state,Parked}') IS NOT NULL",
        Standing::RefundPayable => "(body::jsonb #> '{account,state,RefundPayable}') IS NOT NULL",
        Standing::Frozen => "jsonb_typeof(body::jsonb #> '{account,freeze}') = 'object'",
    }
}
