//! `opentsm shop`: the city's shop orders at the payment platform what riders pay from their transit cards.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use tsm_domain::OrderId;
use tsm_domain::money::PayerToken;
use tsm_services::payment::{PaymentPlatform as _, PlatformOrder, PlatformState, SandboxPlatform};
use tsm_services::runtime::Environment;

use crate::city::plan::CityPlan;
use crate::city::{payments, roles};
use crate::report::yuan;

/// Options of `opentsm shop`.
#[derive(Debug, Args)]
pub struct Options {
    /// The folder of the city: that of `opentsm up --data`.
    #[arg(long, value_name = "DIR")]
    city: PathBuf,

    /// One JSON object for scripts.
    #[arg(long)]
    json: bool,

    #[command(subcommand)]
    operation: Operation,
}

#[derive(Debug, Subcommand)]
enum Operation {
    /// Asks a rider for money: prints the number with which it is paid.
    Order {
        /// How much, in fen.
        amount_fen: u32,
        /// What for.
        subject: String,
        /// The token that the rider's wallet shows (`opentsm wallet orders`), so that it lists the order.
        #[arg(long)]
        payer: Option<PayerToken>,
    },
    /// How an order stands.
    Show {
        /// Its number.
        payment: uuid::Uuid,
    },
    /// Closes an order that nobody has paid.
    Close {
        /// Its number.
        payment: uuid::Uuid,
    },
}

/// What scripts are told.
#[derive(Serialize)]
struct Said {
    payment: uuid::Uuid,
    amount_fen: u64,
    state: &'static str,
}

/// Runs one operation.
pub fn run(options: &Options) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let plan = CityPlan::read(&options.city.join("plan.json")).map_err(|error| error.to_string())?;
    let environment = roles::runtime_of(&plan);
    let platform = payments::shop(&plan, &environment).map_err(|error| error.to_string())?;
    let order = runtime.block_on(carry_out(&options.operation, &platform, &environment))?;
    let said =
        Said { payment: order.order.as_uuid(), amount_fen: order.amount.get(), state: state(order.state) };
    if options.json {
        say!("{}", serde_json::to_string(&said).expect("plain fields can always be written"));
    } else {
        let amount = yuan(i64::try_from(said.amount_fen).unwrap_or(i64::MAX));
        say!("{}: {amount}, {}", said.payment, said.state);
    }
    Ok(())
}

async fn carry_out(
    operation: &Operation,
    platform: &SandboxPlatform,
    environment: &Environment,
) -> Result<PlatformOrder, String> {
    let done = match operation {
        Operation::Order { amount_fen, subject, payer } => {
            let order = payments::order(environment, *amount_fen, subject, *payer);
            platform.create_order(&order).await
        }
        Operation::Show { payment } => platform.query(OrderId::from_uuid(*payment)).await,
        Operation::Close { payment } => platform.close(OrderId::from_uuid(*payment)).await,
    };
    done.map_err(|error| error.to_string())
}

const fn state(state: PlatformState) -> &'static str {
    match state {
        PlatformState::Open => "open",
        PlatformState::Paid => "paid",
        PlatformState::Closed => "closed",
        PlatformState::PartlyRefunded { .. } => "partly refunded",
        PlatformState::Refunded => "refunded",
    }
}
