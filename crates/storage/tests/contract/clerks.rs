//! The accounts of people at the centre.

use std::collections::BTreeSet;

use tsm_domain::money::reconciliation::Clerk;
use tsm_storage::StorageError;
use tsm_storage::clerks::{ClerkAccount, ClerkRole};
use tsm_storage::se_tsm::PasswordState;

use crate::on_clearing;

fn account(institution: &str, person: &str) -> ClerkAccount {
    ClerkAccount {
        clerk: Clerk { institution: institution.parse().unwrap(), person: person.parse().unwrap() },
        roles: BTreeSet::from([ClerkRole::Proposer]),
        password_hash: "$argon2id$x".into(),
        password_state: PasswordState::Assigned,
        failures: 0,
        closed_until: None,
    }
}

#[tokio::test]
async fn a_persons_account_is_changed_from_what_was_read() {
    on_clearing(async |store| {
        let ann = account("CITY", "ann");
        assert_eq!(store.clerk(&ann.clerk).await.unwrap(), None);
        for _ in 0..2 {
            store.put_clerk(None, ann.clone()).await.unwrap();
        }
        store.put_clerk(None, account("METRO", "ann")).await.unwrap();
        store.put_clerk(None, account("CITY", "bob")).await.unwrap();
        let taken = store.put_clerk(None, ClerkAccount { failures: 3, ..ann.clone() }).await;
        assert!(matches!(taken, Err(StorageError::Conflict { .. })), "the name is taken");
        let own = ClerkAccount { password_state: PasswordState::Own, ..ann.clone() };
        store.put_clerk(Some(ann.clone()), own.clone()).await.unwrap();
        let stale = store.put_clerk(Some(ann.clone()), ClerkAccount { failures: 1, ..ann.clone() }).await;
        assert!(matches!(stale, Err(StorageError::Conflict { .. })));
        assert_eq!(store.clerk(&ann.clerk).await.unwrap(), Some(own.clone()));
        let city = store.clerks_of(&ann.clerk.institution).await.unwrap();
        assert_eq!(city, [own, account("CITY", "bob")]);
        assert!(!format!("{:?}", city[0]).contains("argon2"), "the hash stays out of logs");
    })
    .await;
}
