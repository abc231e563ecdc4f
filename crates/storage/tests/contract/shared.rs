//! Conversations and their leases, sessions, outbox, incidents, journals.

use futures_util::future::join_all;
use tsm_domain::{ConversationId, IncidentId, OperatorId, SessionId};
use tsm_storage::StorageError;
use tsm_storage::shared::*;

use crate::sample::{at, conversation, delivery, incident, link, note, se, uuid};
use crate::{on_clearing, on_se_tsm, on_sp_tsm};

#[tokio::test]
async fn one_conversation_has_the_link() {
    on_sp_tsm(async |store| {
        let begin = async |n, claim, now, until| {
            store.begin_conversation(conversation(n, se(1)), claim, at(now), at(until)).await.unwrap()
        };
        let Begun::Granted(first) = begin(1, Claim::Wait, 0, 100).await else { panic!("the link is free") };
        assert_eq!(first.epoch, Epoch(1));
        assert_eq!(begin(1, Claim::Wait, 0, 100).await, Begun::Granted(first), "the same one, again");
        let busy = Begun::Busy { by: first.conversation, until: at(100) };
        assert_eq!(begin(2, Claim::Wait, 99, 200).await, busy);
        assert_eq!(
            store.conversation(ConversationId::from_uuid(uuid(2))).await.unwrap(),
            None,
            "it never began"
        );
        let other =
            store.begin_conversation(conversation(3, se(2)), Claim::Wait, at(0), at(100)).await.unwrap();
        assert!(matches!(other, Begun::Granted(_)), "another SE has a link of its own");

        let Begun::Granted(second) = begin(2, Claim::Wait, 100, 200).await else {
            panic!("the lease has ended")
        };
        assert_eq!(second.epoch, Epoch(2));
        let ended = store.conversation(first.conversation).await.unwrap().unwrap().ended.unwrap();
        assert!(ended.outcome.starts_with("taken over"), "{ended:?}");
        let fenced = StorageError::Fenced { se: se(1), held: Epoch(1), current: Epoch(2) };
        assert_eq!(store.extend_lease(first, at(300)).await, Err(fenced));
        store.extend_lease(second, at(300)).await.unwrap();
        let until = Begun::Busy { by: second.conversation, until: at(300) };
        assert_eq!(begin(4, Claim::Wait, 250, 400).await, until);
    })
    .await;
}

/// A thousand at once: one has the link.
///
/// req: P-5.8.8.a
#[tokio::test]
async fn never_two_links_to_one_se() {
    on_se_tsm(async |store| {
        let begin = |n| store.begin_conversation(conversation(n, se(1)), Claim::Wait, at(0), at(100));
        let begun = join_all((1..=1_000).map(begin)).await;
        let is_granted = |begun: &&Result<Begun, StorageError>| matches!(begun, Ok(Begun::Granted(_)));
        assert_eq!(begun.iter().filter(is_granted).count(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_take_over_fences_the_old_conversation_out() {
    on_se_tsm(async |store| {
        let old = link(store, 1, se(1)).await;
        let new = link(store, 2, se(1)).await;
        let end = ConversationEnd { at: at(9), outcome: "done".into(), status_word: Some(0x6985) };
        let refused = store.end_conversation(old, end.clone()).await;
        assert_eq!(refused, Err(StorageError::Fenced { se: se(1), held: old.epoch, current: new.epoch }));
        store.end_conversation(new, end.clone()).await.unwrap();
        store.end_conversation(new, end.clone()).await.unwrap();
        assert_eq!(store.conversation(new.conversation).await.unwrap().unwrap().ended, Some(end));
        let next =
            store.begin_conversation(conversation(3, se(1)), Claim::Wait, at(0), at(10)).await.unwrap();
        assert!(matches!(next, Begun::Granted(fence) if fence.epoch == Epoch(3)), "the lease was given back");
        let listed = store.conversations_of(se(1), 2).await.unwrap();
        assert_eq!(
            listed.iter().map(|row| row.started_at).collect::<Vec<_>>(),
            [at(3), at(2)],
            "newest first"
        );
        let stolen = store.begin_conversation(conversation(3, se(9)), Claim::Wait, at(0), at(10)).await;
        assert!(matches!(stolen, Err(StorageError::Conflict { .. })), "a conversation has one SE");
    })
    .await;
}

#[tokio::test]
async fn sessions_end() {
    on_se_tsm(async |store| {
        let session = |n, holder| Session {
            id: SessionId::from_uuid(uuid(n)),
            holder,
            created_at: at(0),
            expires_at: at(100),
        };
        let wallet = |of| SessionHolder::Wallet { se: of, number: None, rights: WalletRights::Full };
        let clerk: OperatorId = "clerk".parse().unwrap();
        let all = [
            session(1, wallet(se(1))),
            session(2, wallet(se(2))),
            session(3, SessionHolder::Operator(clerk)),
        ];
        for one in all.clone() {
            store.put_session(one).await.unwrap();
        }
        let alive = async |second| {
            let mut found = Vec::new();
            for one in &all {
                let stored = store.session(one.id, at(second)).await.unwrap();
                assert!(stored.is_none_or(|stored| stored == *one));
                found.push(store.session(one.id, at(second)).await.unwrap().is_some());
            }
            found
        };
        assert_eq!(alive(99).await, [true, true, true]);
        assert_eq!(alive(100).await, [false, false, false]);
        store.end_sessions_of(se(1)).await.unwrap();
        assert_eq!(alive(0).await, [false, true, true]);
        store.end_session(all[1].id).await.unwrap();
        store.end_session(all[1].id).await.unwrap();
        assert_eq!(alive(0).await, [false, false, true]);
        assert_eq!(store.sweep_sessions(at(99)).await.unwrap(), 0);
        assert_eq!(store.sweep_sessions(at(100)).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_claimed_message_is_sent_again_after_its_claim() {
    on_clearing(async |store| {
        let (late, early) = (delivery(1, 20), delivery(2, 10));
        for one in [&late, &early] {
            store.put_delivery(one.clone()).await.unwrap();
        }
        assert_eq!(store.claim_deliveries(at(9), at(50), 10).await.unwrap(), []);
        assert_eq!(store.claim_deliveries(at(20), at(50), 1).await.unwrap(), std::slice::from_ref(&early));
        // Whoever claimed it went away without a word.
        let again = store.claim_deliveries(at(50), at(90), 10).await.unwrap();
        assert!(again.contains(&early) && again.contains(&late), "{again:?}");
        store.delivered(early.id).await.unwrap();
        assert_eq!(store.claim_deliveries(at(90), at(99), 10).await.unwrap(), [late]);
    })
    .await;
}

#[tokio::test]
async fn the_outbox_repeats_until_delivered() {
    on_clearing(async |store| {
        let (late, early) = (delivery(1, 20), delivery(2, 10));
        for one in [&late, &early, &early] {
            store.put_delivery(one.clone()).await.unwrap();
        }
        assert_eq!(store.next_delivery_at().await.unwrap(), Some(at(10)));
        assert_eq!(store.due_deliveries(at(9), 10).await.unwrap(), []);
        assert_eq!(store.due_deliveries(at(20), 10).await.unwrap(), [early.clone(), late.clone()]);
        assert_eq!(store.due_deliveries(at(20), 1).await.unwrap(), std::slice::from_ref(&early));
        store.postpone_delivery(early.id, at(30)).await.unwrap();
        let again = Delivery { due_at: at(30), attempts: 1, ..early.clone() };
        assert_eq!(store.due_deliveries(at(30), 10).await.unwrap(), [late.clone(), again]);
        store.delivered(late.id).await.unwrap();
        store.delivered(late.id).await.unwrap();
        store.delivered(early.id).await.unwrap();
        store.put_delivery(late.clone()).await.unwrap();
        store.postpone_delivery(late.id, at(0)).await.unwrap();
        assert_eq!(store.due_deliveries(at(99), 10).await.unwrap(), [], "delivered is delivered");
        assert_eq!(store.next_delivery_at().await.unwrap(), None);
        let unknown = store.delivered(delivery(9, 0).id).await;
        assert!(matches!(unknown, Err(StorageError::Unknown { .. })));
    })
    .await;
}

#[tokio::test]
async fn incidents_are_recorded_once_and_closed_once() {
    on_clearing(async |store| {
        for one in [incident(1, 10), incident(2, 20), incident(1, 99)] {
            store.record_incident(one).await.unwrap();
        }
        assert_eq!(
            store.incidents(IncidentFilter::All, 10).await.unwrap(),
            [incident(2, 20), incident(1, 10)]
        );
        assert_eq!(store.incidents(IncidentFilter::All, 1).await.unwrap(), [incident(2, 20)]);
        let closed = |who: &str| IncidentClosed { by: who.parse().unwrap(), at: at(30), note: "seen".into() };
        store.close_incident(incident(1, 0).id, closed("clerk")).await.unwrap();
        store.close_incident(incident(1, 0).id, closed("chief")).await.unwrap();
        assert_eq!(store.incidents(IncidentFilter::Open, 10).await.unwrap(), [incident(2, 20)]);
        let first = store.incidents(IncidentFilter::All, 10).await.unwrap().pop().unwrap();
        assert_eq!(first.closed, Some(closed("clerk")), "the first word stands");
        let unknown = store.close_incident(IncidentId::from_uuid(uuid(9)), closed("clerk")).await;
        assert!(matches!(unknown, Err(StorageError::Unknown { .. })));
    })
    .await;
}

#[tokio::test]
async fn journals_are_chains() {
    on_se_tsm(async |store| {
        for event in ["login", "download", "delete"] {
            store.append(note(se(1), event)).await.unwrap();
        }
        let again = store.append(note(se(1), "delete")).await.unwrap();
        assert_eq!(again.number, 3, "the same note again is the same step again");
        store.append(note(se(2), "login")).await.unwrap();
        let chain = store.chain(ChainKey::Se(se(1)), 0, 10).await.unwrap();
        assert_eq!(Entry::check_chain(None, &chain), Ok(()));
        assert_eq!(
            chain.iter().map(|entry| entry.note.event.as_str()).collect::<Vec<_>>(),
            ["login", "download", "delete"]
        );
        let rest = store.chain(ChainKey::Se(se(1)), 1, 1).await.unwrap();
        assert_eq!(rest, chain[1..2]);
        assert_eq!(store.chain(ChainKey::Se(se(7)), 0, 10).await.unwrap(), []);
        let heads = store.chain_heads(None, 10).await.unwrap();
        assert_eq!(
            heads.iter().map(|head| (head.number, &head.note.event[..])).collect::<Vec<_>>(),
            [(3, "delete"), (1, "login")]
        );
        assert_eq!(store.chain_heads(Some(ChainKey::Se(se(1))), 10).await.unwrap(), heads[1..]);
    })
    .await;
}
