//! Accounts that somebody has to look at, on SQLite: found by their documents, without walking over all of them.

use crate::clearing::Standing;

/// The indices. A query has to name the same condition.
pub(in crate::sqlite) const STANDINGS_4: &str = "
CREATE INDEX accounts_parked ON accounts (card) WHERE json_type(body, '$.account.state.Parked') IS NOT NULL;
CREATE INDEX accounts_refund_payable ON accounts (card)
    WHERE json_type(body, '$.account.state.RefundPayable') IS NOT NULL;
CREATE INDEX accounts_frozen ON accounts (card) WHERE json_type(body, '$.account.freeze') = 'object';
";

/// When an account stands so.
pub(super) const fn condition(standing: Standing) -> &'static str {
    match standing {
        Standing::Parked => "json_type(body, '$.account.state.Parked') IS NOT NULL",
        Standing::RefundPayable => "json_type(body, '$.account.state.RefundPayable') IS NOT NULL",
        Standing::Frozen => "json_type(body, '$.account.freeze') = 'object'",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_condition_has_its_index() {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE accounts (card TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID")
            .unwrap();
        db.execute_batch(STANDINGS_4).unwrap();
        for (standing, index) in [
            (Standing::Parked, "accounts_parked"),
            (Standing::RefundPayable, "accounts_refund_payable"),
            (Standing::Frozen, "accounts_frozen"),
        ] {
            let sql = format!(
                "EXPLAIN QUERY PLAN SELECT body FROM accounts WHERE {} AND card > '3' ORDER BY card LIMIT 9",
                condition(standing)
            );
            let plan: String = db.query_row(&sql, [], |row| row.get(3)).unwrap();
            assert!(plan.contains(index), "{plan}");
        }
    }
}
