//! `opentsm serve ROLE`: one role alone, from the plan of its city.

use std::path::PathBuf;

use clap::Args;
use tokio::net::TcpListener;

use crate::city::plan::{CityPlan, Role};
use crate::city::{ceremony, roles};
use crate::environment;
use crate::profile::{self, Profile};
use crate::stop::Attendance;

/// Options of `opentsm serve`.
#[derive(Debug, Args)]
pub struct Options {
    /// The role to serve.
    role: Role,

    /// The plan of the city: `plan.json` in the folder of `opentsm up --data`.
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,

    /// What the server is for. In production it refuses to start with anything that is there for
    /// development only.
    #[arg(long, value_enum, default_value_t)]
    profile: Profile,

    #[command(flatten)]
    attendance: Attendance,
}

/// Serves until asked to stop; requests that run are finished.
pub fn run(options: &Options) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(serve(options))
}

async fn serve(options: &Options) -> Result<(), String> {
    let role = options.role;
    let plan = CityPlan::read(&options.plan).map_err(|error| error.to_string())?;
    let (_, entropy) = environment::real();
    let keys = ceremony::open_keys(&plan, role, entropy)
        .map_err(|error| format!("{}: {error}", plan.role(role).keys.display()))?;
    if options.profile == Profile::Production {
        let found = profile::test_only(&plan, role, keys.as_ref());
        if !found.is_empty() {
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            return Err(format!(
                "{} does not start in the production profile: {}",
                role.name(),
                found.join("; ")
            ));
        }
    }
    let address = plan.role(role).address;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("{} cannot listen on {address}: {error}", role.name()))?;
    let server = roles::start(&plan, role, keys, listener).await.map_err(|error| error.to_string())?;
    println!("{} serves on {}", role.name(), server.address());
    options.attendance.until_asked().await;
    server.stop().await;
    println!("{} has stopped", role.name());
    Ok(())
}
