//! The centre is asked which proofs it misses beside the work of a flow that can wait for them, and holds nothing up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tsm_api::clearing::purchases::WANTED_PROOFS;
use tsm_api::client::{Transport, TransportError, WireReply, WireRequest};
use tsm_api::conversation::OutcomeResult;
use tsm_api::sp_tsm::wallet::{Operation, OrderState};

use crate::issuer::city::City;
use crate::issuer::online::loaded;

/// So many times the order is asked for before it counts as held up.
const ASKED: usize = 5_000;

/// A centre that does not say what it misses until it is let.
struct Silent {
    way: Arc<dyn Transport>,
    let_speak: Semaphore,
    asked: AtomicUsize,
}

#[async_trait]
impl Transport for Silent {
    async fn send(&self, request: WireRequest) -> Result<WireReply, TransportError> {
        if request.path.starts_with(WANTED_PROOFS.path) {
            self.asked.fetch_add(1, Ordering::SeqCst);
            drop(self.let_speak.acquire().await);
        }
        self.way.send(request).await
    }
}

/// The card has its credit, and the order is done, while the centre has not yet said which proofs it misses.
#[tokio::test]
async fn a_centre_that_is_silent_holds_no_top_up_up() {
    let city = City::new().await;
    let mut phone = loaded(&city, 1_000).await;
    let centre =
        Arc::new(Silent { way: city.centre_way(), let_speak: Semaphore::new(0), asked: AtomicUsize::new(0) });
    city.to_centre.leads_to(centre.clone());
    let order = phone.paid_order(&city, 500).await;
    let wallet = phone.wallet.clone();
    let done = async {
        for _ in 0..ASKED {
            if wallet.order(order).await.unwrap().state == OrderState::Done {
                let asked = centre.asked.load(Ordering::SeqCst);
                centre.let_speak.add_permits(1);
                return asked;
            }
        }
        panic!("the centre's silence holds the top-up up");
    };
    let (outcome, asked) = tokio::join!(phone.operate(Operation::TopUp, Some(order)), done);
    assert_eq!(
        (outcome.result, asked),
        (OutcomeResult::Done, 1),
        "it was asked, and had not answered: {outcome:?}"
    );
    city.settled(1_500).await;
}
