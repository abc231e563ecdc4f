//! What the riders do, step by step, and what each step costs.

use std::time::Duration;

use jiff::SignedDuration;
use tsm_api::HexBytes;
use tsm_api::ids::PaymentId;
use tsm_domain::environment::Clock as _;
use tsm_domain::money::settlement::BusinessDay;
use tsm_services::payment::{PaymentPlatform as _, PlatformState};
use tsm_terminal::gate::Passage;
use tsm_terminal::terminal::TapError;

use super::narrator::Narrator;
use super::rider::{Deletion, RiderPhone};
use crate::city::centre::Centre;
use crate::city::gates::CityGate;
use crate::city::plan::CityPlan;
use crate::city::{CityError, TRANSIT_AID, in_step, payments, roles};
use crate::environment::{ShiftedClock, SystemClock};
use crate::report::{Cost, StepCost, yuan};

/// What each rider pays in.
const TOP_UP_FEN: u32 = 5_000;
/// What an umbrella costs.
const PRICE_FEN: u32 = 500;
/// Commands of the opening after which the second phone's power is cut: in the middle of LOAD.
const COMMANDS_BEFORE_THE_CUT: u64 = 40;
/// How often, and how long apart, a phone asks whether a closed card may go.
const PATIENCE: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);
/// The city's transit card, as the catalogue names it.
const TRANSIT_CARD: &str = "Harbour Transit Card";
/// The application without value.
const GREETING_CARD: &str = "Greeting Card";

/// A rider with a phone, and what it has cost so far.
struct Rider<'a> {
    phone: Box<dyn RiderPhone>,
    suffix: &'static str,
    narrator: &'a mut Narrator,
    steps: &'a mut Vec<StepCost>,
}

/// The first rider's day: everything goes well.
pub async fn first_rider(
    phone: Box<dyn RiderPhone>,
    gates: &mut [CityGate; 2],
    plan: &CityPlan,
    narrator: &mut Narrator,
    steps: &mut Vec<StepCost>,
) -> Result<(), CityError> {
    narrator.chapter("The first phone");
    let mut rider = Rider { phone, suffix: "", narrator, steps };
    rider.register("8613900000001").await?;
    rider.log_in().await?;
    let card = rider.open("open_card", TRANSIT_CARD).await?;
    rider.pay_and_top_up(&card, TOP_UP_FEN).await?;
    rider.take_a_trip(gates)?;
    rider.buy(&card, plan).await?;
    rider.lock_and_unlock(&card, &mut gates[0]).await?;
    rider.read_back(&card).await?;
    let greeting = rider.open("download", GREETING_CARD).await?;
    rider.delete(&greeting).await?;
    rider.try_to_delete_value(&card).await?;
    rider.park(&card).await
}

/// The first rider has a new phone, with the same number: the card comes to it as it was.
pub async fn new_phone(
    phone: Box<dyn RiderPhone>,
    gates: &mut [CityGate; 2],
    narrator: &mut Narrator,
    steps: &mut Vec<StepCost>,
) -> Result<(), CityError> {
    narrator.chapter("The first rider's new phone");
    let mut rider = Rider { phone, suffix: "_new_phone", narrator, steps };
    rider.register("8613900000001").await?;
    rider.log_in().await?;
    let card = rider.bring_here(TRANSIT_CARD).await?;
    rider.read_back(&card).await?;
    rider.take_a_trip(gates)
}

/// The second rider's day: the power goes in the middle of the download.
pub async fn second_rider(
    phone: Box<dyn RiderPhone>,
    gates: &mut [CityGate; 2],
    narrator: &mut Narrator,
    steps: &mut Vec<StepCost>,
) -> Result<(), CityError> {
    narrator.chapter("The second phone, whose power is cut");
    let mut rider = Rider { phone, suffix: "_second", narrator, steps };
    rider.register("8613900000002").await?;
    rider.log_in().await?;
    rider.lose_power_while_opening(TRANSIT_CARD).await?;
    rider.log_in_again().await?;
    let card = rider.open("open_card_resumed", TRANSIT_CARD).await?;
    rider.pay_and_top_up(&card, TOP_UP_FEN).await?;
    rider.take_a_trip(gates)?;
    rider.read_back(&card).await?;
    rider.return_card(&card).await
}

/// A rider of a city that goes on: registered, a card with money, one trip.
pub async fn commuter(
    phone: Box<dyn RiderPhone>,
    number: &str,
    amount_fen: u32,
    gates: &mut [CityGate; 2],
    narrator: &mut Narrator,
) -> Result<(), CityError> {
    let mut rider = Rider { phone, suffix: "", narrator, steps: &mut Vec::new() };
    rider.register(number).await?;
    rider.log_in().await?;
    let card = rider.open("open_card", TRANSIT_CARD).await?;
    rider.pay_and_top_up(&card, amount_fen).await?;
    rider.take_a_trip(gates)
}

/// The night passes; the centre settles the day and holds it against the payment statement. Whether the two
/// agree with the cards.
pub async fn close_the_day(
    centre: &Centre,
    plan: &CityPlan,
    narrator: &mut Narrator,
) -> Result<bool, CityError> {
    let step = "letting the night pass";
    let ahead = plan.clock.clone().ok_or_else(|| in_step(step)("the city has the machine's clock"))?;
    let clock = ShiftedClock::sharing(ahead);
    let day = BusinessDay::of(clock.now());
    clock.advance_to(day.cut() + SignedDuration::from_hours(10)).map_err(in_step(step))?;
    narrator.happened(&format!("the night passes: {day} is over"));
    let end = centre.close_day(day).await?;
    for settled in &end.settlements {
        let fen = |fen: u64| yuan(i64::try_from(fen).unwrap_or(i64::MAX));
        narrator.happened(&format!(
            "settled for {}: {} taken at its terminals, {} in all, {} for the operator",
            settled.operator,
            settled.number,
            fen(settled.gross_fen),
            fen(settled.net_fen)
        ));
    }
    narrator.happened(&format!(
        "reconciled: {} lines of the payment platform's signed statement, the ledger and the cards; {} differ",
        end.statement_lines,
        end.differences.len()
    ));
    for difference in &end.differences {
        narrator.happened(&format!("difference: {}", difference.cause));
    }
    Ok(end.differences.is_empty())
}

impl Rider<'_> {
    /// Books what a step cost. A name that the first rider used gets this rider's suffix, so that names
    /// stay unique.
    fn book(&mut self, name: &str, cost: Cost) {
        let known = self.steps.iter().any(|step| step.name == name);
        let suffix = if known { self.suffix } else { "" };
        self.steps.push(StepCost { name: format!("{name}{suffix}"), cost });
    }

    async fn register(&mut self, number: &str) -> Result<(), CityError> {
        let cost = self.phone.register(number, self.narrator).await?;
        self.book("register", cost);
        self.narrator
            .happened("registered: the SE-ID was read from the card, number and TOKEN were written to it");
        Ok(())
    }

    async fn log_in(&mut self) -> Result<(), CityError> {
        let cost = self.phone.log_in(self.narrator).await?;
        self.book("login", cost);
        self.narrator.happened("logged in with SE-ID and TOKEN, in one request");
        Ok(())
    }

    async fn log_in_again(&mut self) -> Result<(), CityError> {
        self.phone.restore_power().await?;
        self.phone.log_in(self.narrator).await?;
        self.narrator.happened("the power is back; the wallet logs in again");
        Ok(())
    }

    async fn open(&mut self, step: &'static str, name: &str) -> Result<HexBytes, CityError> {
        let (aid, cost) = self.phone.open(name, self.narrator).await?;
        self.book(step, cost);
        let Cost { apdus, round_trips, .. } = cost;
        self.narrator.happened(&format!("{name} is open: {apdus} APDUs in {round_trips} round trips"));
        Ok(aid)
    }

    async fn lose_power_while_opening(&mut self, name: &str) -> Result<(), CityError> {
        let opening = self.phone.lose_power_while_opening(name, COMMANDS_BEFORE_THE_CUT, self.narrator);
        let (said, cost) = opening.await?;
        self.book("open_card_cut", cost);
        self.narrator.happened(&format!("the power is cut in the middle of the download: {said}"));
        Ok(())
    }

    async fn pay_and_top_up(&mut self, aid: &HexBytes, amount_fen: u32) -> Result<(), CityError> {
        let cost = self.phone.pay(aid, amount_fen).await?;
        self.book("pay", cost);
        self.narrator.happened(&format!("paid {} to the payment platform", yuan(i64::from(amount_fen))));
        let (balance_fen, cost) = self.phone.top_up(aid, self.narrator).await?;
        self.book("top_up", cost);
        let balance = yuan(i64::from(balance_fen));
        self.narrator.happened(&format!("topped up: the card proved it, and holds {balance}"));
        Ok(())
    }

    /// A shop asks for money at the payment platform, and is paid from the card.
    async fn buy(&mut self, aid: &HexBytes, plan: &CityPlan) -> Result<(), CityError> {
        let step = "ordering at the payment platform";
        let environment = roles::runtime_of(plan);
        let shop = payments::shop(plan, &environment).map_err(in_step(step))?;
        let order = payments::order(&environment, PRICE_FEN, "an umbrella", None);
        let order = shop.create_order(&order).await.map_err(in_step(step))?;
        let payment = PaymentId(order.order.as_uuid());
        let (balance_fen, cost) = self.phone.pay_online(aid, payment, self.narrator).await?;
        self.book("pay_online", cost);
        let known = shop.query(order.order).await.map_err(in_step(step))?;
        if known.state != PlatformState::Paid {
            return Err(in_step("paying a shop over the network")("the shop was not told"));
        }
        let (price, balance) = (yuan(i64::from(PRICE_FEN)), yuan(i64::from(balance_fen)));
        self.narrator.happened(&format!(
            "bought an umbrella over the network: the card proved {price} to the payment platform, {balance} left"
        ));
        Ok(())
    }

    fn take_a_trip(&mut self, gates: &mut [CityGate; 2]) -> Result<(), CityError> {
        let [harbour, lighthouse] = gates;
        let step = "entering at Harbour";
        let phone = self.phone.hold_to_gate()?;
        let before = phone.spent();
        let passage = harbour.enter(phone, SystemClock.now()).map_err(in_step(step))?;
        let cost = phone.spent() - before;
        let Passage::Entered { balance, .. } = passage else {
            return Err(in_step(step)("the gate let the rider out"));
        };
        self.book("tap_in", cost);
        self.narrator.happened(&format!("in at Harbour with {}", yuan(i64::from(balance.fen()))));
        let step = "leaving at Lighthouse";
        let phone = self.phone.hold_to_gate()?;
        let before = phone.spent();
        let passage = lighthouse.leave(phone, SystemClock.now()).map_err(in_step(step))?;
        let cost = phone.spent() - before;
        let Passage::Left { fare, balance, .. } = passage else {
            return Err(in_step(step)("the gate let the rider in"));
        };
        self.book("tap_out", cost);
        let (fare, balance) = (yuan(i64::from(fare.fen())), yuan(i64::from(balance.fen())));
        self.narrator.happened(&format!("out at Lighthouse: {fare} for eight kilometres, {balance} left"));
        Ok(())
    }

    async fn lock_and_unlock(&mut self, aid: &HexBytes, gate: &mut CityGate) -> Result<(), CityError> {
        let cost = self.phone.lock(aid, self.narrator).await?;
        self.book("lock", cost);
        let step = "holding a locked card to a gate";
        match gate.enter(self.phone.hold_to_gate()?, SystemClock.now()) {
            Err(TapError::Refused(why)) => {
                self.narrator.happened(&format!("the card is locked; the gate says: {why}"));
            }
            Err(error) => return Err(in_step(step)(error)),
            Ok(_) => return Err(in_step(step)("the gate let it in")),
        }
        let cost = self.phone.unlock(aid, self.narrator).await?;
        self.book("unlock", cost);
        self.narrator.happened("unlocked again, by the rider who locked it");
        Ok(())
    }

    async fn return_card(&mut self, aid: &HexBytes) -> Result<(), CityError> {
        let (balance_fen, cost) = self.phone.return_card(aid, self.narrator).await?;
        self.book("return_card", cost);
        let balance = yuan(i64::from(balance_fen));
        self.narrator.happened(&format!(
            "returned: the card was blocked, then proved {balance}, which goes back to the payment"
        ));
        self.delete_what_is_left("delete_returned").await
    }

    async fn park(&mut self, aid: &HexBytes) -> Result<(), CityError> {
        let (balance_fen, cost) = self.phone.migrate_out(aid, self.narrator).await?;
        self.book("migrate_out", cost);
        let balance = yuan(i64::from(balance_fen));
        self.narrator.happened(&format!(
            "migrated out: blocked, read to the last record under R-MAC, parked at the centre with {balance}"
        ));
        self.delete_what_is_left("delete_migrated").await
    }

    async fn bring_here(&mut self, name: &str) -> Result<HexBytes, CityError> {
        let cost = self.phone.migrate_in(name, self.narrator).await?;
        self.book("migrate_in", cost);
        self.narrator.happened("migrated in: the same card, byte for byte, on another secure element");
        Ok(HexBytes(TRANSIT_AID.to_vec()))
    }

    /// A closed card holds nothing; the phone deletes it at a login, once the platform wants it deleted: the
    /// issuer's notice is on its way.
    async fn delete_what_is_left(&mut self, step: &str) -> Result<(), CityError> {
        for _ in 0..PATIENCE {
            if let Some(cost) = self.phone.delete_closed(self.narrator).await? {
                self.book(step, cost);
                self.narrator.happened("what is left of it on the phone is deleted");
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(in_step("deleting a closed card")("the platform does not want it deleted"))
    }

    async fn read_back(&mut self, aid: &HexBytes) -> Result<(), CityError> {
        let (seen, cost) = self.phone.view(aid).await?;
        self.book("read_back", cost);
        self.narrator.happened(&format!(
            "read back without any server: card ending {}, {}, {} transactions, {} trip records",
            seen.number_ending,
            yuan(i64::from(seen.balance_fen)),
            seen.transactions,
            seen.trips
        ));
        Ok(())
    }

    async fn delete(&mut self, aid: &HexBytes) -> Result<(), CityError> {
        match self.phone.delete(aid, self.narrator).await? {
            Deletion::Done(cost) => {
                self.book("delete", cost);
                self.narrator.happened("the greeting card is deleted, and its space is free again");
                Ok(())
            }
            Deletion::Refused(why) => Err(in_step("deleting an application")(why)),
        }
    }

    async fn try_to_delete_value(&mut self, aid: &HexBytes) -> Result<(), CityError> {
        match self.phone.delete(aid, self.narrator).await? {
            Deletion::Refused(why) => {
                self.narrator.happened(&format!("the transit card may not be deleted: {why}"));
                Ok(())
            }
            Deletion::Done(_) => Err(in_step("trying to delete a card that holds money")("it was deleted")),
        }
    }
}
