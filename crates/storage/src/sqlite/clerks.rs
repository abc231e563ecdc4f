//! The accounts of people, on SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use tsm_domain::InstitutionId;
use tsm_domain::money::reconciliation::Clerk;

use super::Sqlite;
use super::schema::Schema;
use crate::clerks::{ClerkAccount, Clerks, is_to_write};
use crate::error::Result;
use crate::sqlite::rows::{body, many, one, run};

/// The tables: the clearing centre's third migration, the SP-TSM's fourth.
pub(super) const CLERKS: &str = "
CREATE TABLE clerks (
    institution TEXT NOT NULL, person TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (institution, person)
) WITHOUT ROWID;
";

fn clerk(db: &Connection, clerk: &Clerk) -> Result<Option<ClerkAccount>> {
    let sql = "SELECT body FROM clerks WHERE institution = ?1 AND person = ?2";
    one(db, "account of a person", sql, params![clerk.institution.as_str(), clerk.person.as_str()])
}

#[async_trait]
impl<S: Schema> Clerks for Sqlite<S> {
    async fn clerk(&self, of: &Clerk) -> Result<Option<ClerkAccount>> {
        self.read(|db| clerk(db, of))
    }

    async fn clerks_of(&self, institution: &InstitutionId) -> Result<Vec<ClerkAccount>> {
        let sql = "SELECT body FROM clerks WHERE institution = ?1 ORDER BY person";
        self.read(|db| many(db, "account of a person", sql, [institution.as_str()]))
    }

    async fn put_clerk(&self, before: Option<ClerkAccount>, after: ClerkAccount) -> Result<()> {
        self.write(move |db| {
            if !is_to_write(clerk(db, &after.clerk)?.as_ref(), before.as_ref(), &after)? {
                return Ok(());
            }
            let sql = "INSERT OR REPLACE INTO clerks (institution, person, body) VALUES (?1, ?2, ?3)";
            let Clerk { institution, person } = &after.clerk;
            run(db, sql, params![institution.as_str(), person.as_str(), body(&after)?]).map(drop)
        })
        .await
    }
}
