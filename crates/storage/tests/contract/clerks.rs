//! The accounts of people at the centre and at the issuer's desk.

use std::collections::BTreeSet;

use tsm_domain::money::reconciliation::Clerk;
use tsm_storage::clerks::{ClerkAccount, ClerkRole, ProposedAccount};
use tsm_storage::se_tsm::PasswordState;
use tsm_storage::{Clerks, StorageError};

use crate::{on_clearing, on_sp_tsm};

fn account(institution: &str, person: &str) -> ClerkAccount {
    ClerkAccount {
        clerk: Clerk { institution: institution.parse().unwrap(), person: person.parse().unwrap() },
        roles: BTreeSet::from([ClerkRole::Proposer]),
        password_hash: "$argon2id$x".into(),
        password_state: PasswordState::Assigned,
        failures: 0,
        closed_until: None,
        proposed: None,
    }
}

#[tokio::test]
async fn a_persons_account_is_changed_from_what_was_read() {
    on_clearing(async |store| check(store).await).await;
    on_sp_tsm(async |store| check(store).await).await;
}

async fn check<S: Clerks + ?Sized>(store: &S) {
    let ann = account("CITY", "ann");
    assert_eq!(store.clerk(&ann.clerk).await.unwrap(), None);
    for _ in 0..2 {
        store.put_clerk(None, ann.clone()).await.unwrap();
    }
    store.put_clerk(None, account("METRO", "ann")).await.unwrap();
    let bob = ClerkAccount {
        roles: [ClerkRole::Hall, ClerkRole::CustomerService].into(),
        ..account("CITY", "bob")
    };
    store.put_clerk(None, bob.clone()).await.unwrap();
    let taken = store.put_clerk(None, ClerkAccount { failures: 3, ..ann.clone() }).await;
    assert!(matches!(taken, Err(StorageError::Conflict { .. })), "the name is taken");
    let proposed = ProposedAccount {
        roles: BTreeSet::from([ClerkRole::Administrator]),
        password_hash: "$argon2id$y".into(),
        by: "bob".parse().unwrap(),
        at: crate::sample::at(3),
    };
    let bob = {
        let with = ClerkAccount { proposed: Some(proposed), ..bob.clone() };
        store.put_clerk(Some(bob), with.clone()).await.unwrap();
        with
    };
    let own = ClerkAccount { password_state: PasswordState::Own, ..ann.clone() };
    store.put_clerk(Some(ann.clone()), own.clone()).await.unwrap();
    let stale = store.put_clerk(Some(ann.clone()), ClerkAccount { failures: 1, ..ann.clone() }).await;
    assert!(matches!(stale, Err(StorageError::Conflict { .. })));
    assert_eq!(store.clerk(&ann.clerk).await.unwrap(), Some(own.clone()));
    let city = store.clerks_of(&ann.clerk.institution).await.unwrap();
    assert_eq!(city, [own, bob]);
    assert!(!format!("{city:?}").contains("argon2"), "the hashes stay out of logs");
}
