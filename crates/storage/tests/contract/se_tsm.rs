//! The SE-TSM's steps.

use std::sync::Arc;

use futures_util::future::join_all;
use tsm_domain::application::DeletionMode;
use tsm_domain::application::SubscriberState;
use tsm_domain::se::{Inventory, LossReport, NumberChange, SeStanding};
use tsm_domain::se_application::{Actor, SeApplication, SeState};
use tsm_domain::security_domain::DomainOnSe;
use tsm_domain::subscription::Subscription;
use tsm_domain::task::{Operation, Task, TaskState};
use tsm_domain::{ConversationId, TaskId, TicketId};
use tsm_storage::StorageError;
use tsm_storage::se_tsm::*;
use tsm_storage::shared::{ChainKey, ConversationEnd, IncidentFilter};

use crate::on_se_tsm;
use crate::sample::*;

fn conflict<T>(result: Result<T, StorageError>) -> bool {
    matches!(result, Err(StorageError::Conflict { .. }))
}

#[tokio::test]
async fn records_are_changed_from_the_revision_that_was_read() {
    on_se_tsm(async |store| {
        let mut account = StaffAccount {
            id: "clerk".parse().unwrap(),
            provider: None,
            roles: [].into(),
            password_hash: "$argon2id$".into(),
            password_state: PasswordState::Assigned,
        };
        assert_eq!(store.put_staff(account.clone(), Revision(0)).await, Ok(Revision(1)));
        assert_eq!(
            store.put_staff(account.clone(), Revision(0)).await,
            Ok(Revision(1)),
            "the same step again"
        );
        account.password_state = PasswordState::Own;
        assert!(conflict(store.put_staff(account.clone(), Revision(0)).await), "someone was there before");
        assert_eq!(store.put_staff(account.clone(), Revision(1)).await, Ok(Revision(2)));
        let stored = store.staff(&account.id).await.unwrap().unwrap();
        assert_eq!((stored.value, stored.revision), (account, Revision(2)));
        assert_eq!(store.staff(&"nobody".parse().unwrap()).await, Ok(None));
    })
    .await;
}

#[tokio::test]
async fn uploaded_files_are_kept_by_their_hash() {
    on_se_tsm(async |store| {
        let content: Arc<[u8]> = Arc::from(&b"a load file"[..]);
        let hash = store.put_blob(Arc::clone(&content)).await.unwrap();
        assert_eq!(store.put_blob(Arc::clone(&content)).await.unwrap(), hash);
        assert_eq!(store.blob(hash).await.unwrap(), Some(content));
        assert_eq!(store.blob(tsm_domain::bytes::Sha256Digest([0; 32])).await.unwrap(), None);
    })
    .await;
}

/// Load files, modules, instances and domains: no AID has two owners.
///
/// req: P-5.3.1.a, P-5.4.1.e, P-3.2.d
#[tokio::test]
async fn an_aid_has_one_owner() {
    on_se_tsm(async |store| {
        store.put_application(application(0x30), Revision(0)).await.unwrap();
        store.put_domain(domain(0xD0), Revision(0)).await.unwrap();
        for base in [0x2F, 0x31, 0x32, 0x2E] {
            assert!(conflict(store.put_application(application(base), Revision(0)).await), "{base:02X}");
            assert_eq!(store.application(aid(base)).await, Ok(None), "a refused step changes nothing");
        }
        for taken in [0x30, 0x31, 0x32] {
            assert!(conflict(store.put_domain(domain(taken), Revision(0)).await), "{taken:02X}");
        }
        assert!(conflict(store.put_application(application(0xD0), Revision(0)).await));
        store.put_application(application(0x40), Revision(0)).await.unwrap();
        let used = store.used_aids().await.unwrap();
        assert_eq!(used, [0x30, 0x31, 0x32, 0x40, 0x41, 0x42, 0xD0].map(aid));
        let mut grown = application(0x30);
        grown.load_files[0].aid = aid(0x39);
        assert_eq!(store.put_application(grown.clone(), Revision(1)).await, Ok(Revision(2)));
        store.put_domain(domain(0x31), Revision(0)).await.expect("the AID that was given up is free");
        assert_eq!(store.application(aid(0x30)).await.unwrap().unwrap().value, grown);
        let listed: Vec<_> =
            store.applications().await.unwrap().into_iter().map(|row| row.value.aid).collect();
        assert_eq!(listed, [aid(0x30), aid(0x40)]);
        assert_eq!(store.domains().await.unwrap().len(), 2);
        assert_eq!(store.domain(aid(0xD0)).await.unwrap().unwrap().value, domain(0xD0));
    })
    .await;
}

#[tokio::test]
async fn batches_do_not_overlap() {
    on_se_tsm(async |store| {
        store.put_batch(batch("B1", 0x00, 0x7F)).await.unwrap();
        assert!(matches!(store.put_batch(batch("B2", 0x7F, 0x90)).await, Err(StorageError::Batch(_))));
        store.put_batch(batch("B2", 0x80, 0x90)).await.unwrap();
        store.put_batch(batch("B1", 0x00, 0x7E)).await.unwrap();
        let of = async |n| store.batch_of(se(n)).await.unwrap().map(|batch| batch.id.to_string());
        assert_eq!(of(0x10).await.as_deref(), Some("B1"));
        assert_eq!(of(0x7F).await, None);
        assert_eq!(of(0x80).await.as_deref(), Some("B2"));
        assert_eq!(store.batch(&"B2".parse().unwrap()).await.unwrap(), Some(batch("B2", 0x80, 0x90)));
        assert_eq!(store.batches().await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn ses_are_listed_in_order() {
    on_se_tsm(async |store| {
        for n in [3, 1, 2] {
            store.add_se(se_record(n)).await.unwrap();
        }
        let listed = async |after, limit| -> Vec<_> {
            store.ses(after, limit).await.unwrap().into_iter().map(|record| record.se).collect()
        };
        assert_eq!(listed(None, 2).await, [se(1), se(2)]);
        assert_eq!(listed(Some(se(2)), 2).await, [se(3)]);
        let known = store.add_se(se_record(1)).await.unwrap();
        assert_eq!(known, se_record(1));
        assert_eq!(store.se(se(9)).await, Ok(None));
    })
    .await;
}

fn registration(of: u8, who: Option<u8>, from: BindingFrom, byte: u8) -> Registration {
    Registration {
        se: se(of),
        number: who.map(number),
        from,
        token: token(byte),
        at: at(7),
        notes: vec![note(se(of), "registered")],
    }
}

/// Many at once: one wins, and the others are told who.
///
/// req: P-5.5.2.d
#[tokio::test]
async fn never_two_numbers_on_one_se() {
    on_se_tsm(async |store| {
        store.add_se(se_record(1)).await.unwrap();
        store.add_se(se_record(2)).await.unwrap();
        let tries =
            (0..50).map(|who| store.register_se(registration(1, Some(who), BindingFrom::Nobody, who)));
        let results = join_all(tries).await;
        let won: Vec<_> = results.iter().filter(|result| matches!(result, Ok(Registered::Done(_)))).collect();
        assert_eq!(won.len(), 1, "one number has the SE");
        let record = store.se(se(1)).await.unwrap().unwrap();
        let bound = record.binding.unwrap().number;
        for result in &results {
            match result.as_ref().unwrap() {
                Registered::Done(record) => assert_eq!(record.binding.as_ref().unwrap().number, bound),
                Registered::BoundTo(other) => assert_eq!(*other, bound),
            }
        }
        let who = (0..50).find(|who| number(*who) == bound).unwrap();
        assert_eq!(store.token(se(1)).await.unwrap(), Some(token(who)), "and the TOKEN is the winner's");
        store.register_se(registration(2, Some(who), BindingFrom::Nobody, 9)).await.unwrap();
        let mine = store.ses_of(&bound).await.unwrap();
        assert_eq!(
            mine.iter().map(|record| record.se).collect::<Vec<_>>(),
            [se(1), se(2)],
            "one number, several SEs"
        );
    })
    .await;
}

#[tokio::test]
async fn a_binding_moves_only_from_the_number_that_was_named() {
    on_se_tsm(async |store| {
        store.add_se(se_record(1)).await.unwrap();
        let bound = |result| match result {
            Ok(Registered::Done(record)) => {
                record.binding.map(|binding: tsm_domain::se::Binding| binding.number)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(bound(store.register_se(registration(1, None, BindingFrom::Nobody, 1)).await), None);
        assert_eq!(
            bound(store.register_se(registration(1, Some(1), BindingFrom::Nobody, 2)).await),
            Some(number(1))
        );
        assert_eq!(
            bound(store.register_se(registration(1, Some(1), BindingFrom::Nobody, 2)).await),
            Some(number(1))
        );
        let wrong = registration(1, Some(2), BindingFrom::Number(number(3)), 3);
        assert_eq!(store.register_se(wrong).await, Ok(Registered::BoundTo(number(1))));
        let silent = registration(1, None, BindingFrom::Nobody, 3);
        assert_eq!(
            store.register_se(silent).await,
            Ok(Registered::BoundTo(number(1))),
            "nobody takes a number away"
        );
        assert_eq!(store.token(se(1)).await.unwrap(), Some(token(2)));
        let over = registration(1, Some(2), BindingFrom::Number(number(1)), 4);
        assert_eq!(bound(store.register_se(over).await), Some(number(2)));
        assert_eq!(store.ses_of(&number(1)).await.unwrap(), []);
        let unknown = store.register_se(registration(9, Some(1), BindingFrom::Nobody, 5)).await;
        assert!(matches!(unknown, Err(StorageError::Unknown { .. })));
        let chain = store.chain(ChainKey::Se(se(1)), 0, 10).await.unwrap();
        assert!(!chain.is_empty(), "registrations are journalled");
    })
    .await;
}

/// req: P-5.5.2.k
#[tokio::test]
async fn a_binding_is_kept_while_a_subscription_lives() {
    on_se_tsm(async |store| {
        store.add_se(se_record(1)).await.unwrap();
        store.register_se(registration(1, Some(1), BindingFrom::Nobody, 1)).await.unwrap();
        assert_eq!(store.unbind_se(se(1), &number(2), vec![]).await, Ok(Unbound::NotBound));
        let living = subscription(1, se(1), number(1));
        let fence = link(store, 1, se(1)).await;
        let change = |subscription: &Subscription| SeChange {
            subscriptions: vec![subscription.clone()],
            ..SeChange::default()
        };
        let applications = vec![application_on_se(0x30)];
        store.commit(fence, SeChange { applications, ..change(&living) }).await.unwrap();
        assert_eq!(
            store.unbind_se(se(1), &number(1), vec![]).await,
            Ok(Unbound::Subscribed(vec![aid(0x30)]))
        );
        let cancelled: Subscription = living.cancelled(at(8));
        store.commit(fence, change(&cancelled)).await.unwrap();
        assert_eq!(store.subscription(cancelled.id).await.unwrap(), Some(cancelled));
        assert_eq!(store.unbind_se(se(1), &number(1), vec![note(se(1), "log-off")]).await, Ok(Unbound::Done));
        assert_eq!(store.unbind_se(se(1), &number(1), vec![]).await, Ok(Unbound::NotBound));
        assert_eq!(store.token(se(1)).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn tokens_standings_and_numbers() {
    on_se_tsm(async |store| {
        store.add_se(se_record(1)).await.unwrap();
        store.put_token(se(1), token(1)).await.unwrap();
        assert_eq!(store.token(se(1)).await.unwrap(), Some(token(1)));
        assert!(matches!(store.put_token(se(9), token(1)).await, Err(StorageError::Unknown { .. })));
        let loss = LossReport { at: at(4), number: Some(number(1)) };
        let change = |number, standing, loss| LossChange { number, standing, loss };
        let lost = change(1, SeStanding::Lost, Some(loss.clone()));
        store.set_standing(se(1), lost.clone(), vec![delivery(1, 0)], vec![]).await.unwrap();
        let record = store.se(se(1)).await.unwrap().unwrap();
        assert_eq!((record.standing, record.loss, record.loss_changes), (SeStanding::Lost, Some(loss), 1));
        for number in [0, 1, 3] {
            let found = change(number, SeStanding::Active, None);
            let refused = store.set_standing(se(1), found, vec![delivery(2, 0)], vec![]).await;
            assert!(matches!(refused, Err(StorageError::Conflict { .. })), "{number}");
        }
        assert_eq!(store.se(se(1)).await.unwrap().unwrap().standing, SeStanding::Lost);
        let told = store.due_deliveries(at(10), 10).await.unwrap();
        assert_eq!(told.len(), 1, "who is told is stored with the change, and with nothing else");
        store.set_standing(se(1), change(2, SeStanding::Active, None), vec![], vec![]).await.unwrap();
        let record = store.se(se(1)).await.unwrap().unwrap();
        assert_eq!((record.standing, record.loss, record.loss_changes), (SeStanding::Active, None, 2));
        let known = |last, purpose| NumberRecord {
            number: number(last),
            state: SubscriberState::InNetwork,
            province: Some("32".into()),
            purpose,
        };
        store.put_number(known(1, NumberPurpose::Customer)).await.unwrap();
        store.put_number(known(2, NumberPurpose::Test)).await.unwrap();
        assert_eq!(store.number(&number(1)).await.unwrap(), Some(known(1, NumberPurpose::Customer)));
        assert_eq!(store.test_numbers().await.unwrap(), [number(2)].into());
        store.put_number(known(2, NumberPurpose::Customer)).await.unwrap();
        assert_eq!(store.test_numbers().await.unwrap(), [].into());
    })
    .await;
}

/// A change of number leaves the binding until the SE shows the new one; then the user keeps what he was called
/// before, and another user does not inherit it.
#[tokio::test]
async fn a_number_changes_in_two_steps() {
    on_se_tsm(async |store| {
        store.add_se(se_record(1)).await.unwrap();
        let change = |from, to| NumberChange { from: number(from), to: number(to), since: at(2) };
        let order =
            async |from, to| store.order_number_change(se(1), change(from, to), vec![]).await.unwrap();
        assert_eq!(order(1, 2).await, NumberChangeOrdered::BoundElsewhere, "it is free");
        store.register_se(registration(1, Some(1), BindingFrom::Nobody, 1)).await.unwrap();
        assert_eq!(order(3, 2).await, NumberChangeOrdered::BoundElsewhere);
        let NumberChangeOrdered::Accepted(record) = order(1, 2).await else { panic!() };
        assert_eq!(record.binding.as_ref().unwrap().number, number(1));
        assert_eq!(record.number_change, Some(change(1, 2)));
        assert_eq!(store.se(se(1)).await.unwrap(), Some(record.clone()));

        let fence = link(store, 1, se(1)).await;
        let binding = record.binding.unwrap().renumbered(number(2), at(3));
        let done = SeChange { renumbered: Some(binding.clone()), ..SeChange::default() };
        store.commit(fence, done).await.unwrap();
        let record = store.se(se(1)).await.unwrap().unwrap();
        assert_eq!((record.number_change.clone(), record.binding.clone()), (None, Some(binding)));
        assert_eq!(record.binding.as_ref().unwrap().formerly, [number(1)]);
        assert_eq!(order(1, 2).await, NumberChangeOrdered::Accepted(record), "it was carried out");
        assert_eq!(store.ses_of(&number(2)).await.unwrap().len(), 1);
        assert_eq!(store.ses_of(&number(1)).await.unwrap(), []);

        let NumberChangeOrdered::Accepted(next) = order(2, 3).await else { panic!() };
        assert_eq!(
            order(1, 2).await,
            NumberChangeOrdered::Accepted(next.clone()),
            "an order that comes late"
        );
        assert_eq!(order(4, 2).await, NumberChangeOrdered::BoundElsewhere);
        assert_eq!(store.se(se(1)).await.unwrap(), Some(next));
        let NumberChangeOrdered::Accepted(back) = order(3, 2).await else { panic!() };
        assert_eq!(back.number_change, Some(change(2, 2)), "it is taken back");
    })
    .await;
}

fn intention(conversation: ConversationId, n: u32, what: Intended, outcome: Outcome) -> Intention {
    Intention { conversation, number: n, what, outcome, at: at(i64::from(n)) }
}

#[tokio::test]
async fn a_change_about_an_se_is_stored_as_a_whole() {
    on_se_tsm(async |store| {
        store.add_se(se_record(1)).await.unwrap();
        let fence = link(store, 1, se(1)).await;
        let loaded = SeApplication { state: SeState::Loaded, ..application_on_se(0x30).record };
        let on_se = ApplicationOnSe { record: loaded, ..application_on_se(0x30) };
        let made = DomainOnSe::created(aid(0xD0), 1, at(2));
        let intended = |outcome| {
            vec![
                intention(fence.conversation, 1, Intended::CreateDomain(aid(0xD0)), Outcome::Done),
                intention(fence.conversation, 2, Intended::Delete(aid(0x30), DeletionMode::Full), outcome),
            ]
        };
        let inventory = Inventory { entries: vec![], ..Inventory::default() };
        let change = SeChange {
            observed: Some((inventory.clone(), at(6))),
            applications: vec![on_se.clone()],
            domains: vec![made],
            subscriptions: vec![subscription(1, se(1), number(1))],
            intentions: intended(Outcome::Unknown),
            token: Some(token(5)),
            incidents: vec![incident(1, 6)],
            deliveries: vec![delivery(1, 6)],
            notes: vec![note(se(1), "domain-created"), note(se(1), "loaded")],
            ..SeChange::default()
        };
        for _ in 0..2 {
            store.commit(fence, change.clone()).await.unwrap();
            let record = store.se(se(1)).await.unwrap().unwrap();
            assert_eq!((record.inventory, record.observed_at), (inventory.clone(), Some(at(6))));
            assert_eq!(store.applications_on(se(1)).await.unwrap(), std::slice::from_ref(&on_se));
            assert_eq!(store.domains_on(se(1)).await.unwrap(), [made]);
            assert_eq!(store.subscriptions_of(se(1)).await.unwrap(), [subscription(1, se(1), number(1))]);
            assert_eq!(store.open_intentions(se(1)).await.unwrap(), intended(Outcome::Unknown)[1..]);
            assert_eq!(store.token(se(1)).await.unwrap(), Some(token(5)));
            assert_eq!(store.incidents(IncidentFilter::Open, 10).await.unwrap(), [incident(1, 6)]);
            assert_eq!(store.due_deliveries(at(6), 10).await.unwrap(), [delivery(1, 6)]);
            assert_eq!(
                store.chain(ChainKey::Se(se(1)), 0, 10).await.unwrap().len(),
                2,
                "stored again: nothing new"
            );
        }
        assert_eq!(store.domain_holders(aid(0xD0)).await, Ok(1));
        assert_eq!(store.application_holders(aid(0x30)).await, Ok(1));
        let gone = SeChange {
            applications: vec![application_on_se(0x30)],
            removed_domains: vec![aid(0xD0)],
            intentions: intended(Outcome::Done),
            end: Some(ConversationEnd { at: at(9), outcome: "deleted".into(), status_word: None }),
            ..SeChange::default()
        };
        store.commit(fence, gone).await.unwrap();
        assert_eq!(store.domain_holders(aid(0xD0)).await, Ok(0));
        assert_eq!(store.application_holders(aid(0x30)).await, Ok(0));
        assert_eq!(store.open_intentions(se(1)).await.unwrap(), []);
        let ended = store.conversation(fence.conversation).await.unwrap().unwrap();
        assert_eq!(ended.ended.unwrap().outcome, "deleted");
    })
    .await;
}

/// What a conversation that lost the link still wants to write is refused whole.
#[tokio::test]
async fn a_fenced_change_changes_nothing() {
    on_se_tsm(async |store| {
        store.add_se(se_record(1)).await.unwrap();
        let old = link(store, 1, se(1)).await;
        link(store, 2, se(1)).await;
        let change = SeChange {
            applications: vec![application_on_se(0x30)],
            deliveries: vec![delivery(1, 0)],
            notes: vec![note(se(1), "loaded")],
            ..SeChange::default()
        };
        assert!(matches!(store.commit(old, change).await, Err(StorageError::Fenced { .. })));
        assert_eq!(store.applications_on(se(1)).await.unwrap(), []);
        assert_eq!(store.due_deliveries(at(9), 10).await.unwrap(), []);
        assert_eq!(store.chain(ChainKey::Se(se(1)), 0, 10).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_ticket_is_used_by_one_conversation() {
    on_se_tsm(async |store| {
        let by = |n| ConversationId::from_uuid(uuid(n));
        let ticket = Ticket {
            id: TicketId::from_uuid(uuid(1)),
            se: se(1),
            application: aid(0x30),
            allows: TicketAllows::Download,
            expires_at: at(100),
            used_by: None,
        };
        assert_eq!(store.use_ticket(ticket.id, by(1), at(0)).await, Ok(TicketUse::Unknown));
        store.put_ticket(ticket.clone()).await.unwrap();
        assert_eq!(store.use_ticket(ticket.id, by(1), at(100)).await, Ok(TicketUse::Unknown), "it has ended");
        let used = Ticket { used_by: Some(by(1)), ..ticket.clone() };
        assert_eq!(store.use_ticket(ticket.id, by(1), at(99)).await, Ok(TicketUse::Granted(used.clone())));
        assert_eq!(store.use_ticket(ticket.id, by(1), at(200)).await, Ok(TicketUse::Granted(used)), "again");
        assert_eq!(store.use_ticket(ticket.id, by(2), at(99)).await, Ok(TicketUse::UsedBy(by(1))));
        store.put_ticket(ticket.clone()).await.unwrap();
        assert_eq!(store.use_ticket(ticket.id, by(2), at(99)).await, Ok(TicketUse::UsedBy(by(1))));
    })
    .await;
}

/// A thousand tasks for one SE, asked for and started at the same time: never two run, and their order is kept.
///
/// req: P-5.8.8.a
#[tokio::test]
async fn a_thousand_tasks_wait_and_one_runs() {
    on_se_tsm(async |store| {
        let task = |n: u128| Task {
            id: TaskId::from_uuid(uuid(n)),
            se: se(1),
            operation: Operation::Synchronise,
            actor: Actor::User,
            created_at: at(n as i64),
            due_at: at(0),
            state: TaskState::Waiting,
        };
        join_all((1..=1_000).map(|n| store.enqueue_task(task(n)))).await.into_iter().for_each(Result::unwrap);
        for n in 1..=40 {
            let started = join_all((0..3).map(|_| store.start_task(se(1), at(9)))).await;
            let running: Vec<_> =
                started.into_iter().filter_map(Result::unwrap).map(|task| task.id).collect();
            assert_eq!(running, [task(n).id], "one of the three that asked, and the oldest task");
            store.finish_task(se(1), task(n).id, TaskState::Done).await.unwrap();
        }
        let waiting: Vec<_> = store.tasks_of(se(1)).await.unwrap().into_iter().map(|task| task.id).collect();
        assert_eq!(waiting, (41..=1_000).map(|n| task(n).id).collect::<Vec<_>>(), "the others wait in order");
    })
    .await;
}

/// req: P-5.8.8.e
#[tokio::test]
async fn one_task_runs_and_the_others_wait() {
    on_se_tsm(async |store| {
        let task = |n: u128| Task {
            id: TaskId::from_uuid(uuid(n)),
            se: se(1),
            operation: Operation::Synchronise,
            actor: Actor::User,
            created_at: at(n as i64),
            due_at: at(0),
            state: TaskState::Waiting,
        };
        for n in [2, 1, 2] {
            store.enqueue_task(task(n)).await.unwrap();
        }
        let first = store.start_task(se(1), at(9)).await.unwrap().unwrap();
        assert_eq!((first.id, first.state), (task(1).id, TaskState::Running));
        assert_eq!(store.start_task(se(1), at(9)).await, Ok(None), "one link");
        assert_eq!(store.start_task(se(2), at(9)).await, Ok(None));
        let listed: Vec<_> =
            store.tasks_of(se(1)).await.unwrap().into_iter().map(|task| (task.id, task.state)).collect();
        assert_eq!(listed, [(task(1).id, TaskState::Running), (task(2).id, TaskState::Waiting)]);
        store.finish_task(se(1), task(1).id, TaskState::Done).await.unwrap();
        store.finish_task(se(1), task(1).id, TaskState::Terminated("late".into())).await.unwrap();
        assert_eq!(store.start_task(se(1), at(9)).await.unwrap().unwrap().id, task(2).id);
        store.enqueue_task(task(1)).await.unwrap();
        assert_eq!(store.tasks_of(se(1)).await.unwrap().len(), 1, "a finished task does not come back");
        let unknown = store.finish_task(se(1), task(9).id, TaskState::Done).await;
        assert!(matches!(unknown, Err(StorageError::Unknown { .. })));
    })
    .await;
}
