//! The accounts of people, on PostgreSQL.

use async_trait::async_trait;
use tsm_domain::InstitutionId;
use tsm_domain::money::reconciliation::Clerk;

use super::Postgres;
use super::schema::Tables;
use crate::clerks::{ClerkAccount, Clerks, is_to_write};
use crate::error::Result;
use crate::postgres::database::{Db, single, step};
use crate::postgres::rows::{body, many, one, params, run};

/// The tables: the clearing centre's third migration, the SP-TSM's fourth.
pub(super) const CLERKS: &str = r#"
CREATE TABLE clerks (
    institution TEXT COLLATE "C" NOT NULL, person TEXT COLLATE "C" NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (institution, person)
);
"#;

async fn clerk(db: &Db<'_>, clerk: &Clerk) -> Result<Option<ClerkAccount>> {
    let sql = "SELECT body FROM clerks WHERE institution = $1 AND person = $2";
    one(db, "account of a person", sql, params![clerk.institution.as_str(), clerk.person.as_str()]).await
}

#[async_trait]
impl<S: Tables> Clerks for Postgres<S> {
    async fn clerk(&self, of: &Clerk) -> Result<Option<ClerkAccount>> {
        single!(self, db, clerk(db, of).await)
    }

    async fn clerks_of(&self, institution: &InstitutionId) -> Result<Vec<ClerkAccount>> {
        let sql = "SELECT body FROM clerks WHERE institution = $1 ORDER BY person";
        single!(self, db, many(db, "account of a person", sql, params![institution.as_str()]).await)
    }

    async fn put_clerk(&self, before: Option<ClerkAccount>, after: ClerkAccount) -> Result<()> {
        step!(self, db, {
            if !is_to_write(clerk(db, &after.clerk).await?.as_ref(), before.as_ref(), &after)? {
                return Ok(());
            }
            let sql = "INSERT INTO clerks (institution, person, body) VALUES ($1, $2, $3)
                ON CONFLICT (institution, person) DO UPDATE SET body = excluded.body";
            let Clerk { institution, person } = &after.clerk;
            run(db, sql, params![institution.as_str(), person.as_str(), body(&after)?]).await.map(drop)
        })
    }
}
