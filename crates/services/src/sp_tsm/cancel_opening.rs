//! Giving up the opening of a card (W-9.3.b and d). Before anything was sent the order is simply given up.
//! Afterwards the SE-TSM must have seen that nothing is on the secure element: the wallet has the residue deleted
//! first. A list of commands that somebody kept back and plays later makes a purse of a closed card, with
//! nothing on it.

use serde_json::json;
use tsm_api::HexBytes;
use tsm_api::conversation::ApplicationState;
use tsm_api::ids::ConversationId as WireConversation;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_api::se_tsm::peer::StateQuery;
use tsm_domain::card::{CardOrder, CardOrderState, CardRecord, CardState};
use tsm_storage::StorageError;
use tsm_storage::sp_tsm::SpChange;

use super::SpTsm;
use super::stop::Stop;

impl SpTsm {
    /// Gives an order for a card up. Saying so again changes nothing.
    pub(super) async fn cancel_opening(&self, order: CardOrder) -> Result<CardOrder, Stop> {
        match order.state {
            CardOrderState::GivenUp => Ok(order),
            CardOrderState::Accepted => self.give_opening_up(&order).await,
            CardOrderState::PersonalisationIntended => {
                self.check_nothing_there(&order).await?;
                self.give_opening_up(&order).await
            }
            CardOrderState::Opened | CardOrderState::Told => Err(opened()),
        }
    }

    /// The SE-TSM alone sees the registry, and says nothing while it does not know.
    async fn check_nothing_there(&self, order: &CardOrder) -> Result<(), Stop> {
        let query =
            StateQuery { se_id: HexBytes::from(order.se.as_bytes()), aid: HexBytes::from(order.application) };
        let reply = self.links.se_tsm.state(&query).await.map_err(|error| error.to_problem())?;
        match reply.state {
            ApplicationState::Ready | ApplicationState::Loaded => Ok(()),
            ApplicationState::Instantiated
            | ApplicationState::Personalized
            | ApplicationState::Useable
            | ApplicationState::Locked => {
                let reason =
                    both("What was written of the card must be deleted first.", "须先删除已写入的卡片内容。");
                Err(Problem::because(ProblemCode::OutcomeUnknown, reason).into())
            }
        }
    }

    async fn give_opening_up(&self, order: &CardOrder) -> Result<CardOrder, Stop> {
        let conversation = WireConversation(self.environment.uuid());
        let fence = self.take_link(order.se, conversation, "opening given up").await?;
        // Nobody else writes from here on; what was written until now counts.
        let order = self.store.card_order(order.order).await?.ok_or(ProblemCode::UnknownId)?;
        let card = self.store.card(order.card).await?;
        if card.as_ref().is_some_and(|card| card.state != CardState::Issuing) {
            self.give_link_back(fence, "opened").await;
            return Err(opened());
        }
        let state = order.state.moved_to(CardOrderState::GivenUp).map_err(StorageError::from)?;
        let ended = CardOrder { state, ..order };
        let note = self.note(ended.card, "opening-given-up", &json!({ "order": ended.order }));
        let change = SpChange {
            orders: vec![ended.clone()],
            cards: card.map(|card| CardRecord { state: CardState::Closed, ..card }).into_iter().collect(),
            notes: vec![note],
            end: Some(self.end("given up")),
            ..SpChange::default()
        };
        self.store.commit(fence, change).await?;
        Ok(ended)
    }
}

fn opened() -> Stop {
    Problem::because(
        ProblemCode::StateForbids,
        both("The card is open; return it instead.", "卡片已开通，请改办退卡。"),
    )
    .into()
}
